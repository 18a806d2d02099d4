//! Power: what a person wants of it, and what is known of it.
//!
//! One queue for each node, and at most one request on its way to a management controller, even where several nodes share
//! one: they freeze under bursts. After one wrong password nothing more is asked of it until the operator has set another,
//! because many lock the account or the asker out. What it says of power is an observation with a time, never the truth:
//! a node is on when its agent is heard with a new boot id, and off when its controller says so *and* its agent is silent.
//!
//! The shell asks [`due`] what is next, begins it ([`PowerEvent::Begin`]), does it after the commit, and brings what came of
//! it ([`PowerEvent::Answered`]). An answer that never comes is one of the ways it can end.

pub mod account;
pub mod console;
pub mod frame;
mod proof;
mod queue;

use protocol::{JobId, NodeId};
use serde::{Deserialize, Serialize};

pub use account::{Account, AccountError, Address, Kind, Sealed, User};
pub use console::{Console, ConsoleEvent, Keyboard, Line};
pub use queue::{abandon, due, orders, writes};
pub(crate) use queue::{asked, interrupted, overdue, stays, step};

use crate::Time;

/// Seconds within which a request is answered, or is taken for lost. The shell gives up before, at 45.
pub const FLIGHT_SECONDS: u64 = 60;
/// Seconds that a system has to go down by itself before its power is cut: systemd's own limit for a unit is 90.
pub const SOFT_SECONDS: u64 = 120;
/// Seconds after the order within which a node must be off: the soft time, and as much again for a controller that is slow.
pub const OFF_SECONDS: u64 = 2 * SOFT_SECONDS + 60;
/// Seconds after the order within which a node must be heard: a server with much memory may spend ten minutes in its
/// firmware (the same as for a first boot).
pub const ON_SECONDS: u64 = 25 * 60;
/// Seconds in which a person is to press a button: a day, because racks are in other buildings.
pub const HAND_SECONDS: u64 = 24 * 3600;
/// Seconds within which a setting must be taken: the retries below, with room.
pub const SETTING_SECONDS: u64 = 5 * 60;
/// Seconds of silence that make a node off, beside its controller's word: an agent speaks every 30.
pub const QUIET_SECONDS: u64 = 45;
/// Seconds of silence that make a node off where nobody but the agent can tell.
pub const HUSHED_SECONDS: u64 = 90;
/// How often one request is tried: with pauses of 2, 4, 8, 16 and 30 seconds, about as long as a controller restarts.
pub const TRIES: u32 = 6;
/// Seconds between two looks at a node that is going off.
pub const LOOK_SECONDS: u64 = 10;
/// Requests that may wait for one node.
pub const QUEUE: usize = 8;
/// Seconds that a request may wait for its turn, after which it ends: as long as a full queue before it may take. So no order is
/// carried out hours later, after an outage or behind one that a person was waited for, when nobody expects it any more.
pub const WAIT_SECONDS: u64 = 8 * ON_SECONDS;
/// Requests that are remembered after their end.
const REMEMBERED: usize = 8;

/// Whether a node has power, by somebody's word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observed {
    /// It has.
    On,
    /// It has not.
    Off,
    /// Nobody knows: not asked yet, no answer, or one that means nothing.
    #[default]
    Unknown,
}

impl Observed {
    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            Observed::On => "on",
            Observed::Off => "off",
            Observed::Unknown => "unknown",
        }
    }
}

/// An observation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// What.
    pub state: Observed,
    /// When.
    pub at: Time,
}

/// What a node boots from once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// The network.
    Pxe,
    /// Its disk.
    Disk,
    /// Into its set-up.
    Bios,
}

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// Power on.
    On,
    /// Power off: asked of its system first, and cut after [`SOFT_SECONDS`]; `hard`: cut at once.
    Off {
        /// Without asking its system.
        hard: bool,
    },
    /// Off and on again, at once.
    Cycle,
    /// What the next boot is from, and only that.
    Boot {
        /// From what.
        device: Device,
    },
}

impl Wish {
    /// A few words.
    pub fn words(self) -> &'static str {
        match self {
            Wish::On => "power on",
            Wish::Off { hard: false } => "power off",
            Wish::Off { hard: true } => "power off at once",
            Wish::Cycle => "power cycle",
            Wish::Boot { device: Device::Pxe } => "next boot from the network",
            Wish::Boot { device: Device::Disk } => "next boot from its disk",
            Wish::Boot { device: Device::Bios } => "next boot into its set-up",
        }
    }

    /// Whether it ends what runs on the node.
    pub fn interrupts(self) -> bool {
        match self {
            Wish::Off { .. } | Wish::Cycle => true,
            Wish::On | Wish::Boot { .. } => false,
        }
    }
}

/// One request to whoever has the power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Say whether it is on.
    Status,
    /// Power on.
    On,
    /// Ask its system to go down.
    SoftOff,
    /// Cut its power.
    HardOff,
    /// Cut and give back.
    Cycle,
    /// Set the device of the next boot.
    Boot {
        /// Which.
        device: Device,
    },
    /// Send a magic packet.
    Wake,
    /// Look at the controller and say what is wrong with it.
    Test,
}

/// By which way a request is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// By its management controller.
    Controller,
    /// By a magic packet.
    Wake,
    /// Its own agent restarts it.
    Agent,
    /// A person does it.
    Hand,
}

/// Where a request is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// This is to be asked next.
    Ask {
        /// What.
        act: Act,
        /// Not earlier.
        from: Time,
    },
    /// Somebody is doing it, or has done it: what is waited for is the proof.
    Proof {
        /// Since when.
        since: Time,
    },
    /// Done, and how that is known.
    Done {
        /// For a person.
        how: String,
    },
    /// Not done.
    Failed {
        /// For a person: why, and what to do.
        why: String,
    },
}

/// A request of the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Its id.
    pub id: JobId,
    /// What.
    pub wish: Wish,
    /// By which way.
    pub way: Way,
    /// When it was made.
    pub asked: Time,
    /// When it had its turn: deadlines count from here.
    pub begun: Option<Time>,
    /// When it ended.
    pub ended: Option<Time>,
    /// Where it is.
    pub step: Step,
    /// How often the present act was tried in vain.
    pub tries: u32,
    /// What went wrong last.
    pub trouble: Option<String>,
    /// The node's boot id when its turn came: another one proves that it booted.
    pub before: Option<String>,
    /// The operator has typed the name of a node that writes an image.
    pub forced: bool,
}

impl Request {
    /// Whether nothing more comes of it.
    pub fn is_over(&self) -> bool {
        match self.step {
            Step::Done { .. } | Step::Failed { .. } => true,
            Step::Ask { .. } | Step::Proof { .. } => false,
        }
    }
}

/// What is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flight {
    /// Its number: an answer names it.
    pub number: u64,
    /// What was asked.
    pub act: Act,
    /// For which request; none for a look.
    pub request: Option<JobId>,
    /// Since when.
    pub since: Time,
}

/// One thing that was looked at in a test of a management controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// A stable word: `reachable`, `certificate`, `login`, `power`, `cipher0`, `password`.
    pub check: String,
    /// Whether all is well; `None`: it can't be said.
    pub ok: Option<bool>,
    /// For a person: what was found, and what to do.
    pub text: String,
}

/// A test of a management controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Test {
    /// When it ended.
    pub at: Time,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// All that is kept of a node's power.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Power {
    /// Whose.
    pub node: NodeId,
    /// How it is reached; none: by hand, and by its agent.
    pub account: Option<Account>,
    /// Why nothing is asked of its controller any more, until the account is set again.
    #[serde(default)]
    pub locked: Option<String>,
    /// What was said of it last.
    #[serde(default)]
    pub seen: Seen,
    /// The first one has its turn; the last ones to have ended come after those that wait.
    #[serde(default)]
    pub requests: Vec<Request>,
    /// What is on its way; at most one.
    #[serde(default)]
    pub flight: Option<Flight>,
    /// How many were on their way so far.
    #[serde(default)]
    pub flights: u64,
    /// A look that somebody waits for.
    #[serde(default)]
    pub wanted: Option<Act>,
    /// What went wrong with the last look.
    #[serde(default)]
    pub trouble: Option<String>,
    /// The last test.
    #[serde(default)]
    pub tested: Option<Test>,
    /// The serial console, while somebody has it.
    #[serde(default)]
    pub console: Option<Console>,
    /// How many consoles and keyboards there were so far.
    #[serde(default)]
    pub consoles: u64,
}

impl Power {
    /// Nothing known, nothing wanted.
    pub fn new(node: NodeId) -> Self {
        Self {
            node,
            account: None,
            locked: None,
            seen: Seen::default(),
            requests: Vec::new(),
            flight: None,
            flights: 0,
            wanted: None,
            trouble: None,
            tested: None,
            console: None,
            consoles: 0,
        }
    }

    /// The request whose turn it is.
    pub fn current(&self) -> Option<&Request> {
        self.requests.iter().find(|request| !request.is_over())
    }

    /// By what its power is reached.
    pub fn kind(&self) -> Kind {
        self.account.as_ref().map_or(Kind::Manual, |account| account.kind)
    }
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", content = "why", rename_all = "snake_case")]
pub enum Fault {
    /// The controller does not know the user or the password: nothing more is asked.
    Login(String),
    /// It is not the controller it was: nothing more is asked, and no password was sent.
    Stranger(String),
    /// It says that it can't now.
    Busy(String),
    /// It was not reached: nothing has happened.
    Unreachable(String),
    /// The request was sent and no answer was understood: it may have happened.
    Lost(String),
    /// It will not, now or later.
    Refused(String),
}

impl Fault {
    /// For a person.
    pub fn why(&self) -> &str {
        match self {
            Fault::Login(why)
            | Fault::Stranger(why)
            | Fault::Busy(why)
            | Fault::Unreachable(why)
            | Fault::Lost(why)
            | Fault::Refused(why) => why,
        }
    }
}

/// What the controller said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// Whether it is on.
    pub state: Observed,
    /// SHA-256 of its certificate, when it showed one.
    pub pin: Option<String>,
    /// What a test found.
    pub findings: Vec<Finding>,
}

/// What the shell is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errand {
    /// The number that the answer names.
    pub flight: u64,
    /// What.
    pub act: Act,
    /// With whom.
    pub account: Account,
}

/// What happens to a node's power.
#[derive(Clone, Debug)]
pub enum PowerEvent {
    /// The operator says how it is reached. A new account unlocks.
    Set(Box<Account>),
    /// The operator takes that back; the password is gone.
    Forget,
    /// The operator wants something.
    Wish {
        /// What.
        wish: Wish,
        /// The node's name, typed.
        confirmed: Option<String>,
        /// Even if it writes an image.
        force: bool,
    },
    /// Somebody wants to know.
    Look {
        /// [`Act::Status`] or [`Act::Test`].
        act: Act,
    },
    /// The operator does not want what waits any more.
    Cancel,
    /// The shell begins what is due.
    Begin,
    /// It came to this.
    Answered {
        /// Which.
        flight: u64,
        /// What came.
        result: Result<Word, Fault>,
        /// SHA-256 of the certificate of whoever was sent the password, also when it failed after that.
        pin: Option<String>,
    },
    /// About its serial console.
    Console(ConsoleEvent),
}
