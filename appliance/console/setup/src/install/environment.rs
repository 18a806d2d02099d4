//! GRUB's environment block: the one file that its menu can write, in place (GRUB manual, "GRUB environment block"): a head, lines
//! `name=value`, filled up with `#`. Ours says which slot is started.

use std::collections::BTreeMap;

/// The size of the file, in bytes: GRUB writes over it, and never makes it longer.
pub const BYTES: usize = 1024;
const HEAD: &str = "# GRUB Environment Block\n";

/// One of two systems on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    /// The first.
    A,
    /// The second.
    B,
}

impl Slot {
    /// As in names and files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Slot::A => "a",
            Slot::B => "b",
        }
    }

    /// The one of this word.
    #[must_use]
    pub fn of(word: &str) -> Option<Slot> {
        [Slot::A, Slot::B].into_iter().find(|slot| slot.word() == word)
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> Slot {
        match self {
            Slot::A => Slot::B,
            Slot::B => Slot::A,
        }
    }
}

/// Which slot is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Environment {
    /// The one that is known to be well.
    pub slot: Slot,
    /// The one that is started once, next time.
    pub trial: Option<Slot>,
}

impl Environment {
    /// What the file says. A broken one is what the menu makes of it: the first slot.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Environment {
        let text = String::from_utf8_lossy(bytes.get(..BYTES).unwrap_or(bytes));
        let text = text.strip_prefix(HEAD).unwrap_or_default();
        let words = text.lines().filter_map(|line| line.split_once('=')).collect::<BTreeMap<_, _>>();
        let slot = |name: &str| words.get(name).and_then(|word| Slot::of(word));
        Environment { slot: slot("slot").unwrap_or(Slot::A), trial: slot("trial") }
    }

    /// The whole file.
    #[must_use]
    pub fn block(self) -> Vec<u8> {
        let trial = self.trial.map_or("", Slot::word);
        let mut block = format!("{HEAD}slot={}\ntrial={trial}\n", self.slot.word()).into_bytes();
        block.resize(BYTES, b'#');
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for slot in [Slot::A, Slot::B] {
            for trial in [None, Some(Slot::A), Some(Slot::B)] {
                let written = Environment { slot, trial };
                let block = written.block();
                assert_eq!((block.len(), Environment::parse(&block)), (BYTES, written));
            }
        }
    }

    #[test]
    fn a_broken_file_is_what_the_menu_makes_of_it() {
        let first = Environment { slot: Slot::A, trial: None };
        let long = [HEAD.as_bytes(), &[b'#'; BYTES], b"\nslot=b\n"].concat();
        for bytes in
            [&b""[..], b"slot=b\n", &[0xff; 4096], &long, b"# GRUB Environment Block\nslot=c\ntrial=\n"]
        {
            assert_eq!(Environment::parse(bytes), first, "{bytes:?}");
        }
        // As grub-editenv makes it, with another's word in it.
        let other = b"# GRUB Environment Block\nsaved_entry=3\nslot=b\n####";
        assert_eq!(Environment::parse(other).slot, Slot::B);
    }
}
