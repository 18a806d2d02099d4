//! DHCP packets as a plain client sends them, handed to the writer as the listener hands them over.

use std::net::{Ipv4Addr, SocketAddrV4};

use appliance::writer::{DhcpAnswer, Packet};
use pxe::dhcp::{Arrival, Door};

use crate::agent::mac;
use crate::controller::Controller;

/// Option 53's values.
const DISCOVER: u8 = 1;
const REQUEST: u8 = 3;
/// Our address in the provisioning network, the server identifier.
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// What a client was given: the address, and for how many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) address: Ipv4Addr,
    pub(crate) seconds: u32,
}

/// What the `number`th server hears when it looks for an address: an offer, or the reason of the silence.
pub(crate) async fn discover(controller: &Controller, number: u8) -> Result<Given, String> {
    say(controller, packet(number, DISCOVER, Ipv4Addr::UNSPECIFIED, &[])).await
}

/// The `number`th server takes what it was offered.
pub(crate) async fn take(controller: &Controller, number: u8, offered: Ipv4Addr) -> Result<Given, String> {
    let options = [(50, offered.octets()), (54, SERVER.octets())];
    say(controller, packet(number, REQUEST, Ipv4Addr::UNSPECIFIED, &options)).await
}

/// The `number`th server looks for an address and takes it.
pub(crate) async fn boot(controller: &Controller, number: u8) -> Result<Given, String> {
    let offer = discover(controller, number).await?;
    take(controller, number, offer.address).await
}

/// The `number`th server asks to keep its address.
pub(crate) async fn renew(controller: &Controller, number: u8, address: Ipv4Addr) -> Result<Given, String> {
    say(controller, packet(number, REQUEST, address, &[])).await
}

async fn say(controller: &Controller, bytes: Vec<u8>) -> Result<Given, String> {
    let arrival = Arrival { door: Door::Lan, source: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68) };
    match controller.core.dhcp(Packet { interface: "lo".into(), bytes, arrival }).await {
        DhcpAnswer::Send(reply) => {
            let address = reply.address.ok_or_else(|| reply.what.clone())?;
            Ok(Given { address, seconds: lease_seconds(&reply.packet) })
        }
        DhcpAnswer::Silence(answer) => Err(format!("{answer:?}")),
        DhcpAnswer::Malformed(why) => Err(why),
    }
}

/// RFC 2131 §2, without what is zero anyway.
fn packet(number: u8, kind: u8, ciaddr: Ipv4Addr, options: &[(u8, [u8; 4])]) -> Vec<u8> {
    let mut bytes = vec![0; 236];
    bytes[..3].copy_from_slice(&[1, 1, 6]);
    bytes[4..8].copy_from_slice(&u32::from(number).to_be_bytes());
    bytes[12..16].copy_from_slice(&ciaddr.octets());
    let octets = mac(number).to_string().parse::<pxe::Mac>().unwrap().octets();
    bytes[28..34].copy_from_slice(&octets);
    bytes.extend([99, 130, 83, 99, 53, 1, kind]);
    for (code, value) in options {
        bytes.extend([*code, 4]);
        bytes.extend(value);
    }
    bytes.push(255);
    bytes.resize(300, 0);
    bytes
}

/// Option 51 of a reply.
fn lease_seconds(packet: &[u8]) -> u32 {
    let mut rest = &packet[240..];
    while let [code, length, value @ ..] = rest
        && *code != 255
    {
        let (value, after) = value.split_at(usize::from(*length));
        if *code == 51 {
            return u32::from_be_bytes(value.try_into().unwrap());
        }
        rest = after;
    }
    panic!("a lease without a time");
}
