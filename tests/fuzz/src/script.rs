//! Boot scripts: values in, text that an interpreter obeys out.

#[cfg(feature = "everything")]
use std::net::SocketAddr;
use std::net::{Ipv4Addr, SocketAddrV4};

#[cfg(feature = "everything")]
use agent::deploy::cmdline;
use pxe::boot::LocalBoot;
#[cfg(feature = "everything")]
use pxe::script::kernel_line;
use pxe::script::{BootTask, CaPin, NodeView, Reason, autoexec, grub, grub_entry, ipxe};
use pxe::{BootPath, HttpBase, Mac};

use crate::Reached;
use crate::input::{Input, block};

/// No value adds a line or a command, and the agent reads from its command line exactly what was put there.
pub(crate) fn run(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let Some(view) = view(&mut input) else { return Reached::Refusal };
    let plain = NodeView { task: harmless(&view.task), ..view.clone() };
    for (render, mark) in [(ipxe as fn(&NodeView) -> String, "#!ipxe\n"), (grub, "echo ")] {
        let (script, tame) = (render(&view), render(&plain));
        assert!(script.starts_with(mark) && script.ends_with('\n'));
        assert!(script.bytes().all(|b| b == b'\n' || (b' '..=b'~').contains(&b)), "{script:?}");
        assert_eq!(shape(&script), shape(&tame), "a reason became a command");
    }
    for script in [autoexec(view.http), grub_entry(view.http)] {
        assert!(script.is_ascii() && script.ends_with('\n'));
    }
    #[cfg(feature = "everything")]
    read_back(&view);
    Reached::Inside
}

fn view(input: &mut Input<'_>) -> Option<NodeView> {
    let mac = Mac::new(input.array()).ok()?;
    let address = format!("{}/{}", Ipv4Addr::from(input.array::<4>()), input.byte()).parse().ok()?;
    let socket = |input: &mut Input<'_>| {
        SocketAddrV4::new(Ipv4Addr::from(input.array::<4>()), u16::from_le_bytes(input.array()))
    };
    let controller = socket(input);
    let http = HttpBase(socket(input));
    let (choice, ca) = (input.byte(), CaPin(input.array()));
    let why = Reason::new(&input.text());
    let path = match choice & 12 {
        0 => BootPath::BiosPxe,
        4 => BootPath::UefiPxe,
        8 => BootPath::UefiHttp,
        _ => BootPath::UefiHttpArm64,
    };
    let local = if choice & 32 == 0 { LocalBoot::Start } else { LocalBoot::Return };
    let task = match choice & 3 {
        0 => BootTask::Agent { why },
        1 => BootTask::LocalDisk,
        _ => BootTask::Hold { why },
    };
    let mut view =
        NodeView { mac, address, gateway: None, local, controller, ca, also: None, http, task, path };
    // The lowest address of the network, when it is the router's.
    let lowest = Ipv4Addr::from(u32::from(view.address.network()).wrapping_add(1));
    view.gateway = (choice & 16 != 0).then_some(lowest);
    Some(view)
}

fn harmless(task: &BootTask) -> BootTask {
    let why = || Reason::new("x");
    match task {
        BootTask::Agent { .. } => BootTask::Agent { why: why() },
        BootTask::LocalDisk => BootTask::LocalDisk,
        BootTask::Hold { .. } => BootTask::Hold { why: why() },
    }
}

/// The first word of every line, and how many of the characters that mean something each has.
fn shape(script: &str) -> Vec<(String, usize)> {
    let meaning = |c: &char| "\"'`$;|&<>{}\\#!*?[]~".contains(*c);
    // The reason stands behind the MAC of its line; a question mark is what every other character became.
    let count = |line: &str| line.chars().filter(meaning).filter(|c| *c != '?').count();
    script.lines().map(|line| (line.split(' ').next().unwrap_or_default().to_owned(), count(line))).collect()
}

/// The agent takes the line whole, or refuses an address that no machine can have.
#[cfg(feature = "everything")]
fn read_back(view: &NodeView) {
    let line = kernel_line(view);
    assert!(line.len() < 2048, "what kernels take");
    let Ok(told) = cmdline::parse(&line) else {
        let host =
            |a: Ipv4Addr| !(a.is_unspecified() || a.is_loopback() || a.is_multicast() || a.is_broadcast());
        let fine = host(*view.controller.ip()) && host(view.address.addr()) && view.controller.port() != 0;
        let way_out = view.gateway.is_none_or(|gateway| host(gateway) && gateway != view.address.addr());
        assert!(
            !fine || !way_out || !(1..=31).contains(&view.address.prefix_len()),
            "the agent refuses {line}"
        );
        return;
    };
    assert_eq!(told.controller, SocketAddr::V4(view.controller));
    assert_eq!(told.ca.0, view.ca.0);
    assert_eq!(told.mac.as_str(), view.mac.to_string());
    assert_eq!(told.address.to_string(), view.address.to_string());
    assert_eq!(told.gateway, view.gateway);
    assert_eq!(told.path.as_str(), view.path.name());
}

/// One script of each kind, each with a reason that would be a command.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let seed = |choice: u8, why: &str| {
        let mut out = vec![0x52, 0x54, 0, 0xab, 0xcd, 5, 10, 77, 0, 100, 24, 10, 77, 0, 1];
        out.extend(8443_u16.to_le_bytes());
        out.extend([10, 77, 0, 1]);
        out.extend(80_u16.to_le_bytes());
        out.push(choice);
        out.extend([0xab; 32]);
        out.extend(block(why));
        out
    };
    vec![
        seed(0, "new machine: enrol"),
        seed(1, ""),
        seed(2, "x\nreboot || ${net0/mac} $(reboot) `reboot` \"; reboot; '"),
        seed(4, "\u{202e}toober\u{1b}[2J \\x # y | z > /dev/null"),
        seed(6, &"x".repeat(500)),
        seed(8, "by HTTP"),
        seed(12, "arm64"),
        seed(33, ""),
        seed(20, "behind a relay"),
    ]
}
