//! `cargo xtask demo`: from nothing to two Active servers, with everything shown; or to a cloud.

mod cloud;

use std::time::{Duration, Instant};

use xtask::artifacts::{self, Artifacts, RECIPES, Recipe, Wish};
use xtask::journey::{self, Wanted};
use xtask::operator::Operator;
use xtask::rack::controller::{Controller, IMAGES};
use xtask::rack::firmware::Firmware;
use xtask::rack::machine::{Bus, Disk, Nic, Reboot, Spec};
use xtask::rack::netns::Network;
use xtask::rack::server::Server;
use xtask::rack::{Options, Rack};
use xtask::watch::Watch;
use xtask::{place, say, timeline};

use crate::Done;
use crate::cli::Demo;

/// How long two servers may take to Active; the aim is a quarter of it.
const LIMIT: Duration = Duration::from_secs(30 * 60);

pub(crate) fn run(options: Demo) -> Done {
    if options.cloud { cloud::run(options) } else { two_servers(options) }
}

fn two_servers(options: Demo) -> Done {
    let start = Instant::now();
    let artifacts = artifacts::build(Wish { fresh: options.fresh, raw: false })?;
    let built = start.elapsed();
    let rack = Rack::up(&Options { dir: place::racks(), may_stay: options.keep })?;
    say::line(&format!("    the rack {} runs its servers' processors by {:?}", rack.id(), rack.accel()));
    let mut controller = boot_controller(&rack, &artifacts)?;
    let mut servers = switch_on(&rack)?;
    let outcome = follow(&controller, &mut servers);
    if outcome.is_err() {
        controller.save_journal();
    }
    outcome?;
    say::line(&format!(
        "\nimages {}, rack {}, in all {}",
        say::seconds(built),
        say::seconds(start.elapsed() - built),
        say::seconds(start.elapsed())
    ));
    if options.keep {
        rack.leave_up(&mut controller, &mut servers)?;
        say::line("\nThe rack stays up:");
        say::line("  cargo xtask rack exec -- rackwright status");
        say::line("  cargo xtask rack console n1");
        say::line("  cargo xtask rack down");
        return Ok(());
    }
    drop(servers);
    say::step("taking the rack down", || {
        controller.power_off();
        rack.passed();
        drop(rack);
        Ok(())
    })
}

fn boot_controller(rack: &Rack, artifacts: &Artifacts) -> Result<Controller, Box<dyn std::error::Error>> {
    let controller = say::step("booting the controller", || rack.controller(&artifacts.parts))?;
    say::step("waiting for the daemon", || controller.wait_ready(Duration::from_secs(120)))?;
    let operator = Operator::on(&controller);
    for recipe in RECIPES {
        let file = format!("{IMAGES}/{}.rwimage", recipe.name);
        say::step(&format!("importing the image {}", recipe.name), || operator.import(&file))?;
    }
    Ok(controller)
}

/// The demo's servers: one per firmware.
fn specs() -> [Spec; 2] {
    let disk = |serial: &str, gib: u64| Disk::plain(serial.to_owned(), gib << 30, Bus::Virtio);
    let nic = |mac: &str| Nic { mac: mac.to_owned(), network: Network::Provision };
    [
        Spec {
            name: "n1".to_owned(),
            firmware: Firmware::Bios,
            nics: vec![nic("52:54:00:77:00:01")],
            memory_mib: 2048,
            cpus: 2,
            disks: vec![disk("SYS-N1", 8)],
        },
        Spec {
            name: "n2".to_owned(),
            firmware: Firmware::Uefi,
            nics: vec![nic("52:54:00:77:00:02")],
            memory_mib: 2048,
            cpus: 2,
            disks: vec![disk("SYS-N2", 8), disk("DATA-N2", 2)],
        },
    ]
}

fn switch_on(rack: &Rack) -> Result<Vec<Server>, Box<dyn std::error::Error>> {
    let mut servers = Vec::new();
    for spec in specs() {
        say::line(&format!("==> switching on {} ({:?}, {})", spec.name, spec.firmware, spec.mac()));
        let mut server = rack.server(spec)?;
        server.start(Reboot::Again)?;
        servers.push(server);
    }
    Ok(servers)
}

fn follow(controller: &Controller, servers: &mut [Server]) -> Done {
    let operator = Operator::on(controller);
    let wanted = servers.iter().zip(RECIPES).map(|(server, recipe)| want(&operator, server, &recipe));
    let wanted = wanted.collect::<Result<Vec<_>, _>>()?;
    let mut watch = Watch::start();
    let up = |node: &xtask::operator::Node| node.state == "active" && node.health == "ok";
    journey::until(&operator, &wanted, "active with all units up", LIMIT, up, |sight| watch.look(sight))?;
    say::line("\n$ rackwright status");
    println!("{}", operator.status()?);
    let events = operator.events()?;
    let nodes: Vec<_> = servers
        .iter()
        .map(|server| {
            let (name, mac) = (&server.spec().name, server.spec().mac());
            let power = server.powered().first().copied().unwrap_or(std::time::SystemTime::UNIX_EPOCH);
            (name.clone(), timeline::stages(power, name, mac, &events, &server.serial().lines()))
        })
        .collect();
    println!("\n{}", timeline::table(&nodes));
    Ok(())
}

fn want(
    operator: &Operator<'_>,
    server: &Server,
    recipe: &Recipe,
) -> Result<Wanted, xtask::operator::OperatorError> {
    let roles: Vec<String> = recipe.roles.iter().map(|&role| role.to_owned()).collect();
    let image = operator.image_for(&roles)?;
    let spec = server.spec();
    Ok(Wanted { name: spec.name.clone(), mac: spec.mac().to_owned(), roles, image, disk: spec.system_disk() })
}
