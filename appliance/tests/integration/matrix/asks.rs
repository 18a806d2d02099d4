//! The requests: for every route one that names only what is the asker's own, and one for every field that names an
//! object, with another's in it.

use appliance::agents::Route;
use pack::Packed;
use protocol::{
    Answer, CastAsk, DiskId, Enrol, Erasure, Heard, IdentityFile, JobId, Link, LinkAddress, NetworkAsk,
    NodeId, Proof, Receipt, Report, Rescue, Seal, Signature, StateAsk, StepDone, TestReport, Ticket, Verify,
    enrol_proof, hello_proof, routes,
};
use serde::Serialize;

use super::principals::{Job, Principal};
use super::victims::{SECOND_NIC, Victims};
use crate::agent::{Agent, Keys};
use crate::capturing::{packed, seal, windows};
use crate::controller::Controller;
use crate::journey;
use crate::retiring::erasure;

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) post: bool,
    pub(super) path: String,
    pub(super) body: Vec<u8>,
}

pub(super) fn post<T: Serialize>(path: &str, body: &T) -> Ask {
    Ask { post: true, path: path.to_owned(), body: serde_json::to_vec(body).unwrap() }
}

fn get(path: String) -> Ask {
    Ask { post: false, path, body: Vec::new() }
}

fn nobody() -> NodeId {
    NodeId([9; 16])
}

/// What a captured disk holds.
fn disk() -> [Packed; 2] {
    [packed(0, 7), packed(8191, 7)]
}

/// Names nothing but what is the asker's own, or nothing there is.
pub(super) fn own(route: Route, principal: &Principal, controller: &Controller) -> Ask {
    let agent = &principal.agent;
    let job = principal.job();
    let image = match &principal.job {
        Job::Image(job) => job.image,
        Job::Nothing | Job::Capture(_) | Job::Erase(_) | Job::Test(_) => pack::Digest([3; 32]),
    };
    let capture = match &principal.job {
        Job::Capture(job) => (**job).clone(),
        Job::Nothing | Job::Image(_) | Job::Erase(_) | Job::Test(_) => protocol::CaptureJob {
            job,
            disk: protocol::Subject::of(&crate::agent::disk("X")).unwrap(),
            identity: protocol::Identity::AsIs,
        },
    };
    match route {
        Route::Hello => post(routes::HELLO, &agent.hello(None)),
        Route::Task => post(routes::TASK, &agent.task_ask()),
        Route::Progress => post(routes::PROGRESS, &journey::nothing_yet(job)),
        Route::Cast => post(routes::CAST, &CastAsk::new(job)),
        Route::Verified => post(routes::VERIFIED, &receipt(principal, |_| {})),
        Route::Erased => post(routes::ERASED, &erased(principal, job, 0)),
        Route::Rescue => post(routes::RESCUE, &rescue(job)),
        Route::Tested => post(routes::TESTED, &TestReport::begin(job)),
        Route::TestData => get(routes::TEST_DATA.to_owned()),
        Route::Windows => post(routes::WINDOWS, &windows(&capture, 0, &disk())),
        Route::Stored => stored(&capture.job),
        Route::Seal => post(routes::SEAL, &seal(&capture, &disk())),
        Route::Manifest => get(routes::manifest(&image)),
        Route::Data => get(routes::data(&image)),
        Route::Enrol => {
            post(routes::ENROL, &enrol(&agent.keys, &principal.node.unwrap_or_else(nobody), controller))
        }
        Route::Escrow => post(routes::ESCROW, &Vec::<IdentityFile>::new()),
        Route::State => post(routes::STATE, &ask_state(0)),
        Route::Report => post(routes::REPORT, &Report::default()),
        Route::Ticket => post(routes::TICKET, &Ticket { key: agent.keys.public() }),
        Route::Network => post(routes::NETWORK, &NetworkAsk::default()),
    }
}

/// Every field that names an object, with another's.
pub(super) fn trespasses(
    route: Route,
    principal: &Principal,
    controller: &Controller,
    victims: &Victims,
) -> Vec<(&'static str, Ask)> {
    let (writes, image_job) = &victims.writes;
    let (captured, capture_job) = &victims.captured;
    match route {
        Route::Hello => hellos(principal, controller, victims),
        Route::Task => tasks(principal, victims),
        Route::Progress => progresses(victims),
        Route::Cast => {
            let shunned = vec![std::net::SocketAddr::new(writes.boot.address.into(), 8443)];
            let own = CastAsk { shunned, ..CastAsk::new(principal.job()) };
            vec![
                ("job", post(routes::CAST, &CastAsk::new(image_job.job))),
                ("shunned", post(routes::CAST, &own)),
            ]
        }
        Route::Verified => receipts(principal, victims),
        Route::Erased => erasures(principal, victims),
        Route::Rescue => vec![("job", post(routes::RESCUE, &rescue(victims.rescued.1.job)))],
        Route::Tested => tests(victims),
        // It names nothing.
        Route::TestData => Vec::new(),
        Route::Windows => vec![("job", post(routes::WINDOWS, &windows(capture_job, 0, &disk())))],
        Route::Stored => vec![("job", stored(&capture_job.job))],
        Route::Seal => vec![
            ("job", post(routes::SEAL, &seal(capture_job, &disk()))),
            (
                "job of an image",
                post(routes::SEAL, &Seal { job: image_job.job, ..seal(capture_job, &disk()) }),
            ),
        ],
        Route::Manifest => vec![("image", get(routes::manifest(&image_job.image)))],
        Route::Data => vec![("image", get(routes::data(&image_job.image)))],
        Route::Enrol => enrolments(principal, controller, victims),
        Route::Escrow => {
            let path = "/etc/ssh/../../var/lib/rackwright/state.db".to_owned();
            vec![(
                "path",
                post(routes::ESCROW, &[IdentityFile { path, mode: 0o600, content: "eA==".to_owned() }]),
            )]
        }
        Route::State => vec![("done order", post(routes::STATE, &ask_state(u64::MAX)))],
        Route::Report => {
            let answer = Answer { order: 1, lines: vec!["forged".to_owned()], error: None };
            let report = Report { answers: vec![answer], done_order: u64::MAX, ..Report::default() };
            vec![("order", post(routes::REPORT, &report))]
        }
        Route::Network => networks(victims),
        Route::Ticket => vec![
            ("key of another's ramdisk", post(routes::TICKET, &Ticket { key: writes.keys.public() })),
            (
                "key of another's captured ramdisk",
                post(routes::TICKET, &Ticket { key: captured.keys.public() }),
            ),
            ("key of another's system", post(routes::TICKET, &Ticket { key: victims.runs.keys.public() })),
        ],
    }
}

fn progresses(victims: &Victims) -> Vec<(&'static str, Ask)> {
    let (image, capture) = (victims.writes.1.job, victims.captured.1.job);
    let lost = |job| protocol::Progress { failed: Some("lost".to_owned()), ..journey::nothing_yet(job) };
    let done = protocol::Progress { done_bytes: 3 << 20, ..journey::nothing_yet(image) };
    vec![
        ("job, as failed", post(routes::PROGRESS, &lost(image))),
        ("job, as done", post(routes::PROGRESS, &done)),
        ("job of a capture", post(routes::PROGRESS, &lost(capture))),
    ]
}

fn tests(victims: &Victims) -> Vec<(&'static str, Ask)> {
    let theirs = TestReport::begin(victims.tested.1.job);
    let over = TestReport { over: true, ..theirs.clone() };
    let unable = TestReport { unable: Some("lost".to_owned()), ..theirs };
    vec![("job, as over", post(routes::TESTED, &over)), ("job, as failed", post(routes::TESTED, &unable))]
}

fn hellos(principal: &Principal, controller: &Controller, victims: &Victims) -> Vec<(&'static str, Ask)> {
    let victim = &victims.runs;
    let hello = principal.agent.hello(None);
    let (mut mac, mut nic, mut key) = (hello.clone(), hello.clone(), hello.clone());
    mac.boot.mac = victim.boot.mac.clone();
    nic.inventory.nics.extend(victim.inventory.nics.clone());
    key.key = victims.ramdisk_key;
    let mut proven = key.clone();
    let message = hello_proof(&controller.ca.pin(), &victims.runs_node, &key.key, &protocol::Nonce([0; 16]));
    proven.proof = Some(principal.agent.keys.sign(&message));
    let fields =
        [("boot.mac", mac), ("inventory.nics", nic), ("key", key), ("key, with a proof of another", proven)];
    fields.map(|(field, hello)| (field, post(routes::HELLO, &hello))).to_vec()
}

fn tasks(principal: &Principal, victims: &Victims) -> Vec<(&'static str, Ask)> {
    let ask = principal.agent.task_ask();
    let (mut boots, mut second, mut carried, mut disks) = (ask.clone(), ask.clone(), ask.clone(), ask);
    let nic =
        |mac: &str| protocol::Nic { mac: mac.parse().unwrap(), ..principal.agent.inventory.nics[0].clone() };
    boots.inventory.nics.push(nic(victims.runs.boot.mac.as_str()));
    second.inventory.nics.push(nic(SECOND_NIC));
    carried.inventory.nics.push(protocol::Nic { driver: "r8152".to_owned(), ..nic(SECOND_NIC) });
    disks.inventory.disks.clone_from(&victims.runs.inventory.disks);
    [
        ("inventory.nics, the one that boots", boots),
        ("inventory.nics, another", second),
        ("inventory.nics, as one that is carried about", carried),
        ("inventory.disks", disks),
    ]
    .map(|(field, ask)| (field, post(routes::TASK, &ask)))
    .to_vec()
}

/// No field says who asks; what a node says of others is what it has heard of members of a check that it is in.
fn networks(victims: &Victims) -> Vec<(&'static str, Ask)> {
    let link = Link {
        name: "eth0".to_owned(),
        mac: victims.runs.boot.mac.clone(),
        carrier: true,
        mtu: 1500,
        speed_mbps: None,
        addresses: vec![LinkAddress { address: victims.runs.boot.address, prefix: 24 }],
        neighbours: Vec::new(),
    };
    let heard = Heard { from: 0, network: 0, packets: 1, largest: 1500 };
    let done = StepDone { check: 1, number: 1, heard: vec![heard], ..StepDone::default() };
    let asks = [
        ("links", NetworkAsk { links: vec![link], ..NetworkAsk::default() }),
        ("done, of a check that it is not in", NetworkAsk { done: Some(done), ..NetworkAsk::default() }),
    ];
    asks.map(|(field, ask)| (field, post(routes::NETWORK, &ask))).to_vec()
}

fn receipts(principal: &Principal, victims: &Victims) -> Vec<(&'static str, Ask)> {
    let (_, theirs) = &victims.writes;
    let all = [
        ("job", receipt(principal, |receipt| receipt.job = theirs.job)),
        ("image", receipt(principal, |receipt| receipt.image = theirs.image)),
        ("disk", receipt(principal, |receipt| receipt.disk = theirs.target.disk.clone())),
        (
            "job, without a proof",
            Receipt { proof: None, ..receipt(principal, |receipt| receipt.job = theirs.job) },
        ),
        (
            "everything",
            receipt(principal, |receipt| {
                (receipt.job, receipt.image, receipt.disk) =
                    (theirs.job, theirs.image, theirs.target.disk.clone());
            }),
        ),
    ];
    all.map(|(field, receipt)| (field, post(routes::VERIFIED, &receipt))).to_vec()
}

/// What proves that the principal's disk is erased, signed by it.
fn erased(principal: &Principal, job: JobId, at: usize) -> Erasure {
    let agent = &principal.agent;
    erasure(agent, &agent.keys, principal.node.unwrap_or_else(nobody), job, at)
}

fn rescue(job: JobId) -> Rescue {
    Rescue { job, host_key: None, trouble: Some("forged".to_owned()) }
}

fn erasures(principal: &Principal, victims: &Victims) -> Vec<(&'static str, Ask)> {
    let (theirs, job) = &victims.erases;
    let node = principal.node.unwrap_or_else(nobody);
    let as_its_own = erasure(theirs, &principal.agent.keys, node, job.job, 0);
    let of_its_disk = erasure(theirs, &principal.agent.keys, node, principal.job(), 0);
    [
        ("job", erased(principal, job.job, 0)),
        ("job and disk", as_its_own),
        ("disk", of_its_disk),
        ("job of an image", erased(principal, victims.writes.1.job, 0)),
    ]
    .map(|(field, erasure)| (field, post(routes::ERASED, &erasure)))
    .to_vec()
}

fn enrolments(principal: &Principal, controller: &Controller, victims: &Victims) -> Vec<(&'static str, Ask)> {
    let own = &principal.agent.keys;
    let theirs = enrol(own, &victims.runs_node, controller);
    let key = Enrol { key: victims.runs.keys.public(), ..theirs.clone() };
    let fresh = enrol(&Keys::new(), &victims.runs_node, controller);
    [
        ("proof for another's node", theirs),
        ("key of another", key),
        ("a new key, proven for another's node", fresh),
    ]
    .map(|(field, enrol)| (field, post(routes::ENROL, &enrol)))
    .to_vec()
}

/// The bytes of the one window that the store lacks.
fn stored(job: &protocol::JobId) -> Ask {
    let window = &disk()[0];
    Ask { post: true, path: routes::stored(job, window.window), body: window.stored.clone() }
}

fn ask_state(done_order: u64) -> StateAsk {
    StateAsk { done_order, ..StateAsk::default() }
}

fn enrol(keys: &Keys, node: &NodeId, controller: &Controller) -> Enrol {
    Enrol {
        protocol: protocol::VERSION,
        key: keys.public(),
        proof: keys.sign(&enrol_proof(&controller.ca.pin(), node, &keys.public())),
        boot_id: "b00t".to_owned(),
        uptime_seconds: 20,
    }
}

/// A receipt of the principal's job, bent, and signed with its own key as it is then.
fn receipt(principal: &Principal, bend: impl FnOnce(&mut Receipt)) -> Receipt {
    let (image, disk) = match &principal.job {
        Job::Image(job) => (job.image, job.target.disk.clone()),
        Job::Nothing | Job::Capture(_) | Job::Erase(_) | Job::Test(_) => {
            (pack::Digest([3; 32]), DiskId::of("", "none").unwrap())
        }
    };
    let agent: &Agent = &principal.agent;
    let proof = Proof {
        root: crate::image::root(),
        serial: "QM0001".to_owned(),
        wwn: String::new(),
        durable_bytes: 3 << 20,
        key: agent.keys.public(),
        signature: Signature([0; 64]),
    };
    let mut receipt = Receipt {
        job: principal.job(),
        image,
        disk,
        total_bytes: 3 << 20,
        written_bytes: 3 << 20,
        same_bytes: 0,
        fetched_bytes: 3 << 20,
        milliseconds: 1000,
        verify: Verify::default(),
        proof: Some(Box::new(proof)),
    };
    bend(&mut receipt);
    let node = principal.node.unwrap_or_else(nobody);
    let signature = receipt.statement(&node).map(|statement| agent.keys.sign(statement.as_bytes()));
    if let (Some(proof), Some(signature)) = (&mut receipt.proof, signature) {
        proof.signature = signature;
    }
    receipt
}
