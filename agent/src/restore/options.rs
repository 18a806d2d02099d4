//! The words after `restore`.

use std::path::PathBuf;

use pack::PublicKey;
use pack::disk::Engine;
use protocol::Verify;

/// What `restore --help` prints.
pub const HELP: &str = "\
rackwright-agent restore: write an image file onto a disk, and prove it

usage:
  rackwright-agent restore --image FILE.rwimage --disk DEVICE [options]

  --image FILE        the image: made by `image-build capture`, or taken from a controller
  --disk DEVICE       the disk, by any of its names: /dev/sda, /dev/disk/by-id/...
  --trust KEY         the key that must have signed the image, 64 hexadecimal digits; without it, whoever signed the image
                      is shown and has to be confirmed with the disk
  --confirm SERIAL    the disk's serial number (or WWN, or its name when it has neither), instead of typing it
  --verify HOW        readback (the default): everything written is read from the disk again; or stream: what the disk says
                      is durable is trusted, which saves that time
  --no-discard        do not tell the drive that its old content is not needed
  --engine NAME       uring (the default; threads where the kernel has no io_uring) or threads
  -o json             print the receipt as JSON

The disk may be larger than the image's own, or smaller if all partitions fit: the partition table is made for it, and
partitions keep their sizes.

The disk is compared with the image first, and only what differs is written. Until the end, which is when everything else
is there and proven, it does not boot. Ctrl-C stops; the same command then goes on. A disk that is mounted, swapped on or part of an
array is refused, and all other disks that nobody uses are read-only meanwhile.

examples:
  rackwright-agent restore --image /mnt/stick/web.rwimage --disk /dev/sda
  rackwright-agent restore --image db.rwimage --disk /dev/disk/by-id/nvme-eui.0025385b71b00000 --confirm S4EWNX0R --trust 3d40…
  rackwright-agent restore --image db.rwimage --disk /dev/nvme0n1 --confirm S4EWNX0R -o json > receipt.json
";

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The image file.
    pub image: PathBuf,
    /// The disk, as it was given.
    pub disk: PathBuf,
    /// Who must have signed.
    pub trust: Option<PublicKey>,
    /// What confirms the disk.
    pub confirm: Option<String>,
    /// Whether the drive is told that its old content is not needed.
    pub discard: bool,
    /// What does the I/O.
    pub engine: Engine,
    /// What proves that the disk is the image.
    pub verify: Verify,
    /// Where `/sys`, `/proc` and `/dev` are: `/`, or a test's tree.
    pub root: PathBuf,
    /// Whether the receipt is printed as JSON.
    pub json: bool,
}

/// Words that are not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// Not one of them.
    #[error("reading the command line: what is {0:?}? `rackwright-agent restore --help` lists the options")]
    Unknown(String),
    /// The last word wants another.
    #[error("reading the command line: {0} needs a value")]
    NoValue(String),
    /// A value that is none.
    #[error("reading the command line: {option} {value:?}: {why}")]
    Value {
        /// The option.
        option: String,
        /// Its value.
        value: String,
        /// What it should be.
        why: &'static str,
    },
    /// Neither can be guessed.
    #[error("reading the command line: {0} is missing")]
    Missing(&'static str),
}

impl Options {
    /// Reads the words after `restore`: `--option value` or `--option=value`.
    ///
    /// # Errors
    /// [`OptionsError`] for the first word that is not understood.
    pub fn parse(words: &[&str]) -> Result<Self, OptionsError> {
        let (mut image, mut disk, mut trust, mut confirm) = (None, None, None, None);
        let (mut discard, mut engine, mut json) = (true, Engine::Uring, false);
        let mut verify = Verify::default();
        let mut root = PathBuf::from("/");
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            let (option, joined) = word.split_once('=').map_or((word, None), |(o, v)| (o, Some(v)));
            let bad = |value: &str, why| OptionsError::Value {
                option: option.to_owned(),
                value: value.to_owned(),
                why,
            };
            let mut value =
                || joined.or_else(|| words.next()).ok_or_else(|| OptionsError::NoValue(option.to_owned()));
            match (option, joined) {
                ("--image", _) => image = Some(PathBuf::from(value()?)),
                ("--disk", _) => disk = Some(PathBuf::from(value()?)),
                ("--root", _) => root = PathBuf::from(value()?),
                ("--confirm", _) => confirm = Some(value()?.to_owned()),
                ("--trust", _) => {
                    let text = value()?;
                    trust = Some(text.parse().map_err(|_| bad(text, "a key has 64 hexadecimal digits"))?);
                }
                ("--engine", _) => {
                    engine = match value()? {
                        "uring" => Engine::Uring,
                        "threads" => Engine::Threads,
                        other => return Err(bad(other, "it is uring or threads")),
                    };
                }
                ("--verify", _) => {
                    let word = value()?;
                    verify = word.parse().map_err(|why| bad(word, why))?;
                }
                ("-o" | "--output", _) => match value()? {
                    "json" => json = true,
                    other => return Err(bad(other, "only json")),
                },
                ("--no-discard", None) => discard = false,
                (_, _) => return Err(OptionsError::Unknown(word.to_owned())),
            }
        }
        let image = image.ok_or(OptionsError::Missing("--image"))?;
        let disk = disk.ok_or(OptionsError::Missing("--disk"))?;
        Ok(Self { image, disk, trust, confirm, discard, engine, verify, root, json })
    }
}

#[cfg(test)]
mod tests {
    use pack::disk::Engine;

    use protocol::Verify;

    use super::Options;

    #[test]
    fn words_and_values_in_any_order_and_both_spellings() {
        let key = "ab".repeat(32);
        let words = [
            "--disk=/dev/sda",
            "-o",
            "json",
            "--no-discard",
            "--image",
            "x",
            "--trust",
            &key,
            "--confirm=S 1",
            "--verify=stream",
        ];
        let options = Options::parse(&words).unwrap();
        assert_eq!((options.disk.to_str(), options.image.to_str()), (Some("/dev/sda"), Some("x")));
        assert!(options.json && !options.discard && options.engine == Engine::Uring);
        assert_eq!(options.confirm.as_deref(), Some("S 1"));
        assert_eq!(options.trust.unwrap().to_string(), key);
        assert_eq!((options.root.to_str(), options.verify), (Some("/"), Verify::Stream));
    }

    #[test]
    fn what_is_not_understood_is_said() {
        let table: [(&[&str], &str); 8] = [
            (&[], "--image is missing"),
            (&["--image", "x"], "--disk is missing"),
            (&["--image"], "--image needs a value"),
            (&["--image", "x", "--disk", "y", "--yes"], "what is \"--yes\"?"),
            (&["--no-discard=1"], "what is \"--no-discard=1\"?"),
            (&["--trust", "zz"], "a key has 64 hexadecimal digits"),
            (&["--engine", "dma"], "it is uring or threads"),
            (&["--verify", "no"], "it is readback or stream"),
        ];
        for (words, want) in table {
            let told = Options::parse(words).unwrap_err().to_string();
            assert!(told.contains(want), "{told}");
        }
    }
}
