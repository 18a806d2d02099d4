//! What the firmware is, what it takes, and what its network lets through.

use super::Hint;
use super::case::Case;
use crate::dhcp::Arch;
use crate::trace::{Answer, Attempt, Class, Dhcp, Message, Role, Silence, Stage, Step, Way, is_placeholder};

/// A firmware that has an address asks for its file within a second; some think for a while.
const THINKS: u64 = 15;
/// A port that listens and learns before it forwards takes 30 s with the standard's timers.
const LISTENS: u64 = 20;
/// Clients count seconds badly, some with their bytes swapped: more than this is no count.
const COUNTS: u16 = 240;
/// DHCP messages within a minute that no firmware needs.
const STORM: u64 = 24;
const MINUTE: u64 = 60;

pub(super) fn listener_deaf(case: &Case<'_>) -> Option<Hint> {
    let deaf = case.facts.deaf.first()?;
    let hint = Hint::certain(case.last.began(), format!("the controller itself does not listen: {deaf}"));
    Some(
        hint.why("Until it does, no server on that network can boot.")
            .fix("rackwright status says what it waits for"),
    )
}

pub(super) fn arch_unsupported(case: &Case<'_>) -> Option<Hint> {
    let (step, dhcp) = case.silence(Silence::Arch)?;
    let arch = Arch(dhcp.arch?);
    let hint = Hint::certain(
        step.at,
        format!("it is {} (option 93 says {}), and there is no loader for that", arch.name(), arch.0),
    );
    let Answer::Silence { why, .. } = &dhcp.answer else { return None };
    Some(hint.why(format!("The answer was silence: {why}.")).fix(arch.advice()))
}

pub(super) fn arch_missing(case: &Case<'_>) -> Option<Hint> {
    let (step, _) = case.silence(Silence::NoArch)?;
    let hint = Hint::certain(step.at, "it wants to boot and does not say what it is (no option 93)");
    Some(hint.why("Very old PXE ROMs leave it out; some relays and firewalls strip it.").fix(
        "update the network card's boot ROM; if a relay is in between, look there for a DHCP option filter",
    ))
}

/// The last acknowledgement of a firmware, when no file was asked for and it had time to.
fn told_and_silent<'a>(case: &Case<'a>, class: Class) -> Option<(&'a Step, &'a Dhcp)> {
    let told = case.dhcp().rev().find(|(_, dhcp)| dhcp.is_firmware() && dhcp.answer.boot().is_some())?;
    let (step, dhcp) = told;
    let taken = dhcp.message != Message::Discover && dhcp.class == class;
    (taken && case.fetches().next().is_none() && case.since(step) >= THINKS).then_some(told)
}

pub(super) fn http_refused(case: &Case<'_>) -> Option<Hint> {
    let (step, dhcp) = told_and_silent(case, Class::Http)?;
    let url = dhcp.answer.boot().filter(|boot| boot.starts_with("http://"))?;
    let hint = Hint::likely(step.at, format!("it took the address {url} and never asked for it"));
    Some(
        hint.why(
            "Its firmware refuses HTTP without TLS: a policy of newer servers (Dell 16G and later say UEFI0417), or a \
             build without plain HTTP.",
        )
        .fix(
            "in its firmware setup: set the TLS mode of HTTP boot to none (Dell: HttpDev1TlsMode = None), or put \"PXE \
             over IPv4\" first",
        ),
    )
}

pub(super) fn no_file_asked(case: &Case<'_>) -> Option<Hint> {
    let (step, dhcp) = told_and_silent(case, Class::Pxe)?;
    let boot = dhcp.answer.boot().unwrap_or_default();
    let hint = Hint::likely(step.at, format!("it was told to fetch {boot}, and no request for it came"));
    Some(
        hint.why("TFTP (UDP port 69) is filtered between it and us, or the acknowledgement was lost on the way.").fix(
            "look for a filter on the switch or router between them (an access list for UDP 69); then power-cycle it",
        ),
    )
}

pub(super) fn spanning_tree(case: &Case<'_>) -> Option<Hint> {
    let (step, waited) = late_first(case).or_else(|| late_after_loader(case))?;
    let hint = Hint::likely(step.at, format!("its first {waited} s on the network did not reach us"));
    Some(
        hint.why(
            "The switch port does not forward for about 30 s after the link comes up (spanning tree), and the link comes \
             up anew with every driver.",
        )
        .fix("on the switch: make the server's port an edge port (\"portfast\"), also where it is part of a bond"),
    )
}

fn late_first<'a>(case: &Case<'a>) -> Option<(&'a Step, u64)> {
    let first = case.dhcp().next().filter(|(_, dhcp)| dhcp.message == Message::Discover)?;
    let secs = first.1.secs;
    ((20..=COUNTS).contains(&secs)).then(|| (first.0, u64::from(secs)))
}

/// iPXE with a driver of its own resets the link, and is first heard when the port forwards again.
fn late_after_loader<'a>(case: &Case<'a>) -> Option<(&'a Step, u64)> {
    let (loader, _) = case.fetches().find(|(_, fetch)| fetch.role() == Role::Ipxe && fetch.is_whole())?;
    let mut later = case.dhcp().filter(|(step, _)| step.at > loader.at);
    let (step, dhcp) = later.find(|(_, dhcp)| dhcp.ipxe.is_some() && dhcp.message == Message::Discover)?;
    let waited = step.at.seconds_since(loader.at);
    (waited >= LISTENS || (20..=COUNTS).contains(&dhcp.secs)).then_some((step, waited))
}

/// BIOS or UEFI; PXE and HTTP are one firmware.
fn is_bios(attempt: &Attempt) -> Option<bool> {
    let mut dhcp = attempt.steps.iter().filter_map(|step| step.what.dhcp());
    dhcp.find(|dhcp| dhcp.boots() && dhcp.arch.is_some()).map(|dhcp| matches!(dhcp.arch, Some(0 | 20)))
}

pub(super) fn modes_flip(case: &Case<'_>) -> Option<Hint> {
    let modes: Vec<bool> = case.lately().filter_map(is_bios).collect();
    let flips = modes.windows(2).filter(|pair| matches!(pair, [one, other] if one != other)).count();
    if flips == 0 || case.lately().any(|attempt| attempt.reached() >= Stage::Script) {
        return None;
    }
    let what = "it boots as BIOS and as UEFI in turn, and gets nowhere with either";
    let begun = case.last.began();
    let hint = if flips > 1 { Hint::likely(begun, what) } else { Hint::possible(begun, what) };
    Some(
        hint.why("Its firmware is set to try both; an installed system starts only in the mode it was installed in.")
            .fix("in its firmware setup: choose UEFI alone (\"boot mode: UEFI\", CSM off)"),
    )
}

/// How often a step came within a minute. What repeats itself is kept as one step that may be hours long: of that only
/// the mean is known.
fn a_minute(step: &Step) -> u64 {
    u64::from(step.times) * MINUTE / step.last().seconds_since(step.at).max(MINUTE)
}

pub(super) fn retry_storm(case: &Case<'_>) -> Option<Hint> {
    let last = case.last.ended();
    let recent = case.dhcp().filter(|(step, _)| last.seconds_since(step.last()) <= MINUTE);
    let count: u64 = recent.map(|(step, _)| a_minute(step)).sum();
    if count < STORM {
        return None;
    }
    let hint = Hint::likely(last, format!("it sends DHCP without pause: {count} messages within a minute"));
    Some(
        hint.why("A loop in its firmware, or a loop in the network that brings every packet many times.")
            .fix("look at its screen; on the switch look for two ports that are bridged twice; power-cycle the server"),
    )
}

pub(super) fn duplicate_mac(case: &Case<'_>) -> Option<Hint> {
    let told: Vec<_> = case
        .dhcp()
        .filter_map(|(step, dhcp)| Some((step, dhcp.uuid.as_ref()?.as_str())))
        .filter(|(_, uuid)| !is_placeholder(uuid))
        .collect();
    let mut pairs = told.iter().zip(told.iter().skip(1));
    let ((_, one), (step, other)) = pairs.find(|((_, one), (_, other))| one != other)?;
    let hint = Hint::likely(step.at, format!("two machines ask with this MAC: boards {one} and {other}"));
    Some(
        hint.why("A card or a virtual machine was cloned with its address, or a MAC was set by hand twice.")
            .fix("unplug one of the two and look whether this goes on; then give one of them another MAC"),
    )
}

pub(super) fn two_networks(case: &Case<'_>) -> Option<Hint> {
    let heard: Vec<_> = case.dhcp().collect();
    let mut pairs = heard.iter().zip(heard.iter().skip(1));
    let ((_, one), (step, other)) = pairs.find(|((before, one), (after, other))| {
        one.interface != other.interface && after.at.seconds_since(before.last()) <= 60
    })?;
    let hint =
        Hint::likely(step.at, format!("it is heard on {} and on {} at once", one.interface, other.interface));
    Some(
        hint.why("Two of our networks are joined: a cable between two switches, or a port in two VLANs.")
            .fix(format!(
                "look which VLANs its switch port is in; {} and {} must not share one",
                one.interface, other.interface
            )),
    )
}

pub(super) fn other_nic(case: &Case<'_>) -> Option<Hint> {
    let (twin, stage) = case.facts.twin?;
    if case.last.reached() >= Stage::Script || case.quiet() < THINKS {
        return None;
    }
    let hint = Hint::likely(
        case.last.ended(),
        format!("another card of the same server boots instead: {twin} ({stage})"),
    );
    Some(
        hint.why(
            "Several cards ask at once, and the firmware goes on with one; nothing is wrong with this one.",
        )
        .fix(format!(
            "look at that one: rackwright node why {twin}; or turn network boot off for one of them"
        )),
    )
}

pub(super) fn placeholder(case: &Case<'_>) -> Option<Hint> {
    let mut told = case.dhcp().filter_map(|(step, dhcp)| Some((step, dhcp.uuid.as_ref()?.as_str())));
    let (step, uuid) = told.next_back().filter(|(_, uuid)| is_placeholder(uuid))?;
    let hint = Hint::possible(step.at, format!("its board has no UUID of its own ({uuid})"));
    Some(
        hint.why(
            "The maker left a default. It is told apart by its MAC and serial numbers, so nothing breaks.",
        )
        .fix("nothing, unless another program needs it; some makers have a tool that writes one"),
    )
}

/// Whether any file was asked for by HTTP.
pub(super) fn used_http(case: &Case<'_>) -> bool {
    case.fetches().any(|(_, fetch)| fetch.way == Way::Http)
}
