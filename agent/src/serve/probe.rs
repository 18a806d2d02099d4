//! One attempt at a service, as the document says: whether it answers.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1::handshake;
use hyper::header::HOST;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use protocol::CheckKind;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::chain::Chain;
use crate::tool;

/// The first answer of a web service comes when its program is loaded: that takes seconds on a busy machine.
const ANSWER: Duration = Duration::from_secs(20);
/// A program that only looks.
const COMMAND: Duration = Duration::from_secs(30);

/// Tries it once; `Err` says why it does not hold, for a person.
pub(super) async fn attempt(kind: &CheckKind) -> Result<(), String> {
    let slow = |_| format!("{}: no answer within {} s", target(kind), ANSWER.as_secs());
    match kind {
        CheckKind::Http { url } => timeout(ANSWER, http(url)).await.map_err(slow).flatten(),
        CheckKind::Tcp { address } => timeout(ANSWER, tcp(address)).await.map_err(slow).flatten(),
        CheckKind::Command { argv } => command(argv).await,
    }
}

fn target(kind: &CheckKind) -> String {
    match kind {
        CheckKind::Http { url } => url.clone(),
        CheckKind::Tcp { address } => address.clone(),
        CheckKind::Command { argv } => argv.join(" "),
    }
}

async fn tcp(address: &str) -> Result<(), String> {
    let address: SocketAddr = address.parse().map_err(|_| format!("{address} is no address with a port"))?;
    connect(address).await.map(drop)
}

async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    TcpStream::connect(address).await.map_err(|error| format!("{address}: {error}"))
}

async fn command(argv: &[String]) -> Result<(), String> {
    let Some((program, args)) = argv.split_first() else {
        return Err("its check names no program".to_owned());
    };
    let holds = tool::holds(program, args, COMMAND).await;
    holds.then_some(()).ok_or_else(|| format!("`{}` says no", argv.join(" ")))
}

async fn http(url: &str) -> Result<(), String> {
    let (address, host, path) = parts(url)?;
    let tcp = connect(address).await?;
    let told = |error: hyper::Error| format!("{url}: {}", Chain(&error));
    let (mut sender, driver) = handshake(TokioIo::new(tcp)).await.map_err(told)?;
    // It ends with the sender.
    tokio::spawn(driver);
    let request = Request::get(path).header(HOST, host).body(Empty::<Bytes>::new());
    let request = request.map_err(|error| format!("{url}: {error}"))?;
    let status = sender.send_request(request).await.map_err(told)?.status();
    if is_an_answer(status) { Ok(()) } else { Err(format!("{url}: HTTP {status}")) }
}

/// Whether a service that answers so is there: 401 only wants to know who asks.
fn is_an_answer(status: StatusCode) -> bool {
    (200..400).contains(&status.as_u16()) || status == StatusCode::UNAUTHORIZED
}

/// Where to connect, the host that is named, and the path.
fn parts(url: &str) -> Result<(SocketAddr, String, String), String> {
    let bad = || format!("{url:?} is no http://ADDRESS:PORT/PATH");
    let uri: Uri = url.parse().map_err(|_| bad())?;
    let host = uri.authority().map(ToString::to_string).ok_or_else(bad)?;
    let address = host.parse().map_err(|_| bad())?;
    if uri.scheme_str() != Some("http") {
        return Err(bad());
    }
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Ok((address, host, path.to_owned()))
}

#[cfg(test)]
mod tests {
    use protocol::CheckKind;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::attempt;

    async fn answering(reply: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut ask = [0; 1024];
                let read = client.read(&mut ask).await.unwrap_or_default();
                assert!(ask[..read].starts_with(b"GET /v3?x=1 HTTP/1.1\r\n"), "{:?}", &ask[..read]);
                let _ = client.write_all(reply.as_bytes()).await;
            }
        });
        address.to_string()
    }

    #[tokio::test]
    async fn a_web_service_is_there_when_it_answers_whatever_but_an_error() {
        for (status, holds) in [
            ("200 OK", true),
            ("204 No Content", true),
            ("300 Multiple Choices", true),
            ("302 Found", true),
            ("401 Unauthorized", true),
            ("403 Forbidden", false),
            ("404 Not Found", false),
            ("500 Internal Server Error", false),
            ("503 Service Unavailable", false),
        ] {
            let reply = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").leak();
            let address = answering(reply).await;
            let got = attempt(&CheckKind::Http { url: format!("http://{address}/v3?x=1") }).await;
            assert_eq!(got.is_ok(), holds, "{status}: {got:?}");
            assert!(got.is_ok() || got.unwrap_err().contains(&status[..3]), "{status}");
        }
        let address = answering("what?\r\n").await;
        let why = attempt(&CheckKind::Http { url: format!("http://{address}/v3?x=1") }).await.unwrap_err();
        assert!(why.contains(&address), "{why}");
    }

    #[tokio::test]
    async fn a_port_that_nobody_listens_at_and_what_is_no_target_are_said() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        assert_eq!(attempt(&CheckKind::Tcp { address: address.clone() }).await, Ok(()));
        drop(listener);
        for kind in [
            CheckKind::Tcp { address: address.clone() },
            CheckKind::Http { url: format!("http://{address}/") },
            CheckKind::Tcp { address: "n1:80".to_owned() },
            CheckKind::Tcp { address: String::new() },
            CheckKind::Http { url: format!("https://{address}/") },
            CheckKind::Http { url: "http://n1:80/".to_owned() },
            CheckKind::Http { url: "http://127.0.0.1/".to_owned() },
            CheckKind::Http { url: "\u{7f}".to_owned() },
            CheckKind::Command { argv: Vec::new() },
            CheckKind::Command { argv: vec!["/bin/false".to_owned()] },
            CheckKind::Command { argv: vec!["/nonexistent".to_owned()] },
        ] {
            let why = attempt(&kind).await.unwrap_err();
            assert!(!why.is_empty() && !why.contains('\u{7f}'), "{kind:?}: {why}");
        }
        assert_eq!(attempt(&CheckKind::Command { argv: vec!["/bin/true".to_owned()] }).await, Ok(()));
    }
}
