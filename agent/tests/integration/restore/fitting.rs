//! Images on disks of another size.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use agent::chain::Chain;
use agent::restore::Options;
use pack::disk::{Access, Disk, Engine};
use pack::table;
use tempfile::TempDir;

use super::content::{Mounted, Part, fill, tool, tree};
use super::image::{ImageFile, MIB, capture};
use super::{machine, options, restore, sectors_written};
use crate::deploy::is_root;
use crate::deploy::machine::Machine;

const DISK: u64 = 160 * MIB;
const EXT4: (u64, u64) = (8 * MIB, 96 * MIB);
/// The partition's end, and the last MiB behind it.
const LEAST: u64 = 105 * MIB;

/// A disk of a GPT with an ext4, its image, and the digest of its tree.
struct Original {
    place: TempDir,
    file: PathBuf,
    image: ImageFile,
    tree: blake3::Hash,
}

impl Original {
    fn new() -> Self {
        let place = TempDir::new().unwrap();
        let file = place.path().join("original.img");
        File::create(&file).unwrap().set_len(DISK).unwrap();
        // A backup at the end of a disk of its own size, and the last usable sector where sfdisk has it.
        let script = place.path().join("table");
        let (first, sectors) = (EXT4.0 / 512, EXT4.1 / 512);
        fs::write(&script, format!("label: gpt\nstart={first}, size={sectors}\n")).unwrap();
        let words = "sfdisk --quiet --no-reread --no-tell-kernel \"$0\" < \"$1\"";
        tool("fdisk", "sh", &["-c", words, file.to_str().unwrap(), script.to_str().unwrap()]);
        let part = Part::of(&file, EXT4);
        tool("e2fsprogs", "mkfs.ext4", &["-q", part.path()]);
        let tree = {
            let mounted = Mounted::at(&part, "rw");
            fill(mounted.path(), 1);
            tree(mounted.path())
        };
        let image = image(&file, &place.path().join("one.rwimage"));
        Self { place, file, image, tree }
    }

    /// As the tools and every file say.
    fn assert_on(&self, disk: &Path, tree_of: blake3::Hash) {
        let name = disk.to_str().unwrap();
        for (package, program, words, well) in [
            ("gdisk", "sgdisk", ["--verify", name], "No problems found"),
            ("fdisk", "sfdisk", ["--verify", name], "No errors detected"),
        ] {
            let out = Command::new(program).args(words).output();
            let out = out.unwrap_or_else(|error| panic!("{program} (of the package {package}): {error}"));
            let told = String::from_utf8_lossy(&out.stdout).into_owned();
            assert!(told.contains(well), "{program}: {told}");
        }
        let opened = Disk::open(disk, Access::Read).unwrap();
        let found = table::read(&opened, 512).unwrap();
        assert_eq!((found.damage.as_slice(), found.partitions.len()), ([].as_slice(), 1));
        let part = Part::of(disk, EXT4);
        tool("e2fsprogs", "e2fsck", &["-fn", part.path()]);
        assert_eq!(tree(Mounted::at(&part, "ro").path()), tree_of);
    }
}

fn image(file: &Path, to: &Path) -> ImageFile {
    capture(&Disk::open(file, Access::Read).unwrap(), to)
}

/// Another system was on it: data everywhere, and a GPT with its backup at the disk's end.
fn dirty(machine: &Machine, bytes: u64) {
    let noise = vec![0xaa; 1 << 20];
    (0..bytes / MIB).for_each(|n| machine.write(0, n * MIB, &noise));
    let device = machine.disks[0].device.to_str().unwrap();
    tool("gdisk", "sgdisk", &["--zap-all", "--new=1:2048:+8M", device]);
}

#[test]
fn a_smaller_and_a_larger_disk_become_the_image_and_are_known_again() {
    if !is_root() {
        return;
    }
    let original = Original::new();
    assert_eq!(original.image.manifest.layout().least_bytes(DISK), LEAST);
    // The least, one that is no whole number of blocks or MiB, two that are hardly smaller and larger, a large one.
    let sizes = [LEAST, LEAST + 7 * 512, DISK - 512, DISK, DISK + 512, DISK + MIB, 300 * MIB + 512];
    for (bytes, engine) in sizes.into_iter().zip([Engine::Uring, Engine::Threads].into_iter().cycle()) {
        let machine = machine(bytes);
        let options = Options { engine, ..options(&machine, &original.image) };
        dirty(&machine, bytes);
        let receipt = restore(&options).unwrap();
        assert_eq!(receipt.root, original.image.root, "{bytes}");
        original.assert_on(&machine.disks[0].file, original.tree);
        let before = sectors_written(&machine.disks[0]);
        let again = restore(&options).unwrap();
        assert_eq!(sectors_written(&machine.disks[0]), before, "{bytes}: not one sector");
        assert_eq!((again.written_bytes, again.skipped_bytes), (0, again.total_bytes));
    }
}

#[test]
fn what_differs_is_written_and_no_more_and_nothing_that_was_right_is_lost() {
    if !is_root() {
        return;
    }
    let original = Original::new();
    // One file of the system is another.
    let changed = {
        let part = Part::of(&original.file, EXT4);
        let mounted = Mounted::at(&part, "rw");
        fs::write(mounted.path().join("d1/f1"), vec![7; 9000]).unwrap();
        tree(mounted.path())
    };
    let next = image(&original.file, &original.place.path().join("two.rwimage"));
    for bytes in [LEAST, LEAST + 5 * 512, DISK - 300 * 1024, DISK, DISK + 300 * 1024, 200 * MIB] {
        let machine = machine(bytes);
        restore(&options(&machine, &original.image)).unwrap();
        let delta = restore(&options(&machine, &next)).unwrap();
        original.assert_on(&machine.disks[0].file, changed);
        assert_eq!(restore(&options(&machine, &next)).unwrap().written_bytes, 0, "{bytes}");
        assert!(delta.written_bytes * 3 < delta.total_bytes, "{bytes}: {delta:?}");
        // A single block that rots is one window, and what the ends take.
        machine.write(0, EXT4.0, &[0xee; 512]);
        let healed = restore(&options(&machine, &next)).unwrap();
        original.assert_on(&machine.disks[0].file, changed);
        assert!(healed.written_bytes <= 5 * MIB, "{bytes}: {healed:?}");
    }
}

/// As one of before this could be done would have left it: the backup where the image has it.
#[test]
fn a_disk_with_the_image_as_it_is_gets_its_backup_at_its_own_end_and_none_elsewhere() {
    if !is_root() {
        return;
    }
    let original = Original::new();
    let machine = machine(DISK + 40 * MIB);
    let raw = fs::read(&original.file).unwrap();
    machine.write(0, 0, &raw);
    assert_eq!(machine.read(0, DISK - 512, 8), b"EFI PART");
    let receipt = restore(&options(&machine, &original.image)).unwrap();
    assert!(receipt.written_bytes <= 4 * MIB, "{receipt:?}");
    original.assert_on(&machine.disks[0].file, original.tree);
    assert_eq!(machine.read(0, DISK - 512, 512), [0; 512]);
}

/// Torn anywhere, a fitted disk has neither table: the last sector and the first two are what everybody looks for.
#[test]
fn a_delivery_that_fails_leaves_no_table_on_a_fitted_disk() {
    if !is_root() {
        return;
    }
    let original = Original::new();
    let file = fs::OpenOptions::new().read(true).write(true).open(&original.image.path).unwrap();
    let chunks = original.image.manifest.chunks();
    let copied = 20_u32..80;
    let rots =
        chunks.iter().find(|one| one.window >= 8 && one.stored > 3 && !copied.contains(&one.window)).unwrap();
    let begin = file.metadata().unwrap().len() - original.image.manifest.data_bytes();
    file.write_all_at(b"rot", begin + rots.offset).unwrap();
    for bytes in [LEAST, DISK - 512, 200 * MIB] {
        let machine = machine(bytes);
        dirty(&machine, bytes);
        // So that the scan finds something of the image, and nothing is discarded.
        let raw = fs::read(&original.file).unwrap();
        machine.write(0, 20 * MIB, &raw[20 << 20..80 << 20]);
        restore(&options(&machine, &original.image)).unwrap_err();
        super::assert_cannot_boot(&machine);
        let opened = Disk::open(&machine.disks[0].file, Access::Read).unwrap();
        assert!(matches!(table::read(&opened, 512), Err(table::NoTable::Absent)));
        assert_eq!(machine.read(0, bytes - 512, 512), [0; 512]);
        assert_ne!(machine.read(0, DISK.min(bytes) - 512, 8), b"EFI PART");
    }
}

#[test]
fn a_disk_that_would_cut_something_is_refused_with_the_bytes_it_lacks() {
    if !is_root() {
        return;
    }
    let original = Original::new();
    let machine = machine(LEAST - 512);
    let before = sectors_written(&machine.disks[0]);
    let refused = |image: &ImageFile, words: &str| {
        let told = Chain(&restore(&options(&machine, image)).unwrap_err()).to_string();
        assert!(told.contains(words), "{told}");
        assert_eq!(sectors_written(&machine.disks[0]), before, "not one sector");
    };
    let words =
        format!("the image needs a disk of at least {LEAST} bytes, serial:SYSTEM has {}", LEAST - 512);
    refused(&original.image, &words);
    // A table whose primary is no good can't be fitted, and that is known before anything is written.
    let smaller = original.place.path().join("smaller.img");
    File::create(&smaller).unwrap().set_len(64 * MIB).unwrap();
    tool("gdisk", "sgdisk", &["--new=1:2048:+8M", smaller.to_str().unwrap()]);
    let file = fs::OpenOptions::new().read(true).write(true).open(&smaller).unwrap();
    let mut guid = [0];
    file.read_exact_at(&mut guid, 512 + 57).unwrap();
    file.write_all_at(&[!guid[0]], 512 + 57).unwrap();
    let image = image(&smaller, &original.place.path().join("broken.rwimage"));
    refused(&image, "the image can't be fitted to the disk: the image's partition table can't be fitted");
}

/// A partition that reaches into the last MiB, on a disk that is no whole number of MiB: when nothing but the backup is wrong,
/// the zeros at the disk's end take right data with them.
#[test]
fn what_the_zeros_at_the_end_take_is_written_again() {
    if !is_root() {
        return;
    }
    let place = TempDir::new().unwrap();
    let file = place.path().join("original.img");
    let own = 16 * MIB + 20 * 1024;
    let mut raw = vec![0; usize::try_from(own).unwrap()];
    blake3::Hasher::new().finalize_xof().fill(&mut raw[1 << 20..]);
    fs::write(&file, raw).unwrap();
    tool("gdisk", "sgdisk", &["--set-alignment=1", "--largest-new=1", file.to_str().unwrap()]);
    let image = image(&file, &place.path().join("one.rwimage"));
    let end = image.manifest.layout().partitions.iter().map(|one| one.offset + one.bytes).max().unwrap();
    assert!(end > 16 * MIB, "it ends in the last, short window");
    assert_eq!(image.manifest.layout().least_bytes(own), own);
    let content = fs::read(&file).unwrap();
    for bytes in [own, own + 512, own + 700 * 1024, own + 5 * MIB] {
        let machine = machine(bytes);
        restore(&options(&machine, &image)).unwrap();
        machine.write(0, bytes - 512, &[0; 512]);
        let healed = restore(&options(&machine, &image)).unwrap();
        assert!((1..=5 * MIB).contains(&healed.written_bytes), "{bytes}: {healed:?}");
        let found = machine.read(0, MIB, usize::try_from(end - MIB).unwrap());
        assert!(found == content[1 << 20..usize::try_from(end).unwrap()], "{bytes}");
        assert_eq!(restore(&options(&machine, &image)).unwrap().written_bytes, 0, "{bytes}");
    }
}
