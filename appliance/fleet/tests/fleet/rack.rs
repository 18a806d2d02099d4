//! A fleet to try things on: no clock, no randomness, no I/O.

use std::collections::BTreeMap;

use fleet::certificate::{Certificate, Grant, Stage};
use fleet::cloud::{Cloud, CloudKey, Datapath, External, Tunnel};
use fleet::entropy::Entropy;
use fleet::image::Image;
use fleet::{
    Catalog, Denied, Effect, Event, Fleet, Node, Outcome, Reply, Site, State, Subnet, Time, converge, step,
};
use pack::{Digest, PublicKey};
use protocol::{
    BootFacts, CaPin, Disk, DiskBus, Epoch, Hello, Inventory, JobId, Key, Nic, NodeId, Phase, Progress,
    Receipt, Report, UnitReport, Verify,
};

pub(crate) struct Rack {
    pub(crate) fleet: Fleet,
    pub(crate) catalog: Catalog,
    pub(crate) now: Time,
    pub(crate) signs: Option<CaPin>,
    pub(crate) external: Option<External>,
    pub(crate) tunnel: Option<Tunnel>,
    pub(crate) log: Vec<String>,
    seed: u8,
}

pub(crate) const MAC: &str = "52:54:00:77:00:01";
pub(crate) const OTHER_MAC: &str = "52:54:00:77:00:02";

impl Rack {
    pub(crate) fn new() -> Self {
        let catalog = Catalog::parse([
            ("roles/base.toml", "name='base'\nsummary=''\nservices=['names']"),
            ("roles/control.toml", "name='control'\nsummary=''\nservices=['db']"),
            ("roles/storage.toml", "name='storage'\nsummary=''\nservices=['volumes']"),
            (
                "services/names/service.toml",
                "name='names'\nsummary=''\n[[files]]\npath='/etc/hosts'\nmode='0644'\nowner='root:root'\ntemplate='hosts'",
            ),
            (
                "services/db/service.toml",
                "name='db'\nsummary=''\n[[units]]\nname='db.service'\nenabled=true\nrunning=true",
            ),
            (
                "services/volumes/service.toml",
                "name='volumes'\nsummary=''\n[[tasks]]\nname='vg'\nguard=['/bin/false']\nargv=['/bin/vg','${disk.data}']\n\
                 timeout_seconds=5\nbefore_units=true",
            ),
            ("services/names/hosts", "${node.address} ${node.name}\n${rack.hosts}\n"),
        ]);
        let fleet = Fleet { epoch: Epoch(1), ..Fleet::default() };
        Self {
            fleet,
            catalog: catalog.unwrap(),
            now: Time(1_000_000),
            signs: None,
            external: None,
            tunnel: None,
            log: Vec::new(),
            seed: 0,
        }
    }

    pub(crate) fn site(&self) -> Site {
        Site {
            name: "test".to_owned(),
            subnets: vec![Subnet {
                net: "10.77.0.0/24".parse().unwrap(),
                controller: "10.77.0.1".parse().unwrap(),
                gateway: None,
            }],
            ca: CaPin([1; 32]),
            addresses: BTreeMap::new(),
            cloud: Some(Cloud {
                region: "Here".to_owned(),
                datapath: Datapath::Kernel,
                key: CloudKey::new([7; 32]),
                external: self.external.clone(),
                tunnel: self.tunnel.clone(),
                objects: Some(100 << 30),
            }),
        }
    }

    /// Steps, saves, and settles documents: after every event, where the writer does so only after those that can change one.
    pub(crate) fn bring(&mut self, event: Event) -> Result<Outcome, Denied> {
        self.now = Time(self.now.0 + 1000);
        self.seed = self.seed.wrapping_add(1);
        let mut dice = Entropy::new(&[self.seed; 32]);
        let outcome = step(&self.fleet, &self.catalog, event, self.now, &mut dice)?;
        outcome.changes.iter().for_each(|change| self.fleet.put(change.clone()));
        self.log.extend(outcome.facts.iter().map(|fact| fact.kind.clone()));
        for effect in &outcome.effects {
            let Effect::Issue(grant) = effect;
            self.issue(grant);
        }
        let (changes, _) = converge::settle(&self.fleet, &self.site(), &self.catalog);
        changes.into_iter().for_each(|change| self.fleet.put(change));
        Ok(outcome)
    }

    fn issue(&mut self, grant: &Grant) {
        let fingerprint = format!("{}-{}-{}-{}", grant.node, grant.stage, grant.generation, grant.number);
        let row = Certificate {
            fingerprint: fingerprint.clone(),
            node: grant.node,
            key: grant.key,
            stage: grant.stage,
            generation: grant.generation,
            until: grant.until,
            number: grant.number,
            ca: self.signs,
        };
        self.fleet.certificates.insert(fingerprint, row);
    }

    pub(crate) fn only(&self) -> &Node {
        let mut nodes = self.fleet.nodes.values();
        let node = nodes.next().expect("a node");
        assert!(nodes.next().is_none(), "more than one node");
        node
    }

    pub(crate) fn state(&self) -> &'static str {
        self.only().state.word()
    }

    pub(crate) fn hello(&mut self, key: u8, mac: &str, proven: bool) -> Result<Outcome, Denied> {
        self.bring(Event::Hello { hello: Box::new(hello(key, mac)), proven, answered: None })
    }

    pub(crate) fn import(&mut self, name: &str, roles: &[&str]) -> Digest {
        let digest = Digest::of(name.as_bytes());
        let image = Image {
            digest,
            name: name.to_owned(),
            roles: roles.iter().map(|&role| role.to_owned()).collect(),
            arch: "amd64".to_owned(),
            disk_bytes: 2 << 30,
            content_bytes: 1 << 30,
            stored_bytes: 1 << 28,
            signer: PublicKey([3; 32]),
            imported: self.now,
            layout: pack::Layout::default(),
            root: Some(Digest::of(b"content")),
        };
        self.bring(Event::Imported(image)).unwrap();
        digest
    }

    /// A server in the ramdisk, approved, with a role.
    pub(crate) fn ready(role: &str) -> (Self, NodeId) {
        let mut rack = Rack::new();
        rack.import(role, &[role]);
        rack.hello(1, MAC, false).unwrap();
        let node = rack.only().id;
        rack.bring(Event::Approve { node, name: None, roles: Some([role.to_owned()].into()), moved: false })
            .unwrap();
        rack.hello(1, MAC, true).unwrap();
        rack.asks(node).unwrap();
        assert_eq!(rack.state(), "ready");
        (rack, node)
    }

    pub(crate) fn asks(&mut self, node: NodeId) -> Result<Outcome, Denied> {
        let inventory = Box::new(self.fleet.nodes[&node].inventory.clone());
        self.bring(Event::Asked { node, certificate: self.deploy_certificate(), inventory })
    }

    /// The fingerprint of the certificate that the ramdisk was given last.
    pub(crate) fn deploy_certificate(&self) -> String {
        let deploy = self.fleet.certificates.values().filter(|row| row.stage == Stage::Deploy);
        deploy.max_by_key(|row| row.until).map(|row| row.fingerprint.clone()).unwrap_or_default()
    }

    /// The installed system enrols with the certificate of the seed.
    pub(crate) fn enrols(&mut self, node: NodeId, key: u8) -> Result<Outcome, Denied> {
        let certificate = self.deploy_certificate();
        self.bring(Event::Enrolled { node, certificate, key: Key([key; 32]), uptime_seconds: 20 })
    }

    pub(crate) fn plan(&mut self, node: NodeId) -> Result<fleet::plan::Plan, Denied> {
        self.plan_proven(node, Verify::Readback)
    }

    pub(crate) fn plan_proven(&mut self, node: NodeId, verify: Verify) -> Result<fleet::plan::Plan, Denied> {
        let (image, disk, data, roles) = (None, None, None, None);
        match self.bring(Event::Plan { node, image, disk, data, roles, erase: Vec::new(), verify })?.reply {
            Reply::Plan(plan) => Ok(*plan),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn apply(&mut self, plan: &fleet::plan::PlanId) -> Result<JobId, Denied> {
        match self.bring(Event::Apply { plan: plan.clone(), force: false })?.reply {
            Reply::Job(job) => Ok(job),
            other => panic!("{other:?}"),
        }
    }

    /// A server that is being written.
    pub(crate) fn imaging(role: &str) -> (Self, NodeId, JobId) {
        let (mut rack, node) = Rack::ready(role);
        let plan = rack.plan(node).unwrap();
        let job = rack.apply(&plan.id).unwrap();
        rack.asks(node).unwrap();
        assert_eq!(rack.state(), "imaging");
        (rack, node, job)
    }

    /// What the agent would hand in for this job.
    pub(crate) fn receipt(&self, job: JobId) -> Receipt {
        let row = &self.fleet.jobs[&job];
        Receipt {
            job,
            image: row.image,
            disk: row.target.disk.clone(),
            total_bytes: 1 << 30,
            written_bytes: 1 << 30,
            same_bytes: 0,
            fetched_bytes: 1 << 28,
            milliseconds: 60_000,
            verify: row.verify,
            proof: None,
        }
    }

    pub(crate) fn verified(&mut self, node: NodeId, job: JobId) -> Result<Outcome, Denied> {
        let receipt = self.receipt(job);
        self.bring(Event::Verified { node, receipt })
    }

    /// A server that does what it is for.
    pub(crate) fn active(role: &str) -> (Self, NodeId, JobId) {
        let (mut rack, node, job) = Rack::imaging(role);
        rack.verified(node, job).unwrap();
        rack.enrols(node, 9).unwrap();
        rack.reports(node, "active").unwrap();
        assert_eq!(rack.only().state, State::Active);
        (rack, node, job)
    }

    pub(crate) fn reports(&mut self, node: NodeId, active: &str) -> Result<Outcome, Denied> {
        let units =
            self.catalog.units_of(&self.fleet.nodes[&node].roles).map(|name| unit(name, active)).collect();
        let generation = self.fleet.nodes[&node].document.generation;
        let done_order = self.fleet.nodes[&node].last_order;
        let report = Report { generation, units, done_order, ..Report::default() };
        self.bring(Event::Reported { node, report: Box::new(report) })
    }
}

pub(crate) fn unit(name: &str, active: &str) -> UnitReport {
    UnitReport {
        name: name.to_owned(),
        load: "loaded".to_owned(),
        active: active.to_owned(),
        sub: active.to_owned(),
        result: "success".to_owned(),
        since_ms: 0,
        log: vec!["its last words".to_owned()],
    }
}

pub(crate) fn progress(job: JobId, phase: Phase, done: u64) -> Progress {
    Progress {
        job,
        phase,
        total_bytes: 1 << 30,
        done_bytes: done,
        same_bytes: 0,
        read_back_bytes: 0,
        fetched_bytes: done / 4,
        failed: None,
    }
}

pub(crate) fn disk(serial: &str, gib: u64) -> Disk {
    Disk {
        name: "vda".to_owned(),
        model: "QEMU".to_owned(),
        serial: serial.to_owned(),
        bytes: gib << 30,
        sector_bytes: 512,
        bus: DiskBus::Virtio,
        content: Some(Digest::of(serial.as_bytes())),
        ..Disk::default()
    }
}

pub(crate) fn hello(key: u8, mac: &str) -> Hello {
    let nic = Nic {
        name: "eth0".to_owned(),
        mac: mac.parse().unwrap(),
        speed_mbps: Some(1000),
        carrier: true,
        driver: "virtio_net".to_owned(),
    };
    let boot = BootFacts {
        mac: mac.parse().unwrap(),
        address: "10.77.0.100".parse().unwrap(),
        path: "bios-pxe".to_owned(),
        uptime_seconds: 4,
        boot_id: String::new(),
    };
    let inventory = Inventory {
        nics: vec![nic],
        disks: vec![disk("SYS", 8)],
        firmware: "bios".to_owned(),
        ..Inventory::default()
    };
    Hello::new(Key([key; 32]), boot, inventory)
}
