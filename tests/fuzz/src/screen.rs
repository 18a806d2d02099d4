//! The server's own screen: ASCII that fits a text console, whatever the controller says.

use agent::screen::{Bar, Status, line, page};
use protocol::Code;

use crate::Reached;
use crate::input::{Input, block};

/// At most 23 lines of 78 printable characters, and one line for a serial console.
pub(crate) fn run(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let code: Option<Code> = input.text().parse().ok();
    let (done, total, rate) = (input.u64(), input.u64(), input.u64());
    let progress = (total > 0).then_some(Bar { what: "reading back", done, total, rate });
    let mut text = || input.text().into_owned();
    let status = Status {
        name: text(),
        mac: text(),
        address: text(),
        controller: text(),
        state: text(),
        reason: text(),
        code: code.clone(),
        progress,
    };
    let lines = page(&status);
    assert!(lines.len() <= 23, "{} lines", lines.len());
    for shown in lines.iter().chain([&line(&status)]) {
        assert!(shown.bytes().all(|b| (b' '..=b'~').contains(&b)), "{shown:?}");
    }
    assert!(lines.iter().all(|line| line.len() <= 78), "{lines:#?}");
    Reached::when(code.is_some())
}

/// A code to compare and a reason; numbers at their ends; a reason that would draw.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let seed = |code: &str, numbers: [u64; 3], reason: &str| {
        let texts = ["n1", "52:54:00:ab:cd:05", "10.77.0.100/24", "10.77.0.1:8443", "waiting", reason];
        let numbers = numbers.map(u64::to_le_bytes).concat();
        [block(code), numbers, texts.map(block).concat()].concat()
    };
    vec![
        seed("A2B3C4", [0; 3], "compare the code with the one that the controller shows"),
        seed("", [1 << 40, 1 << 41, 1 << 27], ""),
        seed("zzzzzz", [u64::MAX, u64::MAX - 1, 1], &"\u{1b}[2J word ".repeat(90)),
        seed("A2B3C4", [0, u64::MAX, u64::MAX], &"x".repeat(900)),
    ]
}
