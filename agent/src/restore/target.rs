//! Which disk, and whether it is meant.

use std::path::Path;

use pack::Manifest;
use protocol::Disk;

use crate::deploy::imaging::user;
use crate::inventory;
use crate::restore::image::Opened;
use crate::restore::{Options, RestoreError};

/// The disk that was named.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) disk: Disk,
}

/// Finds the disk, and refuses one that is in use or that the image does not fit.
pub(super) fn find(options: &Options, manifest: &Manifest) -> Result<Found, RestoreError> {
    let none = || RestoreError::NoDisk { disk: options.disk.clone() };
    let name = name(options).ok_or_else(none)?;
    let disk = inventory::one(&options.root, &name).ok_or_else(none)?;
    let found = Found { disk };
    user::unused(&options.root, &found.disk.name)?;
    let (need, have) = (manifest.layout().least_bytes(manifest.disk_bytes()), found.disk.bytes);
    if need > have {
        return Err(RestoreError::TooBig { disk: found.words(), need, have });
    }
    let (image, have) = (manifest.layout().sector_bytes, found.disk.sector_bytes);
    if image != have {
        return Err(RestoreError::Sectors { disk: found.words(), image, have });
    }
    Ok(found)
}

/// The kernel's name of a device that was given by any name.
fn name(options: &Options) -> Option<String> {
    let is_machine = options.root == Path::new("/");
    // The devices of a test's tree are links out of it.
    let path = if is_machine { std::fs::canonicalize(&options.disk).ok()? } else { options.disk.clone() };
    let below = path.strip_prefix("/dev").ok()?.to_str()?;
    // A slash in a device's name is written as `!` in /sys.
    (!below.is_empty() && !below.contains("..")).then(|| below.replace('/', "!"))
}

impl Found {
    /// How errors call it: its WWN or serial number where it has one.
    pub(super) fn words(&self) -> String {
        self.disk.id().map_or_else(|| self.disk.name.clone(), |id| id.to_string())
    }

    /// What a person has to type: what is printed on the drive, if anything is.
    fn proof(&self) -> &str {
        let names = [&self.disk.serial, &self.disk.wwn, &self.disk.name];
        names.into_iter().find(|name| !name.is_empty()).map_or("", |name| name)
    }

    /// Asks whether this is the disk, unless `--confirm` says so.
    pub(super) fn confirm(
        &self,
        options: &Options,
        image: &Opened,
        ask: impl FnOnce(&str) -> Option<String>,
    ) -> Result<(), RestoreError> {
        let want = self.proof();
        let got = match &options.confirm {
            // Nobody has seen who signed.
            Some(_) if !image.trusted => {
                let (image, signer) = (options.image.clone(), image.signer);
                return Err(RestoreError::Signer { image, signer });
            }
            Some(word) => word.clone(),
            None => ask(&self.question(image)).unwrap_or_default(),
        };
        if got == want {
            return Ok(());
        }
        Err(RestoreError::NotConfirmed { disk: self.words(), want: want.to_owned(), got })
    }

    fn question(&self, image: &Opened) -> String {
        let Disk { name, model, bytes, .. } = &self.disk;
        let holds = self.disk.holds.iter().map(|held| match held.label.as_str() {
            "" => held.kind.clone(),
            label => format!("{} {label:?}", held.kind),
        });
        let holds = holds.collect::<Vec<_>>();
        let holds = if holds.is_empty() { "nothing that is known".to_owned() } else { holds.join(", ") };
        let vouched = if image.trusted { "" } else { " (nobody has vouched for this key)" };
        format!(
            "image  {} {}\nsigned {}{vouched}\ndisk   {name} {:?} {model:?}, {} MiB\nholds  {holds}\n\
             Everything on this disk is lost. Type {} to go on: ",
            image.manifest.name(),
            image.digest,
            image.signer,
            self.words(),
            bytes >> 20,
            self.proof(),
        )
    }
}
