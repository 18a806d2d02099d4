//! Spellings that try to reach what is not ours.

use pxe::files::{NotFound, Refused, Resolved, Transport, resolve};

/// (spelling, why it is refused).
const HOSTILE: &[(&[u8], Refused)] = &[
    (b"", Refused::Empty),
    (b"/", Refused::Empty),
    (b"//////", Refused::Empty),
    (b".", Refused::Dots),
    (b"..", Refused::Dots),
    (b"../", Refused::Folder),
    (b"./sb/shimx64.efi", Refused::Dots),
    (b"/./sb/shimx64.efi", Refused::Dots),
    (b"sb/./shimx64.efi", Refused::Dots),
    (b"sb/../sb/shimx64.efi", Refused::Dots),
    (b"../../etc/shadow", Refused::Dots),
    (b"/../../etc/shadow", Refused::Dots),
    (b"//..//..//etc//shadow", Refused::Dots),
    (b"sb/../../etc/shadow", Refused::Dots),
    (b"boot/../../state.db", Refused::Dots),
    (b"/boot/52-54-00-ab-cd-05/../../ca/ca.key", Refused::Dots),
    (b".../...//etc/passwd", Refused::Dots),
    (b"....//....//etc/passwd", Refused::Dots),
    (b".hidden", Refused::Dots),
    (b"sb/.grubx64.efi", Refused::Dots),
    (b"..\\..\\windows\\win.ini", Refused::Octet(b'\\')),
    (b"\\sb\\shimx64.efi", Refused::Octet(b'\\')),
    (b"sb\\shimx64.efi", Refused::Octet(b'\\')),
    (b"\\\\server\\share\\file", Refused::Octet(b'\\')),
    (b"C:\\boot.ini", Refused::Octet(b'\\')),
    (b"C:/boot.ini", Refused::Octet(b':')),
    (b"c:", Refused::Octet(b':')),
    (b"file:///etc/passwd", Refused::Octet(b':')),
    (b"http://10.77.0.1/boot/vmlinuz", Refused::Octet(b':')),
    (b"sb/shimx64.efi:stream", Refused::Octet(b':')),
    (b"/boot/52:54:00:ab:cd/grub.cfg", Refused::Octet(b':')),
    (b"/boot/ff:ff:ff:ff:ff:ff/grub.cfg", Refused::Octet(b':')),
    (b"/boot/00:00:00:00:00:00/grub.cfg", Refused::Octet(b':')),
    (b"/boot/52:54:00:ab:cd-05/grub.cfg", Refused::Octet(b':')),
    (b"%2e%2e/%2e%2e/etc/shadow", Refused::Octet(b'%')),
    (b"%2E%2E%2Fetc%2Fshadow", Refused::Octet(b'%')),
    (b"..%2f..%2fetc", Refused::Octet(b'%')),
    (b"%252e%252e/etc", Refused::Octet(b'%')),
    (b"sb/shimx64%2eefi", Refused::Octet(b'%')),
    (b"sb%2fshimx64.efi", Refused::Octet(b'%')),
    (b"%00", Refused::Octet(b'%')),
    (b"sb/shimx64.efi%00.txt", Refused::Octet(b'%')),
    (b"%c0%ae%c0%ae/etc", Refused::Octet(b'%')),
    (b"sb/shimx64.efi\0", Refused::Octet(0)),
    (b"sb/shimx64.efi\0/../../etc/shadow", Refused::Octet(0)),
    (b"\0", Refused::Octet(0)),
    (b"\xc0\xae\xc0\xae/etc", Refused::Octet(0xc0)),
    (b"\xff\xfe", Refused::Octet(0xff)),
    (b"sb/shimx64.efi\xff", Refused::Octet(0xff)),
    ("sb/shimx64．efi".as_bytes(), Refused::Octet(0xef)),
    ("‥/etc/shadow".as_bytes(), Refused::Octet(0xe2)),
    ("sb∕shimx64.efi".as_bytes(), Refused::Octet(0xe2)),
    (b"sb/shimx64.efi ", Refused::Octet(b' ')),
    (b" sb/shimx64.efi", Refused::Octet(b' ')),
    (b"sb/shimx64.efi\n", Refused::Octet(b'\n')),
    (b"sb/shimx64.efi\r\nSet-Cookie", Refused::Octet(b'\r')),
    (b"sb/\tshimx64.efi", Refused::Octet(b'\t')),
    (b"\x1b[2J", Refused::Octet(0x1b)),
    (b"\x7f", Refused::Octet(0x7f)),
    (b"sb/*.efi", Refused::Octet(b'*')),
    (b"sb/shimx64.ef?", Refused::Octet(b'?')),
    (b"boot/vmlinuz?x=1", Refused::Octet(b'?')),
    (b"boot/vmlinuz#x", Refused::Octet(b'#')),
    (b"~root/.ssh/id_ed25519", Refused::Octet(b'~')),
    (b"$HOME/x", Refused::Octet(b'$')),
    (b"`id`", Refused::Octet(b'`')),
    (b"a;reboot", Refused::Octet(b';')),
    (b"a|b", Refused::Octet(b'|')),
    (b"(http,10.0.0.1)/x", Refused::Octet(b'(')),
    (b"sb/", Refused::Folder),
    (b"sb/shimx64.efi/", Refused::Folder),
    (b"boot//", Refused::Folder),
    (b"/boot/52-54-00-ab-cd-05/", Refused::Folder),
    (&[b'a'; 201], Refused::TooLong),
    (&[b'/'; 4096], Refused::TooLong),
    (&[b'.'; 65_000], Refused::TooLong),
];

/// Well-formed, and nothing of ours.
const ABSENT: &[&str] = &[
    "etc/shadow",
    "/etc/shadow",
    "proc/self/environ",
    "shimx64.efi",
    "grubx64.efi",
    "vmlinuz",
    "initrd.img",
    "versions.json",
    "boot",
    "sb",
    "grub",
    "grub.cfg",
    "SB/SHIMX64.EFI",
    "sb/Shimx64.efi",
    "sb/shimx64.efi.bak",
    "sb/shimx64.efi..",
    "x/sb/shimx64.efi",
    "sb/x/shimx64.efi",
    "sb/grubnetx64.efi",
    "boot/grub.cfg",
    "boot/script.ipxe",
    "boot/525400abcd05/script.ipxe",
    "boot/5254.00ab.cd05/script.ipxe",
    "boot/52-54-00-ab-cd/script.ipxe",
    "boot/52-54-00-ab-cd-0g/script.ipxe",
    "boot/01-00-5e-00-00-01/script.ipxe",
    "boot/00-00-00-00-00-00/grub.cfg",
    "boot/52-54-00-ab-cd-05/state.db",
    "boot/52-54-00-ab-cd-05/x/grub.cfg",
    "x/boot/52-54-00-ab-cd-05/grub.cfg",
    "52-54-00-ab-cd-05/grub.cfg",
    "state.db",
    "ca/ca.key",
    "-",
    "_",
    "a..b",
];

#[test]
fn hostile_spellings_are_refused_in_both_transports() {
    assert!(HOSTILE.len() >= 60);
    for (name, why) in HOSTILE {
        for transport in [Transport::Tftp, Transport::Http] {
            let shown = String::from_utf8_lossy(name);
            assert_eq!(resolve(name, transport), Resolved::Refused(*why), "{shown:?}");
        }
    }
}

#[test]
fn names_of_nothing_are_not_found() {
    for name in ABSENT {
        for transport in [Transport::Tftp, Transport::Http] {
            let missing = Resolved::NotFound(NotFound::Unknown);
            assert_eq!(resolve(name.as_bytes(), transport), missing, "{name:?}");
        }
    }
}
