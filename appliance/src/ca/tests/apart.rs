//! A key of one kind is of no use as the other, in real handshakes: neither a node's or the controller's own, nor that of an
//! intermediate which somebody has got hold of.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, PKCS_ED25519, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::super::authority::Signer;
use super::super::{Leaf, ServerIdentity, SiteCa, Start};
use super::{leaf, now, open};

const WHERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

type Shown = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Whether a node that shows this, if anything, and a controller that shows that come to terms: a byte each way.
async fn agree(ca: &SiteCa, node: Option<Shown>, controller: Shown) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(ca.certificate()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let client = match node {
        None => client.with_no_client_auth(),
        Some((chain, key)) => {
            let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
            client.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key))))
        }
    };
    let identity = ServerIdentity { chain: controller.0, key: controller.1 };
    let server = crate::tls::server(ca, identity).unwrap();
    let (near, far) = tokio::io::duplex(64 << 10);
    let connecting = async {
        let mut stream =
            TlsConnector::from(Arc::new(client)).connect(ServerName::IpAddress(WHERE.into()), near).await?;
        stream.write_all(b"?").await?;
        stream.read_u8().await
    };
    let accepting = async {
        let mut stream = TlsAcceptor::from(server).accept(far).await?;
        let asked = stream.read_u8().await?;
        stream.write_all(b"!").await?;
        stream.flush().await.map(|()| asked)
    };
    let (answer, asked) = tokio::join!(connecting, accepting);
    answer.is_ok() && asked.is_ok()
}

/// A certificate for an address and for this use, made with the key of an intermediate, or of the root.
fn forged(by: &Signer, above: &[&Signer], purpose: ExtendedKeyUsagePurpose) -> Shown {
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let mut parameters = CertificateParams::default();
    parameters.subject_alt_names = vec![SanType::IpAddress(WHERE)];
    parameters.extended_key_usages = vec![purpose];
    let leaf = parameters.signed_by(&key, &by.issuer).unwrap().der().clone();
    let chain = [leaf].into_iter().chain(above.iter().map(|signer| signer.certificate.clone()));
    (chain.collect(), PrivatePkcs8KeyDer::from(key.serialize_der()).into())
}

fn nodes_own(ca: &SiteCa) -> Shown {
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let public = protocol::Key(key.public_key_raw().try_into().unwrap());
    let issued = ca.issue(&Leaf { key: public, ..leaf() }).unwrap();
    let chain = vec![issued.der, ca.trusted().wanted.nodes.certificate.clone(), ca.certificate()];
    (chain, PrivatePkcs8KeyDer::from(key.serialize_der()).into())
}

fn controllers_own(ca: &SiteCa) -> Shown {
    let identity = ca.server(&[WHERE], now()).unwrap();
    (identity.chain, identity.key)
}

#[tokio::test]
async fn a_leak_of_one_kind_does_not_cross() {
    let dir = tempfile::tempdir().unwrap();
    let ca = open(dir.path(), Start::First).unwrap();
    let trusted = ca.trusted();
    let authority = &trusted.wanted;
    let (root, nodes, servers) = (&authority.root, &authority.nodes, &authority.servers);
    let client = || ExtendedKeyUsagePurpose::ClientAuth;
    let server = || ExtendedKeyUsagePurpose::ServerAuth;
    let table = [
        ("as it should be", true, Some(nodes_own(&ca)), controllers_own(&ca)),
        ("a first hello", true, None, controllers_own(&ca)),
        ("a node's key as controller", false, None, nodes_own(&ca)),
        ("the controller's key as node", false, Some(controllers_own(&ca)), controllers_own(&ca)),
        ("made with the nodes' intermediate", false, None, forged(nodes, &[nodes, root], server())),
        (
            "made with the servers' intermediate",
            false,
            Some(forged(servers, &[servers, root], client())),
            controllers_own(&ca),
        ),
        // What is forged there is good for what that intermediate is for: so it is not the rest that is refused above.
        ("the servers' for a server", true, None, forged(servers, &[servers, root], server())),
        ("the nodes' for a node", true, Some(forged(nodes, &[nodes, root], client())), controllers_own(&ca)),
        // Of the time before there were intermediates.
        ("the root's own", true, Some(forged(root, &[root], client())), forged(root, &[root], server())),
    ];
    for (name, wanted, node, controller) in table {
        assert_eq!(agree(&ca, node, controller).await, wanted, "{name}");
    }
}

/// Its root allows no CA below it. Nobody minds but strict tools: a root is what is trusted, whatever it says of itself.
#[tokio::test]
async fn a_site_ca_of_the_time_before_intermediates_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, super::super::SUBJECT);
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    parameters.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
    let certificate = parameters.self_signed(&key).unwrap();
    let text = super::super::file::pem("PRIVATE KEY", key.serialized_der())
        + &super::super::file::pem("CERTIFICATE", certificate.der());
    super::super::file::replace(dir.path(), super::super::FILE, text.as_bytes()).unwrap();
    let ca = open(dir.path(), Start::Later).unwrap();
    assert_eq!(ca.pin(), protocol::CaPin(super::super::sha256(certificate.der())), "the pin stays");
    assert!(agree(&ca, Some(nodes_own(&ca)), controllers_own(&ca)).await);
    let trusted = ca.trusted();
    let root = &trusted.wanted.root;
    let old = forged(root, &[root], ExtendedKeyUsagePurpose::ClientAuth);
    assert!(agree(&ca, Some(old), controllers_own(&ca)).await, "a node's certificate of before");
    let again = open(dir.path(), Start::Later).unwrap();
    assert_eq!(again.trusted().wanted.nodes.certificate, ca.trusted().wanted.nodes.certificate, "made once");
    std::fs::remove_file(dir.path().join(super::super::authority::issuers_file(&ca.pin()))).unwrap();
    let lost = open(dir.path(), Start::Later).unwrap();
    assert!(
        agree(&lost, Some(nodes_own(&ca)), controllers_own(&lost)).await,
        "lost, and nobody is locked out"
    );
}
