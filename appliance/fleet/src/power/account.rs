//! How a node's power is reached: kind, address, user. The password is only here as the shell sealed it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Time;

/// What reaches a node's power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A management controller over HTTPS (DMTF DSP0266).
    Redfish,
    /// A management controller over IPMI 2.0, RMCP+.
    Ipmi,
    /// A magic packet wakes it; nothing else can be done from here.
    Wol,
    /// A person at the rack.
    Manual,
}

impl Kind {
    /// As it is written on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Redfish => "redfish",
            Kind::Ipmi => "ipmi",
            Kind::Wol => "wol",
            Kind::Manual => "manual",
        }
    }

    /// Whether it has a management controller, with an address and an account.
    pub fn has_controller(self) -> bool {
        match self {
            Kind::Redfish | Kind::Ipmi => true,
            Kind::Wol | Kind::Manual => false,
        }
    }
}

/// Why an address or a user is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// Not an address.
    #[error(
        "{0:?} is no address of a management controller: write an IP address or a host name, with :PORT if need be"
    )]
    Address(String),
    /// Not a user's name.
    #[error("{0:?} is no user name: 1 to 64 letters, digits or . _ @ - are, and the first is no -")]
    User(String),
    /// The kind needs an address and a user.
    #[error("a management controller needs an address and a user (--addr A --user U)")]
    Lacking,
    /// The kind has no use for them.
    #[error("{0} needs neither address nor user nor password: there is no management controller")]
    Surplus(&'static str),
}

/// Where a management controller is: an IP address or a host name, and a port when it is not the usual one. It goes into
/// the arguments of a program, so it never begins with `-` and has no character that means something to anybody.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    host: String,
    port: Option<u16>,
}

impl Address {
    /// The host: an IP address without brackets, or a name in lower case.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, when it is not the usual one.
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

impl FromStr for Address {
    type Err = AccountError;
    fn from_str(text: &str) -> Result<Self, AccountError> {
        let wrong = || AccountError::Address(text.chars().take(80).collect());
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self { host: ip.to_string(), port: None });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => {
                let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
                let port = digits.then(|| port.parse::<u16>().ok()).flatten().filter(|port| *port > 0);
                (host, Some(port.ok_or_else(wrong)?))
            }
            None => (text, None),
        };
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if let Some(ip) = inner {
            let ip = ip.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?;
            return Ok(Self { host: ip.to_string(), port });
        }
        let label = |label: &str| {
            let ends = [label.bytes().next(), label.bytes().last()];
            label.len() <= 63
                && ends.iter().all(|end| end.is_some_and(|end| end.is_ascii_alphanumeric()))
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let is_name = host.len() <= 253 && host.split('.').all(label);
        if is_name { Ok(Self { host: host.to_ascii_lowercase(), port }) } else { Err(wrong()) }
    }
}

impl TryFrom<String> for Address {
    type Error = AccountError;
    fn try_from(text: String) -> Result<Self, AccountError> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.to_string()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.port, self.host.contains(':')) {
            (None, _) => f.write_str(&self.host),
            (Some(port), true) => write!(f, "[{}]:{port}", self.host),
            (Some(port), false) => write!(f, "{}:{port}", self.host),
        }
    }
}

/// A user's name on a management controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct User(String);

impl User {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for User {
    type Err = AccountError;
    fn from_str(text: &str) -> Result<Self, AccountError> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte);
        let is_name = (1..=64).contains(&text.len()) && !text.starts_with('-') && text.bytes().all(fits);
        if is_name {
            Ok(Self(text.to_owned()))
        } else {
            Err(AccountError::User(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for User {
    type Error = AccountError;
    fn try_from(text: String) -> Result<Self, AccountError> {
        text.parse()
    }
}

impl From<User> for String {
    fn from(user: User) -> String {
        user.0
    }
}

/// A password as the shell sealed it, bound to the node, kind, address and user it was given for: opened for no other.
/// Nothing here can open it, and it is never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed(pub String);

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed")
    }
}

/// How a node's power is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// By what.
    pub kind: Kind,
    /// Where, with a management controller.
    pub address: Option<Address>,
    /// As whom, with a management controller.
    pub user: Option<User>,
    /// The password, sealed.
    pub sealed: Option<Sealed>,
    /// SHA-256 of its certificate, in hexadecimal digits, once it was seen: no other is spoken to.
    pub pin: Option<String>,
    /// When it was set.
    pub set: Time,
}

impl Account {
    /// Checks that what the kind needs is there, and nothing else.
    ///
    /// # Errors
    /// [`AccountError`].
    pub fn check(&self) -> Result<(), AccountError> {
        let has = [self.address.is_some(), self.user.is_some(), self.sealed.is_some()];
        if self.kind.has_controller() {
            return has.iter().all(|has| *has).then_some(()).ok_or(AccountError::Lacking);
        }
        (!has.contains(&true)).then_some(()).ok_or(AccountError::Surplus(self.kind.word()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, User};

    #[test]
    fn an_address_is_one_or_is_refused() {
        for (text, shown) in [
            ("10.0.0.5", "10.0.0.5"),
            ("10.0.0.5:8443", "10.0.0.5:8443"),
            ("fe80::1", "fe80::1"),
            ("[fe80::1]:623", "[fe80::1]:623"),
            ("BMC-n1.lab", "bmc-n1.lab"),
            ("localhost:6230", "localhost:6230"),
        ] {
            let address = text.parse::<Address>().unwrap();
            assert_eq!(address.to_string(), shown);
            assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
        }
        for text in [
            "",
            "-h",
            "--config-file=/etc/shadow",
            "a b",
            "a/b",
            "user@host",
            "host:",
            "host:0",
            "host:99999",
            "host:+1",
            "ho\nst",
            "host;reboot",
            "$(id)",
            "http://host",
            "10.0.0.5,10.0.0.6",
            "n[1-9]",
            ".",
            "a..b",
            "a-.b",
            "[::1",
            "ä.lab",
            "a_b",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
            assert!(serde_json::from_value::<Address>(text.into()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_user_is_one_or_is_refused() {
        for text in ["root", "ADMIN", "ops@lab", "a.b_c-d"] {
            assert_eq!(text.parse::<User>().unwrap().as_str(), text);
        }
        for text in ["", "-u", "a b", "a\"b", "a#b", "a\nb", "a\\b", &"x".repeat(65), "ü"] {
            assert!(text.parse::<User>().is_err(), "{text:?}");
            assert!(serde_json::from_value::<User>(text.into()).is_err(), "{text:?}");
        }
    }
}
