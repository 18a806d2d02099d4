//! What every story starts with: artifacts and a rack with its controller ([`Site`]); and for those that image servers,
//! both images and servers that are still off ([`Lab`]).

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use pack::disk::Access;
use pack::{Block, Header, Manifest, Parsed, table};
use xtask::artifacts::{self, Artifacts, RECIPES, Recipe, Wish};
use xtask::journey::{self, Sight, Wanted};
use xtask::operator::{Event, Job, Node, Operator};
use xtask::rack::controller::{self, Controller, IMAGES};
use xtask::rack::disk::{self, MIB, Stretch};
use xtask::rack::firmware::Firmware;
use xtask::rack::machine::{Bus, Disk, Nic, Reboot, Spec};
use xtask::rack::netns::Network;
use xtask::rack::server::Server;
use xtask::rack::{Options, Rack, exclusive};
use xtask::watch::Watch;
use xtask::{place, say};

/// How long one server may take from power to any state; TCG on two processors that others use too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(25 * 60);

/// Of a server. With two, a kernel below OVMF stood still now and then, waiting for an interrupt that emulated processors on threads of
/// a busy machine had lost. There are two servers for two processors anyway.
const CPUS: u32 = 1;

/// A running rack. Fields are dropped in this order.
pub(crate) struct Lab {
    pub(crate) servers: Vec<Server>,
    pub(crate) controller: Controller,
    pub(crate) rack: Rack,
    pub(crate) artifacts: Artifacts,
    pub(crate) wanted: Vec<Wanted>,
    /// The name of each server's image.
    recipes: Vec<&'static str>,
    watch: Watch,
    approved_again: usize,
    _alone: File,
}

/// A server as the stories use it: a system disk, and a data disk if `data`.
pub(crate) fn spec(name: &str, firmware: Firmware, number: u8, bus: Bus, data: bool) -> Spec {
    let disk = |kind: &str, gib: u64| {
        let serial = format!("{kind}-{}", name.to_uppercase());
        Disk::plain(serial, gib << 30, bus)
    };
    let mut disks = vec![disk("SYS", 8)];
    disks.extend(data.then(|| disk("DATA", 1)));
    let nic = Nic { mac: format!("52:54:00:77:01:{number:02x}"), network: Network::Provision };
    Spec { name: name.to_owned(), firmware, nics: vec![nic], memory_mib: 2048, cpus: CPUS, disks }
}

/// A rack with nothing in it but its controller.
pub(crate) struct Site {
    pub(crate) controller: Controller,
    pub(crate) rack: Rack,
    pub(crate) artifacts: Artifacts,
    alone: File,
}

impl Site {
    /// `None` when the rack is left out on request.
    pub(crate) fn up(config: &str) -> Option<Site> {
        if std::env::var_os("RACKWRIGHT_FAST").is_some() {
            say::line("left out: RACKWRIGHT_FAST is set");
            return None;
        }
        let artifacts = built().clone();
        let alone = exclusive(&place::racks()).unwrap();
        let options = Options { dir: place::racks(), may_stay: false };
        let rack = Rack::up(&options).unwrap_or_else(|error| fail(&error));
        let controller = rack.controller_with(&artifacts.parts, config).unwrap_or_else(|error| fail(&error));
        controller.wait_ready(Duration::from_secs(120)).unwrap_or_else(|error| fail(&error));
        Some(Site { controller, rack, artifacts, alone })
    }

    pub(crate) fn operator(&self) -> Operator<'_> {
        Operator::on(&self.controller)
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.operator().events().unwrap_or_else(|error| fail(&error))
    }

    /// Waits for an event of which this holds.
    pub(crate) fn until_event(&self, what: &str, is: impl Fn(&Event) -> bool) {
        let start = Instant::now();
        while !self.events().iter().any(&is) {
            assert!(start.elapsed() < PATIENCE, "{what} is waited for in vain");
            thread::sleep(Duration::from_secs(1));
        }
    }

    /// The number of the last event.
    pub(crate) fn last_event(&self) -> u64 {
        self.events().last().map_or(0, |event| event.seq)
    }

    /// The end of a story that went well; its servers and hosts are gone already.
    pub(crate) fn passed(mut self) {
        self.controller.power_off();
        self.rack.passed();
    }
}

impl Lab {
    /// `None` when the rack is left out on request. Server k gets the image `RECIPES[k]`.
    pub(crate) fn up(specs: Vec<Spec>) -> Option<Lab> {
        Lab::up_with(controller::CONFIG, specs, &RECIPES)
    }

    /// The same under this configuration, where server k gets the image `recipes[k]`.
    pub(crate) fn up_with(config: &str, specs: Vec<Spec>, recipes: &[Recipe]) -> Option<Lab> {
        let Site { controller, rack, artifacts, alone } = Site::up(config)?;
        let operator = Operator::on(&controller);
        for recipe in RECIPES {
            let file = format!("{IMAGES}/{}.rwimage", recipe.name);
            operator.import(&file).unwrap_or_else(|error| fail(&error));
        }
        let (mut servers, mut wanted) = (Vec::new(), Vec::new());
        for (spec, recipe) in specs.into_iter().zip(recipes) {
            let roles: Vec<String> = recipe.roles.iter().map(|&role| role.to_owned()).collect();
            let image = operator.image_for(&roles).unwrap_or_else(|error| fail(&error));
            let disk = spec.system_disk();
            wanted.push(Wanted { name: spec.name.clone(), mac: spec.mac().to_owned(), roles, image, disk });
            servers.push(rack.server(spec).unwrap_or_else(|error| fail(&error)));
        }
        let watch = Watch::start();
        let recipes = recipes.iter().map(|recipe| recipe.name).collect();
        Some(Lab {
            servers,
            controller,
            rack,
            artifacts,
            wanted,
            recipes,
            watch,
            approved_again: 0,
            _alone: alone,
        })
    }

    pub(crate) fn operator(&self) -> Operator<'_> {
        Operator::on(&self.controller)
    }

    pub(crate) fn start(&mut self, server: usize, reboot: Reboot) {
        self.servers[server].start(reboot).unwrap_or_else(|error| fail(&error));
    }

    /// Does what an operator does until every server of the lab satisfies `arrived`.
    pub(crate) fn until(&mut self, goal: &str, arrived: impl Fn(&Node) -> bool) -> Sight {
        let operator = Operator::on(&self.controller);
        let (watch, again) = (&mut self.watch, &mut self.approved_again);
        let seen = |sight: &Sight| {
            *again += sight.approved_again;
            watch.look(sight);
        };
        let sight = journey::until(&operator, &self.wanted, goal, PATIENCE, arrived, seen);
        sight.unwrap_or_else(|error| fail(&error))
    }

    pub(crate) fn node(&self, server: usize) -> Node {
        let nodes = self.operator().nodes().unwrap_or_else(|error| fail(&error));
        let mac = &self.wanted[server].mac;
        nodes.into_iter().find(|node| node.mac == *mac).unwrap_or_else(|| panic!("no node with {mac}"))
    }

    /// Does what an operator does at one look; the newest job of a server.
    pub(crate) fn look(&mut self, server: usize) -> Option<Job> {
        let sight = journey::advance(&Operator::on(&self.controller), &self.wanted)
            .unwrap_or_else(|error| fail(&error));
        self.approved_again += sight.approved_again;
        self.watch.look(&sight);
        sight.jobs.into_iter().rev().find(|job| job.node == self.wanted[server].name)
    }

    /// How often a server that was known already had to be approved once more.
    pub(crate) fn approved_again(&self) -> usize {
        self.approved_again
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.operator().events().unwrap_or_else(|error| fail(&error))
    }

    /// Compares a switched-off server's system disk with its image, byte for byte where the image has data.
    pub(crate) fn compare(&self, server: usize) {
        let name = self.recipes[server];
        let promised = self.promised(server);
        let disk = &self.servers[server].files().disks[0];
        let equal =
            disk::compare(disk, &self.artifacts.raw(name), &promised).unwrap_or_else(|error| fail(&error));
        say::line(&format!(
            "    {}: {} MiB on the disk are the image's, byte for byte",
            self.wanted[server].name,
            equal / MIB
        ));
        assert!(equal > 100 * MIB, "an image of {equal} bytes proves nothing");
        // The table is made for the disk's size.
        let (manifest, disk) =
            (manifest(&self.artifacts.packed(name)), pack::disk::Disk::open(disk, Access::Read).unwrap());
        let table = table::read(&disk, manifest.layout().sector_bytes).unwrap();
        let found = table.partitions.iter().map(|one| (one.offset, one.bytes, one.uuid.clone()));
        let wanted = manifest.layout().partitions.iter().map(|one| (one.offset, one.bytes, one.uuid.clone()));
        assert!(table.damage.is_empty() && found.eq(wanted), "{table:?}");
    }

    /// The stretches of a server's system disk that its image makes a promise about, but for those that tell the disk's size.
    pub(crate) fn promised(&self, server: usize) -> Vec<Stretch> {
        promised(&self.artifacts.packed(self.recipes[server]))
    }

    /// The end of a story that went well.
    pub(crate) fn passed(mut self) {
        self.servers.clear();
        self.controller.power_off();
        self.rack.passed();
    }
}

/// The stretches of a disk which the image file makes a promise about, from behind the GPT's header to the end of the last
/// partition: the rest is another on a disk of another size.
fn promised(image: &Path) -> Vec<Stretch> {
    let manifest = manifest(image);
    let layout = manifest.layout();
    let begin = 2 * u64::from(layout.sector_bytes);
    let end = layout.partitions.iter().map(|one| one.offset + one.bytes).max().unwrap();
    let stretches = manifest.chunks().iter().flat_map(|chunk| {
        let used = chunk.map.runs(chunk.bytes).filter(|(block, _)| *block != Block::Free);
        used.filter_map(move |(_, run)| {
            let at = chunk.disk_offset();
            let offset = (at + run.start as u64).max(begin);
            let length = (at + run.end as u64).min(end).checked_sub(offset)?;
            (length > 0).then_some(Stretch { offset, length })
        })
    });
    stretches.collect()
}

/// What an image file says of itself.
pub(crate) fn manifest(image: &Path) -> Manifest {
    let mut file = File::open(image).unwrap();
    let mut head = Vec::new();
    loop {
        match Header::parse(&head).unwrap() {
            Parsed::Whole(header) => return header.signed.verify(&[header.signed.key]).unwrap().1,
            Parsed::Needs(bytes) => {
                let more = bytes - head.len();
                let read = file.by_ref().take(more as u64).read_to_end(&mut head).unwrap();
                assert_eq!(read, more, "{} is cut off", image.display());
            }
        }
    }
}

/// Everything a rack needs: looked at once for all stories, not once for each.
pub(crate) fn built() -> &'static Artifacts {
    static BUILT: OnceLock<Artifacts> = OnceLock::new();
    BUILT.get_or_init(|| {
        artifacts::build(Wish { raw: true, fresh: false }).unwrap_or_else(|error| fail(&error))
    })
}

/// Panics with the error and all its causes.
pub(crate) fn fail(error: &dyn std::error::Error) -> ! {
    panic!("{}", say::chain(error))
}
