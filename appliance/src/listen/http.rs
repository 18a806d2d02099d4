//! HTTP for boot files: what firmware, GRUB and iPXE fetch. Nothing secret is ever served here.
//!
//! GET and HEAD of the names that `pxe::files` knows, with their length; ranges; many requests on one connection. A
//! file that is not there is logged loudly, because on the server's screen GRUB calls it "bad shim signature".

#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Body;
use hyper::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use pxe::files::{NotFound, Resolved, Transport, resolve};
use pxe::trace::{By, End, Fetch};
use tokio::net::TcpStream;

use super::files::{Asker, Content, FileService, Files, Served, Underway};
use super::serve::{accept, converse, drain, listen};
use super::straight::{LONGEST, Parts, Straight};
use super::stream::{Stream, ranged, text};
use super::supervise::supervise;
use super::{Gate, ListenerState, Place, Seat, Stop};

/// Connections in all, and from one address: a server boots with two or three.
const CONNECTIONS: usize = 1024;
const CONNECTIONS_EACH: usize = 16;
/// How long a request's headers, and the pause before them, may take. GRUB keeps a connection between two files.
const QUIET: Duration = Duration::from_secs(30);

/// Serves boot files on one interface until told to stop.
pub async fn serve<S: FileService>(
    place: Place,
    port: u16,
    files: Files<S>,
    state: Arc<ListenerState>,
    stop: Stop,
) {
    let gate = Gate::new(CONNECTIONS, CONNECTIONS_EACH);
    let counter = Arc::new(Counter {
        interface: place.interface.clone(),
        address: SocketAddrV4::new(place.address, port),
        files,
        state: Arc::clone(&state),
        gate: Arc::clone(&gate),
        stop: stop.clone(),
    });
    supervise(place, state, stop, move |_link| {
        let counter = Arc::clone(&counter);
        async move { counter.open().await.unwrap_or_else(|error| error) }
    })
    .await;
    drain(&gate).await;
}

/// What one interface's listener has.
struct Counter<S> {
    interface: String,
    address: SocketAddrV4,
    files: Files<S>,
    state: Arc<ListenerState>,
    gate: Arc<Gate>,
    stop: Stop,
}

impl<S: FileService> Counter<S> {
    async fn open(self: &Arc<Self>) -> Result<io::Error, io::Error> {
        let listener = listen(&self.interface, self.address)?;
        self.state.bound(listener.local_addr()?);
        tracing::info!(interface = %self.interface, address = %self.address, "http listens");
        Ok(accept(&listener, &self.state, |stream, peer| match self.gate.enter(peer.ip()) {
            Ok(seat) => self.talk(stream, peer, seat),
            Err(full) => self.state.dropped(format!("{peer}: connection closed: {full}")),
        })
        .await)
    }

    fn talk(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr, seat: Seat) {
        let counter = Arc::clone(self);
        tokio::spawn(async move {
            let parts = Arc::new(Parts::default());
            let call = |request: Request<_>| counter.answer(request, peer, &parts);
            let stream = Straight::new(stream, Arc::clone(&parts));
            if let Err(error) = converse(stream, QUIET, counter.stop.clone(), call).await {
                tracing::debug!(%peer, %error, "http connection ended badly");
            }
            drop(seat);
        });
    }

    async fn answer<B>(&self, request: Request<B>, peer: SocketAddr, parts: &Arc<Parts>) -> Response<Stream> {
        self.state.received();
        let path = request.uri().path();
        if request.method() != Method::GET && request.method() != Method::HEAD {
            self.state.refused(format!("{peer}: {} is not served here", request.method()));
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are served");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let resolved = resolve(path.as_bytes(), Transport::Http);
        let (interface, address) = (self.interface.clone(), *self.address.ip());
        let asker = Asker { peer, interface, address, transport: Transport::Http };
        let Some(what) = Served::of(resolved) else {
            self.files.asked(fetch(&request, unserved(resolved)), None, &asker);
            return self.refuse(resolved, path, peer);
        };
        match self.files.open(what, &asker).await {
            Ok(content) => self.send(content, what, asker, &request).map(|stream| stream.straight(parts)),
            Err(why) => {
                let missing = End::Missing { why: why.as_str().into() };
                self.files.asked(fetch(&request, missing), Some(what), &asker);
                tracing::error!(%peer, path, %why, "boot file not there; GRUB will call it a bad shim signature");
                self.state.refused(format!("{peer}: {path}: {why}"));
                text(StatusCode::NOT_FOUND, "no such file")
            }
        }
    }

    fn refuse(&self, resolved: Resolved, path: &str, peer: SocketAddr) -> Response<Stream> {
        match resolved {
            Resolved::NotFound(NotFound::Probe | NotFound::OnPurpose) => {
                tracing::debug!(%peer, path, "http: an optional file we do not have");
                self.state.answered();
                text(StatusCode::NOT_FOUND, "no such file")
            }
            Resolved::NotFound(why) => {
                tracing::error!(%peer, path, %why, "boot file not there; GRUB will call it a bad shim signature");
                self.state.refused(format!("{peer}: {path}: {why}"));
                text(StatusCode::NOT_FOUND, "no such file")
            }
            Resolved::Refused(why) => {
                tracing::warn!(%peer, path, %why, "http refused");
                self.state.refused(format!("{peer}: {path}: {why}"));
                text(StatusCode::BAD_REQUEST, &why.to_string())
            }
            Resolved::Static(_)
            | Resolved::GrubConfig
            | Resolved::Autoexec
            | Resolved::Join
            | Resolved::NodeGrub(_)
            | Resolved::NodeScript(_) => text(StatusCode::NOT_FOUND, "no such file"),
        }
    }

    fn send<B>(
        &self,
        content: Content,
        what: Served,
        asker: Asker,
        request: &Request<B>,
    ) -> Response<Stream> {
        self.state.answered();
        let length = content.length();
        // A range is a matter of GET alone (RFC 9110 §14.2).
        let none = HeaderMap::new();
        let headers = if request.method() == Method::GET { request.headers() } else { &none };
        let response = match content {
            Content::File(file, length) => ranged(Arc::new(file), 0, length, headers, LONGEST),
            Content::Text(bytes) => {
                let mut response = Response::new(Stream::bytes(bytes));
                let plain = HeaderValue::from_static("text/plain; charset=utf-8");
                response.headers_mut().insert(CONTENT_TYPE, plain);
                response.headers_mut().insert(CONTENT_LENGTH, length.into());
                response
            }
        };
        if request.method() == Method::HEAD {
            self.files.asked(fetch(request, End::Told), Some(what), &asker);
            return response.map(|_| Stream::empty());
        }
        // A part of a file is not the file.
        if response.status() != StatusCode::OK {
            let bytes = response.body().size_hint().lower();
            self.files.asked(fetch(request, End::Part { bytes }), Some(what), &asker);
            return response;
        }
        let whole = fetch(request, End::Whole { bytes: length });
        let underway = Underway::begin(self.files.clone(), what, asker, whole);
        response.map(|stream| stream.and_then(move || underway.sent()))
    }
}

/// What the black box keeps of a request that ended so.
fn fetch<B>(request: &Request<B>, end: End) -> Fetch {
    let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    let by = By::of_user_agent(agent.unwrap_or_default());
    Fetch { head: request.method() == Method::HEAD, ..Fetch::http(request.uri().path(), by, end) }
}

/// How a request for nothing of ours ends.
fn unserved(resolved: Resolved) -> End {
    match resolved {
        Resolved::NotFound(NotFound::Probe) => End::Optional,
        Resolved::Refused(why) => End::Refused { why: why.to_string().into() },
        Resolved::NotFound(NotFound::OnPurpose | NotFound::Unknown)
        | Resolved::Static(_)
        | Resolved::GrubConfig
        | Resolved::Autoexec
        | Resolved::Join
        | Resolved::NodeGrub(_)
        | Resolved::NodeScript(_) => End::NotFound,
    }
}
