//! Tells somebody who is not looking what is wrong: by a webhook, by mail, or both.
//!
//! What is news and when a message may leave is decided by [`fleet::notice`]; here are the clock, the disk's room and the
//! socket. Nothing is kept over a restart: what is still wrong then is told once more, in one message.

mod mail;
#[cfg(test)]
mod tests;
mod webhook;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fleet::notice::{Message, Notice, Outbox, notices};
use futures_util::future::join_all;
use serde::Serialize;
use tokio::sync::Mutex;

use crate::listen::Stop;
use crate::writer::{Core, now};

pub use mail::{Encryption, Mail};
pub use webhook::{SendError, Target};

/// How often it is looked at what is wrong.
const LOOK: Duration = Duration::from_secs(5);
/// Of a disk with less free than this part, somebody is told.
const NEARLY_FULL: u64 = 10;

/// What the configuration says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Where messages are posted to.
    pub webhook: Option<Webhook>,
    /// Whom they are mailed to.
    pub mail: Option<Mail>,
    /// Messages an hour at most, by each way.
    pub an_hour: u32,
}

/// Where messages are posted to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// The address.
    pub target: Target,
    /// The file with the key that signs them.
    pub secret_file: Option<PathBuf>,
}

/// Tells what is wrong.
#[derive(Debug)]
pub struct Notifier {
    core: Core,
    ways: Vec<(Way, Mutex<Outbox>)>,
}

/// How somebody is told. What does not arrive by one waits there alone.
#[derive(Debug)]
enum Way {
    Webhook(Webhook),
    Mail(Mail),
}

impl fmt::Display for Way {
    /// Without the part that may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Way::Webhook(webhook) => fmt::Display::fmt(&webhook.target, f),
            Way::Mail(mail) => fmt::Display::fmt(mail, f),
        }
    }
}

/// What is posted.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Posted<'a> {
    api_version: &'static str,
    site: &'a str,
    /// RFC 3339.
    time: String,
    #[serde(flatten)]
    message: &'a Message,
}

impl Notifier {
    /// As the configuration wishes.
    pub fn new(core: Core, wish: Wish) -> Arc<Self> {
        let ways = wish.webhook.map(Way::Webhook).into_iter().chain(wish.mail.map(Way::Mail));
        let ways = ways.map(|way| (way, Mutex::new(Outbox::new(wish.an_hour)))).collect();
        Arc::new(Self { core, ways })
    }

    /// Looks and tells, until told to stop.
    pub async fn keep(self: Arc<Self>, mut stop: Stop) {
        let ways = self.ways.iter().map(async |(way, outbox)| {
            loop {
                self.look_for(way, outbox).await;
                tokio::time::sleep(LOOK).await;
            }
        });
        tokio::select! {
            _ = stop.changed() => {}
            _ = join_all(ways) => {}
        }
    }

    /// Looks once, and sends what is due.
    pub async fn look(&self) {
        join_all(self.ways.iter().map(|(way, outbox)| self.look_for(way, outbox))).await;
    }

    async fn look_for(&self, way: &Way, outbox: &Mutex<Outbox>) {
        let mut outbox = outbox.lock().await;
        outbox.look(self.wrong(), now());
        let Some(message) = outbox.due(now()) else { return };
        match self.send(way, &message).await {
            Ok(()) => outbox.delivered(&message, now()),
            Err(why) => {
                tracing::warn!(
                    %way,
                    why = crate::chain(&why),
                    waiting = outbox.waiting(),
                    "nobody could be told what is wrong"
                );
                outbox.failed(now());
            }
        }
    }

    /// Sends a message that says that it is only a test, now, by every way.
    ///
    /// # Errors
    /// Why it did not arrive by the first way that failed.
    pub async fn test(&self) -> Result<(), SendError> {
        let text = "somebody wanted to know whether this arrives";
        let notice = Notice::new("test", "controller", text, "rackwright status".to_owned());
        let message = Message { notices: vec![notice], more: 0 };
        let sent = join_all(self.ways.iter().map(|(way, _)| self.send(way, &message))).await;
        sent.into_iter().collect()
    }

    /// Where messages go, without the part that may be a password.
    pub fn whom(&self) -> String {
        self.ways.iter().map(|(way, _)| way.to_string()).collect::<Vec<_>>().join(" and ")
    }

    fn wrong(&self) -> Vec<Notice> {
        let mut all = notices(&self.core.world().fleet, now());
        let row = self.core.space.row();
        let low = row.total_bytes > 0 && row.free_bytes < row.total_bytes / NEARLY_FULL;
        let text =
            row.problem.or(low.then(|| format!("{} of {} bytes are free", row.free_bytes, row.total_bytes)));
        if let Some(text) = text {
            all.push(Notice::new("disk-full", &row.path, &text, self.core.space.next_step()));
        }
        all
    }

    async fn send(&self, way: &Way, message: &Message) -> Result<(), SendError> {
        let site = &self.core.world().site.name;
        let Webhook { target, secret_file } = match way {
            Way::Mail(mail) => return mail.send(site, message, now()).await,
            Way::Webhook(webhook) => webhook,
        };
        let posted = Posted { api_version: fleet::view::API_VERSION, site, time: now().to_string(), message };
        // Strings and numbers: this cannot fail.
        let body = serde_json::to_vec(&posted).unwrap_or_default();
        let key = secret_file.as_ref().map(|path| webhook::key(path)).transpose()?;
        webhook::post(target, key.as_ref(), now().0 / 1000, body).await
    }
}
