//! The site CA: made once, at the controller's first start, and the root of every identity in the rack.
//!
//! It signs two intermediates and nothing else ([`authority`]), and those sign nodes and controller.
//!
//! ECDSA P-256, because everything that will ever have to trust it (rustls with ring, OpenSSL, firmware) can verify
//! that; agents' own keys are Ed25519. Key and certificate lie in one file that is replaced as a whole, so there is
//! no moment at which a kill leaves half a pair. What cannot be read is never made anew: a new CA would lock out
//! every node that trusts the old one.
//!
//! Refuses to know who may have a certificate: that was decided before [`SiteCa::issue`] is called. Nothing of a
//! client's but its raw public key goes into what it signs.

mod authority;
mod file;
mod image_key;
mod issue;
pub mod journal_key;
mod recognise;
mod rotate;
mod secret_key;
#[cfg(test)]
mod tests;

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use protocol::CaPin;
use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;

use crate::config::Site;
use authority::Authority;

pub use image_key::image_key;
pub use issue::{Issued, Leaf, ServerIdentity};
pub use journal_key::journal_key;
pub use recognise::Recognised;
pub use secret_key::{cloud_key, power_key};

/// Private parsers, for the fuzz targets in `tests/fuzz`; no promise to anybody else.
#[doc(hidden)]
pub mod fuzzing {
    pub use super::file::parse as file;
}

/// The file in the CA directory: PKCS#8 key and certificate, PEM.
const FILE: &str = "site-ca.pem";
/// The same of the CA that is to take its place, until it has.
const NEXT: &str = "site-ca-next.pem";
/// The CA's subject. Always the same, so that the issuer's name is known without reading the certificate.
const SUBJECT: &str = "Rackwright site CA";
/// How long the CA and the controller's certificates live, in seconds: 30 and 10 years.
const CA_SECONDS: u64 = 30 * 365 * 86_400;
pub(crate) const SERVER_SECONDS: u64 = 10 * 365 * 86_400;

/// Whether there can be nodes that trust an earlier CA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// No state yet: a CA may be made.
    First,
    /// There is state: its CA must be there.
    Later,
}

/// Why there is no CA, or no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A file operation failed.
    #[error("{what} {}", path.display())]
    File {
        /// Gerund.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The state is there, its CA is not.
    #[error(
        "{} is missing, and the nodes of this site trust no other CA: restore it from the backup (a new one is made \
         only where there is no state.db)", path.display()
    )]
    Lost {
        /// The file.
        path: PathBuf,
    },
    /// Others can read the key.
    #[error("{} can be read by others (mode {mode:o}); if it was never copied: chmod 600 {}", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not what this program wrote.
    #[error("{} is damaged: {why}; restore it from the backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The CA that the state names is in no file.
    #[error(
        "no site CA in {} is {pin}, which the nodes of this site trust: restore the directory from the backup that the state is \
         from", directory.display()
    )]
    Unknown {
        /// Where was looked.
        directory: PathBuf,
        /// Its pin.
        pin: CaPin,
    },
    /// Its intermediates are not what this program wrote.
    #[error("{} is damaged: {why}; remove it, and new ones are made: nothing but the site CA itself can't be replaced", path.display())]
    Issuers {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A certificate could not be made.
    #[error("making {what}")]
    Make {
        /// Which.
        what: &'static str,
        /// What the library said.
        source: rcgen::Error,
    },
    /// The kernel gave no random numbers.
    #[error("drawing a serial number: the kernel gives no random numbers")]
    Random,
    /// A life that ends before it begins.
    #[error("a certificate cannot end before it begins")]
    Window,
}

/// The site CA: the one that signs, and while it is changed the other that is trusted as well.
pub struct SiteCa {
    site: Site,
    directory: PathBuf,
    trusted: RwLock<Arc<Trusted>>,
}

/// Which roots are trusted.
pub(crate) struct Trusted {
    wanted: Arc<Authority>,
    other: Option<Arc<Authority>>,
}

impl Trusted {
    /// The one that signs, and the other.
    fn both(&self) -> impl Iterator<Item = &Authority> {
        [Some(&*self.wanted), self.other.as_deref()].into_iter().flatten()
    }
}

impl std::fmt::Debug for SiteCa {
    /// Never the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SiteCa").field("site", &self.site).field("pin", &self.pin()).finish_non_exhaustive()
    }
}

impl SiteCa {
    /// The CA in this directory; made (and durable) when there is none and this is the first start. Where it is being changed, or was
    /// changed and not everything put away, [`SiteCa::follow`] says which is trusted.
    ///
    /// # Errors
    /// [`CaError`]: whatever is there but cannot be used is refused, never replaced.
    pub fn open(directory: &Path, site: &Site, start: Start, now: SystemTime) -> Result<Self, CaError> {
        file::make_directory(directory)?;
        let path = directory.join(FILE);
        let text = match (file::read(&path)?, start) {
            (Some(text), _) => text,
            (None, Start::Later) => return Err(CaError::Lost { path }),
            (None, Start::First) => {
                let text = authority::make_root(now)?;
                file::replace(directory, FILE, text.as_bytes())?;
                tracing::info!(path = %path.display(), "site CA made");
                text
            }
        };
        let authority = Authority::open(directory, &path, &text, now)?;
        let trusted = Trusted { wanted: Arc::new(authority), other: None };
        let (site, directory) = (site.clone(), directory.to_owned());
        let ca = Self { site, directory, trusted: RwLock::new(Arc::new(trusted)) };
        ca.prove().map_err(|why| CaError::Damaged { path, why })?;
        Ok(ca)
    }

    /// What is trusted now.
    pub(crate) fn trusted(&self) -> Arc<Trusted> {
        Arc::clone(&self.trusted.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The public value that every node shall pin: SHA-256 of the CA's certificate.
    pub fn pin(&self) -> CaPin {
        self.trusted().wanted.pin()
    }

    /// That, and while the CA is changed the other that a node may have pinned.
    pub fn pins(&self) -> Vec<CaPin> {
        self.trusted().both().map(Authority::pin).collect()
    }

    /// The certificate of the CA that signs.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.trusted().wanted.root.certificate.clone()
    }

    /// The certificates of all roots that are trusted.
    pub fn roots(&self) -> Vec<CertificateDer<'static>> {
        self.trusted().both().map(|authority| authority.root.certificate.clone()).collect()
    }

    /// The CA's certificate, PEM.
    pub fn certificate_pem(&self) -> String {
        file::pem("CERTIFICATE", &self.certificate())
    }

    /// A new key and certificate for the controller's own listeners on these addresses. Kept in memory only: made
    /// anew at every start and whenever the addresses or the CA change, so there is nothing to lose and nothing to go stale.
    ///
    /// # Errors
    /// [`CaError::Make`], [`CaError::Random`].
    pub fn server(&self, addresses: &[IpAddr], now: SystemTime) -> Result<ServerIdentity, CaError> {
        issue::server(&self.trusted(), addresses, now)
    }

    /// A client certificate for a node's public key.
    ///
    /// # Errors
    /// [`CaError::Make`], [`CaError::Random`], [`CaError::Window`].
    pub fn issue(&self, leaf: &Leaf) -> Result<Issued, CaError> {
        issue::client(&self.site, &self.trusted().wanted, leaf)
    }

    /// Issues a certificate to nobody and has it verified as the listener would: name, key and constraints of the
    /// CA in the file are then those that work.
    fn prove(&self) -> Result<(), String> {
        let leaf = Leaf {
            key: protocol::Key([9; 32]),
            node: protocol::NodeId([0; 16]),
            stage: fleet::certificate::Stage::Deploy,
            generation: 0,
            not_before: issue::at(issue::DAWN),
            not_after: issue::at(issue::DAWN + 7200),
        };
        let issued = self.issue(&leaf).map_err(|e| e.to_string())?;
        let verifier = crate::tls::verifier(self).map_err(|e| e.to_string())?;
        let then =
            rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(issue::DAWN + 3600));
        let chain = [self.trusted().wanted.nodes.certificate.clone()];
        let verified = verifier.verify_client_cert(&issued.der, &chain, then);
        verified.map(|_| ()).map_err(|e| format!("its key and certificate do not belong together ({e})"))
    }
}

/// The SHA-256 of the certificate in the text of a CA's file, in lower-case hexadecimal: what nodes pin.
///
/// # Errors
/// What is wrong with the text.
pub fn pin_of(text: &str) -> Result<String, String> {
    file::parse(text).map(|(_, certificate)| fingerprint(&certificate))
}

/// SHA-256 in lower-case hexadecimal: how certificates are named in the data base and in logs.
pub fn fingerprint(der: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&sha256(der))
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}
