//! One POST to a webhook: HTTP or HTTPS, signed, within a time.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use http_body_util::Full;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use ring::hmac;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long the whole of it may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// Whom this machine trusts.
const ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";
/// The shortest key that signs, in bytes.
const SHORTEST_KEY: usize = 16;
/// What carries the signature, and the time that is signed with the body.
pub(super) const SIGNATURE: &str = "x-rackwright-signature";
pub(super) const TIMESTAMP: &str = "x-rackwright-timestamp";

/// Why a message did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The key can't be read.
    #[error("reading the key that signs messages, {}", path.display())]
    Key {
        /// Its file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// Nobody there.
    #[error("connecting to {0}")]
    Connect(String, #[source] std::io::Error),
    /// No trusted roots, or none that fits.
    #[error("{0}")]
    Trust(String),
    /// The exchange broke.
    #[error("posting to {0}")]
    Exchange(String, #[source] hyper::Error),
    /// Not taken.
    #[error("{0} answered {1}")]
    Refused(String, StatusCode),
    /// No answer.
    #[error("{0} did not answer within {seconds} s", seconds = PATIENCE.as_secs())]
    Silent(String),
    /// The password for mail can't be read.
    #[error("reading the password for mail, {}", path.display())]
    Password {
        /// Its file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// A mail that can't be written.
    #[error("writing a mail")]
    Letter(#[source] lettre::error::Error),
    /// Not taken, or not even that.
    #[error("mailing by {0}")]
    Mail(String, #[source] lettre::transport::smtp::Error),
}

/// Where a message goes. Printed without its path, which is a password at many services.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    tls: bool,
    host: String,
    port: u16,
    path: String,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", if self.tls { "https" } else { "http" }, self.host, self.port)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Target {
    type Err = &'static str;

    /// `http` or `https`, a host, and a path; no user in it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uri = text.parse::<hyper::Uri>().map_err(|_| "this is no address")?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("it begins with neither http:// nor https://"),
        };
        let authority = uri.authority().ok_or("there is no host in it")?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err("there is a user in it, or no host");
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self { tls, host: authority.host().to_owned(), port, path })
    }
}

/// The key in a file, without the spaces and line ends around it.
pub(super) fn key(path: &Path) -> Result<hmac::Key, SendError> {
    let failed = |source| SendError::Key { path: path.to_owned(), source };
    let bytes = std::fs::read(path).map_err(failed)?;
    let bytes = bytes.trim_ascii();
    if bytes.len() < SHORTEST_KEY {
        let why = format!("{} bytes are too few for a key: make one with openssl rand -hex 32", bytes.len());
        return Err(failed(std::io::Error::other(why)));
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, bytes))
}

/// Posts it.
pub(super) async fn post(
    target: &Target,
    key: Option<&hmac::Key>,
    seconds: u64,
    body: Vec<u8>,
) -> Result<(), SendError> {
    let sent = tokio::time::timeout(PATIENCE, exchange(target, key, seconds, body)).await;
    sent.unwrap_or_else(|_| Err(SendError::Silent(target.to_string())))
}

async fn exchange(
    target: &Target,
    key: Option<&hmac::Key>,
    seconds: u64,
    body: Vec<u8>,
) -> Result<(), SendError> {
    let connecting = |source| SendError::Connect(target.to_string(), source);
    let host = target.host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, target.port)).await.map_err(connecting)?;
    let request = request(target, key, seconds, body);
    let status = if target.tls {
        let name =
            ServerName::try_from(host.to_owned()).map_err(|error| SendError::Trust(error.to_string()))?;
        let stream = TlsConnector::from(trust()?).connect(name, stream).await.map_err(connecting)?;
        talk(target, stream, request).await?
    } else {
        talk(target, stream, request).await?
    };
    // Whoever moved has to be named anew: a message does not follow strangers.
    if status.is_success() { Ok(()) } else { Err(SendError::Refused(target.to_string(), status)) }
}

fn request(target: &Target, key: Option<&hmac::Key>, seconds: u64, body: Vec<u8>) -> Request<Full<Bytes>> {
    let mut request = Request::post(&target.path)
        .header("host", format!("{}:{}", target.host, target.port))
        .header("content-type", "application/json")
        .header("user-agent", concat!("rackwright/", env!("CARGO_PKG_VERSION")))
        .header("connection", "close")
        .header(TIMESTAMP, seconds);
    if let Some(key) = key {
        let signed = [format!("{seconds}.").as_bytes(), &body].concat();
        let signature = HEXLOWER.encode(hmac::sign(key, &signed).as_ref());
        request = request.header(SIGNATURE, format!("sha256={signature}"));
    }
    // Every part was parsed before.
    request.body(Full::from(body)).unwrap_or_default()
}

async fn talk<IO>(target: &Target, io: IO, request: Request<Full<Bytes>>) -> Result<StatusCode, SendError>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broke = |source| SendError::Exchange(target.to_string(), source);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(io)).await.map_err(broke)?;
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(broke);
    connection.abort();
    Ok(response?.status())
}

/// The authorities that this machine trusts; TLS 1.3.
fn trust() -> Result<Arc<ClientConfig>, SendError> {
    let mut roots = RootCertStore::empty();
    let read = CertificateDer::pem_file_iter(ROOTS);
    let read = read.map_err(|why| SendError::Trust(format!("reading {ROOTS}: {why}")))?;
    roots.add_parsable_certificates(read.flatten());
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|why| SendError::Trust(why.to_string()))?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn where_messages_may_go() {
        let of = |text: &str| text.parse::<Target>();
        for (text, shown) in [
            ("https://hooks.example/T0/secret?x=1", "https://hooks.example:443"),
            ("http://10.0.0.5:8080", "http://10.0.0.5:8080"),
            ("http://[fd00::1]/a", "http://[fd00::1]:80"),
        ] {
            assert_eq!(of(text).unwrap().to_string(), shown);
            assert!(!format!("{:?}", of(text).unwrap()).contains("secret"), "a path may be a password");
        }
        for bad in [
            "",
            "/path",
            "ftp://host/",
            "host:80",
            "https://",
            "https://user@host/",
            "https://u:p@host/",
            "file:///etc/passwd",
        ] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
