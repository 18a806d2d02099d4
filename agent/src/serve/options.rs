//! Where things are: the machine's own places, or a test's.

use std::path::PathBuf;

/// The words after `serve`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The root of all files that are read and written: `/`, or a test's tree.
    pub root: PathBuf,
    /// The partition that the ramdisk left the seed in, or a file like it.
    pub seed: PathBuf,
}

/// Words that are not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("reading the command line: {0:?} is not `--root DIR` or `--seed PATH`")]
pub struct OptionsError(String);

const SEED: &str = "/dev/disk/by-partlabel/rackwright-seed";

impl Options {
    /// Reads the words after `serve`.
    ///
    /// # Errors
    /// [`OptionsError`] for the first word that is not understood.
    pub fn parse(words: &[&str]) -> Result<Self, OptionsError> {
        let mut options = Options { root: PathBuf::from("/"), seed: PathBuf::from(SEED) };
        for pair in words.chunks(2) {
            match pair {
                ["--root", root] => options.root = PathBuf::from(root),
                ["--seed", seed] => options.seed = PathBuf::from(seed),
                [word, ..] => return Err(OptionsError((*word).to_owned())),
                [] => {}
            }
        }
        Ok(options)
    }

    /// Whether this is the machine itself: only then its host name is set.
    pub fn is_machine(&self) -> bool {
        self.root == std::path::Path::new("/")
    }
}

#[cfg(test)]
mod tests {
    use super::Options;

    #[test]
    fn words_are_pairs() {
        let plain = Options::parse(&[]).unwrap();
        assert!(plain.is_machine() && plain.seed.ends_with("rackwright-seed"));
        let test = Options::parse(&["--seed", "/s", "--root", "/r"]).unwrap();
        assert_eq!((test.root.to_str(), test.seed.to_str()), (Some("/r"), Some("/s")));
        for bad in [&["--root"][..], &["x"], &["--seed", "/s", "--root"], &["--help", "/"]] {
            assert!(Options::parse(bad).is_err(), "{bad:?}");
        }
    }
}
