//! What the installer asks and says, on a machine whose disks are made up.

use std::io::Cursor;
use std::path::Path;

use setup::install::{Disk, Environment, Layout, Slot};

use super::{Desk, InstallVerb, Installed, Told, Workbench};
use crate::failure::exit;
use crate::terminal::Terminal;
use crate::tests::Captured;

/// What was done to it.
struct Fake {
    written: Vec<String>,
    restarts: u32,
    fails: Option<&'static str>,
    slots: Installed,
}

impl Fake {
    fn new() -> Fake {
        let slots = Installed { runs: Slot::A, next: Environment { slot: Slot::A, trial: None } };
        Fake { written: Vec::new(), restarts: 0, fails: None, slots }
    }
}

impl Workbench for Fake {
    fn disks(&mut self) -> Result<Vec<Disk>, String> {
        let disk = |name: &str, content: &[&str], hindrance: Option<&str>| Disk {
            name: Some(name.to_owned()),
            model: "QEMU HARDDISK".to_owned(),
            bytes: 16 << 30,
            path: format!("/dev/{}", name.to_lowercase()),
            removable: false,
            content: content.iter().map(|&line| line.to_owned()).collect(),
            hindrance: hindrance.map(str::to_owned),
        };
        Ok(vec![
            disk("MEDIUM", &[], Some("it is the medium")),
            disk("EMPTY", &[], None),
            disk("FULL", &["partition table (gpt)", "/dev/full1: ext4 \"\u{1b}[2Jhome\""], None),
        ])
    }

    fn medium(&mut self) -> Result<u64, String> {
        Ok(800 << 20)
    }

    fn install(&mut self, disk: &Disk, _: Layout, told: Told<'_>) -> Result<(), String> {
        self.written.extend(disk.name.clone());
        told("writing the system", 1 << 20, 4 << 20);
        told("writing the system", 4 << 20, 4 << 20);
        told("making it start", 0, 0);
        self.fails.map_or(Ok(()), |why| Err(why.to_owned()))
    }

    fn installed(&mut self) -> Result<Installed, String> {
        Ok(self.slots)
    }

    fn update(&mut self, _: &Path, _: bool, _: Told<'_>) -> Result<Slot, String> {
        Ok(Slot::B)
    }

    fn keep(&mut self) -> Result<Slot, String> {
        Ok(Slot::A)
    }

    fn restart(&mut self) -> Result<(), String> {
        self.restarts += 1;
        Ok(())
    }
}

/// The exit code and everything that was shown.
fn run(bench: &mut Fake, verb: &InstallVerb, typed: Option<&str>, json: bool) -> (u8, String) {
    let screen = Captured::default();
    let terminal = Terminal {
        out: Box::new(screen.clone()),
        err: Box::new(screen.clone()),
        input: Box::new(Cursor::new(typed.unwrap_or_default().as_bytes().to_vec())),
        out_tty: typed.is_some(),
        err_tty: false,
        asks: typed.is_some(),
        size: None,
        err_size: || None,
    };
    let code = Desk { terminal, json }.carry_out(verb, bench);
    let shown = screen.text();
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
    (code, shown)
}

fn install(disk: Option<&str>, confirm: Option<&str>, restart: bool) -> InstallVerb {
    let (disk, confirm) = (disk.map(str::to_owned), confirm.map(str::to_owned));
    InstallVerb::Install { disk, confirm, empty: false, restart }
}

#[test]
fn one_that_must_be_empty_and_is_not_stays_as_it_is() {
    let of = |name: &str| InstallVerb::Install {
        disk: Some(name.to_owned()),
        confirm: Some(name.to_owned()),
        empty: true,
        restart: true,
    };
    let mut bench = Fake::new();
    let (code, shown) = run(&mut bench, &of("FULL"), None, false);
    assert_eq!((code, bench.written.len(), bench.restarts), (exit::CONFLICT, 0, 0));
    assert!(shown.contains("FULL is not empty") && shown.contains("ext4"), "{shown}");
    assert_eq!((run(&mut bench, &of("EMPTY"), None, false).0, bench.restarts), (exit::OK, 1));
}

#[test]
fn nothing_is_written_before_it_is_confirmed() {
    for (verb, typed, code) in [
        (install(None, None, false), None, exit::UNCONFIRMED),
        (install(Some("EMPTY"), None, false), None, exit::UNCONFIRMED),
        (install(Some("EMPTY"), Some("FULL"), false), None, exit::UNCONFIRMED),
        (install(Some("EMPTY"), Some("empty"), false), Some("yes\n"), exit::UNCONFIRMED),
        (install(Some("EMPTY"), None, false), Some("EMPTY\n"), exit::UNCONFIRMED),
        (install(Some("FULL"), None, false), Some("yes\n"), exit::UNCONFIRMED),
        (install(Some("FULL"), None, false), Some(""), exit::UNCONFIRMED),
        (install(None, None, false), Some("3\n0\n-1\nx\n"), exit::UNCONFIRMED),
        (install(Some("MEDIUM"), Some("MEDIUM"), false), None, exit::GENERAL),
        (install(Some("sda"), Some("sda"), false), None, exit::GENERAL),
    ] {
        let mut bench = Fake::new();
        let (ended, shown) = run(&mut bench, &verb, typed, false);
        assert_eq!((ended, bench.written.len()), (code, 0), "{verb:?}: {shown}");
        assert!(shown.contains("error: "), "{shown}");
    }
}

#[test]
fn a_disk_is_chosen_by_number_and_confirmed_by_its_name_when_it_is_not_empty() {
    let mut bench = Fake::new();
    let (code, shown) = run(&mut bench, &install(None, None, false), Some("7\n2\nFULL\n"), false);
    assert_eq!((code, bench.written.as_slice()), (exit::OK, ["FULL".to_owned()].as_slice()), "{shown}");
    for said in [
        " 1 EMPTY  17 GB  QEMU HARDDISK",
        " 2 FULL  17 GB",
        "on it: /dev/full1: ext4",
        "can't be used: it is the medium",
        "\"7\" is none of these numbers",
        "two slots of 2.1 GB",
        "EVERYTHING ON IT IS LOST",
        "writing the system",
        "Installed on FULL",
        "systemctl reboot",
    ] {
        assert!(shown.contains(said), "no {said:?} in {shown}");
    }
    // A person's Enter ends the line of a question.
    let lines = shown.replace("1-2: ", "1-2: \n").replace("go on: ", "go on: \n");
    assert!(lines.lines().all(|line| line.chars().count() <= 80), "{shown}");
    assert_eq!(bench.restarts, 0);
    let (code, _) = run(&mut bench, &install(None, None, true), Some("1\nyes\n"), false);
    assert_eq!((code, bench.restarts, bench.written.len()), (exit::OK, 1, 2));
}

#[test]
fn one_that_fails_says_why_and_does_not_restart() {
    let mut bench = Fake { fails: Some("writing /dev/empty: No space left on device"), ..Fake::new() };
    let (code, shown) = run(&mut bench, &install(Some("EMPTY"), Some("EMPTY"), true), None, true);
    assert_eq!((code, bench.restarts), (exit::GENERAL, 0));
    assert!(shown.ends_with("error: writing /dev/empty: No space left on device\n"), "{shown}");
}

#[test]
fn programs_get_json() {
    let item = |verb: &InstallVerb| {
        let (code, shown) = run(&mut Fake::new(), verb, None, true);
        assert_eq!(code, exit::OK, "{shown}");
        serde_json::from_str::<serde_json::Value>(&shown).unwrap()
    };
    let disks = item(&InstallVerb::List);
    assert_eq!(disks["apiVersion"], "rackwright/v1");
    assert_eq!(
        (&disks["items"][1]["name"], &disks["items"][1]["bytes"]),
        (&"EMPTY".into(), &(16_u64 << 30).into())
    );
    let status = item(&InstallVerb::Status);
    assert_eq!((&status["item"]["runs"], &status["item"]["next"]), (&"a".into(), &"a".into()));
    let file = "a.iso".into();
    assert_eq!(item(&InstallVerb::Update { file, older: false, restart: false })["item"]["slot"], "b");
    assert_eq!(item(&InstallVerb::Keep)["item"]["kept"], "a");
}

#[test]
fn a_status_says_what_the_next_start_is() {
    let of = |runs, slot, trial| {
        let slots = Installed { runs, next: Environment { slot, trial } };
        run(&mut Fake { slots, ..Fake::new() }, &InstallVerb::Status, None, false).1
    };
    assert_eq!(of(Slot::A, Slot::A, None), "slot a runs, and is what is started\n");
    assert!(of(Slot::A, Slot::A, Some(Slot::B)).contains("slot b is started once"));
    let trial = of(Slot::B, Slot::A, None);
    assert!(trial.contains("on trial") && trial.contains("the next restart is slot a"), "{trial}");
}
