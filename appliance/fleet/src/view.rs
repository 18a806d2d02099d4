//! The read model: what people and scripts see. The keys of these structures are the `-o json` contract.

mod lease;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use protocol::{Code, Disk, Facts, HardwareAddress, Holding, Nic, TaskReport, UnitReport};
use serde::{Deserialize, Serialize};

use crate::data_disk::VOLUME_GROUP;
use crate::event::Logged;
use crate::image::Image;
use crate::job::{Job, JobState};
use crate::patience::{self, SILENT_SECONDS};
use crate::plan::{Plan, PlanKind, PlanState};
use crate::{Catalog, Fleet, Node, Site, State, Time};

pub use lease::{LeaseRow, Released, lease_rows};

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
    /// What it waits for.
    pub waiting: Option<String>,
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
    /// When it was first seen, RFC 3339.
    pub discovered: String,
    /// When it was last heard, RFC 3339.
    pub heard: String,
    /// `bios-pxe` or `uefi-pxe`.
    pub boot_path: String,
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
    /// The system disk.
    pub system_disk: Option<String>,
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
}

/// A plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanView {
    /// Its id.
    pub id: String,
    /// The node's name.
    pub node: String,
    /// `install` or `rebuild`.
    pub kind: String,
    /// `open`, `applied`, `withdrawn`.
    pub state: String,
    /// The image's name.
    pub image: String,
    /// Its digest.
    pub image_digest: String,
    /// Bytes that will be written at most.
    pub image_bytes: u64,
    /// Roles the node will have.
    pub roles: Vec<String>,
    /// The disk that will be erased, by WWN or serial.
    pub disk: String,
    /// Its model.
    pub disk_model: String,
    /// Its serial number; may be empty.
    #[serde(default)]
    pub disk_serial: String,
    /// Its size in bytes.
    pub disk_bytes: u64,
    /// What is on it now.
    pub erases: Vec<Holding>,
    /// Disks that are left alone: name, model, bytes.
    pub keeps: Vec<KeptView>,
    /// The disk that the roles keep their data on.
    #[serde(default)]
    pub data: Option<DataView>,
    /// RFC 3339.
    pub made: String,
    /// The job, once applied; or why it was withdrawn.
    pub note: Option<String>,
}

/// A disk for data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataView {
    /// `wwn:…` or `serial:…`.
    pub disk: String,
    /// Model.
    pub model: String,
    /// Serial number; may be empty.
    pub serial: String,
    /// Size in bytes.
    pub bytes: u64,
    /// The volume group that it is, or will be made by the node.
    pub group: String,
    /// Whether it is that already, and kept.
    pub kept: bool,
}

/// A disk left alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptView {
    /// `wwn:…`, `serial:…`, or `-`.
    pub disk: String,
    /// Model.
    pub model: String,
    /// Serial number; may be empty.
    #[serde(default)]
    pub serial: String,
    /// Size in bytes.
    pub bytes: u64,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobRow {
    /// Its id.
    pub id: String,
    /// The node's name.
    pub node: String,
    /// The node's state now.
    pub node_state: String,
    /// The plan.
    pub plan: String,
    /// The image's name.
    pub image: String,
    /// The disk.
    pub disk: String,
    /// `waiting`, `running`, `verified`, `done`, `failed`.
    pub state: String,
    /// `disarm`, `write`, `read_back`, `arm`; none before the agent took it.
    pub phase: Option<String>,
    /// Bytes of the image on the disk.
    pub done_bytes: u64,
    /// Of these, right already.
    pub same_bytes: u64,
    /// Bytes read back.
    pub read_back_bytes: u64,
    /// All bytes.
    pub total_bytes: u64,
    /// Compressed bytes fetched.
    pub fetched_bytes: u64,
    /// Percent of writing and reading back together.
    pub percent: u8,
    /// How often an agent took it.
    pub takes: u32,
    /// RFC 3339.
    pub created: String,
    /// RFC 3339.
    pub started: Option<String>,
    /// RFC 3339.
    pub ended: Option<String>,
    /// Why it failed.
    pub why: Option<String>,
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
    /// Smallest disk in bytes.
    pub disk_bytes: u64,
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

/// Everything on one screen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The site.
    pub site: String,
    /// `ok`, `busy`, `attention`.
    pub health: String,
    /// RFC 3339.
    pub time: String,
    /// Version of the daemon.
    pub version: String,
    /// The disk that the state is on; absent in answers of daemons that did not look at it yet.
    #[serde(default)]
    pub storage: Option<StorageRow>,
    /// Provisioning interfaces and listeners, each with its last problem.
    pub listeners: Vec<ListenerRow>,
    /// Nodes.
    pub nodes: Vec<NodeRow>,
    /// Jobs that have not ended.
    pub jobs: Vec<JobRow>,
    /// The last events.
    pub events: Vec<EventRow>,
    /// The first thing to do now: what and the command.
    pub next: Option<String>,
}

/// A listener of the controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerRow {
    /// `dhcp`, `tftp`, `http`, `agents`.
    pub name: String,
    /// Where.
    pub address: String,
    /// How many it has answered.
    pub answered: u64,
    /// The last thing it refused or that went wrong.
    pub problem: Option<String>,
}

/// The disk that the controller's state is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StorageRow {
    /// The state directory.
    pub path: String,
    /// Size of its file system in bytes.
    pub total_bytes: u64,
    /// Bytes of it that are free.
    pub free_bytes: u64,
    /// What is wrong, why, and what to do; absent while all is well.
    pub problem: Option<String>,
}

/// A server that is known before it comes, or whose address an operator has fixed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReservationRow {
    /// The NIC.
    pub mac: String,
    /// The address that is fixed for it; none: the one it has, or the next that is free.
    pub address: Option<Ipv4Addr>,
    /// The node that the NIC is of, by name, once there is one.
    pub node: Option<String>,
    /// RFC 3339; none when only the address was fixed.
    pub made: Option<String>,
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
    let silent = node.reported.is_none_or(|at| now.seconds_since(at) > SILENT_SECONDS);
    if matches!(node.state, State::Attention { .. }) {
        "attention"
    } else if node.state != State::Active {
        ""
    } else if silent {
        "silent"
    } else if crate::running::not_up(node).is_some() {
        "degraded"
    } else {
        "ok"
    }
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
    let job = node.state.job().and_then(|id| fleet.jobs.get(&id));
    NodeRow {
        name: node.name.to_string(),
        id: node.id.to_string(),
        state: node.state.word().to_owned(),
        since: node.since.to_string(),
        address: site.addresses.get(&node.boot.mac).copied().unwrap_or(node.boot.address),
        mac: node.boot.mac.clone(),
        roles: node.roles.iter().cloned().collect(),
        code: node.claim.as_ref().map(|claim| Code::of(&site.ca, &claim.key, &claim.nonce)),
        waiting: patience::wait(fleet, node).map(|wait| wait.reason),
        health: health(node, now).to_owned(),
        units_up: report.and_then(|r| count(wanted(r).into_iter().filter(|up| *up).count())),
        units: report.and_then(|r| count(wanted(r).len())),
        percent: job.filter(|job| !job.state.ended()).map(percent),
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
        discovered: node.discovered.to_string(),
        heard: node.heard.to_string(),
        boot_path: node.boot.path.clone(),
        product: format!("{} {}", inventory.smbios.vendor, inventory.smbios.product).trim().to_owned(),
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
        system_disk: node.installed.as_ref().map(|installed| installed.disk.to_string()),
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

/// A plan.
pub fn plan_view(fleet: &Fleet, plan: &Plan) -> PlanView {
    let node = fleet.nodes.get(&plan.node);
    let (state, note) = match &plan.state {
        PlanState::Open => ("open", None),
        PlanState::Applied { job } => ("applied", Some(format!("job {job}"))),
        PlanState::Withdrawn { why } => ("withdrawn", Some(why.clone())),
    };
    PlanView {
        id: plan.id.to_string(),
        node: node.map_or_else(|| plan.node.short(), |node| node.name.to_string()),
        kind: match plan.kind {
            PlanKind::Install => "install",
            PlanKind::Rebuild => "rebuild",
        }
        .to_owned(),
        state: state.to_owned(),
        image: plan.image_name.clone(),
        image_digest: plan.image.to_string(),
        image_bytes: fleet.images.get(&plan.image).map_or(0, |image| image.content_bytes),
        roles: plan
            .roles
            .as_ref()
            .or(node.map(|node| &node.roles))
            .map(|roles| roles.iter().cloned().collect())
            .unwrap_or_default(),
        disk: plan.target.disk.to_string(),
        disk_model: plan.target.model.clone(),
        disk_serial: plan.serial.clone(),
        disk_bytes: plan.target.bytes,
        erases: plan.erases.clone(),
        keeps: plan
            .keeps
            .iter()
            .map(|kept| KeptView {
                disk: kept.disk.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
                model: kept.model.clone(),
                serial: kept.serial.clone(),
                bytes: kept.bytes,
            })
            .collect(),
        data: plan.data.as_ref().map(|data| DataView {
            disk: data.disk.to_string(),
            model: data.model.clone(),
            serial: data.serial.clone(),
            bytes: data.bytes,
            group: VOLUME_GROUP.to_owned(),
            kept: data.kept,
        }),
        made: plan.made.to_string(),
        note,
    }
}

/// Percent of a job: writing and reading back count alike.
fn percent(job: &Job) -> u8 {
    let Some(progress) = &job.progress else { return 0 };
    let done = progress.done_bytes.saturating_add(progress.read_back_bytes);
    let all = progress.total_bytes.saturating_mul(2).max(1);
    let cap = if matches!(job.state, JobState::Verified | JobState::Done) { 100 } else { 99 };
    u8::try_from(done.saturating_mul(100) / all).unwrap_or(100).min(cap)
}

/// A job.
pub fn job_row(fleet: &Fleet, job: &Job) -> JobRow {
    let node = fleet.nodes.get(&job.node);
    let progress = job.progress.as_ref();
    let bytes = |field: fn(&protocol::Progress) -> u64| progress.map_or(0, field);
    JobRow {
        id: job.id.to_string(),
        node: node.map_or_else(|| job.node.short(), |node| node.name.to_string()),
        node_state: node.map_or("", |node| node.state.word()).to_owned(),
        plan: job.plan.to_string(),
        image: fleet.images.get(&job.image).map_or_else(|| job.image.short(), |image| image.name.clone()),
        disk: job.target.disk.to_string(),
        state: job.state.word().to_owned(),
        phase: progress.and_then(|p| serde_json::to_value(p.phase).ok()?.as_str().map(str::to_owned)),
        done_bytes: bytes(|p| p.done_bytes),
        same_bytes: bytes(|p| p.same_bytes),
        read_back_bytes: bytes(|p| p.read_back_bytes),
        total_bytes: bytes(|p| p.total_bytes),
        fetched_bytes: bytes(|p| p.fetched_bytes),
        percent: if matches!(job.state, JobState::Verified | JobState::Done) { 100 } else { percent(job) },
        takes: job.takes,
        created: job.created.to_string(),
        started: job.started.map(|at| at.to_string()),
        ended: job.ended.map(|at| at.to_string()),
        why: match &job.state {
            JobState::Failed { why } => Some(why.clone()),
            JobState::Waiting | JobState::Running | JobState::Verified | JobState::Done => None,
        },
    }
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
        content_bytes: image.content_bytes,
        stored_bytes: image.stored_bytes,
        signer: image.signer.to_string(),
        imported: image.imported.to_string(),
        nodes: fleet.nodes.values().filter(runs).map(|node| node.name.to_string()).collect(),
    }
}

/// Units of installed nodes: what they should be and what they are.
pub fn service_rows(fleet: &Fleet, catalog: &Catalog) -> Vec<ServiceRow> {
    let mut rows = Vec::new();
    for node in fleet.nodes.values().filter(|node| node.installed.is_some()) {
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

/// The first thing to do now.
pub fn next_step(fleet: &Fleet) -> Option<String> {
    let first = |wanted: fn(&State) -> bool| fleet.nodes.values().find(|node| wanted(&node.state));
    let attention = first(|state| matches!(state, State::Attention { .. }));
    let rejected = |node: &Node| matches!(node.state, State::Rejected { .. });
    let claim = fleet.nodes.values().find(|node| node.claim.is_some() && !rejected(node));
    let planned = first(|state| matches!(state, State::Planned { .. }));
    let ready = first(|state| matches!(state, State::Ready));
    if let Some(node) = attention {
        return Some(format!("see why {} needs attention: rackwright node why {}", node.name, node.name));
    }
    if let Some(node) = claim {
        return Some(format!(
            "compare the code of {} with its screen: rackwright node approve {}",
            node.name, node.name
        ));
    }
    match (planned, ready) {
        (Some(node), _) => {
            let State::Planned { plan } = &node.state else { return None };
            Some(format!("look at plan {plan} and apply it: rackwright apply {plan}"))
        }
        (None, Some(node)) => Some(format!("plan {}: rackwright node plan {}", node.name, node.name)),
        (None, None) if fleet.nodes.is_empty() && fleet.images.is_empty() => {
            Some("import an image: rackwright image import FILE".to_owned())
        }
        (None, None) if fleet.nodes.is_empty() => {
            Some("power a server on: it boots from the network".to_owned())
        }
        (None, None) => None,
    }
}
