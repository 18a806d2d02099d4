//! Which server is the controller: the one whose certificate the pinned site CA signed for this address.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};

use protocol::CaPin;

/// Whether the dates in the controller's certificate count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dates {
    /// They do: this machine's clock was set by the controller.
    Strict,
    /// This machine's clock may be years off (an empty battery), and the controller is about to say what time it is:
    /// the certificate is checked as of a moment when it was valid. Everything else is checked as always.
    Lenient,
}

/// Accepts a chain that holds a CA certificate with the pinned SHA-256, and a leaf which exactly that CA signed for
/// the address that was called. No other root is known here.
#[derive(Debug)]
pub struct Pinned {
    pin: CaPin,
    dates: Dates,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug, thiserror::Error)]
#[error("the server's certificate chain does not hold the site CA {0}")]
struct ForeignChain(CaPin);

/// Leaf and, at the most, three certificates below the CA can be out of date one after the other.
const MOMENTS: usize = 4;

impl Pinned {
    /// A verifier for this CA.
    pub fn new(pin: CaPin, dates: Dates, algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { pin, dates, algorithms }
    }

    fn roots(&self, chain: &[CertificateDer<'_>]) -> Result<RootCertStore, Error> {
        let is_pinned = |der: &&CertificateDer<'_>| {
            ring::digest::digest(&ring::digest::SHA256, der).as_ref() == self.pin.0.as_slice()
        };
        let Some(ca) = chain.iter().find(is_pinned) else {
            let foreign = OtherError(std::sync::Arc::new(ForeignChain(self.pin)));
            return Err(CertificateError::Other(foreign).into());
        };
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        Ok(roots)
    }

    fn check_chain(
        &self,
        leaf: &ParsedCertificate<'_>,
        roots: &RootCertStore,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let check =
            |at| verify_server_cert_signed_by_trust_anchor(leaf, roots, chain, at, self.algorithms.all);
        let mut result = check(now);
        for _ in 0..MOMENTS {
            let moment = match &result {
                Err(Error::InvalidCertificate(error)) if self.dates == Dates::Lenient => valid_moment(error),
                Ok(()) | Err(_) => None,
            };
            match moment {
                Some(at) => result = check(at),
                None => return result,
            }
        }
        result
    }
}

/// The nearest moment at which the certificate that was refused for its dates was valid.
#[expect(clippy::wildcard_enum_match_arm, reason = "every other reason to refuse stays one")]
fn valid_moment(error: &CertificateError) -> Option<UnixTime> {
    match error {
        CertificateError::ExpiredContext { not_after, .. } => Some(*not_after),
        CertificateError::NotValidYetContext { not_before, .. } => Some(*not_before),
        _ => None,
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let roots = self.roots(intermediates)?;
        let leaf = ParsedCertificate::try_from(end_entity)?;
        self.check_chain(&leaf, &roots, intermediates, now)?;
        verify_server_name(&leaf, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
