//! Where this system came from, as its first program says.

use std::fs;
use std::path::PathBuf;

use setup::install::Slot;

/// Left by the first program of the ISO.
const WHERE: &str = "/run/live/where";

/// Where from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A medium, all of which is in memory now.
    Memory,
    /// A medium that is in use.
    Medium(PathBuf),
    /// A slot of a disk.
    Disk(Slot),
}

impl Origin {
    /// Of this system.
    ///
    /// # Errors
    /// It did not come from an ISO.
    pub(super) fn own() -> Result<Origin, String> {
        let text = fs::read_to_string(WHERE).map_err(|_| {
            "this is not the live system of the ISO: start the machine from rackwright.iso, and install there".to_owned()
        })?;
        Origin::parse(&text)
            .ok_or_else(|| format!("{WHERE} says {:?}, which is no place of a medium", text.trim()))
    }

    fn parse(text: &str) -> Option<Origin> {
        match text.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["memory"] => Some(Origin::Memory),
            ["disk", slot, _] => Slot::of(slot).map(Origin::Disk),
            [path] if path.starts_with("/dev/") => Some(Origin::Medium(PathBuf::from(path))),
            _ => None,
        }
    }
}

/// The value of a word of the kernel line.
pub(super) fn of_kernel_line(name: &str) -> Option<String> {
    let line = fs::read_to_string("/proc/cmdline").ok()?;
    let words = line.split_whitespace().filter_map(|word| word.split_once('='));
    words.rev().find(|(word, _)| *word == name).map(|(_, value)| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_one_of_three() {
        let parse = |text: &str| Origin::parse(text);
        assert_eq!(parse("memory\n"), Some(Origin::Memory));
        assert_eq!(parse("/dev/sr0\n"), Some(Origin::Medium("/dev/sr0".into())));
        assert_eq!(parse("disk b /dev/vda4\n"), Some(Origin::Disk(Slot::B)));
        for text in ["", "disk", "disk c /dev/vda3", "disk a", "etc/passwd", "/dev/a /dev/b"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
