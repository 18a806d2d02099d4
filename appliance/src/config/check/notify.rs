//! Who is told what is wrong.

use std::path::{Path, PathBuf};

use lettre::message::Mailbox;
use toml::Spanned;

use super::At;
use crate::config::{ConfigError, raw};
use crate::notify::{Encryption, Mail, Webhook, Wish};

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
    let webhook =
        raw.webhook.as_ref().map(|value| webhook(text, value, raw.secret_file.as_ref())).transpose()?;
    let mail = raw.mail.as_ref().map(|raw| mail(text, raw)).transpose()?;
    Ok((webhook.is_some() || mail.is_some()).then_some(Wish { webhook, mail, an_hour }))
}

fn webhook(
    text: &str,
    value: &Spanned<String>,
    secret_file: Option<&Spanned<String>>,
) -> Result<Webhook, ConfigError> {
    let at = |key: &str| At { text, key: format!("notify.{key}") };
    let cure = "\"/etc/rackwright/notify.key\", with what openssl rand -hex 32 prints in it";
    let secret_file = secret_file.map(|value| file(&at("secret_file"), value, cure)).transpose()?;
    let cure = "\"https://host/path\", or http:// on a network of yours";
    let target = value.get_ref().parse();
    let target = target.map_err(|why: &str| at("webhook").refuse(value, why, cure))?;
    Ok(Webhook { target, secret_file })
}

fn file(at: &At<'_>, value: &Spanned<String>, cure: &str) -> Result<PathBuf, ConfigError> {
    let path = Path::new(value.get_ref());
    if path.is_absolute() { Ok(path.into()) } else { Err(at.refuse(value, "this is no absolute path", cure)) }
}

fn mail(text: &str, raw: &raw::Mail) -> Result<Mail, ConfigError> {
    let at = |key: &str| At { text, key: format!("notify.mail.{key}") };
    let encryption = match raw.tls.as_ref().map(|value| (value, value.get_ref().as_str())) {
        None | Some((_, "starttls")) => Encryption::StartTls,
        Some((_, "always")) => Encryption::Tls,
        Some((_, "never")) => Encryption::None,
        Some((value, _)) => {
            let cure = "\"starttls\" (port 587), \"always\" (port 465), or \"never\" (port 25, on a network of yours)";
            return Err(at("tls").refuse(value, "this is no way to a mail server", cure));
        }
    };
    let mailbox = |key: &str, value: &Spanned<String>| {
        let why = |error: lettre::address::AddressError| format!("this is no mail address: {error}");
        let cure = "\"ops@example.net\", or \"Operators <ops@example.net>\"";
        value.get_ref().parse::<Mailbox>().map_err(|error| at(key).refuse(value, why(error), cure))
    };
    let to = raw.to.iter().map(|value| mailbox("to", value)).collect::<Result<Vec<_>, _>>()?;
    let from = mailbox("from", &raw.from)?;
    let server = "\"mail.example.net\", or with its port: \"mail.example.net:587\"";
    let place = place(raw.server.get_ref(), encryption.port());
    let (host, port) = place.ok_or_else(|| at("server").refuse(&raw.server, "this is no host", server))?;
    if to.is_empty() {
        return Err(at("to").refuse(
            &raw.server,
            "nobody is named who is told",
            "to = [\"ops@example.net\"]",
        ));
    }
    let account = match (&raw.user, &raw.password_file) {
        (None, None) => None,
        (Some(user), Some(path)) => {
            let cure = "\"/etc/rackwright/mail.password\", with nothing but the password in it";
            Some((user.get_ref().clone(), file(&at("password_file"), path, cure)?))
        }
        (Some(one), None) | (None, Some(one)) => {
            let cure = "both user and password_file, or neither";
            return Err(at("user").refuse(one, "an account has a name and a password", cure));
        }
    };
    if let (Some((_, path)), Encryption::None) = (&account, encryption) {
        let why =
            format!("the password in {} would go over the network for everybody to read", path.display());
        return Err(at("tls").refuse(
            raw.tls.as_ref().unwrap_or(&raw.server),
            why,
            "tls = \"starttls\", or no user",
        ));
    }
    let cure = "\"/etc/ssl/certs/own-ca.pem\"";
    let roots = raw.ca_file.as_ref().map(|value| file(&at("ca_file"), value, cure)).transpose()?;
    Ok(Mail { to, from, host, port, encryption, account, roots })
}

/// A host and its port; the usual one where there is none.
fn place(text: &str, usual: u16) -> Option<(String, u16)> {
    let authority = text.parse::<hyper::http::uri::Authority>().ok()?;
    let host = authority.host().trim_matches(['[', ']']).to_owned();
    let rest = authority.as_str().strip_prefix(authority.host())?;
    let port = if rest.is_empty() { usual } else { authority.port_u16().filter(|port| *port > 0)? };
    (!host.is_empty()).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn where_mail_servers_may_be() {
        let of = |text: &str| place(text, 587);
        assert_eq!(of("mail.example.net"), Some(("mail.example.net".to_owned(), 587)));
        assert_eq!(of("mail.example.net:25"), Some(("mail.example.net".to_owned(), 25)));
        assert_eq!(of("[fd00::1]:465"), Some(("fd00::1".to_owned(), 465)));
        for bad in
            ["", ":25", "host:", "host:0", "host:99999", "user@host", "a b", "host/path", "smtp://host"]
        {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
