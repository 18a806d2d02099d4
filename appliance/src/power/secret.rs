//! Passwords of management controllers: in memory, and sealed for the data base.

use std::fmt;

use data_encoding::BASE64;
use fleet::power::{Account, Address, Kind, Sealed, User};
use protocol::NodeId;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

/// A password. Nothing prints it, and it can't be serialised.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Passwords that controllers leave the factory with, and their users: known to everybody who would look for them.
const FACTORY: [(&str, &str); 9] = [
    ("ADMIN", "ADMIN"),
    ("root", "calvin"),
    ("USERID", "PASSW0RD"),
    ("admin", "admin"),
    ("admin", "password"),
    ("Administrator", "admin"),
    ("root", "0penBmc"),
    ("root", "root"),
    ("root", "changeme"),
];

impl Secret {
    /// Takes a password for this kind.
    ///
    /// # Errors
    /// Why it is not taken, for a person; without the password.
    pub fn new(kind: Kind, text: String) -> Result<Self, &'static str> {
        let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if !printable {
            return Err(
                "a password has printable ASCII characters only: controllers disagree about all others",
            );
        }
        match kind {
            // The specification's longest (IPMI 2.0, 22.30); the others mean something in a configuration of FreeIPMI.
            Kind::Ipmi if !(1..=20).contains(&text.len()) => {
                Err("a password for IPMI has 1 to 20 characters")
            }
            Kind::Ipmi if text.contains(['"', '\\']) => {
                Err("a password for IPMI has neither \" nor \\ in it here: set another on the controller")
            }
            Kind::Redfish | Kind::Wol | Kind::Manual if !(1..=128).contains(&text.len()) => {
                Err("a password has 1 to 128 characters")
            }
            Kind::Ipmi | Kind::Redfish | Kind::Wol | Kind::Manual => Ok(Self(text)),
        }
    }

    /// The password: only for what is sent to the controller.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether it is the one that the controller, or one like it, was delivered with.
    pub(super) fn is_factory(&self, user: &User) -> bool {
        let same = |known: &str| known.eq_ignore_ascii_case(user.as_str());
        FACTORY.iter().any(|(known, password)| same(known) && *password == self.0) || user.as_str() == self.0
    }
}

/// Why a password is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The kernel gave no random numbers.
    #[error("sealing a password: the kernel gives no random numbers")]
    Random,
    /// It could not be sealed.
    #[error("sealing a password failed")]
    Seal,
    /// It was sealed with another key, or for another account.
    #[error(
        "its password can't be opened: it was sealed with another key (ca/power.key) or for another account; set it \
         again (rackwright node bmc set)"
    )]
    Foreign,
}

/// What seals passwords: ChaCha20-Poly1305 under a key that is in no data base. Each is bound to its node, kind, address and
/// user, so that whoever can change the data base still can't have it sent to himself.
pub struct Vault {
    key: LessSafeKey,
    dice: SystemRandom,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault")
    }
}

fn bond(node: NodeId, kind: Kind, address: &Address, user: &User) -> Vec<u8> {
    format!("rackwright power v1\n{node}\n{}\n{address}\n{}", kind.word(), user.as_str()).into_bytes()
}

impl Vault {
    /// With this key.
    ///
    /// # Errors
    /// [`VaultError::Seal`], which ring says of keys of another length only.
    pub fn new(key: &[u8; 32]) -> Result<Self, VaultError> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, key).map_err(|_| VaultError::Seal)?;
        Ok(Self { key: LessSafeKey::new(key), dice: SystemRandom::new() })
    }

    /// Seals a password for this account.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn seal(
        &self,
        node: NodeId,
        (kind, address, user): (Kind, &Address, &User),
        secret: &Secret,
    ) -> Result<Sealed, VaultError> {
        let mut nonce = [0; NONCE_LEN];
        self.dice.fill(&mut nonce).map_err(|_| VaultError::Random)?;
        let mut text = secret.0.clone().into_bytes();
        let aad = Aad::from(bond(node, kind, address, user));
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut text)
            .map_err(|_| VaultError::Seal)?;
        Ok(Sealed(BASE64.encode(&[nonce.as_slice(), &text].concat())))
    }

    /// Opens the password of this account.
    ///
    /// # Errors
    /// [`VaultError::Foreign`].
    pub fn open(&self, node: NodeId, account: &Account) -> Result<Secret, VaultError> {
        let Account { kind, address: Some(address), user: Some(user), sealed: Some(sealed), .. } = account
        else {
            return Err(VaultError::Foreign);
        };
        let bytes = BASE64.decode(sealed.0.as_bytes()).map_err(|_| VaultError::Foreign)?;
        let (nonce, rest) = bytes.split_first_chunk::<NONCE_LEN>().ok_or(VaultError::Foreign)?;
        let mut rest = rest.to_vec();
        let aad = Aad::from(bond(node, *kind, address, user));
        let open = self.key.open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut rest);
        let text = open.map_err(|_| VaultError::Foreign)?.to_vec();
        String::from_utf8(text).map(Secret).map_err(|_| VaultError::Foreign)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet::Time;

    fn account(vault: &Vault, node: NodeId) -> Account {
        let (address, user) = ("10.0.0.5".parse().unwrap(), "ops".parse().unwrap());
        let secret = Secret::new(Kind::Ipmi, "hunter 2#".to_owned()).unwrap();
        let sealed = vault.seal(node, (Kind::Ipmi, &address, &user), &secret).unwrap();
        let (address, user, sealed) = (Some(address), Some(user), Some(sealed));
        Account { kind: Kind::Ipmi, address, user, sealed, pin: None, set: Time(0) }
    }

    #[test]
    fn a_password_is_opened_for_whom_it_was_sealed_and_for_nobody_else() {
        let vault = Vault::new(&[7; 32]).unwrap();
        let node = NodeId([1; 16]);
        let good = account(&vault, node);
        assert_eq!(vault.open(node, &good).unwrap().reveal(), "hunter 2#");
        let kept = serde_json::to_string(&good).unwrap() + &format!("{good:?}");
        assert!(!kept.contains("hunter"), "{kept}");
        assert_ne!(good.sealed, account(&vault, node).sealed, "the same nonce twice");
        assert!(vault.open(NodeId([2; 16]), &good).is_err());
        assert!(Vault::new(&[8; 32]).unwrap().open(node, &good).is_err());
        let elsewhere = Account { address: Some("10.0.0.6".parse().unwrap()), ..good.clone() };
        let another = Account { user: Some("root".parse().unwrap()), ..good.clone() };
        let other_kind = Account { kind: Kind::Redfish, ..good.clone() };
        for changed in [elsewhere, another, other_kind, Account { sealed: None, ..good.clone() }] {
            assert!(vault.open(node, &changed).is_err(), "{changed:?}");
        }
        for text in ["", "AAAA", "not base64!", &BASE64.encode(&[0; 12]), &BASE64.encode(&[0; 64])] {
            let damaged = Account { sealed: Some(Sealed(text.to_owned())), ..good.clone() };
            assert!(vault.open(node, &damaged).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_no_controller_takes_is_refused() {
        for (kind, text) in [
            (Kind::Ipmi, String::new()),
            (Kind::Ipmi, "x".repeat(21)),
            (Kind::Ipmi, "a\"b".to_owned()),
            (Kind::Ipmi, "a\nusername root".to_owned()),
            (Kind::Redfish, "a\0b".to_owned()),
            (Kind::Redfish, "x".repeat(129)),
            (Kind::Redfish, "geheim\u{e4}".to_owned()),
        ] {
            assert!(Secret::new(kind, text.clone()).is_err(), "{text:?}");
        }
        let secret = Secret::new(Kind::Redfish, "calvin".to_owned()).unwrap();
        assert!(secret.is_factory(&"root".parse().unwrap()) && !secret.is_factory(&"ops".parse().unwrap()));
        assert_eq!(format!("{secret:?}"), "Secret");
    }
}
