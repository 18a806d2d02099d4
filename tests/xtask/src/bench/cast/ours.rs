//! Where our own sender and receivers take part.
//!
//! The boundary is [`Peer`]: the words of one sender process at the controller and of one receiver process at each receiver,
//! receivers first, and a receiver that ends without complaint when all of it is in its file. Nothing else in this bench
//! knows who is ours but the report, which holds our figures against the bars. This crate links none of ours: the two
//! programs are examples of `appliance` and `agent`, built here as the other benches build theirs.

use super::peer::Peer;

/// The name that our rows have.
pub(super) const NAME: &str = "rackwright";

/// Ours, when there are programs that can be started; `None`: only peers are measured, and the bench says so.
pub(super) fn peer() -> Option<Box<dyn Peer>> {
    None
}
