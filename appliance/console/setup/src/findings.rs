//! What is wrong with the machine, and with the networks that it is in.

use std::net::Ipv4Addr;

use crate::answers::Context;
use crate::facts::{Facts, Interface};
use crate::problem::{Code, Problem};
use crate::question::Id;
use crate::table::management::PROXY;

/// Less than the daemon's state and its journal need, in bytes.
const SMALLEST_DISK: u64 = 512 << 20;
/// Less than some images and their versions take.
const USUAL_DISK: u64 = 40_000_000_000;
/// Less than the daemon, its boot files and what is booted from memory need.
const USUAL_MEMORY: u64 = 1_400_000_000;
/// The first second of 2026 and of 2100: a clock outside has lost its battery.
const POSSIBLE: std::ops::Range<u64> = 1_767_225_600..4_102_444_800;

/// What a person should know, and what stops set-up. Nothing where nothing is known of the machine.
#[must_use]
pub fn findings(context: &Context<'_>) -> Vec<Problem> {
    let Some(facts) = context.facts else { return Vec::new() };
    let mut found = machine(facts);
    for id in [Id::UplinkInterface, Id::ManagementInterface] {
        if let Some(card) = card(context, id).filter(|card| card.link == Some(false)) {
            found.push(Problem::new(Code::NoLink, Some(id), &card.name, ""));
        }
    }
    found.extend(gateway(context));
    if let Some(server) = foreign(context).filter(|_| !context.is(Id::ManagementDhcp, PROXY)) {
        let card = context.value(Id::ManagementInterface).unwrap_or_default();
        found.push(Problem::new(Code::ForeignDhcp, Some(Id::ManagementDhcp), &card, &server.to_string()));
    }
    found
}

/// Another DHCP server where servers shall boot. What was heard untagged says nothing of a VLAN.
pub(crate) fn foreign(context: &Context<'_>) -> Option<Ipv4Addr> {
    if context.some(Id::ManagementVlan).is_some() {
        return None;
    }
    card(context, Id::ManagementInterface)?.dhcp.first().copied()
}

fn card<'a>(context: &Context<'a>, id: Id) -> Option<&'a Interface> {
    let name = context.some(id)?;
    context.facts?.interface(&name)
}

fn machine(facts: &Facts) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut tell = |code, value: &str| found.push(Problem::new(code, None, value, ""));
    if facts.interfaces.is_empty() {
        tell(Code::NoCards, "");
    }
    match facts.disk {
        Some(bytes) if bytes < SMALLEST_DISK => tell(Code::DiskSmall, &megabytes(bytes)),
        Some(bytes) if bytes < USUAL_DISK => tell(Code::DiskTight, &megabytes(bytes)),
        Some(_) | None => {}
    }
    if let Some(bytes) = facts.memory.filter(|bytes| *bytes < USUAL_MEMORY) {
        tell(Code::MemoryLow, &megabytes(bytes));
    }
    if let Some(now) = facts.now.filter(|now| !POSSIBLE.contains(now)) {
        tell(Code::ClockWrong, &year(now).to_string());
    }
    found
}

fn gateway(context: &Context<'_>) -> Option<Problem> {
    let card = card(context, Id::UplinkInterface)?;
    let gateway = card.gateway.filter(|gateway| gateway.answers == Some(false))?;
    let wanted = context.some(Id::UplinkGateway);
    let is_wanted = wanted.is_none_or(|wanted| wanted == gateway.address.to_string());
    is_wanted.then(|| {
        Problem::new(Code::GatewayDead, Some(Id::UplinkInterface), &card.name, &gateway.address.to_string())
    })
}

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes / 1_000_000)
}

/// Near enough to be recognised as wrong.
fn year(seconds: u64) -> u64 {
    1970 + seconds / 31_556_952
}
