//! The recovery kit: the key of the backups as a page that a person prints, puts away, and one day types in.
//!
//! 256 bits are 52 characters of an alphabet without look-alikes (Crockford's base 32), in 13 groups of four. Each group has a
//! fifth character that shows any wrong character, any two that were exchanged in it, and a group in another's place.

use std::path::Path;

use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};

/// Where a controller keeps the secret, in its state directory.
pub const FILE: &str = "recovery.key";
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const GROUPS: usize = 13;
const GROUP: usize = 5;
/// A text that is longer is no kit, in bytes.
const MAX_TEXT: usize = 64 << 10;

/// Why a kit can't be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KitError {
    /// Another number of characters.
    #[error(
        "the recovery kit has {found} characters instead of 65 (13 groups of 5): type the lines that begin with KEY"
    )]
    Length {
        /// How many.
        found: usize,
    },
    /// A character that is never printed.
    #[error("{found:?} is in no recovery kit: it has digits and capital letters without I, L, O and U")]
    Character {
        /// Which.
        found: char,
    },
    /// A group with a slip.
    #[error("group {number} of the recovery kit ({group}) is mistyped: compare it with the page")]
    Group {
        /// Counted from one.
        number: usize,
        /// As it was typed.
        group: String,
    },
    /// The last bits are not what they always are.
    #[error("the last group of the recovery kit is mistyped: compare it with the page")]
    End,
    /// The secret's file is not one.
    #[error("{0} is damaged: restore it with the printed kit (rackwright backup key --kit FILE)")]
    Damaged(String),
    /// The file can't be read.
    #[error("reading {0}: {1}")]
    Read(String, String),
    /// The kernel gave none.
    #[error("the kernel gives no random numbers")]
    Random,
}

/// The secret that backups are sealed with.
#[derive(Clone, PartialEq, Eq)]
pub struct Kit([u8; 32]);

impl std::fmt::Debug for Kit {
    /// Never the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kit({})", self.name())
    }
}

impl Kit {
    /// A new one.
    ///
    /// # Errors
    /// [`KitError::Random`].
    pub fn new() -> Result<Self, KitError> {
        let mut secret = [0; 32];
        SystemRandom::new().fill(&mut secret).map_err(|_| KitError::Random)?;
        Ok(Self(secret))
    }

    /// With this secret.
    pub fn of(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// The secret.
    pub(crate) fn secret(&self) -> &[u8; 32] {
        &self.0
    }

    /// What a backup says of the kit that opens it: says nothing about the secret.
    pub fn id(&self) -> [u8; 16] {
        let hash = digest(&SHA256, &[b"rackwright recovery kit v1\n".as_slice(), &self.0].concat());
        let mut id = [0; 16];
        id.copy_from_slice(hash.as_ref().get(..16).unwrap_or(&[0; 16]));
        id
    }

    /// How people tell kits apart: eight hexadecimal digits.
    pub fn name(&self) -> String {
        name(&self.id())
    }

    /// The secret of a controller; none when it has none.
    ///
    /// # Errors
    /// [`KitError::Read`], [`KitError::Damaged`].
    pub fn stored(path: &Path) -> Result<Option<Self>, KitError> {
        let shown = path.display().to_string();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(KitError::Read(shown, error.to_string())),
        };
        let bytes = data_encoding::HEXLOWER.decode(text.trim().as_bytes()).ok();
        let secret = bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(KitError::Damaged(shown))?;
        Ok(Some(Self(secret)))
    }

    /// Keeps it on this controller, so that backups need no typing.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn store(&self, path: &Path) -> std::io::Result<()> {
        super::replace(path, (data_encoding::HEXLOWER.encode(&self.0) + "\n").as_bytes())
    }

    /// Its groups, as they are printed.
    pub fn groups(&self) -> Vec<String> {
        let values = values(&self.0);
        let group = |(number, four): (usize, &[u8])| {
            let check = check(number, four);
            four.iter().chain([&check]).map(|value| letter(*value)).collect()
        };
        values.chunks(GROUP - 1).enumerate().map(group).collect()
    }

    /// Reads what a person typed, or the page itself: then the lines that begin with KEY count.
    ///
    /// # Errors
    /// [`KitError`], naming the group that is mistyped.
    pub fn parse(text: &str) -> Result<Self, KitError> {
        let text = text.get(..text.len().min(MAX_TEXT)).unwrap_or_default();
        let keyed = text.lines().filter_map(|line| line.trim().strip_prefix("KEY")).collect::<Vec<_>>();
        let typed = if keyed.is_empty() { text.to_owned() } else { keyed.concat() };
        let typed = typed.chars().filter(|c| !c.is_whitespace() && *c != '-').collect::<Vec<_>>();
        if typed.len() != GROUPS * GROUP {
            return Err(KitError::Length { found: typed.len() });
        }
        let mut values = Vec::new();
        for (number, group) in typed.chunks(GROUP).enumerate() {
            let read = group.iter().map(|c| value(*c)).collect::<Result<Vec<_>, _>>()?;
            let Some((last, four)) = read.split_last() else { return Err(KitError::End) };
            if check(number, four) != *last {
                return Err(KitError::Group { number: number + 1, group: group.iter().collect() });
            }
            values.extend_from_slice(four);
        }
        secret(&values).map(Self).ok_or(KitError::End)
    }

    /// The page to be printed: 80 columns, 24 lines.
    pub fn page(&self, site: &str, made: &str) -> String {
        let groups = self.groups();
        let mut page =
            format!("RACKWRIGHT RECOVERY KIT\n\n  site  {site}\n  kit   {}\n  made  {made}\n\n", self.name());
        page.push_str("This key opens every backup of this controller. Whoever has it and a backup can\n");
        page.push_str("be this controller; without it, nobody can read a backup. Print this page, put\n");
        page.push_str("it where you keep keys, and keep no copy on the controller.\n\n");
        for line in groups.chunks(5) {
            page.push_str(&format!("KEY   {}\n", line.join(" ")));
        }
        page.push_str("\nIf the controller is lost: install rackwright on another machine, then\n\n");
        page.push_str(
            "  rackwright restore FILE --kit -\n\nand type the lines that begin with KEY, then Ctrl-D.\n",
        );
        page
    }
}

/// How people tell kits apart, of a kit's id.
pub fn name(id: &[u8; 16]) -> String {
    let digits = data_encoding::HEXLOWER.encode(id.get(..4).unwrap_or_default());
    let (one, other) = digits.split_at(4);
    format!("{one}-{other}")
}

/// 32 bytes as 52 values of five bits, the last one with four zero bits.
fn values(secret: &[u8; 32]) -> Vec<u8> {
    let (mut values, mut held, mut bits) = (Vec::new(), 0u16, 0);
    for byte in secret {
        held = (held << 8) | u16::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            values.push(u8::try_from((held >> bits) & 31).unwrap_or(0));
        }
        held &= (1 << bits) - 1;
    }
    values.push(u8::try_from((held << (5 - bits)) & 31).unwrap_or(0));
    values
}

fn secret(values: &[u8]) -> Option<[u8; 32]> {
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0u16, 0);
    for value in values {
        held = (held << 5) | u16::from(*value);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits).ok()?);
            held &= (1 << bits) - 1;
        }
    }
    if held == 0 { bytes.try_into().ok() } else { None }
}

/// The fifth character: a sum in the field of 32 elements, each place with another weight, and the group's number.
fn check(number: usize, four: &[u8]) -> u8 {
    let start = u8::try_from(number + 1).unwrap_or(0);
    four.iter().zip([2, 4, 8, 16]).fold(start, |sum, (value, weight)| sum ^ times(*value, weight))
}

/// Product modulo x^5 + x^2 + 1.
fn times(mut a: u8, mut b: u8) -> u8 {
    let mut product = 0;
    while b != 0 {
        if b & 1 != 0 {
            product ^= a;
        }
        a <<= 1;
        if a & 32 != 0 {
            a ^= 0b10_0101;
        }
        b >>= 1;
    }
    product
}

fn letter(value: u8) -> char {
    char::from(ALPHABET.get(usize::from(value)).copied().unwrap_or(b'?'))
}

/// Small letters too, and what is easily taken for a digit.
fn value(typed: char) -> Result<u8, KitError> {
    let meant = match typed.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    let place = ALPHABET.iter().position(|known| char::from(*known) == meant);
    place.and_then(|place| u8::try_from(place).ok()).ok_or(KitError::Character { found: typed })
}
