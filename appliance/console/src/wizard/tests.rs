use std::io::Cursor;

use setup::{Facts, Interface, Outcome, record};

use super::*;
use crate::tests::Captured;

/// A machine that is not there.
#[derive(Default)]
struct Fake {
    facts: Facts,
    configured: bool,
    earlier: Option<String>,
    record: Option<String>,
    /// Why nothing can be written; the next attempt succeeds.
    broken: Option<String>,
    written: Vec<Outcome>,
    looks: usize,
}

impl Machine for Fake {
    fn look(&mut self) -> Facts {
        self.looks += 1;
        self.facts.clone()
    }

    fn configured(&self) -> Option<PathBuf> {
        self.configured.then(|| "/etc/rackwright/rackwright.toml".into())
    }

    fn earlier(&self) -> Option<String> {
        self.earlier.clone()
    }

    fn recorded(&self) -> Option<String> {
        self.record.clone()
    }

    fn begin(&mut self) -> io::Result<()> {
        self.record = Some(record::HEAD.to_owned());
        Ok(())
    }

    fn record(&mut self, line: &str) -> io::Result<()> {
        self.record.as_mut().ok_or(io::ErrorKind::ReadOnlyFilesystem)?.push_str(line);
        Ok(())
    }

    fn forget(&mut self) {
        self.record = None;
    }

    fn write(&mut self, outcome: &Outcome, _: bool) -> Result<Written, String> {
        if let Some(why) = self.broken.take() {
            return Err(why);
        }
        self.written.push(outcome.clone());
        Ok(Written { files: vec!["/etc/rackwright/rackwright.toml".into()], kept: Vec::new() })
    }
}

fn machine() -> Fake {
    let card = |name: &str| Interface { name: name.to_owned(), link: Some(true), ..Interface::default() };
    let facts = Facts { interfaces: vec![card("eno1"), card("eno2")], ..Facts::default() };
    Fake { facts, ..Fake::default() }
}

fn options(verb: SetupVerb) -> SetupOptions {
    SetupOptions {
        root: None,
        verb,
        language: Some(Language::English),
        force: false,
        restart: false,
        no_input: false,
    }
}

/// The exit code and everything that was shown when these lines are typed.
fn run(machine: &mut Fake, options: &SetupOptions, typed: &str, asks: bool) -> (u8, String) {
    let screen = Captured::default();
    let terminal = Terminal {
        out: Box::new(screen.clone()),
        err: Box::new(screen.clone()),
        input: Box::new(Cursor::new(typed.as_bytes().to_vec())),
        out_tty: true,
        err_tty: true,
        asks,
        size: Some((80, 24)),
        err_size: || None,
    };
    let code = carry_out(options, machine, terminal).unwrap();
    let shown = screen.text();
    assert!(shown.lines().all(|line| setup::width(line) <= 80), "{shown}");
    (code, shown)
}

fn ask(machine: &mut Fake, typed: &str) -> (u8, String) {
    run(machine, &options(SetupVerb::Ask { plain: true }), typed, false)
}

#[test]
fn enter_and_apply_are_enough() {
    let mut machine = machine();
    let (code, shown) = ask(&mut machine, &format!("{}apply\n", "\n".repeat(9)));
    assert_eq!(code, exit::OK, "{shown}");
    assert_eq!(machine.written.len(), 1);
    assert_eq!(machine.record, None, "what came to its end is forgotten");
    assert!(shown.contains("Question 1 of "), "{shown}");
    assert!(shown.contains("rackwright node approve n1 --role control"), "{shown}");
}

#[test]
fn what_ended_anywhere_goes_on_there() {
    let mut machine = machine();
    let (code, shown) = ask(&mut machine, "3\nlab-3\n");
    assert_eq!(code, exit::UNCONFIRMED);
    assert!(machine.written.is_empty() && shown.contains("没有写入"), "{shown}");
    // A kill in the middle of a line of the record, and another end right after.
    machine.record.as_mut().unwrap().push_str("{\"answer\":\"ba");
    assert_eq!(ask(&mut machine, "").0, exit::UNCONFIRMED);
    machine.broken = Some("disk full".to_owned());
    let (code, shown) = ask(&mut machine, &format!("{}apply\napply\n", "\n".repeat(7)));
    assert_eq!(code, exit::OK, "{shown}");
    assert!(shown.contains("RK-SET-0402") && shown.contains("disk full"), "{shown}");
    let answers = &machine.written[0].files[machine.written[0].files.len() - 2].content;
    assert!(answers.contains("site = \"lab-3\"") && answers.contains("language = \"zh-CN\""), "{answers}");
}

#[test]
fn a_configuration_is_replaced_only_by_force() {
    let mut machine = Fake { configured: true, ..machine() };
    let (code, shown) = ask(&mut machine, "\n");
    assert_eq!((code, machine.looks), (exit::CONFLICT, 0), "{shown}");
    assert!(shown.contains("RK-SET-0401") && shown.contains("--force"), "{shown}");
    let forced = SetupOptions { force: true, ..options(SetupVerb::Ask { plain: true }) };
    let (code, shown) = run(&mut machine, &forced, &format!("{}apply\n", "\n".repeat(9)), false);
    assert_eq!(code, exit::OK, "{shown}");
}

#[test]
fn nobody_is_asked_where_nobody_is() {
    let (code, shown) = run(&mut machine(), &options(SetupVerb::Ask { plain: false }), "\n\n", false);
    assert_eq!(code, exit::UNCONFIRMED, "{shown}");
    let silent = SetupOptions { no_input: true, ..options(SetupVerb::Ask { plain: true }) };
    assert_eq!(run(&mut machine(), &silent, "\n\n", false).0, exit::UNCONFIRMED);
    let (code, shown) = run(&mut machine(), &options(SetupVerb::Ask { plain: false }), "\n", true);
    assert_eq!(code, exit::UNCONFIRMED);
    assert!(shown.contains("Question 2 of "), "{shown}");
}

#[test]
fn a_file_s_answers_need_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("answers.toml");
    let mut machine = machine();
    let (code, dumped) = run(&mut machine, &options(SetupVerb::Dump), "", false);
    assert_eq!(code, exit::OK);
    std::fs::write(&file, &dumped).unwrap();
    let (code, shown) = run(&mut machine, &options(SetupVerb::Check(file.clone())), "", false);
    assert_eq!(code, exit::OK, "{shown}");
    assert!(machine.written.is_empty());
    let (code, shown) = run(&mut machine, &options(SetupVerb::Answers(file.clone())), "", false);
    assert_eq!(code, exit::OK, "{shown}");
    assert_eq!(
        machine.written[0].files.iter().find(|file| file.path.ends_with("answers.toml")).unwrap().content,
        dumped
    );
    // A card that is not there, and a key that is none: everything that is wrong is told, with its line.
    std::fs::write(&file, dumped.replace("eno1", "eno7")).unwrap();
    let (code, shown) = run(&mut machine, &options(SetupVerb::Answers(file.clone())), "", false);
    assert_eq!(code, exit::GENERAL);
    assert!(shown.contains("RK-SET-0501") && shown.contains("line "), "{shown}");
    std::fs::write(&file, dumped.replace("site =", "sitte =")).unwrap();
    let (code, shown) = run(&mut machine, &options(SetupVerb::Check(file)), "", false);
    assert_eq!(code, exit::GENERAL);
    assert!(shown.contains("did you mean site?"), "{shown}");
    assert_eq!(machine.written.len(), 1);
}

#[test]
fn an_earlier_set_up_is_proposed() {
    let earlier = "site = \"school\"\n[management]\naddress = \"10.99.0.1/24\"\npool = \"bad\"\n";
    let mut machine = Fake { earlier: Some(earlier.to_owned()), ..machine() };
    let (_, dumped) = run(&mut machine, &options(SetupVerb::Dump), "", false);
    assert!(
        dumped.contains("site = \"school\"") && dumped.contains("\"10.99.0.100-10.99.0.199\""),
        "{dumped}"
    );
    // In its language, unless another is asked for.
    machine.earlier = Some(format!("language = \"zh-TW\"\n{earlier}"));
    let silent = SetupOptions { language: None, ..options(SetupVerb::Dump) };
    let (_, dumped) = run(&mut machine, &silent, "", false);
    assert!(dumped.contains("language = \"zh-TW\"") && dumped.contains("站點名稱"), "{dumped}");
    let (_, dumped) = run(&mut machine, &options(SetupVerb::Dump), "", false);
    assert!(dumped.contains("language = \"en\""), "{dumped}");
}
