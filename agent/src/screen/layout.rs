//! What the screen shows: a pure function from [`Status`] to text. ASCII only, 80×24.

use protocol::Code;

use crate::screen::font;

const COLUMNS: usize = 78;

/// All that a person in front of the server needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Its name, once the controller has said it.
    pub name: String,
    /// The NIC that booted.
    pub mac: String,
    /// Its address.
    pub address: String,
    /// The controller.
    pub controller: String,
    /// What is going on, in a word or two.
    pub state: String,
    /// Why it goes no further.
    pub reason: String,
    /// The code to compare, while nobody has.
    pub code: Option<Code>,
    /// How far the work is.
    pub progress: Option<Bar>,
}

/// How far something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// What it is: `imaging`, `reading back`.
    pub what: &'static str,
    /// Bytes done.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
    /// Bytes per second, lately.
    pub rate: u64,
}

impl Bar {
    /// Whole percent, 100 only at the end.
    pub fn percent(&self) -> u64 {
        let hundredfold = u128::from(self.done) * 100;
        let percent = hundredfold.checked_div(u128::from(self.total)).map_or(100, |p| p.min(100));
        u64::try_from(percent).unwrap_or(100)
    }

    /// `42% 118 MB/s, 1 min 05 s left`.
    pub fn words(&self) -> String {
        let left = self.total.saturating_sub(self.done);
        let rate = if self.rate == 0 { String::new() } else { format!(" {}", rate_words(self.rate)) };
        match left.checked_div(self.rate) {
            Some(seconds) if left > 0 => format!("{}%{rate}, {} left", self.percent(), span(seconds)),
            Some(_) | None => format!("{}%{rate}", self.percent()),
        }
    }
}

fn rate_words(rate: u64) -> String {
    if rate >= 10_000_000 { format!("{} MB/s", rate / 1_000_000) } else { format!("{} kB/s", rate / 1_000) }
}

fn span(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s:02} s"),
        (h, m, _) => format!("{h} h {m:02} min"),
    }
}

/// The whole screen for a terminal, lines at most 78 characters and at most 23 of them.
pub fn page(status: &Status) -> Vec<String> {
    let mut out = vec!["Rackwright".to_owned(), String::new()];
    let mut row = |what: &str, value: &str| {
        if !value.is_empty() {
            out.push(format!("  {what:<14}{}", ascii(value).chars().take(COLUMNS - 16).collect::<String>()));
        }
    };
    row("name", &status.name);
    row("network card", &status.mac);
    row("address", &status.address);
    row("controller", &status.controller);
    row("code", status.code.as_ref().map_or("", Code::as_str));
    row("state", &status.state);
    out.extend(wrap(&status.reason).into_iter().map(|line| format!("{:16}{line}", "")));
    if let Some(code) = &status.code {
        out.push(String::new());
        out.push("  Compare this code with the one the controller shows, then approve there:".to_owned());
        out.push(String::new());
        out.extend(font::big(code.as_str()).into_iter().map(|row| format!("    {row}")));
    }
    if let Some(bar) = &status.progress {
        out.push(String::new());
        let full = usize::try_from(bar.percent() / 2).unwrap_or(50);
        out.push(format!("  {:<14}[{:<50}]", bar.what, "=".repeat(full)));
        out.push(format!("{:16}{}", "", bar.words()));
    }
    out.truncate(23);
    out
}

/// One line for a serial console, where nothing is overdrawn.
pub fn line(status: &Status) -> String {
    let name = if status.name.is_empty() { &status.mac } else { &status.name };
    let parts = [name.as_str(), &status.state, &status.reason];
    ascii(&parts.into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join(": "))
}

/// Words onto at most three lines.
fn wrap(text: &str) -> Vec<String> {
    let mut lines = Vec::<String>::new();
    for word in ascii(text).split(' ').filter(|w| !w.is_empty()) {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= COLUMNS - 16 => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.chars().take(COLUMNS - 16).collect()),
        }
    }
    lines.truncate(3);
    lines
}

/// A console's font has no more than this for certain.
fn ascii(text: &str) -> String {
    let one_line = crate::text::clean(text, 600);
    one_line.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::{Bar, Status, line, page};

    fn status() -> Status {
        Status {
            name: "n1".to_owned(),
            mac: "52:54:00:aa:bb:01".to_owned(),
            address: "10.7.0.21/24".to_owned(),
            controller: "10.7.0.1:8443".to_owned(),
            state: "waiting for approval".to_owned(),
            reason: "nobody has compared the code yet".to_owned(),
            code: Some("ABC234".parse().unwrap()),
            progress: None,
        }
    }

    #[test]
    fn all_of_it_is_on_the_page() {
        let text = page(&status()).join("\n");
        for want in
            ["n1", "52:54:00:aa:bb:01", "10.7.0.21/24", "10.7.0.1:8443", "waiting for approval", "nobody has"]
        {
            assert!(text.contains(want), "{want} in\n{text}");
        }
        assert!(text.contains("##########"), "{text}");
        assert!(
            text.contains("  name          n1\n  network card  52:54"),
            "the values stand in a column:\n{text}"
        );
    }

    #[test]
    fn it_fits_and_is_ascii_whatever_it_is_told() {
        let mut hostile = status();
        hostile.reason = "\x1b[2J日本語 ".repeat(500);
        hostile.name = "x".repeat(500);
        hostile.progress = Some(Bar { what: "imaging", done: u64::MAX, total: 1, rate: 1 });
        let lines = page(&hostile);
        assert!(lines.len() <= 23);
        assert!(
            lines.iter().all(|l| l.len() <= 78 && l.bytes().all(|b| (0x20..0x7f).contains(&b))),
            "{lines:#?}"
        );
        assert!(line(&hostile).bytes().all(|b| (0x20..0x7f).contains(&b)));
    }

    #[test]
    fn progress_in_words() {
        let bar = |done, total, rate| Bar { what: "imaging", done, total, rate }.words();
        assert_eq!(bar(42, 100, 0), "42%");
        assert_eq!(bar(0, 0, 5), "100% 0 kB/s");
        assert_eq!(bar(100_000_000, 200_000_000, 118_000_000), "50% 118 MB/s, 0 s left");
        assert_eq!(bar(0, 65_000_000, 1_000_000), "0% 1000 kB/s, 1 min 05 s left");
        assert_eq!(bar(0, u64::MAX, 1_000_000_000), "0% 1000 MB/s, 5124095 h 34 min left");
        assert_eq!(bar(199, 200, 1), "99% 0 kB/s, 1 s left");
    }
}
