//! Stories that have no bar.

use simulator::{Host, Loss, MBIT, Micros, Story, play};

use crate::{RATE, hosts, image};

/// Plays them.
pub(crate) fn play_more() {
    rates();
    bursts();
    narrow_links();
    troubles();
}

fn told(name: &str, story: &Story) {
    let ended = play(story);
    let mut times: Vec<f64> =
        ended.nodes.iter().flatten().map(|(joined, complete, _)| complete - joined).collect();
    times.sort_by(f64::total_cmp);
    println!(
        "{name}: T/limit {:.4}, median node {:.4}, sent {:.4}, reports {}, fetch {}, pulls {}",
        ended.total() / ended.limit,
        times.get(times.len() / 2).copied().unwrap_or(0.0) / ended.limit,
        ended.redundancy(),
        ended.reports,
        ended.fetched,
        ended.pulls.iter().filter(|pulls| **pulls).count()
    );
}

fn rates() {
    for (mbit, image, count) in
        [(1_000, 1_250_000_000, 8), (10_000, 4_000_000_000, 8), (1_000, 20_000_000, 24), (38, 20_000_000, 64)]
    {
        for loss in [0, 10_000, 50_000, 100_000] {
            let host = Host { loss: Loss::Independent(loss), ..Host::good(mbit * MBIT) };
            let story = Story { is_checked: false, ..Story::new(image, mbit * MBIT, vec![host; count]) };
            told(
                &format!("{mbit} Mb/s, {} MB, N {count}, loss {} %", image / 1_000_000, loss / 10_000),
                &story,
            );
        }
    }
}

fn bursts() {
    for (name, loss) in [
        ("1 % in bursts of 200", Loss::Bursts { good: 20_000, bad: 200, lost: 1_000_000 }),
        ("5 % in bursts of 200", Loss::Bursts { good: 3_800, bad: 200, lost: 1_000_000 }),
        ("5 % in bursts of 20", Loss::Bursts { good: 380, bad: 20, lost: 1_000_000 }),
        ("12 % in bursts of 200", Loss::Bursts { good: 1_500, bad: 200, lost: 1_000_000 }),
    ] {
        for count in [1, 8, 24, 64] {
            told(&format!("N {count}, {name} at each"), &image(hosts(count, loss)));
        }
    }
}

fn narrow_links() {
    for part in [5, 20, 30, 50, 90, 95] {
        for loss in [0, 10_000, 50_000] {
            let host = Host { link: RATE * part / 100, loss: Loss::Independent(loss), ..Host::good(RATE) };
            told(
                &format!("N 8, links of {part} % of the rate, loss {} %", loss / 10_000),
                &image(vec![host; 8]),
            );
        }
    }
}

fn troubles() {
    for reports_lost in [100_000, 300_000, 600_000] {
        let host = Host { reports_lost, loss: Loss::Independent(10_000), ..Host::good(RATE) };
        told(&format!("N 24, loss 1 %, of reports {} %", reports_lost / 10_000), &image(vec![host; 24]));
    }
    for loss in [0, 10_000] {
        for lasts in [500_000, 3_000_000] {
            let restarts = vec![(Micros(4_200_000), Micros(lasts))];
            let story = Story { restarts, ..image(hosts(24, Loss::Independent(loss))) };
            told(
                &format!("N 24, loss {} %, controller away for {} ms at half", loss / 10_000, lasts / 1000),
                &story,
            );
        }
    }
    for count in [8, 24] {
        let joins = |number: u64| Host { joins: Micros(number * 700_000), ..Host::good(RATE) };
        told(&format!("N {count}, one comes every 0.7 s"), &image((0..count).map(joins).collect()));
    }
    for has in [990_000, 900_000, 500_000] {
        let host = Host { has, ..Host::good(RATE) };
        told(&format!("N 32, each lacks another {} %", 100 - has / 10_000), &image(vec![host; 32]));
    }
}
