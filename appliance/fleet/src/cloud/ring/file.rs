//! A ring as Swift's programs read it: format version 1 of `swift/common/ring/ring.py` (`RingData.serialize_v1`), in gzip.
//!
//! ```text
//! "R1NG"  u16 1  u32 length  JSON {devs, part_shift, replica_count, byteorder}  for each copy: 4096 × u16
//! ```
//!
//! The first three are big endian; what follows the JSON is as that says.

use std::io::Write as _;

use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};

use super::{Device, Kind, PART_POWER};

/// The file system for objects is mounted at `/srv/node/NAME`; so Swift calls it.
const DEVICE: &str = "objects";

/// The content of `KIND.ring.gz` of these devices, and of what [`super::assign`] has made of them. The same for the same, in whatever
/// order: no time and no name is in it.
pub fn file(kind: Kind, devices: &[Device], rows: &[Vec<u16>]) -> Vec<u8> {
    let head = head(kind, devices, rows.len()).to_string();
    let mut ring = Vec::with_capacity(10 + head.len() + rows.iter().map(|row| row.len() * 2).sum::<usize>());
    ring.extend(b"R1NG");
    ring.extend(1u16.to_be_bytes());
    // No head has 4 GiB: there are 65,535 numbers.
    ring.extend(u32::try_from(head.len()).unwrap_or(u32::MAX).to_be_bytes());
    ring.extend(head.bytes());
    ring.extend(rows.iter().flatten().flat_map(|number| number.to_le_bytes()));
    packed(&ring)
}

/// What Swift knows of the devices: a list in which each one's place is its number, with nothing where there is none (any more).
fn head(kind: Kind, devices: &[Device], copies: usize) -> Value {
    let most = devices.iter().map(|device| device.number).max();
    let mut devs = vec![Value::Null; most.map_or(0, |most| usize::from(most) + 1)];
    for device in devices {
        if let Some(place) = devs.get_mut(usize::from(device.number)) {
            *place = described(kind, device);
        }
    }
    json!({"byteorder": "little", "devs": devs, "part_shift": 32 - PART_POWER, "replica_count": copies})
}

fn described(kind: Kind, device: &Device) -> Value {
    let (address, port) = (device.address.to_string(), kind.port());
    json!({
        "id": device.number,
        "region": 1,
        "zone": 1,
        "ip": address,
        "port": port,
        "replication_ip": address,
        "replication_port": port,
        "device": DEVICE,
        "weight": 100.0,
        "meta": "",
    })
}

fn packed(ring: &[u8]) -> Vec<u8> {
    // 255: no system in particular, so that it is the same everywhere.
    let mut packer =
        GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::default());
    // Memory takes whatever is written; should it not, there is no file, and nodes keep the one they have.
    let written = packer.write_all(ring);
    packer.finish().ok().filter(|_| written.is_ok()).unwrap_or_default()
}
