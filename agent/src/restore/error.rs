//! Why an image is not restored.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use pack::PublicKey;

use crate::deploy::imaging::deliver::DeliveryError;
use crate::deploy::imaging::fitting::FittingError;
use crate::deploy::imaging::hold::HoldError;
use crate::deploy::imaging::target::DiskError;
use crate::restore::options::OptionsError;

/// What stands in the way, and where that is known, what the disk is now.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The command line.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The image file can't be read.
    #[error("reading {image}")]
    Read {
        /// The file.
        image: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// It is no image, or not a whole one.
    #[error("refusing {image}")]
    Header {
        /// The file.
        image: PathBuf,
        /// Why.
        source: pack::HeaderError,
    },
    /// It is not what was signed, or not signed by whom it should be.
    #[error("refusing {image}")]
    Untrusted {
        /// The file.
        image: PathBuf,
        /// Why.
        source: pack::VerifyError,
    },
    /// `--trust` was not given and nobody is there to say that this key is right.
    #[error("refusing {image}: is {signer}, who signed it, to be trusted? If so: --trust {signer}")]
    Signer {
        /// The file.
        image: PathBuf,
        /// Who signed.
        signer: PublicKey,
    },
    /// There is no such disk.
    #[error("{disk} is no whole disk: `rackwright-agent inventory` lists those that are here")]
    NoDisk {
        /// As it was given.
        disk: PathBuf,
    },
    /// The disk is too small.
    #[error("the image needs a disk of at least {need} bytes, {disk} has {have}")]
    TooBig {
        /// The disk.
        disk: String,
        /// The smallest that the image goes onto.
        need: u64,
        /// The disk's.
        have: u64,
    },
    /// It can't be fitted to the disk's size.
    #[error(transparent)]
    Fitting(#[from] FittingError),
    /// Tables and file systems would be found nowhere.
    #[error("the image is made for sectors of {image} bytes, {disk} has sectors of {have}")]
    Sectors {
        /// The disk.
        disk: String,
        /// The image's.
        image: u32,
        /// The disk's.
        have: u32,
    },
    /// The disk's serial number was not typed.
    #[error("nothing was written: {disk} is confirmed by {want:?}, not by {got:?}")]
    NotConfirmed {
        /// The disk.
        disk: String,
        /// What would confirm it.
        want: String,
        /// What came.
        got: String,
    },
    /// Somebody uses a disk, or one can't be protected.
    #[error(transparent)]
    Hold(#[from] HoldError),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// No threads, no signals.
    #[error("asking the kernel")]
    Runtime(#[source] io::Error),
    /// The delivery itself.
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
    /// It could not be written.
    #[error("{why}; {left}")]
    Failed {
        /// What, where, the kernel's words.
        why: String,
        /// What the disk is now.
        left: &'static str,
    },
    /// Another disk is in danger.
    #[error("another disk can't be protected")]
    Exposed(#[source] Arc<HoldError>),
    /// A person or the system said stop.
    #[error("stopped by {0}: the disk does not boot; the same command goes on from here")]
    Stopped(String),
}
