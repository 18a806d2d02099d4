//! Follows units. Knows the last state it told; refuses to poll: it reads a unit when systemd signals a change of
//! it, and all of them after a reload of the unit files or a lost connection.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::hub::{Depth, Inbox, Taken};
use crate::link::Link;
use crate::{Active, Systemd, UnitError, UnitName, UnitState, read};

/// Pause between two attempts to reach a lost systemd.
const PAUSE: Duration = Duration::from_secs(1);

const DOING: &str = "watching units";

/// A stream of the states of some units. First the present state of each, in the order of their names; then every
/// change. Two changes in quick succession may be told as one; the last state always arrives.
#[derive(Debug)]
pub struct Watch {
    systemd: Systemd,
    inbox: Arc<Inbox>,
    link: Option<Arc<Link>>,
    /// An attempt to connect has failed: wait before the next.
    wait: bool,
    names: BTreeSet<UnitName>,
    told: BTreeMap<UnitName, UnitState>,
    stale: BTreeMap<UnitName, Depth>,
}

impl Watch {
    pub(crate) fn new(systemd: Systemd, names: BTreeSet<UnitName>) -> Watch {
        Watch {
            systemd,
            inbox: Inbox::new(&names),
            link: None,
            wait: false,
            names,
            told: BTreeMap::new(),
            stale: BTreeMap::new(),
        }
    }

    /// The next change; waits for it. May be dropped and called again (`select!`) without losing one.
    ///
    /// An error is news, not the end: [`UnitError::BusLost`] says that nothing is seen until a later call returns a
    /// state. Call again: the connection is opened once a second until it holds, then everything is read anew
    /// and what differs from what was told last is told. A watch of no units waits for ever.
    pub async fn next(&mut self) -> Result<UnitState, UnitError> {
        loop {
            let link = self.connected().await?;
            while let Some((name, depth)) = self.stale.first_key_value() {
                let (name, depth) = (name.clone(), *depth);
                let state = match self.read(&link, &name, depth).await {
                    Ok(state) => state,
                    Err(error) => return Err(self.stumbled(&name, error)),
                };
                // Only now: a call dropped while it reads must find the unit here again.
                self.stale.remove(&name);
                if let Some(state) = state.filter(|state| self.is_news(state)) {
                    self.told.insert(name, state.clone());
                    return Ok(state);
                }
            }
            let Taken { lost, stale } = self.inbox.take().await;
            self.stale.extend(stale);
            if lost {
                self.link = None;
                return Err(UnitError::lost(DOING, "the connection ended"));
            }
        }
    }

    async fn connected(&mut self) -> Result<Arc<Link>, UnitError> {
        if let Some(link) = &self.link {
            return Ok(Arc::clone(link));
        }
        if self.wait {
            tokio::time::sleep(PAUSE).await;
            self.wait = false;
        }
        let link = self.systemd.link(DOING).await.inspect_err(|_| self.wait = true)?;
        // A new inbox: what the old one still holds belongs to the old connection.
        self.inbox = Inbox::new(&self.names);
        link.hub.watch(&self.inbox);
        self.stale = self.names.iter().map(|name| (name.clone(), Depth::Load)).collect();
        self.link = Some(Arc::clone(&link));
        Ok(link)
    }

    /// The state of one unit; `None` when a unit that left systemd's memory was never told.
    async fn read(&self, link: &Link, name: &UnitName, depth: Depth) -> Result<Option<UnitState>, UnitError> {
        let place = match depth {
            Depth::Load => Some(read::place_loaded(link, name, DOING).await?),
            Depth::Look => read::place_in_memory(link, name, DOING).await?,
        };
        let Some(place) = place else { return Ok(self.told.get(name).map(forgotten)) };
        // Before it is read: what changes from here on is heard.
        self.inbox.found_at(name, &place);
        Ok(Some(read::at(link, name, &place, DOING).await?.state))
    }

    fn is_news(&self, state: &UnitState) -> bool {
        self.told.get(&state.name).is_none_or(|told| !same(told, state))
    }

    /// A reading failed: on a broken connection start anew, else leave the unit until it changes again.
    fn stumbled(&mut self, name: &UnitName, error: UnitError) -> UnitError {
        if error.is_uncertain() {
            self.link = None;
            self.wait = true;
        } else {
            self.stale.remove(name);
        }
        error
    }
}

/// systemd forgets units that are down and that nothing refers to. Asking would load the unit again, so what it
/// would say is worked out here.
fn forgotten(told: &UnitState) -> UnitState {
    UnitState {
        active: Active::Inactive,
        sub: "dead".to_owned(),
        result: if told.result.is_empty() { String::new() } else { "success".to_owned() },
        main_pid: 0,
        ..told.clone()
    }
}

/// Equal but for what systemd loses when it forgets a unit that is down.
fn same(a: &UnitState, b: &UnitState) -> bool {
    let bare = |state: &UnitState| {
        let down = state.active.is_down();
        let invocation = state.invocation.clone().filter(|_| !down);
        UnitState { since_usec: 0, invocation, ..state.clone() }
    };
    bare(a) == bare(b)
}
