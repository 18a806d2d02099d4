//! Stage *deploy*, from hello to receipt.

mod burning_in;
mod controller;
mod enrolling;
mod erasing;
mod fitting;
mod image;
mod imaging;
pub mod machine;
mod mending;
mod network;
mod rack;
mod resume;
mod signatures;
pub mod site;
mod store;
mod swaps;
mod taking;
mod trust;

use std::time::Duration;

/// Runs a test's async part. The limit is only there so that a hang is a failure with a name.
fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let limited = async { tokio::time::timeout(Duration::from_secs(300), test).await };
    runtime.block_on(limited).expect("the test hangs")
}

/// Waits until something is so.
async fn until(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never: {what}");
}

/// Loop devices need root; without, these tests say so and do nothing.
pub fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: loop devices need root");
    }
    root
}
