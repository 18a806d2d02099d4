//! A hundred thousand servers whose disks are reordered, swapped, changed and named alike, between the plan and the first
//! write: what is written is the disk that the plan saw, or none.

use fuzz::{Reached, Target};

const HISTORIES: u32 = 100_000;

#[test]
fn no_disk_is_written_but_the_planned_one() {
    let target = Target::named("disk-choice").unwrap();
    let mut written = 0;
    for number in 0..HISTORIES {
        let mut history = [0; 96];
        blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut history);
        // Few events leave a plan that holds; many try everything that breaks one.
        let length = 64 + usize::try_from(number % 32).unwrap();
        written += u32::from((target.run)(&history[..length]) == Reached::Inside);
    }
    // A guard that refuses everything would be no guard.
    assert!((HISTORIES / 100..HISTORIES / 2).contains(&written), "{written} of {HISTORIES} were written");
}
