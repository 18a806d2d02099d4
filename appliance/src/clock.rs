//! The clocks of the controller: the one on the wall, beside the one that nobody sets, and the local time of day.
//!
//! SQLite asks the C library for the latter, which knows `/etc/localtime` and `TZ`; nothing else that we link does so safely while there
//! are threads.

use std::sync::LazyLock;

use fleet::Time;
use fleet::clock::Look;
use fleet::hours::Moment;
use rusqlite::Connection;
use rustix::time::{ClockId, clock_gettime};

static BOOT: LazyLock<String> = LazyLock::new(|| {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.map(|id| id.trim().to_owned()).unwrap_or_default()
});

/// What the clocks show when the one on the wall shows this.
pub(crate) fn look(wall: Time) -> Look {
    let up = clock_gettime(ClockId::Boottime);
    let milliseconds = up.tv_sec.saturating_mul(1000).saturating_add(up.tv_nsec / 1_000_000);
    Look { wall, up_ms: u64::try_from(milliseconds).unwrap_or(0), boot: BOOT.clone() }
}

/// Day of the week and minute of the day, now and here.
///
/// # Errors
/// SQLite's: no memory, or no time zone that makes sense.
pub fn moment() -> rusqlite::Result<Moment> {
    let ask = "SELECT CAST(strftime('%w', 'now', 'localtime') AS INTEGER), \
               CAST(strftime('%H', 'now', 'localtime') AS INTEGER) * 60 + CAST(strftime('%M', 'now', 'localtime') AS INTEGER)";
    Connection::open_in_memory()?.query_row(ask, [], |row| {
        // Sunday is 0 there.
        let (sunday_first, minute) = (row.get::<_, u8>(0)?, row.get(1)?);
        Ok(Moment { day: (sunday_first % 7 + 6) % 7, minute })
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::moment;

    /// Minutes of the week, of which Thursday, 1 January 1970, was the first.
    fn minutes() -> i64 {
        let now = moment().unwrap();
        i64::from(now.day) * 1440 + i64::from(now.minute)
    }

    #[test]
    #[ignore = "`cargo test -p appliance the_time_zone_counts` runs it, in other time zones"]
    fn here() {
        println!("it is minute {}.", minutes());
    }

    #[test]
    fn the_time_zone_counts() {
        // POSIX counts them west of Greenwich.
        for (zone, east) in [("UTC0", 0), ("AAA-5:30", 330), ("BBB8", -480), ("CCC-14", 840)] {
            let minute = || {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 60;
                (i64::try_from(since).unwrap() + 3 * 1440 + east) % (7 * 1440)
            };
            let before = minute();
            let mut child = Command::new(std::env::current_exe().unwrap());
            let ran = child
                .env("TZ", zone)
                .args(["--exact", "clock::tests::here", "--ignored", "--nocapture"])
                .output()
                .unwrap();
            let said = String::from_utf8(ran.stdout).unwrap();
            let possible = [before, minute()].map(|minute| format!("it is minute {minute}."));
            assert!(possible.iter().any(|words| said.contains(words)), "{zone}: {said}, not {possible:?}");
        }
    }
}
