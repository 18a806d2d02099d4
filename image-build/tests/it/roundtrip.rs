//! What goes in comes out: import, export, and QEMU's word on the result.

use image_build::export::export;
use image_build::files;
use image_build::progress::Progress;
use pack::foreign::DiskFormat;

use crate::tool::{disk, imported, qemu_img, work};

#[test]
fn a_disk_survives_every_way_in_and_out() {
    let work = work();
    let [raw, qcow2] = ["disk.raw", "disk.qcow2"].map(|name| work.path().join(name));
    files::write(&raw, &disk()).unwrap();
    qemu_img("convert -q -t unsafe -c -f raw -O qcow2", &[&raw, &qcow2]);
    for (file, format) in [(&raw, DiskFormat::Raw), (&qcow2, DiskFormat::Qcow2)] {
        for declared in [None, Some(format)] {
            let (_kept, image) = imported(file, declared, Some(disk().len() as u64)).unwrap();
            assert_eq!((image.manifest.name(), image.manifest.disk_bytes()), ("it", disk().len() as u64));
            let out = work.path().join("out.raw");
            export(&image, DiskFormat::Raw, &out, &Progress::start(true)).unwrap();
            assert!(files::read(&out).unwrap() == disk());
            let out = work.path().join("out.qcow2");
            export(&image, DiskFormat::Qcow2, &out, &Progress::start(true)).unwrap();
            qemu_img("check -q -f qcow2", &[&out]);
            qemu_img("compare -q -f raw -F qcow2", &[&raw, &out]);
        }
    }
    assert_eq!(files::list(work.path()).unwrap().len(), 4);
}

#[test]
fn the_qcow2_that_is_written_is_no_longer_than_qemus() {
    let work = work();
    let [raw, theirs, ours] = ["raw", "theirs", "ours"].map(|name| work.path().join(name));
    files::write(&raw, &disk()).unwrap();
    qemu_img("convert -q -t unsafe -f raw -O qcow2", &[&raw, &theirs]);
    let (_kept, image) = imported(&raw, None, None).unwrap();
    export(&image, DiskFormat::Qcow2, &ours, &Progress::start(true)).unwrap();
    let length = |path| files::look(path).unwrap().len();
    assert!(length(&ours) <= length(&theirs), "{} and {}", length(&ours), length(&theirs));
}
