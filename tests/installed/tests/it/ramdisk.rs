//! What comes before the installed system: a ramdisk that says hello, is let in, takes its job, and says that it has written and read back.
//! It writes nothing but the seed.

use std::net::Ipv4Addr;
use std::time::Duration;

use agent::controller::{Controller, Dates, Identity, Line};
use agent::keys::KeyPair;
use protocol::{
    BootFacts, CaPin, Disk, DiskBus, Envelope, Hello, HelloReply, ImageJob, Inventory, Nic, Phase, Progress,
    ProgressReply, Proof, Receipt, Seed, Signature, Task, TaskAsk, Verdict, hello_proof, routes,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::site::{AGENTS, Site, image_root};

const DEADLINE: Duration = Duration::from_secs(40);
const BYTES: u64 = 1 << 20;

struct Ramdisk {
    key: KeyPair,
    line: Line,
    inventory: Inventory,
    boot: BootFacts,
}

/// The hardware address of a node.
pub(crate) fn mac(number: u8) -> String {
    format!("52:54:00:77:00:{number:02x}")
}

pub(crate) fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, 100 + number)
}

/// Has the server of this number written as compute node `n<number>`; the seed that is on its disk then.
pub(crate) async fn writes(site: &Site, number: u8) -> Seed {
    let pin = site.pin();
    let mut ramdisk = Ramdisk::new(pin, number);
    let first = ramdisk.hello(None).await;
    let name = format!("n{number}");
    site.post(&format!("/v1/nodes/{}/approve", mac(number)), json!({"name": name, "roles": ["compute"]}))
        .await;
    let key = ramdisk.key.public();
    let proof = ramdisk.key.sign(&hello_proof(&pin, &first.node, &key, &first.nonce));
    let second = ramdisk.hello(Some(proof)).await;
    let Verdict::Approved { certificate } = second.verdict else { panic!("{:?}", second.verdict) };
    ramdisk.holds(pin, &certificate);
    ramdisk.asks().await;
    let plan = site.post(&format!("/v1/nodes/{name}/plan"), json!({})).await;
    let plan = plan["id"].as_str().unwrap();
    site.post(&format!("/v1/plans/{plan}/apply"), json!({"confirm": name})).await;
    let task = ramdisk.asks().await;
    let Task::Image(job) = task.body else { panic!("{:?}", task.body) };
    let _: Envelope<ProgressReply> = ramdisk.says(routes::PROGRESS, &written(&job)).await;
    let receipt = ramdisk.receipt(task.node, &job);
    let _: Envelope<Task> = ramdisk.says(routes::VERIFIED, &receipt).await;
    Seed {
        controller: AGENTS.parse().unwrap(),
        ca: pin,
        node: task.node,
        name,
        job: Some(job.job),
        key: ramdisk.key.pkcs8_base64(),
        certificate,
        complete: true,
    }
}

/// Has the server of this number let in as `n<number>`; what its ramdisk is told to wait for.
pub(crate) async fn waits(site: &Site, number: u8) -> String {
    let pin = site.pin();
    let mut ramdisk = Ramdisk::new(pin, number);
    let first = ramdisk.hello(None).await;
    let approve = json!({"name": format!("n{number}"), "roles": ["compute"]});
    site.post(&format!("/v1/nodes/{}/approve", mac(number)), approve).await;
    let key = ramdisk.key.public();
    let proof = ramdisk.key.sign(&hello_proof(&pin, &first.node, &key, &first.nonce));
    let verdict = ramdisk.hello(Some(proof)).await.verdict;
    let Verdict::Waiting { reason } = verdict else { panic!("{verdict:?}") };
    reason
}

fn written(job: &ImageJob) -> Progress {
    Progress {
        job: job.job,
        phase: Phase::Write,
        total_bytes: BYTES,
        done_bytes: BYTES,
        same_bytes: 0,
        read_back_bytes: 0,
        fetched_bytes: BYTES,
        failed: None,
    }
}

impl Ramdisk {
    fn new(pin: CaPin, number: u8) -> Self {
        let controller = Controller::new(AGENTS.parse().unwrap(), pin, Dates::Lenient, None).unwrap();
        let mac = mac(number).parse::<protocol::HardwareAddress>().unwrap();
        let nic = Nic {
            name: "eth0".to_owned(),
            mac: mac.clone(),
            speed_mbps: Some(1000),
            carrier: true,
            driver: "virtio_net".to_owned(),
        };
        let disk = Disk {
            name: "vda".to_owned(),
            model: "QEMU".to_owned(),
            serial: format!("SYS{number}"),
            bytes: 8 << 30,
            sector_bytes: 512,
            bus: DiskBus::Virtio,
            content: Some(pack::Digest::of(&[number])),
            ..Disk::default()
        };
        let inventory = Inventory {
            nics: vec![nic],
            disks: vec![disk],
            firmware: "bios".to_owned(),
            ..Inventory::default()
        };
        let boot = BootFacts {
            mac,
            address: address(number),
            path: "bios-pxe".to_owned(),
            uptime_seconds: 4,
            boot_id: String::new(),
        };
        Self { key: KeyPair::generate().unwrap(), line: Line::new(controller), inventory, boot }
    }

    fn holds(&mut self, pin: CaPin, certificate: &str) {
        let identity = Identity::new(certificate, &self.key).unwrap();
        let controller = Controller::new(AGENTS.parse().unwrap(), pin, Dates::Lenient, Some(identity));
        self.line = Line::new(controller.unwrap());
    }

    async fn says<A: Serialize + Sync, R: DeserializeOwned>(&mut self, route: &str, ask: &A) -> R {
        self.line.insist(route, ask, DEADLINE, |_, _| ()).await.unwrap()
    }

    async fn hello(&mut self, proof: Option<Signature>) -> HelloReply {
        let (key, inventory, boot) = (self.key.public(), self.inventory.clone(), self.boot.clone());
        let hello = Hello { proof, ..Hello::new(key, boot, inventory) };
        self.says(routes::HELLO, &hello).await
    }

    async fn asks(&mut self) -> Envelope<Task> {
        let ask = TaskAsk { inventory: self.inventory.clone(), wait_seconds: 0, reach: None };
        self.says(routes::TASK, &ask).await
    }

    fn receipt(&self, node: protocol::NodeId, job: &ImageJob) -> Receipt {
        let proof = Proof {
            root: image_root(),
            serial: self.inventory.disks[0].serial.clone(),
            wwn: String::new(),
            durable_bytes: BYTES,
            key: self.key.public(),
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
        let statement = receipt.statement(&node).unwrap();
        receipt.proof.as_mut().unwrap().signature = self.key.sign(statement.as_bytes());
        receipt
    }
}
