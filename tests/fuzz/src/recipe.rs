//! What images are built from: recipes, archives, programs, lists of packages.

use std::io::Cursor;

use image_build::archive::{parse_simulation, parse_status};
use image_build::cpio::{Entry, Tree};
use image_build::elf::{Linkage, linkage};
use image_build::layout::{BIOS, SECTOR};
use image_build::modules::Index;
use image_build::recipe::{Controller, Node, Ramdisk, Release};
use image_build::{grub, mirror, tarball};

use crate::Reached;
use crate::input::{Input, block};

/// A recipe is one of four kinds, or refused.
pub(crate) fn recipe(data: &[u8]) -> Reached {
    let text = String::from_utf8_lossy(data);
    let release = toml::from_str::<Release>(&text).is_ok();
    let ramdisk = toml::from_str::<Ramdisk>(&text).is_ok();
    let node = toml::from_str::<Node>(&text).is_ok();
    let controller = toml::from_str::<Controller>(&text).is_ok();
    let kinds = [release, ramdisk, node, controller].into_iter().filter(|is| *is).count();
    assert!(kinds <= 1, "one text, several recipes");
    Reached::when(kinds == 1)
}

/// The shipped recipes, and one that is nested beyond reason.
pub(crate) fn recipe_seeds() -> Vec<Vec<u8>> {
    let shipped: [&str; 4] = [
        include_str!("../../../image-build/recipes/release.toml"),
        include_str!("../../../image-build/recipes/ramdisk.toml"),
        include_str!("../../../image-build/recipes/node.toml"),
        include_str!("../../../image-build/recipes/controller.toml"),
    ];
    let deep = format!("packages = {}", "[".repeat(3000));
    shipped.into_iter().chain([deep.as_str()]).map(Into::into).collect()
}

/// A ramdisk's archive holds what was put in, read by a reader that is not ours to build with.
pub(crate) fn ramdisk(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let mut tree = Tree::default();
    while !input.is_empty() && tree.len() < 64 {
        let (kind, path) = (input.byte() % 4, input.text().into_owned());
        let entry = match kind {
            0 => Entry::Folder,
            1 => Entry::File { mode: input.u32(), content: input.block().to_vec() },
            2 => Entry::Link(input.text().into_owned()),
            _ => Entry::Device { major: input.u32(), minor: input.u32() },
        };
        let taken = tree.put(&path, entry).is_ok();
        let parts = || path.split('/');
        let sound = parts().all(|part| !matches!(part, "" | "." | "..") && !part.contains('\0'));
        assert_eq!(taken, sound && parts().next() != Some(END), "{path:?}");
    }
    let archive = tree.encode(7).expect("small files fit");
    let names = names(&archive).expect("an archive of ours can be read");
    assert_eq!(names.len(), tree.len());
    assert!(names.windows(2).all(|pair| pair.first() < pair.last()), "sorted, none twice");
    Reached::when(!tree.is_empty())
}

/// The name of the entry that ends an archive.
const END: &str = "TRAILER!!!";

/// The names of a "newc" archive, by the header's own lengths.
fn names(mut archive: &[u8]) -> Option<Vec<String>> {
    let mut found = Vec::new();
    let padded = |length: usize| length.next_multiple_of(4);
    loop {
        let header = archive.get(..110).filter(|header| header.starts_with(b"070701"))?;
        let field = |number: usize| {
            let digits = header.get(6 + 8 * number..14 + 8 * number)?;
            usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
        };
        let (size, length) = (field(6)?, field(11)?);
        let name = archive.get(110..110 + length)?.strip_suffix(b"\0")?;
        if name == END.as_bytes() {
            return Some(found);
        }
        found.push(String::from_utf8(name.to_vec()).ok()?);
        archive = archive.get(padded(110 + length) + padded(size)..)?;
    }
}

/// A tree with one of each, paths that leave it, a file where a folder was.
pub(crate) fn ramdisk_seeds() -> Vec<Vec<u8>> {
    let file = |path: &str| [vec![1], block(path), 0o755_u32.to_le_bytes().to_vec(), block("hello")].concat();
    let link = [vec![2], block("bin"), block("usr/bin")].concat();
    let device = [vec![3], block("dev/console"), vec![5, 0, 0, 0, 1, 0, 0, 0]].concat();
    vec![
        [file("usr/bin/x"), link, device, [vec![0], block("etc")].concat()].concat(),
        [file("a"), file("a/b"), file("etc/TRAILER!!!")].concat(),
        [file("a/../b"), file("/etc/passwd"), file("a//b"), file("")].concat(),
    ]
}

/// An archive is counted or refused; what is counted was there.
pub(crate) fn tar(data: &[u8]) -> Reached {
    let Ok(content) = tarball::measure(Cursor::new(data)) else { return Reached::Refusal };
    let most = u64::try_from(data.len() / 512).unwrap_or(u64::MAX);
    assert!(content.entries <= most, "more entries than headers fit");
    assert!(content.blocks <= most, "more content than there is");
    Reached::when(content.entries > 0)
}

/// Folders, files and long names; GNU's large sizes; a size without end.
pub(crate) fn tar_seeds() -> Vec<Vec<u8>> {
    let entry = |kind: u8, size: &[u8], content: usize| {
        let mut bytes = vec![0; 512 + content.div_ceil(512) * 512];
        bytes.splice(..1, [b'n']);
        bytes.splice(124..124 + size.len(), size.iter().copied());
        bytes.splice(156..157, [kind]);
        bytes
    };
    let end = vec![0; 1024];
    let good = [entry(b'5', b"00000000000\0", 0), entry(b'L', b"00000000200\0", 128)].concat();
    let large = entry(b'0', &[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0], 512);
    let wild = entry(b'0', &[0x80, 0, 0, 0, 0, 3, 255, 255, 255, 255, 255, 255], 0);
    vec![
        [good.clone(), entry(b'0', b"00000001001\0", 513), end.clone()].concat(),
        [good, large, end.clone()].concat(),
        [wild, end].concat(),
    ]
}

/// A program's headers, and GRUB's pieces.
pub(crate) fn program(data: &[u8]) -> Reached {
    if let Ok(code) = grub::boot(data, BIOS) {
        assert_eq!(code.len(), 440);
        assert_eq!(code.get(0x5c..0x64), Some((BIOS.offset() / SECTOR).to_le_bytes().as_slice()));
    }
    if let Ok(core) = grub::core(data.to_vec(), BIOS) {
        assert!(u64::try_from(core.len()).is_ok_and(|length| length <= BIOS.bytes()));
    }
    Reached::when(linkage(data) != Linkage::NotAProgram)
}

/// A static and a dynamic program, a boot sector, a table beyond the file.
pub(crate) fn program_seeds() -> Vec<Vec<u8>> {
    let program = |kind: u8, table: u64| {
        let mut file = vec![0; 120];
        file.splice(..6, *b"\x7fELF\x02\x01");
        file.splice(18..19, [62]);
        file.splice(32..40, table.to_le_bytes());
        file.splice(54..57, [56, 0, 1]);
        file.splice(64..65, [kind]);
        file
    };
    let mut sector = vec![0; 512];
    sector.splice(510.., [0x55, 0xaa]);
    vec![program(1, 64), program(3, 64), program(1, u64::MAX), sector]
}

/// Lists that apt, dpkg and depmod write.
pub(crate) fn packages(data: &[u8]) -> Reached {
    let text = String::from_utf8_lossy(data);
    let (installed, planned) = (parse_status(&text), parse_simulation(&text));
    for list in [&installed, &planned] {
        assert!(list.is_sorted());
        assert!(list.iter().all(|package| !package.name.contains('\n') && !package.version.contains('\n')));
    }
    let proxies = mirror::proxies(&text);
    assert!(proxies.iter().all(|(_, value)| value.contains("://")));
    let mirrors = mirror::fuzzing(&text);
    let index = Index::parse(&text, &text, &text);
    let wanted: Vec<String> = text.split_whitespace().take(8).map(str::to_owned).collect();
    let chosen = index.select(&wanted, &[]).is_ok_and(|chosen| !chosen.is_empty());
    let found = mirrors.iter().any(Option::is_some) || !proxies.is_empty() || chosen;
    Reached::when(found || !installed.is_empty() || !planned.is_empty())
}

/// One of each.
pub(crate) fn packages_seeds() -> Vec<Vec<u8>> {
    let texts = [
        "Package: b\nVersion: 2:1\nDescription: c\n\nPackage: a\nVersion: 1\n",
        "Inst tar (1.35 Debian:13.1/stable [amd64]) []\nInst acl [2.2] (1:2.3-1 Debian) [x]\nInst b (\n",
        "deb [signed-by=/k] http://a.test/d/ trixie main # c\ndeb http://a.test/s trixie-security main\n",
        "Types: deb deb-src\nURIs: http://a.test/debian\nSuites: bookworm\nComponents: main\n contrib\n",
        "Acquire::http::Proxy \"http://p.test:3142\";\nAcquire::https::Proxy \"DIRECT\";\n",
        "kernel/net/a.ko.xz: kernel/lib/b.ko.xz\nkernel/lib/b.ko.xz: kernel/net/a.ko.xz\nsoftdep a pre: b\n",
    ];
    texts.map(Into::into).into()
}
