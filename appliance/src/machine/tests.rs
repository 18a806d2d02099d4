use std::fs;
use std::os::unix::fs::PermissionsExt;

use setup::{Answers, Context, File, Id, OWNED, TOPOLOGIES, outcome};

use super::write::write as put;
use super::*;
use crate::config::{Dhcp, Foreign, parse};
use crate::listen::foreign::tests::Dnsmasq;
use crate::net::tests::{Other, alone, ip};

/// The outcome of these answers on no machine in particular.
fn made(answers: &[(Id, &str)]) -> Outcome {
    let mut given = Answers::default();
    given.give(Id::ManagementInterface, "eno2");
    for (id, text) in answers {
        given.give(*id, text);
    }
    let context = Context { answers: &given, facts: None };
    assert_eq!(setup::problems(&context), []);
    outcome(&context)
}

fn configuration(outcome: &Outcome) -> &File {
    outcome.files.last().unwrap()
}

#[test]
fn the_daemon_believes_every_configuration_that_set_up_makes() {
    for topology in TOPOLOGIES {
        for (vlan, dhcp) in [("none", "full"), ("none", "known"), ("100", "proxy"), ("4094", "full")] {
            let outcome = made(&[
                (Id::Topology, topology.choice.word),
                (Id::Site, "a-2"),
                (Id::ManagementVlan, vlan),
                (Id::ManagementDhcp, dhcp),
            ]);
            let config = parse(&configuration(&outcome).content).unwrap();
            assert_eq!(config.site.as_str(), "a-2");
            let [provision] = &config.provision[..] else { panic!("{config:?}") };
            assert_eq!(provision.address.to_string(), "10.10.10.1/24");
            assert_eq!(provision.vlan.map_or("none".to_owned(), |tag| tag.to_string()), vlan);
            let (wanted, foreign) = match dhcp {
                "known" => (Dhcp::Known, Foreign::Pause),
                "proxy" => (Dhcp::Proxy, Foreign::Proxy),
                _ => (Dhcp::Full, Foreign::Pause),
            };
            assert_eq!((provision.dhcp, provision.foreign), (wanted, foreign));
            assert_eq!(provision.pools.is_empty(), dhcp == "proxy");
        }
    }
}

/// What set-up takes, the daemon takes: the two have rules of their own for the same values.
#[test]
fn an_address_that_set_up_takes_is_one_that_the_daemon_takes() {
    for address in
        ["10.0.0.1/8", "172.16.255.254/16", "192.168.0.129/25", "10.1.1.1/29", "10.1.1.2/30", "10.1.1.2/29"]
    {
        let outcome = made(&[(Id::ManagementAddress, address)]);
        if let Err(why) = parse(&configuration(&outcome).content) {
            panic!("{address}: {why}\n{}", configuration(&outcome).content);
        }
    }
}

#[test]
fn everything_is_written_whole_and_what_was_there_is_kept() {
    let root = tempfile::tempdir().unwrap();
    let at = |path: &str| root.path().join(path);
    let first = made(&[(Id::UplinkInterface, "eno1"), (Id::TimeServers, "10.0.0.9")]);
    let written = put(root.path(), &first, false).unwrap();
    assert_eq!((written.files.len(), written.kept.len()), (OWNED.len(), 0));
    for file in &first.files {
        let path = at(file.path);
        assert_eq!(fs::read_to_string(&path).unwrap(), file.content);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o644, "{}", path.display());
    }
    // Not again by mistake.
    let second = made(&[(Id::Site, "other")]);
    let refused = put(root.path(), &second, false).unwrap_err();
    assert!(refused.to_string().contains("is there already"), "{refused}");
    assert_eq!(fs::read_to_string(at(configuration(&first).path)).unwrap(), configuration(&first).content);
    // By force: nothing is lost, and what is no longer true is gone from where it would be read.
    let written = put(root.path(), &second, true).unwrap();
    assert_eq!(
        fs::read_to_string(at("etc/rackwright/rackwright.toml.old1")).unwrap(),
        configuration(&first).content
    );
    assert!(!at("etc/systemd/network/10-rackwright-uplink.network").exists());
    assert!(at("etc/systemd/network/10-rackwright-uplink.network.old1").exists());
    assert!(!at("etc/chrony/sources.d/rackwright.sources").exists());
    assert_eq!(written.kept.len(), 4, "{:?}", written.kept);
    // The management network is the same: it is left alone.
    assert_eq!(written.files.len(), 2, "{:?}", written.files);
    let third = put(root.path(), &first, true).unwrap();
    assert!(third.kept.iter().any(|path| path.ends_with("rackwright.toml.old2")), "{:?}", third.kept);
    let leftovers = walk(root.path()).into_iter().filter(|path| path.to_string_lossy().ends_with(".part"));
    assert_eq!(leftovers.count(), 0);
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// The folder of the network files cannot be made: the machine is no controller, and the next attempt is.
#[test]
fn a_failure_in_the_middle_leaves_no_configuration() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("etc")).unwrap();
    fs::write(root.path().join("etc/systemd"), "in the way").unwrap();
    let mut machine = Live::under(Some(root.path()));
    let outcome = made(&[]);
    let why = machine.write(&outcome, false).unwrap_err();
    assert!(why.contains("etc/systemd/network"), "{why}");
    assert_eq!(machine.configured(), None);
    fs::remove_file(root.path().join("etc/systemd")).unwrap();
    machine.write(&outcome, false).unwrap();
    assert_eq!(machine.configured(), Some(root.path().join("etc/rackwright/rackwright.toml")));
    assert!(machine.earlier().unwrap().contains("interface = \"eno2\""));
}

#[test]
fn a_record_is_kept_line_by_line_for_us_alone() {
    let root = tempfile::tempdir().unwrap();
    let mut machine = Live::under(Some(root.path()));
    assert_eq!(machine.recorded(), None);
    assert!(machine.record("early\n").is_err());
    machine.begin().unwrap();
    machine.record("one\n").unwrap();
    machine.record("two\n").unwrap();
    assert_eq!(machine.recorded(), Some(format!("{}one\ntwo\n", setup::record::HEAD)));
    let path = root.path().join("run/rackwright-setup/record");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(path.parent().unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o700);
    // A kill in the middle of a character.
    fs::write(
        &path,
        [setup::record::HEAD.as_bytes(), b"{\"answer\":\"a\"}\n{\"answer\":\"\xe6\x95"].concat(),
    )
    .unwrap();
    assert_eq!(setup::record::read(&machine.recorded().unwrap()), [setup::Message::Answer("a".to_owned())]);
    machine.begin().unwrap();
    assert_eq!(machine.recorded().as_deref(), Some(setup::record::HEAD));
    machine.forget();
    assert_eq!(machine.recorded(), None);
}

#[test]
fn cards_are_hardware_and_not_made_of_others() {
    let sys = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("eno2/type", "1\n"),
        ("eno2/device/vendor", "0x8086"),
        ("eno1/type", "1\n"),
        ("eno1/device/vendor", "0x8086"),
        ("eno1.7/type", "1\n"),
        ("eno1.7/uevent", "DEVTYPE=vlan\nINTERFACE=eno1.7\n"),
        ("br0/type", "1\n"),
        ("br0/bridge/stp_state", "0"),
        ("veth0/type", "1\n"),
        ("lo/type", "772\n"),
        ("ib0/type", "32\n"),
        ("ib0/device/vendor", "0x15b3"),
    ] {
        let path = sys.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    assert_eq!(cards::names(sys.path()), ["eno1", "eno2"]);
    for name in ["eno1", "eno2"] {
        fs::remove_dir_all(sys.path().join(name)).unwrap();
    }
    assert_eq!(cards::names(sys.path()), ["veth0"], "in a container there is no hardware");
    assert_eq!(cards::names(Path::new("/nowhere")), [] as [&str; 0]);
}

#[test]
fn what_the_kernel_writes_is_read() {
    let routes = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n\
                  eno1\t00000000\t0107A8C0\t0003\t0\t0\t100\t00000000\n\
                  eno1\t0007A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\nbroken\n";
    let found = cards::gateways(routes);
    let wanted = if cfg!(target_endian = "little") { "192.168.7.1" } else { "1.7.168.192" };
    assert_eq!(found.len(), 1);
    assert_eq!(found["eno1"].to_string(), wanted);
    assert_eq!(memory("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16384 * 1024));
    assert_eq!(memory("MemFree: 1 kB\n"), None);
    assert_eq!(existing(Path::new("/proc/nowhere/at/all")), Some(Path::new("/proc")));
}

#[test]
fn only_packets_for_dhcp_clients_are_read() {
    let mut packet = vec![0; 30];
    packet[0] = 0x45;
    packet[9] = 17;
    packet[12..16].copy_from_slice(&[10, 0, 0, 138]);
    packet[22..24].copy_from_slice(&68_u16.to_be_bytes());
    packet[28..].copy_from_slice(b"ok");
    assert_eq!(dhcp::udp(&packet), Some(("10.0.0.138".parse().unwrap(), &b"ok"[..])));
    for (at, byte) in [(0, 0x65), (0, 0x44), (0, 0x4f), (7, 1), (9, 6), (23, 67)] {
        let mut packet = packet.clone();
        packet[at] = byte;
        assert_eq!(dhcp::udp(&packet), None);
    }
    for length in 0..28 {
        assert_eq!(dhcp::udp(&packet[..length]), None, "{length} bytes");
    }
}

/// Against a real kernel and a real server.
#[test]
fn a_card_that_is_off_and_has_no_address_is_seen_through() {
    if !alone("machine::tests::a_card_that_is_off_and_has_no_address_is_seen_through") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let other = Other::new();
    other.cable();
    ip("link set rw0 down");
    // As systemd has it: what comes from a network that there is no way to is dropped.
    fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "2").unwrap();
    let _server = Dnsmasq::start(&other, folder.path());
    let look = || cards::cards(vec!["rw0".to_owned(), "gone".to_owned()]);
    let found = look();
    assert_eq!((found.len(), found[0].link, found[1].link), (2, Some(true), None));
    assert!(found[0].mac.is_some() && found[0].addresses.is_empty() && found[0].gateway.is_none());
    let server: std::net::Ipv4Addr = "10.77.0.9".parse().unwrap();
    assert_eq!(found[0].dhcp, [server]);
    ip("addr add 10.77.0.2/24 dev rw0");
    for (gateway, answers) in [("10.77.0.9", true), ("10.77.0.77", false)] {
        ip(&format!("route replace default via {gateway}"));
        let card = look().remove(0);
        assert_eq!(card.addresses, ["10.77.0.2/24".parse().unwrap()]);
        assert_eq!(
            card.gateway.map(|found| (found.address.to_string(), found.answers)),
            Some((gateway.to_owned(), Some(answers)))
        );
    }
}
