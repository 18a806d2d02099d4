//! A site's CA, and what it signs.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use protocol::{CaPin, Key};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PKCS_ED25519, PublicKeyData, SanType, SignatureAlgorithm, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

pub struct Site {
    issuer: Issuer<'static, KeyPair>,
    ca: CertificateDer<'static>,
    ca_pem: String,
}

struct RawKey(Key);

impl PublicKeyData for RawKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0.0
    }
    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

impl Site {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, "site CA");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = parameters.self_signed(&key).unwrap();
        let (ca, ca_pem) = (certificate.der().clone(), certificate.pem());
        Self { issuer: Issuer::new(parameters, key), ca, ca_pem }
    }

    pub fn pin(&self) -> CaPin {
        let digest = ring::digest::digest(&ring::digest::SHA256, &self.ca);
        CaPin(digest.as_ref().try_into().unwrap())
    }

    /// A server certificate for this address, valid in these years.
    pub fn server(&self, address: Ipv4Addr, years: std::ops::Range<i32>) -> Arc<ServerConfig> {
        self.server_showing(self, address, years)
    }

    /// The same, with another site's CA in the chain instead of ours.
    pub fn server_showing(
        &self,
        shown: &Site,
        address: Ipv4Addr,
        years: std::ops::Range<i32>,
    ) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::default();
        parameters.subject_alt_names = vec![SanType::IpAddress(IpAddr::V4(address))];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        parameters.not_before = date_time_ymd(years.start, 1, 1);
        parameters.not_after = date_time_ymd(years.end, 1, 1);
        let leaf = parameters.signed_by(&key, &self.issuer).unwrap();
        let chain = vec![leaf.der().clone(), shown.ca.clone()];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.clone()).unwrap();
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let clients = clients.allow_unauthenticated().build().unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, key)
            .unwrap();
        Arc::new(config)
    }

    /// A client certificate for an agent's raw key, and the CA's, PEM.
    pub fn client(&self, key: Key) -> String {
        let mut parameters = CertificateParams::default();
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        parameters.distinguished_name.push(DnType::CommonName, "node");
        let certificate = parameters.signed_by(&RawKey(key), &self.issuer).unwrap();
        certificate.pem() + &self.ca_pem
    }
}
