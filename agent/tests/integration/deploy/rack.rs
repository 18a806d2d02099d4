//! What most tests of stage *deploy* begin with: a server whose disk shall become an image.

use std::sync::Arc;

use agent::deploy;
use agent::keys::KeyPair;
use protocol::{Disk, ImageJob, JobId, Seed, Task};

use super::controller::{Controller, State};
use super::image::{DISK, Image, MIB};
use super::machine::{Console, LoopDisk, Machine, SmallSpace};
use super::site::Site;
use super::until;

/// The target, somewhat bigger than the image, and a data disk.
pub(super) const TARGET: u64 = DISK + 8 * MIB;

/// A site, its controller, one server, and an image for it.
pub(super) struct Rack {
    pub(super) site: Arc<Site>,
    pub(super) controller: Controller,
    pub(super) machine: Machine,
    pub(super) image: Image,
}

impl Rack {
    /// A data disk and a system disk, which the controller has the image written to.
    pub(super) async fn new() -> Self {
        let mut machine = Machine::new();
        machine.add_disk("vda", "DATA", 16 * MIB);
        machine.add_disk("vdb", "SYSTEM", TARGET);
        Self::of(machine).await
    }

    /// This server, whose disk `SYSTEM` the controller has the image written to.
    pub(super) async fn of(machine: Machine) -> Self {
        let site = Arc::new(Site::new());
        let controller = Controller::start(&site).await;
        let rack = Self { site, controller, machine, image: Image::new(1) };
        rack.offer(&rack.image, rack.job());
        rack
    }

    /// One disk `SYSTEM`, whose file lies where there is room for less than it says it has.
    pub(super) fn on_small(space: &SmallSpace) -> Machine {
        let mut machine = Machine::new();
        machine.plug("vda", "SYSTEM", TARGET, LoopDisk::new(&space.path().join("disk.img"), TARGET));
        machine
    }

    pub(super) fn target(&self) -> Disk {
        self.machine.inventory("SYSTEM")
    }

    pub(super) fn job(&self) -> ImageJob {
        self.image.job(&self.target())
    }

    pub(super) fn offer(&self, image: &Image, job: ImageJob) {
        self.controller.with(|s| {
            s.image = Some((image.signed.clone(), image.data.clone()));
            s.task = Task::Image(Box::new(job));
        });
    }

    /// Powers the machine on and lets it work until the controller sends it off.
    pub(super) async fn boot(&self) -> Console {
        let (mut server, console) = self.machine.boot(self.controller.address, self.site.pin());
        deploy::follow(&mut server).await.unwrap();
        console
    }

    /// The same, with the power cut when `so`.
    pub(super) async fn boot_until(&self, what: &str, so: impl Fn(&State, &str) -> bool) -> Console {
        let (mut server, console) = self.machine.boot(self.controller.address, self.site.pin());
        let text = console.clone();
        tokio::select! {
            ended = deploy::follow(&mut server) => panic!("{what}: ended with {ended:?}: {}", console.text()),
            () = until(what, || self.controller.with(|s| so(s, &text.text()))) => console,
        }
    }

    /// The first disk error or refusal that the controller was told.
    pub(super) async fn failure(&self) -> String {
        self.boot_until("a failure", |s, _| s.progress.iter().any(|p| p.failed.is_some())).await;
        self.controller.with(|s| s.progress.iter().find_map(|p| p.failed.clone()).unwrap())
    }

    /// A seed as this node's agent leaves it.
    pub(super) fn seed(&self, job: [u8; 8], complete: bool) -> Vec<u8> {
        let seed = Seed {
            controller: self.controller.address,
            ca: self.site.pin(),
            node: self.controller.with(|s| s.node),
            name: "n1".to_owned(),
            job: Some(JobId(job)),
            key: KeyPair::generate().unwrap().pkcs8_base64(),
            certificate: String::new(),
            complete,
        };
        seed.encode().unwrap()
    }

    pub(super) fn assert_is_image(&self, image: &Image) {
        for (chunk, raw) in &image.windows {
            let on_disk = self.machine.read(1, chunk.disk_offset(), raw.len());
            assert!(on_disk == *raw, "window {} is not the image's", chunk.window);
        }
    }

    pub(super) fn assert_cannot_boot(&self) {
        assert!(self.cannot_boot(), "the first and the last MiB are zeros");
    }

    pub(super) fn cannot_boot(&self) -> bool {
        [0, TARGET - MIB].iter().all(|at| self.machine.read(1, *at, 1 << 20).iter().all(|b| *b == 0))
    }
}
