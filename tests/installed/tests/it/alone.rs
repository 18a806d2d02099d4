//! A network namespace for a whole test, with a switch in it that the controller is at.

use std::process::Command;

/// The controller's interface: a switch, so that nodes can be plugged in.
pub(crate) const SWITCH: &str = "rw0";

/// Runs the named test again in a network of its own; true in that run. Without root there is none.
pub(crate) fn alone(test: &str) -> bool {
    const INSIDE: &str = "RACKWRIGHT_TEST_OWN_NETWORK";
    if std::env::var_os(INSIDE).is_some() {
        // A clock of libfaketime leaves files there that nobody removes when its process is killed.
        run("mount", "-t tmpfs tmpfs /dev/shm");
        for words in [
            "link set lo up",
            "link add rw0 type bridge forward_delay 0 stp_state 0",
            "link add rw1 type veth peer name rw2",
            "link set rw1 master rw0 up",
            "link set rw2 up",
            "link set rw0 up",
        ] {
            run("ip", words);
        }
        return true;
    }
    let root = rustix::process::geteuid().is_root();
    let status = Command::new("unshare")
        .args(if root { ["-n", "-m"] } else { ["-rn", "-m"] })
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare of util-linux");
    assert!(status.success(), "{test} failed in its network");
    false
}

/// A runtime for the run inside.
pub(crate) fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build();
    runtime.unwrap().block_on(test);
}

pub(crate) fn run(program: &str, words: &str) {
    let done = Command::new(program).args(words.split(' ')).status().unwrap();
    assert!(done.success(), "{program} {words}");
}
