//! Power as people see it. No view has a field that could hold a password.

use serde::{Deserialize, Serialize};

use crate::power::{Finding, Power, Request, Step, Way};
use crate::{Node, Time};

/// All that is known of a node's power.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PowerView {
    /// The node's name.
    pub node: String,
    /// `redfish`, `ipmi`, `wol` or `manual`.
    pub kind: String,
    /// Of the management controller.
    pub address: Option<String>,
    /// Its user.
    pub user: Option<String>,
    /// Whether a password is kept; it is never shown.
    pub password: bool,
    /// SHA-256 of the certificate that it must show.
    pub fingerprint: Option<String>,
    /// Why nothing is asked of it any more.
    pub locked: Option<String>,
    /// `on`, `off` or `unknown`, by its controller's word.
    pub state: String,
    /// When it said so, RFC 3339.
    pub state_at: Option<String>,
    /// What went wrong last.
    pub trouble: Option<String>,
    /// When its agent was last heard, RFC 3339: says more than `state`.
    pub heard: String,
    /// Whether something is asked of it, or about to be.
    pub looking: bool,
    /// What waits, then what has ended, the newest first.
    pub requests: Vec<RequestRow>,
    /// When it was last tested, RFC 3339.
    pub tested: Option<String>,
    /// What the test found.
    pub findings: Vec<Finding>,
    /// Who has its serial console: `alice since …`, `only read`; none: nobody.
    pub console: Option<String>,
    /// How a person finds the server.
    pub find: String,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestRow {
    /// Its id.
    pub id: String,
    /// What is wanted.
    pub wish: String,
    /// `controller`, `wake`, `agent` or `hand`.
    pub way: String,
    /// `waiting`, `asking`, `proving`, `done` or `failed`.
    pub state: String,
    /// What it waits for, how it is known to be done, or why it is not.
    pub text: String,
    /// When it was made, RFC 3339.
    pub asked: String,
    /// When it ended, RFC 3339.
    pub ended: Option<String>,
}

/// The view of a node's power.
pub fn power_view(node: &Node, power: Option<&Power>) -> PowerView {
    let fresh = Power::new(node.id);
    let power = power.unwrap_or(&fresh);
    let account = power.account.as_ref();
    PowerView {
        node: node.name.to_string(),
        kind: power.kind().word().to_owned(),
        address: account.and_then(|account| account.address.as_ref()).map(ToString::to_string),
        user: account.and_then(|account| account.user.as_ref()).map(|user| user.as_str().to_owned()),
        password: account.is_some_and(|account| account.sealed.is_some()),
        fingerprint: account.and_then(|account| account.pin.clone()),
        locked: power.locked.clone(),
        state: power.seen.state.word().to_owned(),
        state_at: (power.seen.at > Time(0)).then(|| power.seen.at.to_string()),
        trouble: power.trouble.clone(),
        heard: node.heard.to_string(),
        looking: power.flight.is_some() || power.wanted.is_some(),
        requests: power.requests.iter().map(|request| request_row(node, request)).collect(),
        tested: power.tested.as_ref().map(|test| test.at.to_string()),
        findings: power.tested.as_ref().map(|test| test.findings.clone()).unwrap_or_default(),
        console: power.console.as_ref().map(|console| match &console.keyboard {
            Some(keyboard) => format!("{} since {}", keyboard.by, keyboard.since),
            None => "only read".to_owned(),
        }),
        find: find(node),
    }
}

fn request_row(node: &Node, request: &Request) -> RequestRow {
    let last = request.trouble.as_ref().map(|why| format!("; last: {why}")).unwrap_or_default();
    let (state, text) = match &request.step {
        _ if request.begun.is_none() => ("waiting", "its turn".to_owned()),
        Step::Ask { .. } if request.way == Way::Agent => ("asking", "its agent to ask for work".to_owned()),
        Step::Ask { from, .. } if request.tries > 0 => ("asking", format!("another try at {from}{last}")),
        Step::Ask { .. } => ("asking", format!("an answer{last}")),
        Step::Proof { .. } if request.way == Way::Hand => {
            ("proving", format!("you: {} on {}", button(request), find(node)))
        }
        Step::Proof { .. } if request.wish.interrupts() && request.wish != crate::power::Wish::Cycle => {
            ("proving", "its agent to be silent, and its controller to say off".to_owned())
        }
        Step::Proof { .. } => ("proving", format!("its agent to be heard after a boot{last}")),
        Step::Done { how } => ("done", how.clone()),
        Step::Failed { why } => ("failed", why.clone()),
    };
    RequestRow {
        id: request.id.to_string(),
        wish: request.wish.words().to_owned(),
        way: match request.way {
            Way::Controller => "controller",
            Way::Wake => "wake",
            Way::Agent => "agent",
            Way::Hand => "hand",
        }
        .to_owned(),
        state: state.to_owned(),
        text,
        asked: request.asked.to_string(),
        ended: request.ended.map(|at| at.to_string()),
    }
}

fn button(request: &Request) -> &'static str {
    match request.wish {
        crate::power::Wish::On => "press the button",
        crate::power::Wish::Off { .. } => "hold the button until it is off",
        crate::power::Wish::Cycle => "hold the button until it is off, and press it again",
        crate::power::Wish::Boot { .. } => "set the next boot",
    }
}

/// What is printed on the server, or seen on its back.
fn find(node: &Node) -> String {
    let smbios = &node.inventory.smbios;
    let known =
        |label: &str, text: &str| (!text.trim().is_empty()).then(|| format!("{label}{}", text.trim()));
    let model = known("", &smbios.model());
    let serial = known("serial number ", &smbios.serial);
    let place = [model, serial, Some(format!("NIC {}", node.boot.mac))];
    format!("{} ({})", node.name, place.into_iter().flatten().collect::<Vec<_>>().join(", "))
}
