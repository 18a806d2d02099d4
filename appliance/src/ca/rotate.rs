//! Another site CA in the place of this one, with what the data base says of it as the only truth.
//!
//! A new root is durable before the data base names it, and one that is refused is removed after that is committed. So whenever the
//! daemon is killed, the files hold every root that the data base trusts, and [`SiteCa::follow`] at the next start puts the rest right.

use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use fleet::trust::Trust;
use protocol::CaPin;

use super::authority::{Authority, issuers_file, issuers_files, make_root};
use super::{CaError, FILE, NEXT, SiteCa, Trusted, file};

impl SiteCa {
    /// Makes the root that is to take the place of this one, durable, and trusted by nobody yet. One of an attempt that was never
    /// begun is made anew.
    ///
    /// # Errors
    /// [`CaError`].
    pub fn make_next(&self, now: SystemTime) -> Result<CaPin, CaError> {
        let text = make_root(now)?;
        file::replace(&self.directory, NEXT, text.as_bytes())?;
        Ok(Authority::open(&self.directory, &self.directory.join(NEXT), &text, now)?.pin())
    }

    /// Trusts what the data base says, and puts away what it does not. To be called after every change of that, and at the start.
    ///
    /// # Errors
    /// [`CaError::Unknown`]: the one that is to sign is not there. [`CaError`].
    pub fn follow(&self, trust: Option<&Trust>, now: SystemTime) -> Result<(), CaError> {
        let Some(trust) = trust else { return Ok(()) };
        let there = self.there(now)?;
        let find = |pin: CaPin| there.iter().find(|(_, authority)| authority.pin() == pin);
        let unknown = || CaError::Unknown { directory: self.directory.clone(), pin: trust.wanted };
        let (name, wanted) = find(trust.wanted).ok_or_else(unknown)?;
        let other = trust.other.and_then(find).map(|(_, authority)| Arc::clone(authority));
        if let (Some(pin), None) = (trust.other, &other) {
            // A backup that was made while it was put away.
            tracing::warn!(%pin, "the other site CA is gone: what was signed by it is refused");
        }
        let trusted = Trusted { wanted: Arc::clone(wanted), other };
        *self.trusted.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(trusted);
        if trust.other.is_some() { Ok(()) } else { self.put_away(name, trust.wanted) }
    }

    /// Every root that lies here, with its file.
    fn there(&self, now: SystemTime) -> Result<Vec<(&'static str, Arc<Authority>)>, CaError> {
        let mut there = Vec::new();
        for name in [FILE, NEXT] {
            let path = self.directory.join(name);
            if let Some(text) = file::read(&path)? {
                there.push((name, Arc::new(Authority::open(&self.directory, &path, &text, now)?)));
            }
        }
        Ok(there)
    }

    /// The root in this file is the only one that is left; the others' keys are gone when this returns.
    fn put_away(&self, name: &str, pin: CaPin) -> Result<(), CaError> {
        let next = self.directory.join(NEXT);
        if name == NEXT {
            // In one step it is the new one, and the old one is no more.
            let path = self.directory.join(FILE);
            let renaming = |source| CaError::File { what: "renaming", path: next.clone(), source };
            std::fs::rename(&next, &path).map_err(renaming)?;
        } else {
            remove(&next)?;
        }
        let own = self.directory.join(issuers_file(&pin));
        issuers_files(&self.directory)
            .iter()
            .filter(|path| **path != own)
            .try_for_each(|path| remove(path))?;
        let syncing = |source| CaError::File { what: "syncing", path: self.directory.clone(), source };
        std::fs::File::open(&self.directory).and_then(|directory| directory.sync_all()).map_err(syncing)
    }
}

fn remove(path: &Path) -> Result<(), CaError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(CaError::File { what: "removing", path: path.into(), source: error })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
