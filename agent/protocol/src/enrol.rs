//! Enrolment: the ramdisk's hello, and the installed system's first certificate.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::{
    Adoption, CaPin, Credential, Epoch, HardwareAddress, Inventory, Key, NodeId, Nonce, Signature, Tpm,
    VERSION,
};

/// The ramdisk's first word, sent without a client certificate and repeated until there is a verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// [`crate::VERSION`].
    pub protocol: u32,
    /// The agent's public key, made in this boot or found as a ticket on the system disk.
    pub key: Key,
    /// [`crate::hello_proof`] signed with that key; absent in the first hello, when the nonce is not known yet.
    pub proof: Option<Signature>,
    /// How this server came here.
    pub boot: BootFacts,
    /// What this server is made of.
    pub inventory: Inventory,
    /// How long the controller may hold the answer back for news, in seconds; at most 30.
    pub wait_seconds: u32,
    /// What its TPM says; absent from agents that do not look for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tpm: Option<Tpm>,
    /// Set: it is no ramdisk that says so, but a system that asks to be adopted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adoption: Option<Adoption>,
}

impl Hello {
    /// The first hello of a ramdisk: no proof, no waiting, no TPM that was looked for.
    #[must_use]
    pub fn new(key: Key, boot: BootFacts, inventory: Inventory) -> Self {
        Self {
            protocol: VERSION,
            key,
            proof: None,
            boot,
            inventory,
            wait_seconds: 0,
            tpm: None,
            adoption: None,
        }
    }
}

/// How the server came to run the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootFacts {
    /// The NIC that booted.
    pub mac: HardwareAddress,
    /// The address it was told on the kernel command line.
    pub address: Ipv4Addr,
    /// By which way its firmware booted, as `pxe::BootPath` spells it; a word of the controller's, handed back.
    pub path: String,
    /// Seconds from the kernel's start to this hello, for the boot timeline.
    pub uptime_seconds: u32,
    /// The kernel's boot id: another one means that the server has booted. Empty from agents that do not say.
    #[serde(default)]
    pub boot_id: String,
}

/// The controller's answer to a [`Hello`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HelloReply {
    /// The id this server has here.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// The controller's reign.
    pub epoch: Epoch,
    /// The controller's time, milliseconds since 1970: the agent sets its clock by it.
    pub time_ms: u64,
    /// The challenge for this key. Both sides make the enrolment code of it.
    pub nonce: Nonce,
    /// What was decided.
    pub verdict: Verdict,
    /// The site CA to trust from now on, while it is changed: the agent says hello again by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<CaPin>,
    /// What its TPM is asked; absent when nothing is to be known of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tpm: Option<Credential>,
}

/// What the controller has decided about a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Nobody has compared the code yet, or a clash is held for the operator.
    Waiting {
        /// Why, for the server's screen.
        reason: String,
    },
    /// Approved: the certificate of stage *deploy*.
    Approved {
        /// PEM, leaf first, then the site CA.
        certificate: String,
    },
    /// The operator does not want this server.
    Rejected {
        /// Why, for the server's screen.
        reason: String,
    },
}

/// The installed system's request for a certificate of stage *run*; sent with the deploy certificate the first time,
/// with the run certificate when renewing. Repeating it with the same key is not an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrol {
    /// [`crate::VERSION`].
    pub protocol: u32,
    /// The installed agent's own public key.
    pub key: Key,
    /// [`crate::enrol_proof`] signed with that key.
    pub proof: Signature,
    /// The kernel's boot id, so that two boots are told apart.
    pub boot_id: String,
    /// Seconds from the kernel's start to this request, for the boot timeline.
    pub uptime_seconds: u32,
}

/// The answer to [`Enrol`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Enrolled {
    /// The id this node has here.
    pub node: NodeId,
    /// Its host name.
    pub name: String,
    /// The controller's reign.
    pub epoch: Epoch,
    /// PEM, leaf first, then the site CA.
    pub certificate: String,
    /// When to renew, milliseconds since 1970.
    pub renew_ms: u64,
    /// The same, in seconds from now: for an agent whose clock is wrong. 0 from controllers that do not say.
    #[serde(default)]
    pub renew_seconds: u64,
    /// The site CA to trust from now on, while it is changed; its certificate is the last in `certificate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<CaPin>,
    /// The identity files kept from this node's earlier life, to be put back before anything starts.
    /// Empty at the first enrolment: then the node makes them and hands them in (`routes::ESCROW`).
    pub identity: Vec<IdentityFile>,
}

/// A file that makes the node who it is (SSH host keys and friends), kept by the controller across rebuilds.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityFile {
    /// Absolute path; only those of `IdentityFile::PATHS` are kept or put back.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// The content, base64.
    pub content: String,
}

impl IdentityFile {
    /// The only files that are kept: a node can't make the controller carry anything else for it.
    pub const PATHS: [&str; 6] = [
        "/etc/ssh/ssh_host_ecdsa_key",
        "/etc/ssh/ssh_host_ecdsa_key.pub",
        "/etc/ssh/ssh_host_ed25519_key",
        "/etc/ssh/ssh_host_ed25519_key.pub",
        "/etc/ssh/ssh_host_rsa_key",
        "/etc/ssh/ssh_host_rsa_key.pub",
    ];
}

impl std::fmt::Debug for IdentityFile {
    /// Never the content: it may be a private key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdentityFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Sent by the installed agent before it reboots into the ramdisk for a rebuild: the key that the ramdisk will say
/// hello with, so that the same server needs no second approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    /// The key to be approved in advance.
    pub key: Key,
}
