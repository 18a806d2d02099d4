//! The key that seals the passwords of management controllers.

use std::path::Path;

use data_encoding::HEXLOWER;
use ring::rand::{SecureRandom, SystemRandom};

use super::{CaError, file};

/// The file in the CA directory: 64 hexadecimal digits.
const FILE: &str = "power.key";

/// The key in this directory; made, and durable, when there is none. Without the old one the passwords that it sealed
/// have to be set again: that is all that is lost with it.
///
/// # Errors
/// [`CaError`]: what is there but can't be used is refused, never replaced.
pub fn power_key(directory: &Path) -> Result<[u8; 32], CaError> {
    file::make_directory(directory)?;
    let path = directory.join(FILE);
    let text = match file::read(&path)? {
        Some(text) => text,
        None => {
            let mut key = [0; 32];
            SystemRandom::new().fill(&mut key).map_err(|_| CaError::Random)?;
            let text = HEXLOWER.encode(&key) + "\n";
            file::replace(directory, FILE, text.as_bytes())?;
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

    use super::{FILE, power_key};
    use crate::ca::CaError;

    #[test]
    fn it_is_made_once_for_its_owner_only_and_what_is_damaged_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca");
        let first = power_key(&ca).unwrap();
        assert_eq!(power_key(&ca).unwrap(), first);
        let path = ca.join(FILE);
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
