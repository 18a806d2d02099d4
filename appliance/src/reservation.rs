//! Servers that an operator has made known before their first packet.

use fleet::Time;
use serde::{Deserialize, Serialize};

/// A server that is answered whatever else is known of it. The address that goes with it, when one was given, is a
/// lease that the operator fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// Since when.
    pub made: Time,
}
