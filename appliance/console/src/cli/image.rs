//! `rackwright image …`

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// All images
    #[command(
        alias = "ls",
        after_help = "Examples:
  rackwright image list
  rackwright image list -o json"
    )]
    List,
    /// One image in full
    #[command(after_help = "Examples:
  rackwright image show base
  rackwright image show 3f9a1c")]
    Show {
        /// Name or digest
        image: String,
    },
    /// Put an image file into the store
    #[command(after_help = "Examples:
  rackwright image import compute.rwimage
  rackwright image import /media/usb/base.rwimage -o json")]
    Import {
        /// The .rwimage file
        file: PathBuf,
    },
    /// Read an image through and compare every chunk
    #[command(after_help = "Examples:
  rackwright image verify base
  rackwright image verify 3f9a1c -o json")]
    Verify {
        /// Name or digest
        image: String,
    },
}
