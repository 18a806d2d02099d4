//! `rackwright backup …` and `rackwright restore`

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// Make the recovery kit and print it, once
    #[command(after_help = "Examples:
  rackwright backup key
  rackwright backup key --replace lab

The page is the only thing that opens backups if this controller is lost: print
it and put it away. It is shown once; a lost page is replaced by a new kit, and
older backups still need the old one.")]
    Key {
        /// Make a new kit instead: the site's name
        #[arg(long, value_name = "SITE")]
        replace: Option<String>,
    },
    /// Write everything but the images into one sealed file
    #[command(after_help = "Examples:
  rackwright backup create /mnt/usb/lab.rwbackup
  rackwright backup create lab.rwbackup -o json

Images are not in it: keep the .rwimage files too.")]
    Create {
        /// The file; an older one is replaced when the new one is whole
        file: PathBuf,
    },
    /// Open a backup and look at everything in it
    #[command(after_help = "Examples:
  rackwright backup verify lab.rwbackup
  rackwright backup verify lab.rwbackup --kit kit.txt
  rackwright backup verify lab.rwbackup --kit - -o json

Works without the daemon. Without --kit the key of this controller is used,
which only its owner and root can read.")]
    Verify {
        /// The file
        file: PathBuf,
        /// The recovery kit: a file, or - to type it
        #[arg(long, value_name = "FILE")]
        kit: Option<PathBuf>,
    },
}

#[derive(Args, Clone, Debug)]
pub(crate) struct RestoreArgs {
    /// The backup
    pub(crate) file: PathBuf,
    /// The recovery kit: a file, or - to type it
    #[arg(long, value_name = "FILE")]
    pub(crate) kit: PathBuf,
    /// Replace the state that is here already: the site's name
    #[arg(long, value_name = "SITE")]
    pub(crate) confirm: Option<String>,
}
