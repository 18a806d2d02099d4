//! One thing in full: sections of names and values, tables under headings.

use crate::table::{Cell, Table};
use crate::terminal::Look;
use crate::text::ago;

/// Collects sections.
#[derive(Debug, Default)]
pub(crate) struct Page {
    text: String,
}

impl Page {
    /// A line of its own.
    pub(crate) fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// A heading with an empty line above it.
    pub(crate) fn heading(&mut self, title: &str) {
        self.line("");
        self.line(title);
    }

    /// Names and values, one pair a line, values under each other. Empty values are shown as `-`.
    pub(crate) fn pairs(&mut self, pairs: &[(&str, String)]) {
        let widest = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in pairs {
            let value = crate::text::or_dash(value);
            self.line(&format!("  {name:<widest$}  {value}"));
        }
    }

    /// A table, indented like the pairs.
    pub(crate) fn table(&mut self, table: &Table, look: &Look) {
        let narrower =
            Look { columns: look.columns.map(|columns| columns.saturating_sub(2)), header: true, ..*look };
        for line in table.render(&narrower).lines() {
            self.line(&format!("  {line}"));
        }
    }

    /// Nodes that something waits for, each with its name, its state, when it was heard and why, under a heading; nothing where there is
    /// none.
    pub(crate) fn waiting<'a>(
        &mut self,
        title: &str,
        nodes: impl Iterator<Item = [&'a String; 4]>,
        look: &Look,
        now: u64,
    ) {
        let mut nodes = nodes.peekable();
        if nodes.peek().is_none() {
            return;
        }
        self.heading(title);
        let mut table = Table::new(&["NODE", "STATE", "HEARD", "WHY"]);
        for [node, state, heard, why] in nodes {
            table.row([node.clone().into(), Cell::state(state), ago(heard, now).into(), why.clone().into()]);
        }
        self.table(&table, look);
    }

    /// What to do next, where there is something.
    pub(crate) fn next(&mut self, command: Option<String>) {
        if let Some(command) = command {
            self.line("");
            self.line(&format!("Next: {command}"));
        }
    }

    /// Lines so far.
    pub(crate) fn height(&self) -> usize {
        self.text.lines().count()
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }
}
