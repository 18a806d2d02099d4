//! Time as an argument.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970 by the controller's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Time(pub u64);

impl Time {
    /// This time and so many seconds.
    #[must_use]
    pub fn plus_seconds(self, seconds: u64) -> Time {
        Time(self.0.saturating_add(seconds.saturating_mul(1000)))
    }

    /// Whole seconds from `earlier` to this time; 0 when it is later.
    #[must_use]
    pub fn seconds_since(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0) / 1000
    }
}

/// 9999-12-31T23:59:59.999Z: RFC 3339 has no later moment.
const LAST_MS: u64 = 253_402_300_799_999;

impl fmt::Display for Time {
    /// RFC 3339, UTC, to the millisecond; a moment after the year 9999 (a damaged row) as the last one of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = Duration::from_millis(self.0.min(LAST_MS));
        write!(f, "{}", humantime::format_rfc3339_millis(UNIX_EPOCH + shown))
    }
}

#[cfg(test)]
mod tests {
    use super::{LAST_MS, Time};

    #[test]
    fn every_time_can_be_shown() {
        assert_eq!(Time(0).to_string(), "1970-01-01T00:00:00.000Z");
        for late in [LAST_MS, LAST_MS + 1, u64::MAX] {
            assert_eq!(Time(late).to_string(), "9999-12-31T23:59:59.999Z");
        }
    }
}
