//! The CA's file: read, checked, replaced as a whole.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use super::CaError;

/// A key and a certificate are not longer, in bytes.
const MAX_BYTES: u64 = 16 << 10;

fn fault(what: &'static str, path: &Path) -> impl Fn(io::Error) -> CaError {
    move |source| CaError::File { what, path: path.into(), source }
}

/// The directory, readable by its owner only.
pub(super) fn make_directory(path: &Path) -> Result<(), CaError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(fault("making", path))
}

/// The whole file, or `None` when there is none. Symbolic links, other people's eyes and wild sizes are refused.
pub(super) fn read(path: &Path) -> Result<Option<String>, CaError> {
    let nofollow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
    let file = match OpenOptions::new().read(true).custom_flags(nofollow).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(fault("opening", path)(e)),
    };
    let meta = file.metadata().map_err(fault("reading", path))?;
    let mode = meta.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(CaError::Exposed { path: path.into(), mode });
    }
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text).map_err(fault("reading", path))?;
    Ok(Some(text))
}

/// Replaces a file so that, whenever we are killed, it is the old one or the new one: temporary file, fsync,
/// rename, fsync of the directory.
pub(super) fn replace(directory: &Path, name: &str, content: &[u8]) -> Result<(), CaError> {
    let (path, temporary) = (directory.join(name), directory.join(format!(".{name}.new")));
    match fs::remove_file(&temporary) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(fault("removing", &temporary)(e)),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(fault("making", &temporary))?;
    file.write_all(content).map_err(fault("writing", &temporary))?;
    file.sync_all().map_err(fault("syncing", &temporary))?;
    fs::rename(&temporary, &path).map_err(fault("renaming", &temporary))?;
    File::open(directory).and_then(|d| d.sync_all()).map_err(fault("syncing", directory))
}

/// The key and the certificate of the file's text. Whether they belong together is proved by using them.
pub fn parse(text: &str) -> Result<(KeyPair, CertificateDer<'static>), String> {
    pairs(text, 1)?.pop().ok_or_else(|| "it does not hold exactly one key and one certificate".into())
}

/// So many keys and certificates, in their order.
pub(super) fn pairs(text: &str, count: usize) -> Result<Vec<(KeyPair, CertificateDer<'static>)>, String> {
    let (mut keys, mut certificates) = (Vec::new(), Vec::new());
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes()) {
        match section.map_err(|e| format!("not PEM ({e})"))? {
            (SectionKind::PrivateKey, der) => keys.push(der),
            (SectionKind::Certificate, der) => certificates.push(der),
            (kind, _) => return Err(format!("it holds a {kind:?}, which this program never writes")),
        }
    }
    if keys.len() != count || certificates.len() != count {
        let number = if count == 1 { "one key and one certificate" } else { "two keys and two certificates" };
        return Err(format!("it does not hold exactly {number}"));
    }
    let pairs = keys.into_iter().zip(certificates).map(|(key, certificate)| {
        let der = PrivatePkcs8KeyDer::from(key);
        let pair = KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256);
        let pair = pair.map_err(|e| format!("its key is unusable ({e})"))?;
        Ok((pair, CertificateDer::from(certificate)))
    });
    pairs.collect()
}

/// RFC 7468, with the strict line length.
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let text = data_encoding::BASE64.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out + &format!("-----END {label}-----\n")
}
