//! How a machine that has nothing to do here is sent to its own disk.

use serde::{Deserialize, Serialize};

use super::Loader;

/// One way. None works with every firmware, so a machine that comes back to the network instead of starting its disk is
/// sent the next one ([`super::History`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LocalBoot {
    /// The script starts the disk itself: GRUB by `chainloader`, iPXE by `sanboot`. Works whatever the boot order is;
    /// not where firmware has no driver for the disk up while it boots from the network.
    #[default]
    Start,
    /// iPXE's script tries the same once and then ends with an error, which sends firmware to the next entry of its
    /// boot order. GRUB cannot: firmware shows its setup screen when GRUB ends.
    Return,
    /// DHCP names a boot file that does not exist: firmware goes to the next entry of its boot order within seconds,
    /// where an offer without a file, or none, costs a minute.
    MissingFile,
}

impl LocalBoot {
    /// The way to try when this one brings a machine back, for one that runs this loader; the first after the last.
    #[must_use]
    pub const fn next(self, loader: Loader) -> LocalBoot {
        match (self, loader) {
            (LocalBoot::Start, Loader::Ipxe | Loader::Script) => LocalBoot::Return,
            (LocalBoot::Start, Loader::Shim) | (LocalBoot::Return, _) => LocalBoot::MissingFile,
            (LocalBoot::MissingFile, _) => LocalBoot::Start,
        }
    }
}
