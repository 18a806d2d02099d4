//! What the CA signs: the controller's own certificate, and nodes' client certificates.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fleet::certificate::Stage;
use protocol::{CaPin, Key, NodeId};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData, SanType, SerialNumber, SignatureAlgorithm,
};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::authority::Authority;
use super::{CaError, SERVER_SECONDS, Trusted};
use crate::config::Site;

/// 2020-01-01, in seconds since 1970: before any build of this program. The CA and the controller's certificates
/// begin there, so that an agent whose clock starts at its own build time can verify them; a beginning protects
/// nobody from anything here, and a controller whose clock was wrong once must not hand it down.
pub(super) const DAWN: u64 = 1_577_836_800;
/// 9999-12-31, the last second that a certificate can name.
pub(super) const DUSK: u64 = 253_402_300_799;

/// What a node's certificate is to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The node's raw Ed25519 public key: the only thing that comes from the node.
    pub key: Key,
    /// Whose it is.
    pub node: NodeId,
    /// What it allows.
    pub stage: Stage,
    /// The node's generation: a later one revokes it.
    pub generation: u64,
    /// When it begins.
    pub not_before: SystemTime,
    /// When it ends.
    pub not_after: SystemTime,
}

/// A certificate that was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// PEM, leaf first, then its intermediate, then the site CA.
    pub chain_pem: String,
    /// The leaf.
    pub der: CertificateDer<'static>,
    /// [`super::fingerprint`] of the leaf.
    pub fingerprint: String,
    /// The root above it.
    pub ca: CaPin,
}

/// What the controller shows to agents.
pub struct ServerIdentity {
    /// Leaf first, then its intermediate, then the site CA.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's key.
    pub key: PrivateKeyDer<'static>,
}

impl std::fmt::Debug for ServerIdentity {
    /// Never the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerIdentity").field("chain", &self.chain.len()).finish_non_exhaustive()
    }
}

/// A raw Ed25519 public key as rcgen wants to see it.
struct RawKey(Key);

impl PublicKeyData for RawKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

pub(super) fn client(site: &Site, authority: &Authority, leaf: &Leaf) -> Result<Issued, CaError> {
    let make = |source| CaError::Make { what: "a node's certificate", source };
    if leaf.not_after <= leaf.not_before {
        return Err(CaError::Window);
    }
    let mut parameters = parameters(&leaf.node.to_string())?;
    let identity =
        format!("spiffe://{}/node/{}/{}/{}", site.as_str(), leaf.node, leaf.stage, leaf.generation);
    parameters.subject_alt_names = vec![SanType::URI(identity.try_into().map_err(make)?)];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    live(&mut parameters, seconds(leaf.not_before), seconds(leaf.not_after));
    let certificate = parameters.signed_by(&RawKey(leaf.key), &authority.nodes.issuer).map_err(make)?;
    let der = certificate.der().clone();
    Ok(Issued {
        chain_pem: [&der, &authority.nodes.certificate, &authority.root.certificate]
            .map(|one| super::file::pem("CERTIFICATE", one))
            .concat(),
        fingerprint: super::fingerprint(&der),
        ca: authority.pin(),
        der,
    })
}

pub(super) fn server(
    trusted: &Trusted,
    addresses: &[IpAddr],
    now: SystemTime,
) -> Result<ServerIdentity, CaError> {
    let make = |source| CaError::Make { what: "the controller's certificate", source };
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(make)?;
    let mut parameters = parameters("Rackwright controller")?;
    parameters.subject_alt_names = addresses.iter().map(|&a| SanType::IpAddress(a)).collect();
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    live(&mut parameters, DAWN, seconds(now).max(DAWN) + SERVER_SECONDS);
    let leaf = parameters.signed_by(&key, &trusted.wanted.servers.issuer).map_err(make)?;
    let wanted = &trusted.wanted;
    let mut chain = vec![leaf.der().clone(), wanted.servers.certificate.clone()];
    // Who pins either root finds it in the chain, and a way to it.
    let other = trusted.other.as_ref();
    chain.extend(other.map(|other| wanted.crossed(&other.root, now)).transpose()?);
    chain.extend(trusted.both().map(|authority| authority.root.certificate.clone()));
    Ok(ServerIdentity { chain, key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())) })
}

fn parameters(name: &str) -> Result<CertificateParams, CaError> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.use_authority_key_identifier_extension = true;
    parameters.serial_number = Some(serial()?);
    Ok(parameters)
}

/// 126 random bits, positive: RFC 5280 §4.1.2.2 allows 20 bytes.
pub(super) fn serial() -> Result<SerialNumber, CaError> {
    let mut bytes = [0u8; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| CaError::Random)?;
    let [first, ..] = &mut bytes;
    *first = (*first & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// Seconds since 1970; a clock before that is 1970.
pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// The other way.
pub(super) fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds.min(DUSK))
}

/// Sets a certificate's life, in seconds since 1970, within what a certificate can name. (The library's own date type
/// cannot be named without another dependency.)
pub(super) fn live(parameters: &mut CertificateParams, from: u64, until: u64) {
    let date = |seconds: u64| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds.min(DUSK));
    parameters.not_before = date(from);
    parameters.not_after = date(until);
}
