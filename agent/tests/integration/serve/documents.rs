//! Documents to try, and how a node is looked at from beside the agent.

use std::process::Command;

use pack::Digest;
use protocol::{File, Report, StateDocument, TaskWanted, UnitReport, UnitWanted, When};

pub fn document(generation: u64) -> StateDocument {
    StateDocument { generation, name: "n1".to_owned(), ..StateDocument::default() }
}

pub fn file(path: &str, content: &str, restarts: &[&str]) -> File {
    File {
        path: path.to_owned(),
        mode: 0o644,
        owner: "root".to_owned(),
        group: "root".to_owned(),
        digest: Digest::of(content.as_bytes()),
        content: content.to_owned(),
        restarts: restarts.iter().map(|&unit| unit.to_owned()).collect(),
    }
}

pub fn unit(name: &str) -> UnitWanted {
    UnitWanted { name: name.to_owned(), enabled: true, running: true, restarts: 0, packages: Vec::new() }
}

pub fn task(name: &str, guard: &[&str], argv: &[&str]) -> TaskWanted {
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    TaskWanted {
        name: name.to_owned(),
        guard: words(guard),
        argv: words(argv),
        timeout_seconds: 20,
        when: When::AfterUnits,
    }
}

/// A unit file around one shell line.
pub fn service(line: &str) -> String {
    format!("[Service]\nExecStart=/bin/sh -c '{line}'\n[Install]\nWantedBy=multi-user.target\n")
}

pub fn of<'a>(report: &'a Report, unit: &str) -> Option<&'a UnitReport> {
    report.units.iter().find(|known| known.name == unit)
}

pub fn is(report: &Report, unit: &str, active: &str) -> bool {
    of(report, unit).is_some_and(|unit| unit.active == active)
}

/// A person at the node's shell.
pub fn systemctl(words: &[&str]) -> String {
    let out = Command::new("systemctl").args(words).output().unwrap();
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

pub fn pid(unit: &str) -> String {
    systemctl(&["show", "--property=MainPID", "--value", unit])
}

pub fn journal(unit: &str) -> String {
    let out = Command::new("journalctl").args(["--unit", unit, "--lines=80", "--no-pager"]).output().unwrap();
    String::from_utf8_lossy(&out.stdout).into_owned()
}
