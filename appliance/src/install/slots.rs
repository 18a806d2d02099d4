//! The two slots of an installed controller: which one runs, which one is started next, and a newer medium in the other.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use console::install::{Installed, Told};
use pack::{PublicKey, Signature};
use setup::install::{Environment, Place, Slot};

use super::loops::Mounted;
use super::medium::{Medium, copy, hash};
use super::origin::{Origin, of_kernel_line};
use super::program;
use crate::images::trusted;

/// On the EFI system partition, where Debian's signed GRUB looks.
pub(super) const MENU: &str = "EFI/debian/grub.cfg";
/// Beside it.
pub(super) const ENVIRONMENT: &str = "EFI/debian/grubenv";
/// Whose media are taken.
const KEYS: &str = "/etc/rackwright/image-keys";
/// The number of its release, on a medium: grows from one to the next.
const RELEASE: &str = "rackwright/release";
/// What this system came with, and where of it the images are.
const STORE: &str = "/run/live/store";
const IMAGES: &str = "var/lib/rackwright/images";
/// The database of before an update (`image-build/recipes/iso/init`).
const BEFORE: &str = "/run/live/data/before";
/// The medium of this system.
const OWN: &str = "/run/live/medium";
/// Of what lies beside an ISO, in bytes.
const MOST_BESIDE: u64 = 4096;

/// Which slot runs, and which is started next.
pub(super) fn installed() -> Result<Installed, String> {
    let Origin::Disk(runs) = Origin::own()? else {
        return Err("this live system is on no disk: rackwright install puts it there".to_owned());
    };
    let esp = Mounted::at("esp", &partition("esp")?, "ro,nosuid,nodev,noexec")?;
    let block = fs::read(esp.path(ENVIRONMENT)).map_err(|why| format!("reading {ENVIRONMENT}: {why}"))?;
    Ok(Installed { runs, next: Environment::parse(&block) })
}

/// Puts the medium of a file into the slot that does not run.
pub(super) fn update(file: &Path, older: bool, told: Told<'_>) -> Result<Slot, String> {
    let Installed { runs, next } = installed()?;
    if next.slot != runs {
        return Err(
            "this slot runs on trial: rackwright update keep first, or restart to be back in the other"
                .to_owned(),
        );
    }
    let sum = signed(file)?;
    let bytes = file.metadata().map_err(|why| format!("reading {}: {why}", file.display()))?.len();
    Medium::at(file)?;
    refuse_older(file, older)?;
    told("keeping the images of this system", 0, 0);
    keep_images()?;
    let slot = runs.other();
    let device = partition(slot.word())?;
    // Half of it must not be started, whatever was planned before.
    choose(Environment { slot: runs, trial: None })?;
    let room = size(&device)?;
    let target = File::options().write(true).open(&device);
    copy(file, bytes, &target.map_err(|why| format!("opening {}: {why}", device.display()))?, room, told)?;
    // Whoever reads it now reads the disk.
    program::run("blockdev", ["--flushbufs", &device.to_string_lossy()])?;
    let reading = |why: std::io::Error| format!("reading {}: {why}", device.display());
    let back =
        hash(File::open(&device).map_err(reading)?, bytes, &mut |done| told("reading it back", done, bytes));
    if back.map_err(reading)? != sum {
        return Err(format!(
            "what is in slot {} is not what was signed: {} is damaged, or the disk is; slot {} stays",
            slot.word(),
            file.display(),
            runs.word()
        ));
    }
    choose(Environment { slot: runs, trial: Some(slot) })?;
    Ok(slot)
}

/// Has the images that came with this system copied from its slot to the disk, by writing to them: what was captured or imported since
/// may share parts with them, and this slot is overwritten by the update after this one.
fn keep_images() -> Result<(), String> {
    let Ok(entries) = fs::read_dir(Path::new(STORE).join(IMAGES)) else { return Ok(()) };
    let paths = entries.flatten().map(|entry| Path::new("/").join(IMAGES).join(entry.file_name()));
    // Those that are not there any more were removed by the operator.
    for path in paths.filter(|path| path.is_file()) {
        // An overlay copies a file before anybody can write to it.
        let file = File::options().append(true).open(&path).and_then(|file| file.sync_all());
        file.map_err(|why| format!("keeping {}: {why}", path.display()))?;
    }
    Ok(())
}

/// Stays with the slot that runs.
pub(super) fn keep() -> Result<Slot, String> {
    let Installed { runs, next } = installed()?;
    let kept = Environment { slot: runs, trial: None };
    if next == kept {
        return forget_before().map(|()| runs);
    }
    let is_configured = Path::new("/etc/rackwright/rackwright.toml").exists();
    if is_configured {
        let why = "the controller in this slot is not up, so the next start is the other slot: systemctl status rackwright says why";
        program::run("systemctl", ["--quiet", "is-active", "rackwright.service"])
            .map_err(|_| why.to_owned())?;
    }
    // It has served by now: what the database was before must not come back.
    forget_before()?;
    choose(kept)?;
    Ok(runs)
}

/// The first program of an update keeps the database of before it.
fn forget_before() -> Result<(), String> {
    match fs::remove_dir_all(BEFORE) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => Err(format!("removing {BEFORE}: {why}")),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The sum of the file that a key we trust has signed.
fn signed(file: &Path) -> Result<String, String> {
    let beside = |ending: &str| PathBuf::from(format!("{}{ending}", file.display()));
    let read = |path: &Path| {
        let bytes = fs::metadata(path).and_then(|found| {
            if found.len() > MOST_BESIDE {
                Err(std::io::ErrorKind::FileTooLarge.into())
            } else {
                fs::read(path)
            }
        });
        bytes.map_err(|why| {
            format!("reading {}: {why}; it comes with the ISO, and lies beside it", path.display())
        })
    };
    let (sums, signature) = (read(&beside(".sha256"))?, read(&beside(".sha256.sig"))?);
    let keys = trusted(Path::new(KEYS)).map_err(|why| crate::chain(&why))?;
    sum(&String::from_utf8_lossy(&sums), &signature, &keys)
        .map_err(|why| format!("{}: {why}", file.display()))
}

fn sum(sums: &str, signature: &[u8], keys: &[PublicKey]) -> Result<String, &'static str> {
    let signature = signature.try_into().map(Signature).map_err(|_| "its signature is not 64 bytes long")?;
    if !keys.iter().any(|key| key.signed_sums(sums, &signature)) {
        return Err("no key in /etc/rackwright/image-keys has signed the sum beside it; it is not used");
    }
    let sum = sums.split_whitespace().next().filter(|sum| sum.len() == 64);
    sum.map(str::to_owned).ok_or("the file beside it has no sum in it")
}

/// An older system may not know what a newer one has written.
fn refuse_older(file: &Path, allowed: bool) -> Result<(), String> {
    let mounted = Mounted::at("new", file, "ro,loop,nosuid,nodev,noexec")?;
    let release =
        |path: PathBuf| fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u64>().ok());
    match (release(mounted.path(RELEASE)), release(Path::new(OWN).join(RELEASE))) {
        (None, _) => {
            Err(format!("{} is no medium that can be installed: it does not say its release", file.display()))
        }
        (Some(new), Some(own)) if new < own && !allowed => Err(format!(
            "{} is older ({new}) than what runs ({own}), which may have written what that does not know; --older takes it anyway",
            file.display()
        )),
        (Some(_), _) => Ok(()),
    }
}

/// Has a slot started. The file stays where it is: the menu writes to its blocks.
fn choose(next: Environment) -> Result<(), String> {
    let esp = Mounted::at("esp", &partition("esp")?, "nosuid,nodev,noexec")?;
    let file = File::options().write(true).open(esp.path(ENVIRONMENT));
    let written = file.and_then(|file| file.write_all_at(&next.block(), 0).and_then(|()| file.sync_all()));
    written.map_err(|why| format!("writing {ENVIRONMENT}: {why}"))?;
    esp.close()
}

/// The partition of this name on the disk that this system was started from.
fn partition(name: &str) -> Result<PathBuf, String> {
    let id = of_kernel_line("rackwright.disk").ok_or("the kernel line does not name the disk")?;
    let wanted = format!("PARTNAME=rackwright-{name}-{id}");
    let entries = fs::read_dir("/sys/class/block").into_iter().flatten().flatten();
    let is_it = |entry: &fs::DirEntry| {
        fs::read_to_string(entry.path().join("uevent"))
            .is_ok_and(|text| text.lines().any(|line| line == wanted))
    };
    let found = entries.into_iter().filter(is_it).map(|entry| Path::new("/dev").join(entry.file_name()));
    match found.collect::<Vec<_>>().as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(format!("the disk has no partition rackwright-{name}-{id}")),
        _ => Err(format!(
            "more than one disk has a partition rackwright-{name}-{id}: pull out the copies of this controller's"
        )),
    }
}

/// All of a device.
fn size(device: &Path) -> Result<Place, String> {
    let text = program::run("blockdev", ["--getsize64", &device.to_string_lossy()])?;
    let bytes: u64 = text.trim().parse().map_err(|_| format!("{} has no size", device.display()))?;
    Ok(Place::whole(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pack::SigningKey;

    #[test]
    fn a_sum_is_believed_when_a_key_that_is_trusted_has_signed_it() {
        let key = |seed| SigningKey::from_seed(&[seed; 32]).unwrap();
        let digits = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let sums = format!("{digits}  rackwright.iso\n");
        let signature = key(1).sign_sums(&sums).unwrap().0;
        let keys = [key(2).public(), key(1).public()];
        assert_eq!(sum(&sums, &signature, &keys), Ok(digits.to_owned()));
        assert!(sum(&sums, &signature, &keys[..1]).unwrap_err().contains("no key"));
        assert!(sum(&sums, &signature, &[]).unwrap_err().contains("no key"));
        assert!(sum(&sums.replace('b', "c"), &signature, &keys).unwrap_err().contains("no key"));
        assert!(sum(&sums, &signature[1..], &keys).unwrap_err().contains("64 bytes"));
        let short = key(1).sign_sums("abc  rackwright.iso\n").map(|signature| signature.0);
        assert!(short.is_none_or(|signature| sum("abc  rackwright.iso\n", &signature, &keys).is_err()));
    }
}
