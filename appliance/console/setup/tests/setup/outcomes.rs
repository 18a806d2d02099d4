//! What is written.

use setup::{Id, OWNED, outcome};

use crate::machines::{one, two, with};

fn content(session: &setup::Session, path: &str) -> Option<String> {
    outcome(&session.context())
        .files
        .into_iter()
        .find(|file| file.path.ends_with(path))
        .map(|file| file.content)
}

#[test]
fn two_cards() {
    let session = with(two(), &[(Id::TimeServers, "10.0.0.1,10.0.0.2")]);
    assert_eq!(
        content(&session, "rackwright.toml").as_deref(),
        Some(
            "# Made by rackwright setup. All keys: /usr/share/doc/rackwright/network.md\nsite = \"lab\"\n\n[[provision]]\n\
             interface = \"eno2\"\naddress = \"10.10.10.1/24\"\npool = \"10.10.10.100-10.10.10.199\"\ndhcp = \"full\"\n\
             foreign = \"pause\"\n"
        )
    );
    let made = "# Made by rackwright setup.\n";
    assert_eq!(
        content(&session, "uplink.network"),
        Some(format!("{made}[Match]\nName=eno1\n\n[Network]\nDHCP=ipv4\n"))
    );
    assert_eq!(
        content(&session, "management.network"),
        Some(format!(
            "{made}[Match]\nName=eno2\n\n[Network]\nAddress=10.10.10.1/24\nConfigureWithoutCarrier=yes\n\
             IPv6AcceptRA=no\n"
        ))
    );
    assert_eq!(
        content(&session, ".sources"),
        Some(format!("{made}server 10.0.0.1 iburst\nserver 10.0.0.2 iburst\n"))
    );
}

#[test]
fn a_fixed_address_a_vlan_and_the_site_s_own_dhcp() {
    let session = with(
        two(),
        &[
            (Id::UplinkMethod, "static"),
            (Id::UplinkAddress, "192.168.7.5/24"),
            (Id::ManagementVlan, "100"),
            (Id::ManagementInterface, "eno1"),
            (Id::ManagementDhcp, "proxy"),
        ],
    );
    let uplink = content(&session, "uplink.network").unwrap();
    assert!(uplink.ends_with("[Network]\nAddress=192.168.7.5/24\nGateway=192.168.7.1\n"), "{uplink}");
    let config = content(&session, "rackwright.toml").unwrap();
    assert!(
        config.contains("interface = \"eno1\"\nvlan = 100\naddress = \"10.10.10.1/24\"\ndhcp = \"proxy\"\n")
    );
    assert!(config.ends_with("foreign = \"proxy\"\n"));
    // The daemon makes the VLAN, and nobody else gives it an address.
    assert_eq!(content(&session, "management.network"), None);
}

#[test]
fn the_configuration_is_written_last_and_every_file_is_owned() {
    for facts in [one(), two()] {
        let outcome = outcome(&with(facts, &[]).context());
        let paths: Vec<&str> = outcome.files.iter().map(|file| file.path).collect();
        assert!(paths.last().unwrap().ends_with("rackwright.toml"));
        assert!(paths.iter().all(|path| OWNED.contains(path) && !path.starts_with('/')));
    }
    let session = with(one(), &[]);
    assert_eq!(content(&session, "uplink.network"), None);
    assert_eq!(content(&session, ".sources"), None);
}
