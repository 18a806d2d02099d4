//! Power: what is known, what is wanted, and how it is reached. A password comes in here and never goes out again.

use fleet::power::{Account, Act, Address, Device, Kind, PowerEvent, User, Wish};
use fleet::view;
use fleet::{Event, Reply};
use protocol::NodeId;
use serde::Deserialize;

use super::{Answer, Api, ApiError, one, read};
use crate::power::{Secret, Vault};
use crate::writer::{World, now};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    wish: Word,
    device: Option<Device>,
    #[serde(default)]
    hard: bool,
    confirm: Option<String>,
    #[serde(default)]
    force: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Word {
    On,
    Off,
    Cycle,
    Boot,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    kind: Kind,
    address: Option<String>,
    user: Option<String>,
    password: Option<String>,
    fingerprint: Option<String>,
}

/// What is asked for, of what was sent.
fn wish(Wanted { wish, device, hard, confirm, force }: Wanted) -> Result<PowerEvent, ApiError> {
    let wish = match (wish, device, hard) {
        (Word::On, None, false) => Wish::On,
        (Word::Off, None, hard) => Wish::Off { hard },
        (Word::Cycle, None, false) => Wish::Cycle,
        (Word::Boot, Some(device), false) => Wish::Boot { device },
        (Word::On | Word::Cycle | Word::Boot | Word::Off, ..) => {
            return Err(ApiError::Body("device goes with boot, and hard with off".to_owned()));
        }
    };
    Ok(PowerEvent::Wish { wish, confirmed: confirm, force })
}

/// The account, with its password sealed.
fn account(vault: &Vault, node: NodeId, body: &[u8]) -> Result<PowerEvent, ApiError> {
    // What serde says of a body that it does not understand may repeat it.
    let Set { kind, address, user, password, fingerprint } =
        serde_json::from_slice(body).map_err(|_| ApiError::Body("it is no account".to_owned()))?;
    let told = |error: fleet::power::AccountError| ApiError::Body(error.to_string());
    let address = address.map(|text| text.parse::<Address>()).transpose().map_err(told)?;
    let user = user.map(|text| text.parse::<User>()).transpose().map_err(told)?;
    if password.is_some() && !kind.has_controller() {
        return Err(told(fleet::power::AccountError::Surplus(kind.word())));
    }
    let secret = password.map(|text| Secret::new(kind, text)).transpose();
    let secret = secret.map_err(|why| ApiError::Body(why.to_owned()))?;
    let pin = fingerprint.map(|text| pin(&text)).transpose()?;
    let sealed = match (&address, &user, &secret) {
        (Some(address), Some(user), Some(secret)) => {
            let sealed = vault.seal(node, (kind, address, user), secret);
            Some(sealed.map_err(|error| ApiError::Broken(error.to_string()))?)
        }
        (None, ..) | (_, None, _) | (.., None) => None,
    };
    let account = Account { kind, address, user, sealed, pin, set: now() };
    account.check().map_err(told)?;
    Ok(PowerEvent::Set(Box::new(account)))
}

/// SHA-256 as controllers and browsers show it, with or without colons.
fn pin(text: &str) -> Result<String, ApiError> {
    let pin = text.chars().filter(|c| *c != ':').collect::<String>().to_ascii_lowercase();
    let good = pin.len() == 64 && pin.bytes().all(|byte| byte.is_ascii_hexdigit());
    good.then_some(pin)
        .ok_or_else(|| ApiError::Body("a fingerprint has 64 hexadecimal digits (SHA-256)".to_owned()))
}

impl Api {
    pub(super) fn power(&self, world: &World, name: &str) -> Answer {
        let node = world.fleet.find(name, &world.site.ca)?;
        one(view::power_view(node, world.fleet.powers.get(&node.id)))
    }

    pub(super) async fn act_on_power(&self, node: NodeId, verb: &str, body: &[u8]) -> Option<Answer> {
        let what = match verb {
            "power" => read(body).and_then(wish),
            "power-look" => Ok(PowerEvent::Look { act: Act::Status }),
            "power-cancel" => Ok(PowerEvent::Cancel),
            "bmc" => account(&self.vault, node, body),
            "bmc-test" => Ok(PowerEvent::Look { act: Act::Test }),
            "bmc-forget" => Ok(PowerEvent::Forget),
            _ => return None,
        };
        Some(self.about_power(node, what).await)
    }

    async fn about_power(&self, node: NodeId, what: Result<PowerEvent, ApiError>) -> Answer {
        let done = self.core.bring(Event::Power { node, what: Box::new(what?) }).await?;
        let world = self.core.world();
        let mut view = view::power_view(world.fleet.node(node)?, world.fleet.powers.get(&node));
        if let Reply::Job(id) = done.reply {
            // What was asked for comes first: it may have ended already.
            let id = id.to_string();
            view.requests.sort_by_key(|request| request.id != id);
        }
        one(view)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_account_does_not_repeat_its_password() {
        let vault = Vault::new(&[1; 32]).unwrap();
        let bodies = [
            r#"{"kind":"ipmi","address":"bmc1","user":"ops","password":"canary-7f3a\""}"#,
            r#"{"kind":"ipmi","address":"-h","user":"ops","password":"canary-7f3a"}"#,
            r#"{"kind":"ipmi","address":"bmc1","user":"-u","password":"canary-7f3a"}"#,
            r#"{"kind":"ipmi","address":"bmc1","password":"canary-7f3a"}"#,
            r#"{"kind":"manual","password":"canary-7f3a"}"#,
            r#"{"kind":"canary-7f3a","password":"canary-7f3a"}"#,
            r#"{"kind":"ipmi","passwort":"canary-7f3a"}"#,
            r#"{"kind":"ipmi","password":{"canary-7f3a":1}}"#,
            r#"canary-7f3a"#,
            r#"{"kind":"redfish","address":"bmc1","user":"ops","password":"canary-7f3a","fingerprint":"12"}"#,
        ];
        for body in bodies {
            let refused = account(&vault, NodeId([1; 16]), body.as_bytes()).map(|_| ()).unwrap_err();
            assert!(!format!("{refused} {refused:?}").contains("canary-7f3a"), "{body}: {refused}");
        }
        let good = r#"{"kind":"redfish","address":"bmc1","user":"ops","password":"canary-7f3a"}"#;
        let set = account(&vault, NodeId([1; 16]), good.as_bytes()).unwrap();
        assert!(!format!("{set:?}").contains("canary-7f3a"));
    }
}
