//! A tree as the kernel shows a server's firmware, and boot entries that are none.

use std::fs;
use std::path::Path;

use super::{CRASH, GLOBAL, PSTORE, VARIABLES, forget, number, partition_of};

const UUID: &str = "04030201-0605-0807-090a-0b0c0d0e0f10";

fn node(kind: u8, sub: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + body.len()).unwrap().to_le_bytes();
    [&[kind, sub], &length[..], body].concat()
}

/// A hard drive node: partition 1, its first sector and length, the GUID 01 02 … 10, GPT.
fn drive() -> Vec<u8> {
    let mut body = vec![0; 38];
    body[0] = 1;
    (1..=16).for_each(|byte: u8| body[19 + usize::from(byte)] = byte);
    (body[36], body[37]) = (2, 2);
    node(4, 1, &body)
}

fn option(nodes: &[Vec<u8>]) -> Vec<u8> {
    let path = nodes.concat();
    let length = u16::try_from(path.len()).unwrap().to_le_bytes();
    [&[1, 0, 0, 0], &length[..], b"d\0e\0b\0\0\0", &path, b"and what belongs to the loader"].concat()
}

fn file(name: &str) -> Vec<u8> {
    node(4, 4, name.as_bytes())
}

fn end() -> Vec<u8> {
    node(0x7f, 0xff, &[])
}

#[test]
fn an_entry_leads_to_a_partition_or_elsewhere() {
    let network = node(3, 11, &[0; 33]);
    let mut mbr = drive();
    mbr[41] = 1;
    let table = [
        (option(&[drive(), file("shim"), end()]), Some(UUID)),
        (option(&[node(1, 1, &[0, 0]), drive(), end()]), Some(UUID)),
        (option(&[network, end()]), None),
        (option(&[mbr, end()]), None),
        // Behind its end there is no path any more.
        (option(&[end(), drive()]), None),
        (option(&[]), None),
    ];
    for (at, (option, want)) in table.iter().enumerate() {
        assert_eq!(partition_of(option).as_deref(), *want, "{at}");
    }
}

#[test]
fn what_is_no_entry_leads_nowhere() {
    let good = option(&[drive(), file("shim"), end()]);
    for length in 0..good.len() {
        let told = partition_of(&good[..length]);
        assert!(told.is_none() || told.as_deref() == Some(UUID), "{length}: {told:?}");
    }
    let endless = option(&[vec![4, 4, 0, 0], vec![4, 4, 0, 0], vec![0xff; 64]]);
    let unnamed = [&[1, 0, 0, 0, 8, 0][..], &[b'x'; 63]].concat();
    let short_node = option(&[node(4, 1, &[0; 8])]);
    for hostile in [endless, unnamed, short_node, vec![0xff; 500], vec![0; 500]] {
        assert_eq!(partition_of(&hostile), None, "{hostile:?}");
    }
}

#[test]
fn only_a_boot_entry_has_a_number() {
    let name = |stem: &str| format!("{stem}{GLOBAL}");
    assert_eq!(number(&name("Boot00aF")), Some(0xaf));
    for stem in ["BootOrder", "BootNext", "Boot+0aF", "Boot00a", "Boot000aF", "boot0001", "Boot"] {
        assert_eq!(number(&name(stem)), None, "{stem}");
    }
    assert_eq!(number(&format!("Boot0001{CRASH}")), None);
}

fn put(root: &Path, name: &str, value: &[u8]) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, value).unwrap();
}

fn names(root: &Path, folder: &str) -> Vec<String> {
    let mut names = fs::read_dir(root.join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect::<Vec<_>>();
    names.sort();
    names
}

#[test]
fn crashes_and_ways_to_a_partition_are_forgotten_and_nothing_else() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path();
    let variable = |stem: &str| format!("{VARIABLES}/{stem}{GLOBAL}");
    let value = |bytes: &[u8]| [&[7, 0, 0, 0], bytes].concat();
    put(root, &format!("{PSTORE}/dmesg-erst-1"), b"secret");
    put(root, &format!("{VARIABLES}/dump-type0-1-1-1700000000-C{CRASH}"), b"secret");
    put(root, &variable("Boot0001"), &value(&option(&[drive(), end()])));
    put(root, &variable("Boot0002"), &value(&option(&[node(3, 11, &[0; 33]), end()])));
    put(root, &variable("BootOrder"), &value(&[1, 0, 2, 0, 3, 0]));
    put(root, &variable("SecureBoot"), &value(&[1]));
    let gone = forget(root, &[]).unwrap();
    assert_eq!(gone.len(), 3, "{gone:?}");
    assert_eq!(names(root, PSTORE), [""; 0]);
    let left = ["Boot0002", "BootOrder", "SecureBoot"].map(|stem| format!("{stem}{GLOBAL}"));
    assert_eq!(names(root, VARIABLES), left);
    let order = fs::read(root.join(variable("BootOrder"))).unwrap();
    // A file keeps its end where a variable would not.
    assert_eq!(order[..8], value(&[2, 0, 3, 0]));
    assert_eq!(forget(root, &[]).unwrap(), [""; 0], "there is nothing left to be forgotten");
}

#[test]
fn what_does_not_go_is_named() {
    let temp = tempfile::tempdir().unwrap();
    let stays = temp.path().join(PSTORE).join("dmesg-1");
    fs::create_dir_all(&stays).unwrap();
    let error = forget(temp.path(), &[]).unwrap_err();
    assert!(error.to_string().contains("dmesg-1") && error.to_string().contains("setup"), "{error}");
    assert_eq!(forget(&temp.path().join("no"), &[]).unwrap(), [""; 0], "a server with neither has nothing");
}
