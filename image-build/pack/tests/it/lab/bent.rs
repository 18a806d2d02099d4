//! Volumes as nobody made them: bent, cut, lying.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::ops::Range;

use pack::volume::{self, Volume};
use pack::{Extents, Source};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// A disk of which some bytes are others, and which may be cut.
pub(crate) struct Bent<'a> {
    disk: &'a dyn Source,
    pub(crate) bytes: u64,
    bent: BTreeMap<u64, u8>,
}

impl Bent<'_> {
    pub(crate) fn of(disk: &dyn Source) -> Bent<'_> {
        Bent { bytes: disk.bytes(), disk, bent: BTreeMap::new() }
    }

    pub(crate) fn put(&mut self, offset: u64, bytes: &[u8]) {
        self.bent.extend((offset..).zip(bytes.iter().copied()));
    }

    pub(crate) fn flip(&mut self, offset: u64, bits: u8) {
        let mut byte = [0];
        self.read_at(offset, &mut byte).unwrap();
        self.put(offset, &[byte[0] ^ bits]);
    }

    pub(crate) fn volume(&self) -> Volume {
        volume::read(self).unwrap()
    }
}

impl Source for Bent<'_> {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        pack::source::within(self.bytes, offset, out.len())?;
        self.disk.read_at(offset, out)?;
        for (at, byte) in self.bent.range(offset..offset + out.len() as u64) {
            out[usize::try_from(at - offset).unwrap()] = *byte;
        }
        Ok(())
    }
}

/// Where to write, and what.
pub(crate) type Patch<'a> = (usize, &'a [u8]);

/// What is read of a volume with other bytes.
pub(crate) fn patched(bytes: &[u8], patches: &[Patch<'_>]) -> Volume {
    let bytes = bytes.to_vec();
    let mut bent = Bent::of(&bytes);
    patches.iter().for_each(|(at, patch)| bent.put(*at as u64, patch));
    bent.volume()
}

/// That all of a volume counts as used, and why; `None` for why is a volume that no reader knows.
#[track_caller]
pub(crate) fn assert_whole(volume: &Volume, bytes: usize, why: Option<&str>) {
    assert_eq!(volume.used, Extents::all(bytes as u64), "{volume:?}");
    match (&volume.why_whole, why) {
        (Some(said), Some(why)) => assert!(said.contains(why), "{said}"),
        (None, None) => assert_eq!(volume.kind, "raw"),
        (said, why) => panic!("{said:?}, not {why:?}"),
    }
}

/// Writes random bytes into the given places of a volume, many times: whatever is then there, reading ends, and gives
/// nothing outside the volume.
pub(crate) fn flip(bytes: &[u8], places: &[Range<usize>], cases: u32) {
    let places = places.iter().cloned().map(|range| range.boxed()).collect::<Vec<_>>();
    let byte = prop_oneof![Just(0), Just(0xff), Just(0x80), Just(1), any::<u8>()];
    let flips = prop::collection::vec((prop::strategy::Union::new(places), byte), 1..6);
    let disk = bytes.to_vec();
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let said = std::cell::RefCell::new(BTreeMap::<String, u32>::new());
    TestRunner::new(config)
        .run(&flips, |flips| {
            let mut bent = Bent::of(&disk);
            flips.iter().for_each(|(at, byte)| bent.put(*at as u64, &[*byte]));
            let volume = bent.volume();
            prop_assert!(volume.used.end() <= bent.bytes);
            prop_assert!(volume.label.len() <= 255);
            *said.borrow_mut().entry(volume.why_whole.unwrap_or(volume.kind.to_owned())).or_default() += 1;
            Ok(())
        })
        .unwrap();
    // Damage was seen, and not only by its first byte.
    let mut summary = String::new();
    let said = said.into_inner();
    said.iter().for_each(|(why, count)| writeln!(summary, "{count:6} {why}").unwrap());
    assert!(said.len() > 3, "{summary}");
    println!("{summary}");
}
