//! The way to the controller: how many bytes it brings in a second, past all that lies between (TLS included).
//!
//! One node after the other: the controller says when it is somebody's turn, so that each measures its own cable and not the
//! controller's. What the cards count meanwhile is in [`super::counters`].

use std::path::Path;
use std::time::{Duration, Instant};

use protocol::{HardwareAddress, NetworkFigures, Part, routes};

use super::course::{Course, per_second};
use crate::chain::Chain;
use crate::controller::Line;
use crate::deploy::hello::Admitted;
use crate::inventory;
use crate::inventory::read;

/// The longest that a server waits for its turn.
const TURN: Duration = Duration::from_secs(300);
const AGAIN: Duration = Duration::from_secs(1);
const DEADLINE: Duration = Duration::from_secs(20);
/// What was begun with is not counted: the connection has to find its pace.
const WARM: Duration = Duration::from_millis(200);

/// Fetches for so long, once it is this server's turn.
pub(super) async fn run(
    course: &Course,
    admitted: &Admitted,
    mac: &HardwareAddress,
    root: &Path,
    time: Duration,
) {
    let figures = link(root, mac);
    if figures.full_duplex == Some(false) {
        let what = format!(
            "{}: its link is half duplex: sending and receiving wait for each other",
            figures.interface
        );
        course.remark(Part::Network, &what, 1);
    }
    let figures = match fetched(course, admitted, time).await {
        Ok((bytes, rate)) => NetworkFigures { bytes, rate: Some(rate), ..figures },
        Err(why) => {
            course.remark(Part::Network, &format!("nothing could be measured: {why}"), 1);
            NetworkFigures { unknown: Some(crate::text::clean(&why, 300)), ..figures }
        }
    };
    course.with(|report| report.figures.network = Some(figures));
}

/// What the kernel says of the card that booted.
fn link(root: &Path, mac: &HardwareAddress) -> NetworkFigures {
    let nic = inventory::nics(root).into_iter().find(|nic| nic.mac == *mac);
    let Some(nic) = nic else { return NetworkFigures::default() };
    let duplex = read::text(root, &format!("sys/class/net/{}/duplex", nic.name));
    NetworkFigures {
        full_duplex: match duplex.as_str() {
            "full" => Some(true),
            "half" => Some(false),
            _ => None,
        },
        link_mbit: nic.speed_mbps.map(u64::from),
        interface: nic.name,
        ..NetworkFigures::default()
    }
}

/// Bytes that were fetched, and how many in a second.
async fn fetched(course: &Course, admitted: &Admitted, time: Duration) -> Result<(u64, u64), String> {
    let mut line = Line::new(admitted.controller.clone());
    first(course, &mut line).await?;
    let warm = Instant::now();
    let (mut bytes, mut counted, mut began) = (0, 0, Instant::now());
    while warm.elapsed() < time && course.goes_on() {
        let got = line.get(routes::TEST_DATA, None, DEADLINE).await;
        let got = got.map_err(|error| Chain(&error).to_string())?.len() as u64;
        bytes += got;
        if warm.elapsed() < WARM {
            began = Instant::now();
        } else {
            counted += got;
        }
    }
    // So slow that nothing was left to be counted after the beginning.
    if counted == 0 {
        Ok((bytes, per_second(bytes, warm.elapsed())))
    } else {
        Ok((bytes, per_second(counted, began.elapsed())))
    }
}

/// Waits until it is this server's turn.
async fn first(course: &Course, line: &mut Line) -> Result<(), String> {
    let began = Instant::now();
    loop {
        match line.get(routes::TEST_DATA, None, DEADLINE).await {
            Ok(_) => return Ok(()),
            Err(error) if error.is_refusal() || began.elapsed() > TURN => {
                return Err(Chain(&error).to_string());
            }
            Err(_) if !course.goes_on() => return Err("the test was stopped".to_owned()),
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}
