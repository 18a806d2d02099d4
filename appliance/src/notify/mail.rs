//! A mail (RFC 5322) by a server that takes it (RFC 6409), encrypted unless the configuration says otherwise.

use std::fmt;
use std::path::{Path, PathBuf};

use fleet::Time;
use fleet::notice::Message;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::webhook::{PATIENCE, SendError};

/// Most characters of a subject: more is cut off by readers anyway.
const SUBJECT: usize = 100;

/// Whom messages are mailed to, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// Who is told.
    pub to: Vec<Mailbox>,
    /// Whose name is under it.
    pub from: Mailbox,
    /// The server that takes it.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the way there is secured.
    pub encryption: Encryption,
    /// The account there, and the file with its password.
    pub account: Option<(String, PathBuf)>,
    /// The only authorities whose word about the server counts, as PEM; otherwise those that this machine trusts.
    pub roots: Option<PathBuf>,
}

/// How the way to a mail server is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// Begun in the open, and refused unless it turns to TLS (STARTTLS, RFC 3207): port 587.
    StartTls,
    /// TLS from the first byte (RFC 8314): port 465.
    Tls,
    /// None: for a relay on a network of one's own, port 25.
    None,
}

impl Encryption {
    /// The port that goes with it.
    pub fn port(self) -> u16 {
        match self {
            Encryption::StartTls => 587,
            Encryption::Tls => 465,
            Encryption::None => 25,
        }
    }
}

impl fmt::Display for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let to = self.to.iter().map(|to| to.email.to_string()).collect::<Vec<_>>().join(", ");
        write!(f, "{to} by {}:{}", self.host, self.port)
    }
}

impl Mail {
    /// Sends it; returns when the server has taken it.
    pub(super) async fn send(&self, site: &str, message: &Message, now: Time) -> Result<(), SendError> {
        let letter = self.letter(site, message, now).map_err(SendError::Letter)?;
        let failed = |source| SendError::Mail(self.to_string(), source);
        let way = self.way()?;
        let sent = tokio::time::timeout(PATIENCE, way.send(letter)).await;
        let sent = sent.map_err(|_| SendError::Silent(self.to_string()))?;
        sent.map(drop).map_err(failed)
    }

    /// The subject is the first thing and how many others there are; the body has all of them, each with the command that says more.
    fn letter(
        &self,
        site: &str,
        message: &Message,
        now: Time,
    ) -> Result<lettre::Message, lettre::error::Error> {
        let others =
            u64::try_from(message.notices.len()).unwrap_or(0).saturating_sub(1).saturating_add(message.more);
        let first = message.notices.first().map(|notice| format!("{}: {}", notice.about, notice.text));
        let mut subject = plain(&format!("[{site}] {}", first.unwrap_or_default()));
        if subject.chars().count() > SUBJECT {
            subject = subject.chars().take(SUBJECT).chain(['…']).collect();
        }
        if others > 0 {
            subject.push_str(&format!(" (and {others} more)"));
        }
        let mut body = format!("{site}, {now}\r\n");
        for notice in &message.notices {
            body.push_str(&format!(
                "\r\n{}: {}\r\n    {}\r\n",
                notice.about,
                plain(&notice.text),
                notice.next
            ));
        }
        if message.more > 0 {
            body.push_str(&format!("\r\nand {} more: rackwright status\r\n", message.more));
        }
        let letter = lettre::Message::builder().from(self.from.clone()).subject(subject);
        let letter = self.to.iter().fold(letter, |letter, to| letter.to(to.clone()));
        letter.header(ContentType::TEXT_PLAIN).body(body)
    }

    fn way(&self) -> Result<AsyncSmtpTransport<Tokio1Executor>, SendError> {
        let tls = match self.encryption {
            Encryption::None => Tls::None,
            Encryption::StartTls => Tls::Required(self.trust()?),
            Encryption::Tls => Tls::Wrapper(self.trust()?),
        };
        let way = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&self.host);
        let way = way.port(self.port).tls(tls).timeout(Some(PATIENCE));
        let Some((user, file)) = &self.account else { return Ok(way.build()) };
        Ok(way.credentials(Credentials::new(user.clone(), password(file)?)).build())
    }

    fn trust(&self) -> Result<TlsParameters, SendError> {
        let parameters = TlsParameters::builder(self.host.clone());
        let Some(path) = &self.roots else {
            return parameters.build().map_err(|error| SendError::Trust(error.to_string()));
        };
        let unusable = |why: String| SendError::Trust(format!("reading {}: {why}", path.display()));
        let roots = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut parameters = parameters.certificate_store(CertificateStore::None);
        for root in roots.map_err(|error| unusable(error.to_string()))? {
            let root = Certificate::from_der(root.to_vec()).map_err(|error| unusable(error.to_string()))?;
            parameters = parameters.add_root_certificate(root);
        }
        parameters.build().map_err(|error| unusable(error.to_string()))
    }
}

/// The password in a file, without the line end.
fn password(path: &Path) -> Result<String, SendError> {
    let failed = |source| SendError::Password { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(failed)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Words from nodes, as one line.
fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}
