//! What a partition's type says: a cluster's or an array's share that has no superblock of its own, an operating
//! system's root, an EFI system partition.

use protocol::{Holding, SystemPart};

use crate::inventory::probe::Partition;

/// GPT types of shares in something bigger (their makers' documents), and the old table's of the same.
const SHARES: [(&str, &str); 7] = [
    ("37affc90-ef7d-4e96-91c3-2d7ae055b174", "gpfs"),
    ("aa31e02a-400f-11db-9590-000c2911d1b8", "vmfs"),
    ("381cfccc-7288-11e0-92ee-000c2911d0b2", "vsan"),
    ("4fbd7e29-9d25-41b8-afd0-062c0ceff05d", "ceph"),
    ("e75caf8f-f680-4cee-afa3-b001e56efc2d", "storage-spaces"),
    ("af9b60a0-1431-4f62-bc68-3311714a69ad", "ldm"),
    ("42", "ldm"),
];
const ESPS: [&str; 2] = ["c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "ef"];
/// Roots by the Discoverable Partitions Specification: x86, x86-64, arm64.
const ROOTS: [&str; 3] = [
    "44479540-f297-41b2-9af7-d131d5f0458a",
    "4f68bce3-e8cd-4db1-96e7-fbcaf984b709",
    "b921b045-1df0-41c3-af44-4c6f280d3fae",
];

/// The partition itself, as something on the disk.
pub(super) fn holding(partition: &Partition) -> Holding {
    let Partition { number, name, kind, uuid, bytes, .. } = partition;
    let system = ESPS.contains(&kind.as_str()).then_some(SystemPart::Esp);
    let (label, uuid) = (name.clone(), uuid.clone());
    Holding { kind: "partition".to_owned(), partition: *number, label, bytes: Some(*bytes), uuid, system }
}

/// Adds to what was found in a partition what its type says of it.
pub(super) fn mark(partition: &Partition, found: &mut Vec<Holding>) {
    let kind = partition.kind.as_str();
    if ROOTS.contains(&kind) {
        found.iter_mut().for_each(|held| held.system = Some(SystemPart::Root));
    }
    let share = SHARES.iter().find(|(id, _)| *id == kind).map(|(_, share)| *share);
    if let Some(share) = share.filter(|share| found.iter().all(|held| held.kind != *share)) {
        found.push(Holding {
            kind: share.to_owned(),
            partition: partition.number,
            label: partition.name.clone(),
            bytes: Some(partition.bytes),
            uuid: partition.uuid.clone(),
            system: None,
        });
    }
}
