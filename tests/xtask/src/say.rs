//! Progress for a person who watches: what is being done, and how long it took.
//!
//! Knows lines and seconds. Refuses to know what the work is.

use std::io::Write as _;
use std::time::{Duration, Instant};

/// Prints one line to stderr and flushes it, so that it is in a CI log at once.
pub fn line(text: &str) {
    let mut out = std::io::stderr().lock();
    // A closed stderr must not end the run.
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Names the step, runs it, says how long it took. Everything that may take more than two seconds
/// goes through here.
///
/// # Errors
/// Those of `work`, unchanged.
pub fn step<T, E>(what: &str, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    line(&format!("==> {what}"));
    let start = Instant::now();
    let result = work();
    let verdict = if result.is_ok() { "done" } else { "FAILED" };
    line(&format!("    {verdict} after {}: {what}", seconds(start.elapsed())));
    result
}

/// `0.4 s`, `12.3 s`, `3 min 07 s`.
#[must_use]
pub fn seconds(time: Duration) -> String {
    if time < Duration::from_secs(60) {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} min {:02} s", time.as_secs() / 60, time.as_secs() % 60)
    }
}

/// An error and its causes on one line: the only way an error reaches a person here.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_like_a_clock() {
        for (millis, text) in
            [(400, "0.4 s"), (12_340, "12.3 s"), (59_900, "59.9 s"), (187_000, "3 min 07 s")]
        {
            assert_eq!(seconds(Duration::from_millis(millis)), text);
        }
    }
}
