//! What nodes say to each other when one fetches from another: a question of 64 bytes over TCP, an answer of 8, then the bytes.
//!
//! Specified in `appliance/docs/cast.md`. Questions are authenticated with the key of the door that is asked; answers are not, because each
//! piece has a digest in the manifest.

use super::{Bytes, CODE_BYTES, Malformed, code, is_same, kind, u16_at, u32_at, u64_at};

/// Bytes of a question.
pub const ASK_BYTES: usize = 64;
/// Bytes of an answer, without those that follow it.
pub const ANSWER_BYTES: usize = 8;
/// Bytes that may be asked for at once.
pub const RANGE_BYTES_MAX: u32 = 16 << 20;

const KIND_ASK: u8 = 4;
const KIND_ANSWER: u8 = 5;
const SIGNED_BYTES: usize = ASK_BYTES - CODE_BYTES;
const FOLLOWS: u8 = 0;
const NOT_HERE: u8 = 1;
const OTHER_IMAGE: u8 = 2;

/// A question for a range of an image's data area.
///
/// ```text
/// 0 version  1 kind=4  2 zeros u16  4 bytes u32  8 offset u64  16 image 32 bytes  48 code 16 bytes
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// Where the range begins.
    pub offset: u64,
    /// How long it is: 1 to [`RANGE_BYTES_MAX`].
    pub bytes: u32,
    /// The image's digest.
    pub image: [u8; 32],
}

/// What the answer begins with.
///
/// ```text
/// 0 version  1 kind=5  2 status  3 zero  4 bytes u32
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// So many bytes follow: as many as were asked for, 1 to [`RANGE_BYTES_MAX`].
    Follows(u32),
    /// The range, or a part of it, is not here, or not yet.
    NotHere,
    /// This door is of another image.
    OtherImage,
}

impl Ask {
    /// The question, authenticated with the key of the door.
    #[must_use]
    pub fn packet(&self, key: &[u8; 32]) -> [u8; ASK_BYTES] {
        let mut bytes = Bytes::<ASK_BYTES>::begin(KIND_ASK);
        bytes.put(4, &self.bytes.to_le_bytes());
        bytes.put(8, &self.offset.to_le_bytes());
        bytes.put(16, &self.image);
        let code = code(bytes.0.get(..SIGNED_BYTES).unwrap_or_default(), key);
        bytes.put(SIGNED_BYTES, &code);
        bytes.0
    }

    /// Reads a question to the door with this key.
    ///
    /// # Errors
    /// It is none, or nobody's who may ask.
    pub fn read(packet: &[u8; ASK_BYTES], key: &[u8; 32]) -> Result<Ask, Malformed> {
        if kind(packet)? != KIND_ASK {
            return Err(Malformed::Kind);
        }
        let (body, given) = packet.split_at_checked(SIGNED_BYTES).ok_or(Malformed::Length)?;
        if !is_same(&code(body, key), given) {
            return Err(Malformed::Forged);
        }
        let (bytes, offset) = (u32_at(body, 4)?, u64_at(body, 8)?);
        let image = super::bytes_at(body, 16)?;
        let is_sound = is_length(bytes) && offset.checked_add(u64::from(bytes)).is_some();
        if u16_at(body, 2)? != 0 || !is_sound {
            return Err(Malformed::Number);
        }
        Ok(Ask { offset, bytes, image })
    }
}

impl Answer {
    /// The answer, to be sent before the bytes.
    #[must_use]
    pub fn packet(self) -> [u8; ANSWER_BYTES] {
        let (status, follows) = match self {
            Answer::Follows(follows) => (FOLLOWS, follows),
            Answer::NotHere => (NOT_HERE, 0),
            Answer::OtherImage => (OTHER_IMAGE, 0),
        };
        let mut bytes = Bytes::<ANSWER_BYTES>::begin(KIND_ANSWER);
        bytes.put(2, &[status]);
        bytes.put(4, &follows.to_le_bytes());
        bytes.0
    }

    /// Reads an answer. Whether as many bytes follow as were asked for is for the caller to say.
    ///
    /// # Errors
    /// It is none.
    pub fn read(packet: &[u8; ANSWER_BYTES]) -> Result<Answer, Malformed> {
        if kind(packet)? != KIND_ANSWER {
            return Err(Malformed::Kind);
        }
        let follows = u32_at(packet, 4)?;
        match packet {
            [_, _, FOLLOWS, 0, ..] if is_length(follows) => Ok(Answer::Follows(follows)),
            [_, _, NOT_HERE, 0, ..] if follows == 0 => Ok(Answer::NotHere),
            [_, _, OTHER_IMAGE, 0, ..] if follows == 0 => Ok(Answer::OtherImage),
            _ => Err(Malformed::Number),
        }
    }
}

fn is_length(bytes: u32) -> bool {
    (1..=RANGE_BYTES_MAX).contains(&bytes)
}

#[cfg(test)]
mod tests;
