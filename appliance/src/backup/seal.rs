//! The frame of a backup: a head that says which kit opens it, then pieces that are encrypted and authenticated one by one, so
//! that none can be changed, moved, left out or put in, and the end can't be cut off.

use std::io::{self, Read, Write};

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use ring::rand::{SecureRandom, SystemRandom};

use super::kit::{Kit, name};
use crate::journal::chain::sha256;

const MAGIC: &[u8; 8] = b"RWBACKUP";
/// This version of the format.
pub const VERSION: u16 = 1;
/// Bytes of the head.
pub const HEAD: usize = 72;
/// Bytes of a piece before it is sealed; only the last has fewer.
pub const PIECE: usize = 64 << 10;
/// Bytes that sealing adds to a piece.
pub const TAG: usize = 16;
/// Bytes of a piece as it lies in the file.
const SEALED: usize = PIECE + TAG;

/// Why a file is no backup, or not one that this kit opens.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Another kind of file.
    #[error("this is not a backup of rackwright")]
    Magic,
    /// The head is not whole.
    #[error("the backup's head is damaged: use another copy of it")]
    Head,
    /// Made by a later version.
    #[error(
        "the backup was made by a later version (format {0}; this one knows {VERSION}): use that version"
    )]
    Later(u16),
    /// Sealed for another kit.
    #[error("the backup belongs to recovery kit {wanted}; the one that was given is {given}")]
    OtherKit {
        /// The name of the kit that opens it.
        wanted: String,
        /// The name of the one that was given.
        given: String,
    },
    /// A piece is not what was sealed.
    #[error(
        "the backup is damaged, or was cut off, within the {PIECE} bytes from byte {0} on: use another copy of it"
    )]
    Damaged(u64),
    /// The kernel gave none.
    #[error("the kernel gives no random numbers")]
    Random,
    /// It can't be read.
    #[error("reading the backup: {0}")]
    Read(String),
}

struct KeyBytes;

impl KeyType for KeyBytes {
    fn len(&self) -> usize {
        32
    }
}

/// The key of one file: HKDF-SHA-256 of the kit's secret, salted by the file's own 32 random bytes.
fn key(kit: &Kit, salt: &[u8]) -> Option<LessSafeKey> {
    let pseudo = Salt::new(HKDF_SHA256, salt).extract(kit.secret());
    let mut bytes = [0; 32];
    pseudo.expand(&[b"rackwright backup v1"], KeyBytes).ok()?.fill(&mut bytes).ok()?;
    UnboundKey::new(&CHACHA20_POLY1305, &bytes).ok().map(LessSafeKey::new)
}

/// The last piece has a 1 in front, every other a 0; then the piece's number.
fn nonce(number: u64, last: bool) -> Nonce {
    let mut bytes = [0; 12];
    let (front, back) = bytes.split_at_mut(4);
    front.copy_from_slice(&u32::from(last).to_be_bytes());
    back.copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// The head of a file for this kit.
fn head(kit: &Kit, salt: &[u8; 32]) -> Vec<u8> {
    let piece = u32::try_from(PIECE).unwrap_or(u32::MAX).to_be_bytes();
    let mut head =
        [MAGIC.as_slice(), &VERSION.to_be_bytes(), &[0; 2], &piece, &kit.id(), salt.as_slice()].concat();
    let sum = sha256(&head);
    head.extend_from_slice(sum.get(..8).unwrap_or_default());
    head
}

/// Seals what is written to it.
pub struct Sealer<W> {
    out: W,
    key: LessSafeKey,
    head: Vec<u8>,
    held: Vec<u8>,
    number: u64,
}

impl<W> std::fmt::Debug for Sealer<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").field("number", &self.number).finish_non_exhaustive()
    }
}

impl<W: Write> Sealer<W> {
    /// Begins a file for this kit; its head is written.
    ///
    /// # Errors
    /// What the output said; also when the kernel gives no random numbers.
    pub fn begin(out: W, kit: &Kit) -> io::Result<Self> {
        let mut salt = [0; 32];
        SystemRandom::new().fill(&mut salt).map_err(|_| io::Error::other(SealError::Random))?;
        Self::salted(out, kit, salt)
    }

    /// With this salt, which no other file of this kit may have.
    pub(super) fn salted(mut out: W, kit: &Kit, salt: [u8; 32]) -> io::Result<Self> {
        let key = key(kit, &salt).ok_or_else(|| io::Error::other(SealError::Random))?;
        let head = head(kit, &salt);
        out.write_all(&head)?;
        Ok(Self { out, key, head, held: Vec::with_capacity(SEALED), number: 0 })
    }

    /// Ends the file; what it was written to.
    ///
    /// # Errors
    /// What the output said.
    pub fn end(mut self) -> io::Result<W> {
        self.seal(true)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn seal(&mut self, last: bool) -> io::Result<()> {
        let sealed = self.key.seal_in_place_append_tag(
            nonce(self.number, last),
            Aad::from(&self.head),
            &mut self.held,
        );
        sealed.map_err(|_| io::Error::other("a piece could not be sealed"))?;
        self.out.write_all(&self.held)?;
        self.held.clear();
        self.number += 1;
        Ok(())
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.held.len() == PIECE {
            self.seal(false)?;
        }
        let taken = bytes.len().min(PIECE - self.held.len());
        self.held.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Opens a file piece by piece: nothing of a piece is handed out before all of it was found genuine.
pub struct Opener<R> {
    from: R,
    key: LessSafeKey,
    head: Vec<u8>,
    /// The next piece, as it lies in the file.
    ahead: Vec<u8>,
    open: Vec<u8>,
    used: usize,
    number: u64,
    ended: bool,
}

impl<R> std::fmt::Debug for Opener<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opener").field("number", &self.number).finish_non_exhaustive()
    }
}

impl<R: Read> Opener<R> {
    /// Reads the head.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn begin(mut from: R, kit: &Kit) -> Result<Self, SealError> {
        let head = filled(&mut from, HEAD)?;
        if head.get(..8) != Some(MAGIC) {
            return Err(SealError::Magic);
        }
        let (Some(summed), Some(sum)) = (head.get(..64), head.get(64..HEAD)) else {
            return Err(SealError::Head);
        };
        if sha256(summed).get(..8) != Some(sum) {
            return Err(SealError::Head);
        }
        let version = summed.get(8..10).and_then(|two| <[u8; 2]>::try_from(two).ok()).unwrap_or_default();
        let version = u16::from_be_bytes(version);
        if version > VERSION {
            return Err(SealError::Later(version));
        }
        let (Some(id), Some(salt)) = (summed.get(16..32), summed.get(32..64)) else {
            return Err(SealError::Head);
        };
        if id != kit.id() {
            let wanted = <[u8; 16]>::try_from(id).unwrap_or_default();
            return Err(SealError::OtherKit { wanted: name(&wanted), given: kit.name() });
        }
        if summed.get(10..16) != Some(&[0, 0, 0, 1, 0, 0]) || version == 0 {
            return Err(SealError::Head);
        }
        let key = key(kit, salt).ok_or(SealError::Head)?;
        let ahead = filled(&mut from, SEALED)?;
        Ok(Self { from, key, head, ahead, open: Vec::new(), used: 0, number: 0, ended: false })
    }

    /// So many bytes, or an error.
    ///
    /// # Errors
    /// [`SealError`]: damaged, or not so many are left.
    pub fn take(&mut self, bytes: usize) -> Result<Vec<u8>, SealError> {
        let mut taken = Vec::new();
        while taken.len() < bytes {
            if self.used == self.open.len() && !self.advance()? {
                return Err(SealError::Damaged(self.place()));
            }
            let rest = self.open.get(self.used..).unwrap_or_default();
            let piece = rest.get(..rest.len().min(bytes - taken.len())).unwrap_or_default();
            taken.extend_from_slice(piece);
            self.used += piece.len();
        }
        Ok(taken)
    }

    /// Whether all of it was taken.
    ///
    /// # Errors
    /// [`SealError::Damaged`].
    pub fn is_at_end(&mut self) -> Result<bool, SealError> {
        Ok(self.used == self.open.len() && !self.advance()?)
    }

    /// Opens the next piece that has something in it.
    fn advance(&mut self) -> Result<bool, SealError> {
        if self.ended {
            return Ok(false);
        }
        let mut sealed = std::mem::take(&mut self.ahead);
        if sealed.len() == SEALED {
            self.ahead = filled(&mut self.from, SEALED)?;
        }
        self.ended = self.ahead.is_empty();
        let damaged = SealError::Damaged(self.place());
        let nonce = nonce(self.number, self.ended);
        let length = match self.key.open_in_place(nonce, Aad::from(&self.head), &mut sealed) {
            Ok(open) => open.len(),
            Err(_) => return Err(damaged),
        };
        sealed.truncate(length);
        (self.open, self.used) = (sealed, 0);
        self.number += 1;
        if length == 0 { self.advance() } else { Ok(true) }
    }

    fn place(&self) -> u64 {
        let pieces = self.number.saturating_mul(u64::try_from(SEALED).unwrap_or(u64::MAX));
        pieces.saturating_add(u64::try_from(HEAD).unwrap_or(0))
    }
}

/// Up to so many bytes; fewer only at the end.
fn filled(from: &mut impl Read, bytes: usize) -> Result<Vec<u8>, SealError> {
    let mut read = Vec::new();
    let most = u64::try_from(bytes).unwrap_or(u64::MAX);
    from.take(most).read_to_end(&mut read).map_err(|error| SealError::Read(error.to_string()))?;
    Ok(read)
}
