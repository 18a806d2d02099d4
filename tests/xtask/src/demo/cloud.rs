//! `cargo xtask demo --cloud`: from bare servers to a cloud that was used, with everything shown.

use std::time::{Duration, Instant};

use xtask::artifacts::{self, Artifacts, Wish};
use xtask::operator::Operator;
use xtask::rack::bed::{Bed, Ground, Member, OBJECTS, OF_CLOUD, OUTSIDE};
use xtask::rack::controller::{CONFIG, Controller};
use xtask::rack::{Options, Rack};
use xtask::{place, say};

use crate::Done;
use crate::cli::Demo;

const MEMBERS: [Member; 4] = [
    Member { number: 1, roles: &["control", "network"] },
    Member { number: 2, roles: &["compute"] },
    Member { number: 3, roles: &["compute"] },
    Member { number: 4, roles: &["storage"] },
];
/// A cable of the rack takes 10 gigabits a second: there nobody would gain by listening to what is sent to all.
const CAST: &str = "\n[cast]\nlimit_mbit = 400\n";
/// The compute nodes here have this machine's kernel.
const SMOKE: [&str; 4] = ["rackwright", "cloud", "smoke", "--no-attach"];
/// Until all services are well, and until all was used.
const RISE: Duration = Duration::from_secs(20 * 60);
/// What all of it may take on two processors, when its images are there.
const BAR: Duration = Duration::from_secs(25 * 60);

pub(super) fn run(options: Demo) -> Done {
    let mut clock = Clock::default();
    let artifacts =
        clock.step("programs and images", || -> Result<Artifacts, Box<dyn std::error::Error>> {
            let artifacts = artifacts::build(Wish { fresh: options.fresh, raw: false })?;
            artifacts.cloud()?;
            Ok(artifacts)
        })?;
    let rack = Rack::up(&Options { dir: place::racks(), may_stay: options.keep })?;
    say::line(&format!("    the rack {} runs its servers' processors by {:?}", rack.id(), rack.accel()));
    let mut controller = clock.step("the controller answers", || boot_controller(&rack, &artifacts))?;
    let ground = Ground { rack: &rack, controller: &controller, artifacts: &artifacts };
    let bed = match rise(ground, &mut clock) {
        Ok(bed) => bed,
        Err(error) => {
            controller.save_journal();
            return Err(error);
        }
    };
    println!("\n{}", came_by(&bed));
    println!("\n{}", table(&clock.steps));
    if options.keep {
        bed.leave();
        rack.leave_up(&mut controller, &mut [])?;
        say::line("\nThe rack stays up; n1, n2 and n3 are containers on their disks, n4 is a QEMU machine:");
        say::line("  cargo xtask rack exec -- rackwright cloud status");
        say::line(&format!("  cargo xtask rack exec -- {}", SMOKE.join(" ")));
        say::line("  cargo xtask rack console n4");
        say::line("  cargo xtask rack down");
        return Ok(());
    }
    drop(bed);
    say::step("taking the rack down", || {
        controller.power_off();
        rack.passed();
        drop(rack);
        Ok(())
    })
}

fn boot_controller(rack: &Rack, artifacts: &Artifacts) -> Result<Controller, Box<dyn std::error::Error>> {
    let config = format!("{CONFIG}{CAST}{OF_CLOUD}{OBJECTS}{OUTSIDE}");
    let controller = rack.controller_with(&artifacts.parts, &config)?;
    controller.wait_ready(Duration::from_secs(120))?;
    Ok(controller)
}

/// From servers that are off to a cloud that was used.
fn rise<'a>(ground: Ground<'a>, clock: &mut Clock) -> Result<Bed<'a>, Box<dyn std::error::Error>> {
    let mut bed =
        clock.step("the image is taken in, the servers are wired", || Bed::make(ground, &MEMBERS))?;
    bed.opens_outside()?;
    for member in MEMBERS {
        say::line(&format!("    {}: {}", member.name(), member.roles.join(", ")));
    }
    clock.step("power to four disks that are proven", || bed.imaged())?;
    clock.step("first boots to four active nodes", || bed.booted())?;
    let wait = ["rackwright", "cloud", "status", "--wait"];
    clock.step("all services of the cloud are well", || ground.controller.show_for(&wait, RISE))?;
    clock.step("the cloud is used", || ground.controller.show_for(&SMOKE, RISE))?;
    say::line("\n$ rackwright status");
    println!("{}", Operator::on(ground.controller).status()?);
    Ok(bed)
}

/// How the image came to each.
fn came_by(bed: &Bed<'_>) -> String {
    let of = |name: &&str| {
        let bytes = bed.by_multicast().get(*name).copied().unwrap_or(0);
        format!("{name} {} MB", bytes / 1_000_000)
    };
    let parts = bed.names().iter().map(of).collect::<Vec<_>>();
    format!("of the image, as it travels, came by multicast: {}", parts.join(", "))
}

/// Steps that are over, and how long each took.
#[derive(Default)]
struct Clock {
    steps: Vec<(&'static str, Duration)>,
}

impl Clock {
    fn step<T, E>(&mut self, what: &'static str, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let start = Instant::now();
        let done = say::step(what, work)?;
        self.steps.push((what, start.elapsed()));
        Ok(done)
    }
}

/// One row per step, and the sum; the first step is not the rack's.
fn table(steps: &[(&str, Duration)]) -> String {
    let row = |what: &str, took: Duration| format!("{what:<46}{:>14}", say::seconds(took));
    let rack = steps.iter().skip(1).map(|(_, took)| *took).sum::<Duration>();
    let mut rows = steps.iter().map(|(what, took)| row(what, *took)).collect::<Vec<_>>();
    rows.push(row("the rack, in all", rack));
    let verdict = if rack <= BAR { "within" } else { "LATE: more than" };
    rows.push(format!("{verdict} the {} that it may take on two processors", say::seconds(BAR)));
    rows.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_the_racks_own_time() {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        let steps = [("programs and images", minutes(9)), ("one", minutes(20)), ("two", minutes(5))];
        let text = table(&steps);
        let sum = format!("{:<46}{:>14}", "the rack, in all", "25 min 00 s");
        assert!(text.contains(&sum) && text.contains("within"), "{text}");
        let late = table(&[("programs and images", minutes(0)), ("one", minutes(26))]);
        assert!(late.contains("LATE"), "{late}");
    }
}
