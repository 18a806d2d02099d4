//! Good agents, forged ones, slow ones and greedy ones, on loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use fleet::certificate::Stage;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use protocol::{Key, NodeId};
use rcgen::{KeyPair, PKCS_ED25519};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{AgentService, Caller, KNOWN_EACH, STRANGERS_EACH, serve};
use crate::ca::{Issued, Leaf, SiteCa, Start};
use crate::config::Site;
use crate::listen::stream::{Stream, json, ranged};
use crate::listen::tests::{bound, place};
use crate::listen::turns::Turns;
use crate::listen::{ListenerReport, ListenerState};

const WHERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Says who asked, and how much; `/data` is a file's second half, `/data/1` the same for a node that shares with others.
struct Echo(Arc<std::fs::File>, Arc<Turns>);

impl AgentService for Echo {
    fn body_limit(&self, path: &str) -> usize {
        if path == "/small" { 10 } else { super::BODY_LIMIT }
    }

    async fn call(&self, caller: &Caller, request: Request<Bytes>) -> Response<Stream> {
        if request.uri().path() == "/data" {
            return ranged(Arc::clone(&self.0), 1000, 3_000_000, request.headers(), super::IMAGE_BLOCK);
        }
        if let Some(node) = request.uri().path().strip_prefix("/data/") {
            let turn = self.1.of(NodeId([node.parse().unwrap(); 16]));
            let data = ranged(Arc::clone(&self.0), 1000, 3_000_000, request.headers(), super::IMAGE_BLOCK);
            return data.map(|data| data.in_turn(turn));
        }
        let who = caller.certificate.as_deref().unwrap_or("nobody");
        json(StatusCode::OK, format!("{who} {}", request.body().len()).into_bytes())
    }
}

/// A site with its listener.
struct Lab {
    ca: Arc<SiteCa>,
    address: SocketAddr,
    state: Arc<ListenerState>,
    turns: Arc<Turns>,
    stopper: watch::Sender<bool>,
    _directory: tempfile::TempDir,
}

/// A key and the certificates shown with it.
type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn new_ca() -> (SiteCa, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::parse("lab").unwrap();
    (SiteCa::open(directory.path(), &site, Start::First, SystemTime::now()).unwrap(), directory)
}

fn bytes() -> Vec<u8> {
    (0..4_000_000u32).map(|i| u8::try_from(i % 251).unwrap()).collect()
}

impl Lab {
    async fn start() -> Self {
        let (ca, directory) = new_ca();
        let ca = Arc::new(ca);
        let tls = Arc::new(crate::tls::Door::new(Arc::clone(&ca), vec![WHERE.into()]).unwrap());
        let state = ListenerState::new("https", "lo");
        let (stopper, stop) = watch::channel(false);
        std::fs::write(directory.path().join("data"), bytes()).unwrap();
        let data = std::fs::File::open(directory.path().join("data")).unwrap();
        let turns = Turns::new();
        let service = Arc::new(Echo(Arc::new(data), Arc::clone(&turns)));
        tokio::spawn(serve(place("lo", WHERE), 0, tls, service, Arc::clone(&state), stop));
        let address = bound(&state).await;
        Self { ca, address, state, turns, stopper, _directory: directory }
    }

    async fn connect(&self, identity: Option<Identity>) -> std::io::Result<TlsStream<TcpStream>> {
        self.connect_from(WHERE, identity).await
    }

    async fn connect_from(
        &self,
        from: Ipv4Addr,
        identity: Option<Identity>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.certificate().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            None => config.with_no_client_auth(),
            // Not `with_client_auth_cert`: it would refuse a key that does not fit, and we want to see it refused.
            Some((chain, key)) => {
                let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
                let single = SingleCertAndKey::from(CertifiedKey::new(chain, key));
                config.with_client_cert_resolver(Arc::new(single))
            }
        };
        let socket = TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        let stream = socket.connect(self.address).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::IpAddress(WHERE.into()), stream).await
    }

    async fn ask(
        &self,
        identity: Option<Identity>,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), String> {
        let stream = self.connect(identity).await.map_err(|e| e.to_string())?;
        exchange(stream, request).await
    }

    async fn until(&self, such: impl Fn(&ListenerReport) -> bool) {
        while !such(&self.state.report()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn node(&self, not_before: SystemTime, not_after: SystemTime) -> (Identity, Issued) {
        node(&self.ca, not_before, not_after)
    }
}

async fn exchange(
    stream: TlsStream<TcpStream>,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), String> {
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(|e| e.to_string())?;
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|e| format!("{e:?}"))?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(|e| e.to_string())?.to_bytes();
    connection.abort();
    Ok((status, body))
}

fn node(ca: &SiteCa, not_before: SystemTime, not_after: SystemTime) -> (Identity, Issued) {
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let public = Key(key.public_key_raw().try_into().unwrap());
    let node = NodeId([1; 16]);
    let issued = ca
        .issue(&Leaf { key: public, node, stage: Stage::Run, generation: 1, not_before, not_after })
        .unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let chain = CertificateDer::pem_slice_iter(issued.chain_pem.as_bytes()).map(Result::unwrap).collect();
    ((chain, key), issued)
}

fn around_now() -> (SystemTime, SystemTime) {
    let hour = Duration::from_secs(3600);
    (SystemTime::now() - hour, SystemTime::now() + hour)
}

fn post(path: &str, body: Vec<u8>) -> Request<Full<Bytes>> {
    Request::post(path).header("host", "controller").body(Full::from(body)).unwrap()
}

#[tokio::test]
async fn who_asks_is_taken_from_the_certificate() {
    let lab = Lab::start().await;
    let (status, body) = lab.ask(None, post("/x", vec![7; 20])).await.unwrap();
    assert_eq!((status, &body[..]), (StatusCode::OK, &b"nobody 20"[..]));
    let (from, until) = around_now();
    let (identity, issued) = lab.node(from, until);
    let (_, body) = lab.ask(Some(identity), post("/x", vec![])).await.unwrap();
    assert_eq!(body, format!("{} 0", issued.fingerprint));
}

/// An agent can't tell a handshake that was refused from a broken line: that its time is over it must be told.
#[tokio::test]
async fn a_certificate_out_of_date_is_handed_up_for_an_answer_in_words() {
    let lab = Lab::start().await;
    let (hour, (from, until)) = (Duration::from_secs(3600), around_now());
    for (from, until) in [(UNIX_EPOCH, from), (until, until + hour)] {
        let (identity, issued) = lab.node(from, until);
        let (status, body) = lab.ask(Some(identity), post("/x", vec![])).await.unwrap();
        assert_eq!((status, &body[..]), (StatusCode::OK, format!("{} 0", issued.fingerprint).as_bytes()));
    }
    assert_eq!(lab.state.report().refused, 0);
}

/// S-04: what is not a certificate of this site for a client gets no answer at all, in date or not.
#[tokio::test]
async fn certificates_that_are_not_ours_are_refused_in_the_handshake() {
    let lab = Lab::start().await;
    let (from, until) = around_now();
    let (foreign_ca, _directory) = new_ca();
    let own = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let self_signed = rcgen::CertificateParams::default().self_signed(&own).unwrap().der().clone();
    let own = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.serialize_der()));
    let server = lab.ca.server(&[WHERE.into()], SystemTime::now()).unwrap();
    let (stolen, _) = lab.node(from, until);
    let borrowed = (stolen.0, lab.node(from, until).0.1);
    let table = [
        ("self-signed", (vec![self_signed], own), "not issued by this site's CA"),
        ("of another site", node(&foreign_ca, from, until).0, "not issued by this site's CA"),
        ("of another site, and old", node(&foreign_ca, UNIX_EPOCH, from).0, "not issued by this site's CA"),
        ("a server's", (server.chain, server.key), "not one for clients"),
        ("another's, without its key", borrowed, "its key is another's"),
    ];
    for (name, identity, why) in table {
        let before = lab.state.report().refused;
        let answer = lab.ask(Some(identity), post("/x", vec![])).await;
        assert!(answer.is_err(), "{name}: {answer:?}");
        lab.until(|r| r.refused > before).await;
        let last = lab.state.report().last.unwrap().what;
        assert!(last.contains(why) && last.contains("127.0.0.1"), "{name}: {last}");
    }
    assert_eq!(lab.state.report().received, 0, "none of them got as far as a request");
    assert!(lab.ask(None, post("/x", vec![])).await.is_ok());
}

#[tokio::test]
async fn older_tls_and_what_is_not_tls_are_refused_with_a_reason() {
    let lab = Lab::start().await;
    let url = format!("https://{}/x", lab.address);
    for (options, why) in [(&["--tls-max", "1.2"][..], "TLS 1.3"), (&["--tls-max", "1.3"], "")] {
        let done = tokio::task::spawn_blocking({
            let (url, options) = (url.clone(), options);
            move || {
                std::process::Command::new("curl").args(["-sSk", "-d", ""]).args(options).arg(url).output()
            }
        });
        let done = done.await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.success(), why.is_empty(), "{options:?}: {said}");
        assert!(lab.state.report().last.is_some_and(|l| l.what.contains(why)), "{:?}", lab.state.report());
    }
    let mut plain = TcpStream::connect(lab.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let _ = plain.read_to_end(&mut Vec::new()).await;
    lab.until(|r| r.last.as_ref().is_some_and(|l| l.what.contains("does not speak TLS ("))).await;
}

#[tokio::test]
async fn slow_strangers_stop_neither_other_addresses_nor_known_agents() {
    let lab = Lab::start().await;
    let mut slow = Vec::new();
    for number in 0..STRANGERS_EACH {
        if number % 2 == 0 {
            slow.push(
                Box::new(TcpStream::connect(lab.address).await.unwrap()) as Box<dyn std::any::Any + Send>
            );
        } else {
            let mut stream = lab.connect(None).await.unwrap();
            stream.write_all(b"POST /x HTTP/1.1\r\nHost: contr").await.unwrap();
            slow.push(Box::new(stream));
        }
    }
    assert!(lab.connect(None).await.is_err(), "one too many from one address");
    lab.until(|r| r.dropped == 1).await;
    let other = lab.connect_from(Ipv4Addr::new(127, 0, 0, 2), None).await.unwrap();
    assert_eq!(exchange(other, post("/x", vec![])).await.unwrap().0, StatusCode::OK);

    // Known agents count against their certificate, not their address.
    drop(slow);
    let (from, until) = around_now();
    let (identity, _) = lab.node(from, until);
    let mut known = Vec::new();
    while known.len() < KNOWN_EACH {
        let again = (identity.0.clone(), identity.1.clone_key());
        if let Ok(stream) = lab.connect(Some(again)).await {
            known.push(stream);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    assert!(lab.ask(None, post("/x", vec![])).await.is_ok(), "a stranger still comes in");
    let dropped = lab.state.report().dropped;
    let one_more = lab.ask(Some((identity.0.clone(), identity.1.clone_key())), post("/x", vec![])).await;
    assert!(one_more.is_err() && lab.state.report().dropped == dropped + 1, "{one_more:?}");
}

#[tokio::test]
async fn bodies_that_are_too_large_are_refused_before_they_are_read() {
    let lab = Lab::start().await;
    for (path, length, status) in [
        ("/small", 10, StatusCode::OK),
        ("/small", 11, StatusCode::PAYLOAD_TOO_LARGE),
        ("/x", super::BODY_LIMIT, StatusCode::OK),
        ("/x", super::BODY_LIMIT + 1, StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let mut stream = lab.connect(None).await.unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        if status == StatusCode::OK {
            stream.write_all(&vec![0; length]).await.unwrap();
        }
        assert_eq!(status_of(&mut stream).await, status.as_u16(), "{path} {length}");
    }
    let mut huge = lab.connect(None).await.unwrap();
    huge.write_all(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 10737418240\r\n\r\n").await.unwrap();
    assert_eq!(status_of(&mut huge).await, 413);
    let mut chunked = lab.connect(None).await.unwrap();
    chunked
        .write_all(
            b"POST /small HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n12345678901\r\n",
        )
        .await
        .unwrap();
    assert_eq!(status_of(&mut chunked).await, 413);
    let said = lab.state.report().last.unwrap().what;
    assert!(said.contains("/small") && said.contains("10 bytes"), "{said}");
}

async fn status_of(stream: &mut TlsStream<TcpStream>) -> u16 {
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    String::from_utf8_lossy(&head[9..]).parse().unwrap()
}

#[tokio::test]
async fn a_range_of_an_image_is_streamed() {
    let lab = Lab::start().await;
    let get = |range: &str| {
        Request::get("/data").header("host", "x").header("range", range).body(Full::default()).unwrap()
    };
    let (status, body) = lab.ask(None, get("bytes=500-2999999")).await.unwrap();
    assert!(
        status == StatusCode::PARTIAL_CONTENT && body[..] == bytes()[1500..3_001_000],
        "{status} {}",
        body.len()
    );
    let (status, _) = lab.ask(None, get("bytes=3000000-")).await.unwrap();
    assert_eq!(status, StatusCode::RANGE_NOT_SATISFIABLE);
}

/// Fetches the data of a node again and again, and counts what comes.
async fn fetch(lab: &Lab, node: u8, came: &AtomicUsize) {
    loop {
        let stream = lab.connect(None).await.unwrap();
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.unwrap();
        let request =
            Request::get(format!("/data/{node}")).header("host", "x").body(Full::<Bytes>::default());
        let both = async {
            let mut body = sender.send_request(request.unwrap()).await.unwrap().into_body();
            let mut whole = Vec::new();
            while let Some(frame) = body.frame().await {
                let bytes = frame.unwrap().into_data().unwrap();
                came.fetch_add(bytes.len(), Ordering::Relaxed);
                whole.extend_from_slice(&bytes);
            }
            assert!(whole == bytes()[1000..3_001_000], "not what the file has");
        };
        tokio::select! {
            _ended = connection => {}
            () = both => {}
        }
    }
}

#[tokio::test]
async fn nodes_share_a_cap_evenly_however_many_connections_each_has() {
    let lab = Lab::start().await;
    lab.turns.limit(Some(8_000_000));
    let came = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let total = || came.iter().map(|one| one.load(Ordering::Relaxed)).sum::<usize>();
    let enough = async {
        while total() < 10_000_000 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let wide = || fetch(&lab, 2, &came[1]);
    tokio::select! {
        () = enough => {}
        () = fetch(&lab, 1, &came[0]) => {}
        _ = futures_util::future::join3(wide(), wide(), wide()) => {}
    }
    let [one, three] = came.map(AtomicUsize::into_inner);
    // Each has up to a block on its way, and a handshake between two answers.
    assert!(one.abs_diff(three) < (one + three) / 10, "{one} with one connection, {three} with three");
    let given = usize::try_from(lab.turns.given()).unwrap();
    assert!(given >= one + three && given < one + three + 1_000_000, "{given} for {one} and {three}");
}

#[tokio::test]
async fn a_stop_ends_idle_connections_and_the_port_is_closed() {
    let lab = Lab::start().await;
    let mut idle = lab.connect(None).await.unwrap();
    idle.write_all(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    assert_eq!(status_of(&mut idle).await, 200);
    lab.stopper.send(true).unwrap();
    let _ = idle.read_to_end(&mut Vec::new()).await;
    while TcpStream::connect(lab.address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
