//! Names that boot loaders ask for, by TFTP and HTTP.

use pxe::files::{LONGEST_NAME, Resolved, StoreFile, Transport, resolve};
use pxe::tftp::{LARGEST_BLOCK, LARGEST_WINDOW, LONGEST_TIMEOUT, TftpAnswer, Transfer, decide};

use crate::Reached;
use crate::input::Input;

/// Only names of the table lead anywhere, in whatever spelling; both transports agree about them.
pub(crate) fn name(data: &[u8]) -> Reached {
    let (http, tftp) = (resolve(data, Transport::Http), resolve(data, Transport::Tftp));
    let big = matches!(http, Resolved::Static(file) if file.is_system());
    assert!(tftp == http || (big && matches!(tftp, Resolved::Refused(_))), "{http:?} and {tftp:?}");
    if matches!(http, Resolved::NotFound(_) | Resolved::Refused(_)) {
        return Reached::Refusal;
    }
    let text = std::str::from_utf8(data).expect("a name that leads somewhere is ASCII");
    assert!(text.len() <= LONGEST_NAME && text.bytes().all(|b| b.is_ascii_graphic()));
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
    assert!(parts.iter().all(|part| !part.starts_with('.')), "{text}");
    let plain = parts.join("/");
    match http {
        Resolved::Static(file) => {
            assert_eq!(plain, file.client_name());
            assert!(!file.store_name().contains('/') && !file.store_name().starts_with('.'));
        }
        Resolved::NodeGrub(mac) | Resolved::NodeScript(mac) => {
            let part = parts.get(1).copied().unwrap_or_default().to_ascii_lowercase().replace(':', "-");
            assert_eq!(part, mac.hyphens());
        }
        Resolved::GrubConfig | Resolved::Autoexec | Resolved::Join => {}
        Resolved::NotFound(_) | Resolved::Refused(_) => {}
    }
    assert_eq!(resolve(plain.as_bytes(), Transport::Http), http, "without the doubled slashes");
    Reached::Inside
}

/// Names that firmware asks for, and ways out of the folder.
pub(crate) fn name_seeds() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = StoreFile::ALL.iter().map(|file| file.client_name().into()).collect();
    let texts = [
        "/grub/grub.cfg",
        "sb//autoexec.ipxe",
        "/boot/52-54-00-ab-cd-0f/script.ipxe",
        "boot/52:54:00:AB:cd:0f/grub.cfg",
        "grub/x86_64-efi/command.lst",
        "../../etc/shadow",
        "boot/..%2f..\\vmlinuz",
    ];
    all.extend(texts.map(Into::into));
    all
}

/// A request to port 69 costs us no more than the limits, whatever it asks for.
pub(crate) fn tftp(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let (mtu, packet) = (u16::from_le_bytes(input.array()), input.rest());
    match decide(packet, mtu) {
        TftpAnswer::Silence(why) => {
            assert!(!why.to_string().is_empty());
            Reached::Refusal
        }
        TftpAnswer::Error(error) => {
            let reply = error.packet();
            assert!(reply.len() < 128 && reply.starts_with(&[0, 5, 0]) && reply.ends_with(&[0]));
            let (text, end) = (reply.get(4..).unwrap_or_default(), reply.len() - 5);
            assert_eq!(text.iter().position(|octet| *octet == 0), Some(end), "one text, to its end");
            assert!(error.name.len() <= 100 && error.to_string().bytes().all(|b| (b' '..=b'~').contains(&b)));
            Reached::Refusal
        }
        TftpAnswer::Serve { what, transfer } => {
            assert!(!matches!(what, Resolved::NotFound(_) | Resolved::Refused(_)));
            bounded(&transfer, mtu, packet);
            Reached::Inside
        }
    }
}

fn bounded(transfer: &Transfer, mtu: u16, packet: &[u8]) {
    assert!((8..=LARGEST_BLOCK).contains(&transfer.block) && (1..=LARGEST_WINDOW).contains(&transfer.window));
    assert!((1..=LONGEST_TIMEOUT).contains(&transfer.timeout));
    let Some(oack) = transfer.oack(u64::MAX) else { return };
    assert!(oack.len() < 128 && oack.starts_with(&[0, 6]) && oack.ends_with(&[0]));
    let texts = oack.get(2..oack.len() - 1).unwrap_or_default().split(|octet| *octet == 0);
    let texts: Vec<&[u8]> = texts.collect();
    assert!(texts.len().is_multiple_of(2), "names and values");
    let asked = packet.to_ascii_lowercase();
    for pair in texts.chunks(2) {
        let [name, value] = pair else { continue };
        assert!(asked.windows(name.len()).any(|window| window == *name), "an option nobody asked for");
        assert!(value.iter().all(u8::is_ascii_digit) && !value.is_empty());
    }
    // Smaller frames than any IPv4 network has make smaller blocks than any firmware bears: those are not cut.
    assert!(!asked.windows(7).any(|w| w == b"blksize") || mtu < 40 || u32::from(transfer.block) + 32 <= 1500);
}

/// What OVMF, shim and old ROMs send; a write; another mode; options beyond all limits.
pub(crate) fn tftp_seeds() -> Vec<Vec<u8>> {
    let packets: [&[u8]; 7] = [
        b"\0\x01sb/shimx64.efi\0octet\0tsize\x000\0blksize\x001468\0windowsize\x004\0",
        b"\0\x01undionly.kpxe\0octet\0",
        b"\0\x01/boot/52-54-00-ab-cd-0f/grub.cfg\0OCTET\0timeout\x003\0",
        b"\0\x01snponly.efi\0octet\0blksize\x0065464\0windowsize\x0099999999999999999999\0timeout\x00255\0",
        b"\0\x02undionly.kpxe\0octet\0",
        b"\0\x01../x\0netascii\0",
        b"\0\x04\0\x01",
    ];
    packets.map(|packet| [&1500_u16.to_le_bytes(), packet].concat()).into()
}
