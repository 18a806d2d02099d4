//! The key that signs the heads of the journal.

use std::path::Path;

use data_encoding::HEXLOWER;
use ring::signature::Ed25519KeyPair;

use super::{CaError, secret_key};

/// The file in the CA directory: the key's seed, 64 hexadecimal digits.
const FILE: &str = "journal.key";

/// The key in this directory; made, and durable, when there is none. Without the old one nobody can tell heads that it has
/// signed from others.
///
/// # Errors
/// [`CaError`]: what is there but can't be used is refused, never replaced.
pub fn journal_key(directory: &Path) -> Result<Ed25519KeyPair, CaError> {
    let seed = secret_key::key(directory, FILE)?;
    let damaged =
        |_| CaError::Damaged { path: directory.join(FILE), why: "it is no seed of a key".to_owned() };
    Ed25519KeyPair::from_seed_unchecked(&seed).map_err(damaged)
}

/// The key of such a file's text.
///
/// # Errors
/// What is wrong with it.
pub fn parse(text: &str) -> Result<Ed25519KeyPair, &'static str> {
    let seed = HEXLOWER.decode(text.trim().as_bytes()).map_err(|_| "it is not 64 hexadecimal digits")?;
    Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| "it is not 64 hexadecimal digits")
}
