//! What goes outside, and who passes it on.

use super::{OWN_PERCENT, SHARED_PERCENT, Server, Topology, Unsizable, percent};

/// What a network node passes on, in Mb/s (0: not known), and how that is said.
pub(super) fn passes(server: &Server, topology: Topology) -> Result<(u64, String), Unsizable> {
    let speed = server.speed(topology.crosses());
    if speed == 0 {
        return Ok((0, "a NIC whose speed is not known".to_owned()));
    }
    let hundredths = if topology.shares_nic() { SHARED_PERCENT } else { OWN_PERCENT };
    let passes = percent(speed, hundredths)?;
    Ok((passes, format!("({speed} Mb/s x {hundredths} % = {passes} Mb/s)")))
}
