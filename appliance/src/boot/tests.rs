//! Stores with something missing, and with something that should not be there.

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::Path;

use pxe::files::StoreFile;

use super::{BootError, BootStore};

/// A store whose files hold their own names, many times.
pub(crate) fn fill(dir: &Path) {
    for file in StoreFile::ALL {
        fs::write(dir.join(file.store_name()), content(file)).unwrap();
    }
    fs::write(dir.join("versions.json"), r#"{"kernel": "6.12.1"}"#).unwrap();
}

/// What [`fill`] puts into a file: another length for each, none a multiple of a block.
pub(crate) fn content(file: StoreFile) -> Vec<u8> {
    let name = file.store_name();
    name.bytes().cycle().take(300_001 + name.len() * 1000).collect()
}

fn filled() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path());
    dir
}

#[test]
fn a_whole_store_is_served_from() {
    let dir = filled();
    let store = BootStore::open(dir.path()).unwrap();
    for file in StoreFile::ALL {
        let (mut opened, length) = store.file(file).unwrap();
        let mut bytes = Vec::new();
        opened.read_to_end(&mut bytes).unwrap();
        assert!(bytes == content(file) && length == bytes.len() as u64, "{file}");
    }
    assert_eq!(store.versions()["kernel"], "6.12.1");
}

#[test]
fn what_is_missing_or_odd_is_named_with_the_step_that_makes_it() {
    type Spoil = fn(&Path);
    let table: [(&str, &str, Spoil); 8] = [
        ("missing kernel", "vmlinuz", |d| fs::remove_file(d.join("vmlinuz")).unwrap()),
        ("missing versions", "versions.json", |d| fs::remove_file(d.join("versions.json")).unwrap()),
        ("empty ramdisk", "empty", |d| fs::write(d.join("initrd.img"), "").unwrap()),
        ("versions that are no JSON", "not JSON", |d| fs::write(d.join("versions.json"), "{").unwrap()),
        ("a link to a secret", "symbolic link", |d| {
            fs::rename(d.join("shimx64.efi"), d.join("secret")).unwrap();
            symlink("secret", d.join("shimx64.efi")).unwrap();
        }),
        ("a link out of the store", "symbolic link", |d| {
            fs::remove_file(d.join("undionly.kpxe")).unwrap();
            symlink("/etc/hostname", d.join("undionly.kpxe")).unwrap();
        }),
        ("a directory", "regular", |d| {
            fs::remove_file(d.join("snponly.efi")).unwrap();
            fs::create_dir(d.join("snponly.efi")).unwrap();
        }),
        ("a socket", "undionly.kpxe", |d| {
            fs::remove_file(d.join("undionly.kpxe")).unwrap();
            std::os::unix::net::UnixListener::bind(d.join("undionly.kpxe")).unwrap();
        }),
    ];
    for (name, word, spoil) in table {
        let dir = filled();
        spoil(dir.path());
        let said = BootStore::open(dir.path()).expect_err(name).to_string();
        assert!(said.contains(word) && said.contains("image-build ramdisk --out"), "{name}: {said}");
    }
    let absent = BootStore::open(Path::new("/nonexistent/boot")).unwrap_err();
    assert!(matches!(absent, BootError::Directory { .. }));
    assert!(absent.to_string().contains("image-build ramdisk"), "{absent}");
}

#[test]
fn a_file_swapped_for_a_link_while_we_run_is_refused() {
    let dir = filled();
    let store = BootStore::open(dir.path()).unwrap();
    fs::remove_file(dir.path().join("vmlinuz")).unwrap();
    symlink("initrd.img", dir.path().join("vmlinuz")).unwrap();
    assert!(store.file(StoreFile::Kernel).unwrap_err().to_string().contains("symbolic link"));
    assert!(store.length(StoreFile::Ramdisk).is_ok());
}

#[test]
fn what_is_not_required_may_be_missing_and_must_be_usable_when_it_is_there() {
    let dir = filled();
    fs::remove_file(dir.path().join("snponly.efi")).unwrap();
    let required = [StoreFile::Kernel, StoreFile::Ramdisk];
    let store = BootStore::requiring(&required, dir.path()).unwrap();
    assert!(store.there.contains(&StoreFile::Shim) && !store.there.contains(&StoreFile::Snponly));
    assert!(store.file(StoreFile::Snponly).unwrap_err().to_string().contains("snponly.efi"));
    symlink("vmlinuz", dir.path().join("snponly.efi")).unwrap();
    let said = BootStore::requiring(&required, dir.path()).unwrap_err().to_string();
    assert!(said.contains("symbolic link"), "{said}");
    fs::remove_file(dir.path().join("initrd.img")).unwrap();
    assert!(BootStore::requiring(&required, dir.path()).unwrap_err().to_string().contains("initrd.img"));
}
