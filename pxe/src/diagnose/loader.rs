//! The boot loader: fetched or not, started or not.

use super::Hint;
use super::case::{Case, fetches};
use crate::trace::{Attempt, End, Fetch, Plain, Role, Stage, Step, Way};

/// Loaders need less than this between one file and the next, in seconds.
const LOADS: u64 = 30;
/// A loader that is silent for so long does not run, in seconds.
const HANGS: u64 = 60;

/// A file that was not sent so, and later was not sent either.
fn never<'a>(case: &Case<'a>, ended: impl Fn(&Fetch) -> bool) -> Option<(&'a Step, &'a Fetch)> {
    let (step, fetch) = case.fetches().rev().find(|(_, fetch)| ended(fetch))?;
    let later = case.fetches().any(|(other, whole)| other.at > step.at && whole.is_whole());
    (!later).then_some((step, fetch))
}

pub(super) fn boot_store_incomplete(case: &Case<'_>) -> Option<Hint> {
    let (step, fetch) = case.fetches().rev().find(|(_, fetch)| matches!(fetch.end, End::Missing { .. }))?;
    let End::Missing { why } = &fetch.end else { return None };
    let hint =
        Hint::certain(step.at, format!("it asked for {}, and our boot store does not have it", fetch.name));
    Some(
        hint.why(format!("The boot store on the controller is incomplete or damaged: {why}."))
            .fix("make it anew: image-build ramdisk --out /var/lib/rackwright/boot"),
    )
}

pub(super) fn shim_lost_folder(case: &Case<'_>) -> Option<Hint> {
    let lost = |fetch: &Fetch| {
        let name = fetch.name.as_str().trim_start_matches('/');
        fetch.role() == Role::Grub && !name.contains('/') && matches!(fetch.end, End::NotFound)
    };
    let (step, fetch) = never(case, lost)?;
    let hint = Hint::certain(
        step.at,
        format!("its loader (shim) asks for {} without a folder before it", fetch.name),
    );
    Some(
        hint.why(
            "shim looks beside itself, and was told its own place by another DHCP server: one that sets a file name \
             (option 67), or whose answer overwrote ours.",
        )
        .fix("on the site's DHCP server: remove next-server, option 66 and option 67 for this network"),
    )
}

pub(super) fn not_there(case: &Case<'_>) -> Option<Hint> {
    let (step, fetch) = never(case, |fetch| matches!(fetch.end, End::NotFound | End::Refused { .. }))?;
    if fetch.role() == Role::Local {
        return None;
    }
    let hint = Hint::certain(step.at, format!("it asked for {}, and there is no such file here", fetch.name));
    Some(
        hint.why(
            "The name is none of ours: it comes from option 67 of another DHCP server, from a reservation there, or from \
             a setting in its firmware.",
        )
        .fix("remove the file name there; here every machine is told the right one by itself"),
    )
}

pub(super) fn options_refused(case: &Case<'_>) -> Option<Hint> {
    let minds = |fetch: &Fetch| {
        let End::BrokenOff { said } = &fetch.end else { return false };
        let said = said.as_str().to_ascii_lowercase();
        let words = ["option", "blksize", "windowsize", "negotiat", "oack"];
        (fetch.window.is_some() || fetch.block.is_some()) && words.iter().any(|word| said.contains(word))
    };
    let (step, fetch) = never(case, minds)?;
    let hint = Hint::likely(step.at, format!("it broke off {} because of what TFTP agreed on", fetch.name));
    Some(
        hint.why(
            "Its firmware asks for TFTP options (a window, a block size) and then cannot take the answer.",
        )
        .fix("update its firmware or the card's boot ROM; until then boot it by UEFI HTTP, if it has that"),
    )
}

pub(super) fn size_probe_only(case: &Case<'_>) -> Option<Hint> {
    let (step, fetch) = never(case, |fetch| fetch.size && matches!(fetch.end, End::BrokenOff { .. }))?;
    if !case.ends_with(step) || case.since(step) < 20 {
        return None;
    }
    let hint =
        Hint::likely(step.at, format!("it asked how large {} is, and then did not fetch it", fetch.name));
    Some(
        hint.why("The file does not fit into the memory its firmware sets aside, or the firmware gave up by itself.")
            .fix("look at its screen for a message (\"buffer too small\"); update its firmware; try once more"),
    )
}

pub(super) fn stalls(case: &Case<'_>) -> Option<Hint> {
    let begun =
        |fetch: &Fetch| fetch.way == Way::Tftp && matches!(fetch.end, End::Stopped { sent: Some(_), .. });
    let (step, fetch) = never(case, begun)?;
    let End::Stopped { sent: Some(sent), .. } = fetch.end else { return None };
    let same = case.fetches().filter(|(_, other)| other.name == fetch.name && other.end == fetch.end).count();
    let always = if same > 1 { ", each time at the same place" } else { "" };
    let what = match sent {
        0 => format!("{} was agreed on, and not one block of it arrived", fetch.name),
        sent => format!("{} stopped after {sent} bytes{always}", fetch.name),
    };
    let hint = Hint::likely(step.at, what);
    Some(
        hint.why(
            "Large packets do not pass: some part of the way has an MTU below 1500 (a tunnel, a VLAN without room for \
             its tag), or a firewall drops fragments. A bad cable looks the same.",
        )
        .fix("set the MTU to 1500 or more on every switch and router in between; then try another cable and port"),
    )
}

pub(super) fn replies_lost(case: &Case<'_>) -> Option<Hint> {
    let lost = |fetch: &Fetch| fetch.way == Way::Tftp && matches!(fetch.end, End::Stopped { sent: None, .. });
    let (step, fetch) = never(case, lost)?;
    let hint = Hint::likely(step.at, format!("it asked for {}, and our answer never reached it", fetch.name));
    Some(
        hint.why(
            "TFTP answers from another port than it was asked on; a firewall that knows only port 69 drops that.",
        )
        .fix("allow UDP from the controller to the servers on all ports, or turn the firewall's TFTP helper on"),
    )
}

pub(super) fn busy(case: &Case<'_>) -> Option<Hint> {
    let (step, _) = never(case, |fetch| fetch.end == End::Busy)?;
    let hint = Hint::possible(step.at, "too many transfers were under way when it asked");
    Some(hint.why("Many servers boot at once.").fix("wait: it asks again by itself; else restart it"))
}

pub(super) fn chain_loop(case: &Case<'_>) -> Option<Hint> {
    let role = |boot: &str| Fetch::tftp(boot, End::Begun).role();
    let mut given = case.dhcp().filter(|(_, dhcp)| {
        dhcp.ipxe.is_some()
            && dhcp.server.is_some()
            && dhcp.answer.boot().is_some_and(|boot| role(boot) == Role::Ipxe)
    });
    let (step, dhcp) = given.nth(2)?;
    if case.last.reached() >= Stage::Script {
        return None;
    }
    let version = dhcp.ipxe.as_ref().map(Plain::to_string).unwrap_or_default();
    let hint = Hint::likely(step.at, format!("iPXE loads iPXE again and again (it calls itself {version})"));
    Some(
        hint.why(
            "The iPXE that we send does not start here, so the old one in the card's ROM asks once more.",
        )
        .fix("turn iPXE off in the card's ROM or update it; or boot this server as UEFI"),
    )
}

/// The loader of an attempt that ended with it.
fn ended_with_loader(attempt: &Attempt) -> Option<(&Step, &Fetch)> {
    let loaders = [Role::Shim, Role::Grub, Role::Ipxe];
    let loaded = |fetch: &Fetch| fetch.is_whole() && loaders.contains(&fetch.role());
    let last = fetches(attempt).rfind(|(_, fetch)| loaded(fetch))?;
    let more = attempt.steps.iter().filter(|step| step.at > last.0.at).any(|step| {
        let asks = step.what.dhcp().is_some_and(|dhcp| dhcp.ipxe.is_some());
        asks || step.what.fetch().is_some_and(|fetch| fetch.end != End::Optional)
    });
    (attempt.reached() == Stage::Loader && !more).then_some(last)
}

fn is_uefi(attempt: &Attempt) -> bool {
    let mut dhcp = attempt.steps.iter().filter_map(|step| step.what.dhcp());
    dhcp.any(|dhcp| dhcp.boots() && dhcp.arch.is_some_and(|arch| !matches!(arch, 0 | 20)))
}

pub(super) fn secure_boot(case: &Case<'_>) -> Option<Hint> {
    let attempts: Vec<&Attempt> = case.lately().collect();
    let refused = attempts.windows(2).rev().find_map(|pair| {
        let [one, next] = pair else { return None };
        let (step, fetch) = ended_with_loader(one).filter(|(_, fetch)| fetch.role() == Role::Ipxe)?;
        let soon = next.began().seconds_since(step.at) <= LOADS;
        (is_uefi(one) && soon).then_some((step, fetch))
    });
    let (step, fetch) = refused?;
    if case.last.reached() >= Stage::Script {
        return None;
    }
    let hint = Hint::likely(
        step.at,
        format!("its firmware fetched {} and went on to its next boot entry", fetch.name),
    );
    Some(
        hint.why("Secure Boot is on and refuses this loader: it is not signed (the screen says \"Access Denied\").").fix(
            "let it boot by shim and GRUB, which are signed; or turn Secure Boot off in its firmware setup",
        ),
    )
}

pub(super) fn loop_of_loads(case: &Case<'_>) -> Option<Hint> {
    let loops: Vec<_> = case.lately().filter_map(ended_with_loader).collect();
    let (step, fetch) = loops.last().filter(|_| loops.len() >= 3)?;
    let times = loops.len();
    let hint =
        Hint::likely(step.at, format!("it fetched {} {times} times, and never came farther", fetch.name));
    Some(
        hint.why(
            "The loader does not start: Secure Boot has revoked it (the screen says \"SBAT\" or \"Security Violation\"), or \
             it crashes on this firmware and the machine restarts.",
        )
        .fix(
            "look at its screen. With a security message: update the boot files (image-build ramdisk) and its firmware; \
             else boot it the other way, as UEFI instead of BIOS or the reverse",
        ),
    )
}

/// The last file was this, whole, and then nothing came for `patience` seconds.
fn stuck_after<'a>(case: &Case<'a>, role: Role, patience: u64) -> Option<(&'a Step, &'a Fetch)> {
    let (step, fetch) = case.whole(role)?;
    (case.ends_or_optional(step) && case.quiet() >= patience).then_some((step, fetch))
}

pub(super) fn shim_silent(case: &Case<'_>) -> Option<Hint> {
    let (step, fetch) = stuck_after(case, Role::Shim, LOADS)?;
    let hint =
        Hint::likely(step.at, format!("it has {} and did not ask for GRUB, which comes next", fetch.name));
    Some(
        hint.why(
            "Either Secure Boot stopped it (the screen says \"SBAT\" or \"Security Violation\"), or it asked another \
             server for GRUB: one that sets next-server in its DHCP answers.",
        )
        .fix("look at its screen; on the site's DHCP server remove next-server and options 66 and 67"),
    )
}

pub(super) fn grub_silent(case: &Case<'_>) -> Option<Hint> {
    let (step, fetch) = stuck_after(case, Role::Grub, LOADS)?;
    let hint = Hint::likely(
        step.at,
        format!("GRUB ({}) was loaded and never asked for its configuration", fetch.name),
    );
    Some(
        hint.why(
            "GRUB cannot use this card through the firmware's driver (\"couldn't send network packet\"), or it has too \
             little memory to start.",
        )
        .fix("update the card's firmware; if it stays so, boot this server as BIOS, or through another card"),
    )
}

pub(super) fn silent(case: &Case<'_>) -> Option<Hint> {
    let (step, fetch) = stuck_after(case, Role::Ipxe, HANGS)?;
    let hint = Hint::likely(step.at, format!("{} was loaded and has been silent since", fetch.name));
    Some(
        hint.why(
            "iPXE hangs on this card or firmware, or its link did not come back: some boards do that with the IOMMU on.",
        )
        .fix(
            "look at its screen. If iPXE stands still there: boot as UEFI, where shim and GRUB are used, or update the \
             card's boot ROM",
        ),
    )
}
