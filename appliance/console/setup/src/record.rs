//! A set-up as text: one message a line, so that one that ended anywhere is whole but for its last line.

use crate::session::Message;

/// The first line: what it is, and of which form.
pub const HEAD: &str = "{\"rackwright-setup\":1}\n";
/// No record of a person's set-up is longer, in bytes.
pub const MAX_BYTES: usize = 4 << 20;

/// The line of a message.
#[must_use]
pub fn line(message: &Message) -> String {
    // Messages are maps and lists of texts and numbers, which serde_json writes always.
    serde_json::to_string(message).unwrap_or_default() + "\n"
}

/// The messages of a record; none when it is of another form. A line that breaks off was never acted on, and is left out:
/// whoever goes on ends it first.
#[must_use]
pub fn read(text: &str) -> Vec<Message> {
    let Some(lines) = text.strip_prefix(HEAD) else { return Vec::new() };
    let whole = lines.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.filter_map(|line| serde_json::from_str(line).ok()).collect()
}
