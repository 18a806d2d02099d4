//! The corpus: recorded boots as text, read into traces.
//!
//! ```text
//! # where it comes from
//! rule: spanning-tree              the finding that must come first, or "healthy"
//! now: +300                        when it is asked about, in seconds after the first step
//! facts: memory=512 node=n1
//! +0.000 dhcp< DISCOVER arch=7
//! +0.003 dhcp> OFFER 10.77.0.101 boot=sb/shimx64.efi
//! +4.100 tftp sb/shimx64.efi block=1468 window=4 size -> broke-off "User aborted the transfer"
//! +9.000 GET /boot/vmlinuz by=grub -> whole 8000000
//! ```

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use pxe::diagnose::Facts;
use pxe::trace::{
    Answer, Book, By, Class, Dhcp, End, Fetch, Message, Plain, Silence, Stage, Step, Task, Trace, What,
};
use pxe::{Mac, Time};
use serde::de::DeserializeOwned;

/// The time of the first step, in milliseconds.
pub(crate) const BEGIN: u64 = 1_795_000_000_000;
/// What a board says of itself that was not left as it came.
const UUID: &str = "4c4c4544-0042-3510-8052-b4c04f4a3132";

/// One file.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) rule: String,
    pub(crate) now: Time,
    pub(crate) facts: Facts,
    pub(crate) steps: Vec<Step>,
}

pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name)
}

pub(crate) fn mac() -> Mac {
    "18:66:da:10:20:30".parse().unwrap()
}

/// All files, by name.
pub(crate) fn cases() -> Vec<Case> {
    let mut paths: Vec<_> =
        std::fs::read_dir(folder("traces")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

/// The trace of the first `count` steps.
pub(crate) fn trace(steps: &[Step]) -> Trace {
    let mut book = Book::default();
    for step in steps {
        match &step.what {
            What::Link { .. } | What::Foreign { .. } => book.note_around(step.clone()),
            What::Dhcp(_) | What::Fetch(_) | What::Router | What::Tls { .. } | What::Hello { .. } => {
                book.note(mac(), || true, step.clone());
            }
        }
    }
    book.trace(mac()).unwrap_or_else(|| Trace::new(mac()))
}

fn read(path: &Path) -> Case {
    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.starts_with("# "), "{name}: says not where it comes from");
    let mut case =
        Case { name, rule: String::new(), now: Time(0), facts: Facts::default(), steps: Vec::new() };
    for (number, line) in text.lines().enumerate() {
        let read = line_of(&mut case, line);
        read.unwrap_or_else(|why| panic!("{}:{}: {why}: {line}", path.display(), number + 1));
    }
    case
}

fn line_of(case: &mut Case, line: &str) -> Result<(), String> {
    if line.is_empty() || line.starts_with('#') {
        return Ok(());
    }
    if let Some(rule) = line.strip_prefix("rule: ") {
        case.rule = rule.to_owned();
    } else if let Some(now) = line.strip_prefix("now: ") {
        case.now = time(now)?;
    } else if let Some(facts) = line.strip_prefix("facts: ") {
        for word in words(facts) {
            fact(&mut case.facts, &word)?;
        }
    } else {
        let words = words(line);
        let (at, rest) = words.split_first().ok_or("empty")?;
        let at = time(at)?;
        if rest.first().is_some_and(|word| word == "dhcp>") {
            let last = case.steps.last_mut().ok_or("an answer to nothing")?;
            let What::Dhcp(dhcp) = &mut last.what else { return Err("an answer to nothing".into()) };
            dhcp.answer = answer(&rest[1..])?;
        } else {
            case.steps.push(Step::new(at, what(rest)?));
        }
    }
    Ok(())
}

/// Words between spaces; what is between quotation marks is one.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn time(text: &str) -> Result<Time, String> {
    let text = text.strip_prefix('+').ok_or("no time")?;
    let (seconds, thousandths) = text.split_once('.').unwrap_or((text, "0"));
    let number = |text: &str| text.parse::<u64>().map_err(|why| format!("no time: {why}"));
    Ok(Time(BEGIN + number(seconds)? * 1000 + number(&format!("{thousandths:0<3}"))?))
}

fn named<T: DeserializeOwned>(word: &str) -> Result<T, String> {
    serde_json::from_value(word.into()).map_err(|why| why.to_string())
}

fn fact(facts: &mut Facts, word: &str) -> Result<(), String> {
    let (name, value) = word.split_once('=').ok_or("a fact without a value")?;
    let owned = value.to_owned();
    match name {
        "node" => facts.node = Some(owned),
        "state" => facts.state = Some(owned),
        "memory" => facts.memory_mib = value.parse().ok(),
        "heard" => facts.heard = Some(time(value)?),
        "deaf" => facts.deaf.push(owned),
        "twin" => {
            let (mac, stage) = value.split_once('/').ok_or("a twin is MAC/STAGE")?;
            facts.twin = Some((mac.parse::<Mac>().map_err(|why| why.to_string())?, named::<Stage>(stage)?));
        }
        _ => return Err(format!("there is no fact {name}")),
    }
    Ok(())
}

/// `name=value` words, and the others in order.
fn taken_apart(words: &[String]) -> (Vec<&str>, BTreeMap<&str, &str>) {
    let (mut plain, mut pairs) = (Vec::new(), BTreeMap::new());
    for word in words {
        match word.split_once('=') {
            Some((name, value)) if !name.contains(' ') => drop(pairs.insert(name, value)),
            _ => plain.push(word.as_str()),
        }
    }
    (plain, pairs)
}

fn what(words: &[String]) -> Result<What, String> {
    let (plain, pairs) = taken_apart(words);
    let on = || Plain::new(pairs.get("on").unwrap_or(&"eno2"));
    Ok(match plain.as_slice() {
        ["dhcp<", message] => What::Dhcp(Box::new(dhcp(message, &pairs)?)),
        ["tftp", name, rest @ ..] => fetch(Fetch::tftp(*name, End::Begun), rest, &pairs)?,
        ["GET", name, rest @ ..] => fetch(Fetch::http(*name, By::Other, End::Begun), rest, &pairs)?,
        ["HEAD", name, rest @ ..] => {
            fetch(Fetch { head: true, ..Fetch::http(*name, By::Other, End::Begun) }, rest, &pairs)?
        }
        ["router"] => What::Router,
        ["tls", why] => What::Tls { why: (*why).into() },
        ["hello"] => What::Hello { refused: None },
        ["hello", "refused", why] => What::Hello { refused: Some((*why).into()) },
        ["link", interface, state] => What::Link { interface: (*interface).into(), up: *state == "up" },
        ["foreign", server, rest @ ..] => What::Foreign {
            interface: on(),
            server: server.parse().map_err(|_| "no address")?,
            rackwright: *rest == ["rackwright"],
        },
        _ => return Err("not understood".into()),
    })
}

fn dhcp(message: &str, pairs: &BTreeMap<&str, &str>) -> Result<Dhcp, String> {
    let address = |name: &str| pairs.get(name).map(|text| text.parse::<Ipv4Addr>()).transpose();
    let address = |name: &str| address(name).map_err(|_| format!("{name} is no address"));
    let number = |name: &str| pairs.get(name).and_then(|text| text.parse::<u16>().ok());
    let vendor = *pairs.get("vendor").unwrap_or(&"PXEClient");
    let class = match vendor {
        "PXEClient" => Class::Pxe,
        "HTTPClient" => Class::Http,
        "-" => Class::Absent,
        _ => Class::Other,
    };
    let uuid = Some(*pairs.get("uuid").unwrap_or(&UUID)).filter(|uuid| *uuid != "-");
    Ok(Dhcp {
        message: named::<Message>(&message.to_ascii_lowercase())?,
        port: number("port").unwrap_or(67),
        interface: Plain::new(pairs.get("on").unwrap_or(&"eno2")),
        xid: number("xid").unwrap_or(1).into(),
        secs: number("secs").unwrap_or(0),
        class,
        vendor: (class == Class::Other).then(|| vendor.into()),
        ipxe: pairs.get("ipxe").map(|version| (*version).into()),
        arch: number("arch"),
        uuid: uuid.map(Into::into),
        relay: address("relay")?,
        requested: address("requested")?,
        uses: address("uses")?,
        server: address("server")?,
        answer: Answer::Noted,
    })
}

fn answer(words: &[String]) -> Result<Answer, String> {
    let (plain, pairs) = taken_apart(words);
    let boot = pairs.get("boot").map(|boot| Plain::new(boot));
    let address = plain.get(1).and_then(|text| text.parse().ok());
    Ok(match plain.as_slice() {
        ["OFFER", ..] => Answer::Offer { address, boot },
        ["ACK", ..] => Answer::Ack { address, boot },
        ["NAK"] => Answer::Nak,
        ["noted"] => Answer::Noted,
        ["silent", cause, why] => Answer::Silence { cause: named::<Silence>(cause)?, why: (*why).into() },
        _ => return Err("no answer is like that".into()),
    })
}

fn fetch(fetch: Fetch, rest: &[&str], pairs: &BTreeMap<&str, &str>) -> Result<What, String> {
    let number = |name: &str| pairs.get(name).and_then(|text| text.parse::<u16>().ok());
    let arrow = rest.iter().position(|word| *word == "->").ok_or("it does not end")?;
    let bytes = |text: &str| text.parse::<u64>().map_err(|_| "no number".to_owned());
    let end = match &rest[arrow + 1..] {
        ["begun"] => End::Begun,
        ["whole", n] => End::Whole { bytes: bytes(n)? },
        ["part", n] => End::Part { bytes: bytes(n)? },
        ["told"] => End::Told,
        ["broke-off", said] => End::BrokenOff { said: (*said).into() },
        ["stopped", why] => End::Stopped { sent: None, why: (*why).into() },
        ["stopped", n, why] => End::Stopped { sent: Some(bytes(n)?), why: (*why).into() },
        ["optional"] => End::Optional,
        ["not-found"] => End::NotFound,
        ["missing", why] => End::Missing { why: (*why).into() },
        ["refused", why] => End::Refused { why: (*why).into() },
        ["busy"] => End::Busy,
        _ => return Err("nothing ends like that".into()),
    };
    let fetch = Fetch {
        end,
        block: number("block"),
        window: number("window"),
        size: rest[..arrow].contains(&"size"),
        by: pairs.get("by").map_or(Ok(By::Other), |by| named(by))?,
        told: pairs.get("told").map(|task| named::<Task>(task)).transpose()?,
        ..fetch
    };
    Ok(What::Fetch(Box::new(fetch)))
}
