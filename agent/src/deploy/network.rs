//! The NIC that booted: found by its permanent address, given the address from the command line, and the way out of its
//! network.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use protocol::{HardwareAddress, Nic};

use crate::deploy::cmdline::{CommandLine, Network};
use crate::inventory;
use crate::screen::Screen;
use crate::tool::{self, ToolError};

const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Finds the NIC, gives it its address and waits for its link: for ever, with the reason on the screen. Spanning
/// tree alone may keep a port dark for a minute, and a cable can be put in at any time.
pub(super) async fn up(root: &Path, told: &CommandLine, screen: &Screen) -> Nic {
    let mac = &told.mac;
    loop {
        let name = find(root, mac, screen).await.name;
        match configure(&name, told.address, told.gateway) {
            Ok(()) => {
                raise_others(root, mac, screen);
                return carrier(root, mac, screen).await;
            }
            Err(error) => {
                screen.state("network", &format!("{name}: {}", crate::chain::Chain(&error)));
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
        }
    }
}

/// Switches the other cards on, so that it is seen what they are connected to. They get no address, not even one of their own making.
fn raise_others(root: &Path, mac: &HardwareAddress, screen: &Screen) {
    for nic in inventory::nics(root).into_iter().filter(|nic| nic.mac != *mac) {
        // Without IPv6 there is no such file, and no such address.
        drop(std::fs::write(root.join("proc/sys/net/ipv6/conf").join(&nic.name).join("disable_ipv6"), "1"));
        if let Err(error) = tool::run("ip", &["link", "set", &nic.name, "up"]) {
            screen.milestone(&format!("{} stays off: {}", nic.name, crate::chain::Chain(&error)));
        }
    }
}

async fn find(root: &Path, mac: &HardwareAddress, screen: &Screen) -> Nic {
    loop {
        let nics = inventory::nics(root);
        if let Some(nic) = nics.iter().find(|n| n.mac == *mac) {
            return nic.clone();
        }
        let seen = nics.iter().map(|n| format!("{} {}", n.name, n.mac)).collect::<Vec<_>>();
        let seen = if seen.is_empty() { "none so far".to_owned() } else { seen.join(", ") };
        screen.state("network", &format!("waiting for the driver of the network card {mac}; seen: {seen}"));
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn configure(name: &str, network: Network, gateway: Option<Ipv4Addr>) -> Result<(), ToolError> {
    // The loopback interface is nobody's job in a ramdisk otherwise.
    tool::run("ip", &["link", "set", "lo", "up"])?;
    tool::run("ip", &["link", "set", name, "up"])?;
    let broadcast = ["addr", "add", &network.to_string(), "broadcast", "+", "dev", name];
    match tool::run("ip", &broadcast) {
        // The agent was started again in the same boot.
        Err(error) if error.said("File exists") => {}
        other => drop(other?),
    }
    let Some(gateway) = gateway else { return Ok(()) };
    tool::run("ip", &["route", "replace", "default", "via", &gateway.to_string(), "dev", name]).map(drop)
}

async fn carrier(root: &Path, mac: &HardwareAddress, screen: &Screen) -> Nic {
    let begun = std::time::Instant::now();
    loop {
        let nic = find(root, mac, screen).await;
        if nic.carrier {
            return nic;
        }
        // In steps, so that a serial line is not filled with it.
        let waited = begun.elapsed().as_secs() / 15 * 15;
        let why =
            format!("waiting for a link on {} {mac} ({waited} s): check cable and switch port", nic.name);
        screen.state("network", &why);
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
