//! The last lines of a unit's journal. Knows how `journalctl` is asked; refuses to hand on a line that could move
//! the cursor of whoever prints it, and more bytes than a report can carry.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::Command;

use crate::{Systemd, UnitError, UnitName};

const JOURNALCTL: &str = "/usr/bin/journalctl";
/// The most lines one call gives.
const MOST_LINES: usize = 2000;
/// The most bytes of one line; the rest is cut, which `…` shows.
const LONGEST_LINE: usize = 2048;
/// The most bytes read from `journalctl`. Read from its end: the last lines are what was asked for.
const MOST_BYTES: usize = 512 * 1024;
/// A journal on a dying disk must not hold up whoever wants to report it.
const PATIENCE: Duration = Duration::from_secs(30);

impl Systemd {
    /// The last `lines` journal lines of the unit (2000 at most), oldest first, each with its time.
    ///
    /// Cleaned for printing: no control characters or terminal sequences, 2 KiB per line, 512 KiB in all. Empty when
    /// the unit never wrote; also when this process may not read its journal.
    pub async fn journal(&self, unit: &UnitName, lines: usize) -> Result<Vec<String>, UnitError> {
        let doing = format!("reading the journal of {unit}");
        let lines = lines.min(MOST_LINES);
        let unit = format!("--unit={unit}");
        let count = format!("--lines={lines}");
        let text = journalctl(&[&unit, &count, "--output=short-iso", "--quiet"], &doing).await?;
        Ok(last(&text, lines))
    }
}

/// What `unit` wrote under the name `log_name`, without times; complete when it has ended.
///
/// Not by invocation id: journald looks that up when it gets to a line, and for a process that was quick to write
/// and fail it is gone by then. The name is a part of the stream itself.
pub(crate) async fn written_as(
    unit: &UnitName,
    log_name: &str,
    lines: usize,
    doing: &str,
) -> Result<Vec<String>, UnitError> {
    // The last lines may still be on their way through journald. Where we may not ask it to catch up (not root),
    // they are read a little too early at worst.
    let _ = journalctl(&["--sync"], doing).await;
    let lines = lines.min(MOST_LINES);
    let unit = format!("_SYSTEMD_UNIT={unit}");
    let name = format!("SYSLOG_IDENTIFIER={log_name}");
    let count = format!("--lines={lines}");
    let text = journalctl(&[&unit, &name, &count, "--output=cat", "--quiet"], doing).await?;
    Ok(last(&text, lines))
}

async fn journalctl(args: &[&str], doing: &str) -> Result<Vec<u8>, UnitError> {
    let failed = |source: crate::Cause| UnitError::Journal { doing: doing.to_owned(), source };
    match tokio::time::timeout(PATIENCE, output(args)).await {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(source)) => Err(failed(source)),
        Err(elapsed) => Err(failed(elapsed.into())),
    }
}

async fn output(args: &[&str]) -> Result<Vec<u8>, crate::Cause> {
    let mut child = Command::new(JOURNALCTL)
        .arg("--no-pager")
        .args(args)
        .env_clear()
        .env("LC_ALL", "C")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let (text, complaint) = tokio::join!(tail(out.as_mut()), tail(err.as_mut()));
    let (text, complaint) = (text?, complaint?);
    let status = child.wait().await?;
    if status.success() {
        return Ok(text);
    }
    Err(format!("{status}: {}", last(&complaint, 5).join("; ")).into())
}

/// Reads to the end and keeps the last [`MOST_BYTES`] at least, twice as many at most.
async fn tail(pipe: Option<&mut (impl tokio::io::AsyncRead + Unpin)>) -> std::io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    let Some(pipe) = pipe else { return Ok(kept) };
    while pipe.read_buf(&mut kept).await? > 0 {
        if kept.len() > 2 * MOST_BYTES {
            kept.drain(..kept.len() - MOST_BYTES);
        }
    }
    Ok(kept)
}

/// The last lines of a text, clean, within the limits.
pub fn last(text: &[u8], lines: usize) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let mut room = MOST_BYTES;
    let mut kept = Vec::new();
    for line in text.lines().rev().take(lines).map(clean) {
        let Some(left) = room.checked_sub(line.len()) else { break };
        room = left;
        kept.push(line);
    }
    kept.reverse();
    kept
}

/// A line without terminal sequences (ECMA-48 CSI and OSC) and control characters; tabs become blanks.
fn clean(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => skip_sequence(&mut rest),
            '\u{9b}' => skip_to_final(&mut rest),
            '\t' => out.push(' '),
            c if c.is_control() || is_direction_mark(c) => {}
            c => out.push(c),
        }
        if out.len() >= LONGEST_LINE {
            out.push('…');
            break;
        }
    }
    out
}

/// After ESC: a CSI ends at its final byte, an OSC at BEL or ST; anything else is two characters.
fn skip_sequence(rest: &mut std::str::Chars<'_>) {
    match rest.next() {
        Some('[') => skip_to_final(rest),
        Some(']') => {
            let mut before = ' ';
            for c in rest.by_ref() {
                if c == '\u{7}' || c == '\u{9c}' || (before == '\u{1b}' && c == '\\') {
                    break;
                }
                before = c;
            }
        }
        _ => {}
    }
}

fn skip_to_final(rest: &mut std::str::Chars<'_>) {
    let _ = rest.find(|c| ('\u{40}'..='\u{7e}').contains(c));
}

/// Characters that turn the writing direction: they can make a line read as another one.
fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_lines_become_printable() {
        for (line, shown) in [
            ("plain", "plain"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}[2J\u{1b}[1;1Hgone", "gone"),
            ("\u{1b}]0;title\u{7}text", "text"),
            ("\u{1b}]8;;http://x\u{1b}\\link", "link"),
            ("\u{1b}]unterminated", ""),
            ("\u{1b}[unterminated", "nterminated"),
            ("\u{1b}", ""),
            ("\u{9b}31mred", "red"),
            ("a\rb\u{8}c\0d\u{7f}e", "abcde"),
            ("tab\there", "tab here"),
            ("\u{202e}desrever", "desrever"),
            ("计算节点", "计算节点"),
        ] {
            assert_eq!(clean(line), shown, "{line:?}");
        }
    }

    #[test]
    fn a_line_without_end_is_cut_on_a_character() {
        let cut = clean(&"é".repeat(LONGEST_LINE));
        assert!(cut.len() <= LONGEST_LINE + '…'.len_utf8() && cut.ends_with('…'));
    }

    #[test]
    fn the_last_lines_win() {
        assert_eq!(last(b"a\nb\nc\n", 2), ["b", "c"]);
        assert_eq!(last(b"a\xff\nb", 9), ["a\u{fffd}", "b"]);
        assert!(last(b"", 5).is_empty() && last(b"a\n", 0).is_empty());
        let flood: Vec<u8> =
            (0..2000).flat_map(|n| format!("{n} {}\n", "x".repeat(1000)).into_bytes()).collect();
        let kept = last(&flood, MOST_LINES);
        assert!(kept.iter().map(String::len).sum::<usize>() <= MOST_BYTES && kept.len() > 500);
        assert!(kept.last().is_some_and(|line| line.starts_with("1999 ")));
    }

    #[test]
    fn reading_to_the_end_keeps_the_end() {
        let flood: Vec<u8> = (0..=250).cycle().take(5 * MOST_BYTES).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let kept = runtime.block_on(tail(Some(&mut flood.as_slice()))).unwrap();
        assert!(kept.len() >= MOST_BYTES && kept.len() <= 2 * MOST_BYTES + 64 * 1024);
        assert!(flood.ends_with(&kept));
    }
}
