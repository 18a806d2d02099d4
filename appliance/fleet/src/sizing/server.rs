//! A kind of server: as an operator writes it down, or as a known node is.

use std::str::FromStr;

use protocol::{DiskBus, Inventory};
use serde::{Deserialize, Serialize};

use super::Unsizable;

/// So many disks or NICs a server has at most: more is a slip of the pen.
const MOST: u64 = 128;

/// What a server is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// Cores; 0: not known.
    pub cores: u64,
    /// Hardware threads, which is what OpenStack gives out.
    pub threads: u64,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Disks that may be written, in bytes.
    pub disks_bytes: Vec<u64>,
    /// NICs, in Mb/s; 0: not known.
    pub nics_mbps: Vec<u64>,
}

/// Why a text is no server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}; a server is written as CORESc[THREADSt],MEMORY,DISKS,NICS: 16c32t,128G,2x960G,2x10G")]
pub struct BadServer(pub String);

impl Server {
    /// What the kernel of a node sees. Its cores are not told apart from threads there.
    pub fn of(inventory: &Inventory) -> Self {
        let fixed = inventory.disks.iter().filter(|disk| {
            !disk.removable && !disk.read_only && !matches!(disk.bus, DiskBus::Usb | DiskBus::Mmc)
        });
        Self {
            cores: 0,
            threads: u64::from(inventory.cpu.threads),
            memory_bytes: inventory.memory_bytes,
            disks_bytes: fixed.map(|disk| disk.bytes).collect(),
            nics_mbps: inventory.nics.iter().map(|nic| u64::from(nic.speed_mbps.unwrap_or(0))).collect(),
        }
    }

    /// How many NICs.
    pub fn nics(&self) -> u64 {
        u64::try_from(self.nics_mbps.len()).unwrap_or(u64::MAX)
    }

    /// The speed of its fastest NIC, or of the second one, in Mb/s; 0: not known.
    pub(super) fn speed(&self, second: bool) -> u64 {
        largest(&self.nics_mbps, second)
    }

    /// The disk with the system and its instances: the largest, or the second when volumes have that; 0: there is none.
    pub(super) fn system_disk(&self, storage: bool) -> u64 {
        largest(&self.disks_bytes, storage)
    }

    /// The disk that volumes are on, which is another than the system's.
    ///
    /// # Errors
    /// [`Unsizable::Disks`].
    pub(super) fn data_disk(&self) -> Result<u64, Unsizable> {
        let disks = self.disks_bytes.len();
        if disks < 2 {
            return Err(Unsizable::Disks(u64::try_from(disks).unwrap_or(u64::MAX)));
        }
        Ok(largest(&self.disks_bytes, false))
    }
}

fn largest(numbers: &[u64], second: bool) -> u64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable_by(|one, other| other.cmp(one));
    sorted.get(usize::from(second)).copied().unwrap_or(0)
}

impl FromStr for Server {
    type Err = BadServer;
    fn from_str(text: &str) -> Result<Self, BadServer> {
        let parts = text.split(',').map(str::trim).collect::<Vec<_>>();
        let [cpu, memory, disks, nics] = parts.as_slice() else {
            return Err(BadServer(format!("{} parts", parts.len())));
        };
        let (cores, threads) = processors(cpu)?;
        Ok(Self {
            cores,
            threads,
            memory_bytes: binary_bytes(memory).map_err(BadServer)?,
            // As they are sold.
            disks_bytes: many(disks, |size| scaled(size, 1000))?,
            nics_mbps: many(nics, |speed| Ok(scaled(speed, 1000)? / 1_000_000))?,
        })
    }
}

/// `16c32t`, or `16c` without hyper-threading.
fn processors(text: &str) -> Result<(u64, u64), BadServer> {
    let no = || BadServer(format!("{text:?} are no cores and threads"));
    let (cores, rest) = text.split_once('c').ok_or_else(no)?;
    let number = |text: &str| text.parse::<u64>().ok().filter(|number| (1..=65_536).contains(number));
    let cores = number(cores).ok_or_else(no)?;
    if rest.is_empty() {
        return Ok((cores, cores));
    }
    let threads = rest.strip_suffix('t').and_then(number).filter(|threads| *threads >= cores);
    Ok((cores, threads.ok_or_else(no)?))
}

/// `2x960G+4T`: two and one.
fn many(text: &str, read: impl Fn(&str) -> Result<u64, String>) -> Result<Vec<u64>, BadServer> {
    let mut all = Vec::new();
    for part in text.split('+') {
        let (count, one) = part.split_once('x').unwrap_or(("1", part));
        let count = count.parse::<u64>().ok().filter(|count| (1..=MOST).contains(count));
        let count = count.ok_or_else(|| BadServer(format!("{part:?} are not 1 to {MOST} of something")))?;
        let one = read(one).map_err(BadServer)?;
        all.extend((0..count).map(|_| one));
    }
    match u64::try_from(all.len()) {
        Ok(count) if count <= MOST => Ok(all),
        Ok(_) | Err(_) => Err(BadServer(format!("{text:?} are more than {MOST}"))),
    }
}

/// A size in binary units, as memory is counted: `4G`, `512M`, `1.5T`.
///
/// # Errors
/// What is wrong with it.
pub fn binary_bytes(text: &str) -> Result<u64, String> {
    scaled(text, 1024)
}

/// `960G`, `1.9T`: up to three digits after the point, and a unit. The unit's `B` or `iB` is left out.
fn scaled(text: &str, step: u64) -> Result<u64, String> {
    let no = || format!("{text:?} is no size: a number with M, G or T");
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(no)?;
    let (number, unit) = text.split_at(at);
    let power = match unit {
        "M" | "m" => 2,
        "G" | "g" => 3,
        "T" | "t" => 4,
        _ => return Err(no()),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if fraction.len() > 3 || fraction.is_empty() {
        return Err(no());
    }
    let whole = whole.parse::<u64>().map_err(|_| no())?;
    let thousandths = format!("{fraction:0<3}").parse::<u64>().map_err(|_| no())?;
    let bytes = whole.checked_mul(1000).and_then(|number| number.checked_add(thousandths));
    let bytes = bytes.and_then(|number| number.checked_mul(step.checked_pow(power)?));
    // An exbibyte is nobody's server, and room for sums of many.
    let bytes = bytes.map(|bytes| bytes / 1000).filter(|bytes| *bytes <= 1 << 60);
    bytes.filter(|bytes| *bytes > 0).ok_or_else(no)
}
