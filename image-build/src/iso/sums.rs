//! Lists of SHA-256 sums, in the format of `sha256sum`: on the medium, in its first file system, and beside it with a
//! signature, so that nobody needs a program of ours to check a download.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use pack::{PublicKey, Signature, SigningKey};
use ring::digest::{Context, SHA256};

use super::IsoError;
use crate::files::{self, FileError};

/// Sums of files in a folder.
pub(super) fn list(folder: &Path, names: &[&str]) -> Result<String, FileError> {
    let line = |name: &&str| Ok(format!("{}  {name}\n", sum(&folder.join(name))?));
    names.iter().map(line).collect()
}

fn sum(path: &Path) -> Result<String, FileError> {
    let digest = hash(files::open(path)?).map_err(files::named("reading", path))?;
    Ok(data_encoding::HEXLOWER.encode(&digest))
}

fn hash(mut file: File) -> io::Result<Vec<u8>> {
    let (mut context, mut piece) = (Context::new(&SHA256), vec![0; 1 << 20]);
    loop {
        let count = file.read(&mut piece)?;
        match piece.get(..count) {
            None | Some([]) => return Ok(context.finish().as_ref().to_vec()),
            Some(bytes) => context.update(bytes),
        }
    }
}

/// What lies beside an ISO.
#[derive(Debug)]
pub struct Sidecar {
    iso: PathBuf,
    /// Its sum: `FILE.iso.sha256`.
    pub sums: PathBuf,
    /// Ed25519 over the file with the sum, 64 bytes: `FILE.iso.sha256.sig`.
    pub signature: PathBuf,
    /// What is in it (SPDX 2.3): `FILE.iso.spdx.json`.
    pub bill: PathBuf,
}

impl Sidecar {
    /// Where it is.
    #[must_use]
    pub fn of(iso: &Path) -> Sidecar {
        let beside = |ending: &str| PathBuf::from(format!("{}{ending}", iso.display()));
        let (sums, signature) = (beside(".sha256"), beside(".sha256.sig"));
        Sidecar { iso: iso.to_owned(), sums, signature, bill: beside(".spdx.json") }
    }

    pub(super) fn write(&self, key: &SigningKey, bill: &Path) -> Result<(), IsoError> {
        let name = self.iso.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let sums = list(files::folder_of(&self.iso), &[&name])?;
        let signature = key.sign_sums(&sums).ok_or_else(|| self.wrong("its sum can't be signed"))?;
        files::write(&self.sums, sums.as_bytes())?;
        files::write(&self.signature, &signature.0)?;
        Ok(files::copy(bill, &self.bill)?)
    }

    fn wrong(&self, why: &'static str) -> IsoError {
        IsoError::Verify { path: self.iso.clone(), why }
    }
}

/// Reads a whole ISO and compares it with what `key` has signed beside it.
pub fn verify(iso: &Path, key: PublicKey) -> Result<(), IsoError> {
    let sidecar = Sidecar::of(iso);
    let sums = files::read_text(&sidecar.sums)?;
    let signature = files::read(&sidecar.signature)?.try_into().map(Signature);
    let signature = signature.map_err(|_| sidecar.wrong("its signature is not 64 bytes long"))?;
    if !key.signed_sums(&sums, &signature) {
        return Err(sidecar.wrong("the sum beside it was not signed by this key: do not use it"));
    }
    let signed = sums.split_whitespace().next().unwrap_or_default();
    if sum(iso)? != signed {
        return Err(sidecar.wrong("it is not what was signed: download or copy it again"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_iso_is_believed_with_its_signature_and_its_sum_alone() {
        let work = files::WorkFolder::make(&std::env::temp_dir()).unwrap();
        let (iso, bill) = (work.path().join("a.iso"), work.path().join("bill"));
        files::write(&iso, b"abc").unwrap();
        files::write(&bill, b"{}").unwrap();
        let key = |seed| SigningKey::from_seed(&[seed; 32]).unwrap();
        let sidecar = Sidecar::of(&iso);
        sidecar.write(&key(1), &bill).unwrap();
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a.iso\n";
        assert_eq!(files::read_text(&sidecar.sums).unwrap(), abc);
        verify(&iso, key(1).public()).unwrap();
        let refused = |key| verify(&iso, key).unwrap_err().to_string();
        assert!(refused(key(2).public()).contains("not signed by this key"));
        files::write(&iso, b"abd").unwrap();
        assert!(refused(key(1).public()).contains("not what was signed"));
        files::write(&sidecar.sums, abc.replace('b', "c").as_bytes()).unwrap();
        assert!(refused(key(1).public()).contains("not signed by this key"));
        files::write(&sidecar.signature, b"short").unwrap();
        assert!(refused(key(1).public()).contains("64 bytes"));
    }
}
