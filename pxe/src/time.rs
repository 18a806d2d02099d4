//! Time as an argument: this crate has no clock.

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970 by the controller's clock (the unit the rest of the controller uses).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Time(pub u64);

impl Time {
    /// This time and so many seconds; the end of time when that is later than it.
    #[must_use]
    pub const fn plus_seconds(self, seconds: u64) -> Time {
        Time(self.0.saturating_add(seconds.saturating_mul(1000)))
    }

    /// Whole seconds from `earlier` to this time; 0 when it is later.
    #[must_use]
    pub const fn seconds_since(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0) / 1000
    }
}
