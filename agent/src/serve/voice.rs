//! What the agent says on the node itself: to the journal, and its milestones to the console too.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::{Duration, Instant};

/// The same complaint is repeated after this, so that whoever reads the journal sees that it lasts.
const REMIND: Duration = Duration::from_secs(600);

/// A line for the journal.
pub(super) fn say(text: &str) {
    eprintln!("rackwright-agent: {text}");
}

/// A line for the journal and the console.
pub(super) fn milestone(text: &str) {
    say(text);
    let line = format!("\r\nrackwright-agent: {text}\r\n");
    // A serial console with nobody at the other end can hold a writer up for ever.
    tokio::task::spawn_blocking(move || {
        let flags = i32::try_from((rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::NONBLOCK).bits());
        let console =
            OpenOptions::new().write(true).custom_flags(flags.unwrap_or_default()).open("/dev/console");
        if let Ok(mut console) = console {
            // Nobody is told that the console could not be written to: there is nobody else to tell.
            let _ = console.write_all(line.as_bytes());
        }
    });
}

/// Says a complaint once, and again when it changes or lasts.
#[derive(Debug, Default)]
pub(super) struct Nag {
    last: Option<(String, Instant)>,
}

impl Nag {
    /// Says it, unless that was just said. Numbers of seconds in it should be left out by the caller.
    pub(super) fn say(&mut self, text: &str) {
        let known = |(last, at): &(String, Instant)| last == text && at.elapsed() < REMIND;
        if !self.last.as_ref().is_some_and(known) {
            say(text);
            self.last = Some((text.to_owned(), Instant::now()));
        }
    }

    /// Something worked: says so when there was a complaint.
    pub(super) fn settle(&mut self, text: &str) {
        if self.last.take().is_some() {
            say(text);
        }
    }
}
