//! Ten thousand nodes.

use std::time::Instant;

use simulator::{Fault, Host, Loss, MBIT, Micros, Story, play};

/// Leaf and spine, 40 nodes to a leaf, 25 Gb/s, 1 % loss, of a thousand nodes one dies, one starts anew and one comes late.
pub(crate) fn play_fabric(nodes: u64, bytes: u64) {
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
