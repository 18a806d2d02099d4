//! HTTPS for agents: TLS 1.3, a client certificate of this site's CA or none at all.
//!
//! Knows how long anything may take and how much may come. Refuses to know what a request means or who may ask it:
//! the [`AgentService`] is given the whole body and the fingerprint of the certificate, which is genuine, in date or not.

#[cfg(test)]
mod tests;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::{Request, Response, StatusCode};
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::tls::Door;

use super::lobby::{Lobby, Stay};
use super::serve::{accept, converse, drain, listen};
use super::stream::{Stream, json};
use super::supervise::supervise;
use super::{Full, Gate, ListenerState, Place, Seat, Stop};

/// Connections that have not shown a certificate, in all and from one address; those that have, in all and with one
/// certificate. The former can take nothing from the latter.
const STRANGERS: usize = 1024;
const STRANGERS_EACH: usize = 16;
const KNOWN: usize = 4096;
const KNOWN_EACH: usize = 64;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a request's headers, and the pause before them, may take: a stranger's, and a known agent's, which
/// reports every thirty seconds.
const STRANGER_QUIET: Duration = Duration::from_secs(10);
const KNOWN_QUIET: Duration = Duration::from_secs(90);
/// How long a body may take.
const BODY: Duration = Duration::from_secs(30);
/// How long the service may take, long polls of thirty seconds included.
const ANSWER: Duration = Duration::from_secs(120);

/// The largest body where the service says nothing else, in bytes.
pub const BODY_LIMIT: usize = 1 << 20;
/// How much of an image is read at a time, in bytes; for [`super::stream::ranged`].
pub const IMAGE_BLOCK: usize = 1 << 20;

/// Who sent a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its address.
    pub peer: SocketAddr,
    /// The interface it came in by.
    pub interface: String,
    /// Our address there.
    pub local: Ipv4Addr,
    /// SHA-256 of its client certificate, lower-case hexadecimal as of [`crate::ca::fingerprint`]; `None` when it
    /// showed none.
    pub certificate: Option<String>,
    /// That certificate, and those that came with it.
    pub shown: Arc<[CertificateDer<'static>]>,
}

/// Answers agents. Called for many at once.
pub trait AgentService: Send + Sync + 'static {
    /// The largest body of a request for this path, in bytes.
    fn body_limit(&self, _path: &str) -> usize {
        BODY_LIMIT
    }

    /// The handshake with somebody failed. Must not wait.
    fn turned_away(&self, _peer: SocketAddr, _why: &str) {}

    /// Answers one request; its body is complete.
    fn call(&self, caller: &Caller, request: Request<Bytes>)
    -> impl Future<Output = Response<Stream>> + Send;
}

/// Serves agents on one interface until told to stop.
pub async fn serve<S: AgentService>(
    place: Place,
    port: u16,
    tls: Arc<Door>,
    service: Arc<S>,
    state: Arc<ListenerState>,
    stop: Stop,
) {
    let (gate, known) = (Gate::new(STRANGERS, STRANGERS_EACH), Gate::new(KNOWN, KNOWN_EACH));
    let desk = Arc::new(Desk {
        interface: place.interface.clone(),
        address: SocketAddrV4::new(place.address, port),
        tls,
        service,
        state: Arc::clone(&state),
        gate: Arc::clone(&gate),
        lobby: Lobby::default(),
        known: Arc::clone(&known),
        stop: stop.clone(),
    });
    supervise(place, state, stop, move |_link| {
        let desk = Arc::clone(&desk);
        async move { desk.open().await.unwrap_or_else(|error| error) }
    })
    .await;
    drain(&gate).await;
    drain(&known).await;
}

/// A refusal as agents read it, `protocol::Refusal`.
pub fn refusal(status: StatusCode, error: &str, retry: bool) -> Response<Stream> {
    let refusal = protocol::Refusal { error: error.into(), retry, renew: false };
    // Two plain fields: this cannot fail.
    json(status, serde_json::to_vec(&refusal).unwrap_or_default())
}

/// What one interface's listener has.
struct Desk<S> {
    interface: String,
    address: SocketAddrV4,
    tls: Arc<Door>,
    service: Arc<S>,
    state: Arc<ListenerState>,
    gate: Arc<Gate>,
    lobby: Lobby,
    known: Arc<Gate<String>>,
    stop: Stop,
}

impl<S: AgentService> Desk<S> {
    async fn open(self: &Arc<Self>) -> Result<io::Error, io::Error> {
        let listener = listen(&self.interface, self.address)?;
        self.state.bound(listener.local_addr()?);
        tracing::info!(interface = %self.interface, address = %self.address, "https listens");
        Ok(accept(&listener, &self.state, |stream, peer| match self.seat(peer) {
            Ok(seat) => self.lobby.admit((peer.ip(), seat), |number| {
                tokio::spawn(Arc::clone(self).talk(stream, peer, number)).abort_handle()
            }),
            Err(full) => self.state.dropped(format!("{peer}: connection closed: {full}")),
        })
        .await)
    }

    /// A place among the strangers. When all are taken, somebody goes for it: the newcomer may be a node.
    fn seat(&self, peer: SocketAddr) -> Result<Seat, Full> {
        match self.gate.enter(peer.ip()) {
            Err(full @ Full::InAll(_)) if self.lobby.make_room() => {
                self.state.dropped(format!("a stranger of many who waited longest: {full}"));
                self.gate.enter(peer.ip())
            }
            other => other,
        }
    }

    /// One connection, from its handshake to its end.
    async fn talk(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, number: u64) {
        let mut stay = Some(self.lobby.stay(number));
        let stream = match tokio::time::timeout(
            HANDSHAKE,
            TlsAcceptor::from(self.tls.config()).accept(stream),
        )
        .await
        {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return self.turn_away(peer, &crate::tls::explain(&error)),
            Err(_) => return self.turn_away(peer, "it took too long over the handshake"),
        };
        let (interface, local) = (self.interface.clone(), *self.address.ip());
        let shown = shown(&stream);
        let certificate = shown.first().map(|leaf| crate::ca::fingerprint(leaf));
        let caller = Caller { peer, interface, local, certificate, shown };
        let mut known = None;
        if let Some(certificate) = &caller.certificate {
            match self.known.enter(certificate.clone()) {
                Ok(place) => known = Some(place),
                Err(full) => return self.state.dropped(format!("{peer}: connection closed: {full}")),
            }
            stay = None;
        }
        let quiet = if known.is_some() { KNOWN_QUIET } else { STRANGER_QUIET };
        let stay = stay.as_ref();
        let call = |request| self.answer(&caller, request, stay);
        if let Err(error) = converse(stream, quiet, self.stop.clone(), call).await {
            tracing::debug!(%peer, %error, "https connection ended badly");
        }
    }

    fn turn_away(&self, peer: SocketAddr, why: &str) {
        tracing::warn!(%peer, why, "agent refused in the handshake");
        self.service.turned_away(peer, why);
        self.state.refused(format!("{peer}: {why}"));
    }

    async fn answer(
        &self,
        caller: &Caller,
        request: Request<Incoming>,
        stay: Option<&Stay<'_>>,
    ) -> Response<Stream> {
        self.state.received();
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let bytes = match collect(body, self.service.body_limit(&path)).await {
            Ok(bytes) => bytes,
            Err((status, why)) => {
                let peer = caller.peer;
                tracing::warn!(%peer, path, why, "agent's request refused");
                self.state.refused(format!("{peer}: {path}: {why}"));
                return refusal(status, &why, false);
            }
        };
        // On the heap while it is answered: a connection that waits for its next request would have room for it all the time.
        let call = Box::pin(self.service.call(caller, Request::from_parts(head, bytes)));
        stay.inspect(|stay| stay.served(true));
        let answered = tokio::time::timeout(ANSWER, call).await;
        stay.inspect(|stay| stay.served(false));
        let Ok(response) = answered else {
            self.state.trouble(format!("{path} was not answered within {} s", ANSWER.as_secs()));
            return refusal(StatusCode::SERVICE_UNAVAILABLE, "the controller took too long; ask again", true);
        };
        if response.status().is_client_error() {
            self.state.refused(format!("{}: {path}: {}", caller.peer, response.status()));
        } else {
            self.state.answered();
        }
        response
    }
}

/// The whole body, if it is not too long and does not take too long.
async fn collect(body: Incoming, limit: usize) -> Result<Bytes, (StatusCode, String)> {
    let too_large = || (StatusCode::PAYLOAD_TOO_LARGE, format!("the body is longer than {limit} bytes"));
    // Said at once, before any of it is read.
    if body.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY, Limited::new(body, limit).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err((StatusCode::BAD_REQUEST, format!("the body broke off: {error}"))),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, format!("the body took more than {} s", BODY.as_secs()))),
    }
}

fn shown(stream: &TlsStream<TcpStream>) -> Arc<[CertificateDer<'static>]> {
    let (_, connection) = stream.get_ref();
    let shown = connection.peer_certificates().unwrap_or_default();
    shown.iter().map(|one| one.clone().into_owned()).collect()
}
