//! A power cut: from some step on, nothing is done any more; then the disk keeps what was synced, and of the rest what it
//! pleases.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What the disk keeps of names that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::images) enum Names {
    /// All.
    Kept,
    /// None.
    Lost,
}

/// The power of one folder.
#[derive(Clone, Debug, Default)]
pub(in crate::images) struct Power(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Steps until the cut; none: there is none.
    left: Option<usize>,
    taken: usize,
    /// Writes until one that fails after so many of its bytes.
    torn: Option<(usize, usize, io::ErrorKind)>,
    /// And how long they were when they were synced last.
    unsynced: BTreeMap<PathBuf, u64>,
    /// How the folder was before each change of a name since the last sync.
    undo: Vec<Undo>,
}

#[derive(Debug)]
struct Undo {
    path: PathBuf,
    before: Option<Vec<u8>>,
}

impl Power {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// After so many steps it is gone.
    pub(in crate::images) fn cut_after(&self, steps: usize) {
        self.state().left = Some(steps);
    }

    /// Steps so far.
    pub(in crate::images) fn taken(&self) -> usize {
        self.state().taken
    }

    pub(in crate::images) fn step(&self) -> io::Result<()> {
        let mut state = self.state();
        state.taken += 1;
        match &mut state.left {
            None => Ok(()),
            Some(0) => Err(io::Error::other("the power is gone")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    /// After so many more writes one fails, when so many of its bytes are written.
    pub(in crate::images) fn tear(&self, writes: usize, bytes: usize, kind: io::ErrorKind) {
        self.state().torn = Some((writes, bytes, kind));
    }

    pub(in crate::images) fn tears(&self, file: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        match state.torn.take() {
            None => Ok(()),
            Some((0, written, kind)) => {
                file.write_all_at(&bytes[..written.min(bytes.len())], at)?;
                Err(kind.into())
            }
            Some((left, written, kind)) => {
                state.torn = Some((left - 1, written, kind));
                Ok(())
            }
        }
    }

    pub(in crate::images) fn wrote(&self, path: &Path) {
        let length = std::fs::metadata(path).map_or(0, |file| file.len());
        self.state().unsynced.entry(path.to_owned()).or_insert(length);
    }

    pub(in crate::images) fn synced(&self, path: &Path) {
        self.state().unsynced.remove(path);
    }

    pub(in crate::images) fn renames(&self, from: &Path, to: &Path) {
        let mut state = self.state();
        if let Some(length) = state.unsynced.remove(from) {
            state.unsynced.insert(to.to_owned(), length);
        }
        for path in [to, from] {
            state.undo.push(Undo { path: path.to_owned(), before: std::fs::read(path).ok() });
        }
    }

    pub(in crate::images) fn removes(&self, path: &Path) {
        let mut state = self.state();
        state.unsynced.remove(path);
        state.undo.push(Undo { path: path.to_owned(), before: std::fs::read(path).ok() });
    }

    pub(in crate::images) fn synced_folder(&self) {
        self.state().undo.clear();
    }

    /// What is left in the folder: files have half of the bytes that were not synced.
    pub(in crate::images) fn aftermath(&self, names: Names) {
        let mut state = self.state();
        for (path, synced) in &state.unsynced {
            let Ok(file) = std::fs::File::options().write(true).open(path) else { continue };
            let length = file.metadata().unwrap().len();
            file.set_len(synced + length.saturating_sub(*synced) / 2).unwrap();
        }
        let undo = std::mem::take(&mut state.undo);
        for Undo { path, before } in undo.into_iter().rev().filter(|_| names == Names::Lost) {
            match before {
                Some(bytes) => std::fs::write(path, bytes).unwrap(),
                None => drop(std::fs::remove_file(path)),
            }
        }
    }
}
