//! The daemon that ships and agents that ship, as processes: `rackwright serve` below a root, and `rackwright-agent serve` on nodes that
//! are written, each with a network of its own on the daemon's switch and, where a test wants it, a clock of its own.
//!
//! Played are what comes before the installed system (a ramdisk that says it has written), the message bus' systemd, of which all units are
//! up, and what `/sys` says of a card. An agent under a real systemd is in `agent/tests/integration/serve`.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may panic")]

mod alone;
mod bus;
mod checking;
mod clock;
mod doubting;
mod node;
mod ramdisk;
mod renewing;
mod rotating;
mod site;
