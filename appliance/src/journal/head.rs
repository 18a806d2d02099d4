//! The head of the chain, signed: what shows that its end was cut off, or that all of it was written anew.
//!
//! A thread signs the head at most once a second, and only when there is a new one, and appends it to a file that is synced.
//! Whoever keeps a copy of one line elsewhere (the continuous copy does, and so does the system's log) can show that the
//! journal had come that far.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use data_encoding::HEXLOWER;
use fleet::Time;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use super::{Head, Place};
use crate::ca::CaError;

/// What every signed head begins with.
const DOMAIN: &[u8] = b"rackwright journal head v1\n";
/// Between two signatures.
const PAUSE: Duration = Duration::from_secs(1);
/// No file of heads is read beyond this, in bytes: a hundred heads a day are 10 MB a year.
const MAX_BYTES: u64 = 256 << 20;

/// Why heads can't be signed or read.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// The key can't be had.
    #[error(transparent)]
    Key(#[from] CaError),
    /// The file can't be read or written.
    #[error("{what} {}", path.display())]
    File {
        /// Gerund.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A line of it is not a head.
    #[error("line {line} of {} is no signed head", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from one.
        line: usize,
    },
}

/// A head, when it was signed, and the signature: Ed25519 over [`SignedHead::message`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedHead {
    /// The number of the last record.
    pub seq: u64,
    /// When it was signed, in milliseconds since 1970.
    pub time: Time,
    /// The hash of that record, in lower-case hexadecimal.
    pub hash: String,
    /// The signature, in lower-case hexadecimal.
    pub signature: String,
}

impl SignedHead {
    /// Signs a head.
    pub fn sign(key: &Ed25519KeyPair, head: &Head, time: Time) -> SignedHead {
        let signature = key.sign(&Self::message(head, time));
        SignedHead {
            seq: head.seq,
            time,
            hash: HEXLOWER.encode(&head.hash),
            signature: HEXLOWER.encode(signature.as_ref()),
        }
    }

    /// The head, when it was signed with this key.
    pub fn verified(&self, key: &[u8]) -> Option<Head> {
        let hash = HEXLOWER.decode(self.hash.as_bytes()).ok()?.try_into().ok()?;
        let head = Head { seq: self.seq, hash };
        let signature = HEXLOWER.decode(self.signature.as_bytes()).ok()?;
        let message = Self::message(&head, self.time);
        UnparsedPublicKey::new(&ED25519, key).verify(&message, &signature).ok().map(|()| head)
    }

    /// What is signed: the domain, number and time as 64-bit big-endian numbers, and the hash.
    pub fn message(head: &Head, time: Time) -> Vec<u8> {
        [DOMAIN, &head.seq.to_be_bytes(), &time.0.to_be_bytes(), &head.hash].concat()
    }

    /// One line of the file.
    pub fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }
}

/// The heads of a file that one wrote line by line. A last line without its end was cut off by a power cut and does not count.
///
/// # Errors
/// [`HeadError::File`], [`HeadError::Line`]. A file that is not there has none.
pub fn read(path: &Path) -> Result<Vec<SignedHead>, HeadError> {
    let failed = |source| HeadError::File { what: "reading", path: path.to_owned(), source };
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    // Bytes: whoever bent it may have left anything.
    let mut text = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, MAX_BYTES), &mut text).map_err(failed)?;
    parse(&text).map_err(|line| HeadError::Line { path: path.to_owned(), line })
}

/// The heads of such a file's text.
///
/// # Errors
/// The number of the first line that is none.
pub fn parse(text: &(impl AsRef<[u8]> + ?Sized)) -> Result<Vec<SignedHead>, usize> {
    let is_end = |byte: &u8| *byte == b'\n';
    let lines =
        text.as_ref().split_inclusive(is_end).filter(|line| line.last().is_some_and(is_end)).enumerate();
    lines.map(|(at, line)| serde_json::from_slice(line).map_err(|_| at + 1)).collect()
}

/// Signs heads on a thread of its own, which ends with this and signs the last one before.
#[derive(Debug)]
pub struct Heads {
    latest: Arc<Mutex<Option<Head>>>,
    news: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Signer {
    key: Ed25519KeyPair,
    path: PathBuf,
    latest: Arc<Mutex<Option<Head>>>,
    signed: u64,
}

impl Heads {
    /// Begins, with a head that may not have been signed yet.
    ///
    /// # Errors
    /// [`HeadError`]: no key, no folder, or no thread.
    pub fn start(place: &Place, head: Head) -> Result<Self, HeadError> {
        let key = crate::ca::journal_key(&place.keys)?;
        let path = place.heads.clone();
        let folder = path.parent().unwrap_or(Path::new("."));
        let failed = |what| {
            let path = path.clone();
            move |source| HeadError::File { what, path, source }
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(failed("making the folder of"))?;
        mend(&path).map_err(failed("mending"))?;
        // A line that somebody has bent is found by whoever checks the journal; the rack goes on meanwhile.
        let signed = match read(&path) {
            Ok(heads) => heads.last().map_or(0, |head| head.seq),
            Err(why @ HeadError::Line { .. }) => {
                tracing::error!(
                    why = crate::chain(&why),
                    "the journal's heads were bent: rackwright event verify"
                );
                0
            }
            Err(why @ (HeadError::File { .. } | HeadError::Key(_))) => return Err(why),
        };
        if signed > head.seq {
            tracing::error!(
                signed,
                found = head.seq,
                "records are missing at the end of the journal: rackwright event verify"
            );
        }
        let latest = Arc::new(Mutex::new((head.seq > signed).then_some(head)));
        let signer = Signer { key, path: path.clone(), latest: Arc::clone(&latest), signed };
        let (news, wait) = sync_channel(1);
        let thread = std::thread::Builder::new().name("journal".to_owned());
        let thread = thread.spawn(move || signer.run(&wait)).map_err(failed("starting the thread of"))?;
        let heads = Self { latest, news: Some(news), thread: Some(thread) };
        if head.seq > signed {
            heads.wake();
        }
        Ok(heads)
    }

    /// The chain ends here now.
    pub fn moved(&self, head: Head) {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(head);
        self.wake();
    }

    fn wake(&self) {
        // Full: it is about to look.
        self.news.as_ref().map(|news| news.try_send(()));
    }
}

impl Drop for Heads {
    fn drop(&mut self) {
        drop(self.news.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Signer {
    fn run(mut self, wait: &Receiver<()>) {
        while wait.recv().is_ok() {
            self.sign();
            // Whoever stops need not wait for the pause to end.
            let ended = Err(std::sync::mpsc::RecvTimeoutError::Disconnected);
            if wait.recv_timeout(PAUSE) == ended {
                break;
            }
            self.sign();
        }
        self.sign();
    }

    fn sign(&mut self) {
        let Some(head) = self.latest.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let signed = SignedHead::sign(&self.key, &head, crate::writer::now());
        match append(&self.path, &signed.line()) {
            Ok(()) => {
                self.signed = head.seq;
                tracing::info!(
                    seq = head.seq,
                    hash = signed.hash,
                    signature = signed.signature,
                    "journal head"
                );
            }
            Err(error) => {
                tracing::warn!(%error, seq = head.seq, "a head of the journal could not be kept; the next one is");
                let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
                latest.get_or_insert(head);
            }
        }
    }
}

/// What a power cut left of a line goes, so that the next one begins where lines begin.
fn mend(path: &Path) -> io::Result<()> {
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let text = fs::read(path)?;
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    if whole < text.len() {
        file.set_len(u64::try_from(whole).unwrap_or(u64::MAX))?;
        file.sync_all()?;
    }
    Ok(())
}

/// Appends durably.
fn append(path: &Path, line: &str) -> io::Result<()> {
    let fresh = !path.exists();
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let before = file.metadata()?.len();
    let written = file.write_all(line.as_bytes()).and_then(|()| file.sync_data());
    if let Err(error) = written {
        // Half a line would be followed by the next.
        drop(file.set_len(before));
        return Err(error);
    }
    if fresh && let Some(folder) = path.parent() {
        fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// The public half of a key, as it verifies.
pub fn public(key: &Ed25519KeyPair) -> Vec<u8> {
    key.public_key().as_ref().to_vec()
}
