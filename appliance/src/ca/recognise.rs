//! What a certificate says that is in no table: whose key it is of, and until when.

use std::time::Duration;

use fleet::Time;
use protocol::Key;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, Error as TlsFault};

use super::{SiteCa, issue};

/// What the DER of an Ed25519 public key begins with (RFC 8410 §4): SEQUENCE, algorithm, BIT STRING.
const ED25519: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A node's certificate that this site's CA signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recognised {
    /// The node's key.
    pub key: Key,
    /// When it ends.
    pub until: Time,
}

impl SiteCa {
    /// The certificate that somebody showed, leaf first, if it is a node's and this CA signed it, in date or not.
    pub fn recognise(&self, shown: &[CertificateDer<'static>]) -> Option<Recognised> {
        let (leaf, chain) = shown.split_first()?;
        let verifier = crate::tls::verifier(self).ok()?;
        verifier.verify_client_cert(leaf, chain, UnixTime::now()).ok()?;
        // At the end of all time it has ended, and the refusal says when.
        let dusk = UnixTime::since_unix_epoch(Duration::from_secs(issue::DUSK));
        let refused = crate::tls::strict(self).ok()?.verify_client_cert(leaf, chain, dusk).err()?;
        let TlsFault::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) = refused else {
            return None;
        };
        let parsed = webpki::EndEntityCert::try_from(leaf).ok()?;
        let key = parsed.subject_public_key_info();
        let key = key.strip_prefix(&ED25519)?.try_into().ok().map(Key)?;
        Some(Recognised { key, until: Time(not_after.as_secs().saturating_mul(1000)) })
    }
}
