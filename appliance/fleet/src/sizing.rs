//! How many servers a cloud needs: from instances and a kind of server to nodes of each role, every sum shown.
//!
//! ```text
//! what one server carries  = the least of: threads x ratio / vCPU, (memory - reserve) / memory, (disk - system) / disk, NIC x share / Mb/s
//! compute nodes            = instances / what one carries, rounded up, and the spare ones
//! network nodes            = instances x Mb/s x what goes outside / what one passes on, rounded up
//! storage nodes            = instances x volume / data disk, rounded up
//! ```
//! Whole instances are counted, because none is cut in two: the sum of all memory says too much. What OpenStack itself counts is counted as
//! it counts: `VCPU` is a hardware thread times the ratio, memory and disks are given out once
//! (docs.openstack.org/nova/2025.1/admin/scheduling.html, "Allocation ratios": 4.0, 1.0 and 1.0 since 27.0.0).

mod check;
mod estimate;
mod gateway;
mod host;
mod member;
mod nodes;
mod server;
mod topology;

use serde::{Deserialize, Serialize};

pub use check::check;
pub use estimate::estimate;
pub use host::{Duties, Host, Resource, Share, host};
pub use member::{Check, Member, RoleCheck, Uncounted};
pub use nodes::{Estimate, Nodes, Sum};
pub use server::{BadServer, Server, binary_bytes};
pub use topology::{Gateway, Nics, Topology};

/// A gibibyte, in bytes: how memory and the disks of instances are counted.
pub const GIB: u64 = 1 << 30;
/// What OpenStack and its data base need of a control node's memory beside the reserve, in bytes. All services together were measured at
/// 3.7 GB with two processes for each API; Debian starts more of them.
pub const CONTROL_BYTES: u64 = 8 * GIB;
/// What the system needs of the disk that instances are on, in bytes: images of roles are below 3 GB, the rest is for logs and for
/// images that nova keeps at hand.
pub const SYSTEM_BYTES: u64 = 20 * GIB;
/// What instances may have of a NIC that management, images and volumes share with them, in percent.
pub const SHARED_PERCENT: u64 = 80;
/// What they may have of a NIC of their own, in percent: Geneve's outer headers are 58 of 1558 bytes.
pub const OWN_PERCENT: u64 = 95;

/// What shall run: all instances alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instances {
    /// How many; at least one.
    pub count: u64,
    /// Virtual processors of each; at least one.
    pub vcpus: u64,
    /// Memory of each, in bytes; at least one.
    pub memory_bytes: u64,
    /// Disk of each on the server that it runs on, in bytes; 0: none.
    pub disk_bytes: u64,
    /// Volume of each on storage nodes, in bytes; 0: none.
    pub volume_bytes: u64,
    /// What each sends and receives together, in Mb/s, while all others do too; 0: it is not counted.
    pub mbps: u64,
}

/// What is taken for granted, and may be said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Terms {
    /// Virtual processors for a hundred hardware threads: nova's `initial_cpu_allocation_ratio` times a hundred.
    pub cpu_percent: u64,
    /// Memory that is kept for a server itself, in bytes: nova's `reserved_host_memory_mb`.
    pub reserve_bytes: u64,
    /// So many compute nodes may fail, and the others carry all instances.
    pub spare: u64,
    /// What of the instances' traffic goes outside, through network nodes, in percent.
    pub outside_percent: u64,
}

impl Default for Terms {
    fn default() -> Self {
        Self { cpu_percent: 400, reserve_bytes: 4 * GIB, spare: 1, outside_percent: 100 }
    }
}

/// Why something can't be built so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsizable {
    /// A number that must be at least one is not.
    #[error("{0} must be at least 1")]
    Nothing(&'static str),
    /// One instance is more than a server.
    #[error("one instance is more than a server carries: {sum}")]
    TooLarge {
        /// The sum that says so.
        sum: String,
    },
    /// Not enough NICs.
    #[error("a {role} node needs {needs} NICs, and the server has {has}")]
    Nics {
        /// Whose.
        role: &'static str,
        /// So many.
        needs: u64,
        /// So many it has.
        has: u64,
    },
    /// Not enough memory for the services of the cloud.
    #[error("a control node needs {needs} of memory, and the server has {has}")]
    Control {
        /// So much.
        needs: String,
        /// So much it has.
        has: String,
    },
    /// A storage node without a disk for volumes.
    #[error("a storage node needs a disk for volumes beside the one with its system, and the server has {0}")]
    Disks(u64),
    /// The only network node can't pass on what goes outside.
    #[error("{outside} Mb/s go outside, and the control node passes on {passes}")]
    Gateway {
        /// What goes outside.
        outside: u64,
        /// What it passes on.
        passes: u64,
    },
    /// One server for all is not enough.
    #[error("one server carries {carries} of {count} instances")]
    OneServer {
        /// So many.
        carries: u64,
        /// Of so many.
        count: u64,
    },
    /// Volumes are more than its one disk for them.
    #[error("volumes need {needs}, and the server's disk for them has {has}")]
    Volumes {
        /// So much.
        needs: String,
        /// So much it has.
        has: String,
    },
    /// Nobody has that.
    #[error("these numbers are too large to be multiplied")]
    TooMuch,
}

impl Instances {
    /// Refuses what can't be divided by.
    ///
    /// # Errors
    /// [`Unsizable::Nothing`].
    pub fn checked(&self) -> Result<(), Unsizable> {
        let least = [("instances", self.count), ("vCPU", self.vcpus), ("memory", self.memory_bytes)];
        match least.iter().find(|(_, number)| *number == 0) {
            Some((what, _)) => Err(Unsizable::Nothing(what)),
            None => Ok(()),
        }
    }

    /// What goes outside of all of them, in Mb/s.
    fn outside(&self, terms: &Terms) -> Result<u64, Unsizable> {
        percent(times(self.count, self.mbps)?, terms.outside_percent)
    }
}

fn times(one: u64, other: u64) -> Result<u64, Unsizable> {
    one.checked_mul(other).ok_or(Unsizable::TooMuch)
}

fn plus(one: u64, other: u64) -> Result<u64, Unsizable> {
    one.checked_add(other).ok_or(Unsizable::TooMuch)
}

/// So many hundredths, rounded down.
fn percent(of: u64, hundredths: u64) -> Result<u64, Unsizable> {
    Ok(times(of, hundredths)? / 100)
}

/// Bytes in GiB, with a tenth where it says something, rounded down: `894 GiB`, `1.5 GiB`.
pub fn gib(bytes: u64) -> String {
    let (whole, tenth) = (bytes / GIB, bytes % GIB * 10 / GIB);
    if tenth == 0 || whole >= 100 { format!("{whole} GiB") } else { format!("{whole}.{tenth} GiB") }
}
