//! Tables without borders: one row, one line, so that `grep` and `awk` work on them.

use comfy_table::{ContentArrangement, presets};

use crate::terminal::{Look, Tone};
use crate::text::{fit, width};

/// One field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A word that is coloured by what it says.
    pub(crate) fn state(word: &str) -> Cell {
        Cell { text: word.to_owned(), tone: Tone::of(word) }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell { text, tone: Tone::Plain }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::from(text.to_owned())
    }
}

/// Rows under a head.
#[derive(Debug)]
pub(crate) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(crate) fn new(head: &[&'static str]) -> Table {
        Table { head: head.to_vec(), rows: Vec::new() }
    }

    /// Adds a row of as many cells as the head has.
    pub(crate) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.rows.push(cells.into());
    }

    /// The lines, each ended; the last column is cut where the terminal ends.
    pub(crate) fn render(&self, look: &Look) -> String {
        let mut lines = self.layout(look);
        let mut text = String::new();
        if look.header {
            let head = if lines.is_empty() { String::new() } else { lines.remove(0) };
            text.push_str(head.trim_end());
            text.push('\n');
        }
        for (line, row) in lines.iter().zip(&self.rows) {
            if look.colour {
                text.push_str(&painted(line, row));
            } else {
                text.push_str(line.trim_end());
            }
            text.push('\n');
        }
        text
    }

    fn layout(&self, look: &Look) -> Vec<String> {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        if look.header {
            table.set_header(self.head.iter().copied());
        }
        let room = self.last_column_room(look);
        for row in &self.rows {
            let last = row.len().saturating_sub(1);
            table.add_row(row.iter().enumerate().map(|(index, cell)| match room {
                Some(room) if index == last => fit(&cell.text, room),
                _ => cell.text.clone(),
            }));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table.lines().collect()
    }

    /// Cells that the last column has on a terminal; never so few that it says nothing.
    fn last_column_room(&self, look: &Look) -> Option<usize> {
        let columns = look.columns?;
        let others = self.head.len().saturating_sub(1);
        let widest = |index: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(index)).map(|cell| width(&cell.text));
            let head = self.head.get(index).filter(|_| look.header).map_or(0, |head| width(head));
            cells.max().unwrap_or(0).max(head)
        };
        let used = (0..others).map(|index| widest(index) + 2).sum::<usize>();
        Some(columns.saturating_sub(used).max(8))
    }
}

/// The line with its words coloured. Colours come after the layout: a layout engine would count them as letters.
fn painted(line: &str, row: &[Cell]) -> String {
    let mut rest = line.trim_end();
    let mut text = String::new();
    for cell in row {
        let gap = rest.len() - rest.trim_start().len();
        text.push_str(rest.get(..gap).unwrap_or_default());
        rest = rest.get(gap..).unwrap_or_default();
        // An empty cell is part of the gap; a cell that was cut is the last one and keeps its plain form.
        if let Some(after) = rest.strip_prefix(cell.text.trim()) {
            text.push_str(&cell.tone.paint(cell.text.trim()));
            rest = after;
        }
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Look = Look { header: true, colour: false, columns: None, rows: None };

    fn example() -> Table {
        let mut table = Table::new(&["NAME", "STATE", "WHY"]);
        table.row(["n1".into(), Cell::state("active"), "".into()]);
        table.row(["教室".into(), Cell::state("attention"), "waited 600 s for its agent".into()]);
        table
    }

    #[test]
    fn columns_line_up_and_lines_have_no_tail() {
        let golden = "NAME  STATE      WHY\n\
                      n1    active\n\
                      教室  attention  waited 600 s for its agent\n";
        assert_eq!(example().render(&PLAIN), golden);
        let bare = example().render(&Look { header: false, ..PLAIN });
        assert_eq!(bare, "n1    active\n教室  attention  waited 600 s for its agent\n");
    }

    #[test]
    fn the_last_column_ends_where_the_terminal_does() {
        let text = example().render(&Look { columns: Some(30), ..PLAIN });
        assert_eq!(text.lines().last().unwrap(), "教室  attention  waited 600...");
        assert!(text.lines().all(|line| width(line) <= 30), "{text}");
    }

    #[test]
    fn colours_change_nothing_but_colour() {
        let text = example().render(&Look { colour: true, ..PLAIN });
        assert!(text.contains("n1    \u{1b}[32mactive\u{1b}[0m\n"), "{text:?}");
        assert!(text.contains("\u{1b}[31mattention\u{1b}[0m  waited"), "{text:?}");
        let without = text.replace("\u{1b}[32m", "").replace("\u{1b}[31m", "").replace("\u{1b}[0m", "");
        assert_eq!(without, example().render(&PLAIN));
    }

    #[test]
    fn an_empty_table_is_its_head() {
        assert_eq!(Table::new(&["NAME", "STATE"]).render(&PLAIN), "NAME  STATE\n");
    }
}
