//! Where the time of a boot went: facts of the event log and lines of the serial console, in one table. Pure.

use std::time::{Duration, SystemTime};

use crate::operator::Event;
use crate::rack::serial::Line;

/// One stage of a server's way to Active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Its name.
    pub name: &'static str,
    /// How long it took; `None` when what ends it was not seen.
    pub took: Option<Duration>,
}

/// What ends a stage.
enum End {
    /// A fact with one of these words.
    Fact(&'static [&'static str]),
    /// A console line that holds one of these texts.
    Console(&'static [&'static str]),
}

/// The stages in order, each with what ends it.
const STAGES: [(&str, End); 11] = [
    ("firmware", End::Fact(&["seen", "address"])),
    ("DHCP", End::Fact(&["loader"])),
    ("loader", End::Fact(&["kernel", "ramdisk"])),
    ("kernel", End::Console(&["rackwright: finding drivers"])),
    ("agent", End::Fact(&["discovered", "hello"])),
    ("approve", End::Fact(&["approved"])),
    ("image", End::Fact(&["verifying"])),
    ("verify", End::Fact(&["verified"])),
    ("first boot", End::Console(&["rackwright-agent: serving"])),
    ("enrol", End::Fact(&["enrolled"])),
    ("units up", End::Fact(&["active"])),
];

/// The stages of the node `name` with the NIC `mac`, switched on at `power`.
///
/// A stage begins where the last one that was seen ended: an end nobody recorded makes the next stage longer, never
/// the sum wrong.
#[must_use]
pub fn stages(power: SystemTime, name: &str, mac: &str, events: &[Event], console: &[Line]) -> Vec<Stage> {
    let mut now = power;
    STAGES
        .iter()
        .map(|(stage, end)| {
            let at = match end {
                End::Fact(kinds) => fact(now, name, mac, events, kinds),
                End::Console(texts) => self::console(now, console, texts),
            };
            let took = at.and_then(|at| at.duration_since(now).ok());
            now = at.unwrap_or(now);
            Stage { name: stage, took }
        })
        .collect()
}

fn fact(after: SystemTime, name: &str, mac: &str, events: &[Event], kinds: &[&str]) -> Option<SystemTime> {
    let ours = |event: &&Event| event.node == name || event.node.eq_ignore_ascii_case(mac);
    let times = events.iter().filter(ours).filter(|event| kinds.contains(&event.kind.as_str()));
    times.filter_map(Event::at).find(|at| *at >= after)
}

fn console(after: SystemTime, console: &[Line], texts: &[&str]) -> Option<SystemTime> {
    let found = console.iter().filter(|line| line.at >= after);
    found.filter(|line| texts.iter().any(|text| line.text.contains(text))).map(|line| line.at).next()
}

/// From the moment the firmware starts what it was served to the agent's hello.
#[must_use]
pub fn to_hello(stages: &[Stage]) -> Option<Duration> {
    let between = ["loader", "kernel", "agent"];
    let ended = |name| stages.iter().any(|stage| stage.name == name && stage.took.is_some());
    let took = stages.iter().filter(|stage| between.contains(&stage.name)).filter_map(|stage| stage.took);
    (ended("DHCP") && ended("agent")).then(|| took.sum())
}

/// The stages that were seen, on one line.
#[must_use]
pub fn line(stages: &[Stage]) -> String {
    let seen = stages.iter().filter_map(|stage| Some(format!("{} {}", stage.name, cell(Some(stage.took?)))));
    seen.collect::<Vec<_>>().join(", ")
}

/// The table for a person: one row per stage, one column per node.
#[must_use]
pub fn table(nodes: &[(String, Vec<Stage>)]) -> String {
    let mut text = format!("{:<12}", "stage");
    for (name, _) in nodes {
        text.push_str(&format!("{name:>12}"));
    }
    for (row, (stage, _)) in STAGES.iter().enumerate() {
        text.push_str(&format!("\n{stage:<12}"));
        for (_, stages) in nodes {
            text.push_str(&format!("{:>12}", cell(stages.get(row).and_then(|stage| stage.took))));
        }
    }
    text.push_str(&format!("\n{:<12}", "in all"));
    for (_, stages) in nodes {
        text.push_str(&format!("{:>12}", cell(Some(stages.iter().filter_map(|stage| stage.took).sum()))));
    }
    text.push_str(&format!("\n{:<12}", "to hello"));
    nodes.iter().for_each(|(_, stages)| text.push_str(&format!("{:>12}", cell(to_hello(stages)))));
    text.push_str(
        "\n\nto hello: from the firmware's hand-over (the first loader is sent) to the agent's hello",
    );
    text
}

fn cell(took: Option<Duration>) -> String {
    took.map_or_else(|| "-".to_owned(), |took| format!("{:.1} s", took.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + seconds)
    }

    fn event(seconds: u64, node: &str, kind: &str) -> Event {
        let time = humantime::format_rfc3339_millis(at(seconds)).to_string();
        Event { seq: seconds, time, node: node.into(), kind: kind.into(), text: String::new() }
    }

    #[test]
    fn each_stage_begins_where_the_last_seen_one_ended() {
        let mac = "52:54:00:00:00:01";
        let events = [
            event(2, "n2", "address"),
            event(5, mac, "address"),
            event(9, mac, "loader"),
            event(30, "n1", "discovered"),
            event(31, "n1", "approved"),
            event(90, "n1", "active"),
        ];
        let console = [Line {
            at: at(20),
            text: "rackwright: finding drivers (3.1 s after the kernel started)".into(),
        }];
        let stages = stages(at(0), "n1", mac, &events, &console);
        let took: Vec<_> = stages.iter().map(|stage| stage.took.map(|took| took.as_secs())).collect();
        // No fact for the loader's end: the kernel's stage holds its time too.
        let wanted = [Some(5), Some(4), None, Some(11), Some(10), Some(1), None, None, None, None, Some(59)];
        assert_eq!(took, wanted);
        assert_eq!(line(&stages[..4]), "firmware 5.0 s, DHCP 4.0 s, kernel 11.0 s");
        let table = table(&[("n1".to_owned(), stages.clone())]);
        assert!(table.contains("in all            90.0 s\nto hello          21.0 s"), "{table}");
        assert_eq!(to_hello(&stages[..4]), None, "no hello was seen");
    }
}
