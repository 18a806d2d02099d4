//! What a switch says of itself (LLDP, IEEE 802.1AB): read strictly, bounded, from a frame that anybody on the wire may have sent.
//!
//! A data unit is a list of {type: 7 bits, length: 9 bits, value}. Chassis, port and time to live come first, in this order; the end is
//! an empty value of type 0, or the end of the frame. What is not known is passed over.

use serde::{Deserialize, Serialize};

/// The EtherType.
pub const LLDP_ETHERTYPE: u16 = 0x88cc;
/// A data unit fits into one frame; jumbo ones are not sent.
pub const LLDP_BYTES_MAX: usize = 1500;

const END: u8 = 0;
const CHASSIS: u8 = 1;
const PORT: u8 = 2;
const TTL: u8 = 3;
const PORT_DESCRIPTION: u8 = 4;
const SYSTEM_NAME: u8 = 5;
const ORGANISATION: u8 = 127;
/// IEEE 802.1, subtype 1: the VLAN of what comes without a tag.
const PORT_VLAN: [u8; 4] = [0x00, 0x80, 0xc2, 1];
/// No standard identifier is longer.
const ID_BYTES_MAX: usize = 255;

/// A device at the other end of a cable, by its own word.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Neighbour {
    /// The switch: usually its hardware address.
    pub chassis: String,
    /// The port of it.
    pub port: String,
    /// What the port is called by people.
    #[serde(default)]
    pub port_description: String,
    /// What the switch is called.
    #[serde(default)]
    pub system: String,
    /// The VLAN of what comes without a tag, where the switch says so.
    #[serde(default)]
    pub vlan: Option<u16>,
}

impl Neighbour {
    pub(crate) fn texts(&self) -> [&String; 4] {
        [&self.chassis, &self.port, &self.port_description, &self.system]
    }
}

/// Why a frame is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LldpError {
    /// Longer than a frame.
    #[error("it is longer than {LLDP_BYTES_MAX} bytes")]
    TooLong,
    /// A value ends after the frame.
    #[error("it ends in the middle of a value")]
    Cut,
    /// Chassis, port and time to live do not begin it.
    #[error("it does not begin with chassis, port and time to live")]
    Order,
    /// One that may be there once is there twice.
    #[error("it has two values of type {0}")]
    Twice(u8),
    /// An identifier is empty or too long.
    #[error("an identifier of {0} bytes is none")]
    Identifier(usize),
    /// A value is not as long as its type has it.
    #[error("a value of type {0} is not as long as it must be")]
    Length(u8),
}

/// What a data unit says, and for how many seconds. 0 seconds: the sender is about to leave, and counts no more.
///
/// # Errors
/// [`LldpError`]: nothing of it is believed.
pub fn read_lldp(unit: &[u8]) -> Result<(Neighbour, u16), LldpError> {
    if unit.len() > LLDP_BYTES_MAX {
        return Err(LldpError::TooLong);
    }
    let mut rest = unit;
    let chassis = identifier(expect(&mut rest, CHASSIS)?, 4, 5)?;
    let port = identifier(expect(&mut rest, PORT)?, 3, 4)?;
    let ttl = expect(&mut rest, TTL)?;
    let (ttl, _) = ttl.split_first_chunk::<2>().ok_or(LldpError::Length(TTL))?;
    let mut neighbour = Neighbour { chassis, port, ..Neighbour::default() };
    let (mut has_description, mut has_name) = (false, false);
    while let Some((kind, value)) = next(&mut rest)? {
        match kind {
            END => break,
            CHASSIS | PORT | TTL => return Err(LldpError::Twice(kind)),
            PORT_DESCRIPTION => {
                once(&mut has_description, kind).map(|()| neighbour.port_description = text(value))?
            }
            SYSTEM_NAME => once(&mut has_name, kind).map(|()| neighbour.system = text(value))?,
            ORGANISATION => neighbour.vlan = port_vlan(value)?.or(neighbour.vlan),
            _ => {}
        }
    }
    Ok((neighbour, u16::from_be_bytes(*ttl)))
}

/// The next value, which must be of this type.
fn expect<'a>(rest: &mut &'a [u8], wanted: u8) -> Result<&'a [u8], LldpError> {
    let (kind, value) = next(rest)?.ok_or(LldpError::Order)?;
    if kind == wanted { Ok(value) } else { Err(LldpError::Order) }
}

fn next<'a>(rest: &mut &'a [u8]) -> Result<Option<(u8, &'a [u8])>, LldpError> {
    if rest.is_empty() {
        return Ok(None);
    }
    let (head, after) = rest.split_first_chunk::<2>().ok_or(LldpError::Cut)?;
    let head = u16::from_be_bytes(*head);
    let (value, after) = after.split_at_checked(usize::from(head & 0x1ff)).ok_or(LldpError::Cut)?;
    *rest = after;
    Ok(Some((u8::try_from(head >> 9).unwrap_or(ORGANISATION), value)))
}

fn once(seen: &mut bool, kind: u8) -> Result<(), LldpError> {
    if std::mem::replace(seen, true) { Err(LldpError::Twice(kind)) } else { Ok(()) }
}

/// An identifier as people write it: hardware and network addresses as such, all else as text.
fn identifier(value: &[u8], hardware: u8, network: u8) -> Result<String, LldpError> {
    let (kind, id) = value.split_first().ok_or(LldpError::Identifier(0))?;
    if id.is_empty() || id.len() > ID_BYTES_MAX {
        return Err(LldpError::Identifier(id.len()));
    }
    let hexadecimal =
        |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":");
    Ok(match id {
        six if *kind == hardware && six.len() == 6 => hexadecimal(six),
        // Address family 1 is IPv4.
        [1, a, b, c, d] if *kind == network => std::net::Ipv4Addr::new(*a, *b, *c, *d).to_string(),
        other if *kind == network || *kind == hardware => hexadecimal(other),
        other => text(other),
    })
}

fn port_vlan(value: &[u8]) -> Result<Option<u16>, LldpError> {
    let Some((head, vlan)) = value.split_first_chunk::<4>() else {
        return Err(LldpError::Length(ORGANISATION));
    };
    if *head != PORT_VLAN {
        return Ok(None);
    }
    let vlan = vlan.try_into().map(u16::from_be_bytes).map_err(|_| LldpError::Length(ORGANISATION))?;
    // 0: the port has none, or does not tell.
    Ok(Some(vlan).filter(|vlan| (1..4095).contains(vlan)))
}

/// One clean line: a switch's text goes to people's terminals.
fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let clean = text.chars().map(|letter| if is_harmless(letter) { letter } else { ' ' });
    let mut line = clean.collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ");
    line.truncate(line.floor_char_boundary(ID_BYTES_MAX));
    line
}

/// No control character, and none that turns the direction of writing or can't be seen.
fn is_harmless(letter: char) -> bool {
    let hidden = ['\u{200b}'..='\u{200f}', '\u{2028}'..='\u{202e}', '\u{2060}'..='\u{206f}'];
    !letter.is_control() && letter != '\u{feff}' && !hidden.iter().any(|range| range.contains(&letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
        let head = (u16::from(kind) << 9) | u16::try_from(value.len()).unwrap();
        [&head.to_be_bytes()[..], value].concat()
    }

    fn unit(rest: &[Vec<u8>]) -> Vec<u8> {
        let begin = [
            tlv(CHASSIS, &[4, 0x02, 0, 0, 0, 0, 0x0a]),
            tlv(PORT, b"\x05ge-0/0/7"),
            tlv(TTL, &120_u16.to_be_bytes()),
        ];
        [begin.concat(), rest.concat()].concat()
    }

    #[test]
    fn what_a_switch_says_is_read() {
        let unit = unit(&[
            tlv(PORT_DESCRIPTION, b"rack 3, n7"),
            tlv(SYSTEM_NAME, "機櫃-1".as_bytes()),
            tlv(7, &[0; 4]),
            tlv(ORGANISATION, &[0x00, 0x80, 0xc2, 1, 0, 100]),
            tlv(ORGANISATION, &[0x00, 0x12, 0x0f, 1, 3, 0, 1, 0, 30]),
            tlv(END, &[]),
            vec![0; 20],
        ]);
        let (neighbour, ttl) = read_lldp(&unit).unwrap();
        let wanted = Neighbour {
            chassis: "02:00:00:00:00:0a".to_owned(),
            port: "ge-0/0/7".to_owned(),
            port_description: "rack 3, n7".to_owned(),
            system: "機櫃-1".to_owned(),
            vlan: Some(100),
        };
        assert_eq!((neighbour, ttl), (wanted, 120));
    }

    #[test]
    fn identifiers_are_written_as_people_write_them() {
        for (kind, value, wanted) in [
            (CHASSIS, &b"\x07core-1"[..], "core-1"),
            (CHASSIS, &[5, 1, 10, 0, 0, 1], "10.0.0.1"),
            (CHASSIS, &[5, 2, 1, 2], "02:01:02"),
            (CHASSIS, &[4, 1, 2], "01:02"),
        ] {
            assert_eq!(identifier(value, 4, 5).unwrap(), wanted, "{kind}");
        }
        assert_eq!(identifier(&[3, 2, 0, 0, 0, 0, 1], 3, 4).unwrap(), "02:00:00:00:00:01");
    }

    #[test]
    fn hostile_units_are_refused_and_never_shown_raw() {
        let cut = unit(&[]);
        for length in 0..cut.len() {
            assert!(read_lldp(&cut[..length]).is_err(), "{length} bytes");
        }
        let long = vec![b'x'; 300];
        let table = [
            ("longer than a frame", unit(&[vec![0; LLDP_BYTES_MAX]]), LldpError::TooLong),
            ("no chassis first", tlv(PORT, b"\x051"), LldpError::Order),
            ("only the end", tlv(END, &[]), LldpError::Order),
            ("two chassis", unit(&[tlv(CHASSIS, b"\x07a")]), LldpError::Twice(CHASSIS)),
            (
                "two names",
                unit(&[tlv(SYSTEM_NAME, b"a"), tlv(SYSTEM_NAME, b"b")]),
                LldpError::Twice(SYSTEM_NAME),
            ),
            ("an empty identifier", tlv(CHASSIS, &[4]), LldpError::Identifier(0)),
            ("no identifier", tlv(CHASSIS, &[]), LldpError::Identifier(0)),
            ("a long identifier", tlv(CHASSIS, &[&[7][..], &long].concat()), LldpError::Identifier(300)),
            (
                "a short time to live",
                [tlv(CHASSIS, b"\x07a"), tlv(PORT, b"\x05b"), tlv(TTL, &[1])].concat(),
                LldpError::Length(TTL),
            ),
            ("a short organisation", unit(&[tlv(ORGANISATION, &[0, 0x80])]), LldpError::Length(ORGANISATION)),
            (
                "a short VLAN",
                unit(&[tlv(ORGANISATION, &[0, 0x80, 0xc2, 1, 5])]),
                LldpError::Length(ORGANISATION),
            ),
            ("one byte behind", unit(&[vec![2]]), LldpError::Cut),
            ("a value behind the end of the frame", unit(&[vec![0x0b, 0xff, 1]]), LldpError::Cut),
        ];
        for (what, unit, wanted) in table {
            assert_eq!(read_lldp(&unit), Err(wanted), "{what}");
        }
        let evil = unit(&[tlv(SYSTEM_NAME, b"\x1b[2Jsw\r\n\xff\xe2\x80\xae1\x00")]);
        let system = read_lldp(&evil).unwrap().0.system;
        assert_eq!(system, "[2Jsw \u{fffd} 1");
        let most = unit(&[tlv(SYSTEM_NAME, &[0xff; 511])]);
        assert!(read_lldp(&most).is_ok_and(|(seen, _)| seen.system.len() <= ID_BYTES_MAX));
        assert_eq!(read_lldp(&unit(&[tlv(ORGANISATION, &[0, 0x80, 0xc2, 1, 0, 0])])).unwrap().0.vlan, None);
    }
}
