//! The image file: its head is read and verified, and its length is what the manifest says.

use std::fs::File;
use std::io::Read as _;

use pack::{Digest, Header, Manifest, Parsed, PublicKey};

use crate::restore::{Options, RestoreError};

/// An image file that is what was signed.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) data_begin: u64,
    pub(super) digest: Digest,
    pub(super) manifest: Manifest,
    pub(super) signer: PublicKey,
    /// Whether the signer is whom `--trust` names.
    pub(super) trusted: bool,
}

/// Opens it. Without `--trust` any signature that fits is taken: who signed is confirmed with the disk.
pub(super) fn open(options: &Options) -> Result<Opened, RestoreError> {
    let image = || options.image.clone();
    let read = |source| RestoreError::Read { image: image(), source };
    let refuse = |source| RestoreError::Header { image: image(), source };
    let file = File::open(&options.image).map_err(read)?;
    let mut head = Vec::new();
    let header = loop {
        match Header::parse(&head).map_err(refuse)? {
            Parsed::Whole(header) => break header,
            Parsed::Needs(bytes) => {
                let missing = bytes.saturating_sub(head.len());
                let limit = u64::try_from(missing).unwrap_or(u64::MAX);
                let got = (&file).take(limit).read_to_end(&mut head).map_err(read)?;
                if got < missing {
                    // What is there may say already that it is something else.
                    Header::parse(&head).map_err(refuse)?;
                    return Err(read(std::io::ErrorKind::UnexpectedEof.into()));
                }
            }
        }
    };
    drop(head);
    let signer = header.signed.key;
    let believed = header.signed.verify(&[options.trust.unwrap_or(signer)]);
    let (digest, manifest) = believed.map_err(|source| RestoreError::Untrusted { image: image(), source })?;
    header.check_file_bytes(&manifest, file.metadata().map_err(read)?.len()).map_err(refuse)?;
    let (data_begin, trusted) = (header.data_begin(), options.trust.is_some());
    Ok(Opened { file, data_begin, digest, manifest, signer, trusted })
}
