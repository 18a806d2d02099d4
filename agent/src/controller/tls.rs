//! Who is called, and with which certificate.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use protocol::CaPin;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, Error};

use crate::controller::{Dates, Pinned};
use crate::keys::KeyPair;

/// Why TLS could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate that the controller issued is not PEM.
    #[error("reading our certificate")]
    Pem(#[source] rustls::pki_types::pem::Error),
    /// There is no certificate in it.
    #[error("reading our certificate: there is none in it")]
    NoCertificate,
    /// Certificate and key do not belong together, or TLS refuses them.
    #[error("preparing TLS")]
    Config(#[source] Error),
}

/// Whether a chain of certificates, PEM, has this site CA in it.
pub fn holds(chain_pem: &str, ca: &CaPin) -> bool {
    let is_it = |der: CertificateDer<'_>| {
        ring::digest::digest(&ring::digest::SHA256, &der).as_ref() == ca.0.as_slice()
    };
    CertificateDer::pem_slice_iter(chain_pem.as_bytes()).flatten().any(is_it)
}

/// A client certificate and its key.
#[derive(Debug)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// From the PEM chain that the controller issued for this key, leaf first.
    ///
    /// # Errors
    /// [`TlsError::Pem`], [`TlsError::NoCertificate`].
    pub fn new(chain_pem: &str, key: &KeyPair) -> Result<Self, TlsError> {
        let chain = CertificateDer::pem_slice_iter(chain_pem.as_bytes()).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(TlsError::Pem)?;
        if chain.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        Ok(Self { chain, key: PrivatePkcs8KeyDer::from(key.pkcs8().to_vec()).into() })
    }
}

/// A controller that can be called.
#[derive(Clone, Debug)]
pub struct Controller {
    address: SocketAddr,
    config: Arc<ClientConfig>,
    source: Option<IpAddr>,
}

impl Controller {
    /// The controller at this address, known by its site CA; `identity` where there is a certificate already.
    ///
    /// # Errors
    /// [`TlsError::Config`].
    pub fn new(
        address: SocketAddr,
        pin: CaPin,
        dates: Dates,
        identity: Option<Identity>,
    ) -> Result<Self, TlsError> {
        let provider = rustls::crypto::ring::default_provider();
        let pinned = Pinned::new(pin, dates, provider.signature_verification_algorithms);
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(TlsError::Config)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(pinned));
        let mut config = match identity {
            Some(Identity { chain, key }) => {
                builder.with_client_auth_cert(chain, key).map_err(TlsError::Config)?
            }
            None => builder.with_no_client_auth(),
        };
        // A resumed session would skip the check of a certificate that was replaced meanwhile.
        config.resumption = rustls::client::Resumption::disabled();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { address, config: Arc::new(config), source: None })
    }

    /// The same, called from this address where the machine has several; otherwise the kernel chooses.
    #[must_use]
    pub fn calling_from(self, source: IpAddr) -> Self {
        Self { source: Some(source), ..self }
    }

    pub(crate) fn source(&self) -> Option<IpAddr> {
        self.source
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }
}
