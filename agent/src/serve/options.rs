//! Where things are: the machine's own places, or a test's.

use std::path::PathBuf;

/// The words after `serve`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The root of all files that are read and written: `/`, or a test's tree.
    pub root: PathBuf,
    /// A partition with the seed in it, or a file like it; none: the partition on the disk that carries `root`.
    pub seed: Option<PathBuf>,
}

/// Words that are not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("reading the command line: {0:?} is not `--root DIR` or `--seed PATH`")]
pub struct OptionsError(String);

impl Options {
    /// Reads the words after `serve`.
    ///
    /// # Errors
    /// [`OptionsError`] for the first word that is not understood.
    pub fn parse(words: &[&str]) -> Result<Self, OptionsError> {
        let mut options = Options { root: PathBuf::from("/"), seed: None };
        for pair in words.chunks(2) {
            match pair {
                ["--root", root] => options.root = PathBuf::from(root),
                ["--seed", seed] => options.seed = Some(PathBuf::from(seed)),
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
        assert!(plain.is_machine() && plain.seed.is_none());
        let test = Options::parse(&["--seed", "/s", "--root", "/r"]).unwrap();
        assert_eq!((test.root, test.seed), ("/r".into(), Some("/s".into())));
        for bad in [&["--root"][..], &["x"], &["--seed", "/s", "--root"], &["--help", "/"]] {
            assert!(Options::parse(bad).is_err(), "{bad:?}");
        }
    }
}
