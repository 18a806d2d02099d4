//! One node's life, and all of them together.

use std::error::Error;
use std::rc::Rc;
use std::time::{Duration, Instant};

use agent::chain::Chain;
use agent::controller::{CallError, Controller, Dates, Identity, Line};
use agent::keys::KeyPair;
use protocol::{
    BootFacts, Disk, DiskBus, Enrol, Enrolled, Envelope, Hello, HelloReply, ImageJob, Inventory, Nic, Phase,
    Progress, ProgressReply, Proof, Receipt, Report, ReportReply, Signature, StateAsk, StateReply, Task,
    TaskAsk, UnitReport, Verdict, enrol_proof, hello_proof, routes,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::{Barrier, Semaphore, watch};

use crate::figures::{Figures, seconds};
use crate::image::BYTES;
use crate::lease::Lease;
use crate::{Site, operator};

/// How long an answer is waited for, as the agent does.
const DEADLINE: Duration = Duration::from_secs(40);
/// How long the controller may hold an answer back, in seconds.
const HOLD: u32 = 25;
/// How often a node that is active reports.
const REPORTS: Duration = Duration::from_secs(10);
/// What an operator can type at a time.
const HANDS: usize = 4;

type Failure = Box<dyn Error>;

/// What all wait for together.
struct Company {
    site: Site,
    hands: Semaphore,
    /// All have an address and a certificate; all are active; all have had their time.
    enrolled: Barrier,
    active: Barrier,
}

/// What one node found.
#[derive(Default)]
struct Story {
    failed: Option<String>,
    job: Option<f64>,
    reports: Vec<f64>,
    repeated: usize,
    enrolled: Option<Instant>,
    active: Option<Instant>,
}

/// Plays all of them.
pub(crate) async fn all(site: Site, leases: Vec<Lease>) -> Result<Figures, Failure> {
    let count = leases.len();
    let known = leases.first().map(|lease| format!("{}={}", text(lease.mac), lease.address));
    let company = Rc::new(Company {
        site,
        hands: Semaphore::new(HANDS),
        enrolled: Barrier::new(count),
        active: Barrier::new(count),
    });
    let begun = Instant::now();
    let local = tokio::task::LocalSet::new();
    let stories = local.run_until(async {
        let lives = leases.into_iter().enumerate().map(|(at, lease)| {
            let company = Rc::clone(&company);
            tokio::task::spawn_local(async move { whole(&company, at, lease).await })
        });
        let mut stories = Vec::new();
        for life in lives.collect::<Vec<_>>() {
            stories.push(life.await?);
        }
        Ok::<_, tokio::task::JoinError>(stories)
    });
    let stories = stories.await?;
    let last = |when: fn(&Story) -> Option<Instant>| stories.iter().filter_map(when).max();
    let enrolled = last(|story| story.enrolled).unwrap_or(begun);
    let active = last(|story| story.active).unwrap_or(enrolled);
    let mut failed = stories.iter().filter_map(|story| story.failed.clone()).collect::<Vec<_>>();
    failed.sort();
    failed.dedup();
    Ok(Figures {
        active: stories.iter().filter(|story| story.failed.is_none()).count(),
        failed,
        enrolled: seconds(enrolled - begun),
        imaged: seconds(active - enrolled),
        jobs: stories.iter().filter_map(|story| story.job).collect(),
        repeated: stories.iter().map(|story| story.repeated).sum(),
        reports: stories.into_iter().flat_map(|story| story.reports).collect(),
        known: known.unwrap_or_default(),
    })
}

/// One that fails still keeps the others company, so that nobody waits for it.
async fn whole(company: &Company, at: usize, lease: Lease) -> Story {
    let mut story = Story::default();
    let mut node = match Node::new(&company.site, at, lease) {
        Ok(node) => node,
        Err(error) => return Story { failed: Some(error.to_string()), ..story },
    };
    let mut failed = node.enrols(company).await.err();
    story.enrolled = Some(Instant::now());
    company.enrolled.wait().await;
    if failed.is_none() {
        let begun = Instant::now();
        failed = node.is_imaged(company).await.err();
        story.active = Some(Instant::now());
        story.job = failed.is_none().then(|| seconds(begun.elapsed()));
    }
    company.active.wait().await;
    if failed.is_none() {
        failed = node.works(company, at, &mut story).await.err();
    }
    story.failed = failed.map(|error| Chain(&*error).to_string());
    story
}

struct Node {
    keys: KeyPair,
    controller: Controller,
    line: Line,
    root: pack::Digest,
    lease: Lease,
    name: String,
    inventory: Inventory,
    /// What it shall be, and how far it is.
    report: Report,
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}

impl Node {
    fn new(site: &Site, at: usize, lease: Lease) -> Result<Self, Failure> {
        let mac = text(lease.mac).parse()?;
        let nic = Nic {
            name: "eth0".to_owned(),
            mac,
            speed_mbps: Some(1000),
            carrier: true,
            driver: "virtio_net".to_owned(),
        };
        let disk = Disk {
            name: "vda".to_owned(),
            model: "QEMU".to_owned(),
            serial: format!("CROWD{at}"),
            bytes: 8 << 30,
            sector_bytes: 512,
            bus: DiskBus::Virtio,
            content: Some(pack::Digest::of(&at.to_be_bytes())),
            ..Disk::default()
        };
        let inventory = Inventory {
            nics: vec![nic],
            disks: vec![disk],
            firmware: "bios".to_owned(),
            ..Inventory::default()
        };
        let controller = Controller::new(site.controller, site.pin, Dates::Lenient, None)?;
        let controller = controller.calling_from(lease.address.into());
        Ok(Self {
            keys: KeyPair::generate()?,
            line: Line::new(controller.clone()),
            controller,
            root: site.root,
            lease,
            name: format!("c{at}"),
            inventory,
            report: Report::default(),
        })
    }

    /// Asks until there is an answer, as the agent does.
    async fn insist<A: Serialize + Sync, R: DeserializeOwned>(
        &mut self,
        route: &str,
        ask: &A,
    ) -> Result<R, CallError> {
        self.line.insist(route, ask, DEADLINE, |_, _| ()).await
    }

    /// From now on it calls with this certificate.
    fn holds(&mut self, site: &Site, certificate: &str) -> Result<(), Failure> {
        let identity = Identity::new(certificate, &self.keys)?;
        let controller = Controller::new(site.controller, site.pin, Dates::Strict, Some(identity))?;
        self.controller = controller.calling_from(self.lease.address.into());
        self.line = Line::new(self.controller.clone());
        Ok(())
    }

    async fn hello(&mut self, proof: Option<Signature>) -> Result<HelloReply, Failure> {
        let mac = self.inventory.nics.first().map(|nic| nic.mac.clone()).ok_or("no NIC")?;
        let boot = BootFacts {
            mac,
            address: self.lease.address,
            path: "bios-pxe".to_owned(),
            uptime_seconds: 4,
            boot_id: String::new(),
        };
        let (key, inventory) = (self.keys.public(), self.inventory.clone());
        let wait_seconds = if proof.is_some() { HOLD } else { 0 };
        let hello = Hello { proof, wait_seconds, ..Hello::new(key, boot, inventory) };
        Ok(self.insist(routes::HELLO, &hello).await?)
    }

    /// From the first hello to the ramdisk that waits for work.
    async fn enrols(&mut self, company: &Company) -> Result<(), Failure> {
        let first = self.hello(None).await?;
        let approve = json!({"name": self.name, "roles": ["compute"]});
        let path = format!("/v1/nodes/{}/approve", text(self.lease.mac));
        let hands = company.hands.acquire().await?;
        operator::wants(&company.site.socket, &path, &approve).await?;
        drop(hands);
        let key = self.keys.public();
        let proof = self.keys.sign(&hello_proof(&company.site.pin, &first.node, &key, &first.nonce));
        loop {
            match self.hello(Some(proof)).await?.verdict {
                Verdict::Approved { certificate } => {
                    self.holds(&company.site, &certificate)?;
                    break;
                }
                Verdict::Waiting { .. } => {}
                Verdict::Rejected { reason } => return Err(reason.into()),
            }
        }
        self.asks(0).await.map(drop)
    }

    async fn asks(&mut self, wait_seconds: u32) -> Result<Envelope<Task>, Failure> {
        let ask = TaskAsk { inventory: self.inventory.clone(), wait_seconds, reach: None };
        Ok(self.insist(routes::TASK, &ask).await?)
    }

    /// From the plan to the first report.
    async fn is_imaged(&mut self, company: &Company) -> Result<(), Failure> {
        let socket = &company.site.socket;
        let hands = company.hands.acquire().await?;
        let name = self.name.clone();
        let mut plan = json!(null);
        while plan.is_null() {
            plan = operator::wants(socket, &format!("/v1/nodes/{name}/plan"), &json!({})).await?;
        }
        let id = plan.get("id").and_then(|id| id.as_str()).ok_or("a plan without an id")?.to_owned();
        operator::wants(socket, &format!("/v1/plans/{id}/apply"), &json!({"confirm": name})).await?;
        drop(hands);
        let (node, job) = loop {
            let task = self.asks(HOLD).await?;
            if let Task::Image(job) = task.body {
                break (task.node, *job);
            }
        };
        self.writes(&job, company.site.write).await?;
        let receipt = self.receipt(&node, &job)?;
        let _: Envelope<Task> = self.insist(routes::VERIFIED, &receipt).await?;
        let own = KeyPair::generate()?;
        let enrol = Enrol {
            protocol: protocol::VERSION,
            key: own.public(),
            proof: own.sign(&enrol_proof(&company.site.pin, &node, &own.public())),
            boot_id: format!("boot-{name}"),
            uptime_seconds: 20,
        };
        let enrolled: Enrolled = self.insist(routes::ENROL, &enrol).await?;
        self.keys = own;
        self.holds(&company.site, &enrolled.certificate)?;
        loop {
            let reply = self.state(0).await?;
            if let Some(document) = reply.document {
                let units = document.units.iter().map(|unit| up(&unit.name)).collect();
                self.report = Report {
                    generation: document.generation,
                    boot_id: enrol.boot_id.clone(),
                    units,
                    ..Report::default()
                };
                let _: Envelope<ReportReply> = self.insist(routes::REPORT, &self.report.clone()).await?;
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Says for so long that it writes, once a second.
    async fn writes(&mut self, job: &ImageJob, write: Duration) -> Result<(), Failure> {
        let _ = self.line.get(&routes::manifest(&job.image), None, DEADLINE).await;
        let begun = Instant::now();
        loop {
            let share = begun.elapsed().as_secs_f64() / write.as_secs_f64().max(0.001);
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a share of 4 MiB"
            )]
            let done_bytes = (share.min(1.0) * BYTES as f64) as u64;
            let progress = Progress {
                job: job.job,
                phase: Phase::Write,
                total_bytes: BYTES,
                done_bytes,
                same_bytes: 0,
                read_back_bytes: 0,
                fetched_bytes: done_bytes,
                failed: None,
            };
            let reply: Envelope<ProgressReply> = self.insist(routes::PROGRESS, &progress).await?;
            if !reply.body.go_on {
                return Err("the job was ended".into());
            }
            if share >= 1.0 {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// What proves that the disk holds the image, signed as a ramdisk signs it.
    fn receipt(&self, node: &protocol::NodeId, job: &ImageJob) -> Result<Receipt, Failure> {
        let proof = Proof {
            root: self.root,
            serial: self.inventory.disks.first().map(|disk| disk.serial.clone()).unwrap_or_default(),
            wwn: String::new(),
            durable_bytes: BYTES,
            key: self.keys.public(),
            signature: Signature([0; 64]),
        };
        let mut receipt = Receipt {
            job: job.job,
            image: job.image,
            disk: job.target.disk.clone(),
            total_bytes: BYTES,
            written_bytes: BYTES,
            same_bytes: 0,
            fetched_bytes: BYTES,
            milliseconds: 1000,
            verify: job.verify,
            proof: Some(Box::new(proof)),
        };
        let statement = receipt.statement(node).ok_or("a receipt without a statement")?;
        if let Some(proof) = &mut receipt.proof {
            proof.signature = self.keys.sign(statement.as_bytes());
        }
        Ok(receipt)
    }

    async fn state(&mut self, wait_seconds: u32) -> Result<StateReply, Failure> {
        let ask = StateAsk { have: self.report.generation, wait_seconds, ..StateAsk::default() };
        let reply: Envelope<StateReply> = self.insist(routes::STATE, &ask).await?;
        Ok(reply.body)
    }

    /// Waits for news on one line, and reports on another, as the agent does.
    async fn works(&mut self, company: &Company, at: usize, story: &mut Story) -> Result<(), Failure> {
        let until = Instant::now() + company.site.steady;
        let mut news = Line::new(self.controller.clone());
        let (newest, mut generation) = watch::channel(self.report.generation);
        let waits = tokio::task::spawn_local(async move {
            loop {
                let ask = StateAsk { have: *newest.borrow(), wait_seconds: HOLD, ..StateAsk::default() };
                let said: Result<Envelope<StateReply>, _> =
                    news.insist(routes::STATE, &ask, DEADLINE, |_, _| ()).await;
                match said.map(|said| said.body.document) {
                    Ok(Some(document)) => drop(newest.send_replace(document.generation)),
                    Ok(None) => {}
                    Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
                }
            }
        });
        // Not all in the same moment.
        let offset = REPORTS * u32::try_from(at % 100)? / 100;
        tokio::time::sleep(offset.min(company.site.steady)).await;
        while Instant::now() < until {
            // What is new is true at once here; a node writes files and restarts units first.
            self.report.generation = *generation.borrow_and_update();
            let (begun, report, mut tries) = (Instant::now(), self.report.clone(), 0_usize);
            let trouble = |_: &CallError, _: Duration| tries += 1;
            let said: Result<Envelope<ReportReply>, _> =
                self.line.insist(routes::REPORT, &report, DEADLINE, trouble).await;
            said?;
            story.reports.push(seconds(begun.elapsed()));
            story.repeated += usize::from(tries > 0);
            tokio::select! {
                () = tokio::time::sleep_until((begun + REPORTS).min(until).into()) => {}
                _ = generation.changed() => {}
            }
        }
        waits.abort();
        Ok(())
    }
}

fn up(name: &str) -> UnitReport {
    UnitReport {
        name: name.to_owned(),
        load: "loaded".to_owned(),
        active: "active".to_owned(),
        sub: "running".to_owned(),
        result: "success".to_owned(),
        since_ms: 0,
        log: Vec::new(),
    }
}
