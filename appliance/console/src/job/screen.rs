//! A few lines at the bottom of a terminal, redrawn in place. Only lines that differ are sent: a serial console takes two
//! seconds for a whole screen.

/// What makes the terminal show `after` where it shows `before`; the cursor stands below them, before and afterwards.
pub(super) fn redraw(before: &[String], after: &[String]) -> String {
    if before == after {
        return String::new();
    }
    let mut text = String::new();
    // Nothing above the first difference is touched.
    let same = before.iter().zip(after).take_while(|(before, after)| before == after).count();
    if before.len() > same {
        text.push_str(&format!("\r\u{1b}[{}A", before.len() - same));
    }
    for (row, line) in after.iter().enumerate().skip(same) {
        if before.get(row) != Some(line) {
            text.push_str(line);
            // Clears what is left of the line before.
            text.push_str("\u{1b}[K");
        }
        text.push_str("\r\n");
    }
    if before.len() > after.len() {
        // Clears everything below.
        text.push_str("\u{1b}[J");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::redraw;

    /// As much of a terminal as is needed: what is on it after a text, and where the cursor is.
    fn shown(mut lines: Vec<String>, mut row: usize, text: &str) -> (Vec<String>, usize) {
        let mut column = 0;
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            match c {
                '\r' => column = 0,
                '\n' => row += 1,
                '\u{1b}' => {
                    let end = rest.find(|c: char| c.is_ascii_alphabetic()).unwrap();
                    let number = rest[1..end].parse::<usize>().unwrap_or(1);
                    match &rest[end..=end] {
                        "A" => row -= number,
                        "K" => lines[row].truncate(column),
                        "J" => {
                            lines.truncate(row + 1);
                            lines[row].truncate(column);
                        }
                        other => panic!("{other}"),
                    }
                    rest = &rest[end + 1..];
                }
                c => {
                    if column < lines[row].len() {
                        lines[row].replace_range(column..=column, &c.to_string());
                    } else {
                        lines[row].push(c);
                    }
                    column += 1;
                }
            }
            lines.resize(lines.len().max(row + 1), String::new());
        }
        assert_eq!(column, 0, "the cursor is at the beginning of a line");
        (lines, row)
    }

    fn screen(lines: &str) -> Vec<String> {
        lines.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_terminal_shows_what_it_shall_whatever_it_showed() {
        let screens =
            ["", "a", "a b", "a b c", "a x c", "longer b c", "a longest c", "c", "a b longer-still"];
        for before in screens {
            for after in screens {
                let (before, after) = (screen(before), screen(after));
                let text = redraw(&before, &after);
                let mut lines = before.clone();
                lines.push(String::new());
                let (lines, row) = shown(lines, before.len(), &text);
                let above = lines.iter().take(row).cloned().collect::<Vec<_>>();
                assert_eq!(above, after, "{before:?} to {after:?}: {text:?}");
                assert!(lines[row..].iter().all(String::is_empty), "{before:?} to {after:?}: {lines:?}");
            }
        }
    }

    #[test]
    fn what_is_there_already_is_not_sent_again() {
        let before = screen("a b c d");
        assert_eq!(redraw(&before, &before), "");
        assert_eq!(redraw(&before, &screen("a b x d")), "\r\u{1b}[2Ax\u{1b}[K\r\n\r\n");
    }
}
