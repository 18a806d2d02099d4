//! curl, judged by its own output, and firmware's ways of asking; with a ramdisk of several parts.

use std::io::{Read, Write};
use std::process::Command;

use pxe::files::StoreFile;

use super::Server;
use crate::boot::tests::content;
use crate::listen::straight::LONGEST;

/// A server whose ramdisk is sent in several parts, and the ramdisk.
fn with_a_ramdisk() -> (Server, Vec<u8>) {
    let server = Server::start();
    let length = u32::try_from(3 * LONGEST + 12_345).unwrap();
    let ramdisk: Vec<u8> = (0..length).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    std::fs::write(server.store.path().join(StoreFile::Ramdisk.store_name()), &ramdisk).unwrap();
    (server, ramdisk)
}

impl Server {
    /// What curl prints, and what it says about it.
    fn curl(&self, options: &[&str], paths: &[&str]) -> (Vec<u8>, String) {
        let urls = paths.iter().map(|path| format!("http://{}{path}", self.address));
        let done = Command::new("curl").args(["-sSv", "--path-as-is"]).args(options).args(urls).output();
        let done = done.expect("curl; `cargo xtask prerequisites` installs it");
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{options:?} {paths:?}: {said}");
        (done.stdout, said)
    }
}

#[test]
fn curl_gets_a_ramdisk_of_several_parts_and_any_range_of_it() {
    let (server, ramdisk) = with_a_ramdisk();
    let whole = server.curl(&[], &["/boot/initrd.img"]);
    assert!(whole.0 == ramdisk, "{} bytes: {}", whole.0.len(), whole.1);
    let table = [
        ("0-99", 0..100),
        ("-100", ramdisk.len() - 100..ramdisk.len()),
        ("1048570-1048590", 1_048_570..1_048_591),
        ("7-", 7..ramdisk.len()),
        ("2000000-999999999", 2_000_000..ramdisk.len()),
    ];
    for (range, wanted) in table {
        let (got, said) = server.curl(&["-r", range], &["/boot/initrd.img"]);
        let told = format!("Content-Range: bytes {}-{}/{}", wanted.start, wanted.end - 1, ramdisk.len());
        assert!(got == ramdisk[wanted], "{range}: {} bytes", got.len());
        assert!(said.contains("HTTP/1.1 206") && said.contains(&told), "{range}: {said}");
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("initrd.img");
    std::fs::write(&file, &ramdisk[..1_500_000]).unwrap();
    let name = file.to_str().unwrap();
    server.curl(&["--continue-at", "-", "-o", name], &["/boot/initrd.img"]);
    assert!(std::fs::read(file).unwrap() == ramdisk, "continued");
}

#[test]
fn many_files_come_over_one_connection_and_every_http_is_spoken() {
    let (server, ramdisk) = with_a_ramdisk();
    let kernel = content(StoreFile::Kernel);
    let paths = ["/boot/initrd.img", "/boot/vmlinuz", "//sb//grubx64.efi", "/boot/initrd.img"];
    let (got, said) = server.curl(&[], &paths);
    let wanted = [&ramdisk[..], &kernel, &content(StoreFile::Grub), &ramdisk].concat();
    assert!(got == wanted && said.matches("Re-using").count() == 3, "{} bytes: {said}", got.len());
    let (got, said) = server.curl(&["--http1.0"], &["/boot/initrd.img"]);
    assert!(got == ramdisk, "{said}");
    let (head, _) = server.curl(&["-I"], &["/boot/initrd.img"]);
    assert!(String::from_utf8(head).unwrap().contains(&format!("Content-Length: {}", ramdisk.len())));
}

#[test]
fn firmware_asks_for_the_head_and_then_for_the_file() {
    let (server, ramdisk) = with_a_ramdisk();
    let mut stream = server.connect();
    let ask = |method: &str| {
        format!(
            "{method} /boot/initrd.img HTTP/1.1\r\nHost: {}\r\nAccept: */*\r\nUser-Agent: UefiHttpBoot/1.0\r\n\r\n",
            server.address
        )
    };
    stream.write_all(ask("HEAD").as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut octet = [0];
        stream.read_exact(&mut octet).unwrap();
        head.extend(octet);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains(&ramdisk.len().to_string()), "{head}");
    stream.write_all(ask("GET").as_bytes()).unwrap();
    let mut answer = vec![0; head.len() + ramdisk.len()];
    stream.read_exact(&mut answer).unwrap();
    assert!(answer.ends_with(&ramdisk), "the same connection, and no octet between");
}

#[test]
fn requests_that_do_not_wait_for_answers_are_answered_in_order() {
    let (server, ramdisk) = with_a_ramdisk();
    let one = |path: &str, last: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n{last}\r\n");
    let all = [
        one("/boot/initrd.img", ""),
        one("/boot/vmlinuz", ""),
        one("/boot/initrd.img", "Connection: close\r\n"),
    ];
    let mut stream = server.connect();
    stream.write_all(all.concat().as_bytes()).unwrap();
    let mut got = Vec::new();
    stream.read_to_end(&mut got).unwrap();
    for wanted in [ramdisk.clone(), content(StoreFile::Kernel), ramdisk] {
        let body = got.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        assert!(got[body..].starts_with(&wanted), "{}", String::from_utf8_lossy(&got[..body]));
        got.drain(..body + wanted.len());
    }
    assert!(got.is_empty());
}

#[test]
fn what_the_page_cache_does_not_have_is_read_first() {
    let (server, ramdisk) = with_a_ramdisk();
    let file = std::fs::File::open(server.store.path().join(StoreFile::Ramdisk.store_name())).unwrap();
    file.sync_all().unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    assert!(server.curl(&[], &["/boot/initrd.img"]).0 == ramdisk);
}

#[test]
fn a_file_that_became_shorter_ends_the_connection_and_nothing_is_made_up() {
    let (server, part) = with_a_ramdisk();
    // Longer than what two sockets hold, so that it is not sent already.
    let ramdisk = part.repeat(24);
    let path = server.store.path().join(StoreFile::Ramdisk.store_name());
    std::fs::write(&path, &ramdisk).unwrap();
    let mut stream = server.connect();
    stream.write_all(b"GET /boot/initrd.img HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut got = vec![0; 1000];
    stream.read_exact(&mut got).unwrap();
    std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(10).unwrap();
    let _ = stream.read_to_end(&mut got);
    let body = got.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let sent = &got[body..];
    assert!(sent.len() < ramdisk.len(), "all of it was sent");
    // What was on its way when the file was cut is as it was, or zeros where the kernel emptied the pages; the answer is
    // too short for its length, so the client does not take it.
    assert!(sent.iter().zip(&ramdisk).all(|(sent, octet)| sent == octet || *sent == 0), "made up");
    assert!(server.curl(&[], &["/boot/vmlinuz"]).0 == content(StoreFile::Kernel), "and it still serves");
}
