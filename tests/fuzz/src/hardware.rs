//! What a server says of itself: the kernel's command line, and the texts of firmware and drives.

use agent::deploy::burn_in::ata::attributes;
use agent::deploy::burn_in::counters::interrupts;
use agent::deploy::burn_in::health::smart;
use agent::deploy::burn_in::memory::meminfo;
use agent::deploy::cmdline;
use agent::deploy::erase::firmware::partition_of;
use agent::inventory::fuzzing::{ATA_MODEL, ata_text, cpu, memory_bytes, vpd_serial, wwn};
use agent::text::{self, NAME_MAX};

use crate::Reached;

/// What is read can be written and read again; a refusal can be shown on a screen.
pub(crate) fn command_line(data: &[u8]) -> Reached {
    let line = String::from_utf8_lossy(data);
    let told = match cmdline::parse(&line) {
        Ok(told) => told,
        Err(why) => {
            let why = why.to_string();
            assert!(why.len() < 600 && !why.chars().any(char::is_control), "{why:?}");
            return Reached::Refusal;
        }
    };
    let again = format!(
        "rackwright.controller={} rackwright.ca=sha256:{} rackwright.mac={} rackwright.address={} rackwright.path={}{}",
        told.controller,
        told.ca,
        told.mac,
        told.address,
        told.path.as_str(),
        told.gateway.map_or(String::new(), |gateway| format!(" rackwright.gateway={gateway}"))
    );
    assert_eq!(cmdline::parse(&again), Ok(told));
    Reached::Inside
}

/// The line of a boot script; one with a value twice; one with a terminal sequence in a value.
pub(crate) fn command_line_seeds() -> Vec<Vec<u8>> {
    let good = format!(
        "BOOT_IMAGE=/boot/vmlinuz rackwright.controller=10.77.0.1:8443 rackwright.ca=sha256:{} \
         rackwright.mac=52:54:00:ab:cd:05 rackwright.address=10.77.0.100/24 rackwright.path=uefi-pxe console=tty0\n",
        "ab".repeat(32)
    );
    let twice = format!("{good} rackwright.path=bios-pxe");
    let hostile = good.replace("10.77.0.100/24", "10.77.0.100/+24\u{1b}[2J");
    let routed = good.replace("rackwright.path", "rackwright.gateway=10.77.0.254 rackwright.path");
    vec![good.into_bytes(), routed.into_bytes(), twice.into_bytes(), hostile.into_bytes()]
}

/// One clean line, whatever firmware says; clean twice is clean once.
pub(crate) fn texts(data: &[u8]) -> Reached {
    let lossy = String::from_utf8_lossy(data);
    let processor = cpu(&lossy);
    let memory = memory_bytes(&lossy);
    let free = meminfo(&lossy, "MemAvailable:");
    assert!(free.is_multiple_of(1024));
    let _counted: Option<u64> = interrupts(&lossy, "MCE");
    let names = [
        text::name_of_bytes(data),
        text::name(&lossy),
        processor.model,
        vpd_serial(data),
        ata_text(data, ATA_MODEL),
        wwn(&text::name_of_bytes(data)),
    ];
    for name in &names {
        assert!(name.chars().count() <= NAME_MAX && !name.chars().any(char::is_control), "{name:?}");
        assert_eq!(text::name(name), *name, "cleaned twice");
        assert_eq!(name.trim(), name);
    }
    for most in [0, 1, 7, 80] {
        assert!(text::clean(&lossy, most).chars().count() <= most);
    }
    Reached::when(processor.threads > 0 || memory > 0 || names.iter().skip(3).any(|name| !name.is_empty()))
}

/// `/proc` of a server, pages of drives, a WWN, terminal sequences.
pub(crate) fn texts_seeds() -> Vec<Vec<u8>> {
    let mut page = vec![0; 60 + 2 * 47];
    page.splice(..2, [0, 0x89]);
    page.splice(60 + 54..60 + 54 + 16, *b"aSsmnu gSS D68 0");
    vec![
        b"processor\t: 0\nmodel name\t: Xeon \x1b[31m CPU\nflags\t\t: fpu vmx\n\nprocessor\t: 1\n".to_vec(),
        b"MemTotal:        2048 kB\nMemFree: 1 kB\n".to_vec(),
        b"\0\x80\0\x08  QM0001 ".to_vec(),
        b"naa.5000c500a1b2c3d4\n".to_vec(),
        page,
        "a\u{202e}b\u{200b}\u{feff} \t c\u{9b}31m\0rest".into(),
    ]
}

/// A drive's log page SMART: what it says is within what such a page can say.
pub(crate) fn health(data: &[u8]) -> Reached {
    if let Some(health) = attributes(data) {
        assert!(
            health.well.is_none() && health.celsius.is_none_or(|celsius| (1..=255).contains(&celsius)),
            "{health:?}"
        );
    }
    let Some(health) = smart(data) else { return Reached::Refusal };
    assert!(health.used_percent.is_some_and(|used| used <= 255), "{health:?}");
    assert!(health.celsius.is_none_or(|celsius| (-272..=65_262).contains(&celsius)), "{health:?}");
    assert!(health.well.is_some() && health.unknown.is_none());
    Reached::Inside
}

/// A drive that is well; one that is not, at the end of its life; one that says nothing.
pub(crate) fn health_seeds() -> Vec<Vec<u8>> {
    let mut well = vec![0; 512];
    well.splice(..6, [0, 0x36, 0x01, 100, 10, 3]);
    well.splice(128..130, [0xd2, 0x04]);
    let mut bad = well.clone();
    bad.splice(..1, [0x1d]);
    bad.splice(160..176, [0xff; 16]);
    vec![well, bad, vec![0; 512], vec![1; 5]]
}

/// A boot entry of a firmware: it leads to a partition that can be compared with those of disks, or nowhere.
pub(crate) fn boot_entry(data: &[u8]) -> Reached {
    let Some(uuid) = partition_of(data) else { return Reached::Refusal };
    assert_eq!(uuid.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{uuid}");
    assert!(uuid.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)));
    Reached::Inside
}

/// An entry for a partition; one for a network card; one whose path is longer than it is.
pub(crate) fn boot_entry_seeds() -> Vec<Vec<u8>> {
    let option = |path: &[u8]| {
        let length = [u8::try_from(path.len()).unwrap_or(0), 0];
        [&[1, 0, 0, 0][..], &length, b"d\0\0\0", path].concat()
    };
    let mut drive = [0; 46];
    drive[..5].copy_from_slice(&[4, 1, 42, 0, 1]);
    drive[24..].copy_from_slice(b"0123456789abcdef\x02\x02\x7f\xff\x04\0");
    let network = [&[3, 11, 37, 0][..], &[0; 33], &[0x7f, 0xff, 4, 0]].concat();
    vec![option(&drive), option(&network), option(&drive[..30])]
}
