//! The options of a message, raw.
//!
//! Not `dhcproto`'s iterator: it ends at a cut option without a word, and joins only parts that follow each other.
//! RFC 3396 asks for all parts of a code, wherever they stand, in the order options, file, sname.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::request::Malformed;

const PAD: u8 = 0;
const END: u8 = 255;
const OVERLOAD: u8 = 52;

/// Every option of a message by its code, parts joined.
#[derive(Debug)]
pub(super) struct Options(BTreeMap<u8, Vec<u8>>);

impl Options {
    /// Reads the options after the cookie, and those in `file` and `sname` when option 52 says that there are some.
    pub(super) fn read(message: &[u8]) -> Result<Options, Malformed> {
        let mut options = Options(BTreeMap::new());
        options.area(message.get(240..).unwrap_or_default())?;
        let (file, sname) = match options.get(OVERLOAD) {
            None => (false, false),
            Some([1]) => (true, false),
            Some([2]) => (false, true),
            Some([3]) => (true, true),
            Some(value) => return Err(Malformed::OptionLength { code: OVERLOAD, length: value.len() }),
        };
        if file {
            options.area(message.get(108..236).unwrap_or_default())?;
        }
        if sname {
            options.area(message.get(44..108).unwrap_or_default())?;
        }
        Ok(options)
    }

    /// The octets of an option.
    pub(super) fn get(&self, code: u8) -> Option<&[u8]> {
        self.0.get(&code).map(Vec::as_slice)
    }

    /// An option that is an address.
    pub(super) fn address(&self, code: u8) -> Result<Option<Ipv4Addr>, Malformed> {
        let Some(value) = self.get(code) else { return Ok(None) };
        let octets = <[u8; 4]>::try_from(value);
        let octets = octets.map_err(|_| Malformed::OptionLength { code, length: value.len() })?;
        Ok(Some(Ipv4Addr::from(octets)))
    }

    /// Reads one area up to its END; an area without one ends where its octets end, as some firmware sends it.
    fn area(&mut self, mut octets: &[u8]) -> Result<(), Malformed> {
        while let Some((code, rest)) = octets.split_first() {
            octets = rest;
            match *code {
                PAD => {}
                END => return Ok(()),
                code => {
                    let cut = Malformed::OptionCut(code);
                    let (length, rest) = octets.split_first().ok_or(cut)?;
                    let (value, rest) = rest.split_at_checked(usize::from(*length)).ok_or(cut)?;
                    self.0.entry(code).or_default().extend_from_slice(value);
                    octets = rest;
                }
            }
        }
        Ok(())
    }
}

/// The sub-options of an encapsulating option (82, 175). Stops at the first that is cut.
pub(super) fn sub_options(mut octets: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (code, rest) = octets.split_first()?;
        let (length, rest) = rest.split_first()?;
        let (value, rest) = rest.split_at_checked(usize::from(*length))?;
        octets = rest;
        Some((*code, value))
    })
}
