//! One host over TLS: requests one after the other, bounded in time and size, no redirect, no other certificate.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use fleet::power::{Account, Fault};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, IF_MATCH};
use hyper::{Method, Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use ring::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::answer;

/// What connecting, and what one answer may take. Controllers are slow: some need seconds for a handshake.
const CONNECT: Duration = Duration::from_secs(10);
pub(super) const ANSWER: Duration = Duration::from_secs(15);
/// No answer that is read is longer, in bytes. `serde_json` refuses more than 128 levels.
const LONGEST: usize = 1 << 20;
const TOKEN: HeaderName = HeaderName::from_static("x-auth-token");

/// How we show who we are.
pub(super) enum Pass {
    /// A session's.
    Token(HeaderValue),
    /// User and password with every request.
    Basic(HeaderValue),
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pass")
    }
}

impl Pass {
    /// Of user and password (RFC 7617).
    pub(super) fn basic(user: &str, password: &str) -> Self {
        let text = format!("Basic {}", BASE64.encode(format!("{user}:{password}").as_bytes()));
        // Base64 always is a header's value.
        let mut value = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
        value.set_sensitive(true);
        Self::Basic(value)
    }
}

/// An answer.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) status: u16,
    /// Null where it is no JSON.
    pub(super) body: Value,
    pub(super) etag: Option<String>,
    pub(super) location: Option<String>,
    pub(super) token: Option<HeaderValue>,
}

/// The way to one host.
#[derive(Debug)]
pub(super) struct Wire {
    host: String,
    port: u16,
    shown: String,
    name: ServerName<'static>,
    watch: Arc<Watch>,
    tls: Arc<ClientConfig>,
    pass: Option<Pass>,
    patience: Duration,
    open: Option<SendRequest<Full<Bytes>>>,
}

impl Wire {
    /// To this account's, whose answers are waited for so long each.
    pub(super) fn new(account: &Account, patience: Duration) -> Result<Self, Fault> {
        let refused = |what: &str| Fault::Refused(what.to_owned());
        let address = account.address.as_ref().ok_or_else(|| refused("it has no address"))?;
        let name =
            ServerName::try_from(address.host().to_owned()).map_err(|_| refused("its address is no name"))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let watch = Arc::new(Watch { pin: account.pin.clone(), seen: Mutex::default(), algorithms });
        // Controllers that are in use know nothing newer than 1.2.
        let tls = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| Fault::Refused(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(watch.clone())
            .with_no_client_auth();
        Ok(Self {
            host: address.host().to_owned(),
            port: address.port().unwrap_or(443),
            shown: address.to_string(),
            name,
            watch,
            tls: Arc::new(tls),
            pass: None,
            patience,
            open: None,
        })
    }

    /// Host and port as they stand in an address.
    pub(super) fn authority(&self) -> &str {
        &self.shown
    }

    /// From now on requests show this.
    pub(super) fn pass(&mut self, pass: Pass) {
        self.pass = Some(pass);
    }

    /// SHA-256 of the certificate that was shown.
    pub(super) fn pin(&self) -> Option<String> {
        self.watch.seen()
    }

    /// Reads; a second time, when the connection broke: reading changes nothing.
    pub(super) async fn get(&mut self, path: &str) -> Result<Heard, Fault> {
        let first = self.send(Method::GET, path, None, None).await;
        let heard = match first {
            Err(Fault::Lost(_)) => {
                self.send(Method::GET, path, None, None).await.map_err(|fault| match fault {
                    Fault::Lost(why) => Fault::Unreachable(why),
                    other @ (Fault::Login(_)
                    | Fault::Stranger(_)
                    | Fault::Busy(_)
                    | Fault::Unreachable(_)
                    | Fault::Refused(_)) => other,
                })?
            }
            other => other?,
        };
        match heard.status {
            200 => Ok(heard),
            status => Err(answer::fault(status, &heard.body)),
        }
    }

    /// One request, once.
    pub(super) async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        etag: Option<&str>,
    ) -> Result<Heard, Fault> {
        let request = self.request(method, path, body, etag)?;
        let mut sender = self.connected().await?;
        let lost = |why: String| Fault::Lost(why);
        let exchange = async {
            let response = sender.send_request(request).await;
            let response = response.map_err(|error| lost(format!("the connection broke: {error}")))?;
            hear(response).await
        };
        let heard = tokio::time::timeout(self.patience, exchange).await;
        let late = |_| Err(lost(format!("no answer within {} s", self.patience.as_secs())));
        let heard = heard.unwrap_or_else(late)?;
        self.open = Some(sender);
        Ok(heard)
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        etag: Option<&str>,
    ) -> Result<Request<Full<Bytes>>, Fault> {
        let bytes = body.map(Value::to_string).unwrap_or_default();
        let mut request = Request::builder().method(method).uri(path).header(HOST, self.shown.as_str());
        request = request.header(ACCEPT, "application/json").header("OData-Version", "4.0");
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(etag) = etag.and_then(answer::header) {
            request = request.header(IF_MATCH, etag);
        }
        request = match &self.pass {
            Some(Pass::Token(token)) => request.header(TOKEN, token),
            Some(Pass::Basic(value)) => request.header(AUTHORIZATION, value),
            None => request,
        };
        request.body(Full::new(Bytes::from(bytes))).map_err(|error| Fault::Refused(error.to_string()))
    }

    /// The connection that is open, or a new one.
    async fn connected(&mut self) -> Result<SendRequest<Full<Bytes>>, Fault> {
        if let Some(mut open) = self.open.take()
            && open.ready().await.is_ok()
        {
            return Ok(open);
        }
        let late = |_| Fault::Unreachable(format!("no connection within {} s", CONNECT.as_secs()));
        tokio::time::timeout(CONNECT, self.connect()).await.map_err(late)?
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Fault> {
        let unreachable = |error: std::io::Error| Fault::Unreachable(format!("it is not reached: {error}"));
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(unreachable)?;
        let shaken = TlsConnector::from(Arc::clone(&self.tls)).connect(self.name.clone(), stream).await;
        let stream = shaken.map_err(|error| match self.watch.stranger() {
            Some(seen) => Fault::Stranger(format!(
                "its certificate is not the one that was seen first (now SHA-256 {seen}): no password was sent. If you \
                 have changed it, or the board"
            )),
            None => Fault::Unreachable(format!("TLS with it fails: {error}")),
        })?;
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| Fault::Unreachable(error.to_string()))?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

async fn hear(response: Response<Incoming>) -> Result<Heard, Fault> {
    let (head, body) = response.into_parts();
    let text = |name: &HeaderName| head.headers.get(name)?.to_str().ok().and_then(answer::header);
    let body = Limited::new(body, LONGEST).collect().await;
    let body = body.map_err(|error| Fault::Lost(format!("the answer broke off, or is too long: {error}")))?;
    let token = head.headers.get(TOKEN).cloned().map(|mut token| {
        token.set_sensitive(true);
        token
    });
    Ok(Heard {
        status: head.status.as_u16(),
        body: serde_json::from_slice(&body.to_bytes()).unwrap_or(Value::Null),
        etag: text(&hyper::header::ETAG),
        location: text(&hyper::header::LOCATION),
        token,
    })
}

/// Takes the certificate that was seen first, whoever has signed it: controllers sign their own. A first one is taken
/// as it is, and remembered.
#[derive(Debug)]
struct Watch {
    pin: Option<String>,
    seen: Mutex<Option<String>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Watch {
    fn seen(&self) -> Option<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The certificate that was shown and is not the right one.
    fn stranger(&self) -> Option<String> {
        self.seen().filter(|seen| self.pin.as_ref().is_some_and(|pin| pin != seen))
    }
}

impl ServerCertVerifier for Watch {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = HEXLOWER.encode(digest(&SHA256, leaf).as_ref());
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Within one errand it may not change either.
        let known = self.pin.clone().or_else(|| seen.clone());
        let same = known.is_none_or(|known| known == shown);
        // Where none is known yet, the first one stays: what comes after it must not become the known one.
        if same || self.pin.is_some() {
            *seen = Some(shown);
        }
        if same {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::General("another certificate".to_owned()))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
