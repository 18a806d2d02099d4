//! The agent against a controller made for the purpose: real TLS, real ranges, real (loop) disks, a real systemd.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]
#![expect(unreachable_pub, reason = "one binary: its modules are public to each other")]

mod deploy;
mod restore;
mod serve;
