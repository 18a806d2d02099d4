//! Messages between node and controller: the only thing both sides link.
//!
//! Knows the shape of every message, how a proof is signed and how the enrolment code is made.
//! Refuses to know how a message travels, where a key is kept and what anybody does about it.
//! Versioned: [`VERSION`] is in every first message; a side that does not speak it says so and stops.
//!
//! A controller is upgraded before its agents, and the ramdisk before the installed system. So what an agent reads
//! (the controller's answers, the seed) may have fields that it does not know, and they are ignored; what the controller
//! reads may not.
#![forbid(unsafe_code)]

mod adopt;
mod bounds;
mod burn_in;
mod capture;
mod cast;
mod clash;
mod enrol;
mod erase;
mod holding;
mod identity;
mod inventory;
mod job;
mod lldp;
mod mark;
mod preflight;
mod probe;
mod report;
mod rescue;
pub mod routes;
mod seed;

mod state;
pub mod tpm;

pub use adopt::{Adoption, Token};
pub use bounds::{DISKS_MAX, HOLDINGS_MAX, NICS_MAX, TEXT_BYTES_MAX, TooMuch};
pub use burn_in::{
    CpuFigures, DiskFigures, FAULTS_MAX, Fault, Figures, Health, MemoryFigures, NetworkFigures, Part,
    TEST_SECONDS_MAX, TestJob, TestReport,
};
pub use capture::{CaptureJob, FOUND_MAX, Found, Identity, Missing, Seal, Subject, WINDOWS_MAX, Windows};
pub use cast::{CastAsk, CastReply, Door, Hearing, ReportKey, Seat, Source};
pub use clash::{Carried, Clash, Handle, clashes};
pub use enrol::{BootFacts, Enrol, Enrolled, Hello, HelloReply, IdentityFile, Ticket, Verdict};
pub use erase::{CANARIES_MIN, Doomed, EraseJob, Erasure, Method, SAMPLES_MIN};
pub use holding::{Holding, OWN_PARTITION, SystemPart, foreign};
pub use identity::{
    CaPin, Code, Epoch, HardwareAddress, IdentityError, JobId, Key, NodeId, Nonce, Signature, enrol_proof,
    hello_proof,
};
pub use inventory::{Bmc, Cpu, Disk, DiskBus, DiskId, Inventory, Nic, Smbios};
pub use job::{
    Envelope, Expectation, ImageJob, Phase, Progress, ProgressReply, Proof, Reach, Receipt, Target, Task,
    TaskAsk, Verify,
};
pub use lldp::{LLDP_BYTES_MAX, LLDP_ETHERTYPE, LldpError, Neighbour, read_lldp};
pub use mark::{Mark, NotAMark, unnamed};
pub use preflight::{
    ADDRESSES_MAX, Aim, Answered, Claim, Endpoint, Heard, Heed, LINKS_MAX, Link, LinkAddress, MEMBERS_MAX,
    NEIGHBOURS_MAX, NETWORKS_MAX, NetworkAsk, NetworkReply, NetworkStep, Peer, Rival, StepDone, Stream,
    Streamed,
};
pub use probe::{HEAD_BYTES, IP_UDP_BYTES, PROBE_PORT, Probe, ProbeKind, SMALLEST};
pub use report::{
    Answer, Domain, Drift, Facts, Hypervisor, Report, ReportReply, ServiceHealth, ServiceReport, TaskReport,
    TaskResult, UnitReport,
};
pub use rescue::{HostKey, NotAHostKey, Rescue, RescueJob, RescueReply, SSH_KEYS_MAX, SshKey, SshKeyError};
pub use seed::{SEED_BYTES, SEED_OFFSET, SEED_SLOT_BYTES, Seed, SeedError, SeedWrite};
pub use state::{
    Check, CheckKind, File, Leave, Order, OrderKind, ServiceWanted, StateAsk, StateDocument, StateReply,
    TaskWanted, UnitWanted, When,
};
pub use tpm::{Credential, EcPoint, Ek, Tpm, TpmAnswer, TpmKeys, TpmSecret};

/// The version of this protocol; the first field of [`Hello`] and [`Enrol`].
pub const VERSION: u32 = 1;

/// A refusal, as the body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Refusal {
    /// What was refused and why, for a person.
    pub error: String,
    /// Whether asking again later may help.
    pub retry: bool,
    /// The certificate that it was asked with has ended, and is still good for a new one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub renew: bool,
}
