//! A controller that hands out whatever document a test wants, and keeps everything it is told.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use protocol::{
    Enrol, Enrolled, Envelope, Epoch, IdentityFile, JobId, Key, NodeId, Order, OrderKind, Refusal, Report,
    ReportReply, Seed, StateAsk, StateDocument, StateReply, Ticket, enrol_proof, routes,
};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::deploy::site::Site;

pub const NODE: NodeId = NodeId([7; 16]);

/// What it says, and what it was told.
pub struct State {
    site: Site,
    pub epoch: Epoch,
    pub document: Option<StateDocument>,
    pub identity: Vec<IdentityFile>,
    pub orders: Vec<Order>,
    /// The number of the last order: none is given twice, also when the earlier ones are carried out.
    given: u64,
    /// Until then every call is answered with 503.
    pub broken: bool,
    pub enrols: Vec<Enrol>,
    pub escrows: Vec<Vec<IdentityFile>>,
    pub reports: Vec<(Instant, Report)>,
    pub tickets: Vec<Ticket>,
    pub asks: Vec<StateAsk>,
}

#[derive(Clone)]
pub struct Controller {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Controller {
    /// Listens on the loopback interface until the runtime ends.
    pub async fn start() -> Self {
        let site = Site::new();
        let config = site.server(Ipv4Addr::LOCALHOST, 2020..2050);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = State {
            site,
            epoch: Epoch(3),
            document: None,
            identity: Vec::new(),
            orders: Vec::new(),
            given: 0,
            broken: false,
            enrols: Vec::new(),
            escrows: Vec::new(),
            reports: Vec::new(),
            tickets: Vec::new(),
            asks: Vec::new(),
        };
        let controller = Self { address, state: Arc::new(Mutex::new(state)) };
        tokio::spawn(accept(listener, TlsAcceptor::from(config), controller.clone()));
        controller
    }

    pub fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap())
    }

    /// What the ramdisk would have left, for a fresh deploy key.
    pub fn seed(&self) -> Seed {
        let key = agent::keys::KeyPair::generate().unwrap();
        self.with(|s| Seed {
            controller: self.address,
            ca: s.site.pin(),
            node: NODE,
            name: "n1".to_owned(),
            job: Some(JobId([1; 8])),
            key: key.pkcs8_base64(),
            certificate: s.site.client(key.public()),
            complete: true,
        })
    }

    /// The first report after `since` of which this is true, and how long after it came.
    pub async fn report(
        &self,
        since: Instant,
        what: &str,
        so: impl Fn(&Report) -> bool,
    ) -> (Duration, Report) {
        for _ in 0..4500 {
            let found = self.with(|s| {
                let mut reports = s.reports.iter().filter(|(at, _)| *at >= since);
                reports.find(|(_, report)| so(report)).cloned()
            });
            if let Some((at, report)) = found {
                return (at - since, report);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let last = self.with(|s| s.reports.last().cloned());
        let journal = super::documents::journal("rackwright-agent.service");
        panic!("never reported: {what}; last: {last:?}; the agent's journal:\n{journal}");
    }

    /// Gives an order and waits until it is reported as carried out.
    pub fn order(&self, kind: OrderKind) -> u64 {
        self.with(|s| {
            s.given += 1;
            s.orders.push(Order { id: s.given, kind });
            s.given
        })
    }

    async fn state(&self, ask: StateAsk) -> Envelope<StateReply> {
        self.with(|s| s.asks.push(ask));
        let until = Instant::now() + Duration::from_secs(u64::from(ask.wait_seconds));
        loop {
            let (reply, news) = self.with(|s| {
                let document = s.document.clone().filter(|document| document.generation != ask.have);
                let orders = s.orders.iter().filter(|order| order.id > ask.done_order).cloned();
                let reply = StateReply { document, orders: orders.collect(), ca: None, check: false };
                let news = reply.document.is_some() || !reply.orders.is_empty();
                (s.envelope(reply), news)
            });
            if news || Instant::now() > until {
                return reply;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl State {
    fn envelope<T>(&self, body: T) -> Envelope<T> {
        Envelope { node: NODE, generation: 1, epoch: self.epoch, job: None, body }
    }

    fn enrol(&mut self, enrol: Enrol) -> Enrolled {
        let message = enrol_proof(&self.site.pin(), &NODE, &enrol.key);
        verify(&enrol.key, &message, &enrol.proof.0);
        let certificate = self.site.client(enrol.key);
        // The first certificate is due at once, the others after this test.
        let renewals = self.enrols.iter().filter(|known| known.key == enrol.key).count();
        let renew_ms = if renewals == 0 { 0 } else { agent::clock::now_ms() + 3_600_000 };
        self.enrols.push(enrol);
        Enrolled {
            node: NODE,
            name: "n1".to_owned(),
            epoch: self.epoch,
            certificate,
            renew_ms,
            renew_seconds: 0,
            ca: None,
            identity: self.identity.clone(),
        }
    }

    fn report(&mut self, report: Report) -> Envelope<ReportReply> {
        self.orders.retain(|order| order.id > report.done_order);
        self.reports.push((Instant::now(), report));
        let generation = self.document.as_ref().map_or(0, |document| document.generation);
        self.envelope(ReportReply { generation })
    }
}

fn verify(key: &Key, message: &[u8], signature: &[u8]) {
    let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, key.0);
    key.verify(message, signature).unwrap();
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, controller: Controller) {
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        let (tls, controller) = (tls.clone(), controller.clone());
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(tcp).await else { return };
            let certified = stream.get_ref().1.peer_certificates().is_some();
            let service = service_fn(|request| answer(controller.clone(), certified, request));
            let _closed = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    controller: Controller,
    certified: bool,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let Ok(body) = request.into_body().collect().await else { return Ok(json(&())) };
    let body = body.to_bytes();
    if !certified || controller.with(|s| s.broken) {
        return Ok(busy());
    }
    Ok(match path.as_str() {
        routes::ENROL => json(&controller.with(|s| s.enrol(parse(&body)))),
        routes::ESCROW => {
            controller.with(|s| s.escrows.push(parse(&body)));
            json(&serde_json::json!({}))
        }
        routes::STATE => json(&controller.state(parse(&body)).await),
        routes::REPORT => json(&controller.with(|s| s.report(parse(&body)))),
        routes::TICKET => {
            controller.with(|s| s.tickets.push(parse(&body)));
            json(&serde_json::json!({}))
        }
        // It has no time for checks of the network, and the agent none for it for half a minute.
        routes::NETWORK => busy(),
        other => panic!("the agent asked for {other}"),
    })
}

fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> T {
    serde_json::from_slice(body).unwrap()
}

fn json<T: Serialize>(value: &T) -> Response<Full<Bytes>> {
    Response::new(Full::from(serde_json::to_vec(value).unwrap()))
}

fn busy() -> Response<Full<Bytes>> {
    let refusal =
        serde_json::to_vec(&Refusal { error: "busy".to_owned(), retry: true, renew: false }).unwrap();
    Response::builder().status(StatusCode::SERVICE_UNAVAILABLE).body(Full::from(refusal)).unwrap()
}
