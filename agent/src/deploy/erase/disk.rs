//! A disk of this server, as the procedure sees it.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use protocol::{DiskBus, Method};

use super::Count;
use super::nvme::{self, Admin, Command, FirmwareError};
use super::procedure::Medium;
use crate::deploy::imaging::target::{DiskError, Drive};
use crate::sys;

/// What goes wrong with it.
#[derive(Debug, thiserror::Error)]
pub(super) enum MediumError {
    /// Reading or writing.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Its firmware.
    #[error(transparent)]
    Firmware(#[from] FirmwareError),
}

/// An open disk.
#[derive(Debug)]
pub(super) struct Here {
    pub(super) drive: Drive,
    pub(super) bus: DiskBus,
    /// Which namespaces of its drive are disks of this server, if it is an NVMe drive.
    pub(super) namespaces: BTreeSet<u32>,
    /// Where it is heard that it is to stop.
    pub(super) count: Arc<Count>,
}

impl Medium for Here {
    type Error = MediumError;

    fn bytes(&self) -> u64 {
        self.drive.disk().bytes()
    }

    fn read(&self, at: u64, out: &mut [u8]) -> Result<(), MediumError> {
        Ok(self.drive.read("reading", at, out)?)
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Result<(), MediumError> {
        Ok(self.drive.write(at, bytes)?)
    }

    fn flush(&self) -> Result<(), MediumError> {
        Ok(self.drive.flush()?)
    }

    fn settle(&self) -> Result<(), MediumError> {
        if self.bus == DiskBus::Nvme {
            nvme::settle(self)?;
            nvme::all_seen(self, &self.namespaces)?;
        }
        Ok(())
    }

    fn firmware(&self) -> Result<(Option<Method>, String), MediumError> {
        if self.bus == DiskBus::Nvme { Ok(nvme::erase(self)?) } else { Ok((None, String::new())) }
    }
}

impl Admin for Here {
    fn send(&self, command: Command, data: &mut [u8]) -> io::Result<u16> {
        let Command { opcode, namespace, dwords: [ten, eleven], timeout_ms } = command;
        sys::nvme_admin(&**self.drive.disk(), (opcode, namespace), [ten, eleven], data, timeout_ms)
    }

    fn namespace(&self) -> io::Result<u32> {
        sys::nvme_namespace(&**self.drive.disk())
    }

    fn pause(&self, time: Duration) -> bool {
        std::thread::sleep(time);
        self.count.goes_on()
    }
}
