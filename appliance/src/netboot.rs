//! Network boot on the state: what the listeners for DHCP, TFTP and HTTP ask the writer and the world.

#[cfg(test)]
mod tests;
#[cfg(test)]
mod twins;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, PoisonError};

use fleet::network::{Noticed, Sighting};
use fleet::{Event, Site, boot_task};
use ipnet::Ipv4Net;
use pxe::dhcp::Lease;
use pxe::files::StoreFile;
use pxe::ndp::{self, Booting};
use pxe::script::{self, BootTask, CaPin, NodeView};
use pxe::trace::{Answer, Fetch, What};
use pxe::{BootPath, HttpBase, Mac};

use crate::join::Joining;
use crate::listen::dhcp::{DhcpAnswer, DhcpIn, DhcpService};
use crate::listen::files::{Asker, FileService, Script, Served};
use crate::listen::foreign::{self, ForeignService};
use crate::listen::ndp::{NdpAnswer, NdpService};
use crate::trace::told;
use crate::writer::{Answered, Answers, Core, Packet, Question, Urgency, World, hardware, now};

/// What booting servers talk to.
#[derive(Clone, Debug)]
pub struct Netboot {
    core: Core,
    joining: Joining,
    /// Whom DHCP has just told what to boot. Not in the state: a restart costs a boot some seconds at most.
    booting: Arc<Mutex<Booting>>,
}

impl Netboot {
    /// On this state, of one provisioning interface; the ports go into scripts and onto the kernel command line.
    pub fn new(core: Core, joining: Joining) -> Self {
        Self { core, joining, booting: Arc::default() }
    }

    fn http(&self, asker: &Asker) -> HttpBase {
        HttpBase(SocketAddrV4::new(asker.address, self.joining.http_port))
    }

    /// What a script says about one NIC, from the state its node is in.
    fn view(&self, world: &World, mac: Mac, path: BootPath, asker: &Asker) -> Result<NodeView, String> {
        let lease = world.leases.get(mac);
        let own = address(lease, asker.peer.ip(), &world.site)
            .ok_or_else(|| format!("{mac} has no address from here and asks from {}", asker.peer.ip()))?;
        let subnet = world.site.subnet_of(own).ok_or("there is no provisioning network")?;
        let address = Ipv4Net::new(own, subnet.net.prefix_len()).map_err(|e| e.to_string())?;
        let hardware = hardware(mac).ok_or_else(|| format!("{mac} is not an Ethernet address"))?;
        let (ca, also) = fleet::trust::boot_pins(&world.fleet, &world.site, &hardware);
        Ok(NodeView {
            mac,
            address,
            local: world.history.local_by_script(mac),
            gateway: subnet.gateway.filter(|gateway| subnet.net.contains(gateway) && *gateway != own),
            controller: SocketAddrV4::new(asker.address, self.joining.agents_port),
            ca: CaPin(ca.0),
            also: also.map(|also| CaPin(also.0)),
            http: self.http(asker),
            task: boot_task(&world.fleet, &hardware),
            path,
        })
    }

    /// Brings what was seen of a network.
    async fn tell(&self, event: Event) {
        if let Err(why) = self.core.bring(event).await {
            tracing::warn!(%why, "what was seen of other DHCP servers was not recorded");
        }
    }

    /// Logs what a NIC was served; nobody waits for it.
    fn record(&self, mac: Mac, what: &str, text: String) {
        let Some(mac) = hardware(mac) else { return };
        self.core.mention(Event::Served { mac, what: what.to_owned(), text });
    }
}

/// The way a machine was last told to boot by.
fn path(world: &World, mac: Mac) -> Option<BootPath> {
    world.history.path(mac).or(world.leases.get(mac).and_then(|lease| lease.path))
}

/// The address of a machine that asks for its script. The one we gave it, when it asks from there or from nowhere that
/// we know; else the one it asks from, in one of our subnets: another DHCP server has given it that.
fn address(lease: Option<&Lease>, peer: IpAddr, site: &Site) -> Option<Ipv4Addr> {
    let near = match peer {
        IpAddr::V4(peer) => Some(peer).filter(|peer| site.subnets.iter().any(|s| s.net.contains(peer))),
        IpAddr::V6(_) => None,
    };
    match (lease, near) {
        (Some(lease), Some(peer)) if ![lease.ip, lease.in_use()].contains(&peer) => Some(peer),
        (Some(lease), _) => Some(lease.ip),
        (None, near) => near,
    }
}

impl DhcpService for Netboot {
    type Question = Question;
    type Decided = Answered;

    fn read(&self, packet: DhcpIn) -> Result<(Urgency, Question), String> {
        let DhcpIn { interface, bytes, arrival, .. } = packet;
        let question = Packet { interface, bytes, arrival }.read().map_err(|why| why.to_string())?;
        Ok((self.core.world().urgency(&question.request), question))
    }

    async fn ask(&self, questions: Vec<Question>, answers: &Answers) {
        self.core.ask(questions, answers).await;
    }

    fn say(&self, Answered { question, answer }: Answered) -> DhcpAnswer {
        let record = |answer| self.core.boots.dhcp(&self.core.world(), &question, answer);
        match answer {
            crate::writer::DhcpAnswer::Send(reply) => {
                record(Answer::sent(reply.kind, reply.address, &reply.packet));
                let mut booting = self.booting.lock().unwrap_or_else(PoisonError::into_inner);
                booting.told(&reply, pxe::Time(now().0));
                DhcpAnswer::Send { to: reply.to, packet: reply.packet }
            }
            crate::writer::DhcpAnswer::Silence(why) => {
                tracing::debug!(?why, "dhcp silence");
                record(why);
                DhcpAnswer::Silence
            }
            crate::writer::DhcpAnswer::Malformed(why) => {
                tracing::debug!(why, "dhcp silence");
                DhcpAnswer::Silence
            }
        }
    }
}

impl ForeignService for Netboot {
    async fn heard(&self, interface: &str, sighting: foreign::Sighting) {
        let foreign::Sighting { server, answers, heard } = sighting;
        self.core.boots.foreign(interface, server, heard.site.is_some());
        let noticed = if answers { Noticed::Answered } else { Noticed::Heard };
        let sighting = Sighting { server, noticed, boots: heard.boots, site: heard.site };
        self.tell(Event::Foreign { interface: interface.to_owned(), sighting }).await;
    }

    async fn plugged(&self, interface: &str) {
        self.tell(Event::Plugged { interface: interface.to_owned() }).await;
    }

    async fn looked(&self, interface: &str) {
        self.tell(Event::Looked { interface: interface.to_owned() }).await;
    }

    fn beside(&self, interface: &str) -> bool {
        let world = self.core.world();
        world.fleet.networks.get(interface).is_some_and(|network| !network.servers.is_empty())
    }

    async fn wanted(&self, interface: &str) {
        let wants = |world: &Arc<World>| {
            world.fleet.networks.get(interface).is_some_and(fleet::network::Network::wants_look)
        };
        if self.core.watch().wait_for(wants).await.is_err() {
            // The writer is gone: the daemon stops.
            std::future::pending().await
        }
    }
}

impl NdpService for Netboot {
    fn answer(&self, message: &[u8], source: Ipv6Addr) -> NdpAnswer {
        let booting = self.booting.lock().unwrap_or_else(PoisonError::into_inner);
        match ndp::answer(&booting, message, source, pxe::Time(now().0)) {
            Ok(advertisement) => {
                if let Some(mac) = ndp::sender_of(source) {
                    self.core.boots.card(&self.core.world(), mac, What::Router);
                }
                NdpAnswer::Send(advertisement.to_vec())
            }
            Err(why) if why.is_malformed() => NdpAnswer::Malformed(why.to_string()),
            Err(why) => NdpAnswer::Silence(why.to_string()),
        }
    }
}

impl FileService for Netboot {
    async fn script(&self, script: Script, asker: &Asker) -> Result<String, String> {
        let world = self.core.world();
        match script {
            Script::GrubConfig => Ok(script::grub_entry(self.http(asker))),
            Script::Autoexec => Ok(script::autoexec(self.http(asker))),
            Script::Join => self.joining.script(&world, asker.address).map_err(|why| why.to_string()),
            Script::NodeGrub(mac) => {
                // GRUB runs under UEFI only, whatever the record says.
                let path = path(&world, mac).filter(|path| path.is_uefi()).unwrap_or(BootPath::UefiPxe);
                Ok(script::grub(&self.view(&world, mac, path, asker)?))
            }
            Script::NodeScript(mac) => {
                let path = path(&world, mac).unwrap_or(BootPath::BiosPxe);
                Ok(script::ipxe(&self.view(&world, mac, path, asker)?))
            }
        }
    }

    fn served(&self, what: Served, asker: &Asker) {
        let world = self.core.world();
        let by_address = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => world.leases.holder(ip),
            IpAddr::V6(_) => None,
        };
        // Beside another DHCP server the address is none that we gave: then it is of whom was last seen with it.
        let holder = by_address(asker.peer.ip()).or_else(|| self.core.boots.holder(asker.peer.ip()));
        match what {
            Served::Script(Script::NodeGrub(mac) | Script::NodeScript(mac)) => {
                let Some(address) = hardware(mac) else { return };
                match boot_task(&world.fleet, &address) {
                    BootTask::LocalDisk => {
                        self.record(mac, "local-disk", "told to boot its own disk".to_owned())
                    }
                    BootTask::Agent { why } => {
                        self.record(mac, "script", format!("told to start the agent: {why}"))
                    }
                    BootTask::Hold { why } => self.record(mac, "hold", format!("told to wait: {why}")),
                }
            }
            Served::File(file) => {
                let Some(mac) = holder else { return };
                let kind = match file {
                    StoreFile::Kernel | StoreFile::KernelArm64 => "kernel",
                    StoreFile::Ramdisk | StoreFile::RamdiskArm64 => "ramdisk",
                    StoreFile::Shim
                    | StoreFile::Grub
                    | StoreFile::Undionly
                    | StoreFile::Snponly
                    | StoreFile::ShimArm64
                    | StoreFile::GrubArm64
                    | StoreFile::IpxeArm64 => "loader",
                    StoreFile::Agent => "agent",
                };
                self.record(mac, kind, format!("{} sent", file.client_name()));
            }
            Served::Script(Script::GrubConfig | Script::Autoexec | Script::Join) => {}
        }
    }

    fn asked(&self, fetch: Fetch, what: Option<Served>, asker: &Asker) {
        let world = self.core.world();
        let own = match what {
            Some(Served::Script(Script::NodeGrub(mac) | Script::NodeScript(mac))) => Some(mac),
            Some(Served::Script(Script::GrubConfig | Script::Autoexec | Script::Join) | Served::File(_))
            | None => None,
        };
        let task =
            own.filter(|_| fetch.is_whole()).and_then(hardware).map(|mac| boot_task(&world.fleet, &mac));
        let told = task.as_ref().map(told);
        self.core.boots.fetch(&world, asker.peer.ip(), own, Fetch { told, ..fetch });
    }
}
