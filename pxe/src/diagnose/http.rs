//! From the loader to the ramdisk: everything that goes by HTTP.

use super::Hint;
use super::case::Case;
use super::firmware::used_http;
use crate::trace::{By, Class, End, Fetch, Role, Stage, Step, Way, What};

/// Between one file and the next, in seconds.
const NEXT: u64 = 30;

pub(super) fn link_lost(case: &Case<'_>) -> Option<Hint> {
    let began = case.last.began();
    let lost = case.around().rev().find(|step| {
        matches!(&step.what, What::Link { up: false, .. }) && step.at.plus_seconds(5) >= began
    })?;
    let What::Link { interface, .. } = &lost.what else { return None };
    let broke = case.fetches().any(|(step, fetch)| {
        step.at >= lost.at && matches!(fetch.end, End::Stopped { .. } | End::BrokenOff { .. })
    });
    let what = format!("the link of the controller's own interface {interface} was lost during this boot");
    let hint = if broke { Hint::certain(lost.at, what) } else { Hint::likely(lost.at, what) };
    Some(
        hint.why(
            "A cable, a port, a transceiver, or a switch that restarted: nothing could be sent meanwhile.",
        )
        .fix(format!("check cable and port of {interface} on the controller; then restart the server")),
    )
}

pub(super) fn blocked(case: &Case<'_>) -> Option<Hint> {
    let configured = case
        .fetches()
        .rev()
        .find(|(_, fetch)| fetch.way == Way::Tftp && fetch.role() == Role::Config && fetch.is_whole());
    let to_script = case.dhcp().rev().find(|(_, dhcp)| {
        dhcp.ipxe.is_some()
            && dhcp.server.is_some()
            && dhcp.answer.boot().is_some_and(|boot| boot.starts_with("http://"))
    });
    let (step, _) = configured.or(to_script.and_then(|(step, _)| Some((step, case.fetches().next()?.1))))?;
    if used_http(case) || case.quiet() < 20 {
        return None;
    }
    let hint =
        Hint::likely(step.at, "its loader runs and was told to go on by HTTP, and no HTTP request came");
    Some(
        hint.why("TCP port 80 of the controller is filtered between it and us.").fix(
            "allow TCP 80 from the servers to the controller on the switch, router or firewall in between",
        ),
    )
}

pub(super) fn bad_signature(case: &Case<'_>) -> Option<Hint> {
    let refused = |fetch: &Fetch| {
        let grubs = fetch.by == By::Grub || case.asked(Role::Grub);
        grubs
            && fetch.role() != Role::Local
            && fetch.way == Way::Http
            && matches!(fetch.end, End::NotFound | End::Missing { .. } | End::Refused { .. })
    };
    let (step, fetch) = case.fetches().rev().find(|(_, fetch)| refused(fetch))?;
    let hint =
        Hint::certain(step.at, format!("GRUB asked for {} and was told that it is not there", fetch.name));
    Some(
        hint.why("On the server's screen GRUB calls that \"bad shim signature\". No signature is wrong.")
            .fix(
                "see what is missing: rackwright status; then make the boot store anew (image-build ramdisk)",
            ),
    )
}

pub(super) fn cut(case: &Case<'_>) -> Option<Hint> {
    let is_cut = |fetch: &Fetch| {
        fetch.way == Way::Http && matches!(fetch.end, End::Stopped { .. } | End::BrokenOff { .. })
    };
    let all: Vec<_> = case.fetches().filter(|(_, fetch)| is_cut(fetch)).collect();
    let (step, fetch) = *all.last()?;
    let later = case
        .fetches()
        .any(|(other, whole)| other.at > step.at && whole.is_whole() && whole.name == fetch.name);
    if later || case.last.reached() >= Stage::Agent {
        return None;
    }
    let sent = if let End::Stopped { sent: Some(sent), .. } = fetch.end {
        format!(" after {sent} bytes")
    } else {
        String::new()
    };
    let what = format!("{} was cut off{sent}", fetch.name);
    let ramdisk = fetch.role() == Role::Ramdisk;
    let hint = if all.len() > 1 { Hint::likely(step.at, what) } else { Hint::possible(step.at, what) };
    Some(if ramdisk {
        hint.why(
            "The loader ran out of memory (a server with less than 1 GiB does), or its network broke off.",
        )
        .fix("give it 2 GiB or more; if it has that, check its cable and port")
    } else {
        hint.why("The machine restarted, or its network broke off.")
            .fix("look at its screen; check its cable and port")
    })
}

pub(super) fn no_ramdisk(case: &Case<'_>) -> Option<Hint> {
    let (step, _) = case.whole(Role::Kernel)?;
    if case.asked(Role::Ramdisk) || case.quiet() < NEXT {
        return None;
    }
    let hint = Hint::likely(step.at, "it has the kernel and did not ask for the ramdisk");
    Some(
        hint.why(
            "The loader refused the kernel (Secure Boot does not know its signature), or had no memory left for more.",
        )
        .fix("look at its screen. With a message about a signature: update its firmware's keys, or turn Secure Boot off"),
    )
}

pub(super) fn ipv6_wait(case: &Case<'_>) -> Option<Hint> {
    let (told, _) = case.dhcp().rev().find(|(_, dhcp)| {
        dhcp.ipxe.is_some()
            && dhcp.class != Class::Http
            && dhcp.server.is_some()
            && dhcp.answer.boot().is_some_and(|boot| boot.starts_with("http://"))
    })?;
    let later: Vec<&Step> = case.after(told).collect();
    let next = later.iter().find(|step| step.what.fetch().is_some_and(|fetch| fetch.way == Way::Http))?;
    let waited = next.at.0.saturating_sub(told.at.0);
    let router = later.iter().any(|step| step.what == What::Router && step.at <= next.at);
    if router || !(3_500..60_000).contains(&waited) {
        return None;
    }
    let seconds = waited / 1000;
    let hint =
        Hint::possible(told.at, format!("iPXE waited {seconds} s between its address and its first file"));
    Some(hint.why("It looks for an IPv6 router first, and nobody told it that there is none.").fix(
        "set answer_ipv6 = true for this network, and leave IPv6 on for the interface; it only costs time",
    ))
}
