//! The key that signs the images which this controller takes of its nodes.

use std::path::Path;

use pack::SigningKey;

use super::{CaError, secret_key};

/// The file in the CA directory: the key's seed, 64 hexadecimal digits.
const FILE: &str = "images.key";

/// The key in this directory; made, and durable, when there is none. Without the old one, images that it has signed are not
/// trusted any more and have to be taken again: that is all that is lost with it.
///
/// # Errors
/// [`CaError`]: what is there but can't be used is refused, never replaced.
pub fn image_key(directory: &Path) -> Result<SigningKey, CaError> {
    let seed = secret_key::key(directory, FILE)?;
    let damaged = |why: &str| CaError::Damaged { path: directory.join(FILE), why: why.to_owned() };
    SigningKey::from_seed(&seed).map_err(|error| damaged(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::{FILE, image_key};
    use crate::ca::CaError;

    #[test]
    fn it_is_made_once_and_what_is_damaged_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca");
        let first = image_key(&ca).unwrap().public();
        assert_eq!(image_key(&ca).unwrap().public(), first);
        let path = ca.join(FILE);
        for damage in ["", "ab", &"g".repeat(64), &"a".repeat(66)] {
            std::fs::write(&path, damage).unwrap();
            let told = image_key(&ca).unwrap_err();
            assert!(matches!(told, CaError::Damaged { .. }), "{told}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), damage);
        }
        std::fs::remove_file(&path).unwrap();
        assert_ne!(image_key(&ca).unwrap().public(), first);
    }
}
