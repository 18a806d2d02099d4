//! A store in a folder of its own.

use std::os::unix::fs::FileExt;

use pack::{About, Builder, Header, Signed, SigningKey, WINDOW, chunk};

use super::Images;

/// An image file of two windows, and the key that signed it.
fn image() -> (Vec<u8>, SigningKey) {
    let key = SigningKey::from_seed(&[7; 32]).unwrap();
    let about = About {
        name: "node".into(),
        arch: "amd64".into(),
        roles: vec!["control".into()],
        disk_bytes: 2 * u64::from(WINDOW),
        seed: None,
        packages: None,
        layout: pack::Layout::default(),
    };
    let (mut builder, mut data) = (Builder::new(about), Vec::new());
    for window in 0..2u8 {
        let packed = chunk(u32::from(window), &vec![window; WINDOW as usize], 3).unwrap();
        builder.push(&packed).unwrap();
        data.extend_from_slice(&packed.stored);
    }
    let mut file = Header { signed: Signed::new(&builder.finish().unwrap(), &key) }.encode();
    file.extend_from_slice(&data);
    (file, key)
}

#[test]
fn an_image_that_is_imported_again_is_read_from_its_new_file() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (file, key) = image();
    std::fs::write(keys.path().join("build.pub"), key.public().to_string()).unwrap();
    let images = Images::open(folder.path(), keys.path()).unwrap();
    let import = || {
        let mut import = images.import(file.len() as u64).unwrap();
        import.push(&file).unwrap();
        import.finish().unwrap().digest
    };
    let digest = import();
    let on_disk = std::fs::OpenOptions::new().write(true).open(images.path(&digest)).unwrap();
    let last = file.len() - 1;
    on_disk.write_all_at(&[!file[last]], last as u64).unwrap();
    let read = || {
        let mut byte = [0];
        images.stored(&digest).unwrap().file.read_exact_at(&mut byte, last as u64).unwrap();
        byte[0]
    };
    assert_ne!(read(), file[last]);
    assert_eq!(images.scrub(&digest).unwrap(), [1]);
    assert_eq!(import(), digest);
    assert_eq!(read(), file[last], "it is served from the file that was just imported");
    assert_eq!(images.scrub(&digest).unwrap(), [0_u32; 0]);
}
