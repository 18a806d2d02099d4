//! An agent's end: its whole delivery, onto a disk of its own.

use std::error::Error;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ::pack::{Header, Parsed};
use agent::restore::{Bystander, Desk, NoRange, NoReply, Options, Origin, Seating};
use bytes::Bytes;
use protocol::{CastAsk, CastReply, JobId};

use crate::counter::{Ask, Line};
use crate::disk::Disk;
use crate::option;

/// How often it is looked whether it is time to begin.
const LOOK: Duration = Duration::from_millis(2);
/// How often a waiting node asks for its job: an agent is answered as late, or when there is one.
const ASK_EVERY: Duration = Duration::from_secs(4);

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
    if let Ok(go) = value("--go") {
        wait_for(Path::new(go), (node, local), server)?;
    }
    let begun = Instant::now();
    // An agent asks on the runtime that it works on; here that one belongs to the restoring.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let desk = Asking { node, company, server, line: None };
    let seating = runtime.block_on(async { Seating::begin(desk, JobId([node; 8])) });
    let live = seating.live(local);
    let asks = live.asks.clone();
    let receipt = agent::restore::run_live(&options, Wire::new(server), live, spool)?;
    let receipt: serde_json::Value = serde_json::from_str(&receipt.json())?;
    let (seconds, told) = (begun.elapsed().as_secs_f64(), asks.borrow().clone());
    let CastAsk { hearing, floods, shunned, .. } = told;
    println!(
        "{}",
        serde_json::json!({"seconds": seconds, "hearing": hearing, "floods": floods, "shunned": shunned, "receipt": receipt})
    );
    // A question that is under way is not waited for.
    runtime.shutdown_background();
    Ok(())
}

/// Waits for its job, and looks meanwhile what the network does with what is sent to all, as an agent does.
fn wait_for(go: &Path, (node, local): (u8, Ipv4Addr), server: SocketAddr) -> Result<(), Box<dyn Error>> {
    let IpAddr::V4(controller) = server.ip() else { return Err("the server has an IPv6 address".into()) };
    let bystander = Bystander::begin(local, controller)?;
    let (mut line, mut asked) = (None, None::<Instant>);
    while !go.exists() {
        if asked.is_none_or(|asked| asked.elapsed() >= ASK_EVERY) {
            let kept = line.take().map_or_else(|| Line::open(server), Ok);
            // There may be nobody yet.
            line = kept
                .and_then(|mut line| {
                    line.cast(&Ask::Waits { node, reach: bystander.reach() })?;
                    Ok(line)
                })
                .ok();
            asked = Some(Instant::now());
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// Of the image's disk. Only the head of its file is read: many receivers of one machine begin at once.
fn disk_bytes(image: &str) -> Result<u64, Box<dyn Error>> {
    let (file, mut head) = (File::open(image)?, Vec::new());
    loop {
        match Header::parse(&head)? {
            Parsed::Whole(header) => return Ok(header.signed.verify(&[header.signed.key])?.1.disk_bytes()),
            Parsed::Needs(bytes) => {
                head.resize(bytes, 0);
                file.read_exact_at(&mut head, 0)?;
            }
        }
    }
}

/// Asks the sender how the image shall come.
struct Asking {
    node: u8,
    company: usize,
    server: SocketAddr,
    line: Option<Line>,
}

impl Desk for Asking {
    async fn ask(&mut self, ask: &CastAsk) -> Result<CastReply, NoReply> {
        let &mut Asking { node, company, server, .. } = self;
        let (kept, ask) = (self.line.take(), Box::new(ask.clone()));
        let ask = Ask::Cast { node, company, ask };
        let asked = tokio::task::spawn_blocking(move || {
            // An agent's line to a sender that has restarted is opened again too.
            let kept = kept.and_then(|mut line| Some((line.cast(&ask).ok()?, line)));
            kept.map_or_else(|| Line::open(server).and_then(|mut line| Ok((line.cast(&ask)?, line))), Ok)
        });
        // While the sender restarts, nobody is there.
        let (reply, line) = asked.await.map_err(|_| NoReply::Away)?.map_err(|_| NoReply::Away)?;
        self.line = Some(line);
        Ok(reply)
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
