use super::*;

/// Slow enough that the image takes nearly ten seconds, and small enough for a test.
const RATE: u64 = 20 * MBIT;
const IMAGE: u64 = 20_000_000;

fn hosts(count: usize, loss: u32) -> Vec<Host> {
    vec![Host { loss: Loss::Independent(loss), ..Host::good(RATE) }; count]
}

fn played(hosts: Vec<Host>) -> Ended {
    play(&Story { is_checked: false, ..Story::new(IMAGE, RATE, hosts) })
}

#[test]
fn whatever_happens_everybody_who_lives_has_everything_in_the_end() {
    for seed in 0..200 {
        let story = Story::random(seed);
        let ended = std::panic::catch_unwind(|| play(&story));
        assert!(ended.is_ok(), "cargo run --release -p simulator -- --seed {seed}");
    }
}

#[test]
fn nobody_waits_for_the_dead_and_nobody_believes_a_liar_twice() {
    // The second half hears nothing of what is sent to all; of the first half one lies, and one dies.
    let mut all = hosts(8, 0);
    all[4..].iter_mut().for_each(|host| host.is_deaf = true);
    all[1].lies = 1_000_000;
    all[2].faults.push((Micros(5_000_000), Fault::Die));
    let ended = played(all);
    let alive = ended.nodes.iter().enumerate().filter(|(number, _)| *number != 2);
    assert!(alive.clone().all(|(_, node)| node.is_some()));
    assert!(ended.lies <= 4 && ended.given > 2 * IMAGE, "{} lies, {} bytes given", ended.lies, ended.given);
    assert!(ended.last(4..8) < 4.0 * ended.limit, "{ended:?}");
}

#[test]
fn a_seed_is_one_history() {
    let story = Story::random(16);
    assert_eq!(play(&story), play(&story));
    assert_ne!(play(&story), play(&Story::random(17)));
}

#[test]
fn without_loss_many_take_as_long_as_one() {
    let (one, many) = (played(hosts(1, 0)), played(hosts(32, 0)));
    assert!(one.total() / one.limit < 1.05, "{one:?}");
    assert!(many.total() / one.total() < 1.02, "{many:?}");
    assert_eq!(many.sent, many.symbols);
}

#[test]
fn losses_cost_little_more_than_they_are() {
    for (loss, time, sent) in [(10_000, 1.05, 1.03), (50_000, 1.12, 1.10), (100_000, 1.25, 1.20)] {
        let ended = played(hosts(24, loss));
        let took = ended.total() / ended.limit;
        assert!(took < time && ended.redundancy() < sent, "{loss}: {took}, {}", ended.redundancy());
    }
}

#[test]
fn who_comes_late_takes_no_longer_and_delays_nobody() {
    let alone = played(hosts(1, 0)).total();
    for percent in [25, 50, 90] {
        let mut late = hosts(9, 0);
        late[8].joins = Micros(percent * 85_000);
        let joins = late[8].joins.0 as f64 / 1e6;
        let ended = played(late);
        assert!(ended.last(0..8) < alone * 1.02, "{percent}: {ended:?}");
        assert!(ended.last(8..9) - joins < alone * 1.05, "{percent}: {ended:?}");
    }
}

#[test]
fn one_in_trouble_delays_nobody() {
    let half = Micros(4_300_000);
    let bursts = Loss::Bursts { good: 20_000, bad: 200, lost: 1_000_000 };
    let changes: [fn(&mut Host); 4] = [
        |host| host.link /= 10,
        |host| host.disk = RATE / 10,
        |host| host.is_deaf = true,
        |host| host.loss = Loss::Independent(200_000),
    ];
    let mut troubled: Vec<Host> = Vec::new();
    for change in changes {
        let mut host = Host::good(RATE);
        change(&mut host);
        troubled.push(host);
    }
    troubled.push(Host { loss: bursts, ..Host::good(RATE) });
    for fault in [Fault::Die, Fault::Pause(Micros(2_000_000)), Fault::Down(Micros(2_000_000))] {
        troubled.push(Host { faults: vec![(half, fault)], ..Host::good(RATE) });
    }
    for count in [2, 12] {
        let fair = played(hosts(count, 0)).total();
        for host in &troubled {
            let mut all = hosts(count, 0);
            all[0] = host.clone();
            let ended = played(all);
            assert!(ended.last(1..count) < fair * 1.02, "{host:?} of {count}: {ended:?}");
        }
    }
}

#[test]
fn links_narrower_than_the_rate_are_filled_and_not_flooded() {
    let narrow = vec![Host { link: RATE / 2, queue: 128 << 10, ..Host::good(RATE) }; 4];
    let ended = played(narrow);
    assert!(ended.total() / ended.limit < 2.4 && ended.redundancy() < 1.3, "{ended:?}");
    assert!(!ended.pulls.contains(&true), "{ended:?}");
}

#[test]
fn after_a_restart_of_the_controller_only_what_is_lacking_is_sent() {
    let restarts = vec![(Micros(4_300_000), Micros(300_000))];
    let story = Story { restarts, is_checked: false, ..Story::new(IMAGE, RATE, hosts(8, 0)) };
    let ended = play(&story);
    assert!(ended.redundancy() < 1.08, "a group that was half sent is sent again: {ended:?}");
}

#[test]
fn what_each_has_is_not_sent() {
    let has = vec![Host { has: 950_000, ..Host::good(RATE) }; 8];
    let story = Story { piece: 100_000, ..Story::new(IMAGE, RATE, has) };
    let ended = play(&story);
    assert!(ended.redundancy() < 0.9, "{ended:?}");
}
