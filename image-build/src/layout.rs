//! Where things lie on a node's disk, and the names they have there. Pure: numbers and texts only.

/// Bytes of a sector.
pub const SECTOR: u64 = 512;
/// Everything begins at a multiple of this.
pub const MIB: u64 = 1 << 20;

/// BIOS boot partition: GRUB's core.img.
pub const BIOS: Part = Part { first_mib: 1, mib: 1 };
/// EFI system partition.
pub const ESP: Part = Part { first_mib: 2, mib: 64 };
/// Where the deploying agent writes what the installed node enrols with. Holds no image data.
pub const SEED: Part = Part { first_mib: 66, mib: 1 };
/// The root file system begins here and is last, so that it can grow.
pub const ROOT_MIB: u64 = 67;

/// The seed partition's type; no other program knows it, so none touches it.
pub const SEED_TYPE: &str = "52415754-5345-4544-8000-000000000001";

/// The file systems' labels.
pub const ROOT_LABEL: &str = "rackwright-root";
/// The EFI system partition's label.
pub const ESP_LABEL: &str = "RW-ESP";

/// A partition of fixed place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    first_mib: u64,
    mib: u64,
}

impl Part {
    /// First byte on the disk.
    pub const fn offset(self) -> u64 {
        self.first_mib * MIB
    }

    /// Length in bytes.
    pub const fn bytes(self) -> u64 {
        self.mib * MIB
    }
}

/// A whole disk with a root file system of this size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Size of the root partition, in MiB.
    pub root_mib: u64,
}

impl Layout {
    /// Size of the disk in bytes: one more MiB has the second partition table.
    pub fn disk_bytes(self) -> u64 {
        (ROOT_MIB + self.root_mib + 1) * MIB
    }

    /// The partition table, as sfdisk reads it.
    pub fn table(self, ids: &Ids) -> String {
        let line = |part: Part, kind: &str, name: &str| {
            let (start, size) = (part.offset() / SECTOR, part.bytes() / SECTOR);
            format!("start={start}, size={size}, type={kind}, uuid={}, name=\"{name}\"\n", ids.uuid(name))
        };
        let root = Part { first_mib: ROOT_MIB, mib: self.root_mib };
        // Types from the GPT chapter of the UEFI specification and the Discoverable Partitions Specification.
        [
            format!("label: gpt\nlabel-id: {}\nunit: sectors\n", ids.uuid("disk")),
            line(BIOS, "21686148-6449-6E6F-744E-656564454649", "rackwright-bios"),
            line(ESP, "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "rackwright-esp"),
            line(SEED, SEED_TYPE, "rackwright-seed"),
            line(root, "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709", ROOT_LABEL),
        ]
        .concat()
    }
}

/// How large a root file system must be, in MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Blocks of 4 KiB that the files fill.
    pub blocks: u64,
    /// How many files there will be room for.
    pub inodes: u64,
    /// Size of the journal.
    pub journal_mib: u64,
    /// Free room, in percent of the files.
    pub room_percent: u64,
}

impl Room {
    /// The size. Counts the inode tables, the tables that wait for the file system to grow, and a little for
    /// maps and extents.
    pub fn mib(self) -> u64 {
        let files = (self.blocks * 4096).div_ceil(MIB);
        let inodes = (self.inodes * 256).div_ceil(MIB);
        files + files * self.room_percent / 100 + inodes + self.journal_mib + 24
    }
}

/// The ids of one disk, all drawn from what went into it: other inputs, other ids; same inputs, same ids.
#[derive(Debug, Clone)]
pub struct Ids(String);

impl Ids {
    /// Ids for a disk made from these inputs.
    pub fn of(inputs: &str) -> Ids {
        Ids(inputs.to_owned())
    }

    fn bytes(&self, what: &str) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_derive_key("rackwright image-build 2026-11 disk ids");
        hasher.update(self.0.as_bytes()).update(b"\n").update(what.as_bytes());
        let mut bytes = [0; 16];
        hasher.finalize_xof().fill(&mut bytes);
        bytes
    }

    /// A UUID for one thing on the disk (version 8: RFC 9562, made by other rules).
    pub fn uuid(&self, what: &str) -> String {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = self.bytes(what);
        let (g, i) = (0x80 | g & 0x0f, 0x80 | i & 0x3f);
        format!(
            "{a:02x}{b:02x}{c:02x}{d:02x}-{e:02x}{f:02x}-{g:02x}{h:02x}-{i:02x}{j:02x}-\
             {k:02x}{l:02x}{m:02x}{n:02x}{o:02x}{p:02x}"
        )
    }

    /// A FAT volume id: eight hexadecimal digits.
    pub fn volume(&self, what: &str) -> String {
        let [a, b, c, d, ..] = self.bytes(what);
        format!("{a:02x}{b:02x}{c:02x}{d:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_follow_each_other() {
        assert_eq!(BIOS.offset() + BIOS.bytes(), ESP.offset());
        assert_eq!(ESP.offset() + ESP.bytes(), SEED.offset());
        assert_eq!(SEED.offset() + SEED.bytes(), ROOT_MIB * MIB);
        assert_eq!(Layout { root_mib: 100 }.disk_bytes(), 168 * MIB);
        let table = Layout { root_mib: 100 }.table(&Ids::of("x"));
        assert!(
            table.contains("start=135168, size=2048, type=52415754-5345-4544-8000-000000000001"),
            "{table}"
        );
        assert_eq!(table.lines().count(), 7);
    }

    #[test]
    fn ids_differ_by_inputs_and_by_thing() {
        let (one, two) = (Ids::of("1"), Ids::of("2"));
        assert_ne!(one.uuid("a"), two.uuid("a"));
        assert_ne!(one.uuid("a"), one.uuid("b"));
        assert_eq!(one.uuid("a"), Ids::of("1").uuid("a"));
        let uuid = one.uuid("a");
        assert_eq!((uuid.len(), uuid.get(14..15)), (36, Some("8")), "{uuid}");
        assert_eq!(one.volume("a").len(), 8);
    }

    #[test]
    fn a_file_system_has_room_for_its_files() {
        let room = Room { blocks: 256 * 1000, inodes: 40_960, journal_mib: 16, room_percent: 15 };
        assert_eq!(room.mib(), 1000 + 150 + 10 + 16 + 24);
    }
}
