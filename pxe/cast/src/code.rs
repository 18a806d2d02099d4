//! Repair symbols: any K of a group's symbols, of data or repair, give its bytes back (Reed–Solomon over GF(2^16)).

use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};

use crate::wire::{SYMBOL_BYTES, SYMBOLS_MAX};

/// How many repair symbols a group of so many data symbols has: a quarter as many, which makes up for one loss in five.
#[must_use]
pub fn repairs(symbols: u16) -> u16 {
    (symbols / 4).clamp(16, 256).next_power_of_two()
}

/// Symbols that can't be coded: none, too many, not whole, or not enough of them to decode.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("coding symbols: {0}")]
pub struct CodeError(reed_solomon_simd::Error);

impl From<reed_solomon_simd::Error> for CodeError {
    fn from(error: reed_solomon_simd::Error) -> CodeError {
        CodeError(error)
    }
}

/// Makes repair symbols; its working space is used again.
#[derive(Default)]
pub struct Encoder(Option<ReedSolomonEncoder>);

impl Encoder {
    /// Without working space yet.
    #[must_use]
    pub fn new() -> Encoder {
        Encoder::default()
    }

    /// Writes all repair symbols of a group's data symbols, one behind the other, into `out`.
    ///
    /// # Errors
    /// There are no symbols, more than a group has, or the last one is not whole.
    pub fn encode(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), CodeError> {
        let (symbols, rest) = data.as_chunks::<SYMBOL_BYTES>();
        let (count, made) = checked(symbols.len(), rest)?;
        if let Some(encoder) = &mut self.0 {
            encoder.reset(count, made, SYMBOL_BYTES)?;
        } else {
            self.0 = Some(ReedSolomonEncoder::new(count, made, SYMBOL_BYTES)?);
        }
        out.clear();
        let Some(encoder) = &mut self.0 else { return Ok(()) };
        for symbol in symbols {
            encoder.add_original_shard(symbol)?;
        }
        out.reserve(made * SYMBOL_BYTES);
        encoder.encode()?.recovery_iter().for_each(|symbol| out.extend_from_slice(symbol));
        Ok(())
    }
}

/// Makes lost data symbols of others; its working space is used again.
#[derive(Default)]
pub struct Decoder(Option<ReedSolomonDecoder>);

impl Decoder {
    /// Without working space yet.
    #[must_use]
    pub fn new() -> Decoder {
        Decoder::default()
    }

    /// Fills in the data symbols that are `missing` (ascending), of the others in `data` and of repair symbols, each with its number
    /// among those.
    ///
    /// # Errors
    /// There are fewer repair symbols than missing ones, one has an impossible number, or `data` is not the whole symbols of
    /// a group. `data` is as it was then.
    pub fn decode<'a>(
        &mut self,
        data: &mut [u8],
        missing: &[u16],
        repair: impl IntoIterator<Item = (u16, &'a [u8])>,
    ) -> Result<(), CodeError> {
        let (symbols, rest) = data.as_chunks_mut::<SYMBOL_BYTES>();
        let (count, made) = checked(symbols.len(), rest)?;
        if let Some(decoder) = &mut self.0 {
            decoder.reset(count, made, SYMBOL_BYTES)?;
        } else {
            self.0 = Some(ReedSolomonDecoder::new(count, made, SYMBOL_BYTES)?);
        }
        let Some(decoder) = &mut self.0 else { return Ok(()) };
        for (number, symbol) in (0_u16..).zip(symbols.iter()) {
            if missing.binary_search(&number).is_err() {
                decoder.add_original_shard(usize::from(number), symbol)?;
            }
        }
        for (number, symbol) in repair.into_iter().take(missing.len()) {
            decoder.add_recovery_shard(usize::from(number), symbol)?;
        }
        for (number, symbol) in decoder.decode()?.restored_original_iter() {
            if let Some(place) = symbols.get_mut(number) {
                place.copy_from_slice(symbol);
            }
        }
        Ok(())
    }
}

/// How many data symbols and repair symbols a group has, if there is such a group.
fn checked(count: usize, rest: &[u8]) -> Result<(usize, usize), CodeError> {
    if !rest.is_empty() {
        let (shard_bytes, got) = (SYMBOL_BYTES, rest.len());
        return Err(CodeError(reed_solomon_simd::Error::DifferentShardSize { shard_bytes, got }));
    }
    let symbols = u16::try_from(count).unwrap_or(u16::MAX);
    let made = usize::from(repairs(symbols));
    if symbols > SYMBOLS_MAX {
        let (original_count, recovery_count) = (count, made);
        let error = reed_solomon_simd::Error::UnsupportedShardCount { original_count, recovery_count };
        return Err(CodeError(error));
    }
    Ok((count, made))
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
