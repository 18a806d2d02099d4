//! A server as the controller meets it: keys, hardware, and HTTPS calls with whatever certificate it has.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use appliance::ca::SiteCa;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use pack::Digest;
use protocol::{
    Adoption, BootFacts, Disk, DiskBus, Hello, HelloReply, Inventory, Key, Nic, Refusal, Signature, TaskAsk,
};
use ring::signature::{Ed25519KeyPair, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::controller::Controller;

/// An Ed25519 key pair.
pub(crate) struct Keys {
    pkcs8: Vec<u8>,
    pair: Ed25519KeyPair,
}

impl Keys {
    pub(crate) fn new() -> Self {
        let random = ring::rand::SystemRandom::new();
        Self::of(Ed25519KeyPair::generate_pkcs8(&random).unwrap().as_ref().to_vec())
    }

    fn of(pkcs8: Vec<u8>) -> Self {
        let pair = Ed25519KeyPair::from_pkcs8(&pkcs8).unwrap();
        Self { pkcs8, pair }
    }

    pub(crate) fn public(&self) -> Key {
        Key(self.pair.public_key().as_ref().try_into().unwrap())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.pair.sign(message).as_ref().try_into().unwrap())
    }
}

/// What was refused: the status, and the agents' own words for it.
pub(crate) type Refused = (u16, Refusal);

pub(crate) struct Agent {
    address: SocketAddr,
    trusts: CertificateDer<'static>,
    pub(crate) keys: Keys,
    pub(crate) certificate: Option<Vec<CertificateDer<'static>>>,
    pub(crate) boot: BootFacts,
    pub(crate) inventory: Inventory,
    pub(crate) adoption: Option<Adoption>,
}

impl Agent {
    /// The `number`th server, with one NIC, one disk, and a key made in this boot.
    pub(crate) fn new(controller: &Controller, number: u8) -> Self {
        let mac = mac(number);
        let nic = Nic {
            name: "eth0".to_owned(),
            mac: mac.clone(),
            speed_mbps: Some(1000),
            carrier: true,
            driver: "virtio_net".to_owned(),
        };
        let inventory = Inventory {
            nics: vec![nic],
            disks: vec![disk(&format!("SYS{number}"))],
            firmware: "bios".to_owned(),
            ..Inventory::default()
        };
        let address = Ipv4Addr::new(10, 77, 0, 100 + number);
        Self {
            address: controller.agents,
            trusts: controller.ca.certificate(),
            keys: Keys::new(),
            certificate: None,
            boot: BootFacts {
                mac,
                address,
                path: "bios-pxe".to_owned(),
                uptime_seconds: 4,
                boot_id: String::new(),
            },
            inventory,
            adoption: None,
        }
    }

    /// The same server, talking to a controller that was started again.
    pub(crate) fn finds(&mut self, controller: &Controller) {
        self.address = controller.agents;
    }

    /// The same server, with its controller at another address.
    pub(crate) fn moves_to(&mut self, address: SocketAddr) {
        self.address = address;
    }

    /// From now on only a controller with this CA is one.
    pub(crate) fn trusts(&mut self, ca: CertificateDer<'static>) {
        self.trusts = ca;
    }

    /// Takes a certificate in, as PEM.
    pub(crate) fn holds(&mut self, pem: &str) {
        let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>();
        self.certificate = Some(chain.unwrap());
    }

    /// How its certificate is called.
    pub(crate) fn fingerprint(&self) -> String {
        appliance::ca::fingerprint(&self.certificate.as_ref().unwrap()[0])
    }

    /// Takes a certificate of that CA that nobody recorded.
    pub(crate) fn forges(&mut self, ca: &SiteCa, stage: fleet::certificate::Stage) {
        let hour = std::time::Duration::from_secs(3600);
        let now = std::time::SystemTime::now();
        let leaf = appliance::ca::Leaf {
            key: self.keys.public(),
            node: protocol::NodeId([1; 16]),
            stage,
            generation: 1,
            not_before: now - hour,
            not_after: now + hour,
        };
        self.holds(&ca.issue(&leaf).unwrap().chain_pem);
    }

    /// Takes a certificate that no CA signed, with a key of its own.
    pub(crate) fn signs_itself(&mut self) {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let parameters = rcgen::CertificateParams::new(["node".to_owned()]).unwrap();
        self.certificate = Some(vec![parameters.self_signed(&pair).unwrap().der().clone()]);
        self.keys = Keys::of(pair.serialize_der());
    }

    pub(crate) fn hello(&self, proof: Option<Signature>) -> Hello {
        let hello = Hello::new(self.keys.public(), self.boot.clone(), self.inventory.clone());
        Hello { proof, adoption: self.adoption.clone(), ..hello }
    }

    /// Says hello with the proof that an earlier answer asks for.
    pub(crate) async fn prove(&self, controller: &Controller, first: &HelloReply) -> HelloReply {
        let key = self.keys.public();
        let message = protocol::hello_proof(&controller.ca.pin(), &first.node, &key, &first.nonce);
        let hello = self.hello(Some(self.keys.sign(&message)));
        self.ask(protocol::routes::HELLO, &hello).await.unwrap()
    }

    pub(crate) fn task_ask(&self) -> TaskAsk {
        TaskAsk { inventory: self.inventory.clone(), wait_seconds: 0, reach: None }
    }

    /// Calls a route; the answer, or the refusal in the agents' own words.
    pub(crate) async fn ask<A: Serialize, R: DeserializeOwned>(
        &self,
        route: &str,
        ask: &A,
    ) -> Result<R, Refused> {
        let (status, body) = self.post(route, serde_json::to_vec(ask).unwrap()).await.unwrap();
        match status {
            200 => Ok(serde_json::from_slice(&body).unwrap()),
            _ => Err((status, serde_json::from_slice(&body).unwrap())),
        }
    }

    /// Status and body of a POST; an error when the connection does not come about.
    pub(crate) async fn post(&self, route: &str, body: Vec<u8>) -> Result<(u16, Bytes), String> {
        self.exchange(Request::post(route).header("host", "controller").body(Full::from(body)).unwrap()).await
    }

    /// Announces a body of so many bytes and sends none of it; what is answered to that.
    pub(crate) async fn announce(&self, route: &str, bytes: u64) -> String {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::IpAddress(self.address.ip().into());
        let mut stream = TlsConnector::from(Arc::new(self.tls())).connect(name, stream).await.unwrap();
        let head = format!(
            "POST {route} HTTP/1.1\r\nhost: controller\r\ncontent-length: {bytes}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // It ends without a farewell: the rest of the request was not read.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    /// Status and body of a GET.
    pub(crate) async fn get(&self, route: &str) -> Result<(u16, Bytes), String> {
        let bare = Full::from(Bytes::new());
        self.exchange(Request::get(route).header("host", "controller").body(bare).unwrap()).await
    }

    /// TLS on a connection that is there already.
    pub(crate) async fn shakes_hands(
        &self,
        stream: TcpStream,
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let name = ServerName::IpAddress(self.address.ip().into());
        TlsConnector::from(Arc::new(self.tls())).connect(name, stream).await
    }

    /// Sends a beginning, and then the same again and again until the other end has enough; what it answered, and how many
    /// bytes it was sent.
    pub(crate) async fn pours(&self, begins: &[u8], again: &[u8]) -> (String, usize) {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let stream = self.shakes_hands(stream).await.unwrap();
        let (mut read, mut write) = tokio::io::split(stream);
        let block = again.repeat(4096 / again.len() + 1);
        let begins = begins.to_vec();
        let sending = tokio::spawn(async move {
            let mut sent = 0;
            let mut next = write.write_all(&begins).await;
            while next.is_ok() && sent < 1 << 30 {
                next = write.write_all(&block).await;
                sent += block.len();
            }
            sent
        });
        let mut answer = Vec::new();
        let _ = read.read_to_end(&mut answer).await;
        drop(read);
        (String::from_utf8_lossy(&answer).into_owned(), sending.await.unwrap())
    }

    /// A connection for many requests.
    pub(crate) async fn line(&self) -> Result<Line, String> {
        let stream = TcpStream::connect(self.address).await.map_err(|e| e.to_string())?;
        let name = ServerName::IpAddress(self.address.ip().into());
        let connector = TlsConnector::from(Arc::new(self.tls()));
        let stream = connector.connect(name, stream).await.map_err(|e| e.to_string())?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
        let (sender, connection) = handshake.await.map_err(|e| e.to_string())?;
        Ok(Line { sender, connection: tokio::spawn(connection).abort_handle() })
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(u16, Bytes), String> {
        self.line().await?.exchange(request).await
    }

    fn tls(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.trusts.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let Some(chain) = self.certificate.clone() else { return config.with_no_client_auth() };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.keys.pkcs8.clone()));
        let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
        config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key))))
    }
}

/// A connection that stays.
pub(crate) struct Line {
    sender: hyper::client::conn::http1::SendRequest<Full<Bytes>>,
    connection: tokio::task::AbortHandle,
}

impl Line {
    /// Status and body of a request; an error when the connection is of no use any more.
    pub(crate) async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<(u16, Bytes), String> {
        self.sender.ready().await.map_err(|e| format!("{e:?}"))?;
        let response = self.sender.send_request(request).await.map_err(|e| format!("{e:?}"))?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map_err(|e| e.to_string())?.to_bytes();
        Ok((status, body))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// The hardware address of the `number`th server.
pub(crate) fn mac(number: u8) -> protocol::HardwareAddress {
    format!("52:54:00:77:00:{number:02x}").parse().unwrap()
}

/// An empty disk of 8 GiB.
pub(crate) fn disk(serial: &str) -> Disk {
    Disk {
        name: "vda".to_owned(),
        model: "QEMU".to_owned(),
        serial: serial.to_owned(),
        bytes: 8 << 30,
        sector_bytes: 512,
        bus: DiskBus::Virtio,
        content: Some(Digest::of(serial.as_bytes())),
        ..Disk::default()
    }
}
