//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use pack::PublicKey;
use pack::foreign::DiskFormat;

use crate::mirror::Mirror;
use crate::workshop::Setup;

/// Builds what Rackwright boots servers with: the boot ramdisk, node images, the controller's root file system, the ISO.
///
/// Packages come from the Debian mirror this machine uses. The same inputs give the same bytes.
#[derive(Debug, Parser)]
#[command(name = "image-build", version, max_term_width = 110, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How to do it.
    #[command(flatten)]
    pub how: How,
}

const EXAMPLES: &str = "\
Examples:
  apt-get install $(image-build prerequisites)
  image-build ramdisk --agent rackwright-agent --out boot/ --cache ~/.cache/rackwright
  image-build node --role control --agent rackwright-agent --out control.rwimage --cache ~/.cache/rackwright
  image-build node --role compute --role network --agent rackwright-agent --out node.rwimage --raw node.raw
  image-build node --role control --role cloud --optional heat --agent rackwright-agent --out control.rwimage
  image-build capture /dev/sdb --name lab-1 --role compute --generalize --out lab-1.rwimage
  image-build verify node.rwimage --trust $(image-build show node.rwimage | awk '/^signed/ {print $3}')
  image-build import debian-13.qcow2 --format qcow2 --out debian-13.rwimage
  image-build export node.rwimage --format qcow2 --out node.qcow2
  image-build controller --appliance rackwright --out controller/ --cache ~/.cache/rackwright
  image-build iso --appliance rackwright --boot boot/ --image control.rwimage --out rackwright.iso --cache ~/.cache/rackwright
  image-build verify rackwright.iso --trust KEY";

/// Options of every build.
#[derive(Debug, Args)]
pub struct How {
    /// Folder with the recipes
    #[arg(long, global = true, value_name = "DIR", default_value = "image-build/recipes")]
    pub recipes: PathBuf,
    /// Keep results and downloads here; a second run with the same inputs returns at once
    #[arg(long, global = true, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Folder for what is half done (a few GiB for a node image)
    #[arg(long, global = true, value_name = "DIR")]
    pub work: Option<PathBuf>,
    /// Ask the mirror for new package lists now; otherwise those of the last 24 hours are used
    #[arg(long, global = true)]
    pub refresh: bool,
    /// Debian mirror, instead of the one this machine uses
    #[arg(long, global = true, value_name = "URI")]
    pub mirror: Option<String>,
    /// Mirror of the security updates, with --mirror
    #[arg(long, global = true, value_name = "URI", requires = "mirror")]
    pub security_mirror: Option<String>,
    /// Build twice without a cache and compare: the proof that the result depends on its inputs only
    #[arg(long, global = true)]
    pub check: bool,
    /// Build without a cache and compare with what OUT holds, which stays as it is
    #[arg(long, global = true, conflicts_with = "check")]
    pub compare: bool,
    /// No progress lines
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

impl How {
    /// Where what is half done lies.
    pub fn work(&self) -> PathBuf {
        self.work.clone().or_else(|| self.cache.clone()).unwrap_or_else(std::env::temp_dir)
    }

    /// The workshop this asks for.
    pub fn setup(&self) -> Setup {
        let mirror = self.mirror.clone();
        Setup {
            recipes: self.recipes.clone(),
            cache: self.cache.clone(),
            work: self.work(),
            refresh: self.refresh,
            mirror: mirror.map(|main| Mirror { main, security: self.security_mirror.clone() }),
            quiet: self.quiet,
        }
    }
}

/// For whom a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// People
    Text,
    /// Programs
    Json,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build the boot store: kernel, ramdisk with the agent, boot loaders, the guest that proves clouds
    Ramdisk {
        /// The static agent program
        #[arg(long, value_name = "FILE")]
        agent: PathBuf,
        /// The image-build program that the agent runs there to look into disks, as shipped [default: this very program]
        #[arg(long, value_name = "FILE")]
        image_build: Option<PathBuf>,
        /// Folder to write the boot store to
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Build a node image: a whole disk, bootable by BIOS and UEFI, packed and signed
    Node {
        /// A role the image can serve; repeat for more
        #[arg(long = "role", value_name = "ROLE", required = true)]
        roles: Vec<String>,
        /// An optional service of its roles to carry, beside `--role cloud`; repeat for more
        #[arg(long, value_name = "SERVICE")]
        optional: Vec<String>,
        /// The agent program; with the compute role it is the one with libvirt in it
        #[arg(long, value_name = "FILE")]
        agent: PathBuf,
        /// Image file to write
        #[arg(long, value_name = "FILE.rwimage")]
        out: PathBuf,
        /// Write the plain disk too
        #[arg(long, value_name = "FILE")]
        raw: Option<PathBuf>,
        /// Name of the image [default: its roles]
        #[arg(long)]
        name: Option<String>,
        /// Folder with the catalog
        #[arg(long, value_name = "DIR", default_value = "appliance/catalog")]
        catalog: PathBuf,
        /// File with the key that signs; made when missing
        #[arg(long, value_name = "FILE", default_value = "target/image-build/image.key")]
        key: PathBuf,
        /// zstd level, 1 (quick) to 19 (small) [default: the recipe's]
        #[arg(long, value_name = "N")]
        level: Option<i32>,
    },
    /// Show what an image file is, whoever signed it
    Show {
        /// The image file
        image: PathBuf,
    },
    /// Read a whole image file and compare it with its signed manifest; or an ISO (a name that ends in .iso) with the signed
    /// checksum beside it
    Verify {
        /// The image file, or the ISO
        image: PathBuf,
        /// Public key that must have signed it, 64 hexadecimal digits (`image-build show` prints it)
        #[arg(long, value_name = "KEY")]
        trust: PublicKey,
    },
    /// Pack and sign a disk that somebody else made: raw or qcow2, plain or compressed with gzip, xz or zstd
    ///
    /// The file is read by this program alone. Whatever needs a second file or a key is refused.
    Import {
        /// The disk image
        file: PathBuf,
        /// Image file to write
        #[arg(long, value_name = "FILE.rwimage")]
        out: PathBuf,
        /// What the file, or the stream in it, is: raw or qcow2; refused when its content says otherwise
        /// [default: what its content says]
        #[arg(long, value_name = "FORMAT")]
        format: Option<DiskFormat>,
        /// Size of the disk; no more is unpacked, and no other size is taken
        #[arg(long, value_name = "BYTES")]
        disk_bytes: Option<u64>,
        /// Name of the image [default: the file's]
        #[arg(long)]
        name: Option<String>,
        /// Machine type, as Debian calls it
        #[arg(long, value_name = "ARCH", default_value = "amd64")]
        arch: String,
        /// A role the image can serve; repeat for more
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<String>,
        /// File with the key that signs; made when missing
        #[arg(long, value_name = "FILE", default_value = "target/image-build/image.key")]
        key: PathBuf,
        /// zstd level, 1 (quick) to 19 (small)
        #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..=19))]
        level: i32,
    },
    /// Take an image of a disk that nobody uses: what its file systems use, and no more. Refused when something on it belongs
    /// to one machine (see `lint`), unless that is stripped or let in
    Capture {
        /// The block device, or a file with a disk in it
        source: PathBuf,
        /// Image file to write
        #[arg(long, value_name = "FILE.rwimage")]
        out: PathBuf,
        /// Name of the image
        #[arg(long)]
        name: String,
        /// Machine type, as Debian calls it
        #[arg(long, value_name = "ARCH", default_value = "amd64")]
        arch: String,
        /// A role the image can serve; repeat for more
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<String>,
        /// Bytes of a sector: 512 or 4096 [default: the device's; for a file, what its partition table says]
        #[arg(long, value_name = "N")]
        sector_bytes: Option<u32>,
        /// File with the key that signs; made when missing
        #[arg(long, value_name = "FILE", default_value = "target/image-build/image.key")]
        key: PathBuf,
        /// zstd level, 1 (quick) to 19 (small)
        #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..=19))]
        level: i32,
        /// Compress with lz4 instead: larger, and unpacked faster
        #[arg(long, conflicts_with = "level")]
        lz4: bool,
        /// Strip what belongs to one machine, in a view of the disk: the disk itself stays as it is. Refused when something
        /// can't be stripped, or looked into, and is not kept by name
        #[arg(long, conflicts_with = "as_is")]
        generalize: bool,
        /// Take the disk as it is, with what belongs to one machine; what was found is still said
        #[arg(long)]
        as_is: bool,
        /// Let this into the image: the name of a finding; repeat for more
        #[arg(long, value_name = "ID")]
        keep: Vec<String>,
    },
    /// Look for what must not be in a golden image: identity, secrets, bindings to hardware; changes nothing
    Lint {
        /// A disk, a file with a disk in it, or a folder with a system in it
        source: PathBuf,
        /// How to say it
        #[arg(long, short, value_enum, default_value_t = Output::Text)]
        output: Output,
        /// Let this into the image: the name of a finding; repeat for more
        #[arg(long, value_name = "ID")]
        keep: Vec<String>,
        /// Use these rules instead of the built-in ones
        #[arg(long, value_name = "FILE.toml")]
        rules: Option<PathBuf>,
    },
    /// Make a view of a disk from which everything was taken that belongs to one machine, and keep it until standard input
    /// ends. Says in one line of JSON where it is and what was found; ends with 5 when something could not be stripped, or
    /// looked into, and was not kept by name. The agent runs this in the boot ramdisk, for `rackwright image capture --generalize`
    View {
        /// The block device, or a file with a disk in it; stays as it is
        source: PathBuf,
        /// Let this into the view: the name of a finding; repeat for more
        #[arg(long, value_name = "ID")]
        keep: Vec<String>,
    },
    /// Remove the devices that runs of `view`, `capture` and `lint` have left which were killed. The agent runs this before it
    /// takes an image
    Clear,
    /// Unpack an image file into a disk file that other programs read
    Export {
        /// The image file
        image: PathBuf,
        /// Disk file to write
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// raw or qcow2
        #[arg(long, value_name = "FORMAT")]
        format: DiskFormat,
    },
    /// Build the controller's root file system
    Controller {
        /// The `rackwright` program
        #[arg(long, value_name = "FILE")]
        appliance: PathBuf,
        /// Folder to write it to, or an archive when the name ends in .tar
        #[arg(long, value_name = "DIR|FILE.tar")]
        out: PathBuf,
    },
    /// Build the ISO: a live controller for optical drives, USB sticks and virtual media, started by BIOS and by UEFI with Secure
    /// Boot. Beside it come its checksum, the signature of that, and the list of what is in it (SPDX)
    Iso {
        /// The `rackwright` program
        #[arg(long, value_name = "FILE")]
        appliance: PathBuf,
        /// The boot store, as `image-build ramdisk` wrote it
        #[arg(long, value_name = "DIR")]
        boot: PathBuf,
        /// A node image, signed with the key; repeat for more
        #[arg(long = "image", value_name = "FILE.rwimage")]
        images: Vec<PathBuf>,
        /// Folder with the documentation
        #[arg(long, value_name = "DIR", default_value = "appliance/docs")]
        docs: PathBuf,
        /// Folder with the catalog
        #[arg(long, value_name = "DIR", default_value = "appliance/catalog")]
        catalog: PathBuf,
        /// What the programs were locked to
        #[arg(long, value_name = "FILE", default_value = "Cargo.lock")]
        lock: PathBuf,
        /// File with the key that signs; made when missing
        #[arg(long, value_name = "FILE", default_value = "target/image-build/image.key")]
        key: PathBuf,
        /// ISO file to write
        #[arg(long, value_name = "FILE.iso")]
        out: PathBuf,
    },
    /// Print the Debian packages this program needs on the machine it runs on
    Prerequisites,
}
