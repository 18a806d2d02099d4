//! What a sender is judged by.

use simulator::{Fault, Host, Loss, MBIT, Micros, play};

use crate::{IMAGE, RATE, hosts, image};

/// As many times the limit, or what the others take, as each story allows.
pub(crate) fn play_bars() {
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

type Change = Box<dyn Fn(Host) -> Host>;

fn faults() {
    let half = Micros(4_200_000);
    let slow = |host: Host| Host { link: host.link / 10, ..host };
    let bursts = Loss::Bursts { good: 20_000, bad: 200, lost: 1_000_000 };
    let heavy = Loss::Bursts { good: 1_500, bad: 200, lost: 1_000_000 };
    let fault = |fault: Fault| move |host: Host| Host { faults: vec![(half, fault)], ..host };
    let kinds: Vec<(&str, Change)> = vec![
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
