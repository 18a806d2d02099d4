//! Two people for what is severe: the first asks for it, and it is done when somebody else asks for the same.
//!
//! Kept in memory alone: after a restart both ask again. Who somebody is, the kernel says: whoever logged in, also after `sudo` and `su`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use fleet::journal::Actor;

use super::{Api, ApiError};

/// A wish that nobody has joined for so long is forgotten.
const PATIENCE: Duration = Duration::from_secs(3600);
/// More wishes are not kept; the oldest make room.
const MOST: usize = 64;

/// Severe things that one person has asked for.
#[derive(Debug, Default)]
pub struct Seconds {
    open: Mutex<BTreeMap<String, Wish>>,
}

#[derive(Debug)]
struct Wish {
    by: u32,
    at: Instant,
}

impl Seconds {
    /// Whether somebody else has asked for this within the hour; if not, it is known now who has. An agreement counts once.
    fn agree(&self, what: &str, by: u32, now: Instant) -> bool {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, wish| now.duration_since(wish.at) < PATIENCE);
        if open.get(what).is_some_and(|wish| wish.by != by) {
            open.remove(what);
            return true;
        }
        if !open.contains_key(what) && open.len() >= MOST {
            let oldest = open.iter().min_by_key(|(_, wish)| wish.at).map(|(what, _)| what.clone());
            oldest.map(|oldest| open.remove(&oldest));
        }
        open.entry(what.to_owned()).or_insert(Wish { by, at: now });
        false
    }
}

impl Api {
    /// Refuses something severe until a second person has asked for the same, where the configuration wants that. `what` tells it from
    /// anything else, `command` is how it is asked for.
    pub(super) fn refuse_alone(&self, what: &str, command: impl FnOnce() -> String) -> Result<(), ApiError> {
        if !self.operators.second_person {
            return Ok(());
        }
        let (by, name) = match self.core.actor() {
            Some(Actor::Operator { uid, user, login, login_user }) => {
                let by = login.unwrap_or(uid);
                (by, login_user.filter(|_| login.is_some()).or(user).unwrap_or_else(|| format!("uid {by}")))
            }
            // Nobody at a socket: nobody to agree with.
            Some(Actor::Agent { .. } | Actor::Controller) | None => {
                return Err(ApiError::Broken("it is not known who asks".to_owned()));
            }
        };
        if self.seconds.agree(what, by, Instant::now()) {
            return Ok(());
        }
        Err(ApiError::Alone { name, command: command() })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{MOST, PATIENCE, Seconds};

    #[test]
    fn it_takes_another_person_the_same_thing_and_not_too_long() {
        let (seconds, start) = (Seconds::default(), Instant::now());
        let later = |add: Duration| start + add;
        assert!(!seconds.agree("apply p-1", 1000, start));
        assert!(!seconds.agree("apply p-1", 1000, later(PATIENCE / 2)), "twice by one is once");
        assert!(!seconds.agree("apply p-2", 1001, later(PATIENCE / 2)), "that is something else");
        assert!(seconds.agree("apply p-1", 1001, later(PATIENCE / 2)));
        assert!(!seconds.agree("apply p-1", 1001, later(PATIENCE / 2)), "it was agreed on once");
        assert!(seconds.agree("apply p-1", 1000, later(PATIENCE)));
        assert!(!seconds.agree("apply p-2", 1000, later(PATIENCE * 2)), "that was too long ago");
    }

    #[test]
    fn nobody_fills_the_memory_with_wishes() {
        let (seconds, start) = (Seconds::default(), Instant::now());
        for number in 0..MOST * 3 {
            let now = start + Duration::from_millis(u64::try_from(number).unwrap());
            assert!(!seconds.agree(&format!("apply p-{number}"), 1, now));
        }
        assert_eq!(seconds.open.lock().unwrap().len(), MOST);
        let last = format!("apply p-{}", MOST * 3 - 1);
        assert!(seconds.agree(&last, 2, start + Duration::from_secs(1)), "the newest are kept");
    }
}
