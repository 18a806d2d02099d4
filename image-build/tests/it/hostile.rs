//! The advisories that other deployers had: files that name files of the host, and files that are not what they are said
//! to be.

use std::path::Path;

use image_build::files;
use pack::foreign::DiskFormat;

use crate::tool::{disk, imported, qemu_img, words, work};

/// What a file is refused with, declared as nothing, raw and qcow2.
fn refusals(file: &Path) -> [String; 3] {
    [None, Some(DiskFormat::Raw), Some(DiskFormat::Qcow2)]
        .map(|format| imported(file, format, None).map_or_else(|error| words(&error), |_| "taken".to_owned()))
}

/// A qcow2 file without content, with some bytes put into its header.
fn header_with(file: &Path, patches: &[(usize, &[u8])]) {
    qemu_img("create -q -f qcow2", &[file, Path::new("8M")]);
    let mut bytes = files::read(file).unwrap();
    patches.iter().for_each(|(at, patch)| bytes[*at..at + patch.len()].copy_from_slice(patch));
    files::write(file, &bytes).unwrap();
}

/// CVE-2015-1851, CVE-2024-40767: a backing file of the host; `json:` and device names too.
#[test]
fn no_backing_file_is_opened() {
    let work = work();
    let file = work.path().join("disk.qcow2");
    let secret = work.path().join("secret");
    files::write(&secret, b"secret").unwrap();
    let json =
        format!(r#"json:{{"driver":"raw","file":{{"driver":"file","filename":"{}"}}}}"#, secret.display());
    for name in ["/etc/passwd", "/dev/sda", "nbd://127.0.0.1/x", &json, "a\u{1b}[2Jb"] {
        let length = u32::try_from(name.len()).unwrap().to_be_bytes();
        header_with(&file, &[(8, &[0, 0, 0, 0, 0, 0, 0x10, 0]), (16, &length), (0x1000, name.as_bytes())]);
        let [sniffed, raw, qcow2] = refusals(&file);
        assert_eq!(sniffed, qcow2);
        assert!(sniffed.contains("backing file"), "{sniffed}");
        assert!(!sniffed.contains('\u{1b}'), "a terminal would obey it");
        assert!(raw.contains("declared as raw, but this is qcow2"), "{raw}");
    }
}

/// CVE-2024-32498: an external data file, by its feature bit, by its name, by both.
#[test]
fn no_data_file_is_opened() {
    let work = work();
    let file = work.path().join("disk.qcow2");
    let bit: (usize, &[u8]) = (72, &[0, 0, 0, 0, 0, 0, 0, 4]);
    let name: (usize, &[u8]) = (112, b"DATA\0\0\0\x0b/etc/passwd\0\0\0\0\0\0\0\0\0\0\0\0\0");
    for patches in [&[bit][..], &[name], &[bit, name]] {
        header_with(&file, patches);
        let [sniffed, raw, qcow2] = refusals(&file);
        assert_eq!(sniffed, qcow2);
        assert!(sniffed.contains("external data file"), "{sniffed}");
        assert!(raw.contains("declared as raw, but this is qcow2"), "{raw}");
    }
}

/// CVE-2022-47951, CVE-2026-24708: a VMDK whose descriptor names a file of the host, declared as anything.
#[test]
fn no_extent_of_a_descriptor_is_opened() {
    let work = work();
    let file = work.path().join("disk.img");
    let descriptor = "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\nRW 8 FLAT \"/etc/passwd\" 0\n";
    let mut padded = descriptor.as_bytes().to_vec();
    padded.resize(1 << 20, 0);
    padded[510..512].copy_from_slice(&[0x55, 0xaa]);
    for content in [descriptor.as_bytes(), &padded] {
        files::write(&file, content).unwrap();
        for said in refusals(&file) {
            assert!(said.contains("a VMDK descriptor, which is not read"), "{said}");
        }
    }
}

/// CVE-2024-44082: what QEMU itself makes of every other format is refused whatever it is declared as.
#[test]
fn other_formats_are_refused_by_name() {
    let work = work();
    let [raw, file] = ["raw", "file"].map(|name| work.path().join(name));
    files::write(&raw, &disk()).unwrap();
    let formats = [
        ("vmdk", "-o subformat=monolithicSparse", "a VMDK file"),
        ("vmdk", "-o subformat=streamOptimized", "a VMDK file"),
        ("vmdk", "-o subformat=monolithicFlat", "a VMDK descriptor"),
        ("vdi", "", "a VDI file"),
        ("vhdx", "", "a VHDX file"),
        ("vpc", "-o subformat=dynamic", "a VHD file"),
        ("vpc", "-o subformat=fixed", "a VHD file"),
        ("qed", "", "a QED file"),
        ("parallels", "", "a Parallels disk"),
        ("qcow", "", "a qcow file of version 1"),
        ("luks", "--object secret,id=s,data=x -o key-secret=s,iter-time=10", "an encrypted (LUKS) container"),
    ];
    for (format, options, what) in formats {
        qemu_img(&format!("convert -q -t unsafe -f raw -O {format} {options}"), &[&raw, &file]);
        for said in refusals(&file) {
            assert!(
                said.contains(&format!("this is {what}, which is not read")),
                "{format} {options}: {said}"
            );
        }
    }
}

/// A qcow2 file as the content of a disk: whoever guesses at the raw disk opens what it names.
#[test]
fn an_image_within_an_image_is_refused() {
    let work = work();
    let [inner, outer] = ["inner", "outer"].map(|name| work.path().join(name));
    for format in ["qcow2", "vmdk", "qed"] {
        qemu_img(&format!("create -q -f {format}"), &[&inner, Path::new("8M")]);
        // Its length is a multiple of 512: QEMU takes it as a raw disk.
        qemu_img("convert -q -t unsafe -f raw -O qcow2", &[&inner, &outer]);
        let [sniffed, raw, qcow2] = refusals(&outer);
        assert_eq!(sniffed, qcow2);
        assert!(sniffed.contains("the disk in it is not plain either"), "{sniffed}");
        assert!(raw.contains("declared as raw, but this is qcow2"), "{raw}");
    }
}

#[test]
fn a_raw_disk_declared_as_qcow2_is_refused_and_so_is_what_nothing_is_known_of() {
    let work = work();
    let file = work.path().join("file");
    files::write(&file, &disk()).unwrap();
    let said = words(&imported(&file, Some(DiskFormat::Qcow2), None).map(drop).unwrap_err());
    assert!(said.contains("declared as qcow2, but it does not begin like one"), "{said}");
    files::write(&file, &vec![b'x'; 1 << 20]).unwrap();
    let said = words(&imported(&file, None, None).map(drop).unwrap_err());
    assert!(said.contains("declare it as raw if it is a disk"), "{said}");
    assert!(imported(&file, Some(DiskFormat::Raw), None).is_ok());
    for file in [work.path(), Path::new("/dev/zero"), Path::new("/nonexistent")] {
        assert!(imported(file, Some(DiskFormat::Raw), None).is_err(), "{}", file.display());
    }
}

/// An image file, as what it is not.
#[test]
fn an_image_file_is_not_imported_again() {
    let work = work();
    let [file, image] = ["file", "x.rwimage"].map(|name| work.path().join(name));
    files::write(&file, &disk()).unwrap();
    let (kept, _) = imported(&file, None, None).unwrap();
    files::copy(&kept.path().join("out/image.rwimage"), &image).unwrap();
    for said in refusals(&image) {
        assert!(said.contains("an image of Rackwright already"), "{said}");
    }
}
