//! A controller that says what a test wants, and misbehaves on demand.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use pack::Signed;
use protocol::{
    Envelope, Epoch, Erasure, Hello, HelloReply, NetworkAsk, NetworkReply, NetworkStep, NodeId, Nonce,
    Progress, ProgressReply, Receipt, Refusal, Rescue, RescueReply, Task, TaskAsk, TestReport, Verdict,
    hello_proof, routes,
};
use rustls::ServerConfig;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::site::Site;
use super::store::Store;

/// What goes wrong with the next range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Half of the body, then the connection is cut.
    Torn,
    /// One wrong byte.
    Wrong,
    /// 503.
    Busy,
    /// The whole image instead of the range.
    NoRange,
}

/// What is looked at while a range is served.
type Witness = Box<dyn FnMut(u64) + Send>;

/// What it says, and what it was told.
pub struct State {
    pub site: Arc<Site>,
    pub node: NodeId,
    pub epoch: Epoch,
    pub nonce: Nonce,
    pub approve: bool,
    pub time_ms: u64,
    pub task: Task,
    /// Wraps the task: epoch and node may lie.
    pub task_node: Option<NodeId>,
    pub task_epoch: Option<Epoch>,
    pub image: Option<(Signed, Vec<u8>)>,
    pub store: Store,
    pub faults: VecDeque<Fault>,
    /// The range that begins there is refused once, for good.
    pub forbidden: Option<u64>,
    pub cancel: bool,
    /// Switched off: connections end, new ones are not taken.
    pub away: bool,
    pub witness: Option<Witness>,
    pub hellos: Vec<Hello>,
    pub asks: Vec<TaskAsk>,
    pub progress: Vec<Progress>,
    pub receipts: Vec<Receipt>,
    pub erasures: Vec<Erasure>,
    pub rescues: Vec<Rescue>,
    /// So many of these are refused as from a certificate that has expired.
    pub rescue_refusals: usize,
    pub rescue_ends: bool,
    pub tests: Vec<TestReport>,
    pub networks: Vec<NetworkAsk>,
    /// What is to be tried of the network between nodes.
    pub step: Option<NetworkStep>,
    /// After so many it says that the server is to restart.
    pub awaited: usize,
    pub ranges: usize,
    pub certified_calls: usize,
}

pub struct Controller {
    pub address: SocketAddr,
    pub state: Arc<Mutex<State>>,
}

impl Controller {
    /// Listens on the loopback interface until the runtime ends.
    pub async fn start(site: &Arc<Site>) -> Self {
        let config = site.server(Ipv4Addr::LOCALHOST, 2020..2050);
        Self::start_as(site, config).await
    }

    pub async fn start_as(site: &Arc<Site>, config: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = State {
            site: Arc::clone(site),
            node: NodeId([7; 16]),
            epoch: Epoch(3),
            nonce: Nonce([9; 16]),
            approve: true,
            time_ms: 1_800_000_000_000,
            task: Task::Wait { reason: "no plan yet".to_owned() },
            task_node: None,
            task_epoch: None,
            image: None,
            store: Store::default(),
            faults: VecDeque::new(),
            forbidden: None,
            cancel: false,
            away: false,
            witness: None,
            hellos: Vec::new(),
            asks: Vec::new(),
            progress: Vec::new(),
            receipts: Vec::new(),
            erasures: Vec::new(),
            rescues: Vec::new(),
            rescue_refusals: 0,
            rescue_ends: false,
            tests: Vec::new(),
            networks: Vec::new(),
            step: None,
            awaited: 0,
            ranges: 0,
            certified_calls: 0,
        };
        let state = Arc::new(Mutex::new(state));
        tokio::spawn(accept(listener, TlsAcceptor::from(config), Arc::clone(&state)));
        Self { address, state }
    }

    pub fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap())
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, state: Arc<Mutex<State>>) {
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        if state.lock().unwrap().away {
            continue;
        }
        let (tls, state) = (tls.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(tcp).await else { return };
            let certified = stream.get_ref().1.peer_certificates().is_some();
            let service = service_fn(|request| answer(Arc::clone(&state), certified, request));
            let _closed = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    state: Arc<Mutex<State>>,
    certified: bool,
    request: Request<Incoming>,
) -> Result<Response<Part>, io::Error> {
    let path = request.uri().path().to_owned();
    let range = request.headers().get("range").map(|r| r.to_str().unwrap().to_owned());
    let body = request.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
    let mut state = state.lock().unwrap();
    if state.away {
        return Err(io::Error::other("switched off"));
    }
    if path == routes::HELLO {
        return Ok(json(&state.hello(serde_json::from_slice(&body).unwrap())));
    }
    if !certified {
        return Ok(refuse(StatusCode::UNAUTHORIZED, "no certificate", false));
    }
    state.certified_calls += 1;
    Ok(match path.as_str() {
        routes::TASK => state.asked(&body),
        routes::PROGRESS => {
            state.progress.push(serde_json::from_slice(&body).unwrap());
            let go_on = !state.cancel;
            json(&state.envelope(ProgressReply { go_on }))
        }
        routes::VERIFIED => {
            state.receipts.push(serde_json::from_slice(&body).unwrap());
            state.task = Task::Reboot;
            json(&state.envelope(Task::Reboot))
        }
        routes::RESCUE => state.rescued(&body),
        routes::ERASED => state.erased(&body),
        routes::TESTED | routes::TEST_DATA => state.tested(&body),
        routes::NETWORK => state.network(&body),
        routes::WINDOWS => {
            if let Some(witness) = &mut state.witness {
                witness(0);
            }
            let told = state.store.windows(&serde_json::from_slice(&body).unwrap());
            told.map_or_else(|why| begin_again(&why), |missing| json(&state.envelope(missing)))
        }
        routes::SEAL => {
            state.store.seal = Some(serde_json::from_slice(&body).unwrap());
            state.task = Task::Reboot;
            json(&state.envelope(Task::Reboot))
        }
        stored if stored.starts_with(routes::STORED) => {
            if state.faults.pop_front().is_some() {
                return Ok(refuse(StatusCode::SERVICE_UNAVAILABLE, "busy", true));
            }
            let window = stored.rsplit('/').next().unwrap().parse().unwrap();
            state.store.stored(window, &body).map_or_else(|why| begin_again(&why), |()| json(&()))
        }
        other if other.ends_with("/manifest") => match &state.image {
            Some((signed, _)) => json(signed),
            None => refuse(StatusCode::NOT_FOUND, "no such image", false),
        },
        other if other.ends_with("/data") => state.data(&range.unwrap()),
        other => refuse(StatusCode::NOT_FOUND, other, false),
    })
}

impl State {
    fn hello(&mut self, hello: Hello) -> HelloReply {
        let verdict = match hello.proof {
            Some(proof) if self.approve => {
                let message = hello_proof(&self.site.pin(), &self.node, &hello.key, &self.nonce);
                let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, hello.key.0);
                key.verify(&message, &proof.0).unwrap();
                Verdict::Approved { certificate: self.site.client(hello.key) }
            }
            Some(_) | None => Verdict::Waiting { reason: "nobody has compared the code yet".to_owned() },
        };
        self.hellos.push(hello);
        let (node, epoch, nonce, time_ms) = (self.node, self.epoch, self.nonce, self.time_ms);
        HelloReply { node, name: "n1".to_owned(), epoch, time_ms, nonce, verdict, ca: None, tpm: None }
    }

    fn rescued(&mut self, body: &[u8]) -> Response<Part> {
        if self.rescue_refusals > 0 {
            self.rescue_refusals -= 1;
            return refuse(StatusCode::FORBIDDEN, "this certificate has expired", false);
        }
        self.rescues.push(serde_json::from_slice(body).unwrap());
        let go_on = !self.rescue_ends;
        json(&self.envelope(RescueReply { go_on }))
    }

    fn asked(&mut self, body: &[u8]) -> Response<Part> {
        self.asks.push(serde_json::from_slice(body).unwrap());
        json(&self.envelope(self.task.clone()))
    }

    fn network(&mut self, body: &[u8]) -> Response<Part> {
        self.networks.push(serde_json::from_slice(body).unwrap());
        json(&self.envelope(NetworkReply { step: self.step.clone() }))
    }

    fn erased(&mut self, body: &[u8]) -> Response<Part> {
        if let Some(witness) = &mut self.witness {
            witness(0);
        }
        self.erasures.push(serde_json::from_slice(body).unwrap());
        if self.erasures.len() < self.awaited {
            return json(&self.envelope(Task::Wait { reason: "the others".to_owned() }));
        }
        self.task = Task::Reboot;
        json(&self.envelope(Task::Reboot))
    }

    /// What a test has found, or, of a request that says nothing, bytes to measure with.
    fn tested(&mut self, body: &[u8]) -> Response<Part> {
        if body.is_empty() {
            return Response::new(Part::whole(vec![0x5a; 1 << 20]));
        }
        let report: TestReport = serde_json::from_slice(body).unwrap();
        report.check().unwrap();
        if let Some(witness) = &mut self.witness {
            witness(report.part.map_or(0, |part| part as u64 + 1));
        }
        if report.over || self.cancel {
            self.task = Task::Reboot;
        }
        self.tests.push(report);
        json(&self.envelope(ProgressReply { go_on: !self.cancel }))
    }

    fn envelope<T>(&self, body: T) -> Envelope<T> {
        let (node, epoch) = (self.task_node.unwrap_or(self.node), self.task_epoch.unwrap_or(self.epoch));
        Envelope { node, generation: 1, epoch, job: None, body }
    }

    fn data(&mut self, range: &str) -> Response<Part> {
        self.ranges += 1;
        let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let (first, last) = (first.parse::<usize>().unwrap(), last.parse::<usize>().unwrap());
        if let Some(witness) = &mut self.witness {
            witness(first as u64);
        }
        if self.forbidden.take_if(|at| *at == first as u64).is_some() {
            return refuse(StatusCode::FORBIDDEN, "this certificate has expired", false);
        }
        let (_, data) = self.image.as_ref().unwrap();
        let mut part = data[first..=last].to_vec();
        let partial =
            |part: Part| Response::builder().status(StatusCode::PARTIAL_CONTENT).body(part).unwrap();
        match self.faults.pop_front() {
            None => partial(Part::whole(part)),
            Some(Fault::Wrong) => {
                part[0] ^= 1;
                partial(Part::whole(part))
            }
            Some(Fault::Torn) => {
                let announced = part.len() as u64;
                part.truncate(part.len() / 2);
                partial(Part { data: Some(part.into()), announced, torn: true })
            }
            Some(Fault::Busy) => refuse(StatusCode::SERVICE_UNAVAILABLE, "busy", true),
            Some(Fault::NoRange) => Response::new(Part::whole(data.clone())),
        }
    }
}

/// A body that may break off.
pub struct Part {
    data: Option<Bytes>,
    announced: u64,
    torn: bool,
}

impl Part {
    fn whole(data: Vec<u8>) -> Self {
        Self { announced: data.len() as u64, data: Some(data.into()), torn: false }
    }
}

impl Body for Part {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.data.take() {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            None if self.torn => Poll::Ready(Some(Err(io::Error::other("torn on purpose")))),
            None => Poll::Ready(None),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.announced)
    }
}

fn json<T: Serialize>(value: &T) -> Response<Part> {
    Response::new(Part::whole(serde_json::to_vec(value).unwrap()))
}

fn refuse(status: StatusCode, why: &str, retry: bool) -> Response<Part> {
    let refusal = serde_json::to_vec(&Refusal { error: why.to_owned(), retry, renew: false }).unwrap();
    Response::builder().status(status).body(Part::whole(refusal)).unwrap()
}

fn begin_again(why: &str) -> Response<Part> {
    refuse(StatusCode::CONFLICT, why, false)
}
