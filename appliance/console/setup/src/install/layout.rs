//! Where what lies on the disk of an installed controller. Pure: numbers and texts only.

/// Everything begins at a multiple of this, in bytes.
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// As on a disk's label.
const GB: u64 = 1_000_000_000;
/// The BIOS loader is where the medium's `core.img` was made for.
const BIOS: Place = Place { first_mib: 1, mib: 1 };
const ESP: Place = Place { first_mib: 2, mib: 256 };
const SLOTS_MIB: u64 = 258;
/// Images of nodes, the state, a journal: less is of no use.
const DATA_MIB: u64 = 8 << 10;

/// Where something is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    first_mib: u64,
    mib: u64,
}

impl Place {
    /// All of something of so many bytes; what is beyond its last whole MiB is left alone.
    #[must_use]
    pub fn whole(bytes: u64) -> Place {
        Place { first_mib: 0, mib: bytes / MIB }
    }

    /// First byte.
    #[must_use]
    pub fn offset(self) -> u64 {
        self.first_mib * MIB
    }

    /// Length in bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.mib * MIB
    }
}

/// The disk is too small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it has {} GB, and at least {} GB are needed with this medium", .is / GB, .least.div_ceil(GB))]
pub struct TooSmall {
    is: u64,
    least: u64,
}

/// A whole disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    slot_mib: u64,
    data_mib: u64,
}

impl Layout {
    /// On a disk of so many bytes, for a medium of so many. A slot has room for one twice as large: later ones will have to fit.
    ///
    /// # Errors
    /// [`TooSmall`].
    pub fn of(disk: u64, medium: u64) -> Result<Layout, TooSmall> {
        let slot_mib = medium.saturating_mul(2).div_ceil(GIB).max(2).saturating_mul(1 << 10);
        let data = SLOTS_MIB.saturating_add(slot_mib.saturating_mul(2));
        // The last MiB has the second partition table.
        let data_mib = (disk / MIB).saturating_sub(data.saturating_add(1));
        if data_mib < DATA_MIB {
            return Err(TooSmall { is: disk, least: data.saturating_add(DATA_MIB + 1).saturating_mul(MIB) });
        }
        Ok(Layout { slot_mib, data_mib })
    }

    /// The BIOS boot partition.
    #[must_use]
    pub fn bios(self) -> Place {
        BIOS
    }

    /// The EFI system partition.
    #[must_use]
    pub fn esp(self) -> Place {
        ESP
    }

    /// The first of the two slots.
    #[must_use]
    pub fn slot(self) -> Place {
        Place { first_mib: SLOTS_MIB, mib: self.slot_mib }
    }

    /// What the controller changes.
    #[must_use]
    pub fn data(self) -> Place {
        Place { first_mib: SLOTS_MIB + 2 * self.slot_mib, mib: self.data_mib }
    }

    /// The partition table, as sfdisk(8) reads it, of the disk with this id. Types from the GPT chapter of the UEFI specification and
    /// the Discoverable Partitions Specification.
    #[must_use]
    pub fn table(self, id: &str) -> String {
        const LINUX: &str = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";
        let second = Place { first_mib: SLOTS_MIB + self.slot_mib, mib: self.slot_mib };
        let line = |place: Place, kind: &str, name: &str| {
            let Place { first_mib, mib } = place;
            format!("start={first_mib}MiB, size={mib}MiB, type={kind}, name=\"rackwright-{name}-{id}\"\n")
        };
        [
            "label: gpt\n".to_owned(),
            line(BIOS, "21686148-6449-6E6F-744E-656564454649", "bios"),
            line(ESP, "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "esp"),
            line(self.slot(), LINUX, "a"),
            line(second, LINUX, "b"),
            line(self.data(), LINUX, "data"),
        ]
        .concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_each_other_and_fill_the_disk() {
        for (disk, medium) in [(13 << 30, 1), (16 << 30, 900 << 20), (2000 << 30, 2500 << 20)] {
            let layout = Layout::of(disk, medium).unwrap();
            assert_eq!(BIOS.offset() + BIOS.bytes(), ESP.offset());
            assert_eq!(ESP.offset() + ESP.bytes(), layout.slot().offset());
            assert_eq!(layout.slot().offset() + 2 * layout.slot().bytes(), layout.data().offset());
            assert!(layout.slot().bytes() >= 2 * medium);
            let end = layout.data().offset() + layout.data().bytes();
            assert!(end + MIB <= disk && end + 2 * MIB > disk, "{end} of {disk}");
            assert_eq!(layout.table("x").lines().count(), 6);
        }
    }

    #[test]
    fn a_disk_that_is_too_small_is_told_how_large_it_must_be() {
        for medium in [0, 900 << 20, 3 << 30, u64::MAX] {
            for disk in [0, 1, 12 << 30] {
                let TooSmall { least, .. } = Layout::of(disk, medium).unwrap_err();
                assert!(least > disk || least == u64::MAX);
                assert!(
                    medium == u64::MAX
                        || Layout::of(least, medium).is_ok() && Layout::of(least - 1, medium).is_err()
                );
            }
        }
    }
}
