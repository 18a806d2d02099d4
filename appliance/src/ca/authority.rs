//! A root, and what signs in its name: nodes' certificates under one intermediate, the controller's own under another.
//!
//! What each may sign is in its certificate (extended key usage), which every verifier applies to the whole chain: what was signed
//! with the nodes' intermediate is no server to an agent, and what was signed with the servers' is no node to the controller.
//! Nodes and agents keep only the root's SHA-256, and an intermediate travels with each certificate that it signed. So one that is
//! lost is made anew and nothing else changes; what cannot be read is left alone all the same.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use protocol::CaPin;
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::CertificateDer;

use super::{CA_SECONDS, CaError, SUBJECT, file, issue, sha256};

/// What the intermediates are called.
const NODES: &str = "Rackwright node CA";
const SERVERS: &str = "Rackwright server CA";

/// A key that signs, and its certificate.
pub(super) struct Signer {
    pub(super) issuer: Issuer<'static, KeyPair>,
    pub(super) certificate: CertificateDer<'static>,
}

/// A root with its intermediates.
pub(super) struct Authority {
    pub(super) root: Signer,
    /// Signs nodes' client certificates.
    pub(super) nodes: Signer,
    /// Signs the controller's own certificates.
    pub(super) servers: Signer,
}

impl Authority {
    /// The one whose root lies in this file's text; its intermediates are made, and durable, where there are none.
    pub(super) fn open(directory: &Path, path: &Path, text: &str, now: SystemTime) -> Result<Self, CaError> {
        let damaged = |why| CaError::Damaged { path: path.into(), why };
        let (key, certificate) = file::parse(text).map_err(damaged)?;
        let root = Signer { issuer: Issuer::new(parameters(SUBJECT, now), key), certificate };
        let name = issuers_file(&CaPin(sha256(&root.certificate)));
        let beside = directory.join(&name);
        let text = match file::read(&beside)? {
            Some(text) => text,
            None => {
                let text = make_issuers(&root, now)?;
                file::replace(directory, &name, text.as_bytes())?;
                text
            }
        };
        let pairs = file::pairs(&text, 2).map_err(|why| CaError::Issuers { path: beside, why })?;
        let mut signers = pairs.into_iter().zip([NODES, SERVERS]).map(|((key, certificate), name)| Signer {
            issuer: Issuer::new(parameters(name, now), key),
            certificate,
        });
        let (Some(nodes), Some(servers)) = (signers.next(), signers.next()) else {
            return Err(CaError::Damaged { path: path.into(), why: "its intermediates are missing".into() });
        };
        Ok(Self { root, nodes, servers })
    }

    /// This intermediate for the controller's own certificates, as another root signs it: so one certificate is believed by those who
    /// pin either root.
    pub(super) fn crossed(&self, root: &Signer, now: SystemTime) -> Result<CertificateDer<'static>, CaError> {
        let make = |source| CaError::Make { what: "an intermediate CA under both roots", source };
        let parameters = intermediate(SERVERS, ExtendedKeyUsagePurpose::ServerAuth, now)?;
        let certificate = parameters.signed_by(self.servers.issuer.key(), &root.issuer).map_err(make)?;
        Ok(certificate.der().clone())
    }

    /// What every node pins.
    pub(super) fn pin(&self) -> CaPin {
        CaPin(sha256(&self.root.certificate))
    }
}

/// Where the intermediates of a root lie.
pub(super) fn issuers_file(pin: &CaPin) -> String {
    let text = pin.to_string();
    format!("issuers-{}.pem", text.get(..16).unwrap_or(&text))
}

/// All files of intermediates in a CA's directory.
pub(super) fn issuers_files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let is_one = |name: &str| name.starts_with("issuers-") && name.ends_with(".pem");
    let ours = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_one));
    ours.map(|entry| entry.path()).collect()
}

/// The text of a new root's file.
pub(super) fn make_root(now: SystemTime) -> Result<String, CaError> {
    let make = |source| CaError::Make { what: "the site CA", source };
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(make)?;
    let mut parameters = parameters(SUBJECT, now);
    // One kind of CA below it.
    parameters.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(1));
    parameters.serial_number = Some(issue::serial()?);
    let certificate = parameters.self_signed(&key).map_err(make)?;
    Ok(file::pem("PRIVATE KEY", key.serialized_der()) + &file::pem("CERTIFICATE", certificate.der()))
}

fn make_issuers(root: &Signer, now: SystemTime) -> Result<String, CaError> {
    let purposes =
        [(NODES, ExtendedKeyUsagePurpose::ClientAuth), (SERVERS, ExtendedKeyUsagePurpose::ServerAuth)];
    let mut text = String::new();
    for (name, purpose) in purposes {
        let make = |source| CaError::Make { what: "an intermediate CA", source };
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(make)?;
        let certificate = intermediate(name, purpose, now)?.signed_by(&key, &root.issuer).map_err(make)?;
        text += &file::pem("PRIVATE KEY", key.serialized_der());
        text += &file::pem("CERTIFICATE", certificate.der());
    }
    Ok(text)
}

fn intermediate(
    name: &str,
    purpose: ExtendedKeyUsagePurpose,
    now: SystemTime,
) -> Result<CertificateParams, CaError> {
    let mut parameters = parameters(name, now);
    parameters.extended_key_usages = vec![purpose];
    parameters.use_authority_key_identifier_extension = true;
    parameters.serial_number = Some(issue::serial()?);
    Ok(parameters)
}

/// Of a CA below which there is none.
fn parameters(name: &str, now: SystemTime) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    issue::live(&mut parameters, issue::DAWN, issue::seconds(now).max(issue::DAWN) + CA_SECONDS);
    parameters
}
