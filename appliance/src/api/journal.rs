//! The journal: what was done at this socket goes into it, and it can be read and checked here.

use std::sync::Arc;

use fleet::view::journal::JournalRow;
use serde_json::json;

use super::{Answer, Api, ApiError, Query, one, rows};
use crate::journal::{Command, Peer, Place, Record, Report, check, head, records};
use crate::writer::Refused;

impl Api {
    /// The same, for one thing that a person has asked for.
    pub(super) fn on_behalf(&self, peer: &Peer, route: &str, arguments: &[u8]) -> Api {
        let command = Arc::new(Command::new(peer, route, arguments));
        Api { core: self.core.on_behalf(&command), ..self.clone() }
    }

    /// Sees to it that what was asked for is written down, however it ended, before that is told.
    pub(super) async fn settle(&self, answer: Answer) -> Answer {
        let why = match &answer {
            Ok(_) => None,
            // Nothing can be written down then.
            Err(ApiError::Refused(Refused::Unsaved(_) | Refused::Stopping)) => return answer,
            Err(why) => Some(why.to_string()),
        };
        match self.core.commanded(why).await {
            Ok(()) => answer,
            // A refusal stays one, whether it could be written down or not.
            Err(unsaved) => answer.and(Err(unsaved.into())),
        }
    }

    /// Records, the newest or those after a number.
    pub(super) async fn journal(&self, query: &Query) -> Answer {
        let after = query.number("after", 0);
        let limit = u32::try_from(query.number("limit", 100)).unwrap_or(u32::MAX).min(10_000);
        let world = self.core.world();
        let node = query.text("node").map(|name| world.fleet.find(name, &world.site.ca)).transpose()?;
        let node = node.map(|node| node.id.to_string());
        let log = self.core.log.clone();
        let read = move || records(&log.open()?, after, limit, node.as_deref());
        let found = blocking(read).await?;
        let name = |record: &Record| {
            let id = record.node.parse().ok();
            let known = id.and_then(|id| world.fleet.nodes.get(&id)).map(|node| node.name.to_string());
            known.unwrap_or_else(|| record.node.chars().take(8).collect())
        };
        rows(found.iter().map(|record| row(record, name(record))).collect::<Vec<JournalRow>>())
    }

    /// Whether the journal is what was written.
    pub(super) async fn journal_check(&self) -> Answer {
        let log = self.core.log.clone();
        let place = Place::beside(log.path());
        let looked = move || {
            let key = crate::ca::journal_key(&place.keys).map_err(head::HeadError::from)?;
            // Heads first: what is appended meanwhile is then not missing.
            let heads = match head::read(&place.heads) {
                Ok(heads) => heads,
                Err(why @ head::HeadError::Line { .. }) => return Ok(Report::bent(crate::chain(&why))),
                Err(why) => return Err(why.into()),
            };
            check(&log.open()?, &heads, &head::public(&key))
        };
        one(blocking(looked).await?)
    }

    /// The newest signed head, and the key that signed it: to be kept somewhere else.
    pub(super) async fn journal_head(&self) -> Answer {
        let place = Place::beside(self.core.log.path());
        let looked = move || {
            let key = crate::ca::journal_key(&place.keys).map_err(head::HeadError::from)?;
            let last = head::read(&place.heads)?.pop();
            Ok::<_, crate::store::StoreError>((last, data_encoding::HEXLOWER.encode(&head::public(&key))))
        };
        let (head, key) = blocking(looked).await?;
        one(json!({"head": head, "key": key}))
    }
}

async fn blocking<T: Send + 'static>(
    look: impl FnOnce() -> Result<T, crate::store::StoreError> + Send + 'static,
) -> Result<T, ApiError> {
    let looked = tokio::task::spawn_blocking(look).await;
    let looked = looked.map_err(|error| ApiError::Broken(error.to_string()))?;
    looked.map_err(|error| ApiError::Broken(crate::chain(&error)))
}

fn row(record: &Record, node_name: String) -> JournalRow {
    let parsed = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| text.into());
    JournalRow {
        seq: record.seq,
        time: record.time.to_string(),
        actor: parsed(&record.actor),
        kind: record.kind.clone(),
        node: record.node.clone(),
        node_name,
        body: parsed(&record.body),
        previous: data_encoding::HEXLOWER.encode(&record.previous),
        hash: data_encoding::HEXLOWER.encode(&record.hash),
    }
}
