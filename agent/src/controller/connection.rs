//! One TLS connection and the calls on it, one after the other.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST, RANGE};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use protocol::Refusal;
use rustls::CertificateError;
use rustls::pki_types::ServerName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::controller::{CallError, Controller};

/// The longest answer that is read into memory.
pub const REPLY_BYTES_MAX: usize = 32 << 20;
const REFUSAL_BYTES_MAX: usize = 64 << 10;
const CONNECT: Duration = Duration::from_secs(10);
/// A body that brings nothing for so long is given up.
const SILENCE: Duration = Duration::from_secs(15);

/// A first packet that is lost is sent again after a second (RFC 6298 §2): after so long another connection is begun meanwhile.
const ANOTHER: Duration = Duration::from_millis(300);

/// An open connection. Dropped, it is closed.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

/// Whichever of two connections is there first.
async fn connect(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let mut first = pin!(attempt(address, source));
    match timeout(ANOTHER, &mut first).await {
        Ok(done) => done,
        Err(_) => tokio::select! {
            done = &mut first => done,
            // One that fails says nothing of the first.
            Ok(second) = attempt(address, source) => Ok(second),
        },
    }
}

async fn attempt(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let Some(source) = source else { return TcpStream::connect(address).await };
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(source, 0))?;
    socket.connect(address).await
}

impl Connection {
    /// Opens one: TCP, TLS with the pinned CA, HTTP/1.1.
    ///
    /// # Errors
    /// [`CallError::Connect`], [`CallError::Tls`], [`CallError::Http`].
    pub async fn open(controller: &Controller) -> Result<Self, CallError> {
        let address = controller.address();
        let slow = |_| io::Error::from(io::ErrorKind::TimedOut);
        let tcp = timeout(CONNECT, connect(address, controller.source())).await.map_err(slow).flatten();
        let tcp = tcp.map_err(|source| CallError::Connect { address, source })?;
        // Calls are small and wait for their answers: nothing is gained by collecting.
        tcp.set_nodelay(true).map_err(|source| CallError::Connect { address, source })?;
        let connector = TlsConnector::from(controller.config());
        let tls = connector.connect(ServerName::IpAddress(address.ip().into()), tcp);
        let tls = timeout(CONNECT, tls).await.map_err(slow).flatten();
        let tls = tls.map_err(|error| CallError::Tls { address, source: plain(error) })?;
        let route = String::from("/");
        let (sender, driver) =
            handshake(TokioIo::new(tls)).await.map_err(|source| CallError::Http { route, source })?;
        // It ends when the sender is dropped; what it has to say, the pending call says too.
        tokio::spawn(driver);
        Ok(Self { sender, host: address.to_string() })
    }

    /// Whether the other side has closed it meanwhile.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// POSTs JSON and reads JSON.
    ///
    /// # Errors
    /// [`CallError`]; a refusal in the controller's own words.
    pub async fn call<A, R>(&mut self, route: &str, ask: &A, deadline: Duration) -> Result<R, CallError>
    where
        A: Serialize + Sync,
        R: DeserializeOwned,
    {
        let encode = |source| CallError::Encode { route: route.to_owned(), source };
        let body = serde_json::to_vec(ask).map_err(|e| encode(e.into()))?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(route)
            .header(HOST, &self.host)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| encode(e.into()))?;
        let answer = self.exchange(route, request, REPLY_BYTES_MAX, deadline).await?;
        serde_json::from_slice(&answer)
            .map_err(|source| CallError::Decode { route: route.to_owned(), source })
    }

    /// POSTs bytes; what comes back in return is read and means nothing.
    ///
    /// # Errors
    /// [`CallError`]; a refusal in the controller's own words.
    pub async fn put(&mut self, route: &str, bytes: Bytes, deadline: Duration) -> Result<(), CallError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(route)
            .header(HOST, &self.host)
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(Full::new(bytes))
            .map_err(|e| CallError::Encode { route: route.to_owned(), source: e.into() })?;
        self.exchange(route, request, REFUSAL_BYTES_MAX, deadline).await.map(drop)
    }

    /// GETs bytes: the whole, or `range` as (first byte, length), which must come in full.
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::Short`] when another number of bytes came than was asked for.
    pub async fn get(
        &mut self,
        route: &str,
        range: Option<(u64, usize)>,
        deadline: Duration,
    ) -> Result<Bytes, CallError> {
        let mut request = Request::builder().method(Method::GET).uri(route).header(HOST, &self.host);
        if let Some((first, length)) = range {
            let last = first.saturating_add(length as u64).saturating_sub(1);
            request = request.header(RANGE, format!("bytes={first}-{last}"));
        }
        let request = request
            .body(Full::default())
            .map_err(|e| CallError::Encode { route: route.to_owned(), source: e.into() })?;
        let most = range.map_or(REPLY_BYTES_MAX, |(_, length)| length);
        let answer = self.exchange(route, request, most, deadline).await?;
        match range {
            Some((_, want)) if answer.len() != want => {
                Err(CallError::Short { route: route.to_owned(), got: answer.len(), want })
            }
            Some(_) | None => Ok(answer),
        }
    }

    async fn exchange(
        &mut self,
        route: &str,
        request: Request<Full<Bytes>>,
        most: usize,
        deadline: Duration,
    ) -> Result<Bytes, CallError> {
        let broken = |source| CallError::Http { route: route.to_owned(), source };
        let late = |_| CallError::Deadline { route: route.to_owned(), after: deadline };
        let partial = request.headers().contains_key(RANGE);
        let answer = timeout(deadline, async {
            self.sender.ready().await?;
            self.sender.send_request(request).await
        });
        let answer = answer.await.map_err(late)?.map_err(broken)?;
        let status = answer.status();
        if !status.is_success() {
            return Err(refusal(route, status, read(route, answer, REFUSAL_BYTES_MAX).await?.as_ref()));
        }
        // A server that ignores `Range` would send the image from its start.
        if partial && status != StatusCode::PARTIAL_CONTENT {
            let why = String::from("the answer is not the range that was asked for");
            return Err(CallError::Refused {
                route: route.to_owned(),
                status: status.as_u16(),
                why,
                retry: true,
                renew: false,
            });
        }
        read(route, answer, most).await
    }
}

/// rustls prints a verifier's own error as `Other(OtherError(ForeignChain(…`: a person gets the words in it.
fn plain(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(own))) => {
            io::Error::other(own.0.to_string())
        }
        Some(_) | None => error,
    }
}

async fn read(route: &str, answer: Response<Incoming>, most: usize) -> Result<Bytes, CallError> {
    let mut body = answer.into_body();
    let too_long = || CallError::TooLong { route: route.to_owned(), most };
    let announced = hyper::body::Body::size_hint(&body).lower();
    let announced = usize::try_from(announced).ok().filter(|&n| n <= most).ok_or_else(too_long)?;
    let mut out = Vec::with_capacity(announced);
    loop {
        let late = |_| CallError::Deadline { route: route.to_owned(), after: SILENCE };
        let Some(frame) = timeout(SILENCE, body.frame()).await.map_err(late)? else { break };
        let frame = frame.map_err(|source| CallError::Http { route: route.to_owned(), source })?;
        if let Ok(data) = frame.into_data() {
            if out.len() + data.len() > most {
                return Err(too_long());
            }
            out.extend_from_slice(&data);
        }
    }
    Ok(out.into())
}

/// The controller's own words where it found some; `retry` for a server that is only busy.
fn refusal(route: &str, status: StatusCode, body: &[u8]) -> CallError {
    let busy = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
    let (why, retry, renew) = match serde_json::from_slice::<Refusal>(body) {
        Ok(Refusal { error, retry, renew }) => (crate::text::clean(&error, 400), retry, renew),
        Err(_) => (status.canonical_reason().unwrap_or("no reason given").to_owned(), busy, false),
    };
    CallError::Refused { route: route.to_owned(), status: status.as_u16(), why, retry, renew }
}
