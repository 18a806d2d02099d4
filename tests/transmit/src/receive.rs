//! An agent's end: its whole delivery, onto a disk of its own.

use std::error::Error;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ::pack::{Header, Parsed};
use agent::restore::{Live, NoRange, Options, Origin};
use bytes::Bytes;
use protocol::{CastAsk, CastReply, JobId};
use tokio::sync::watch;

use crate::counter::{Ask, Line};
use crate::option;

/// As an agent asks.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// A disk that is a file.
struct Loop {
    device: String,
    /// While it is open, the device is there; however this process ends, it is not there afterwards (losetup(8), -d).
    _open: File,
}

impl Loop {
    fn over(sink: &str, bytes: u64) -> Result<Self, Box<dyn Error>> {
        File::create(sink)?.set_len(bytes)?;
        let device = losetup(&["--find", "--show", sink])?.trim().to_owned();
        let open = File::open(&device)?;
        losetup(&["--detach", &device])?;
        Ok(Self { device, _open: open })
    }
}

fn losetup(words: &[&str]) -> Result<String, Box<dyn Error>> {
    let done = Command::new("losetup").args(words).output()?;
    if !done.status.success() {
        return Err(String::from_utf8_lossy(&done.stderr).into());
    }
    Ok(String::from_utf8(done.stdout)?)
}

/// Writes the image into `--sink`, by a loop device over it; prints how long that took and what came which way.
pub(crate) fn main(words: &[&str]) -> Result<(), Box<dyn Error>> {
    let value = |name: &'static str| option(words, name);
    let (image, sink) = (value("--image")?, value("--sink")?);
    let disk = Loop::over(sink, disk_bytes(image)?)?;
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
    let (say, replies) = watch::channel(None);
    let (asks, asked) = watch::channel(CastAsk::new(JobId([node; 8])));
    std::thread::spawn(move || ask(&Asking { node, company, server }, &say, &asked));
    let live = Live { local, replies, asks: asks.clone() };
    let receipt = agent::restore::run_live(&options, Wire::new(server), live, spool)?;
    let receipt: serde_json::Value = serde_json::from_str(&receipt.json())?;
    let (seconds, hearing) = (begun.elapsed().as_secs_f64(), asks.borrow().hearing);
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

/// Asks how the image shall come, as long as the sender is there; and looks for it again.
fn ask(
    &Asking { node, company, server }: &Asking,
    say: &watch::Sender<Option<CastReply>>,
    asked: &watch::Receiver<CastAsk>,
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
        let ask = Box::new(asked.borrow().clone());
        if let Ok(reply) = open.cast(&Ask::Cast { node, company, ask }) {
            say.send_replace(Some(reply));
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
