//! A fleet and its agents: hellos, work, receipts and reports of servers that say anything, an operator, time.
//!
//! Every step is saved as the daemon's writer does it. Whatever agents say, the fleet can be saved, loaded and looked
//! at, names and ids stay unique, and only the operator's approval lets anybody in.

use std::collections::BTreeSet;

use fleet::burn_in;
use fleet::capture::Wish;
use fleet::certificate::Certificate;
use fleet::entropy::Entropy;
use fleet::event::UnitVerb;
use fleet::image::Image;
use fleet::plan::PlanId;
use fleet::{Catalog, Change, Denied, Effect, Event, Fleet, Outcome, State, Time, converge, step};
use pack::{Digest, PublicKey};
use protocol::{
    Adoption, BootFacts, Disk, DiskBus, EcPoint, Epoch, HardwareAddress, Hello, Holding, Identity, Inventory,
    JobId, Key, Nic, NodeId, Part, Phase, Progress, Receipt, Report, TaskReport, TaskResult, TestReport,
    Token, Tpm, TpmKeys, UnitReport, Verify,
};

use crate::Reached;
use crate::input::{Input, block};
use crate::message::REPORT;
use crate::row::{catalog, show, site};

/// Longer stories find nothing that shorter ones do not.
const STEPS: usize = 48;
const START: Time = Time(1_800_000_000_000);
const GIB: u64 = 1 << 30;

struct Rack {
    fleet: Fleet,
    catalog: &'static Catalog,
    now: Time,
    dice: u8,
    approved: BTreeSet<NodeId>,
    saved: Vec<Change>,
}

/// Runs a story.
pub(crate) fn run(data: &[u8]) -> Reached {
    let mut rack = Rack::new();
    rack.play(data);
    let beyond = |state: &State| !matches!(state, State::Discovered | State::Rejected { .. });
    Reached::when(rack.fleet.nodes.values().any(|node| beyond(&node.state)))
}

/// Rows as the writer would save them, of every table.
pub(crate) fn rows() -> Vec<Vec<u8>> {
    let mut rack = Rack::new();
    if let Some(story) = seeds().first() {
        rack.play(story);
    }
    let rows = rack.saved.iter().rev().map(|change| serde_json::to_vec(change).unwrap_or_default());
    let mut seen = BTreeSet::new();
    rows.filter(|row| seen.insert(row.get(..20).map(<[u8]>::to_vec))).collect()
}

impl Rack {
    fn new() -> Rack {
        let fleet = Fleet { epoch: Epoch(1), ..Fleet::default() };
        let (approved, saved) = (BTreeSet::new(), Vec::new());
        let mut rack = Rack { fleet, catalog: catalog(), now: START, dice: 0, approved, saved };
        for role in ["control", "storage"] {
            rack.bring(Event::Imported(image(role))).expect("an image can be imported");
        }
        rack
    }

    fn play(&mut self, data: &[u8]) {
        let mut input = Input::new(data);
        for _ in 0..STEPS {
            if input.is_empty() {
                return;
            }
            let Some(event) = self.event(&mut input) else { continue };
            // A refusal changes nothing and says why.
            if let Err(why) = self.bring(event) {
                assert!(!why.to_string().is_empty());
            }
            self.check();
        }
    }

    /// Steps, saves, and settles documents as the writer does.
    fn bring(&mut self, event: Event) -> Result<(), Denied> {
        self.now = Time(self.now.0 + 1000);
        self.dice = self.dice.wrapping_add(1);
        let approves = if let Event::Approve { node, .. } = &event { Some(*node) } else { None };
        let mut dice = Entropy::new(&[self.dice; 32]);
        let Outcome { changes, effects, .. } = step(&self.fleet, self.catalog, event, self.now, &mut dice)?;
        self.approved.extend(approves);
        self.save(changes);
        for effect in effects {
            let Effect::Issue(grant) = effect;
            assert!(self.approved.contains(&grant.node), "a certificate without approval");
            let fingerprint = format!("{}-{}-{}", grant.node, grant.stage, grant.generation);
            let (node, key, stage) = (grant.node, grant.key, grant.stage);
            let (generation, until) = (grant.generation, grant.until);
            self.save(vec![Change::Certificate(Certificate {
                number: 0,
                ca: None,
                fingerprint,
                node,
                key,
                stage,
                generation,
                until,
            })]);
        }
        let (changes, _) = converge::settle(&self.fleet, &site(), self.catalog);
        self.save(changes);
        Ok(())
    }

    fn save(&mut self, changes: Vec<Change>) {
        for change in changes {
            let text = serde_json::to_string(&change).expect("a row can be written");
            let loaded: Change = serde_json::from_str(&text).expect("a row can be read");
            assert!(loaded == change, "loaded as another row: {text}");
            self.saved.push(change);
            self.fleet.put(loaded);
        }
    }

    fn check(&self) {
        let names: BTreeSet<&str> = self.fleet.nodes.values().map(|node| node.name.as_str()).collect();
        assert_eq!(names.len(), self.fleet.nodes.len(), "two nodes of one name");
        for node in self.fleet.nodes.values() {
            let known = matches!(node.state, State::Discovered | State::Rejected { .. });
            assert!(known || self.approved.contains(&node.id), "{} came in by itself", node.name);
            assert!(node.orders.len() <= 16);
            if let Ok(document) = fleet::converge(&self.fleet, &site(), self.catalog, node) {
                assert!(document.files.iter().all(|file| file.digest == Digest::of(file.content.as_bytes())));
            }
        }
        show(&self.fleet, self.now);
    }

    fn node(&self, input: &mut Input<'_>) -> Option<NodeId> {
        let which = usize::from(input.byte());
        self.fleet.nodes.keys().nth(which.checked_rem(self.fleet.nodes.len())?).copied()
    }

    fn job(&self, node: NodeId, input: &mut Input<'_>) -> JobId {
        let own = self.fleet.nodes.get(&node).and_then(|node| node.state.job());
        if input.byte() == 255 { JobId([7; 8]) } else { own.unwrap_or(JobId([8; 8])) }
    }

    /// The next thing that happens; None when it is about a node and there is none.
    fn event(&mut self, input: &mut Input<'_>) -> Option<Event> {
        let what = input.byte() % 23;
        match what {
            0 => {
                let (hello, choice) = (Box::new(hello(input)), input.byte());
                let asked = fleet::tpm::questions(&self.fleet, &hello.key).next();
                let answered = asked.map(|(_, _, asked)| asked.secret).filter(|_| choice & 2 != 0);
                return Some(Event::Hello { hello, proven: choice & 1 == 1, answered });
            }
            1 => {
                let hours = u64::from(input.byte());
                self.now = self.now.plus_seconds(hours * hours * 60);
                return Some(Event::Tick);
            }
            2 => {
                return Some(Event::Served {
                    mac: mac(input.byte()),
                    what: "kernel".to_owned(),
                    text: text(input),
                });
            }
            3 => {
                return self
                    .fleet
                    .plans
                    .keys()
                    .last()
                    .map(|plan| Event::Apply { plan: PlanId(plan.0.clone()), force: false });
            }
            _ => {}
        }
        let node = self.node(input)?;
        if what > 20 {
            return Some(self.of_testing(what, node, input));
        }
        if what > 17 {
            return self.of_capture(what, node, input);
        }
        if what < 9 { self.of_agent(what, node, input) } else { self.of_operator(what, node, input) }
    }

    /// The fingerprint of a certificate that was issued.
    fn certificate(&self) -> String {
        self.fleet.certificates.keys().last().cloned().unwrap_or_default()
    }

    fn of_agent(&self, what: u8, node: NodeId, input: &mut Input<'_>) -> Option<Event> {
        Some(match what {
            4 => {
                Event::Asked { node, certificate: self.certificate(), inventory: Box::new(inventory(input)) }
            }
            5 => Event::Progressed { node, progress: progress(self.job(node, input), input) },
            6 => Event::Verified { node, receipt: self.receipt(node, input)? },
            7 => {
                let (certificate, uptime_seconds) = (self.certificate(), input.u32());
                Event::Enrolled { node, certificate, key: Key([input.byte(); 32]), uptime_seconds }
            }
            _ => Event::Reported { node, report: Box::new(self.report(node, input)) },
        })
    }

    fn of_testing(&self, what: u8, node: NodeId, input: &mut Input<'_>) -> Event {
        if what == 21 {
            let parts = Part::ALL.into_iter().filter(|_| input.byte() & 1 == 1).collect();
            return Event::Test {
                node,
                wish: burn_in::Wish { parts, seconds: input.u64() >> (input.byte() & 63) },
            };
        }
        let mut report = TestReport::begin(self.job(node, input));
        report.part = input.one_of(&[Some(Part::Cpu), Some(Part::Disk), None], None);
        (report.milliseconds, report.over) = (input.u64(), input.byte() & 1 == 1);
        if input.byte() & 1 == 1 {
            report.fault(Part::Memory, &text(input), input.u64());
        }
        report.unable = (input.byte() == 255).then(|| text(input));
        Event::Tested { node, report: Box::new(report) }
    }

    fn of_capture(&self, what: u8, node: NodeId, input: &mut Input<'_>) -> Option<Event> {
        let job = self.job(node, input);
        Some(match what {
            18 => {
                let keep = [text(input)].into();
                let identity =
                    if input.byte() & 1 == 1 { Identity::AsIs } else { Identity::Generalize { keep } };
                let (name, disk) = ("copy".to_owned(), None);
                let confirmed = self.fleet.nodes.get(&node).map(|node| node.name.to_string());
                let wish = Wish { name, identity, disk, roles: None, confirmed, force: false };
                Event::Capture { node, wish: Box::new(wish) }
            }
            19 => Event::Cancel { job },
            _ => {
                let (image, found) = (Box::new(image("copy")), Vec::new());
                if input.byte() & 1 == 1 {
                    Event::Sealing { node, job, image: image.digest }
                } else {
                    Event::Captured { node, job, image, found }
                }
            }
        })
    }

    fn of_operator(&self, what: u8, node: NodeId, input: &mut Input<'_>) -> Option<Event> {
        let roles = |input: &mut Input<'_>| {
            let choice = input.byte();
            let named = [(1, "control"), (2, "storage"), (64, "nothing")];
            named.iter().filter(|(bit, _)| choice & bit != 0).map(|(_, role)| (*role).to_owned()).collect()
        };
        Some(match what {
            9 => {
                let (name, roles) = (text(input).parse().ok(), Some(roles(input)));
                Event::Approve { node, moved: name.is_none(), name, roles }
            }
            10 => Event::Reject { node, why: text(input) },
            11 => Event::Rename { node, name: text(input).parse().ok()? },
            12 => Event::SetRoles { node, roles: roles(input) },
            13 => {
                let (image, disk, data, roles) = (None, None, None, None);
                let verify = if input.byte() & 1 == 0 { Verify::Readback } else { Verify::Stream };
                Event::Plan { node, image, disk, data, roles, erase: Vec::new(), verify }
            }
            14 => Event::Retry { node },
            15 => Event::Ticketed { node, key: Key([input.byte(); 32]) },
            16 => {
                let verb =
                    input.one_of(&[UnitVerb::Start, UnitVerb::Stop, UnitVerb::Restart], UnitVerb::Stop);
                Event::Unit { node, unit: "a.service".to_owned(), verb }
            }
            _ => Event::Logs { node, unit: text(input), lines: input.u32() },
        })
    }

    /// The receipt of the node's job; of another image or with wild numbers when the input says so.
    fn receipt(&self, node: NodeId, input: &mut Input<'_>) -> Option<Receipt> {
        let job = self.job(node, input);
        let row = self.fleet.jobs.get(&job)?;
        let image = if input.byte() == 255 { Digest::of(b"other") } else { row.image };
        Some(Receipt {
            job,
            image,
            disk: row.target.disk.clone(),
            total_bytes: input.u64(),
            written_bytes: input.u64(),
            same_bytes: input.u64(),
            fetched_bytes: input.u64(),
            milliseconds: input.u64(),
            verify: row.verify,
            proof: None,
        })
    }

    /// A report: the node's generation and units unless the input says otherwise, or JSON of its own.
    fn report(&self, node: NodeId, input: &mut Input<'_>) -> Report {
        let choice = input.byte();
        if choice & 8 != 0 {
            return serde_json::from_slice(input.block()).unwrap_or_default();
        }
        let generation = self.fleet.nodes.get(&node).map_or(0, |node| node.document.generation);
        let words = ["active", "failed", "inactive", "activating", "\u{1b}[2J"];
        let unit = |input: &mut Input<'_>| UnitReport {
            name: "a.service".to_owned(),
            load: "loaded".to_owned(),
            active: input.one_of(&words, "active").to_owned(),
            sub: text(input),
            result: String::new(),
            since_ms: input.u64(),
            log: vec![text(input)],
        };
        let units = (0..choice & 3).map(|_| unit(input)).collect();
        let why = if choice & 4 == 0 { None } else { Some(text(input)) };
        let task =
            |why| TaskReport { name: "vg".to_owned(), result: TaskResult::Failed { why }, log: vec![] };
        Report { generation, units, tasks: why.map(task).into_iter().collect(), ..Report::default() }
    }
}

fn text(input: &mut Input<'_>) -> String {
    input.text().into_owned()
}

fn mac(number: u8) -> HardwareAddress {
    format!("52:54:00:77:00:{:02x}", number % 4).parse().expect("a hardware address")
}

fn inventory(input: &mut Input<'_>) -> Inventory {
    let choice = input.byte();
    if choice & 128 != 0 {
        return serde_json::from_slice(input.block()).unwrap_or_default();
    }
    let nic = |number| Nic {
        name: "eth0".to_owned(),
        mac: mac(number),
        speed_mbps: None,
        carrier: true,
        driver: String::new(),
    };
    let nics = (0..choice & 3).map(|_| nic(input.byte())).collect();
    let disks = (0..(choice >> 2) & 3).map(|number| disk(number, input)).collect();
    let memory_bytes = if choice & 64 == 0 { 2 * GIB } else { u64::MAX };
    Inventory { nics, disks, memory_bytes, firmware: "bios".to_owned(), ..Inventory::default() }
}

fn disk(number: u8, input: &mut Input<'_>) -> Disk {
    let choice = input.byte();
    let held = Holding {
        kind: "lvm".to_owned(),
        partition: 0,
        label: text(input),
        bytes: Some(u64::MAX),
        ..Holding::default()
    };
    Disk {
        name: "vda".to_owned(),
        model: "QEMU".to_owned(),
        serial: if choice & 1 == 0 { format!("QM{number}") } else { String::new() },
        bytes: if choice & 2 == 0 { 8 * GIB } else { u64::MAX },
        sector_bytes: if choice & 4 == 0 { 512 } else { 4096 },
        bus: if choice & 8 == 0 { DiskBus::Virtio } else { DiskBus::Usb },
        content: (choice & 16 == 0).then(|| Digest::of(&[choice])),
        holds: if choice & 32 == 0 { vec![] } else { vec![held] },
        ..Disk::default()
    }
}

fn hello(input: &mut Input<'_>) -> Hello {
    let (key, boot) = (Key([input.byte(); 32]), mac(input.byte()));
    let address = [10, 77, 0, input.byte()].into();
    let boot = BootFacts {
        mac: boot,
        address,
        path: "bios-pxe".to_owned(),
        uptime_seconds: 4,
        boot_id: String::new(),
    };
    let inventory = inventory(input);
    // A token that somebody made up: nobody was invited.
    let adoption = (key.0[0] & 7 == 7).then(|| Adoption {
        token: Token([key.0[0]; 16]),
        host: "web".to_owned(),
        system: "Debian".to_owned(),
    });
    let tpm = tpm(input);
    Hello { tpm, adoption, ..Hello::new(key, boot, inventory) }
}

fn tpm(input: &mut Input<'_>) -> Option<Tpm> {
    let keys = |number| TpmKeys {
        endorsement: EcPoint([number; 64]),
        attestation: EcPoint([number | 1; 64]),
        answer: None,
    };
    match input.byte() {
        0 => None,
        1 => Some(Tpm::Lacks(text(input))),
        number => Some(Tpm::Keys(keys(number))),
    }
}

fn progress(job: JobId, input: &mut Input<'_>) -> Progress {
    let phases = [Phase::Capture, Phase::Compare, Phase::Disarm, Phase::Write, Phase::ReadBack, Phase::Arm];
    let (phase, fails) = (input.one_of(&phases, Phase::Write), input.byte() & 1 == 1);
    Progress {
        job,
        phase,
        total_bytes: input.u64(),
        done_bytes: input.u64(),
        same_bytes: input.u64(),
        read_back_bytes: input.u64(),
        fetched_bytes: input.u64(),
        failed: fails.then(|| text(input)),
    }
}

fn image(role: &str) -> Image {
    Image {
        digest: Digest::of(role.as_bytes()),
        name: role.to_owned(),
        roles: [role.to_owned()].into(),
        arch: "amd64".to_owned(),
        disk_bytes: 2 * GIB,
        content_bytes: GIB,
        stored_bytes: GIB / 4,
        signer: PublicKey([3; 32]),
        imported: START,
        layout: pack::Layout::default(),
        root: None,
    }
}

/// A server from hello to active and its rebuild; two with one MAC; numbers at their ends; a whole report.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let hello =
        |key: u8, proven: u8| [vec![0, key, 1, 100, 0b101, 1, 0], block(""), vec![0, proven]].concat();
    let approve = [vec![9, 0], block("web-1"), vec![1]].concat();
    let asks = [vec![4, 0, 0b101, 1, 0], block("")].concat();
    let apply = [vec![13, 0], vec![3]].concat();
    let progress = |total: u64| [vec![5, 0, 0, 2, 0], total.to_le_bytes().repeat(5)].concat();
    let receipt = [vec![6, 0, 0, 0], (1_u64 << 30).to_le_bytes().repeat(5)].concat();
    let enrol = [vec![7, 0], 20_u32.to_le_bytes().to_vec(), vec![9]].concat();
    let up = [vec![8, 0, 1, 0], block("running"), vec![0; 8], block("last words")].concat();
    let report = [vec![8, 0, 8], block(REPORT)].concat();
    let start = [hello(1, 0), approve, hello(1, 1), asks.clone(), apply.clone(), asks.clone()].concat();
    let installed = [receipt, enrol, up].concat();
    let rebuild = [apply, vec![15, 0, 3], hello(3, 1), asks].concat();
    let desk =
        [vec![16, 0, 1, 17, 0], block("a.service"), 9_u32.to_le_bytes().to_vec(), vec![1, 200]].concat();
    vec![
        [start.clone(), progress(1 << 30), installed.clone(), rebuild].concat(),
        [start.clone(), progress(u64::MAX), vec![1, 200], vec![14, 0], progress(0)].concat(),
        [start.clone(), hello(2, 1), [vec![0, 4, 2, 100, 0b10, 1, 2], vec![0, 0]].concat(), desk.clone()]
            .concat(),
        [start, installed, report, desk].concat(),
    ]
}
