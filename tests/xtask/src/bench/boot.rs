//! `cargo xtask bench boot`: from the firmware's hand-over to the agent's hello, one server at a time, on both firmwares.
//!
//! The hand-over is the moment at which the first loader has been sent; the hello is the agent's line on the serial
//! console after the controller has answered it. Power-on to hello holds the firmware's own time too.

use std::error::Error;
use std::time::{Duration, SystemTime};

use super::{Report, Row};
use crate::artifacts::{self, Artifacts, Wish};
use crate::operator::Operator;
use crate::rack::controller::Controller;
use crate::rack::firmware::Firmware;
use crate::rack::machine::{Bus, Disk, Nic, Reboot, Spec};
use crate::rack::netns::Network;
use crate::rack::{Options, Rack};
use crate::{place, say};

/// The bar for hand-over to hello, in seconds, where all is emulated.
const BAR: f64 = 25.0;
/// Bytes that every server loads, in MB.
const SIZE_BAR: f64 = 80.0;
/// A server that has not said hello by then never will.
const LIMIT: Duration = Duration::from_secs(300);

/// Measures, saves, and gives the table. `quick`: one boot per firmware instead of three.
///
/// # Errors
/// Anything of the rack; a server that never says hello.
pub fn run(quick: bool) -> Result<String, Box<dyn Error>> {
    let artifacts = artifacts::build(Wish::default())?;
    let rack = Rack::up(&Options { dir: place::racks(), may_stay: false })?;
    let controller = rack.controller(&artifacts.parts)?;
    controller.wait_ready(Duration::from_secs(120))?;
    let mut rows = vec![size(&artifacts)?];
    for (place, firmware) in [Firmware::Bios, Firmware::Uefi].into_iter().enumerate() {
        let mut boots = Vec::new();
        for run in 0..if quick { 1 } else { 3 } {
            boots.push(boot(&rack, &controller, firmware, place * 16 + run)?);
        }
        let case = format!("{firmware:?}, one server");
        let seconds =
            |part: fn(&Boot) -> Duration| boots.iter().map(|b| part(b).as_secs_f64()).collect::<Vec<_>>();
        rows.extend(Row::at_most(
            &case,
            "hand-over to hello",
            "s",
            BAR,
            &seconds(|boot| boot.from_hand_over),
        ));
        rows.extend(Row::at_most(&case, "power to hello", "s", 2.0 * BAR, &seconds(|boot| boot.from_power)));
    }
    let report = Report::new("boot", &format!("guests by {:?}", rack.accel()), rows);
    rack.passed();
    report.save()?;
    Ok(report.table())
}

struct Boot {
    from_power: Duration,
    from_hand_over: Duration,
}

fn boot(
    rack: &Rack,
    controller: &Controller,
    firmware: Firmware,
    number: usize,
) -> Result<Boot, Box<dyn Error>> {
    let spec = spec(firmware, number);
    say::line(&format!("==> switching on {} ({firmware:?})", spec.name));
    let mac = spec.mac().to_owned();
    let mut server = rack.server(spec)?;
    server.start(Reboot::Off)?;
    let hello = server.wait_serial(0, &["rackwright-agent: hello"], LIMIT)?.at;
    let power = server.powered().first().copied().unwrap_or(SystemTime::UNIX_EPOCH);
    server.kill()?;
    let events = Operator::on(controller).events()?;
    let ours =
        events.iter().filter(|event| event.kind == "loader" && event.text.contains(first_loader(firmware)));
    let node = |event: &crate::operator::Event| event.node == mac;
    let hand_over =
        ours.filter(|event| node(event)).find_map(|event| event.at()).ok_or("no loader was sent")?;
    let boot =
        Boot { from_power: hello.duration_since(power)?, from_hand_over: hello.duration_since(hand_over)? };
    say::line(&format!("    hello {} after the hand-over", say::seconds(boot.from_hand_over)));
    Ok(boot)
}

fn first_loader(firmware: Firmware) -> &'static str {
    match firmware {
        Firmware::Bios => "undionly",
        Firmware::Uefi | Firmware::UefiSecure | Firmware::UefiHttp => "shim",
    }
}

fn spec(firmware: Firmware, number: usize) -> Spec {
    let disk = Disk::plain(format!("SYS-B{number}"), 8 << 30, Bus::Virtio);
    let nic = Nic { mac: format!("52:54:00:77:02:{number:02x}"), network: Network::Provision };
    Spec {
        name: format!("b{number}"),
        firmware,
        nics: vec![nic],
        memory_mib: 2048,
        cpus: 2,
        disks: vec![disk],
    }
}

fn size(artifacts: &Artifacts) -> Result<Row, Box<dyn Error>> {
    let bytes = |name: &str| Ok::<_, std::io::Error>(artifacts.parts.boot.join(name).metadata()?.len());
    #[allow(clippy::cast_precision_loss, reason = "a size for a person")]
    let megabytes = (bytes("vmlinuz")? + bytes("initrd.img")?) as f64 / 1e6;
    Ok(Row::at_most("kernel and ramdisk", "size", "MB", SIZE_BAR, &[megabytes]).ok_or("no size")?)
}
