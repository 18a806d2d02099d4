//! The kernel command line: where the controller is, how it is known, and which NIC booted. Public values only.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use protocol::{CaPin, HardwareAddress};

/// The longest command line that is looked at; the kernel's own limit is 4 KiB and less.
const LENGTH_MAX: usize = 16 << 10;
const PREFIX: &str = "rackwright.";

/// What the boot script told this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// Where the controller's HTTPS listens.
    pub controller: SocketAddr,
    /// The site CA.
    pub ca: CaPin,
    /// The other one, while the site CA is changed: what was left on a disk under either is ours.
    pub also: Option<CaPin>,
    /// The NIC that booted.
    pub mac: HardwareAddress,
    /// The address it shall have, and its network's prefix length.
    pub address: Network,
    /// The router of that network, when the controller may be beyond it.
    pub gateway: Option<Ipv4Addr>,
    /// How the firmware booted.
    pub path: BootPath,
}

/// An address in its network: `192.0.2.7/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The server's address.
    pub address: Ipv4Addr,
    /// Leading bits of the network.
    pub prefix: u8,
}

impl CommandLine {
    /// Every site CA under which something may have been left on a disk here.
    pub fn sites(&self) -> Vec<CaPin> {
        [Some(self.ca), self.also].into_iter().flatten().collect()
    }

    /// The controller has said, in a session that the CA of before has vouched for, that another takes its place.
    pub fn moves_to(&mut self, ca: CaPin) {
        if ca != self.ca {
            self.also = Some(self.ca);
            self.ca = ca;
        }
    }
}

impl Network {
    /// Whether another machine in the same network can have this address.
    fn neighbour(self, other: Ipv4Addr) -> bool {
        let own = u32::from(self.address);
        let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
        let inside = u32::from(other) & mask == own & mask;
        inside && other != self.address && is_host(other)
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// How the firmware booted: the controller's word for it, handed back to it. A later controller may have words that are
/// not known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootPath(String);

impl BootPath {
    /// As the controller spells it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for BootPath {
    type Err = ();

    /// One to 32 small letters, digits and hyphens.
    fn from_str(word: &str) -> Result<Self, ()> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if (1..=32).contains(&word.len()) && word.bytes().all(plain) {
            Ok(Self(word.to_owned()))
        } else {
            Err(())
        }
    }
}

/// Why the command line does not say what is needed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandLineError {
    /// Longer than any kernel allows.
    #[error("reading the kernel command line: {0} bytes, more than {LENGTH_MAX}")]
    TooLong(usize),
    /// A value that has to be there.
    #[error("reading the kernel command line: {PREFIX}{0}= is missing")]
    Missing(&'static str),
    /// Two values: neither is believed.
    #[error("reading the kernel command line: {PREFIX}{0}= is there twice")]
    Twice(&'static str),
    /// A value that is none.
    #[error("reading the kernel command line: {PREFIX}{key}={value:?} is not {want}")]
    Malformed {
        /// Which.
        key: &'static str,
        /// What it says, shortened.
        value: String,
        /// What it should be.
        want: &'static str,
    },
}

/// Reads `/proc/cmdline`. Words that are not ours are the kernel's business, those of a later version of ours too.
///
/// # Errors
/// [`CommandLineError`]: the first of our values that is missing, doubled or malformed.
pub fn parse(text: &str) -> Result<CommandLine, CommandLineError> {
    if text.len() > LENGTH_MAX {
        return Err(CommandLineError::TooLong(text.len()));
    }
    let value = |key| one(text, key);
    let controller = value("controller")?.read("an IPv4 address and a port", |v| {
        v.parse::<SocketAddrV4>().ok().filter(|a| is_host(*a.ip()) && a.port() != 0)
    })?;
    let pin = |v: &str| v.strip_prefix("sha256:").and_then(|hex| hex.parse().ok());
    let ca = value("ca")?.read("sha256: and 64 hexadecimal digits", pin)?;
    let also = match value("ca2") {
        Err(CommandLineError::Missing(_)) => None,
        other => Some(other?.read("sha256: and 64 hexadecimal digits", pin)?),
    };
    let mac = value("mac")?.read("a hardware address", |v| v.parse().ok())?;
    let address = value("address")?.read("an IPv4 address and a prefix length", network)?;
    let gateway = match value("gateway") {
        Err(CommandLineError::Missing(_)) => None,
        other => Some(other?.read("the IPv4 address of another machine in its network", |v| {
            v.parse().ok().filter(|gateway| address.neighbour(*gateway))
        })?),
    };
    let path = value("path")?.read("a word of small letters, digits and hyphens", |v| v.parse().ok())?;
    Ok(CommandLine { controller: SocketAddr::V4(controller), ca, also, mac, address, gateway, path })
}

struct Value<'a> {
    key: &'static str,
    text: &'a str,
}

fn one<'a>(line: &'a str, key: &'static str) -> Result<Value<'a>, CommandLineError> {
    let mut found = line.split_ascii_whitespace().filter_map(|word| {
        word.strip_prefix(PREFIX).and_then(|w| w.strip_prefix(key)).and_then(|w| w.strip_prefix('='))
    });
    let text = found.next().ok_or(CommandLineError::Missing(key))?;
    if found.next().is_some() {
        return Err(CommandLineError::Twice(key));
    }
    Ok(Value { key, text })
}

impl Value<'_> {
    fn read<T>(&self, want: &'static str, parse: impl Fn(&str) -> Option<T>) -> Result<T, CommandLineError> {
        parse(self.text).ok_or_else(|| CommandLineError::Malformed {
            key: self.key,
            value: crate::text::clean(self.text, 80),
            want,
        })
    }
}

fn network(text: &str) -> Option<Network> {
    let (address, prefix) = text.split_once('/')?;
    let address = address.parse::<Ipv4Addr>().ok().filter(|a| is_host(*a))?;
    // No sign, no leading zero: `str::parse` takes `+24`.
    let prefix = prefix.parse::<u8>().ok().filter(|p| p.to_string() == prefix && (1..=31).contains(p))?;
    Some(Network { address, prefix })
}

/// An address that one machine on a network can have.
fn is_host(address: Ipv4Addr) -> bool {
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || address.is_broadcast())
}

#[cfg(test)]
mod tests {
    use super::{CommandLineError, parse};

    const CONTROLLER: &str = "rackwright.controller=10.7.0.1:8443";
    const MAC: &str = "rackwright.mac=52:54:00:AA:bb:01";
    const ADDRESS: &str = "rackwright.address=10.7.0.21/24";
    const PATH: &str = "rackwright.path=uefi-pxe";

    fn ca() -> String {
        format!("rackwright.ca=sha256:{}", "ab".repeat(32))
    }

    fn line(words: &[&str]) -> String {
        format!("BOOT_IMAGE=/boot/vmlinuz {} console=tty0 console=ttyS0,115200n8 panic=30\n", words.join(" "))
    }

    #[test]
    fn while_the_site_ca_is_changed_there_are_two() {
        let (ca, other) = (ca(), format!("rackwright.ca2=sha256:{}", "cd".repeat(32)));
        let words = [CONTROLLER, &ca, &other, MAC, ADDRESS, PATH];
        let mut got = parse(&line(&words)).unwrap();
        let [old, new] = [0xab, 0xcd].map(|byte| protocol::CaPin([byte; 32]));
        assert_eq!((got.ca, got.sites()), (old, vec![old, new]));
        got.moves_to(old);
        assert_eq!(got.sites(), [old, new], "it is there");
        got.moves_to(new);
        assert_eq!((got.ca, got.sites()), (new, vec![new, old]));
        let twice = [CONTROLLER, &ca, &other, &other, MAC, ADDRESS, PATH];
        assert_eq!(parse(&line(&twice)), Err(CommandLineError::Twice("ca2")));
        for wrong in ["rackwright.ca2=", "rackwright.ca2=sha256:cd", "rackwright.ca2=md5:cd"] {
            let malformed = parse(&line(&[CONTROLLER, &ca, wrong, MAC, ADDRESS, PATH]));
            assert!(matches!(malformed, Err(CommandLineError::Malformed { key: "ca2", .. })), "{wrong}");
        }
    }

    #[test]
    fn a_whole_line() {
        let ca = ca();
        let got =
            parse(&line(&[CONTROLLER, &ca, MAC, ADDRESS, PATH, "rackwright.later=1", "rackwright.macro"]));
        let got = got.unwrap();
        assert_eq!(got.controller.to_string(), "10.7.0.1:8443");
        assert_eq!(got.ca.0, [0xab; 32]);
        assert_eq!(got.mac.as_str(), "52:54:00:aa:bb:01");
        assert_eq!(got.address.to_string(), "10.7.0.21/24");
        assert_eq!(got.path.as_str(), "uefi-pxe");
        assert_eq!(got.gateway, None);
    }

    #[test]
    fn a_router_and_a_path_of_a_later_controller() {
        let ca = ca();
        let later = "rackwright.path=uefi-http-riscv64";
        let got =
            parse(&line(&[CONTROLLER, &ca, MAC, ADDRESS, "rackwright.gateway=10.7.0.254", later])).unwrap();
        assert_eq!(got.gateway, Some([10, 7, 0, 254].into()));
        assert_eq!(got.path.as_str(), "uefi-http-riscv64");
        let twice = [
            CONTROLLER,
            &ca,
            MAC,
            ADDRESS,
            PATH,
            "rackwright.gateway=10.7.0.1",
            "rackwright.gateway=10.7.0.2",
        ];
        assert_eq!(parse(&line(&twice)), Err(CommandLineError::Twice("gateway")));
    }

    #[test]
    fn every_value_is_needed_once() {
        let ca = ca();
        let all = [CONTROLLER, &ca, MAC, ADDRESS, PATH];
        for without in 0..all.len() {
            let words =
                all.iter().enumerate().filter(|(i, _)| *i != without).map(|(_, w)| *w).collect::<Vec<_>>();
            assert!(matches!(parse(&line(&words)), Err(CommandLineError::Missing(_))), "{words:?}");
            let twice = [&all[..], &all[without..=without]].concat();
            assert!(matches!(parse(&line(&twice)), Err(CommandLineError::Twice(_))), "{twice:?}");
        }
        assert_eq!(parse(&"x".repeat(20_000)), Err(CommandLineError::TooLong(20_000)));
        assert!(matches!(parse(""), Err(CommandLineError::Missing("controller"))));
    }

    #[test]
    fn hostile_values_are_refused_by_name() {
        let long = format!("rackwright.ca=sha256:{}", "a".repeat(4000));
        let table = [
            ("controller", "rackwright.controller="),
            ("controller", "rackwright.controller=10.7.0.1"),
            ("controller", "rackwright.controller=10.7.0.1:0"),
            ("controller", "rackwright.controller=10.7.0.1:99999"),
            ("controller", "rackwright.controller=0.0.0.0:8443"),
            ("controller", "rackwright.controller=255.255.255.255:8443"),
            ("controller", "rackwright.controller=224.0.0.1:8443"),
            ("controller", "rackwright.controller=controller.example:8443"),
            ("controller", "rackwright.controller=[::1]:8443"),
            ("controller", "rackwright.controller=10.7.0.1:8443/../x"),
            ("ca", "rackwright.ca=sha256:"),
            ("ca", "rackwright.ca=sha256:abcd"),
            ("ca", "rackwright.ca=md5:abababab"),
            ("ca", long.as_str()),
            ("mac", "rackwright.mac=52-54-00-aa-bb-01"),
            ("mac", "rackwright.mac=52:54:00:aa:bb"),
            ("mac", "rackwright.mac=52:54:00:aa:bb:gg"),
            ("mac", "rackwright.mac=$(reboot)"),
            ("address", "rackwright.address=10.7.0.21"),
            ("address", "rackwright.address=10.7.0.21/0"),
            ("address", "rackwright.address=10.7.0.21/32"),
            ("address", "rackwright.address=10.7.0.21/+24"),
            ("address", "rackwright.address=10.7.0.21/024"),
            ("address", "rackwright.address=127.0.0.1/8"),
            ("address", "rackwright.address=10.7.0.21/24;reboot"),
            ("gateway", "rackwright.gateway="),
            ("gateway", "rackwright.gateway=10.7.1.1"),
            ("gateway", "rackwright.gateway=10.7.0.21"),
            ("gateway", "rackwright.gateway=0.0.0.0"),
            ("gateway", "rackwright.gateway=10.7.0.1/24"),
            ("path", "rackwright.path="),
            ("path", "rackwright.path=abcdefghijklmnopqrstuvwxyz-0123456"),
            ("path", "rackwright.path=UEFI-PXE"),
            ("path", "rackwright.path=../../etc"),
        ];
        for (key, word) in table {
            let ca = ca();
            let mut words = vec![CONTROLLER, &ca, MAC, ADDRESS, PATH];
            words.retain(|w| !w.starts_with(&format!("rackwright.{key}=")));
            words.push(word);
            match parse(&line(&words)) {
                Err(CommandLineError::Malformed { key: named, value, .. }) => {
                    assert_eq!(named, key, "{word}");
                    assert!(value.len() <= 80, "{word}");
                }
                other => panic!("{word}: {other:?}"),
            }
        }
    }
}
