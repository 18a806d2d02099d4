//! A node's end: erased disk by disk, each by its own proof, and then nothing of it opens anything.

use fleet::certificate::{Stage, authorise};
use fleet::job::{JobState, Work};
use fleet::plan::{PlanId, PlanState};
use fleet::{Denied, Event, Reply, State, boot_task, view};
use protocol::{
    CANARIES_MIN, Disk, DiskId, EraseJob, Erasure, Holding, JobId, Key, Method, NodeId, Phase, Progress,
    SAMPLES_MIN, Signature, Task,
};
use pxe::script::BootTask;

use crate::rack::{MAC, Rack, disk, progress};

fn id(serial: &str) -> DiskId {
    DiskId::of("", serial).unwrap()
}

fn erasure(job: JobId, disk: &Disk) -> Erasure {
    Erasure {
        job,
        disk: disk.id().unwrap(),
        model: disk.model.clone(),
        serial: disk.serial.clone(),
        wwn: disk.wwn.clone(),
        bytes: disk.bytes,
        method: Method::Overwrite,
        firmware: String::new(),
        written_bytes: disk.bytes,
        canaries: CANARIES_MIN,
        samples: SAMPLES_MIN,
        sampled_bytes: 1 << 20,
        milliseconds: 1000,
        key: Key([1; 32]),
        signature: Signature([1; 64]),
    }
}

impl Rack {
    fn retires(&mut self, node: NodeId, keep: &[&str]) -> Result<(PlanId, JobId), Denied> {
        let keep = keep.iter().map(|serial| id(serial)).collect();
        match self.bring(Event::Retire { node, keep })?.reply {
            Reply::Retirement(row) => Ok((row.plan, row.id)),
            other => panic!("{other:?}"),
        }
    }

    fn erases(&mut self, node: NodeId) -> EraseJob {
        match self.asks(node).unwrap().reply {
            Reply::Task(Task::Erase(job)) => *job,
            other => panic!("{other:?}"),
        }
    }

    fn is_erased(&mut self, node: NodeId, erasure: Erasure) -> Result<Reply, Denied> {
        Ok(self.bring(Event::Erased { node, erasure: Box::new(erasure) })?.reply)
    }

    /// An active node with two more disks, in the ramdisk, told to erase all three but `KEPT`.
    fn retiring() -> (Self, NodeId, JobId) {
        let (mut rack, node, _) = Rack::active("control");
        let mut known = rack.only().clone();
        known.inventory.disks.extend([disk("MORE", 16), disk("KEPT", 4)]);
        rack.fleet.nodes.insert(node, known);
        let (plan, job) = rack.retires(node, &["KEPT"]).unwrap();
        assert_eq!(rack.state(), "active", "a plan changes nothing");
        assert_eq!(rack.apply(&plan).unwrap(), job);
        (rack, node, job)
    }

    fn in_ramdisk(&mut self, node: NodeId) {
        self.bring(Event::Ticketed { node, key: Key([5; 32]) }).unwrap();
        self.hello(5, MAC, true).unwrap();
    }

    fn boots_disk(&self) -> bool {
        boot_task(&self.fleet, &MAC.parse().unwrap()) == BootTask::LocalDisk
    }
}

#[test]
fn from_active_to_forgotten() {
    let (mut rack, node, job) = Rack::retiring();
    assert_eq!(rack.state(), "draining");
    assert!(rack.only().orders.iter().any(|order| order.kind.redeploys()));
    assert!(rack.boots_disk(), "it hands a ticket in first");
    rack.in_ramdisk(node);
    let told = rack.erases(node);
    assert_eq!((rack.state(), told.job), ("retiring", job));
    let named = told.disks.iter().map(|doomed| (doomed.disk.serial.as_str(), doomed.own)).collect::<Vec<_>>();
    assert_eq!(named, [("SYS", true), ("MORE", false)], "the kept disk is not in it");
    assert!(rack.only().installed.is_none() && !rack.boots_disk());

    rack.is_erased(node, erasure(job, &disk("SYS", 8))).unwrap();
    assert_eq!(rack.state(), "retiring", "one of two");
    // A power cut: what is proven is not done again.
    rack.hello(5, MAC, true).unwrap();
    let left = rack.erases(node).disks;
    assert_eq!(left.iter().map(|doomed| doomed.disk.serial.as_str()).collect::<Vec<_>>(), ["MORE"]);
    let generation = rack.only().generation;
    let reply = rack.is_erased(node, erasure(job, &disk("MORE", 16))).unwrap();
    assert_eq!(reply, Reply::Task(Task::Reboot));
    assert_eq!(rack.only().state, State::Retired);
    assert_eq!(rack.only().generation, generation + 1);
    assert!(rack.boots_disk());
    for (print, row) in &rack.fleet.certificates {
        for stage in [Stage::Deploy, Stage::Run] {
            authorise(&rack.fleet, Some(print), stage, rack.now).expect_err(&format!("{row:?} is void"));
        }
    }
    // It comes back with its key, or another: nobody is asked to approve it.
    for key in [5, 6] {
        rack.hello(key, MAC, true).unwrap();
        assert!(rack.only().claim.is_none() && rack.only().deploy.is_none());
    }
    rack.bring(Event::Approve { node, name: None, roles: None, moved: false }).unwrap_err();
    rack.plan(node).unwrap_err();

    rack.bring(Event::Delete { node }).unwrap();
    assert!(rack.fleet.nodes.is_empty() && rack.fleet.certificates.values().all(|row| row.node != node));
    let rows = view::erasure_rows(&rack.fleet, Some("n1"));
    assert_eq!(
        rows.iter().map(|row| row.state.as_str()).collect::<Vec<_>>(),
        ["proven"; 2],
        "what proves it stays"
    );
    assert_eq!(view::erasure_rows(&rack.fleet, Some("MORE")).len(), 1);
    assert!(view::erasure_rows(&rack.fleet, Some("KEPT")).is_empty());
    // The same server is a new one.
    rack.hello(7, MAC, false).unwrap();
    assert_eq!(rack.state(), "discovered");
}

#[test]
fn a_proof_that_is_none_proves_nothing() {
    let (mut rack, node, job) = Rack::retiring();
    let sys = erasure(job, &disk("SYS", 8));
    rack.is_erased(node, sys.clone()).expect_err("nobody was given the job yet");
    rack.in_ramdisk(node);
    rack.erases(node);
    let wrong: [fn(&mut Erasure); 7] = [
        |e| e.samples = SAMPLES_MIN - 1,
        |e| e.canaries = 0,
        |e| e.written_bytes -= 1,
        |e| e.serial = "OTHER".to_owned(),
        |e| e.disk = id("KEPT"),
        |e| e.job = JobId([9; 8]),
        |e| e.bytes = 1,
    ];
    for (at, change) in wrong.into_iter().enumerate() {
        let mut told = sys.clone();
        change(&mut told);
        rack.is_erased(node, told).expect_err(&at.to_string());
        assert!(rack.fleet.retirements[&job].disks.iter().all(|disk| disk.proof.is_none()), "{at}");
    }
    assert_eq!(rack.state(), "retiring");
}

#[test]
fn a_disk_that_refuses_calls_a_person_and_nothing_is_retired() {
    let (mut rack, node, job) = Rack::retiring();
    rack.in_ramdisk(node);
    rack.erases(node);
    rack.is_erased(node, erasure(job, &disk("SYS", 8))).unwrap();
    let failed = Some("serial:MORE: it says that it is erased, and is not".to_owned());
    rack.bring(Event::Progressed { node, progress: Progress { failed, ..progress(job, Phase::Erase, 5) } })
        .unwrap();
    assert_eq!(rack.state(), "attention");
    assert!(matches!(&rack.only().state, State::Attention { cause, .. } if cause.contains("serial:MORE")));
    assert!(!rack.boots_disk(), "half of a disk is not booted");
    rack.hello(5, MAC, true).unwrap();
    assert!(matches!(rack.asks(node).unwrap().reply, Reply::Task(Task::Wait { .. })));
    rack.bring(Event::Delete { node }).unwrap_err();
    rack.bring(Event::Reject { node, why: "no".to_owned() })
        .expect_err("it would boot what is left of its disk");
    rack.bring(Event::Retry { node }).unwrap();
    assert_eq!(rack.erases(node).disks.len(), 1, "what is proven stays so");
    let kept = rack.fleet.retirements[&job].clone();
    assert_eq!(
        serde_json::from_str::<fleet::retire::Retirement>(&serde_json::to_string(&kept).unwrap()).unwrap(),
        kept
    );
}

#[test]
fn a_card_that_was_in_a_retired_node_is_whose_it_is_now() {
    let (mut rack, node) = Rack::ready("control");
    rack.fleet.nodes.insert(node, fleet::Node { state: State::Retired, ..rack.only().clone() });
    let mac = MAC.parse().unwrap();
    assert_eq!(rack.fleet.owner(&mac).map(|owner| owner.id), Some(node), "nobody else has it");
    for other in [NodeId([0; 16]), NodeId([0xff; 16])] {
        let mut fleet = rack.fleet.clone();
        let has_it = fleet::Node { id: other, state: State::Ready, ..rack.fleet.nodes[&node].clone() };
        fleet.nodes.insert(other, has_it);
        assert_eq!(fleet.owner(&mac).map(|owner| owner.id), Some(other));
    }
}

#[test]
fn a_plan_to_erase_holds_as_long_as_nothing_else_is_there() {
    let (mut rack, node) = Rack::ready("control");
    let (plan, job) = rack.retires(node, &[]).unwrap();
    assert_eq!(rack.state(), "planned");
    let mut changed = rack.only().clone();
    changed.inventory.disks[0].holds = vec![Holding { kind: "ceph".to_owned(), ..Holding::default() }];
    rack.fleet.nodes.insert(node, changed);
    let told = rack.apply(&plan).unwrap_err().to_string();
    assert!(told.contains("holds ceph@0 now"), "{told}");
    // Shown, it is part of the plan.
    let (plan, second) = rack.retires(node, &[]).unwrap();
    assert!(matches!(rack.fleet.retirements[&job].verdict, PlanState::Withdrawn { .. }));
    let told = rack.apply(&PlanId("p-00000000".to_owned())).unwrap_err();
    assert!(matches!(told, Denied::Missing { .. }));
    rack.apply(&plan).unwrap();
    rack.apply(&plan).expect_err("only once");
    assert_eq!(rack.erases(node).disks[0].erase[0].to_string(), "ceph@0");
    assert!(
        matches!(Work::of(&rack.fleet, second), Some(Work::Retirement(row)) if row.state == JobState::Running)
    );
    rack.bring(Event::Cancel { job: second }).unwrap_err();
}

#[test]
fn what_can_t_be_told_apart_or_is_not_there_is_no_part_of_a_plan() {
    let (mut rack, node) = Rack::ready("control");
    let with = |rack: &mut Rack, disks: Vec<Disk>| {
        let mut node = rack.only().clone();
        node.inventory.disks = disks;
        rack.fleet.nodes.insert(node.id, node);
    };
    rack.retires(node, &["GONE"]).unwrap_err();
    rack.retires(node, &["SYS"]).expect_err("nothing would be erased");
    with(&mut rack, vec![disk("SYS", 8), disk("SYS", 8)]);
    let told = rack.retires(node, &[]).unwrap_err().to_string();
    assert!(told.contains("two disks call themselves so"), "{told}");
    with(&mut rack, vec![disk("SYS", 8), Disk { removable: true, ..disk("STICK", 8) }]);
    let (_, job) = rack.retires(node, &[]).unwrap();
    let row = &rack.fleet.retirements[&job];
    assert_eq!((row.disks.len(), row.keeps.len()), (1, 1), "a stick is left alone, and shown");
}
