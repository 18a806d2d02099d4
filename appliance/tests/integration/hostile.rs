//! Slow and hostile clients, many of them, over real sockets: a good node is answered all the while, and everything recovers.
//!
//! In small by default; `RACKWRIGHT_SLOWLORIS=2000 RACKWRIGHT_HALF_OPEN=10000` is what the figures in `docs/measured.md` were
//! made with. Nothing here fails for being slow on a busy machine: what is compared is a ratio, of medians.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use protocol::routes;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::agent::Agent;
use crate::controller::Controller;
use crate::journey::approved;

/// A median under attack may be so many times that in peace; the figures are some five times on two cores.
const RATIO: u32 = 60;
/// Requests that are measured, each time.
const REQUESTS: usize = 150;

fn number(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// As many files as this process may have at all.
fn open_files() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
}

/// The `n`th stranger's address, of as many as a network of usual size has.
fn source(n: usize) -> SocketAddr {
    let host = u32::from(Ipv4Addr::new(127, 66, 0, 1)) + u32::try_from(n % 250).unwrap();
    SocketAddr::new(Ipv4Addr::from(host).into(), 0)
}

async fn connect(to: SocketAddr, n: usize) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(source(n))?;
    socket.connect(to).await
}

/// Times of requests of a good node, sorted: each on a connection of its own, or all on one.
async fn times(agent: &Agent, anew: bool) -> Vec<Duration> {
    let body = serde_json::to_vec(&agent.task_ask()).unwrap();
    let mut line = agent.line().await.unwrap();
    let mut times = Vec::new();
    for _ in 0..REQUESTS {
        let begun = Instant::now();
        let status = if anew {
            agent.post(routes::TASK, body.clone()).await.expect("a good node is let in").0
        } else {
            let request = Request::post(routes::TASK).header("host", "controller");
            line.exchange(request.body(Full::from(Bytes::from(body.clone()))).unwrap()).await.unwrap().0
        };
        assert_eq!(status, 200);
        times.push(begun.elapsed());
    }
    times.sort();
    times
}

fn at(times: &[Duration], percent: usize) -> Duration {
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

/// A handshake that is right, and headers that never end, a byte at a time.
async fn drawl(agent: &Agent, to: SocketAddr, n: usize, stop: &AtomicBool) {
    let Ok(stream) = connect(to, n).await else { return };
    let Ok(mut tls) = agent.shakes_hands(stream).await else { return };
    let _ = tls.write_all(b"POST /agent/v1/hello HTTP/1.1\r\nhost: x\r\nx: ").await;
    while !stop.load(Ordering::Relaxed) && tls.write_all(b"x").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// A connection on which nothing is ever said.
async fn stare(to: SocketAddr, n: usize) {
    if let Ok(mut stream) = connect(to, n).await {
        let _ = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut [0])).await;
    }
}

/// What all of them do until it is over: each comes back at once when it was sent away.
struct Siege {
    over: Arc<AtomicBool>,
    attempts: Arc<AtomicU64>,
    tasks: JoinSet<()>,
}

impl Siege {
    fn begin(controller: &Controller, agent: &Arc<Agent>) -> Self {
        let (over, attempts) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut siege = Self { over, attempts, tasks: JoinSet::new() };
        let (slow, half) = (number("RACKWRIGHT_SLOWLORIS", 200), number("RACKWRIGHT_HALF_OPEN", 1000));
        for n in 0..slow + half {
            let to = controller.agents;
            let agent = Arc::clone(agent);
            siege.spawn(move |stop| {
                let agent = Arc::clone(&agent);
                async move { if n < slow { drawl(&agent, to, n, &stop).await } else { stare(to, n).await } }
            });
        }
        siege
    }

    fn spawn<F>(&mut self, act: impl Fn(Arc<AtomicBool>) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send,
    {
        let (over, attempts) = (Arc::clone(&self.over), Arc::clone(&self.attempts));
        self.tasks.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                attempts.fetch_add(1, Ordering::Relaxed);
                act(Arc::clone(&over)).await;
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        });
    }

    async fn end(mut self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
        self.attempts.load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_good_node_is_answered_while_strangers_besiege_the_controller() {
    open_files();
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let agent = Arc::new(approved(&controller, 1, "control").await);
    let peace = [times(&agent, true).await, times(&agent, false).await];
    let stranger = Arc::new(Agent::new(&controller, 9));
    let siege = Siege::begin(&controller, &stranger);
    // All places are taken, and somebody had to go for another.
    let full =
        |c: &Controller| c.state.report().last.is_some_and(|last| last.what.contains("waited longest"));
    controller.until(full).await;
    let war = [times(&agent, true).await, times(&agent, false).await];
    monsters(&agent, &stranger).await;
    let attempts = siege.end().await;
    let after = times(&agent, true).await;
    for (how, peace, war) in
        [("a connection each", &peace[0], &war[0]), ("one connection", &peace[1], &war[1])]
    {
        println!(
            "{how}: in peace p50 {:?} p99 {:?}; besieged p50 {:?} p99 {:?}, {attempts} connections tried",
            at(peace, 50),
            at(peace, 99),
            at(war, 50),
            at(war, 99)
        );
        assert!(at(war, 50) < at(peace, 50) * RATIO, "{how}");
    }
    println!("afterwards p50 {:?} p99 {:?}", at(&after, 50), at(&after, 99));
    // A server that nobody knows yet comes in too.
    let hello: protocol::HelloReply = stranger.ask(routes::HELLO, &stranger.hello(None)).await.unwrap();
    assert_eq!(hello.name, "n2");
    controller.stop().await;
}

/// Bodies of 10 GiB and headers without end, with and without a certificate: refused or cut off, and little is read of them.
async fn monsters(agent: &Agent, stranger: &Agent) {
    for who in [agent, stranger] {
        let answer = who.announce(routes::HELLO, 10 << 30).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        let (answer, sent) =
            who.pours(b"GET / HTTP/1.1\r\nhost: x\r\n", b"x-header: 0123456789abcdef\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 431 ") || answer.is_empty(), "{answer}");
        assert!(sent < 8 << 20, "{sent} bytes of headers were taken");
        let head = b"POST /agent/v1/hello HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
        let (answer, sent) = who.pours(head, b"10\r\n0123456789abcdef\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(sent < 16 << 20, "{sent} bytes of a body were taken");
    }
}
