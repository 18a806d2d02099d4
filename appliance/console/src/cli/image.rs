//! `rackwright image …`

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Waiting, Word};

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
    /// One image in full, with a picture of its disk
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
  rackwright image import /media/usb/base.rwimage -o json

Only what no other image has takes room. Importing an image that is there
already mends chunks of it that a disk has damaged.")]
    Import {
        /// The .rwimage file
        file: PathBuf,
    },
    /// Take an image of what is on a node's disk
    #[command(override_usage = "rackwright image capture --name NAME <--generalize|--as-is> NODE")]
    #[command(after_help = "Examples:
  rackwright image capture n1 --name lab-2 --generalize
  rackwright image capture n1 --name n1-monday --as-is --confirm n1
  rackwright image capture n7 --name windows --generalize --disk serial:QM1

An active node is restarted into the ramdisk, its disk is read there, and it
goes on as what it was; nothing on it is changed. A ready node has its disk read
at once: so an image is made of a server that somebody installed by hand.
--generalize leaves out ids, keys and leases, for any number of servers, and
fails when something can't be left out; --keep RULE puts it into the image all
the same. --as-is takes all of it: that image can be put on this node only.")]
    Capture(CaptureArgs),
    /// What differs between two images, and what a node fetches for it
    #[command(after_help = "Examples:
  rackwright image diff 3f9a1c 77e0b2
  rackwright image diff base-1 base-2 -o json")]
    Diff {
        /// Name or digest: what a node holds
        from: String,
        /// Name or digest: what it shall hold
        to: String,
    },
    /// Read images through and compare every chunk
    #[command(after_help = "Examples:
  rackwright image scrub base
  rackwright image scrub --all --no-wait

The daemon reads every image once a week by itself (images.scrub_days in
rackwright.toml). What is damaged is not sent to any server; status, doctor and
image show tell it. Ctrl-C leaves the scrub to itself; the same command shows
how far it is. The exit code is 1 when something is damaged.")]
    Scrub {
        /// Name or digest
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        image: Option<String>,
        /// Every image
        #[arg(long)]
        all: bool,
        /// Begin it and do not wait for its end
        #[arg(long)]
        no_wait: bool,
    },
    /// Delete images that nothing needs and that have a newer version
    #[command(after_help = "Examples:
  rackwright image prune --dry-run
  rackwright image prune --yes

An image stays that a node runs, an open plan names or a job writes, and the
newest of every name.")]
    Prune {
        /// Only say what would be deleted
        #[arg(long)]
        dry_run: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Delete an image for good
    #[command(
        alias = "rm",
        after_help = "Examples:
  rackwright image delete old-base
  rackwright image delete 3f9a1c --confirm=old-base

An image that a node runs, an open plan names or a job writes is not deleted."
    )]
    Delete {
        /// Name or digest
        image: String,
        /// The image's name, so that nobody is asked
        #[arg(long, value_name = "NAME")]
        confirm: Option<String>,
    },
}

#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("identity").required(true))]
pub(crate) struct CaptureArgs {
    /// Name, id, MAC or code
    pub(crate) node: String,
    /// What the image is called
    #[arg(long)]
    pub(crate) name: String,
    /// Without what belongs to this machine alone
    #[arg(long, group = "identity")]
    pub(crate) generalize: bool,
    /// With keys and ids, for this node only
    #[arg(long, group = "identity")]
    pub(crate) as_is: bool,
    /// Leave what this rule finds in the image
    #[arg(long, value_name = "RULE", conflicts_with = "as_is")]
    pub(crate) keep: Vec<String>,
    /// Disk as serial:X or wwn:X; usually the system disk
    #[arg(long, value_name = "DISK")]
    pub(crate) disk: Option<String>,
    /// What the image is for; usually as the installed one
    #[arg(long, value_delimiter = ',', value_name = "ROLE,...")]
    pub(crate) role: Vec<String>,
    #[command(flatten)]
    pub(crate) word: Word,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}
