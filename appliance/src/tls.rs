//! TLS as agents meet it: version 1.3 only, ring, a client certificate optional but, when shown, of this site's CA.
//!
//! Knows what makes a handshake fail and says so in words for an operator. Refuses to know what a certificate allows,
//! and until when: it hands up the fingerprint of one that is genuine. In TLS 1.3 a client learns of a refused
//! certificate only as a broken connection; that it has expired it must hear as an answer, to say hello again. Tested by
//! `listen::https`, against real handshakes.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use protocol::CaPin;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error as TlsFault, RootCertStore,
    ServerConfig, SignatureScheme,
};

use crate::ca::{CaError, ServerIdentity, SiteCa};

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The CA's certificate cannot be a trust anchor.
    #[error("trusting the site CA")]
    Anchor(#[source] TlsFault),
    /// The verifier could not be built.
    #[error("building the verifier of client certificates")]
    Verifier(#[source] VerifierBuilderError),
    /// The controller's own key and certificate could not be used.
    #[error("using the controller's certificate")]
    Identity(#[source] TlsFault),
}

/// The configuration of the agents' listener.
///
/// # Errors
/// [`TlsError`].
pub fn server(ca: &SiteCa, identity: ServerIdentity) -> Result<Arc<ServerConfig>, TlsError> {
    let verifier = verifier(ca)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Identity)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain, identity.key)
        .map_err(TlsError::Identity)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A resumed session would bring back a client certificate that was not verified again, after it expired.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(Arc::new(config))
}

/// What the agents' listeners show and ask for, by the CA that is trusted at the moment.
#[derive(Debug)]
pub struct Door {
    ca: Arc<SiteCa>,
    addresses: Vec<IpAddr>,
    made: Mutex<(Vec<CaPin>, Arc<ServerConfig>)>,
}

impl Door {
    /// For listeners on these addresses.
    ///
    /// # Errors
    /// [`DoorError`].
    pub fn new(ca: Arc<SiteCa>, addresses: Vec<IpAddr>) -> Result<Self, DoorError> {
        let made = make(&ca, &addresses)?;
        Ok(Self { ca, addresses, made: Mutex::new(made) })
    }

    /// As it is now. If another can't be made, the one that there was.
    pub fn config(&self) -> Arc<ServerConfig> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.0 != self.ca.pins() {
            match make(&self.ca, &self.addresses) {
                Ok(another) => *made = another,
                Err(error) => {
                    tracing::error!(why = crate::chain(&error), "the CA has changed, and TLS has not")
                }
            }
        }
        Arc::clone(&made.1)
    }
}

/// Why there is no TLS to show.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// No certificate.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// No configuration.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

fn make(ca: &SiteCa, addresses: &[IpAddr]) -> Result<(Vec<CaPin>, Arc<ServerConfig>), DoorError> {
    let pins = ca.pins();
    let identity = ca.server(addresses, SystemTime::now())?;
    Ok((pins, server(ca, identity)?))
}

/// Verifies client certificates against this CA, whatever their dates; none at all is allowed, because the first hello
/// has none. Whoever takes a certificate must look its end up (`fleet::certificate`).
///
/// # Errors
/// [`TlsError::Anchor`], [`TlsError::Verifier`].
pub fn verifier(ca: &SiteCa) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    Ok(Arc::new(Dateless(strict(ca)?)))
}

/// The same, but with an eye on the dates.
pub(crate) fn strict(ca: &SiteCa) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for root in ca.roots() {
        roots.add(root).map_err(TlsError::Anchor)?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .allow_unauthenticated()
        .build()
        .map_err(TlsError::Verifier)
}

/// A verifier to which the dates in a certificate say nothing: it is checked as of a moment when it was valid.
#[derive(Debug)]
struct Dateless(Arc<dyn ClientCertVerifier>);

/// Leaf and, at the most, three certificates above it can be out of date one after the other.
const MOMENTS: usize = 4;

/// The nearest moment at which a certificate that was refused for its dates was valid.
fn valid_moment(refused: &TlsFault) -> Option<UnixTime> {
    if let TlsFault::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) = refused {
        Some(*not_after)
    } else if let TlsFault::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. }) =
        refused
    {
        Some(*not_before)
    } else {
        None
    }
}

impl ClientCertVerifier for Dateless {
    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, TlsFault> {
        let mut result = self.0.verify_client_cert(leaf, chain, now);
        for _ in 0..MOMENTS {
            let Some(at) = result.as_ref().err().and_then(valid_moment) else { break };
            result = self.0.verify_client_cert(leaf, chain, at);
        }
        result
    }

    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsFault> {
        self.0.verify_tls12_signature(message, leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsFault> {
        self.0.verify_tls13_signature(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Why a handshake failed, for an operator.
pub fn explain(error: &std::io::Error) -> String {
    let Some(fault) = error.get_ref().and_then(|e| e.downcast_ref::<TlsFault>()) else {
        return format!("the connection broke in the handshake: {error}");
    };
    if let TlsFault::InvalidCertificate(wrong) = fault {
        client_certificate(wrong).into()
    } else if matches!(fault, TlsFault::PeerIncompatible(_)) {
        format!("it does not speak TLS 1.3 as we do ({fault})")
    } else if matches!(fault, TlsFault::AlertReceived(_)) {
        format!("it does not accept us ({fault})")
    } else {
        format!("it does not speak TLS ({fault})")
    }
}

// The library's enums may grow: what is not named here is told in general words.
fn client_certificate(wrong: &CertificateError) -> &'static str {
    use CertificateError as E;
    if matches!(wrong, E::Expired | E::ExpiredContext { .. }) {
        "its client certificate has expired"
    } else if matches!(wrong, E::NotValidYet | E::NotValidYetContext { .. }) {
        "its client certificate is not valid yet: is this controller's clock right?"
    } else if matches!(wrong, E::UnknownIssuer) {
        "its client certificate was not issued by this site's CA"
    } else if matches!(wrong, E::BadSignature) {
        "its client certificate was not issued by this site's CA, or its key is another's"
    } else if matches!(wrong, E::InvalidPurpose | E::InvalidPurposeContext { .. }) {
        "its certificate is not one for clients"
    } else {
        "its client certificate is damaged, or of a kind that is not taken here"
    }
}
