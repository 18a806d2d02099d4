//! Which disk is written, when disks move, are swapped and lie: the controller's plan and the agent's own steps
//! ([`ready`]), on a simulated server in which anything happens between any two steps.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use agent::deploy::imaging::guard::Left;
use agent::deploy::imaging::hold::HoldError;
use agent::deploy::imaging::ready::{Disks, Ready, ready};
use agent::deploy::imaging::target::DiskError;
use agent::inventory::probe::Partition;
use fleet::entropy::Entropy;
use fleet::node::Installed;
use fleet::plan::{Plan, Wish};
use fleet::{Catalog, Event, Fleet, Node, State, Time, step};
use pack::{Digest, PublicKey};
use protocol::{
    BootFacts, Disk, DiskBus, DiskId, Epoch, Expectation, Hello, Holding, ImageJob, Inventory, JobId, Key,
    Mark, Nic, OWN_PARTITION,
};

use crate::Reached;
use crate::input::Input;

const GIB: u64 = 1 << 30;
/// Events in one history.
const EVENTS_MAX: usize = 8;
/// Built-in and spare disks.
const DISKS_MAX: usize = 8;

/// A disk that can be held in the hand: what is on it goes where it goes.
#[derive(Clone, Debug, Default)]
struct Physical {
    serial: String,
    wwn: String,
    model: String,
    bytes: u64,
    sector_bytes: u32,
    bus: DiskBus,
    removable: bool,
    /// First and last MiB; empty for a blank disk.
    ends: Vec<u8>,
    holds: Vec<Holding>,
    /// Whose seed lies on it; 1 is this node.
    seed: Option<u8>,
}

impl Physical {
    fn of(input: &mut Input<'_>, number: u8) -> Self {
        let choice = input.byte();
        let mut disk = Physical {
            serial: input.one_of(&["A", "A", "B", "C", ""], "A").to_owned(),
            wwn: input.one_of(&["", "", "", "naa.5001", "naa.5002"], "").to_owned(),
            model: input.one_of(&["M", "M", "M", "N"], "M").to_owned(),
            bytes: input.one_of(&[8 * GIB, 8 * GIB, 8 * GIB, 9 * GIB, GIB], 8 * GIB),
            sector_bytes: if choice & 0xf == 0xf { 4096 } else { 512 },
            bus: if choice & 0xf0 == 0x10 { DiskBus::Usb } else { DiskBus::Sata },
            removable: choice & 0xf0 == 0x20,
            ..Physical::default()
        };
        let held = |kind: &str, partition, label: &str| Holding {
            kind: kind.to_owned(),
            partition,
            label: label.to_owned(),
            ..Holding::default()
        };
        match input.byte() % 6 {
            0 | 1 => {}
            2 => disk.holds = vec![held("ext4", 1, "old")],
            3 => disk.holds = vec![held("lvm", 2, "vg0")],
            4 => {
                disk.holds = vec![held("partition", 4, OWN_PARTITION), held("ext4", 4, "root")];
                // Another node's disk of the same make, with the key that it left there.
                disk.seed = Some(2);
            }
            _ => disk.holds = vec![held("unknown", 0, "")],
        }
        if !disk.holds.is_empty() {
            disk.ends = vec![number, 1];
        }
        disk
    }

    fn seen(&self, name: &str) -> Disk {
        Disk {
            name: name.to_owned(),
            model: self.model.clone(),
            serial: self.serial.clone(),
            wwn: self.wwn.clone(),
            bytes: self.bytes,
            sector_bytes: self.sector_bytes,
            bus: self.bus,
            removable: self.removable,
            holds: self.holds.clone(),
            content: Some(Digest::of(&self.ends)),
            ..Disk::default()
        }
    }

    fn is_ours(&self) -> bool {
        self.holds.iter().any(|held| held.kind == "partition" && held.label == OWN_PARTITION)
    }
}

/// The server: which disk has which name now, and what will happen at which step.
#[derive(Debug)]
struct Machine {
    disks: RefCell<Vec<Physical>>,
    /// Name to disk, by its place in `disks`.
    names: RefCell<BTreeMap<String, usize>>,
    events: RefCell<Vec<(u8, u8, u8)>>,
    steps: Cell<u8>,
    /// What is open: the kernel gives its name to no other disk.
    open: RefCell<Option<(String, usize)>>,
    /// The ends of each disk at the newest look.
    looked: RefCell<BTreeMap<usize, Vec<u8>>>,
    fresh: Cell<u8>,
}

impl Machine {
    fn of(disks: Vec<Physical>, built_in: usize) -> Self {
        let names = (0..built_in).map(|number| (name(number), number)).collect();
        Self {
            disks: RefCell::new(disks),
            names: RefCell::new(names),
            events: RefCell::default(),
            steps: Cell::new(0),
            open: RefCell::default(),
            looked: RefCell::default(),
            fresh: Cell::new(0),
        }
    }

    fn at(&self, name: &str) -> Option<Physical> {
        let number = *self.names.borrow().get(name)?;
        self.disks.borrow().get(number).cloned()
    }

    fn list(&self) -> Vec<Disk> {
        let disks = self.disks.borrow();
        let names = self.names.borrow();
        names.iter().filter_map(|(name, number)| Some(disks.get(*number)?.seen(name))).collect()
    }

    /// Everything that happens before the next step.
    fn tick(&self) {
        let now = self.steps.get();
        self.steps.set(now.saturating_add(1));
        let due = self.events.borrow().iter().filter(|(at, ..)| *at == now).copied().collect::<Vec<_>>();
        due.into_iter().for_each(|(_, what, which)| self.happen(what, usize::from(which)));
    }

    fn happen(&self, what: u8, which: usize) {
        let slots = self.names.borrow().keys().cloned().collect::<Vec<_>>();
        let Some(slot) = slots.get(which % slots.len().max(1)).cloned() else { return };
        let number = self.names.borrow().get(&slot).copied().unwrap_or(0);
        match what % 8 {
            0 => self.rename(&slots, which),
            1 | 2 => self.swap(&slot, which),
            3 => {
                self.names.borrow_mut().remove(&slot);
            }
            4 => self.put(which),
            5 => self.change(number, |disk| disk.ends.push(9)),
            // Between its ends: the digest stays.
            6 => self.change(number, |disk| {
                let (kind, label) = ("lvm".to_owned(), "late".to_owned());
                disk.holds.push(Holding { kind, partition: 7, label, ..Holding::default() });
            }),
            _ => self.rename(&slots, 1),
        }
        self.settle();
    }

    /// The disks come up in another order.
    fn rename(&self, slots: &[String], by: usize) {
        let mut names = self.names.borrow_mut();
        let disks = slots.iter().filter_map(|slot| names.get(slot).copied()).collect::<Vec<_>>();
        let turned = disks.iter().cycle().skip(by % slots.len().max(1));
        *names = slots.iter().cloned().zip(turned.copied()).collect();
    }

    /// Another disk is put into this place, and gets the name that was free.
    fn swap(&self, slot: &str, which: usize) {
        let used = self.names.borrow().values().copied().collect::<BTreeSet<_>>();
        let spare =
            (0..self.disks.borrow().len()).filter(|number| !used.contains(number)).collect::<Vec<_>>();
        let spare = spare.get((which / 7) % spare.len().max(1)).copied();
        spare.map(|number| self.names.borrow_mut().insert(slot.to_owned(), number));
    }

    fn put(&self, which: usize) {
        let free = name(20 + usize::from(self.fresh.get()));
        self.fresh.set(self.fresh.get() + 1);
        self.swap(&free, which);
    }

    fn change(&self, number: usize, change: impl Fn(&mut Physical)) {
        // A disk that somebody has open for himself alone is changed by nobody.
        if self.open.borrow().as_ref().is_none_or(|(_, open)| *open != number) {
            self.disks.borrow_mut().get_mut(number).into_iter().for_each(change);
        }
    }

    /// A name that is held by an open disk is not another's.
    fn settle(&self) {
        let Some((held, number)) = self.open.borrow().clone() else { return };
        let other = self.names.borrow().get(&held).copied().filter(|at| *at != number);
        if let Some(other) = other {
            self.names.borrow_mut().remove(&held);
            let free = name(40 + usize::from(self.fresh.get()));
            self.fresh.set(self.fresh.get() + 1);
            self.names.borrow_mut().insert(free, other);
        }
    }
}

fn name(number: usize) -> String {
    format!("sd{number:02}")
}

/// An open as weak as one can be: whatever has the name now. The real one also compares number and size.
impl Disks for Machine {
    type Held = String;
    type Open = usize;

    fn look(&self) -> Vec<Disk> {
        self.tick();
        let disks = self.disks.borrow();
        let ends = disks.iter().enumerate().map(|(number, disk)| (number, disk.ends.clone()));
        *self.looked.borrow_mut() = ends.collect();
        drop(disks);
        self.list()
    }

    fn partitions(&self, disk: &Disk) -> Vec<Partition> {
        self.tick();
        let is_ours = self.at(&disk.name).is_some_and(|disk| disk.is_ours());
        let own = Partition { number: 4, name: OWN_PARTITION.to_owned(), ..Partition::default() };
        if is_ours { vec![own] } else { Vec::new() }
    }

    fn left(&self, disk: &Disk, _: &ImageJob) -> Left {
        self.tick();
        match self.at(&disk.name).and_then(|disk| disk.seed) {
            None => Left::Nothing,
            Some(1) => Left::Begun,
            Some(_) => Left::ByAnother,
        }
    }

    fn unused(&self, _: &str) -> Result<(), HoldError> {
        self.tick();
        Ok(())
    }

    fn protect(&self, name: &str) -> Result<String, HoldError> {
        self.tick();
        Ok(name.to_owned())
    }

    fn open(&self, disk: &Disk, id: DiskId) -> Result<usize, DiskError> {
        self.tick();
        let number = self.names.borrow().get(&disk.name).copied();
        let number = number.ok_or(DiskError::Changed { disk: id.to_string(), what: "its name" })?;
        *self.open.borrow_mut() = Some((disk.name.clone(), number));
        Ok(number)
    }
}

/// A server in the ramdisk, and an image for it.
fn rack() -> &'static (Fleet, Catalog, Node) {
    static RACK: OnceLock<(Fleet, Catalog, Node)> = OnceLock::new();
    RACK.get_or_init(|| {
        let role = ("roles/control.toml", "name='control'\nsummary=''\nservices=[]");
        let catalog = Catalog::parse([role]).unwrap_or_else(|error| unreachable!("the catalog: {error}"));
        let mut fleet = Fleet { epoch: Epoch(1), ..Fleet::default() };
        let image = fleet::image::Image {
            digest: Digest::of(b"image"),
            name: "image".to_owned(),
            roles: ["control".to_owned()].into(),
            arch: "amd64".to_owned(),
            disk_bytes: 2 * GIB,
            content_bytes: GIB,
            stored_bytes: GIB,
            signer: PublicKey([3; 32]),
            imported: Time(1),
            layout: pack::Layout::default(),
            root: None,
        };
        bring(&mut fleet, &catalog, Event::Imported(image));
        bring(&mut fleet, &catalog, Event::Hello { hello: Box::new(hello()), proven: false, answered: None });
        let node = fleet.nodes.values().next().map(|node| node.id).unwrap_or_else(|| unreachable!("no node"));
        let roles = Some(["control".to_owned()].into());
        bring(&mut fleet, &catalog, Event::Approve { node, name: None, roles, moved: false });
        let mut node = fleet.nodes.get(&node).cloned().unwrap_or_else(|| unreachable!("no node"));
        node.state = State::Ready;
        (fleet, catalog, node)
    })
}

fn bring(fleet: &mut Fleet, catalog: &Catalog, event: Event) {
    let outcome = step(fleet, catalog, event, Time(1000), &mut Entropy::new(&[7; 32]));
    let outcome = outcome.unwrap_or_else(|error| unreachable!("a rack to begin with: {error}"));
    outcome.changes.into_iter().for_each(|change| fleet.put(change));
}

fn hello() -> Hello {
    let mac = || "52:54:00:00:00:01".parse().unwrap_or_else(|_| unreachable!("a hardware address"));
    let nic = Nic { name: "eth0".into(), mac: mac(), speed_mbps: None, carrier: true, driver: String::new() };
    let boot = BootFacts {
        mac: mac(),
        address: [10, 0, 0, 2].into(),
        path: "bios-pxe".into(),
        uptime_seconds: 1,
        boot_id: String::new(),
    };
    let inventory = Inventory { nics: vec![nic], firmware: "bios".into(), ..Inventory::default() };
    Hello::new(Key([1; 32]), boot, inventory)
}

/// The plan for what is built in, and which disk it saw.
fn plan(machine: &Machine, input: &mut Input<'_>) -> Option<(Plan, usize)> {
    let (fleet, catalog, node) = rack();
    let mut node = node.clone();
    let disks = machine.list();
    let choice = input.byte();
    let named = disks.get(usize::from(input.byte()) % disks.len().max(1)).and_then(Disk::id);
    if choice & 3 == 3
        && let Some(id) = named.clone()
    {
        let (image, at, job, data) = (Digest::of(b"image"), Time(2), JobId([9; 8]), None);
        node.installed = Some(Installed { image, disk: id, at, job, data });
        node.state = State::Active;
    }
    node.inventory.disks.clone_from(&disks);
    let erase = if choice & 8 == 8 { "lvm:vg0".parse::<Mark>().into_iter().collect() } else { Vec::new() };
    let wish = Wish { disk: named.as_ref().filter(|_| choice & 4 == 4), erase: &erase, ..Wish::default() };
    let plan = fleet::plan(fleet, catalog, &node, wish, Time(3), &mut Entropy::new(&[5; 32])).ok()?;
    let seen =
        disks.iter().filter(|disk| plan.target.is(disk)).map(|disk| disk.name.clone()).collect::<Vec<_>>();
    let [seen] = seen.as_slice() else {
        unreachable!("a plan for a disk that is there twice, or not: {plan:?}")
    };
    let number = machine.names.borrow().get(seen).copied()?;
    Some((plan, number))
}

/// One history: disks, a plan, events before and between the agent's steps. [`Reached::Inside`] when a disk is written.
pub(crate) fn run(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let built_in = 1 + usize::from(input.byte()) % 4;
    let count = built_in + usize::from(input.byte()) % (DISKS_MAX - built_in);
    let mut disks = (0..count).map(|_| Physical::default()).collect::<Vec<_>>();
    for (disk, number) in disks.iter_mut().zip(0_u8..) {
        *disk = Physical::of(&mut input, number);
    }
    let machine = Machine::of(disks, built_in);
    let Some((plan, planned)) = plan(&machine, &mut input) else { return Reached::Refusal };
    let before = machine.disks.borrow().get(planned).cloned().unwrap_or_default();
    let is_rebuild = plan.target.expect == Expectation::Own;
    if is_rebuild {
        // The node has left its ticket on it, which is no seed of the job.
        machine.disks.borrow_mut().get_mut(planned).into_iter().for_each(|disk| disk.seed = None);
    }
    while !input.is_empty() && machine.events.borrow().len() < EVENTS_MAX {
        let event = (input.byte() % 10, input.byte(), input.byte());
        machine.events.borrow_mut().push(event);
    }
    let job = ImageJob {
        job: JobId([9; 8]),
        image: plan.image,
        signer: PublicKey([3; 32]),
        target: plan.target.clone(),
        erase: plan.erase.clone(),
        verify: plan.verify,
    };
    let image = rack().0.images.get(&plan.image).map(fleet::image::Image::carried);
    let image = image.unwrap_or_else(|| unreachable!("the image of a plan"));
    let Ok(ready) = ready(&machine, &job, &image) else { return Reached::Refusal };
    let Ready { held, disk, open: written, .. } = ready;
    check(&machine, &before, planned, written, is_rebuild);
    assert_eq!(held, disk.name, "all but another one are protected");
    let now = machine.disks.borrow().get(written).cloned().unwrap_or_default();
    assert!(protocol::unnamed(&now.holds, &plan.erase).is_empty(), "foreign data is written over: {now:?}");
    Reached::Inside
}

/// What is written is the disk that the plan saw, with what the plan saw on it.
fn check(machine: &Machine, before: &Physical, planned: usize, written: usize, is_rebuild: bool) {
    let now = machine.disks.borrow().get(written).cloned().unwrap_or_default();
    // Two blank disks with one serial number, model and size are one to everybody, and nothing is lost.
    let is_as_good = before.ends.is_empty() && now.ends.is_empty() && before.seen("") == now.seen("");
    assert!(written == planned || is_as_good, "planned {planned} {before:?}, written {written} {now:?}");
    let looked = machine.looked.borrow().get(&written).cloned();
    assert!(is_rebuild || looked.as_ref() == Some(&before.ends), "it was changed since the plan");
}

/// One disk and nothing happens; a swap before, between look and open, and after; a rebuild; foreign data named.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    // Disk: choice, serial, WWN, model, bytes, content.
    let blank = [0, 0, 0, 0, 0, 0];
    let old = [0, 2, 0, 0, 0, 2];
    let member = [0, 3, 0, 0, 0, 3];
    let ours = [0, 0, 0, 0, 0, 4];
    let history = |built_in: u8, disks: &[[u8; 6]], choice: [u8; 2], events: &[[u8; 3]]| {
        let spare = u8::try_from(disks.len()).unwrap_or(1) - built_in;
        [&[built_in - 1, spare][..], disks.as_flattened(), &choice, events.as_flattened()].concat()
    };
    vec![
        history(1, &[blank], [0, 0], &[]),
        history(2, &[old, member], [4, 0], &[[0, 0, 1]]),
        history(1, &[old, blank], [0, 0], &[[0, 1, 0]]),
        history(1, &[old, old], [0, 0], &[[4, 1, 0]]),
        history(1, &[old, old], [0, 0], &[[5, 1, 0]]),
        history(1, &[member], [8, 0], &[]),
        history(1, &[ours], [3, 0], &[]),
        history(1, &[ours, ours], [3, 0], &[[3, 1, 0], [6, 6, 0]]),
    ]
}
