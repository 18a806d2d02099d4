//! What is written: the configuration, what the network of this machine needs, and the answers themselves.

use crate::answers::Context;
use crate::file;
use crate::question::Id;
use crate::table::management::PROXY;

/// The daemon's configuration; the last to be written: as long as it is not there, nothing has happened.
const CONFIGURATION: &str = "etc/rackwright/rackwright.toml";
const ANSWERS: &str = "etc/rackwright/answers.toml";
const UPLINK: &str = "etc/systemd/network/10-rackwright-uplink.network";
const MANAGEMENT: &str = "etc/systemd/network/10-rackwright-management.network";
const TIME: &str = "etc/chrony/sources.d/rackwright.sources";

/// Every file that set-up writes. One that an outcome does not have is of an earlier set-up, and no longer true.
pub const OWNED: [&str; 5] = [UPLINK, MANAGEMENT, TIME, ANSWERS, CONFIGURATION];

const MADE: &str = "# Made by rackwright setup.\n";

/// The files of a set-up, in the order in which they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// All of them.
    pub files: Vec<File>,
}

/// A file that everybody may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Below the root.
    pub path: &'static str,
    /// All of it.
    pub content: String,
}

/// What these answers come to. Meant for answers without problems; with others it is what it can be.
#[must_use]
pub fn outcome(context: &Context<'_>) -> Outcome {
    let contents = [
        (UPLINK, uplink(context)),
        (MANAGEMENT, management(context)),
        (TIME, time(context)),
        (ANSWERS, Some(file::write(context))),
        (CONFIGURATION, Some(configuration(context))),
    ];
    let files = contents.into_iter().filter_map(|(path, content)| Some(File { path, content: content? }));
    Outcome { files: files.collect() }
}

/// systemd.network(5). The daemon has an address on the other card only.
fn uplink(context: &Context<'_>) -> Option<String> {
    let card = context.some(Id::UplinkInterface)?;
    let lines = match (context.some(Id::UplinkAddress), context.some(Id::UplinkGateway)) {
        (Some(address), Some(gateway)) => format!("Address={address}\nGateway={gateway}\n"),
        (Some(address), None) => format!("Address={address}\n"),
        (None, _) => "DHCP=ipv4\n".to_owned(),
    };
    Some(format!("{MADE}[Match]\nName={card}\n\n[Network]\n{lines}"))
}

/// The address stays when the switch is off: the daemon listens on it. A VLAN is the daemon's own to make.
fn management(context: &Context<'_>) -> Option<String> {
    if context.some(Id::ManagementVlan).is_some() {
        return None;
    }
    let (card, address) = (context.some(Id::ManagementInterface)?, context.some(Id::ManagementAddress)?);
    Some(format!(
        "{MADE}[Match]\nName={card}\n\n[Network]\nAddress={address}\nConfigureWithoutCarrier=yes\nIPv6AcceptRA=no\n"
    ))
}

/// chrony.conf(5), sourcedir.
fn time(context: &Context<'_>) -> Option<String> {
    let servers = context.some(Id::TimeServers)?;
    let lines = servers.split(", ").map(|server| format!("server {server} iburst\n"));
    Some(format!("{MADE}{}", lines.collect::<String>()))
}

fn configuration(context: &Context<'_>) -> String {
    let text = |id| file::quoted(&context.some(id).unwrap_or_default());
    let mut lines = vec![
        "# Made by rackwright setup. All keys: /usr/share/doc/rackwright/network.md".to_owned(),
        format!("site = {}", text(Id::Site)),
        String::new(),
        "[[provision]]".to_owned(),
        format!("interface = {}", text(Id::ManagementInterface)),
    ];
    lines.extend(context.some(Id::ManagementVlan).map(|tag| format!("vlan = {tag}")));
    lines.push(format!("address = {}", text(Id::ManagementAddress)));
    if context.applies(Id::ManagementPool) {
        lines.push(format!("pool = {}", text(Id::ManagementPool)));
    }
    lines.push(format!("dhcp = {}", text(Id::ManagementDhcp)));
    let foreign = if context.is(Id::ManagementDhcp, PROXY) { "proxy" } else { "pause" };
    lines.push(format!("foreign = \"{foreign}\""));
    lines.join("\n") + "\n"
}
