//! The likely break of a boot, with what to do about it.
//!
//! Knows how boots fail in the field: every [`Rule`] is one way, recognised in a [`Trace`] and a few [`Facts`]. Refuses to
//! know why packets look as they do: it reads what was recorded, decides nothing that any machine is told, and where it
//! only guesses it says so. Written for an operator at two in the morning who is no expert: what happened, why, what to
//! do next.

mod address;
mod agent;
mod case;
mod disk;
mod firmware;
mod http;
mod loader;
mod offer;

use serde::{Deserialize, Serialize};

use crate::trace::{Stage, Trace};
use crate::{Mac, Time};
use case::Case;

/// Findings about one card at the most.
pub const MOST_FINDINGS: usize = 8;

/// What the controller knows beside the packets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The node's name, if the card is a node's.
    pub node: Option<String>,
    /// The word of the node's state.
    pub state: Option<String>,
    /// Memory in MiB, if it was ever told.
    pub memory_mib: Option<u64>,
    /// When the system installed on it was heard last.
    pub heard: Option<Time>,
    /// Listeners that do not listen, each with its reason.
    pub deaf: Vec<String>,
    /// Another card of the same board, and how far that came.
    pub twin: Option<(Mac, Stage)>,
}

/// How sure a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certainty {
    /// The packets say so.
    Certain,
    /// Nothing else usually looks like this.
    Likely,
    /// It may be this, or it costs time and breaks nothing.
    Possible,
}

impl Certainty {
    /// One word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Certainty::Certain => "certain",
            Certainty::Likely => "likely",
            Certainty::Possible => "possible",
        }
    }
}

/// A break, or what costs time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which rule says so: a stable word.
    pub rule: &'static str,
    /// How sure it is.
    pub certainty: Certainty,
    /// When it showed.
    pub at: Time,
    /// What happened, in one line.
    pub what: String,
    /// Why that usually is.
    pub why: String,
    /// What to do: an action or a command.
    pub fix: String,
}

/// One way for a boot to fail.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// A stable word.
    pub id: &'static str,
    /// It is worth saying of a boot that went well, too.
    always: bool,
    /// Rules that say less about the same thing.
    hides: &'static [&'static str],
    check: fn(&Case<'_>) -> Option<Hint>,
}

/// What a rule has found.
struct Hint {
    certainty: Certainty,
    at: Time,
    what: String,
    why: String,
    fix: String,
}

/// Rules whose silence would be noise, once the boot went on.
const fn rule(id: &'static str, check: fn(&Case<'_>) -> Option<Hint>) -> Rule {
    Rule { id, always: false, hides: &[], check }
}

const fn always(id: &'static str, check: fn(&Case<'_>) -> Option<Hint>) -> Rule {
    Rule { always: true, ..rule(id, check) }
}

impl Rule {
    const fn over(self, hides: &'static [&'static str]) -> Rule {
        Rule { hides, ..self }
    }
}

/// All rules. Of equally sure ones the first is the better guess.
pub const RULES: &[Rule] = &[
    // The controller itself.
    rule("listener-deaf", firmware::listener_deaf),
    rule("boot-store-incomplete", loader::boot_store_incomplete).over(&["grub-bad-signature"]),
    // Nobody answers, on purpose.
    rule("dhcp-off", address::dhcp_off),
    rule("asked-too-early", address::too_early),
    rule("stood-back", address::stood_back).over(&["foreign-server"]),
    rule("stranger-not-answered", address::stranger),
    rule("pool-exhausted", address::pool_exhausted),
    rule("relay-not-ours", address::relay_not_ours),
    rule("fixed-elsewhere", address::fixed_elsewhere),
    rule("address-in-use", address::in_use),
    rule("arch-unsupported", firmware::arch_unsupported),
    rule("arch-missing", firmware::arch_missing),
    rule("boot-service-silent", offer::boot_service_silent),
    // Somebody else answers.
    rule("took-other-offer", offer::took_other).over(&["foreign-server", "another-rackwright"]),
    always("another-rackwright", offer::another_rackwright).over(&["foreign-server"]),
    rule("refused-again", offer::refused_again),
    always("duplicate-mac", firmware::duplicate_mac).over(&["firmware-modes-flip"]),
    always("two-networks", firmware::two_networks),
    rule("other-nic-boots", firmware::other_nic).over(&[
        "no-file-asked",
        "loader-silent",
        "offer-not-received",
    ]),
    rule("other-network", address::other_network),
    // The answer does not arrive.
    rule("relay-offer-lost", offer::relay_lost),
    rule("proxy-offer-ignored", offer::proxy_ignored),
    rule("http-offer-ignored", offer::http_ignored),
    rule("foreign-server", offer::foreign).over(&["offer-not-received"]),
    rule("offer-not-received", offer::not_received),
    // The loader does not arrive, or does not start.
    rule("link-lost", http::link_lost).over(&[
        "tftp-stalls",
        "http-cut",
        "tftp-replies-lost",
        "loader-silent",
    ]),
    rule("http-refused-by-firmware", firmware::http_refused),
    rule("firmware-modes-flip", firmware::modes_flip),
    rule("no-file-asked", firmware::no_file_asked),
    rule("shim-lost-folder", loader::shim_lost_folder).over(&["file-not-there", "shim-silent"]),
    rule("grub-bad-signature", http::bad_signature).over(&["file-not-there"]),
    rule("file-not-there", loader::not_there),
    rule("tftp-options-refused", loader::options_refused).over(&["size-probe-only"]),
    rule("size-probe-only", loader::size_probe_only),
    rule("tftp-stalls", loader::stalls),
    rule("tftp-replies-lost", loader::replies_lost),
    rule("tftp-busy", loader::busy),
    rule("ipxe-chain-loop", loader::chain_loop),
    rule("secure-boot-denies", loader::secure_boot).over(&["loader-loop", "loader-silent"]),
    rule("loader-loop", loader::loop_of_loads),
    rule("http-blocked", http::blocked).over(&["grub-silent", "loader-silent"]),
    rule("shim-silent", loader::shim_silent),
    rule("grub-silent", loader::grub_silent),
    rule("loader-silent", loader::silent),
    rule("http-cut", http::cut),
    rule("kernel-without-ramdisk", http::no_ramdisk),
    // The ramdisk runs, or does not.
    rule("hello-refused", agent::refused),
    rule("agent-clock", agent::clock),
    rule("agent-tls", agent::tls),
    rule("ram-too-small", agent::small_memory).over(&["no-hello"]),
    rule("no-hello", agent::no_hello),
    // What it was told.
    rule("told-to-wait", disk::told_to_wait),
    rule("disk-not-found", disk::not_found).over(&["disk-does-not-boot"]),
    rule("disk-does-not-boot", disk::does_not_boot),
    // What costs time, or will.
    rule("retry-storm", firmware::retry_storm).over(&["no-file-asked", "offer-not-received"]),
    always("spanning-tree", firmware::spanning_tree),
    always("ipv6-wait", http::ipv6_wait),
    always("uuid-placeholder", firmware::placeholder),
];

/// What is wrong with the last boots of a card, the surest first; nothing while a boot is under way as it should be, or
/// went well. Total, and of bounded length: at most [`MOST_FINDINGS`].
#[must_use]
pub fn diagnose(trace: &Trace, facts: &Facts, now: Time) -> Vec<Finding> {
    let Some(case) = Case::of(trace, facts, now) else { return Vec::new() };
    let done = case.done();
    let mut found = Vec::new();
    for rule in RULES.iter().filter(|rule| rule.always || !done) {
        if let Some(hint) = (rule.check)(&case) {
            found.push((rule, hint));
        }
    }
    let hidden: Vec<&str> = found.iter().flat_map(|(rule, _)| rule.hides).copied().collect();
    found.retain(|(rule, _)| !hidden.contains(&rule.id));
    found.sort_by_key(|(_, hint)| hint.certainty);
    found.truncate(MOST_FINDINGS);
    found.into_iter().map(|(rule, hint)| hint.by(rule.id)).collect()
}

impl Hint {
    fn by(self, rule: &'static str) -> Finding {
        let Hint { certainty, at, what, why, fix } = self;
        Finding { rule, certainty, at, what, why, fix }
    }

    fn certain(at: Time, what: impl Into<String>) -> Hint {
        Hint { certainty: Certainty::Certain, at, what: what.into(), why: String::new(), fix: String::new() }
    }

    fn likely(at: Time, what: impl Into<String>) -> Hint {
        Hint { certainty: Certainty::Likely, ..Hint::certain(at, what) }
    }

    fn possible(at: Time, what: impl Into<String>) -> Hint {
        Hint { certainty: Certainty::Possible, ..Hint::certain(at, what) }
    }

    fn why(self, why: impl Into<String>) -> Hint {
        Hint { why: why.into(), ..self }
    }

    fn fix(self, fix: impl Into<String>) -> Hint {
        Hint { fix: fix.into(), ..self }
    }
}
