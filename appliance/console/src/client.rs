//! The daemon's local socket: one HTTP/1.1 request per connection, JSON back.
//!
//! Every string of an answer is cleaned here, before anything is read from it, so that no renderer can forget to.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use fleet::view::{API_VERSION, Item, List, Problem};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use crate::failure::{Failure, exit};
use crate::last_words::LastWords;
use crate::text::clean_value;

/// Bytes of an answer: ten thousand nodes are about ten MiB.
const LONGEST_ANSWER: usize = 64 << 20;
/// Seconds within which every request that does not wait for something is answered.
const PATIENCE_SECONDS: u64 = 60;

/// A way to the daemon.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    socket: PathBuf,
}

/// A body as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    request: String,
    body: Bytes,
}

impl Answer {
    /// The body as JSON, exactly as the daemon wrote it.
    pub(crate) fn value(&self) -> Result<Value, Failure> {
        serde_json::from_slice(&self.body).map_err(|source| self.misunderstood(source))
    }

    /// The body, whatever it is.
    pub(crate) fn bytes(self) -> Bytes {
        self.body
    }

    /// The rows of a list, cleaned.
    pub(crate) fn items<T: DeserializeOwned>(&self) -> Result<Vec<T>, Failure> {
        Ok(self.read::<List<T>>()?.items)
    }

    /// The thing of an item, cleaned.
    pub(crate) fn item<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        Ok(self.read::<Item<T>>()?.item)
    }

    fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let value = self.value()?;
        let theirs = value.get("apiVersion").and_then(Value::as_str);
        if let Some(theirs) = theirs.filter(|version| *version != API_VERSION) {
            return Err(Failure::Version { theirs: theirs.to_owned() });
        }
        serde_json::from_value(clean_value(value)).map_err(|source| self.misunderstood(source))
    }

    fn misunderstood(&self, source: serde_json::Error) -> Failure {
        Failure::Understanding { request: self.request.clone(), source }
    }
}

impl Client {
    pub(crate) fn new(socket: PathBuf) -> Client {
        Client { socket }
    }

    /// Asks; answered at once.
    pub(crate) async fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.get_within(path, 0).await
    }

    /// Asks for something that the daemon may hold back so many seconds.
    pub(crate) async fn get_within(&self, path: &str, wait_seconds: u64) -> Result<Answer, Failure> {
        let seconds = wait_seconds.saturating_add(PATIENCE_SECONDS);
        let exchange = self.exchange(Method::GET, path, Full::new(Bytes::new()));
        self.within(seconds, &format!("GET {path}"), exchange).await
    }

    /// Asks for something that the daemon looks at for as long as it takes.
    pub(crate) async fn get_patiently(&self, path: &str) -> Result<Answer, Failure> {
        self.exchange(Method::GET, path, Full::new(Bytes::new())).await
    }

    /// Tells.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Answer, Failure> {
        let exchange = self.exchange(Method::POST, path, Full::new(Bytes::from(body.to_string())));
        self.within(PATIENCE_SECONDS, &format!("POST {path}"), exchange).await
    }

    /// Sends a body of known length, however long that takes.
    pub(crate) async fn upload<B>(&self, path: &str, body: B) -> Result<Answer, Failure>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.exchange(Method::POST, path, body).await
    }

    /// Receives a body that is no JSON, piece by piece.
    pub(crate) async fn download(
        &self,
        path: &str,
        mut piece: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let (request, response, connection) = self.begin(Method::POST, path, Full::new(Bytes::new())).await?;
        let broke =
            |source: hyper::Error| Failure::Receiving { request: request.clone(), source: source.into() };
        let status = response.status();
        let mut body = response.into_body();
        let mut refused = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(bytes) = frame.map_err(broke)?.into_data() else { continue };
            match status.is_success() {
                true => piece(&bytes)?,
                false => refused.extend_from_slice(&bytes),
            }
        }
        connection.abort();
        if status.is_success() { Ok(()) } else { Err(refusal(status, &Bytes::from(refused))) }
    }

    /// Makes the connection one that carries what it likes, both ways.
    pub(crate) async fn upgrade(
        &self,
        path: &str,
        body: &Value,
    ) -> Result<TokioIo<hyper::upgrade::Upgraded>, Failure> {
        let body = Full::new(Bytes::from(body.to_string()));
        let (request, response, connection) = self.begin(Method::POST, path, body).await?;
        let status = response.status();
        if status == StatusCode::SWITCHING_PROTOCOLS {
            let upgraded = hyper::upgrade::on(response).await;
            return upgraded.map(TokioIo::new).map_err(|source| Failure::Exchanging { request, source });
        }
        let body = Limited::new(response.into_body(), LONGEST_ANSWER).collect().await;
        connection.abort();
        let body = body.map_err(|source| Failure::Receiving { request, source })?.to_bytes();
        Err(refusal(status, &body))
    }

    /// Asks for work that takes the daemon as long as it takes (images deleted, packs rewritten).
    pub(crate) async fn post_patiently(&self, path: &str, body: &Value) -> Result<Answer, Failure> {
        self.exchange(Method::POST, path, Full::new(Bytes::from(body.to_string()))).await
    }

    async fn within(
        &self,
        seconds: u64,
        request: &str,
        exchange: impl Future<Output = Result<Answer, Failure>>,
    ) -> Result<Answer, Failure> {
        let silent = |_| Failure::Silent { request: request.to_owned(), seconds };
        tokio::time::timeout(Duration::from_secs(seconds), exchange).await.map_err(silent)?
    }

    async fn exchange<B>(&self, method: Method, path: &str, body: B) -> Result<Answer, Failure>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (request, response, connection) = self.begin(method, path, body).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LONGEST_ANSWER).collect().await;
        connection.abort();
        let body = body.map_err(|source| Failure::Receiving { request: request.clone(), source })?.to_bytes();
        if status.is_success() { Ok(Answer { request, body }) } else { Err(refusal(status, &body)) }
    }

    /// Sends a request; the head of the answer, and the connection that its body comes by.
    async fn begin<B>(
        &self,
        method: Method,
        path: &str,
        body: B,
    ) -> Result<(String, Response<Incoming>, JoinHandle<hyper::Result<()>>), Failure>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let request = format!("{method} {path}");
        let broke = |source| Failure::Exchanging { request: request.clone(), source };
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|source| Failure::Connecting { socket: self.socket.clone(), source })?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(LastWords(stream))).await.map_err(broke)?;
        // What goes wrong on the connection is told to the request that waits on it.
        let connection = tokio::spawn(connection.with_upgrades());
        let wants = path.ends_with("/console");
        let message = Request::builder()
            .method(method)
            .uri(path)
            // HTTP/1.1 demands one; a socket has no host name.
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, content_type(path));
        let message = if wants {
            message.header(header::CONNECTION, "upgrade").header(header::UPGRADE, "rackwright-console")
        } else {
            message
        };
        let message = message
            .body(body)
            .map_err(|source| Failure::Receiving { request: request.clone(), source: source.into() })?;
        let response = sender.send_request(message).await.map_err(broke)?;
        Ok((request, response, connection))
    }
}

fn content_type(path: &str) -> &'static str {
    if path == "/v1/images" { "application/octet-stream" } else { "application/json" }
}

/// The daemon's own words; the status where it found none.
fn refusal(status: StatusCode, body: &[u8]) -> Failure {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => Failure::Refused { error: problem.error, exit: problem.exit },
        Err(_) => {
            let exit = match status {
                StatusCode::NOT_FOUND => exit::NOT_FOUND,
                StatusCode::CONFLICT => exit::CONFLICT,
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => exit::PERMISSION,
                StatusCode::SERVICE_UNAVAILABLE => exit::UNREACHABLE,
                _ => exit::GENERAL,
            };
            Failure::Refused { error: format!("the rackwright daemon refused: {status}"), exit }
        }
    }
}

/// A word of a person as one segment of a path or one value of a query (RFC 3986 §3.3): it can't become two.
pub(crate) fn segment(word: &str) -> String {
    let mut text = String::with_capacity(word.len());
    for byte in word.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' | b':' | b'@' => {
                text.push(char::from(byte))
            }
            // A segment of nothing but dots would be a step up.
            b'.' if word.bytes().any(|b| b != b'.') => text.push('.'),
            byte => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stays_one_segment() {
        let table = [
            ("n1", "n1"),
            ("52:54:00:12:34:56", "52:54:00:12:34:56"),
            ("getty@tty1.service", "getty@tty1.service"),
            ("..", "%2E%2E"),
            (".", "%2E"),
            ("../plans/x", "..%2Fplans%2Fx"),
            ("n1?x=1#y", "n1%3Fx%3D1%23y"),
            ("a b\r\nc", "a%20b%0D%0Ac"),
            ("a&b=c%20", "a%26b%3Dc%2520"),
            ("教", "%E6%95%99"),
            ("", ""),
        ];
        for (word, expected) in table {
            assert_eq!(segment(word), expected);
        }
    }
}
