//! `rackwright node …`

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::burn_in::TEST_EXAMPLES;
use super::{BmcCommand, BootDevice, Course, PowerCommand, TestArgs, Waiting, Word};

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// All servers
    #[command(
        alias = "ls",
        after_help = "Examples:
  rackwright node list
  rackwright node list -o json"
    )]
    List,
    /// One server in full
    #[command(after_help = "Examples:
  rackwright node show n1
  rackwright node show 52:54:00:12:34:56")]
    Show {
        /// Name, id, MAC or code
        node: String,
    },
    /// Every change of state as it happens
    #[command(after_help = "Examples:
  rackwright node watch
  rackwright node watch n1 -o json")]
    Watch {
        /// Only this one: name, id, MAC or code
        node: Option<String>,
    },
    /// Let a server in whose code you have compared
    #[command(after_help = "Examples:
  rackwright node approve X7K2QD
  rackwright node approve n1 --name db1 --role control,network")]
    Approve {
        /// Name, id, MAC or code
        node: String,
        /// Call it so
        #[arg(long)]
        name: Option<String>,
        /// Give it these roles
        #[arg(long, value_delimiter = ',', value_name = "ROLE,...")]
        role: Vec<String>,
        /// It is this node; you moved or replaced a part
        #[arg(long)]
        moved: bool,
        /// Do not ask whether the code was compared
        #[arg(long)]
        yes: bool,
    },
    /// Invite a server that runs Debian; its disks stay
    #[command(after_help = "Examples:
  rackwright node adopt
  rackwright node adopt --name web1 --for 30m
  rackwright node adopt --list
  rackwright node adopt --revoke 1f2e3d4c

Prints one line to paste on the server, as root. It puts the agent there and
nothing else; the server then asks to be let in, with a code to compare. The
line is good for one server, and only for a while.")]
    Adopt {
        /// Call it so; usually what it calls itself
        #[arg(long)]
        name: Option<String>,
        /// How long the line is good: 30m, 1h, 2d
        #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = super::span)]
        period: Duration,
        /// Show who was invited
        #[arg(long, conflicts_with_all = ["name", "period", "revoke"])]
        list: bool,
        /// Take an invitation back, by its id
        #[arg(long, value_name = "ID", conflicts_with_all = ["name", "period"])]
        revoke: Option<String>,
    },
    /// Keep a server out
    #[command(after_help = "Examples:
  rackwright node reject X7K2QD
  rackwright node reject n1 --why 'a visitor'")]
    Reject {
        /// Name, id, MAC or code
        node: String,
        /// Why, for the log
        #[arg(long, default_value = "rejected by the operator")]
        why: String,
    },
    /// Give a server another name
    #[command(after_help = "Examples:
  rackwright node rename n1 db1
  rackwright node rename 52:54:00:12:34:56 db1")]
    Rename {
        /// Name, id, MAC or code
        node: String,
        /// The new name
        new: String,
    },
    /// What servers are for
    #[command(
        subcommand,
        after_help = "Examples:
  rackwright node role set n1 control,network
  rackwright node role set n2 compute"
    )]
    Role(RoleCommand),
    /// Plan to install or rebuild; changes nothing
    #[command(after_help = "Examples:
  rackwright node plan n1
  rackwright node plan n1 --image base --disk serial:QM1 --role compute
  rackwright node plan n1 --erase lvm:vg0 --erase luks@3 --verify stream")]
    Plan {
        /// Name, id, MAC or code
        node: String,
        #[command(flatten)]
        choice: Choice,
    },
    /// Erase the system disk and install again; keeps who it is
    #[command(after_help = "Examples:
  rackwright node rebuild n1
  rackwright node rebuild n1 --image base --confirm n1 --no-wait

A compute node of a cloud is proven by an instance at the end (cloud smoke),
not with -o json or --no-wait.")]
    Rebuild {
        /// Name, id, MAC or code
        node: String,
        #[command(flatten)]
        choice: Choice,
        #[command(flatten)]
        word: Word,
        #[command(flatten)]
        course: Course,
    },
    /// Power: on, off, off and on again, and what is known of it
    #[command(
        subcommand,
        after_help = "Examples:
  rackwright node power on n1
  rackwright node power off n1 --confirm n1
  rackwright node power status n1"
    )]
    Power(PowerCommand),
    /// What the next boot is from, and only that one
    #[command(after_help = "Examples:
  rackwright node boot n1 pxe
  rackwright node boot n1 disk --no-wait

Needs a management controller (rackwright node bmc set). Whether the firmware
obeys is seen when it boots: rackwright node why n1.")]
    Boot {
        /// Name, id, MAC or code
        node: String,
        /// pxe, disk, bios
        #[arg(value_enum, hide_possible_values = true)]
        device: BootDevice,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Management controllers: address, account, test
    #[command(
        subcommand,
        after_help = "Examples:
  rackwright node bmc set n1 --kind redfish --addr 10.0.9.11 --user ops
  rackwright node bmc test n1"
    )]
    Bmc(BmcCommand),
    /// Its serial console, through its management controller
    #[command(after_help = "Examples:
  rackwright node console n1
  rackwright node console n1 --take
  rackwright node console n1 --read

Every key goes to the server, Ctrl-C too; Ctrl-] q leaves. Into a file or a
pipe it only reads. Needs IPMI with serial over LAN switched on.")]
    Console {
        /// Name, id, MAC or code
        node: String,
        /// Only look: type nothing
        #[arg(long, conflicts_with = "take")]
        read: bool,
        /// Take it from whoever has it
        #[arg(long)]
        take: bool,
    },
    /// Put servers under load, and see what is broken
    #[command(after_help = TEST_EXAMPLES)]
    Test(TestArgs),
    /// Plan to erase its disks and retire it; changes nothing
    #[command(after_help = "Examples:
  rackwright node retire n1
  rackwright node retire n1 --keep serial:QM2

Apply the plan to begin: the node restarts into the ramdisk, every disk that
is not kept is erased and read back, and its certificates are void then.
What proves it: rackwright node erasures n1")]
    Retire {
        /// Name, id, MAC or code
        node: String,
        /// Leave this disk alone, as serial:X or wwn:X
        #[arg(long, value_name = "DISK")]
        keep: Vec<String>,
    },
    /// Disks that were erased, each with its certificate
    #[command(after_help = "Examples:
  rackwright node erasures
  rackwright node erasures n1
  rackwright node erasures serial:QM1 -o json")]
    Erasures {
        /// In full, of this node or disk: name, id or serial number
        of: Option<String>,
    },
    /// Forget a retired or rejected node
    #[command(after_help = "Examples:
  rackwright node delete n1
  rackwright node delete n1 --confirm n1")]
    Delete {
        /// Name, id, MAC or code
        node: String,
        /// The node's name, instead of typing it
        #[arg(long, value_name = "NAME")]
        confirm: Option<String>,
    },
    /// The facts that led here, what it waits for, and how it booted
    #[command(after_help = "Examples:
  rackwright node why n1
  rackwright node why 18:66:da:10:20:30
  rackwright node why n1 -o json

The MAC may be of a machine that is no node yet: then its network boots are told
since the controller was started, step by step, with what is likely wrong.")]
    Why {
        /// Name, id, MAC or code
        node: String,
    },
    /// Try again after attention
    #[command(after_help = "Examples:
  rackwright node retry n1
  rackwright node retry X7K2QD")]
    Retry {
        /// Name, id, MAC or code
        node: String,
    },
    /// Let a new server take over who a node is
    #[command(after_help = "Examples:
  rackwright node replace n1 n7
  rackwright node replace n1 X7K2QD --confirm n1

The new server gets name, id, roles, address and SSH host keys of the old one,
whose certificates are void. It goes on from where it is: approve it, plan,
apply. For a new board or NIC in the same server:
rackwright node approve n1 --moved")]
    Replace {
        /// The node whose place is taken
        old: String,
        /// The new server: name, id, MAC or code
        new: String,
        /// Also when the old one was heard just now
        #[arg(long)]
        force: bool,
        /// The old node's name, instead of typing it
        #[arg(long, value_name = "NAME")]
        confirm: Option<String>,
    },
    /// Keep a node out of every plan and job
    #[command(after_help = "Examples:
  rackwright node hold n1 --why 'fan is noisy'
  rackwright node hold 52:54:00:12:34:56 --why 'lent to the lab'

It goes on with what it runs, and boots its own disk. Its open plan is
withdrawn.")]
    Hold {
        /// Name, id, MAC or code
        node: String,
        /// Why, for whoever reads it next
        #[arg(long)]
        why: String,
    },
    /// Into the ramdisk, for you to mend it by hand
    #[command(after_help = "Examples:
  rackwright node rescue n1
  rackwright node rescue n1 --ssh-key ~/.ssh/id_ed25519.pub --confirm n1
  rackwright node rescue n1 --end

Nothing is written to any disk, and all of them refuse writes until you make one
writable (blockdev --setrw). Enter on its console opens a shell; whoever has a
key that you name gets in by SSH as root. Switch a node off and on whose own
system does not come up; it may show its code once more. With --end it restarts,
and goes on as what it was.")]
    Rescue {
        /// Name, id, MAC or code
        node: String,
        /// SSH public keys that may log in, one a line
        #[arg(long, value_name = "FILE")]
        ssh_key: Option<PathBuf>,
        /// It is mended, or given up
        #[arg(long, conflicts_with_all = ["ssh_key", "confirm", "force"])]
        end: bool,
        #[command(flatten)]
        word: Word,
    },
    /// You work at it: no alarm, no job until you are done
    #[command(after_help = "Examples:
  rackwright node service n1 on --why 'a new DIMM'
  rackwright node service n1 off

Its silence and its restarts are no news meanwhile, rollouts leave it out, and
nothing begins on it. Afterwards it has to be heard again.")]
    Service {
        /// Name, id, MAC or code
        node: String,
        /// on, off
        #[arg(value_enum, hide_possible_values = true)]
        turn: Turn,
        /// Why, for whoever reads it next
        #[arg(long)]
        why: Option<String>,
    },
    /// Let a held node go on
    #[command(after_help = "Examples:
  rackwright node release n1
  rackwright node release n1 -o json")]
    Release {
        /// Name, id, MAC or code
        node: String,
    },
    /// Fix the address of a NIC, for good
    #[command(after_help = "Examples:
  rackwright node set-address n1 10.77.0.21
  rackwright node set-address n1 10.77.0.21 --mac 52:54:00:12:34:56")]
    SetAddress {
        /// Name, id, MAC or code
        node: String,
        /// The IPv4 address
        address: Ipv4Addr,
        /// The NIC; usually the one that boots
        #[arg(long)]
        mac: Option<String>,
    },
}

/// Whether somebody works at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Turn {
    On,
    Off,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RoleCommand {
    /// Set the roles; those not named are taken away
    #[command(after_help = "Examples:
  rackwright node role set n1 control,network
  rackwright node role set n2 compute")]
    Set {
        /// Name, id, MAC or code
        node: String,
        /// control, compute, network, storage
        #[arg(required = true, value_delimiter = ',', value_name = "ROLE,...")]
        roles: Vec<String>,
    },
}

/// What a plan may be told.
#[derive(Args, Debug)]
pub(crate) struct Choice {
    /// Image by name or digest; usually the newest that fits
    #[arg(long)]
    pub(crate) image: Option<String>,
    /// Disk as serial:X or wwn:X; usually the system disk
    #[arg(long, value_name = "DISK")]
    pub(crate) disk: Option<String>,
    /// Disk for its data; usually the only free one
    #[arg(long, value_name = "DISK")]
    pub(crate) data_disk: Option<String>,
    /// Give it these roles
    #[arg(long, value_delimiter = ',', value_name = "ROLE,...")]
    pub(crate) role: Vec<String>,
    /// Erase this part of something bigger too
    #[arg(long, value_name = "KIND:NAME")]
    pub(crate) erase: Vec<String>,
    /// readback, or stream: no reading back
    #[arg(long, value_name = "HOW", value_parser = ["readback", "stream"], hide_possible_values = true)]
    pub(crate) verify: Option<String>,
}
