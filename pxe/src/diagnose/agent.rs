//! The ramdisk runs, or should.

use super::Hint;
use super::case::Case;
use crate::trace::{Plain, Role, Step, What};

/// From the ramdisk's last byte to the agent's hello, in seconds: slow boards test their memory in between.
const STARTS: u64 = 120;
/// Less is too little for kernel and ramdisk, in MiB.
const LEAST_MIB: u64 = 1024;

/// The ramdisk was sent, and nothing was heard since.
fn started<'a>(case: &Case<'a>, patience: u64) -> Option<&'a Step> {
    let (step, _) = case.whole(Role::Ramdisk)?;
    let heard = case.after(step).any(|later| matches!(later.what, What::Hello { .. } | What::Tls { .. }));
    (!heard && case.ends_with(step) && case.since(step) >= patience).then_some(step)
}

pub(super) fn small_memory(case: &Case<'_>) -> Option<Hint> {
    let memory = case.facts.memory_mib.filter(|mib| *mib < LEAST_MIB)?;
    let step = started(case, 30)?;
    let hint = Hint::certain(step.at, format!("it has {memory} MiB of memory, too little for the ramdisk"));
    Some(
        hint.why("The ramdisk is unpacked into memory; below 1 GiB the kernel stops with \"out of memory\".")
            .fix("give it 2 GiB or more"),
    )
}

pub(super) fn no_hello(case: &Case<'_>) -> Option<Hint> {
    let step = started(case, STARTS)?;
    let silent = case.since(step);
    let hint =
        Hint::likely(step.at, format!("it has the ramdisk for {silent} s, and its agent was not heard"));
    Some(
        hint.why(
            "The kernel stopped (less than 1 GiB of memory, a CPU that is too old), has no driver for this card, or the \
             agent cannot reach the controller's port for agents (TCP 8443).",
        )
        .fix("look at its screen or serial console: the agent says there what it waits for; then allow TCP 8443"),
    )
}

/// The last thing heard was TLS that failed.
fn failed<'a>(case: &Case<'a>) -> Option<(&'a Step, &'a Plain)> {
    let step = case.last.steps.last()?;
    if let What::Tls { why } = &step.what { Some((step, why)) } else { None }
}

fn is_clock(why: &Plain) -> bool {
    let why = why.as_str().to_ascii_lowercase();
    ["expired", "not yet valid", "notvalidyet", "not valid yet"].iter().any(|word| why.contains(word))
}

pub(super) fn clock(case: &Case<'_>) -> Option<Hint> {
    let (step, why) = failed(case).filter(|(_, why)| is_clock(why))?;
    let hint =
        Hint::likely(step.at, "its agent calls our certificate out of date: one of the two clocks is wrong");
    Some(
        hint.why(format!(
            "Its clock, or the controller's, is off by more than the certificate allows ({why})."
        ))
        .fix(
            "compare: date on the controller, and the clock in the server's firmware setup; set them to UTC",
        ),
    )
}

pub(super) fn tls(case: &Case<'_>) -> Option<Hint> {
    let (step, why) = failed(case).filter(|(_, why)| !is_clock(why))?;
    let hint = Hint::likely(step.at, "its agent reached us and could not agree on TLS");
    Some(
        hint.why(format!(
            "It was started for another controller (another site CA), or something in between changes TLS ({why})."
        ))
        .fix("restart it, so that it takes the fingerprint of this controller; is there a second controller?"),
    )
}

pub(super) fn refused(case: &Case<'_>) -> Option<Hint> {
    let step = case.last.steps.last()?;
    let What::Hello { refused: Some(why) } = &step.what else { return None };
    let hint = Hint::certain(step.at, "its agent said hello and was turned away");
    Some(hint.why(format!("{why}.")).fix(
        "if it runs an old ramdisk, restart it; if the boot store is old, make it anew (image-build ramdisk)",
    ))
}
