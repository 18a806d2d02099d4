//! Plays stories: `--seed N` one of chance, `--schedules N` so many of them from `--from N` on, `--fabric N` a leaf-spine network of N
//! nodes, `--more` many that have no bar; without a word those that a sender is judged by.

mod bars;
mod fabric;
mod more;

use std::time::Instant;

use simulator::{Host, Loss, MBIT, Story, play};

/// Of the stories that are told here; they say so where they have another one.
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
        fabric::play_fabric(nodes, number("--image").unwrap_or(4_140) * 1_000_000);
    } else if words.iter().any(|word| word == "--more") {
        more::play_more();
    } else {
        bars::play_bars();
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
