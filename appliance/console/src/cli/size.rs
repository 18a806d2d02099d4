//! `rackwright plan size`

use clap::{Args, value_parser};
use fleet::sizing::{Instances, Server, Terms, Topology, binary_bytes};

/// What shall run, and on what.
#[derive(Args, Debug)]
pub(crate) struct SizeArgs {
    /// Instances, all alike
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=10_000_000))]
    pub(crate) vms: u64,
    /// Virtual processors of each
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = value_parser!(u64).range(1..=4096))]
    pub(crate) vcpus: u64,
    /// Memory of each
    #[arg(long, value_name = "SIZE", default_value = "4G", value_parser = binary_bytes)]
    pub(crate) ram: u64,
    /// Disk of each on its server; 0: none
    #[arg(long, value_name = "SIZE", default_value = "40G", value_parser = maybe)]
    pub(crate) disk: u64,
    /// Volume of each on storage nodes
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = maybe)]
    pub(crate) volume: u64,
    /// Mb/s of each, in and out together
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = value_parser!(u64).range(..=10_000_000))]
    pub(crate) mbit: u64,
    /// The kind of server: 16c32t,128G,2x960G,2x10G
    #[arg(long, value_name = "SERVER", conflicts_with = "from")]
    #[arg(required_unless_present_any = ["from", "check"])]
    pub(crate) server: Option<Server>,
    /// Servers like this node
    #[arg(long, value_name = "NODE")]
    pub(crate) from: Option<String>,
    /// Show the sums of this shape of the rack
    #[arg(long, value_name = "SHAPE")]
    pub(crate) topology: Option<Topology>,
    /// Virtual processors for each thread
    #[arg(long, value_name = "RATIO", default_value = "4", value_parser = hundredths)]
    pub(crate) cpu_ratio: u64,
    /// Memory each server keeps for itself
    #[arg(long, value_name = "SIZE", default_value = "4G", value_parser = maybe)]
    pub(crate) reserve: u64,
    /// Compute nodes that may fail
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u64).range(..=1000))]
    pub(crate) spare: u64,
    /// Percent of it that goes outside
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = value_parser!(u64).range(..=100))]
    pub(crate) outside: u64,
    /// Compare with the nodes that are there
    #[arg(long)]
    pub(crate) check: bool,
}

impl SizeArgs {
    /// What shall run.
    pub(crate) fn instances(&self) -> Instances {
        Instances {
            count: self.vms,
            vcpus: self.vcpus,
            memory_bytes: self.ram,
            disk_bytes: self.disk,
            volume_bytes: self.volume,
            mbps: self.mbit,
        }
    }

    /// What is taken for granted.
    pub(crate) fn terms(&self) -> Terms {
        Terms {
            cpu_percent: self.cpu_ratio,
            reserve_bytes: self.reserve,
            spare: self.spare,
            outside_percent: self.outside,
        }
    }
}

/// A size, or 0.
fn maybe(text: &str) -> Result<u64, String> {
    if text == "0" { Ok(0) } else { binary_bytes(text) }
}

/// `4`, `2.5`, `1.25`: at least a hundredth, at most 64.
fn hundredths(text: &str) -> Result<u64, String> {
    let no = || format!("{text:?} is no ratio from 0.01 to 64");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.is_empty() || fraction.len() > 2 {
        return Err(no());
    }
    let number = |text: &str| text.parse::<u64>().map_err(|_| no());
    let parts = number(&format!("{fraction:0<2}"))?;
    let all = number(whole)?.checked_mul(100).and_then(|whole| whole.checked_add(parts));
    all.filter(|all| (1..=6400).contains(all)).ok_or_else(no)
}
