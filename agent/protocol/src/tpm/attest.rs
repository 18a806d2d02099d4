//! What a TPM attests, as the controller reads it (`TPMS_ATTEST`, Part 2 §10.12.8).

use super::Attest;
use super::response::{Reader, ResponseError};

/// `TPM_GENERATED_VALUE`: no restricted key signs a text of somebody else's that begins so.
const GENERATED: u32 = 0xff54_4347;
const QUOTE: u16 = 0x8018;
/// Clock, resets, restarts, whether the clock is safe; version of the firmware.
const CLOCK_BYTES: usize = 17;
const FIRMWARE_BYTES: usize = 8;

/// Why it is no quote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttestError {
    /// Cut, or more than a quote.
    #[error("it is not as long as it says")]
    Length,
    /// A TPM did not make this text.
    #[error("it was not made by a TPM")]
    Foreign,
    /// It attests something else.
    #[error("it is no quote (type {0:#06x})")]
    Kind(u16),
    /// It is of registers, and none were asked for.
    #[error("it is of {0} banks of registers")]
    Banks(u32),
}

impl From<ResponseError> for AttestError {
    fn from(_: ResponseError) -> Self {
        AttestError::Length
    }
}

/// What a quote is over: the caller's own data. Whose signature it has is for somebody else to say.
///
/// # Errors
/// [`AttestError`].
pub fn quoted(attest: &Attest) -> Result<&[u8], AttestError> {
    let mut rest = Reader(attest.as_bytes());
    if rest.u32()? != GENERATED {
        return Err(AttestError::Foreign);
    }
    let kind = rest.u16()?;
    if kind != QUOTE {
        return Err(AttestError::Kind(kind));
    }
    let _signer = rest.sized()?;
    let over = rest.sized()?;
    let _ = rest.take(CLOCK_BYTES + FIRMWARE_BYTES)?;
    let banks = rest.u32()?;
    if banks != 0 {
        return Err(AttestError::Banks(banks));
    }
    let _digest = rest.sized()?;
    if rest.0.is_empty() { Ok(over) } else { Err(AttestError::Length) }
}
