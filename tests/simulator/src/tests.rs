use super::*;

const RATE: u64 = 100 * MBIT;

fn hosts(count: usize, loss: u32) -> Vec<Host> {
    vec![Host { loss: Loss::Independent(loss), ..Host::good(RATE) }; count]
}

#[test]
fn any_story_ends() {
    for seed in 0..200 {
        let story = Story::random(seed);
        let ended = std::panic::catch_unwind(|| play(&story));
        assert!(ended.is_ok(), "seed {seed}: {story:#?}");
    }
}

#[test]
fn without_loss_many_take_as_long_as_one() {
    let one = play(&Story::new(20_000_000, RATE, hosts(1, 0)));
    let many = play(&Story::new(20_000_000, RATE, hosts(16, 0)));
    assert!(one.total() < one.limit + 0.25, "{one:?}");
    assert!(many.total() < one.total() * 1.02, "{many:?}");
    assert!(many.redundancy() < 1.001, "{many:?}");
}
