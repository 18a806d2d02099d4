//! What stands before `sushy-tools`: TLS, a session service, which it has not, and every fault that a controller has shown.
//! Without a fault, every answer about a system is the emulator's own.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::emulators::{PASSWORD, USER};

/// What is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    Nothing,
    /// It takes requests and never answers.
    Hangs,
    /// It answers everything so.
    Says(u16),
    /// It answers actions so, and everything else well.
    SaysToActions(u16),
    /// Its power is always this.
    Lies(&'static str),
    /// Every second request ends in a broken connection.
    DropsEverySecond,
    /// It sends everybody there.
    Redirects(String),
    /// Its systems are elsewhere.
    LinksTo(&'static str),
    /// It answers with so many bytes.
    Floods(usize),
    /// It wants to hear the ETag that it gave.
    WantsEtag,
}

/// What came in.
#[derive(Clone, Debug)]
pub(super) struct Came {
    pub(super) method: Method,
    pub(super) path: String,
    /// How it showed who it is: `session`, `basic`, or not at all.
    pub(super) pass: &'static str,
}

struct Inner {
    sushy: u16,
    trouble: Mutex<Trouble>,
    came: Mutex<Vec<Came>>,
    /// How many sessions it has, when it has any; and how many are open.
    slots: Mutex<Option<(usize, usize)>>,
    tls: Mutex<Arc<ServerConfig>>,
}

/// The front.
pub(super) struct Front {
    inner: Arc<Inner>,
    pub(super) address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn certificate() -> Arc<ServerConfig> {
    let made = rcgen::generate_simple_self_signed(["bmc".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    // As old as those in use.
    let config =
        ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS12]);
    Arc::new(
        config.unwrap().with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap(),
    )
}

impl Front {
    pub(super) async fn before(sushy: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Inner {
            sushy,
            trouble: Mutex::new(Trouble::Nothing),
            came: Mutex::default(),
            slots: Mutex::default(),
            tls: Mutex::new(certificate()),
        });
        let task = tokio::spawn(listen(listener, Arc::clone(&inner)));
        Self { inner, address, task }
    }

    pub(super) fn has(&self, trouble: Trouble) {
        *self.inner.trouble.lock().unwrap() = trouble;
        self.inner.came.lock().unwrap().clear();
    }

    /// From now on it has so many sessions, of which so many are taken.
    pub(super) fn sessions(&self, all: usize, taken: usize) {
        *self.inner.slots.lock().unwrap() = Some((all, taken));
    }

    pub(super) fn open_sessions(&self) -> usize {
        self.inner.slots.lock().unwrap().map_or(0, |(_, open)| open)
    }

    /// Another board, or somebody in between.
    pub(super) fn changes_certificate(&self) {
        *self.inner.tls.lock().unwrap() = certificate();
        self.inner.came.lock().unwrap().clear();
    }

    pub(super) fn came(&self) -> Vec<Came> {
        self.inner.came.lock().unwrap().clone()
    }
}

async fn listen(listener: TcpListener, inner: Arc<Inner>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let inner = Arc::clone(&inner);
        tokio::spawn(async move {
            let tls = TlsAcceptor::from(Arc::clone(&inner.tls.lock().unwrap()));
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(move |request| answer(Arc::clone(&inner), request));
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

type Answered = Result<Response<Full<Bytes>>, std::io::Error>;

fn plain(status: u16, body: &Value) -> Answered {
    let response = Response::builder().status(status).header("content-type", "application/json");
    Ok(response.body(Full::from(body.to_string())).unwrap())
}

async fn answer(inner: Arc<Inner>, request: Request<Incoming>) -> Answered {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let path = head.uri.path().to_owned();
    let basic = head.headers.get("authorization").cloned();
    let pass = match (head.headers.contains_key("x-auth-token"), &basic) {
        (true, _) => "session",
        (false, Some(_)) => "basic",
        (false, None) => "",
    };
    let count = {
        let mut came = inner.came.lock().unwrap();
        came.push(Came { method: head.method.clone(), path: path.clone(), pass });
        came.len()
    };
    let trouble = inner.trouble.lock().unwrap().clone();
    match trouble {
        Trouble::Hangs => tokio::time::sleep(Duration::from_secs(600)).await,
        Trouble::Says(status) => return plain(status, &json!({"error": {"message": "no"}})),
        Trouble::SaysToActions(status) if path.contains("/Actions/") => return plain(status, &Value::Null),
        Trouble::DropsEverySecond if count % 2 == 0 => return Err(std::io::Error::other("dropped")),
        Trouble::Redirects(to) => {
            let moved = Response::builder().status(307).header("location", to);
            return Ok(moved.body(Full::default()).unwrap());
        }
        Trouble::Floods(bytes) => return Ok(Response::new(Full::from(vec![b' '; bytes]))),
        Trouble::WantsEtag if head.method == Method::PATCH && !head.headers.contains_key("if-match") => {
            return plain(428, &Value::Null);
        }
        Trouble::Nothing
        | Trouble::SaysToActions(_)
        | Trouble::Lies(_)
        | Trouble::DropsEverySecond
        | Trouble::LinksTo(_)
        | Trouble::WantsEtag => {}
    }
    if path.starts_with("/redfish/v1/SessionService/Sessions") {
        return session(&inner, &head.method, &body);
    }
    // A session is as good as what it was opened with.
    let basic = basic.or_else(|| {
        let words = data_encoding::BASE64.encode(format!("{USER}:{PASSWORD}").as_bytes());
        (pass == "session").then(|| format!("Basic {words}").parse().unwrap())
    });
    let (status, mut text) = forward(inner.sushy, &head.method, &path, basic, body).await?;
    if let Ok(mut value) = serde_json::from_slice::<Value>(&text) {
        bend(&inner, &path, &mut value);
        text = Bytes::from(value.to_string());
    }
    let response = Response::builder().status(status).header("etag", "W/\"7\"");
    Ok(response.body(Full::from(text)).unwrap())
}

/// What it says instead.
fn bend(inner: &Inner, path: &str, value: &mut Value) {
    let trouble = inner.trouble.lock().unwrap().clone();
    if let Trouble::Lies(power) = trouble
        && value.get("PowerState").is_some()
    {
        value["PowerState"] = json!(power);
    }
    if path == "/redfish/v1/" && inner.slots.lock().unwrap().is_some() {
        value["Links"] = json!({"Sessions": {"@odata.id": "/redfish/v1/SessionService/Sessions"}});
    }
    if let Trouble::LinksTo(place) = trouble
        && path == "/redfish/v1/"
    {
        value["Systems"] = json!({ "@odata.id": place });
    }
}

fn session(inner: &Inner, method: &Method, body: &[u8]) -> Answered {
    let mut slots = inner.slots.lock().unwrap();
    let (all, open) = slots.unwrap_or((0, 0));
    if method == Method::DELETE {
        *slots = Some((all, open - 1));
        return plain(204, &Value::Null);
    }
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    if said["UserName"] != USER || said["Password"] != PASSWORD {
        return plain(401, &Value::Null);
    }
    if open >= all {
        let message = json!([{"MessageId": "Base.1.8.SessionLimitExceeded"}]);
        return plain(400, &json!({"error": {"@Message.ExtendedInfo": message}}));
    }
    *slots = Some((all, open + 1));
    let place = "/redfish/v1/SessionService/Sessions/1";
    let response = Response::builder().status(201).header("x-auth-token", "t0k3n").header("location", place);
    Ok(response.body(Full::from(json!({"@odata.id": place}).to_string())).unwrap())
}

async fn forward(
    port: u16,
    method: &Method,
    path: &str,
    basic: Option<hyper::header::HeaderValue>,
    body: Bytes,
) -> Result<(u16, Bytes), std::io::Error> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
    let connection = tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
    request = request.header("content-type", "application/json");
    if let Some(basic) = basic {
        request = request.header("authorization", basic);
    }
    let request = request.body(Full::<Bytes>::from(body)).unwrap();
    let response = sender.send_request(request).await.map_err(std::io::Error::other)?;
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.map_err(std::io::Error::other)?.to_bytes();
    connection.abort();
    Ok((status, bytes))
}
