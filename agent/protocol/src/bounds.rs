//! How much a server may say of itself. Anybody on the wire can say hello: what is kept of it must be little.

use crate::{Hello, Inventory, Receipt};

/// NICs of one server; switches with a processor in them have some dozens of ports.
pub const NICS_MAX: usize = 128;
/// Disks of one server: two shelves of a hundred, and some.
pub const DISKS_MAX: usize = 256;
/// What is recognised on one disk: a GPT has 128 partitions, each with something in it, and the whole disk and its table
/// come on top. Agents tell no more.
pub const HOLDINGS_MAX: usize = 264;
/// One text, in bytes. The longest that is known is a label of NTFS: 128 UTF-16 units, up to 384 bytes.
pub const TEXT_BYTES_MAX: usize = 512;

/// Why a message is more than a server has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    /// Too many of something.
    #[error("{count} {what} are more than the {most} that a server may have here")]
    Count {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// The bound.
        most: usize,
    },
    /// One text is too long.
    #[error("{what} of {bytes} bytes is longer than {TEXT_BYTES_MAX}")]
    Text {
        /// Which.
        what: &'static str,
        /// Its length.
        bytes: usize,
    },
}

impl Hello {
    /// Whether everything in it stays within bounds.
    ///
    /// # Errors
    /// The first thing that does not.
    pub fn check(&self) -> Result<(), TooMuch> {
        texts("a boot path", [&self.boot.path])?;
        self.tpm.iter().try_for_each(crate::Tpm::check)?;
        let adoption = self.adoption.iter();
        texts("a name of the system", adoption.flat_map(|adoption| [&adoption.host, &adoption.system]))?;
        self.inventory.check()
    }
}

impl Inventory {
    /// The same with as much of every list as may be told. A server with more than that still has to enrol.
    #[must_use]
    pub fn within_bounds(mut self) -> Self {
        self.nics.truncate(NICS_MAX);
        self.disks.truncate(DISKS_MAX);
        for disk in &mut self.disks {
            disk.holds.truncate(HOLDINGS_MAX);
        }
        self
    }

    /// Whether every list and every text stays within bounds.
    ///
    /// # Errors
    /// The first thing that does not.
    pub fn check(&self) -> Result<(), TooMuch> {
        let board = &self.smbios;
        texts("a processor's name", [&self.cpu.model, &self.cpu.arch])?;
        texts("a name of the firmware", [&self.firmware])?;
        let of_board = [&board.vendor, &board.product, &board.serial, &board.uuid, &board.bios];
        texts("a text of the board", of_board.into_iter().chain(self.bmc.iter().map(|bmc| &bmc.kind)))?;
        count("NICs", self.nics.len(), NICS_MAX)?;
        count("disks", self.disks.len(), DISKS_MAX)?;
        texts("a text of a NIC", self.nics.iter().flat_map(|nic| [&nic.name, &nic.driver]))?;
        for disk in &self.disks {
            texts("a text of a disk", [&disk.name, &disk.model, &disk.serial, &disk.wwn])?;
            count("things on one disk", disk.holds.len(), HOLDINGS_MAX)?;
            texts(
                "a label on a disk",
                disk.holds.iter().flat_map(|held| [&held.kind, &held.label, &held.uuid]),
            )?;
        }
        Ok(())
    }
}

impl Receipt {
    /// Whether every text in it stays within bounds.
    ///
    /// # Errors
    /// The first that does not.
    pub fn check(&self) -> Result<(), TooMuch> {
        texts("a text of a disk", self.proof.iter().flat_map(|proof| [&proof.serial, &proof.wwn]))
    }
}

pub(crate) fn count(what: &'static str, count: usize, most: usize) -> Result<(), TooMuch> {
    if count > most { Err(TooMuch::Count { what, count, most }) } else { Ok(()) }
}

pub(crate) fn texts<'a>(
    what: &'static str,
    texts: impl IntoIterator<Item = &'a String>,
) -> Result<(), TooMuch> {
    let mut lengths = texts.into_iter().map(String::len);
    lengths.find(|&bytes| bytes > TEXT_BYTES_MAX).map_or(Ok(()), |bytes| Err(TooMuch::Text { what, bytes }))
}

#[cfg(test)]
mod tests {
    use super::{DISKS_MAX, HOLDINGS_MAX, NICS_MAX, TEXT_BYTES_MAX, TooMuch};
    use crate::{Bmc, Disk, Holding, Inventory, Nic};

    type Change = fn(&mut Inventory, String);

    fn nic() -> Nic {
        let mac = "52:54:00:00:00:01".parse().unwrap();
        Nic { name: "eth0".into(), mac, speed_mbps: None, carrier: true, driver: "e1000".into() }
    }

    fn holding() -> Holding {
        Holding { kind: "ext4".into(), partition: 1, ..Holding::default() }
    }

    /// As much as may be.
    fn full() -> Inventory {
        let mut disk = Disk { holds: vec![holding(); HOLDINGS_MAX], ..Disk::default() };
        disk.holds[0].label = "x".repeat(TEXT_BYTES_MAX);
        Inventory { nics: vec![nic(); NICS_MAX], disks: vec![disk; DISKS_MAX], ..Inventory::default() }
    }

    #[test]
    fn everything_that_a_server_can_make_long_is_bounded() {
        assert_eq!(full().check(), Ok(()));
        let mut more = full();
        more.nics.push(nic());
        more.disks[9].holds.push(holding());
        more.disks.push(Disk::default());
        assert_eq!(more.within_bounds(), full(), "what an agent tells of a larger server");
        let long = || "x".repeat(TEXT_BYTES_MAX + 1);
        let table: [(&str, Change); 17] = [
            ("NICs", |i, _| i.nics.push(nic())),
            ("disks", |i, _| i.disks.push(Disk::default())),
            ("things on one disk", |i, _| i.disks[9].holds.push(holding())),
            ("a processor's name", |i, long| i.cpu.model = long),
            ("a processor's name", |i, long| i.cpu.arch = long),
            ("a name of the firmware", |i, long| i.firmware = long),
            ("a text of the board", |i, long| i.smbios.vendor = long),
            ("a text of the board", |i, long| i.smbios.uuid = long),
            ("a text of the board", |i, long| i.bmc = Some(Bmc { kind: long })),
            ("a text of a NIC", |i, long| i.nics[9].name = long),
            ("a text of a NIC", |i, long| i.nics[9].driver = long),
            ("a text of a disk", |i, long| i.disks[9].name = long),
            ("a text of a disk", |i, long| i.disks[9].model = long),
            ("a text of a disk", |i, long| i.disks[9].serial = long),
            ("a label on a disk", |i, long| i.disks[9].holds[9].kind = long),
            ("a label on a disk", |i, long| i.disks[9].holds[9].label = long),
            ("a label on a disk", |i, long| i.disks[9].holds[9].uuid = long),
        ];
        for (wanted, change) in table {
            let mut inventory = full();
            change(&mut inventory, long());
            let (TooMuch::Count { what, .. } | TooMuch::Text { what, .. }) = inventory.check().unwrap_err();
            assert_eq!(what, wanted);
        }
    }
}
