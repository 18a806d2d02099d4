//! An agent's end: its whole delivery, onto a disk of its own.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agent::restore::{Live, NoRange, Options, Origin};
use bytes::Bytes;
use protocol::{Hearing, Seat};
use tokio::sync::watch;

use crate::counter::{Ask, Line};
use crate::option;

/// As an agent asks.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Waits for a line on its standard input, then writes the image; prints how long that took and what came which way.
pub(crate) fn main(words: &[&str]) -> Result<(), Box<dyn Error>> {
    let value = |name: &'static str| option(words, name);
    let options = Options::parse(&[
        "--image",
        value("--image")?,
        "--disk",
        value("--disk")?,
        "--confirm",
        value("--confirm")?,
        "--trust",
        value("--trust")?,
        "--verify",
        value("--verify").unwrap_or("stream"),
        "--output",
        "json",
    ])?;
    let (local, server) = (value("--local")?.parse::<Ipv4Addr>()?, value("--server")?.parse::<SocketAddr>()?);
    let (node, company) = (value("--node")?.parse()?, value("--company")?.parse()?);
    let spool = value("--spool")?.parse::<u64>()? << 20;
    println!("ready");
    std::io::stdin().read_line(&mut String::new())?;
    let begun = Instant::now();
    let (say_seat, seats) = watch::channel(None);
    let (hears, heard) = watch::channel((None, Hearing::default()));
    std::thread::spawn(move || ask(Asking { node, company, server }, &say_seat, &heard));
    let live = Live { local, seats, hears: hears.clone() };
    let receipt = agent::restore::run_live(&options, Wire::new(server), live, spool)?;
    let hearing = hears.borrow().1;
    let took = begun.elapsed().as_secs_f64();
    println!(
        "{}",
        serde_json::json!({"seconds": took, "hearing": hearing, "receipt": serde_json::from_str::<serde_json::Value>(&receipt.json())?})
    );
    Ok(())
}

struct Asking {
    node: u8,
    company: usize,
    server: SocketAddr,
}

/// Asks for a seat, as long as the sender is there; and looks for it again.
fn ask(
    Asking { node, company, server }: Asking,
    seats: &watch::Sender<Option<Seat>>,
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
                let is_new = *before != reply.seat;
                *before = reply.seat;
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
