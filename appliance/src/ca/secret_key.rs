//! Keys that nobody but the daemon has use for: 32 random bytes each.

use std::path::Path;

use data_encoding::HEXLOWER;
use ring::rand::{SecureRandom, SystemRandom};

use super::{CaError, file};

/// The key that seals the passwords of management controllers: a file in the CA directory. Without the old one these passwords have to
/// be set again: that is all that is lost with it.
const POWER: &str = "power.key";
/// The key that all passwords of the cloud are made of. Without the old one they are all others.
const CLOUD: &str = "cloud.key";

/// The key that seals the passwords of management controllers; made, and durable, when there is none.
///
/// # Errors
/// [`CaError`]: what is there but can't be used is refused, never replaced.
pub fn power_key(directory: &Path) -> Result<[u8; 32], CaError> {
    key(directory, POWER)
}

/// The key that all passwords of the cloud are made of; made, and durable, when there is none.
///
/// # Errors
/// As [`power_key`].
pub fn cloud_key(directory: &Path) -> Result<[u8; 32], CaError> {
    key(directory, CLOUD)
}

/// The key in this file: 64 hexadecimal digits; made, and durable, when there is none.
pub(super) fn key(directory: &Path, name: &str) -> Result<[u8; 32], CaError> {
    file::make_directory(directory)?;
    let path = directory.join(name);
    let text = match file::read(&path)? {
        Some(text) => text,
        None => {
            let mut key = [0; 32];
            SystemRandom::new().fill(&mut key).map_err(|_| CaError::Random)?;
            let text = HEXLOWER.encode(&key) + "\n";
            file::replace(directory, name, text.as_bytes())?;
            tracing::info!(path = %path.display(), "a key was made");
            text
        }
    };
    let bytes = HEXLOWER.decode(text.trim().as_bytes()).ok();
    let key = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    key.ok_or_else(|| CaError::Damaged { path, why: "it is not 64 hexadecimal digits".to_owned() })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::{POWER, cloud_key, power_key};
    use crate::ca::CaError;

    #[test]
    fn it_is_made_once_for_its_owner_only_and_what_is_damaged_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca");
        let first = power_key(&ca).unwrap();
        assert_eq!(power_key(&ca).unwrap(), first);
        assert_ne!(cloud_key(&ca).unwrap(), first);
        let path = ca.join(POWER);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for damage in ["", "ab", &"g".repeat(64), &"a".repeat(66)] {
            std::fs::write(&path, damage).unwrap();
            assert!(matches!(power_key(&ca), Err(CaError::Damaged { .. })));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), damage);
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(power_key(&ca), Err(CaError::Exposed { .. })));
    }
}
