//! Tells somebody who is not looking: a webhook is posted what is wrong.
//!
//! What is news and when a message may leave is decided by [`fleet::notice`]; here are the clock, the disk's room and the
//! socket. Nothing is kept over a restart: what is still wrong then is told once more, in one message.

mod send;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fleet::notice::{Message, Notice, Outbox, notices};
use serde::Serialize;
use tokio::sync::Mutex;

use crate::listen::Stop;
use crate::writer::{Core, now};

pub use send::{SendError, Target};

/// How often it is looked at what is wrong.
const LOOK: Duration = Duration::from_secs(5);
/// Of a disk with less free than this part, somebody is told.
const NEARLY_FULL: u64 = 10;

/// What the configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Where messages are posted to.
    pub webhook: Target,
    /// The file with the key that signs them.
    pub secret_file: Option<PathBuf>,
    /// Messages an hour at most.
    pub an_hour: u32,
}

/// Tells what is wrong.
#[derive(Debug)]
pub struct Notifier {
    core: Core,
    wish: Wish,
    outbox: Mutex<Outbox>,
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
        let outbox = Mutex::new(Outbox::new(wish.an_hour));
        Arc::new(Self { core, wish, outbox })
    }

    /// Looks and tells, until told to stop.
    pub async fn keep(self: Arc<Self>, mut stop: Stop) {
        loop {
            self.look().await;
            tokio::select! {
                _ = stop.changed() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Looks once, and sends what is due.
    pub async fn look(&self) {
        let mut outbox = self.outbox.lock().await;
        outbox.look(self.wrong(), now());
        let Some(message) = outbox.due(now()) else { return };
        match self.send(&message).await {
            Ok(()) => outbox.delivered(&message, now()),
            Err(why) => {
                tracing::warn!(
                    why = crate::chain(&why),
                    waiting = outbox.waiting(),
                    "nobody could be told what is wrong"
                );
                outbox.failed(now());
            }
        }
    }

    /// Sends a message that says that it is only a test, now.
    ///
    /// # Errors
    /// Why it did not arrive.
    pub async fn test(&self) -> Result<(), SendError> {
        let text = "somebody wanted to know whether this arrives";
        let notice = Notice::new("test", "controller", text, "rackwright status".to_owned());
        self.send(&Message { notices: vec![notice], more: 0 }).await
    }

    /// Where messages go, without the part that may be a password.
    pub fn whom(&self) -> String {
        self.wish.webhook.to_string()
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

    async fn send(&self, message: &Message) -> Result<(), SendError> {
        let site = &self.core.world().site.name;
        let posted = Posted { api_version: fleet::view::API_VERSION, site, time: now().to_string(), message };
        // Strings and numbers: this cannot fail.
        let body = serde_json::to_vec(&posted).unwrap_or_default();
        let key = self.wish.secret_file.as_ref().map(|path| send::key(path)).transpose()?;
        send::post(&self.wish.webhook, key.as_ref(), now().0 / 1000, body).await
    }
}
