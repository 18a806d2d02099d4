//! Swap spaces that mkswap made, and systems that sleep in them.

use pack::volume::{self, Volume};
use pack::{Extents, Source};

use crate::lab::{Disk, run};

const BYTES: u64 = 4 << 20;

fn read(source: &dyn Source) -> Volume {
    volume::read(source).unwrap()
}

#[test]
fn the_first_page_is_all_that_is_used() {
    for page in ["4096", "8192", "16384", "32768", "65536"] {
        let image = Disk::new(BYTES);
        run("mkswap", &["-p", page, "-L", "some swap", image.name()]);
        let volume = image.volume();
        assert_eq!([volume.kind, volume.label.as_str()], ["swap", "some swap"]);
        assert_eq!(
            [volume.kind, &volume.uuid],
            [&image.blkid("TYPE"), &image.blkid("UUID")].map(String::as_str)
        );
        assert_eq!((volume.used, volume.why_whole), (Extents::all(page.parse().unwrap()), None));
    }
}

#[test]
fn the_old_format_has_no_names() {
    let mut raw = vec![0; 1 << 20];
    raw[..32].fill(0xFF);
    raw[0] = 0xFE;
    raw[4086..4096].copy_from_slice(b"SWAP-SPACE");
    let volume = read(&raw);
    assert_eq!([volume.kind, &volume.uuid, &volume.label], ["swap", "", ""]);
    assert_eq!((volume.used, volume.why_whole), (Extents::all(4096), None));
}

#[test]
fn a_hibernated_system_is_whole() {
    let asleep: [(usize, &[u8]); 5] = [
        (4086, b"S1SUSPEND"),
        (4086, b"S2SUSPEND"),
        (4086, b"ULSUSPEND"),
        (4086, b"LINHIB0001"),
        (0, b"\xed\xc3\x02\xe9\x98\x56\xe5\x0c"),
    ];
    let image = Disk::new(BYTES);
    run("mkswap", &[image.name()]);
    let uuid = image.blkid("UUID");
    for (at, magic) in asleep {
        let mut raw = image.load();
        raw[at..at + magic.len()].copy_from_slice(magic);
        image.write(0, &raw);
        assert_eq!(image.blkid("TYPE"), "swsuspend", "{magic:?}");
        let volume = read(&raw);
        assert_eq!([volume.kind, &volume.uuid], ["swsuspend", &uuid]);
        assert_eq!(volume.why_whole.unwrap(), "it holds a hibernated system");
        assert_eq!(volume.used, Extents::all(BYTES));
    }
}

#[test]
fn what_is_no_header_is_no_swap_space() {
    let image = Disk::new(BYTES);
    run("mkswap", &[image.name()]);
    let good = image.load();
    assert_eq!(read(&good).kind, "swap");
    // The magic number; version 2; no pages; something where nothing is.
    let changes: [(usize, &[u8]); 4] = [(4090, b"x"), (1024, &[2]), (1028, &[0; 4]), (1300, &[1])];
    for (at, bytes) in changes {
        let mut bad = good.clone();
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        assert_eq!((read(&bad).kind, read(&bad).used), ("raw", Extents::all(BYTES)), "{at}");
    }
    for length in [0, 4085, 4095] {
        assert_eq!(read(&good[..length].to_vec()).kind, "raw");
    }
    // Made on top of it, and read as what it is.
    run("mke2fs", &["-q", "-F", "-t", "ext4", "-b", "1024", image.name()]);
    assert_eq!(image.volume().kind, "ext4");
}
