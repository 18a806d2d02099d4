//! The key that signs images: 32 random bytes in a file that nobody else can read. Made when it is missing.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use pack::{KeyError, SigningKey};
use ring::rand::{SecureRandom, SystemRandom};

use crate::files::{self, FileError};

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file could not be handled.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not a key.
    #[error("{} is no signing key: it must hold 64 hexadecimal digits; move it away to have a new one made", .0.display())]
    NotAKey(PathBuf),
    /// Readable by others.
    #[error("{path} can be read by others; make it yours alone: chmod 600 {path}", path = .0.display())]
    Open(PathBuf),
    /// The system gives no random bytes.
    #[error("drawing a random key")]
    Random,
    /// The signing library refused the key.
    #[error(transparent)]
    Refused(#[from] KeyError),
}

/// Reads the key, or makes one and says so.
pub fn load_or_make(path: &Path) -> Result<SigningKey, KeyFileError> {
    if !path.exists() {
        make(path)?;
    }
    if files::look(path)?.mode() & 0o077 != 0 {
        return Err(KeyFileError::Open(path.to_owned()));
    }
    let text = files::read_text(path)?;
    let not_a_key = || KeyFileError::NotAKey(path.to_owned());
    let seed = data_encoding::HEXLOWER.decode(text.trim().as_bytes()).map_err(|_| not_a_key())?;
    let seed: [u8; 32] = seed.try_into().map_err(|_| not_a_key())?;
    Ok(SigningKey::from_seed(&seed)?)
}

fn make(path: &Path) -> Result<(), KeyFileError> {
    let mut seed = [0; 32];
    SystemRandom::new().fill(&mut seed).map_err(|_| KeyFileError::Random)?;
    if let Some(folder) = path.parent() {
        files::make_folder(folder)?;
    }
    let mut options = File::options();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(files::named("creating", path))?;
    let text = data_encoding::HEXLOWER.encode(&seed) + "\n";
    file.write_all(text.as_bytes()).map_err(files::named("writing", path))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_is_private() {
        let work = files::WorkFolder::make(&std::env::temp_dir()).unwrap();
        let path = work.path().join("keys/image.key");
        let first = load_or_make(&path).unwrap().public();
        assert_eq!(load_or_make(&path).unwrap().public(), first);
        assert_eq!(files::look(&path).unwrap().mode() & 0o777, 0o600);
        files::set_mode(&path, 0o644).unwrap();
        assert!(load_or_make(&path).unwrap_err().to_string().contains("chmod 600"));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let work = files::WorkFolder::make(&std::env::temp_dir()).unwrap();
        let path = work.path().join("key");
        for text in ["", "00", &"0".repeat(63), &"0".repeat(66), &"g".repeat(64), &"A".repeat(64)] {
            files::write(&path, text.as_bytes()).unwrap();
            files::set_mode(&path, 0o600).unwrap();
            assert!(matches!(load_or_make(&path), Err(KeyFileError::NotAKey(_))), "{text:?}");
        }
    }
}
