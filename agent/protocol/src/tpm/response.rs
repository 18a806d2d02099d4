//! What a TPM answers: a chip on a bus that anybody may have put there, so it is read like a packet.

use super::command::Handle;
use super::key::KeyKind;
use super::{Attest, EcPoint, EcdsaSignature, TpmSecret};

/// No answer to what we ask is longer; drivers have buffers of this size.
pub const RESPONSE_BYTES_MAX: usize = 4096;

const HEADER_BYTES: usize = 10;
const ALG_ECDSA: u16 = 0x0018;
const ALG_SHA256: u16 = 0x000b;

/// Why an answer is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// The TPM refuses.
    #[error("it refuses with code {0:#x}{why}", why = explained(*.0))]
    Refused(u32),
    /// It is busy, or tests itself: the same command may be sent again.
    #[error("it is busy (code {0:#x})")]
    Busy(u32),
    /// The answer is cut, or longer than it says.
    #[error("its answer is not as long as it says")]
    Length,
    /// Not the key that was asked for.
    #[error("it made another key than it was asked for")]
    Key,
    /// A secret that is not of ours.
    #[error("it gave a secret of another length")]
    Secret,
    /// Not the signature that was asked for.
    #[error("it signed by another scheme than it was asked for")]
    Scheme,
}

/// Something attested, and the signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// What.
    pub attest: Attest,
    /// By the attestation key.
    pub signature: EcdsaSignature,
}

/// An answer with nothing in it that counts.
///
/// # Errors
/// [`ResponseError`].
pub fn acknowledged(response: &[u8]) -> Result<(), ResponseError> {
    body(response).map(drop)
}

/// The answer to [`super::create_primary`].
///
/// # Errors
/// [`ResponseError`].
pub fn created(kind: KeyKind, response: &[u8]) -> Result<(Handle, EcPoint), ResponseError> {
    let mut rest = body(response)?;
    let handle = Handle(rest.u32()?);
    let _parameters = rest.u32()?;
    let area = rest.sized()?;
    let (_, coordinates) = area.split_at_checked(area.len().saturating_sub(68)).ok_or(ResponseError::Key)?;
    let mut unique = Reader(coordinates);
    let (x, y) = (unique.sized()?, unique.sized()?);
    let point = [x, y].concat().try_into().map(EcPoint).map_err(|_| ResponseError::Key)?;
    // Byte for byte, so that its Name is the one that the controller makes of the point.
    if area != kind.public_area(&point) {
        return Err(ResponseError::Key);
    }
    Ok((handle, point))
}

/// The answer to [`super::start_policy`].
///
/// # Errors
/// [`ResponseError`].
pub fn session_started(response: &[u8]) -> Result<Handle, ResponseError> {
    body(response)?.u32().map(Handle)
}

/// The answer to [`super::activate_credential`].
///
/// # Errors
/// [`ResponseError`].
pub fn activated(response: &[u8]) -> Result<TpmSecret, ResponseError> {
    let mut rest = body(response)?;
    let _parameters = rest.u32()?;
    rest.sized()?.try_into().map(TpmSecret).map_err(|_| ResponseError::Secret)
}

/// The answer to [`super::quote`].
///
/// # Errors
/// [`ResponseError`].
pub fn signed(response: &[u8]) -> Result<Signed, ResponseError> {
    let mut rest = body(response)?;
    let _parameters = rest.u32()?;
    let attest = Attest::new(rest.sized()?.to_vec()).ok_or(ResponseError::Length)?;
    if (rest.u16()?, rest.u16()?) != (ALG_ECDSA, ALG_SHA256) {
        return Err(ResponseError::Scheme);
    }
    let (r, s) = (padded(rest.sized()?)?, padded(rest.sized()?)?);
    let signature = [r, s].concat().try_into().map(EcdsaSignature).map_err(|_| ResponseError::Scheme)?;
    Ok(Signed { attest, signature })
}

/// A number of 32 bytes; TPMs may leave zeros in front away.
fn padded(number: &[u8]) -> Result<Vec<u8>, ResponseError> {
    let zeros = 32_usize.checked_sub(number.len()).ok_or(ResponseError::Scheme)?;
    Ok([vec![0; zeros], number.to_vec()].concat())
}

/// What follows the header of an answer that is no refusal.
fn body(response: &[u8]) -> Result<Reader<'_>, ResponseError> {
    let mut rest = Reader(response);
    let _tag = rest.u16()?;
    let length = usize::try_from(rest.u32()?).map_err(|_| ResponseError::Length)?;
    let code = rest.u32()?;
    if length != response.len() || !(HEADER_BYTES..=RESPONSE_BYTES_MAX).contains(&length) {
        return Err(ResponseError::Length);
    }
    match code {
        0 => Ok(rest),
        // Yielded, testing, retry.
        0x908 | 0x90a | 0x922 => Err(ResponseError::Busy(code)),
        code => Err(ResponseError::Refused(code)),
    }
}

/// Codes that a person can do something about (Part 2, §6.6.3).
fn explained(code: u32) -> &'static str {
    // Format 1: the number of the handle, session or parameter is told with it.
    let of_format_1 = code & 0x80 != 0;
    match code & 0xfff {
        0x100 => ": it was not started by the firmware",
        0x101 => ": it is in failure mode, and the server's power has to be cut",
        0x120 => ": it is disabled by the firmware",
        0x921 => ": it is locked after too many wrong passwords",
        code if of_format_1 => match code & 0x3f {
            0x05 => ": its endorsement hierarchy is disabled by the firmware",
            0x0e | 0x22 => {
                ": its endorsement hierarchy has a password; clear the TPM in the firmware's setup"
            }
            0x03 | 0x26 => ": it knows no keys on the curve P-256",
            _ => "",
        },
        _ => "",
    }
}

/// Reads front to back, and never past the end.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, bytes: usize) -> Result<&'a [u8], ResponseError> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(ResponseError::Length)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ResponseError> {
        self.take(N)?.try_into().map_err(|_| ResponseError::Length)
    }

    pub(super) fn u16(&mut self) -> Result<u16, ResponseError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, ResponseError> {
        self.array().map(u32::from_be_bytes)
    }

    /// A `TPM2B`.
    pub(super) fn sized(&mut self) -> Result<&'a [u8], ResponseError> {
        let bytes = self.u16()?;
        self.take(usize::from(bytes))
    }
}
