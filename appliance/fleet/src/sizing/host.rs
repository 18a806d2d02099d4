//! What one server carries.

use serde::{Deserialize, Serialize};

use super::{
    CONTROL_BYTES, Instances, OWN_PERCENT, SHARED_PERCENT, SYSTEM_BYTES, Server, Terms, Topology, Unsizable,
    gib, percent, plus,
};

/// What there may be too little of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    /// Hardware threads.
    Cpu,
    /// Memory.
    Memory,
    /// The disk with the system.
    Disk,
    /// The NIC with instances' traffic.
    Network,
}

/// What else a server is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Duties {
    /// The cloud's services, which need memory.
    pub control: bool,
    /// Volumes, which have its largest disk.
    pub storage: bool,
    /// The NIC with instances' traffic has everything else too.
    pub shares_nic: bool,
}

/// How many instances one resource of a server is enough for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// Of which.
    pub resource: Resource,
    /// How it was counted, in one line.
    pub sum: String,
    /// So many; none: instances need nothing of it, or how much there is is not known.
    pub carries: Option<u64>,
}

/// What one server carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Host {
    /// Each resource.
    pub shares: Vec<Share>,
    /// The one that there is least of.
    pub limit: Resource,
    /// So many instances.
    pub carries: u64,
}

impl Resource {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Resource::Cpu => "cpu",
            Resource::Memory => "memory",
            Resource::Disk => "disk",
            Resource::Network => "network",
        }
    }
}

impl Duties {
    /// Of a compute node that is nothing else.
    pub fn compute(topology: Topology) -> Self {
        Self { shares_nic: topology.shares_nic(), ..Self::default() }
    }

    /// What is taken of a server's memory before instances have theirs, in bytes.
    fn reserve(self, terms: &Terms) -> Result<u64, Unsizable> {
        plus(terms.reserve_bytes, if self.control { CONTROL_BYTES } else { 0 })
    }
}

/// Counts it.
///
/// # Errors
/// [`Unsizable::Nothing`], [`Unsizable::TooMuch`].
pub fn host(
    instances: &Instances,
    server: &Server,
    terms: &Terms,
    duties: Duties,
) -> Result<Host, Unsizable> {
    instances.checked()?;
    let shares = vec![
        cpu(instances, server, terms)?,
        memory(instances, server, duties.reserve(terms)?),
        disk(instances, server, duties),
        network(instances, server, duties)?,
    ];
    let counted = shares.iter().filter_map(|share| Some((share.carries?, share.resource)));
    let least = counted.min_by_key(|(carries, _)| *carries);
    let (carries, limit) = least.ok_or(Unsizable::Nothing("vCPU"))?;
    Ok(Host { shares, limit, carries })
}

fn cpu(instances: &Instances, server: &Server, terms: &Terms) -> Result<Share, Unsizable> {
    let Server { threads, cores, .. } = server;
    let (each, ratio) = (instances.vcpus, terms.cpu_percent);
    let has = percent(*threads, ratio)?;
    let carries = has / each;
    let on_a_core = has.checked_div(*cores).map(|all| format!(", {all} on a core")).unwrap_or_default();
    let sum = format!(
        "{threads} threads x {}.{:02} = {has} vCPU{on_a_core}; {has} / {each} = {carries}",
        ratio / 100,
        ratio % 100
    );
    Ok(Share { resource: Resource::Cpu, sum, carries: Some(carries) })
}

fn memory(instances: &Instances, server: &Server, reserve: u64) -> Share {
    let (all, each) = (server.memory_bytes, instances.memory_bytes);
    let has = all.saturating_sub(reserve);
    let carries = has.checked_div(each);
    let sum = parted((all, reserve, has), each, carries);
    Share { resource: Resource::Memory, sum, carries }
}

fn disk(instances: &Instances, server: &Server, duties: Duties) -> Share {
    let (all, each) = (server.system_disk(duties.storage), instances.disk_bytes);
    let has = all.saturating_sub(SYSTEM_BYTES);
    let carries = has.checked_div(each);
    let sum = match carries {
        Some(_) => parted((all, SYSTEM_BYTES, has), each, carries),
        None => "instances have no disk on the server".to_owned(),
    };
    Share { resource: Resource::Disk, sum, carries }
}

/// `128 GiB - 4 GiB = 124 GiB; / 4 GiB = 31`
fn parted((all, taken, has): (u64, u64, u64), each: u64, carries: Option<u64>) -> String {
    let carries = carries.unwrap_or(0);
    format!("{} - {} = {}; / {} = {carries}", gib(all), gib(taken), gib(has), gib(each))
}

fn network(instances: &Instances, server: &Server, duties: Duties) -> Result<Share, Unsizable> {
    let (speed, each) = (server.speed(false), instances.mbps);
    let hundredths = if duties.shares_nic { SHARED_PERCENT } else { OWN_PERCENT };
    let has = percent(speed, hundredths)?;
    let (carries, sum) = match has.checked_div(each) {
        None => (None, "instances' traffic is not counted".to_owned()),
        Some(_) if speed == 0 => (None, "the speed of its NICs is not known: it is not counted".to_owned()),
        Some(carries) => {
            let of = if duties.shares_nic { "a shared NIC" } else { "its own NIC" };
            let sum = format!("{speed} Mb/s x {hundredths} % ({of}) = {has} Mb/s; / {each} Mb/s = {carries}");
            (Some(carries), sum)
        }
    };
    Ok(Share { resource: Resource::Network, sum, carries })
}
