//! What is still answered while nothing can be made durable (a full disk): what is durable already, and no more.

use super::decide::{Arrival, Decision, Reply, decide};
use super::lease::{LeaseState, Leases};
use super::policy::{Machine, Network, Policy};
use super::request::Request;
use crate::Time;

/// Less of a lease than this is not worth giving: its client would ask again without pause. As in [`Policy::check`].
const SHORTEST: u64 = 60;

/// The reply that promises nothing new: a machine whose lease runs is given the rest of it, to the second; whoever
/// asks only what to boot, or must be told that an address is not its own, is told. It needs no row to be written.
/// `None` when an honest answer would need one, and when [`decide`] would be silent too.
#[must_use]
pub fn standing(
    network: &Network,
    leases: &Leases,
    machine: Machine,
    request: &Request,
    arrival: Arrival,
    now: Time,
) -> Option<Box<Reply>> {
    let held = leases.get(request.mac).filter(|lease| lease.state == LeaseState::Bound);
    let left = held.map_or(0, |lease| lease.expires.0.saturating_sub(now.0) / 1000);
    let rest = |policy: &Policy| {
        let lease_seconds = u32::try_from(left).unwrap_or(u32::MAX).min(policy.lease_seconds);
        Policy { lease_seconds, ..policy.clone() }
    };
    let network = Network {
        interface: network.interface.clone(),
        site: network.site.clone(),
        stance: network.stance,
        extras: network.extras.clone(),
        local: rest(&network.local),
        relayed: network.relayed.iter().map(rest).collect(),
    };
    let decided = decide(&network, leases, machine, request, arrival, now);
    let Decision::Reply(reply) = decided else { return None };
    let honest = match reply.address {
        None => reply.lease.is_none(),
        Some(address) => left >= SHORTEST && held.is_some_and(|lease| lease.ip == address),
    };
    // What the change would have recorded besides (host name, firmware kind) is recorded with a later request.
    honest.then(|| Box::new(Reply { lease: None, ..*reply }))
}
