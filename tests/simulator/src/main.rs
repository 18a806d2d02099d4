//! Plays stories: `--seed N` one, `--schedules N` so many from `--from N` on, `--table` those that the sender is judged by,
//! `--fabric N` a leaf-spine network of N nodes.

use std::time::Instant;

use simulator::{Fault, Host, Loss, MBIT, Micros, Story, play};

const RATE: u64 = 100 * MBIT;
const IMAGE: u64 = 100_000_000;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| {
        let at = words.iter().position(|word| word == name)?;
        words.get(at + 1)?.parse::<u64>().ok()
    };
    if let Some(seed) = number("--seed") {
        let story = Story::random(seed);
        println!("{story:#?}");
        println!("{:#?}", play(&story));
    } else if let Some(schedules) = number("--schedules") {
        play_many(number("--from").unwrap_or(0), schedules);
    } else if let Some(nodes) = number("--fabric") {
        fabric(nodes, number("--image").unwrap_or(4_140) * 1_000_000);
    } else if words.iter().any(|word| word == "--more") {
        more();
    } else {
        table();
    }
}

/// Leaf and spine, 40 nodes to a leaf, 25 Gb/s, 1 % loss, of a thousand nodes one dies, one starts anew and one comes late.
fn fabric(nodes: u64, bytes: u64) {
    let rate = 25_000 * MBIT;
    let mut hosts = Vec::new();
    for number in 0..nodes {
        let mut host =
            Host { loss: Loss::Independent(10_000), open: 8 << 30, queue: 4 << 20, ..Host::good(rate) };
        // 2 GB/s of what is unpacked.
        host.disk = 690_000_000;
        let when = Micros(bytes * 1_000_000 / rate / 2 + number * 10);
        match number % 1_000 {
            7 => host.faults.push((when, Fault::Die)),
            8 => host.faults.push((when, Fault::Reboot(Micros(1_000_000)))),
            9 => host.joins = when,
            _ => {}
        }
        hosts.push(host);
    }
    let mut story = Story { is_checked: false, per_switch: 40, ..Story::new(bytes, rate, hosts) };
    story.uplink = rate * 4;
    let begun = Instant::now();
    let ended = play(&story);
    let limit = ended.limit;
    let disks = bytes as f64 / 690e6;
    let written = ended.nodes.iter().flatten().map(|(joined, _, done)| done - joined).fold(0.0, f64::max);
    let steady = |number: &usize| !matches!(number % 1_000, 7..=9);
    println!(
        "{nodes} nodes, {} MB: written/limit {:.4} (limit {:.2} s, the disks'), on the wire {:.4} of {limit:.2} s (the undisturbed {:.4}), sent {:.4}, reports {}, pulls {}, {} events in {:.0} s",
        bytes / 1_000_000,
        written / disks,
        disks,
        ended.total() / limit,
        ended.last((0..ended.nodes.len()).filter(steady)) / limit,
        ended.redundancy(),
        ended.reports,
        ended.pulls.iter().filter(|pulls| **pulls).count(),
        ended.events,
        begun.elapsed().as_secs_f64()
    );
}

/// Stories that have no bar.
fn more() {
    let told = |name: &str, story: &Story| {
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
    };
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
    for part in [5, 20, 30, 50, 90, 95] {
        for loss in [0, 10_000, 50_000] {
            let host = Host { link: RATE * part / 100, loss: Loss::Independent(loss), ..Host::good(RATE) };
            told(
                &format!("N 8, links of {part} % of the rate, loss {} %", loss / 10_000),
                &image(vec![host; 8]),
            );
        }
    }
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

/// Plays many; tells the seeds of those that failed.
fn play_many(from: u64, schedules: u64) {
    let (begun, mut failed) = (Instant::now(), 0_u64);
    for seed in from..from.saturating_add(schedules) {
        if std::panic::catch_unwind(|| play(&Story::random(seed))).is_err() {
            println!("failed: cargo run --release -p simulator -- --seed {seed}");
            failed += 1;
        }
        if (seed + 1) % 10_000 == 0 {
            println!("{} after {:.0} s", seed + 1 - from, begun.elapsed().as_secs_f64());
        }
    }
    println!("{schedules} schedules, {failed} failed, {:.0} s", begun.elapsed().as_secs_f64());
    if failed > 0 {
        std::process::exit(1);
    }
}

fn hosts(count: usize, loss: Loss) -> Vec<Host> {
    vec![Host { loss, ..Host::good(RATE) }; count]
}

fn image(hosts: Vec<Host>) -> Story {
    Story { is_checked: false, ..Story::new(IMAGE, RATE, hosts) }
}

fn table() {
    let alone = play(&image(hosts(1, Loss::Independent(0))));
    println!("image {} MB at {} Mb/s, wire limit {:.3} s", IMAGE / 1_000_000, RATE / MBIT, alone.limit);
    for count in [1, 8, 64] {
        let ended = play(&image(hosts(count, Loss::Independent(0))));
        println!(
            "N {count:2} no loss: T/T(1) {:.4}  T/limit {:.4}  sent {:.4}  reports {}",
            ended.total() / alone.total(),
            ended.total() / ended.limit,
            ended.redundancy(),
            ended.reports
        );
    }
    for (loss, time, bytes) in [(10_000, 1.05, 1.03), (50_000, 1.12, 1.10), (100_000, 1.25, 1.20)] {
        for count in [1, 8, 24, 64] {
            let ended = play(&image(hosts(count, Loss::Independent(loss))));
            println!(
                "N {count:2} loss {:2} %: T/limit {:.4} (bar {time:.2})  sent {:.4} (bar {bytes:.2})  reports {} pulls {}",
                loss / 10_000,
                ended.total() / ended.limit,
                ended.redundancy(),
                ended.reports,
                ended.pulls.iter().filter(|pulls| **pulls).count(),
            );
        }
    }
    late(alone.total());
    faults();
}

fn late(alone: f64) {
    for part in [0.25, 0.5, 0.9] {
        let mut all = hosts(9, Loss::Independent(0));
        let joins = alone * part;
        if let Some(last) = all.last_mut() {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few seconds")]
            let micros = (joins * 1e6) as u64;
            last.joins = Micros(micros);
        }
        let ended = play(&image(all));
        println!(
            "late at {part:.2}: newcomer {:.4} x T(1) (bar 1.05), first wave {:.4} x T(1) (bar 1.02)",
            (ended.last(8..9) - joins) / alone,
            ended.last(0..8) / alone
        );
    }
}

fn faults() {
    let half = Micros(4_200_000);
    let slow = |host: Host| Host { link: host.link / 10, ..host };
    let bursts = Loss::Bursts { good: 20_000, bad: 200, lost: 1_000_000 };
    let heavy = Loss::Bursts { good: 1_500, bad: 200, lost: 1_000_000 };
    let fault = |fault: Fault| move |host: Host| Host { faults: vec![(half, fault)], ..host };
    let kinds: Vec<(&str, Box<dyn Fn(Host) -> Host>)> = vec![
        ("one link at 10 %", Box::new(slow)),
        ("one disk at 10 %", Box::new(|host| Host { disk: RATE / 10, ..host })),
        ("one at 12 % loss", Box::new(|host| Host { loss: Loss::Independent(120_000), ..host })),
        ("one at 20 % loss", Box::new(|host| Host { loss: Loss::Independent(200_000), ..host })),
        ("one bursty port, 1 %", Box::new(move |host| Host { loss: bursts, ..host })),
        ("one bursty port, 12 %", Box::new(move |host| Host { loss: heavy, ..host })),
        ("one death at 50 %", Box::new(fault(Fault::Die))),
        ("one stopped for 2 s", Box::new(fault(Fault::Pause(Micros(2_000_000))))),
        ("one stopped for 4 s", Box::new(fault(Fault::Pause(Micros(4_000_000))))),
        ("one link down for 2 s", Box::new(fault(Fault::Down(Micros(2_000_000))))),
        ("one deaf", Box::new(|host| Host { is_deaf: true, ..host })),
    ];
    for count in [2, 8, 24, 64] {
        for loss in [0, 10_000] {
            let all = hosts(count, Loss::Independent(loss));
            let fair = play(&image(all.clone())).last(1..count);
            for (name, change) in &kinds {
                let mut changed = all.clone();
                if let Some(first) = changed.first_mut() {
                    *first = change(first.clone());
                }
                let ended = play(&image(changed));
                println!(
                    "N {count:2} loss {} %, {name}: others x {:.4}, it {:.2} s{}, sent {:.4}",
                    loss / 10_000,
                    ended.last(1..count) / fair,
                    ended.last(0..1),
                    if ended.pulls.first() == Some(&true) { ", fetched" } else { "" },
                    ended.redundancy()
                );
            }
        }
    }
}
