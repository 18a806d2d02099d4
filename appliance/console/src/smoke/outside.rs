//! From outside: a floating address, and whether it answers here.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::Stdio;

use serde_json::json;
use tokio::process::Command;

use super::cloud::{Service, id_of, list, text};
use super::course::{Course, Ended, made};
use super::fault::Fault;
use super::remains::PREFIX;
use super::step::Outcome;
use crate::client::segment;

/// How long the network may take for each, as [`Course::deadline`] counts.
const ASSOCIATED: u32 = 120;
const ANSWERED: u32 = 60;

impl Course<'_> {
    pub(super) async fn floating_address(&mut self) -> Ended {
        let Some(outside) = self.made.outside.clone() else {
            return Ok(Outcome::Skipped("the cloud has no external network".to_owned()));
        };
        let first = made(&self.made.first, "instance")?;
        let ports = format!("/ports?device_id={}", segment(&first.id));
        let ports = self.cloud.get(Service::Network, &ports).await?;
        let port = list(&ports, &["ports"]).first().map(|port| text(port, &["id"]).to_owned());
        let port = port.ok_or_else(|| Fault::new(format!("{} has no port", first.name)))?;
        let wish = json!({"floatingip": {"floating_network_id": outside.id, "port_id": port, "description": PREFIX}});
        let answer = self.cloud.post(Service::Network, "/floatingips", wish).await?;
        let id = id_of(&answer, &["floatingip", "id"])?;
        let address = text(&answer, &["floatingip", "floating_ip_address"]);
        let address: Ipv4Addr =
            address.parse().map_err(|_| Fault::new(format!("neutron gave the address {address:?}")))?;
        let deadline = self.deadline(ASSOCIATED);
        loop {
            let answer = self.cloud.get(Service::Network, &format!("/floatingips/{}", segment(&id))).await?;
            match text(&answer, &["floatingip", "status"]) {
                "ACTIVE" => break,
                status if !self.again(deadline).await => {
                    let why = format!("{address} stays {status}: no node of the role network takes it");
                    return Err(Fault::new(why));
                }
                _ => {}
            }
        }
        self.made.floating = Some(address);
        Ok(Outcome::Ok(format!("{address} of {}", outside.name)))
    }

    pub(super) async fn ping(&mut self) -> Ended {
        let address = made(&self.made.floating, "floating address")?;
        if let Err(why) = route(address) {
            return Ok(Outcome::Skipped(format!("this machine has no way to {address}: {why}")));
        }
        let deadline = self.deadline(ANSWERED);
        loop {
            match asked(address).await {
                Ok(true) => return Ok(Outcome::Ok(format!("{address} answers"))),
                Ok(false) if self.again(deadline).await => {}
                Ok(false) => {
                    let why = format!("{address} does not answer this machine within {ANSWERED} s");
                    return Err(Fault::new(why));
                }
                Err(why) => return Ok(Outcome::Skipped(why)),
            }
        }
    }
}

/// Whether the kernel would send there; nothing is sent.
fn route(address: Ipv4Addr) -> Result<(), std::io::Error> {
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?.connect((address, 9))
}

/// Whether it answers one ping. The system's program: whoever is not root may not send one here.
async fn asked(address: Ipv4Addr) -> Result<bool, String> {
    let mut ping = Command::new("ping");
    ping.args(["-n", "-q", "-c", "1", "-W", "2"]).arg(address.to_string());
    ping.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    match ping.status().await {
        Ok(status) => Ok(status.success()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err("this machine has no program ping (Debian's package iputils-ping)".to_owned())
        }
        Err(error) => Err(format!("ping can't be run: {error}")),
    }
}
