//! The hardware address: what a node's fixed address hangs on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An Ethernet address of one machine: never zero, never a group address. Printed `aa:bb:cc:dd:ee:ff`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac([u8; 6]);

/// Why a text or six octets are not the address of one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMac {
    /// Not twelve hexadecimal digits in one of the four spellings.
    #[error(
        "not a MAC address (expected aa:bb:cc:dd:ee:ff, aa-bb-cc-dd-ee-ff, aabb.ccdd.eeff or aabbccddeeff)"
    )]
    Spelling,
    /// All octets are zero: what firmware reports for a card that is not there.
    #[error("the MAC address is all zeros")]
    Zero,
    /// The group bit is set (IEEE 802-2014, 8.2.2): a multicast or the broadcast address, which no card has.
    #[error("the MAC address names a group, not one machine")]
    Group,
}

impl Mac {
    /// The address with these octets.
    ///
    /// # Errors
    /// [`BadMac::Zero`] and [`BadMac::Group`]: no machine has such an address.
    pub fn new(octets: [u8; 6]) -> Result<Mac, BadMac> {
        let [first, ..] = octets;
        if octets == [0; 6] {
            Err(BadMac::Zero)
        } else if first & 1 == 1 {
            Err(BadMac::Group)
        } else {
            Ok(Mac(octets))
        }
    }

    /// The octets, in the order they travel.
    #[must_use]
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }

    /// `aa-bb-cc-dd-ee-ff`, the spelling in paths and in iPXE's `${net0/mac:hexhyp}`.
    #[must_use]
    pub fn hyphens(self) -> String {
        self.joined('-')
    }

    fn joined(self, between: char) -> String {
        let mut text = String::with_capacity(17);
        for octet in self.0 {
            if !text.is_empty() {
                text.push(between);
            }
            text.push_str(&format!("{octet:02x}"));
        }
        text
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.joined(':'))
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mac({self})")
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> String {
        mac.to_string()
    }
}

impl TryFrom<String> for Mac {
    type Error = BadMac;

    fn try_from(text: String) -> Result<Mac, BadMac> {
        text.parse()
    }
}

impl FromStr for Mac {
    type Err = BadMac;

    /// Reads one of four spellings, in either case: `aa:bb:cc:dd:ee:ff`, `aa-bb-cc-dd-ee-ff`, `aabb.ccdd.eeff`
    /// (switches print it so) and `aabbccddeeff`. Mixed separators are refused.
    fn from_str(text: &str) -> Result<Mac, BadMac> {
        let (between, group) = match text.len() {
            17 if text.contains(':') => (':', 2),
            17 => ('-', 2),
            14 => ('.', 4),
            12 => ('\0', 12),
            _ => return Err(BadMac::Spelling),
        };
        let mut digits = 0_u64;
        let mut groups = 0;
        for part in text.split(between) {
            if part.len() != group || !part.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(BadMac::Spelling);
            }
            let value = u64::from_str_radix(part, 16).map_err(|_| BadMac::Spelling)?;
            digits = (digits << (4 * group)) | value;
            groups += 1;
        }
        if groups * group != 12 {
            return Err(BadMac::Spelling);
        }
        let [_, _, octets @ ..] = digits.to_be_bytes();
        Mac::new(octets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_the_same_machine() {
        for text in ["52:54:00:AB:cd:0f", "52-54-00-ab-cd-0f", "5254.00ab.cd0f", "525400abcd0f"] {
            let mac: Mac = text.parse().unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!(mac.to_string(), "52:54:00:ab:cd:0f", "{text}");
            assert_eq!(mac.hyphens(), "52-54-00-ab-cd-0f", "{text}");
            assert_eq!(mac.octets(), [0x52, 0x54, 0, 0xab, 0xcd, 0x0f], "{text}");
        }
    }

    #[test]
    fn texts_that_name_no_machine() {
        let table = [
            ("", BadMac::Spelling),
            (" 52:54:00:ab:cd:0f", BadMac::Spelling),
            ("52:54:00:ab:cd:0f ", BadMac::Spelling),
            ("52:54:00:ab:cd", BadMac::Spelling),
            ("52:54:00:ab:cd:0f:11", BadMac::Spelling),
            ("52:54:00:ab:cd-0f", BadMac::Spelling),
            ("52-54-00-ab-cd:0f", BadMac::Spelling),
            ("5254:00ab:cd0f", BadMac::Spelling),
            ("52.54.00.ab.cd.0f", BadMac::Spelling),
            ("+2:54:00:ab:cd:0f", BadMac::Spelling),
            ("52:54:00:ab:cd:0g", BadMac::Spelling),
            ("525:4:00:ab:cd:0f", BadMac::Spelling),
            ("::::::::::::-----", BadMac::Spelling),
            ("-----------------", BadMac::Spelling),
            ("..............", BadMac::Spelling),
            ("52540\u{30}\u{301}abcd", BadMac::Spelling),
            ("é2:54:00:ab:cd:0", BadMac::Spelling),
            ("000000000000", BadMac::Zero),
            ("ff:ff:ff:ff:ff:ff", BadMac::Group),
            ("01:00:5e:00:00:01", BadMac::Group),
        ];
        for (text, why) in table {
            assert_eq!(text.parse::<Mac>(), Err(why), "{text:?}");
        }
    }
}
