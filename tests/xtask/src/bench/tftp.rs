//! `cargo xtask bench tftp`: a loader of GRUB's size by TFTP, to one client and to 64 at once, from us and from the TFTP
//! servers of Debian, in turns.
//!
//! Two ways of asking. *As OVMF asks*: blocks of 1468 and windows of 4; a server that knows no windows leaves that out of
//! its answer, and is then asked for every block. *The same for all*: blocks of 1468, no windows.

mod client;

use std::error::Error;
use std::thread;
use std::time::Duration;

use client::{Took, Wish, load};

use super::peers::{Server, Yard};
use super::wire::{Precedence, Wire};
use super::{Report, Row, Side};
use crate::{interrupt, say};

/// Ours comes first.
const SERVERS: [Server; 4] = [Server::Ours, Server::Dnsmasq, Server::TftpdHpa, Server::Atftpd];
/// What the best peer's figure is multiplied with.
const BAR: f64 = 1.0;
/// Octets of the file: the signed GRUB of Debian 12. No multiple of a block.
const SIZE: usize = 2_344_040;
/// (what it is called, window asked for).
const WAYS: [(&str, u16); 2] = [("as OVMF asks, window 4", 4), ("the same for all, window 1", 1)];
/// (clients, how often each loads the file in one run).
const CLIENTS: [(u8, u32); 2] = [(1, 16), (64, 3)];

/// Measures, saves, and gives the table. `quick`: one round instead of seven.
///
/// # Errors
/// Not root; a server that does not start; a file that does not arrive whole.
pub fn run(quick: bool) -> Result<String, Box<dyn Error>> {
    let content = content();
    let yard = Yard::lay_out("tftp", &content, b"x")?;
    let _first = Precedence::take()?;
    let wire = Wire::lay(64)?;
    let mut cells = Vec::new();
    for round in 0..if quick { 1 } else { 7 } {
        for (at, (way, window)) in WAYS.into_iter().enumerate() {
            for (clients, times) in CLIENTS {
                // Every server is once the first of a round.
                let mut turns = SERVERS;
                turns.rotate_left((round + at) % SERVERS.len());
                for server in turns {
                    let wish = Wish { name: "sb/grubx64.efi", content: &content, block: 1468, window };
                    let took = measure(&yard, &wire, server, wish, clients, times)?;
                    let speed = speed(content.len(), u32::from(clients) * times, took.time);
                    say::line(&format!(
                        "    {clients:>2} × {way}: {} {speed:.0} MB/s (window {}, asked again {} times)",
                        server.name(),
                        took.window,
                        took.again
                    ));
                    cells.push(Cell { way, clients, server, speed });
                }
            }
        }
    }
    let report = Report::new("tftp", "over a veth pair, at nice −15", rows(&cells));
    report.save()?;
    Ok(report.table())
}

/// One run.
struct Cell {
    way: &'static str,
    clients: u8,
    server: Server,
    speed: f64,
}

/// One run against a server that was started for it: none of them profits from an earlier one.
fn measure(
    yard: &Yard,
    wire: &Wire,
    server: Server,
    wish: Wish<'_>,
    clients: u8,
    times: u32,
) -> Result<Took, Box<dyn Error>> {
    interrupt::check()?;
    let process = yard.start(server, wire)?;
    let took = wire.at_clients(|| {
        load(wish, 1, 1)?;
        load(wish, clients, times)
    });
    drop(process);
    // What a server forked is gone soon after it.
    thread::sleep(Duration::from_millis(50));
    Ok(took.map_err(|error| format!("{} to {clients}: {error}", server.name()))?)
}

/// Ours against each peer; the bar is on the best of them.
fn rows(cells: &[Cell]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (clients, _) in CLIENTS {
        for (way, _) in WAYS {
            let of = |server: Server| -> Vec<f64> {
                let same = |cell: &&Cell| cell.way == way && cell.clients == clients && cell.server == server;
                cells.iter().filter(same).map(|cell| cell.speed).collect()
            };
            let case = format!("{clients} at once, {way}");
            let ours = of(Server::Ours);
            let mut beside: Vec<Row> = SERVERS
                .iter()
                .skip(1)
                .filter_map(|&peer| Row::beside(&case, "throughput", "MB/s", &ours, peer.name(), &of(peer)))
                .collect();
            beside.sort_by(|a, b| a.ratio.unwrap_or(0.0).total_cmp(&b.ratio.unwrap_or(0.0)));
            let mut beside = beside.into_iter();
            rows.extend(beside.next().map(|best| best.held(BAR, Side::AtLeast)));
            rows.extend(beside);
        }
    }
    rows
}

fn speed(octets: usize, times: u32, time: Duration) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a figure for a person")]
    let octets = octets as f64 * f64::from(times);
    octets / 1e6 / time.as_secs_f64()
}

/// Octets that no compression and no mistake about an offset leaves the same.
fn content() -> Vec<u8> {
    let mut state = 2026_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..SIZE).map(|_| next()).collect()
}
