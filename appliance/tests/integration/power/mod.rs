//! Management controllers: real emulators, and what the ones in use do wrong.

mod console;
mod emulators;
mod front;
mod ipmi;
mod redfish;
mod whole;

use appliance::power::Secret;
use fleet::Time;
use fleet::power::{Account, Kind};

/// An account at this port of loopback; the adapters are given the password beside it.
fn account(kind: Kind, port: u16, user: &str) -> Account {
    Account {
        kind,
        address: Some(format!("127.0.0.1:{port}").parse().unwrap()),
        user: Some(user.parse().unwrap()),
        sealed: None,
        pin: None,
        set: Time(0),
    }
}

fn secret(kind: Kind, text: &str) -> Secret {
    Secret::new(kind, text.to_owned()).unwrap()
}
