//! Time: the wall clock (set by the controller, not believed before), the time since boot, and how long to wait
//! before trying again.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, Timespec};

/// Who may turn the wall clock. The machine's own agent does; a test on somebody's machine must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hands {
    /// Set the kernel's clock.
    Turn,
    /// Leave it alone.
    Leave,
}

/// Milliseconds since 1970 by this machine's clock, right or wrong.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Makes the wall clock agree with the controller's when they are more than a second apart.
/// `true` when it was turned.
///
/// # Errors
/// What the kernel says.
pub fn follow(controller_ms: u64, hands: Hands) -> io::Result<bool> {
    if hands == Hands::Leave || now_ms().abs_diff(controller_ms) <= 1_000 {
        return Ok(false);
    }
    let seconds = i64::try_from(controller_ms / 1_000).map_err(io::Error::other)?;
    let nanoseconds = i64::try_from(controller_ms % 1_000 * 1_000_000).map_err(io::Error::other)?;
    rustix::time::clock_settime(ClockId::Realtime, Timespec { tv_sec: seconds, tv_nsec: nanoseconds })?;
    Ok(true)
}

/// Whole seconds since the kernel started; 0 when it does not say.
pub fn uptime_seconds(root: &Path) -> u32 {
    std::fs::read_to_string(root.join("proc/uptime")).map_or(0, |text| parse_uptime(&text))
}

/// `/proc/uptime`: seconds with hundredths, then idle time.
pub fn parse_uptime(text: &str) -> u32 {
    text.split(['.', ' ']).next().and_then(|whole| whole.parse().ok()).unwrap_or(0)
}

/// Waits that grow from half a second to ten, each blurred so that a rack of agents does not call in step.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    next: Duration,
}

const SHORTEST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(10);

impl Default for Backoff {
    fn default() -> Self {
        Self { next: SHORTEST }
    }
}

impl Backoff {
    /// The next wait: between half and all of the current step, by `dice`; then the step doubles.
    pub fn wait(&mut self, dice: u8) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(LONGEST);
        (step / 2 + step * u32::from(dice) / 510).max(SHORTEST)
    }

    /// Something worked: begin again at the shortest.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Backoff, Hands, follow, now_ms, parse_uptime};

    #[test]
    fn uptime_of_any_text() {
        for (text, want) in
            [("12.34 56.78\n", 12), ("0.05 0.01", 0), ("", 0), ("x", 0), ("99999999999999.0", 0)]
        {
            assert_eq!(parse_uptime(text), want, "{text:?}");
        }
    }

    #[test]
    fn waits_stay_between_half_a_second_and_ten() {
        for dice in [0, 1, 128, 255] {
            let mut backoff = Backoff::default();
            let waits = (0..12).map(|_| backoff.wait(dice)).collect::<Vec<_>>();
            assert!(
                waits.iter().all(|w| (Duration::from_millis(500)..=Duration::from_secs(10)).contains(w)),
                "{waits:?}"
            );
            assert!(waits.is_sorted(), "{waits:?}");
            backoff.reset();
            assert!(backoff.wait(255) <= Duration::from_secs(1));
        }
    }

    #[test]
    fn a_clock_that_is_right_or_not_ours_is_left_alone() {
        assert!(!follow(now_ms(), Hands::Turn).unwrap());
        assert!(!follow(0, Hands::Leave).unwrap());
    }
}
