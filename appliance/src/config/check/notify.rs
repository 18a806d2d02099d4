//! Who is told what is wrong.

use std::path::Path;

use super::At;
use crate::config::{ConfigError, raw};
use crate::notify::Wish;

/// Messages an hour where the file says nothing.
const USUAL: u32 = 20;

pub(super) fn notify(text: &str, raw: &raw::Notify) -> Result<Option<Wish>, ConfigError> {
    let at = |key: &str| At { text, key: format!("notify.{key}") };
    let an_hour = match &raw.messages_per_hour {
        None => USUAL,
        Some(value) => {
            let most = u32::try_from(*value.get_ref()).ok().filter(|most| (1..=1000).contains(most));
            most.ok_or_else(|| {
                let why = format!("{} is not a number of messages", value.get_ref());
                at("messages_per_hour").refuse(value, why, "1 to 1000; the usual one is 20")
            })?
        }
    };
    let secret_file = match &raw.secret_file {
        None => None,
        Some(value) if Path::new(value.get_ref()).is_absolute() => Some(value.get_ref().into()),
        Some(value) => {
            let cure = "\"/etc/rackwright/notify.key\", with what openssl rand -hex 32 prints in it";
            return Err(at("secret_file").refuse(value, "this is no absolute path", cure));
        }
    };
    let Some(value) = &raw.webhook else { return Ok(None) };
    let webhook = value.get_ref().parse();
    let cure = "\"https://host/path\", or http:// on a network of yours";
    let webhook = webhook.map_err(|why: &str| at("webhook").refuse(value, why, cure))?;
    Ok(Some(Wish { webhook, secret_file, an_hour }))
}
