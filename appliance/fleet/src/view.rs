//! The read model: what people and scripts see. The keys of these structures are the `-o json` contract.

mod adopt;
pub mod backup;
mod boot;
mod burn_in;
mod check;
mod cloud;
mod erasure;
mod evidence;
pub mod image;
mod job;
pub mod journal;
mod laggard;
mod lease;
mod metric;
mod network;
mod passwords;
mod plan;
mod power;
mod preflight;
mod receipt;
mod rescue;
mod rollout;
mod sizing;
mod status;
mod support;
mod trust;
mod upgrade;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use protocol::{Code, Disk, Facts, HardwareAddress, Nic, NodeId, TaskReport, UnitReport};
use serde::{Deserialize, Serialize};

use crate::capture::owner;
use crate::event::Logged;
use crate::image::Image;
use crate::job::Work;
use crate::patience::{self, SILENT_SECONDS};
use crate::{Catalog, Fleet, Node, Site, State, Time};

pub use adopt::{AdoptedView, InvitationRow, InvitedView, JoinLine, invitation_rows};
pub use boot::{AttemptView, BootRow, BootView, DoctorView, FindingRow, StepView, boot_row, boot_view};
pub use burn_in::{OutlierRow, TestView, test_view, test_views};
pub use check::{CheckRow, certificates_check, dhcp_check, others_check, pool_check};
pub use cloud::{CloudAccess, CloudRow, cloud_access, cloud_rows};
pub use erasure::{CertificateView, DoomedView, ErasureRow, erasure_rows, retirement_view};
pub use evidence::EvidenceView;
use job::percent;
pub use job::{FoundRow, JobRow, LaneRow, job_row};
pub use laggard::{Slow, Standing, median_left, slow};
pub use lease::{LeaseRow, Released, ReservationRow, lease_rows};
pub use metric::{MetricFamily, MetricSample, exposition};
pub use network::{NetworkRow, OtherRow, network_rows};
pub use passwords::{PasswordsRow, PasswordsView, passwords_view};
pub use plan::{DataView, KeptView, PlanView, plan_view};
pub use power::{PowerView, RequestRow, power_view};
pub use preflight::{
    CheckFinding, CheckedNetwork, CheckedNode, MapRow, PairRow, PreflightView, map_rows, preflight_view,
};
pub use protocol::{DiskFigures, Fault, Figures, Health, Holding};
use receipt::receipt;
pub use receipt::{ProofView, ReceiptView};
pub use rescue::RescueView;
use rescue::rescue_view;
pub use rollout::{RolloutStepRow, RolloutView, SkipRow, rollout_view};
pub use sizing::{SizingView, capacity_rows, sizing_view};
pub use status::{ClockRow, CopyRow, ListenerRow, Status, StorageRow, next_step};
pub use support::{SupportFile, SupportView};
pub use trust::{TrustRow, TrustView, trust_view};
pub use upgrade::{UpgradeImage, UpgradeRow, UpgradeView, upgrade_view};

/// The version word of every answer.
pub const API_VERSION: &str = "rackwright/v1";

/// A list with its version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct List<T> {
    /// [`API_VERSION`].
    pub api_version: String,
    /// The rows.
    pub items: Vec<T>,
}

/// One thing with its version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Item<T> {
    /// [`API_VERSION`].
    pub api_version: String,
    /// The thing.
    pub item: T,
}

/// A refusal with its version; the body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// [`API_VERSION`].
    pub api_version: String,
    /// What, why, what next.
    pub error: String,
    /// The exit code a command line ends with.
    pub exit: u8,
}

/// A node in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeRow {
    /// Host name.
    pub name: String,
    /// Id.
    pub id: String,
    /// One word.
    pub state: String,
    /// RFC 3339.
    pub since: String,
    /// Fixed address of the NIC that boots.
    pub address: Ipv4Addr,
    /// That NIC.
    pub mac: HardwareAddress,
    /// Roles.
    pub roles: Vec<String>,
    /// The code to compare, while a key waits for approval.
    pub code: Option<Code>,
    /// What speaks for its being this server: `tpm`, `expected`, `code`, or `none` while nobody has let it in.
    #[serde(default)]
    pub evidence: String,
    /// What it waits for.
    pub waiting: Option<String>,
    /// Set: it is held, and nothing is done with it; why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// Set: somebody works at it; why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// `ok`, `degraded`, `silent`, or empty when that does not apply.
    pub health: String,
    /// Units up and wanted, of an installed node.
    pub units_up: Option<u32>,
    /// See `units_up`.
    pub units: Option<u32>,
    /// Percent of its job, while there is one.
    pub percent: Option<u8>,
    /// Model, memory and disks in a few words.
    pub hardware: String,
}

/// A node in full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeView {
    /// As in the list.
    #[serde(flatten)]
    pub row: NodeRow,
    /// What of that is more than a word.
    #[serde(default)]
    pub tpm: EvidenceView,
    /// When it was first seen, RFC 3339.
    pub discovered: String,
    /// When it was last heard, RFC 3339.
    pub heard: String,
    /// `bios-pxe` or `uefi-pxe`.
    pub boot_path: String,
    /// What it was last handed by network boot, in words; none: nothing is remembered.
    #[serde(default)]
    pub loader: Option<String>,
    /// Maker and product.
    pub product: String,
    /// The board's serial number.
    pub serial: String,
    /// CPU model.
    pub cpu: String,
    /// Hardware threads.
    pub threads: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Firmware kind.
    pub firmware: String,
    /// Whether a management controller was seen.
    pub bmc: bool,
    /// NICs.
    pub nics: Vec<Nic>,
    /// The fixed address of each NIC that has one.
    pub addresses: BTreeMap<HardwareAddress, Ipv4Addr>,
    /// Disks, each with how it is called in a plan.
    pub disks: Vec<DiskView>,
    /// What is installed.
    pub image: Option<String>,
    /// Set: it runs a system of its own; which, and since when it is a node with that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted: Option<AdoptedView>,
    /// The system disk.
    pub system_disk: Option<String>,
    /// What proves that the image was on it.
    #[serde(default)]
    pub receipt: Option<ReceiptView>,
    /// How its operator gets in, while it is in rescue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rescue: Option<RescueView>,
    /// Its newest test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<TestView>,
    /// Generation of the state document it should have.
    pub generation: u64,
    /// Generation it has applied.
    pub applied: Option<u64>,
    /// Its units as last reported.
    pub units: Vec<UnitReport>,
    /// Its tasks as last reported.
    pub tasks: Vec<TaskReport>,
    /// What it says of itself.
    pub facts: Option<Facts>,
}

/// A disk and its name in plans.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskView {
    /// `wwn:…` or `serial:…`; none when it can't be named.
    pub disk: Option<String>,
    /// The disk.
    #[serde(flatten)]
    pub facts: Disk,
}

/// Why a node is where it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    /// As in the list.
    pub node: NodeRow,
    /// What it waits for; empty: nothing.
    pub waiting: Option<String>,
    /// When patience ends, RFC 3339.
    pub until: Option<String>,
    /// The facts that led here, oldest first.
    pub facts: Vec<EventRow>,
    /// How it booted from the network last; none when it did not since the controller started.
    #[serde(default)]
    pub boot: Option<BootView>,
}

/// An image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageRow {
    /// Its name.
    pub name: String,
    /// Its digest.
    pub digest: String,
    /// Roles it carries.
    pub roles: Vec<String>,
    /// Architecture.
    pub arch: String,
    /// Size of the disk that it was made of, in bytes.
    pub disk_bytes: u64,
    /// The smallest disk that it goes onto, in bytes.
    #[serde(default)]
    pub least_bytes: u64,
    /// Bytes it defines.
    pub content_bytes: u64,
    /// Bytes in the store.
    pub stored_bytes: u64,
    /// Who signed it.
    pub signer: String,
    /// RFC 3339.
    pub imported: String,
    /// Nodes that run it.
    pub nodes: Vec<String>,
    /// The only node that it may be put on, because its keys and ids are in it; absent when it is for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_for: Option<String>,
    /// What is wrong with it in the store; absent when all is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
}

/// A unit somewhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceRow {
    /// The node's name, or `controller`.
    pub node: String,
    /// The unit.
    pub unit: String,
    /// `running` or `stopped`: what it should be.
    pub wanted: String,
    /// `ActiveState`, or `unknown`.
    pub active: String,
    /// `SubState`.
    pub sub: String,
    /// The last journal line, when it failed.
    pub log: Option<String>,
}

/// A line of the event log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventRow {
    /// Ascending.
    pub seq: u64,
    /// RFC 3339.
    pub time: String,
    /// The node's name, or its MAC while it has none, or empty.
    pub node: String,
    /// A stable word.
    pub kind: String,
    /// For a person.
    pub text: String,
}

/// Wraps rows.
pub fn list<T>(items: Vec<T>) -> List<T> {
    List { api_version: API_VERSION.to_owned(), items }
}

/// Wraps one thing.
pub fn item<T>(item: T) -> Item<T> {
    Item { api_version: API_VERSION.to_owned(), item }
}

fn health(node: &Node, now: Time) -> &'static str {
    if matches!(node.state, State::Attention { .. }) {
        "attention"
    } else if node.state != State::Active {
        ""
    } else if is_silent(node, now) {
        "silent"
    } else if crate::running::not_up(node).is_some() {
        "degraded"
    } else {
        "ok"
    }
}

/// Whether its system was not heard for so long that what it said last says nothing of now.
fn is_silent(node: &Node, now: Time) -> bool {
    node.reported.is_none_or(|at| now.seconds_since(at) > SILENT_SECONDS)
}

/// Why somebody works at it.
fn service(node: &Node) -> Option<String> {
    if let State::Servicing { why, .. } = &node.state { Some(why.clone()) } else { None }
}

fn hardware(node: &Node) -> String {
    let inventory = &node.inventory;
    let disks = inventory.disks.iter().map(|disk| format!("{}G", disk.bytes / 1_000_000_000));
    format!(
        "{} thr, {} MiB, {}",
        inventory.cpu.threads,
        inventory.memory_bytes >> 20,
        disks.collect::<Vec<_>>().join("+")
    )
}

/// A node in a list.
pub fn node_row(fleet: &Fleet, site: &Site, node: &Node, now: Time) -> NodeRow {
    let report = node.report.as_ref();
    let count = |n: usize| u32::try_from(n).ok();
    // A unit that shall not run is not missed: it counts neither as up nor as wanted.
    let wanted = |r: &protocol::Report| {
        let wanted = r.units.iter().filter(|unit| node.should_run(&unit.name));
        wanted.map(|unit| unit.active == "active").collect::<Vec<_>>()
    };
    let job = node.state.job().and_then(|id| Work::of(fleet, id));
    NodeRow {
        name: node.name.to_string(),
        id: node.id.to_string(),
        state: node.state.word().to_owned(),
        since: node.since.to_string(),
        address: site.addresses.get(&node.boot.mac).copied().unwrap_or(node.boot.address),
        mac: node.boot.mac.clone(),
        roles: node.roles.iter().cloned().collect(),
        code: node.claim.as_ref().map(|claim| {
            Code::of(&claim.pin.unwrap_or(crate::trust::wanted(fleet, site)), &claim.key, &claim.nonce)
        }),
        evidence: evidence::word(node).to_owned(),
        waiting: patience::wait(fleet, node).map(|wait| wait.reason),
        held: node.hold.as_ref().map(|hold| hold.why.clone()),
        service: service(node),
        health: health(node, now).to_owned(),
        units_up: report.and_then(|r| count(wanted(r).into_iter().filter(|up| *up).count())),
        units: report.and_then(|r| count(wanted(r).len())),
        percent: job.filter(|job| !job.state().ended()).map(percent),
        hardware: hardware(node),
    }
}

/// A node in full.
pub fn node_view(fleet: &Fleet, site: &Site, node: &Node, now: Time) -> NodeView {
    let inventory = &node.inventory;
    let image = node.installed.as_ref().map(|installed| {
        fleet.images.get(&installed.image).map_or_else(|| installed.image.short(), |image| image.name.clone())
    });
    let report = node.report.as_ref();
    let fixed = node.macs().filter_map(|mac| Some((mac.clone(), *site.addresses.get(mac)?)));
    NodeView {
        row: node_row(fleet, site, node, now),
        tpm: evidence::evidence(node),
        discovered: node.discovered.to_string(),
        heard: node.heard.to_string(),
        boot_path: node.boot.path.clone(),
        // Known to whoever keeps the history of boots.
        loader: None,
        product: inventory.smbios.model(),
        serial: inventory.smbios.serial.clone(),
        cpu: inventory.cpu.model.clone(),
        threads: inventory.cpu.threads,
        memory_bytes: inventory.memory_bytes,
        firmware: inventory.firmware.clone(),
        bmc: inventory.bmc.is_some(),
        nics: inventory.nics.clone(),
        addresses: fixed.collect(),
        disks: inventory.disks.iter().map(disk_view).collect(),
        image,
        adopted: node
            .adopted
            .as_ref()
            .map(|adopted| AdoptedView { at: adopted.at.to_string(), system: adopted.system.clone() }),
        system_disk: node.installed.as_ref().map(|installed| installed.disk.to_string()),
        receipt: receipt(fleet, node),
        rescue: rescue_view(node),
        test: test_views(fleet, node).into_iter().next(),
        generation: node.document.generation,
        applied: report.map(|report| report.generation),
        units: report.map(|report| report.units.clone()).unwrap_or_default(),
        tasks: report.map(|report| report.tasks.clone()).unwrap_or_default(),
        facts: report.map(|report| report.facts.clone()),
    }
}

fn disk_view(disk: &Disk) -> DiskView {
    DiskView { disk: disk.id().map(|id| id.to_string()), facts: disk.clone() }
}

/// A node's name; the start of its id when it is gone.
fn name_of(fleet: &Fleet, id: NodeId) -> String {
    fleet.nodes.get(&id).map_or_else(|| id.short(), |node| node.name.to_string())
}

/// An image.
pub fn image_row(fleet: &Fleet, image: &Image) -> ImageRow {
    let runs = |node: &&Node| node.installed.as_ref().is_some_and(|i| i.image == image.digest);
    ImageRow {
        name: image.name.clone(),
        digest: image.digest.to_string(),
        roles: image.roles.iter().cloned().collect(),
        arch: image.arch.clone(),
        disk_bytes: image.disk_bytes,
        least_bytes: image.least_bytes(),
        content_bytes: image.content_bytes,
        stored_bytes: image.stored_bytes,
        signer: image.signer.to_string(),
        imported: image.imported.to_string(),
        nodes: fleet.nodes.values().filter(runs).map(|node| node.name.to_string()).collect(),
        only_for: owner(fleet, image.digest).map(|node| name_of(fleet, node)),
        damage: None,
    }
}

/// Units of installed nodes: what they should be and what they are.
pub fn service_rows(fleet: &Fleet, catalog: &Catalog) -> Vec<ServiceRow> {
    let mut rows = Vec::new();
    for node in fleet.nodes.values().filter(|node| node.has_system()) {
        for service in catalog.services_of(&node.roles) {
            for unit in &service.units {
                let report = node.report.as_ref();
                let is = report.and_then(|report| report.units.iter().find(|is| is.name == unit.name));
                let runs = unit.running && !node.wishes.stopped.contains(&unit.name);
                rows.push(ServiceRow {
                    node: node.name.to_string(),
                    unit: unit.name.clone(),
                    wanted: if runs { "running" } else { "stopped" }.to_owned(),
                    active: is.map_or("unknown", |unit| &unit.active).to_owned(),
                    sub: is.map_or("", |unit| &unit.sub).to_owned(),
                    log: is.and_then(|unit| unit.log.last().cloned()),
                });
            }
        }
    }
    rows.sort_by(|a, b| (&a.node, &a.unit).cmp(&(&b.node, &b.unit)));
    rows
}

/// A line of the log.
pub fn event_row(fleet: &Fleet, logged: &Logged) -> EventRow {
    let fact = &logged.fact;
    let name =
        fact.node.map(|id| fleet.nodes.get(&id).map_or_else(|| id.short(), |node| node.name.to_string()));
    let mac = fact.mac.as_ref().map(ToString::to_string);
    EventRow {
        seq: logged.seq,
        time: logged.time.to_string(),
        node: name.or(mac).unwrap_or_default(),
        kind: fact.kind.clone(),
        text: fact.text.clone(),
    }
}
