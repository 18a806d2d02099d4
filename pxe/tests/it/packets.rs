//! The corpus of DHCP messages, octet for octet, through the one parse.

use pxe::dhcp::{Request, Uuid, VendorClass};
use pxe::trace::{Answer, Dhcp};

use crate::corpus::folder;

/// What was found, in the words of the files.
fn found(request: &Request) -> String {
    let mut words = vec![request.kind.to_string()];
    let arch = request.arch.map_or("-".to_owned(), |arch| arch.0.to_string());
    words.push(format!("arch={arch}"));
    words.push(format!("vendor={}", request.vendor));
    words.extend(request.ipxe.map(|_| "ipxe".to_owned()));
    let shown = |name: &str, address: Option<std::net::Ipv4Addr>| {
        address.filter(|address| !address.is_unspecified()).map(|address| format!("{name}={address}"))
    };
    words.extend(shown("requested", request.requested));
    words.extend(shown("uses", Some(request.ciaddr)));
    words.extend(shown("server", request.server_id));
    words.extend(shown("relay", Some(request.giaddr)));
    words.extend(request.hostname.as_ref().map(|name| format!("host={name}")));
    words.extend(request.uuid.map(|uuid: Uuid| format!("uuid={uuid}")));
    words.push(if request.boots() { "boots" } else { "system" }.to_owned());
    words.join(" ")
}

/// (name, expected, octets)
fn packets() -> Vec<(String, String, Vec<u8>)> {
    let mut paths: Vec<_> =
        std::fs::read_dir(folder("packets")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.starts_with("# "), "{}: says not where it comes from", path.display());
        let expected = text.lines().find_map(|line| line.strip_prefix("expect: ")).unwrap().to_owned();
        let hex: String =
            text.lines().filter(|line| !line.starts_with('#') && !line.starts_with("expect: ")).collect();
        let octets =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        (path.file_stem().unwrap().to_string_lossy().into_owned(), expected, octets)
    };
    paths.iter().map(read).collect()
}

#[test]
fn each_packet_is_read_as_its_client_meant_it() {
    let packets = packets();
    assert!(packets.len() >= 30);
    let mut wrong = Vec::new();
    for (name, expected, octets) in &packets {
        let got = Request::parse(octets).map_or_else(|why| why.to_string(), |request| found(&request));
        if got != *expected {
            wrong.push(format!("{name}:\n  expected {expected}\n  found    {got}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn what_is_kept_of_a_packet_says_the_same() {
    for (name, _, octets) in packets() {
        let request = Request::parse(&octets).unwrap();
        let kept = Dhcp::new(&request, 67, "eno2", Answer::Noted);
        assert_eq!(kept.boots(), request.boots(), "{name}");
        assert_eq!(kept.arch, request.arch.map(|arch| arch.0), "{name}");
        assert_eq!(kept.vendor.is_some(), matches!(request.vendor, VendorClass::Other(_)), "{name}");
        assert_eq!(kept.ipxe.is_some(), request.ipxe.is_some(), "{name}");
    }
}

#[test]
fn a_packet_cut_anywhere_is_refused_or_read_and_never_a_panic() {
    for (_, _, octets) in packets() {
        for length in 0..octets.len() {
            drop(Request::parse(&octets[..length]));
        }
    }
}

#[test]
fn every_file_is_in_the_index() {
    let index = std::fs::read_to_string(folder("INDEX.md")).unwrap();
    for kind in ["traces", "packets"] {
        for entry in std::fs::read_dir(folder(kind)).unwrap() {
            let name = entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned();
            assert!(index.contains(&format!("\n| {name} |")), "{kind}/{name} is not in INDEX.md");
        }
    }
}
