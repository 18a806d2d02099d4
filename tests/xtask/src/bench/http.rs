//! `cargo xtask bench http`: a ramdisk of 60 MB to 32 servers at once by HTTP, from us and from nginx, in turns.

use std::error::Error;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use super::peers::{Server, Yard};
use super::wire::{Precedence, SERVER, Wire};
use super::{Report, Row, Side};
use crate::{interrupt, say};

/// What nginx's figure is multiplied with, for many at once: a rack that boots.
const BAR: f64 = 0.9;
/// Octets of the ramdisk; no multiple of anything.
const SIZE: usize = 60_000_001;
/// What our listeners may take of memory while they do it, in MiB: the ramdisk is not among it.
const MEMORY: f64 = 64.0;
/// How many load it at once.
const CLIENTS: [u8; 2] = [1, 32];
/// Nothing for so long: it will not come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Measures, saves, and gives the table. `quick`: one round instead of seven.
///
/// # Errors
/// Not root; a server that does not start; a file that does not arrive whole.
pub fn run(quick: bool) -> Result<String, Box<dyn Error>> {
    let content: Vec<u8> = (0..SIZE).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[4]).collect();
    let yard = Yard::lay_out("http", b"x", &content)?;
    let _first = Precedence::take()?;
    let wire = Wire::lay(32)?;
    let (mut memory, mut cells) = (Vec::new(), Vec::new());
    for round in 0..if quick { 1 } else { 7 } {
        for clients in CLIENTS {
            let mut turns = [Server::Ours, Server::Nginx];
            turns.rotate_left(round % 2);
            for server in turns {
                interrupt::check()?;
                let process = yard.start(server, &wire)?;
                let took = wire.at_clients(|| {
                    // The first is compared octet by octet, and warms the page cache; it is not counted.
                    get(0, Some(&content), &Barrier::new(1))?;
                    load(clients)
                });
                let took = took.map_err(|error| format!("{} to {clients}: {error}", server.name()))?;
                if server == Server::Ours && clients > 1 {
                    memory.push(process.peak()?);
                }
                drop(process);
                #[allow(clippy::cast_precision_loss, reason = "a figure for a person")]
                let speed = f64::from(clients) * SIZE as f64 / 1e6 / took.as_secs_f64();
                say::line(&format!("    {clients:>2} at once: {} {speed:.0} MB/s", server.name()));
                cells.push((clients, server, speed));
            }
        }
    }
    let mut rows = Vec::new();
    for clients in CLIENTS {
        let of = |server: Server| -> Vec<f64> {
            let same = cells.iter().filter(|cell| cell.0 == clients && cell.1 == server);
            same.map(|cell| cell.2).collect()
        };
        let case = format!("60 MB ramdisk to {clients} at once");
        let (ours, nginx) = (of(Server::Ours), of(Server::Nginx));
        let row = Row::beside(&case, "throughput", "MB/s", &ours, Server::Nginx.name(), &nginx);
        rows.extend(row.map(|row| if clients > 1 { row.held(BAR, Side::AtLeast) } else { row }));
    }
    rows.extend(Row::at_most("60 MB ramdisk to 32 at once", "memory, most", "MiB", MEMORY, &memory));
    let report = Report::new("http", "over a veth pair, at nice −15", rows);
    report.save()?;
    Ok(report.table())
}

/// So many at once, each with an address of its own; from the first request to the end of the last answer.
fn load(clients: u8) -> io::Result<Duration> {
    let ready = Barrier::new(usize::from(clients) + 1);
    thread::scope(|scope| {
        let all: Vec<_> = (0..clients)
            .map(|number| {
                scope.spawn({
                    let ready = &ready;
                    move || get(number, None, ready)
                })
            })
            .collect();
        ready.wait();
        let start = Instant::now();
        for client in all {
            client.join().unwrap_or_else(|_| Err(io::Error::other("a client panicked")))?;
        }
        Ok(start.elapsed())
    })
}

/// One answer to its end; with `content`, all of it is compared.
fn get(number: u8, content: Option<&[u8]>, ready: &Barrier) -> io::Result<()> {
    let stream = connect(number);
    // Whoever cannot connect must not keep the others waiting.
    ready.wait();
    let mut stream = stream?;
    let request = format!("GET /boot/initrd.img HTTP/1.1\r\nHost: {SERVER}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut buffer = vec![0; 256 << 10];
    let mut have = 0;
    let body = loop {
        let length = stream.read(buffer.get_mut(have..).unwrap_or_default())?;
        have += length;
        let head = buffer.get(..have).unwrap_or_default();
        if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if length == 0 {
            return Err(io::Error::other("closed before the answer's headers were whole"));
        }
    };
    if !buffer.starts_with(b"HTTP/1.1 200 ") {
        return Err(io::Error::other(
            String::from_utf8_lossy(buffer.get(..body).unwrap_or_default()).into_owned(),
        ));
    }
    let mut part = body..have;
    let mut got = 0;
    loop {
        let bytes = buffer.get(part).unwrap_or_default();
        let wanted = content.map(|content| content.get(got..).unwrap_or_default());
        if wanted.is_some_and(|wanted| !wanted.starts_with(bytes)) {
            return Err(io::Error::other(format!("other octets than the file has, after {got}")));
        }
        got += bytes.len();
        let length = stream.read(&mut buffer)?;
        part = 0..length;
        if length == 0 {
            break;
        }
    }
    if got == SIZE { Ok(()) } else { Err(io::Error::other(format!("{got} octets came of {SIZE}"))) }
}

fn connect(number: u8) -> io::Result<TcpStream> {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&socket, &SocketAddr::V4(SocketAddrV4::new(Wire::client(number), 0)))?;
    connect(&socket, &SocketAddr::V4(SocketAddrV4::new(SERVER, 80)))?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}
