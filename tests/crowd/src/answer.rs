//! When a controller that is about to start answers DHCP for the first time: somebody new, and somebody whose lease runs.

use std::error::Error;
use std::fs;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dhcproto::v4::{DhcpOption, MessageType};

use crate::lease::{Relay, mac};
use crate::option;

/// Asked this often, so that the figure is as fine.
const EVERY: Duration = Duration::from_millis(10);
const LIMIT: Duration = Duration::from_secs(60);

/// Writes when each was answered, in milliseconds since 1970.
pub(crate) fn main(words: &[&str]) -> Result<(), Box<dyn Error>> {
    let (known, address) = option(words, "--known")?.split_once('=').ok_or("--known is MAC=IP")?;
    let known = octets(known).ok_or("--known begins with no MAC")?;
    let address: Ipv4Addr = address.parse()?;
    let relay =
        Relay::open(option(words, "--controller")?.parse()?, option(words, "--relay")?.parse()?, EVERY)?;
    let (begun, mut first) = (Instant::now(), [None; 2]);
    let fresh = mac(u16::MAX);
    while first.contains(&None) {
        if begun.elapsed() > LIMIT {
            return Err(format!("not answered within {LIMIT:?}: {first:?}").into());
        }
        // Nobody listens yet: the kernel says so, and that is no failure.
        drop(relay.ask(fresh, MessageType::Discover, []));
        drop(relay.ask(known, MessageType::Request, [DhcpOption::RequestedIpAddress(address)]));
        let asked = Instant::now();
        while asked.elapsed() < EVERY {
            let Some((who, _, _, _)) = relay.hear() else { continue };
            let place = if who == fresh { &mut first[0] } else { &mut first[1] };
            place.get_or_insert(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis());
        }
    }
    let [fresh, known] = first;
    fs::write(option(words, "--out")?, serde_json::json!({"fresh": fresh, "known": known}).to_string())?;
    Ok(())
}

fn octets(text: &str) -> Option<[u8; 6]> {
    let octets = text.split(':').map(|octet| u8::from_str_radix(octet, 16).ok());
    octets.collect::<Option<Vec<_>>>()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::octets;

    #[test]
    fn a_nic_is_six_octets() {
        assert_eq!(octets("52:54:00:c0:00:01"), Some([0x52, 0x54, 0, 0xc0, 0, 1]));
        for wrong in ["", "52:54:00:c0:00", "52:54:00:c0:00:01:02", "52:54:00:c0:00:zz", "52-54-00-c0-00-01"]
        {
            assert_eq!(octets(wrong), None, "{wrong}");
        }
    }
}
