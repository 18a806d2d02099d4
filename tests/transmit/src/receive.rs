//! An agent's end: its whole delivery, onto a disk of its own.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ::pack::{Header, Parsed};
use agent::restore::{Live, NoRange, Options, Origin};
use bytes::Bytes;
use protocol::{Hearing, Seat};
use tokio::sync::watch;

use crate::counter::{Ask, Line};
use crate::disk::Disk;
use crate::option;

/// As an agent asks.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// As [`main`], with mounts of its own.
pub(crate) fn apart(words: &[&str]) -> Result<(), Box<dyn Error>> {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]).arg(std::env::current_exe()?);
    Err(command.arg("receive-apart").args(words).exec().into())
}

/// Writes the image into `--sink`, by a loop device over it; prints how long that took and what came which way.
pub(crate) fn main(words: &[&str]) -> Result<(), Box<dyn Error>> {
    let value = |name: &'static str| option(words, name);
    let (image, sink) = (value("--image")?, value("--sink")?);
    let disk = Disk::over(Path::new(sink), disk_bytes(image)?)?;
    if let Ok(rate) = value("--disk-kib") {
        disk.slow_down(rate.parse::<u64>()? << 10)?;
    }
    let name = disk.device.rsplit('/').next().unwrap_or_default();
    let trust = crate::pack::key()?.public().to_string();
    let options = Options::parse(&[
        "--image",
        image,
        "--disk",
        &disk.device,
        "--confirm",
        name,
        "--trust",
        &trust,
        "--verify",
        "stream",
        "--output",
        "json",
    ])?;
    let (local, server) = (value("--local")?.parse::<Ipv4Addr>()?, value("--server")?.parse::<SocketAddr>()?);
    let (node, company) = (value("--node")?.parse()?, value("--company")?.parse()?);
    let spool = value("--spool")?.parse::<u64>()? << 20;
    let begun = Instant::now();
    let (say_seat, seats) = watch::channel(None);
    let (hears, heard) = watch::channel((None, Hearing::default()));
    std::thread::spawn(move || ask(&Asking { node, company, server }, &say_seat, &heard));
    let live = Live { local, seats, hears: hears.clone() };
    let receipt = agent::restore::run_live(&options, Wire::new(server), live, spool)?;
    let receipt: serde_json::Value = serde_json::from_str(&receipt.json())?;
    let (seconds, hearing) = (begun.elapsed().as_secs_f64(), hears.borrow().1);
    println!("{}", serde_json::json!({"seconds": seconds, "hearing": hearing, "receipt": receipt}));
    Ok(())
}

fn disk_bytes(image: &str) -> Result<u64, Box<dyn Error>> {
    let head = std::fs::read(image)?;
    match Header::parse(&head)? {
        Parsed::Whole(header) => Ok(header.signed.verify(&[header.signed.key])?.1.disk_bytes()),
        Parsed::Needs(_) => Err("the image is cut off".into()),
    }
}

struct Asking {
    node: u8,
    company: usize,
    server: SocketAddr,
}

/// Asks for a seat, as long as the sender is there; and looks for it again.
fn ask(
    &Asking { node, company, server }: &Asking,
    seats: &watch::Sender<Option<Option<Seat>>>,
    heard: &watch::Receiver<(Option<u64>, Hearing)>,
) {
    let mut line = None;
    loop {
        let mut open = match line.take() {
            Some(open) => open,
            None => match Line::open(server) {
                Ok(open) => open,
                Err(_) => {
                    std::thread::sleep(Duration::from_millis(100));
                    continue;
                }
            },
        };
        let (session, hearing) = *heard.borrow();
        if let Ok(reply) = open.seat(&Ask::Seat { node, company, session, hearing }) {
            seats.send_if_modified(|before| {
                let said = Some(reply.seat);
                let is_new = *before != said;
                *before = said;
                is_new
            });
            line = Some(open);
        }
        std::thread::sleep(ASK_EVERY);
    }
}

/// Ranges from the sender, over as many connections as are asked for at once.
#[derive(Debug, Clone)]
struct Wire {
    server: SocketAddr,
    idle: Arc<Mutex<Vec<Line>>>,
}

impl Wire {
    fn new(server: SocketAddr) -> Self {
        Self { server, idle: Arc::default() }
    }

    fn fetch(&self, offset: u64, bytes: usize) -> std::io::Result<Bytes> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle().pop();
        let mut line = match kept {
            Some(line) => line,
            None => Line::open(self.server)?,
        };
        let body = line.range(offset, bytes)?;
        idle().push(line);
        Ok(body.into())
    }
}

impl Origin for Wire {
    async fn range(&self, offset: u64, bytes: usize) -> Result<Bytes, NoRange> {
        let here = self.clone();
        let fetched = tokio::task::spawn_blocking(move || here.fetch(offset, bytes)).await;
        let no = |why: String| NoRange { why, is_final: false };
        fetched.map_err(|error| no(error.to_string()))?.map_err(|error| no(error.to_string()))
    }
}
