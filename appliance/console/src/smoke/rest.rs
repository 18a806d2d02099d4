//! Requests to the services of a cloud: HTTP/1.1 over TCP, one on each connection.
//!
//! Bounds the time and the size of every answer; knows nothing of what is asked.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::fault::Fault;
use crate::text::clean_value;

/// Bytes of an answer: the longest are lists, and what a test reads back.
const LONGEST: usize = 4 << 20;
const CONNECT_SECONDS: u64 = 10;
/// A service that has just started takes a minute for its first answer where processors are emulated.
const ANSWER_SECONDS: u64 = 180;

/// What is asked.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) url: &'a str,
    pub(super) token: Option<&'a str>,
    pub(super) content: &'static str,
    pub(super) body: Bytes,
}

/// What was answered, whatever the status.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    /// Keystone's new token.
    pub(super) token: Option<String>,
    pub(super) body: Bytes,
}

impl Reply {
    /// The reply, where the status is a success.
    pub(super) fn succeeded(self, what: &str) -> Result<Reply, Fault> {
        if self.status.is_success() {
            return Ok(self);
        }
        Err(Fault::refused(what, self.status.as_u16(), &self.body))
    }

    /// The body as JSON with every text cleaned; nothing where it is empty.
    pub(super) fn json(&self, what: &str) -> Result<Value, Fault> {
        self.value(what).map(clean_value)
    }

    /// The body as JSON, as it came: whoever shows anything of it cleans that.
    pub(super) fn value(&self, what: &str) -> Result<Value, Fault> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        let misread =
            |error: serde_json::Error| Fault::new(format!("the answer to {what} is no JSON: {error}"));
        serde_json::from_slice(&self.body).map_err(misread)
    }
}

/// Asks and waits for the whole answer.
pub(super) async fn send(call: Call<'_>) -> Result<Reply, Fault> {
    let what = format!("{} {}", call.method, call.url);
    let late = |_| Fault::new(format!("{what} was not answered within {ANSWER_SECONDS} s"));
    timeout(Duration::from_secs(ANSWER_SECONDS), exchange(call, &what)).await.map_err(late)?
}

async fn exchange(call: Call<'_>, what: &str) -> Result<Reply, Fault> {
    let broke = |error: &dyn std::error::Error| Fault::new(format!("{what}: {error}"));
    let (host, port, path) = place(call.url)?;
    let stream = connect(&host, port).await?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| broke(&error))?;
    // What goes wrong on the connection is told to the request that waits on it.
    let connection = tokio::spawn(connection);
    let mut request = Request::builder()
        .method(call.method)
        .uri(path)
        .header(header::HOST, format!("{host}:{port}"))
        .header(header::ACCEPT, "application/json")
        .header(header::CONTENT_TYPE, call.content);
    if let Some(token) = call.token {
        request = request.header("x-auth-token", token);
    }
    let request = request.body(Full::new(call.body)).map_err(|error| broke(&error))?;
    let response = sender.send_request(request).await.map_err(|error| broke(&error))?;
    let status = response.status();
    let token = response.headers().get("x-subject-token");
    let token = token.and_then(|token| token.to_str().ok()).map(str::to_owned);
    let body = Limited::new(response.into_body(), LONGEST).collect().await;
    connection.abort();
    let too_long = |error| Fault::new(format!("the answer to {what} broke off or is too long: {error}"));
    Ok(Reply { status, token, body: body.map_err(too_long)?.to_bytes() })
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, Fault> {
    let connected = timeout(Duration::from_secs(CONNECT_SECONDS), TcpStream::connect((host, port))).await;
    match connected {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(Fault::new(format!("{host} port {port} can't be reached: {error}"))),
        Err(_) => Err(Fault::new(format!(
            "{host} port {port} can't be reached: nothing within {CONNECT_SECONDS} s"
        ))),
    }
}

/// Host, port and path of a URL of the catalog.
fn place(url: &str) -> Result<(String, u16, String), Fault> {
    let strange = || Fault::new(format!("{url:?} is no URL that this program can ask (http://HOST:PORT/…)"));
    let uri = url.parse::<Uri>().map_err(|_| strange())?;
    let host = uri.host().filter(|_| uri.scheme_str() == Some("http")).ok_or_else(strange)?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let host = host.trim_matches(['[', ']']);
    Ok((host.to_owned(), uri.port_u16().unwrap_or(80), path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_a_catalog() {
        let is = |url: &str| place(url).unwrap();
        let (host, port, path) = is("http://10.77.0.10:8774/v2.1/servers?a=b");
        assert_eq!((host.as_str(), port, path.as_str()), ("10.77.0.10", 8774, "/v2.1/servers?a=b"));
        assert_eq!(is("http://control"), ("control".to_owned(), 80, "/".to_owned()));
        assert_eq!(is("http://[fd00::1]:5000/v3").0, "fd00::1");
        for url in ["", "https://10.0.0.1/", "/v3", "http://", "file:///etc/passwd", "http://a b/", "\u{1b}"]
        {
            let why = place(url).unwrap_err().why;
            assert!(why.contains("is no URL") && !why.contains('\u{1b}'), "{why}");
        }
    }
}
