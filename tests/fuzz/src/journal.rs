//! Journal lines on their way into a report.

use units::fuzzing::journal;

use crate::Reached;
use crate::input::Input;

/// No more lines and bytes than were asked for, and nothing that a terminal would obey.
pub(crate) fn run(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let most = usize::from(input.byte());
    let lines = journal(input.rest(), most);
    assert!(lines.len() <= most);
    assert!(lines.iter().map(String::len).sum::<usize>() <= 512 * 1024);
    for line in &lines {
        assert!(line.len() <= 2048 + 8 && !line.chars().any(char::is_control), "{line:?}");
        assert!(!line.chars().any(|c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')));
    }
    Reached::when(!lines.is_empty())
}

/// Plain lines, colours, links, sequences without an end, a line without end.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "one\ntwo\nthree\n",
        "\u{1b}[31mred\u{1b}[0m\r\n\u{1b}]8;;http://x\u{1b}\\link\n",
        "\u{1b}]unterminated\n\u{9b}31mred\u{202e}\ttab\0",
        "\u{1b}",
    ];
    let mut all: Vec<Vec<u8>> = texts.map(|text| [&[9], text.as_bytes()].concat()).into();
    all.push([&[200][..], "é".repeat(1100).as_bytes()].concat());
    all
}
