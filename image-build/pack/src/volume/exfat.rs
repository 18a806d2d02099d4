//! exFAT.

use super::{Unread, Volume};
use crate::Source;

pub(super) fn read(_source: &dyn Source, _depth: u8) -> Result<Volume, Unread> {
    Err(Unread::Other)
}
