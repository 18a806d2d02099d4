//! Asks the controller, as long as an image is written, how it shall come: once a second, and at once where something has changed.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use protocol::{CastAsk, CastReply, Envelope, JobId, NodeId, routes};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::Live;
use crate::command::Reign;
use crate::controller::{Controller, Line};
use crate::keys;

const EVERY: Duration = Duration::from_secs(1);
/// The shortest time from an answer to the next question, however urgent.
const URGENT: Duration = Duration::from_millis(200);
/// So often in a row it may be urgent; who is no better off then asks every second.
const URGED_MAX: u32 = 10;
/// An older controller has no such route, and sends to nobody.
const NEVER: Duration = Duration::from_secs(30);
/// So often in a row it is asked as if it were urgent whether somebody is there: most that go away come back in a second.
const AWAY_URGENT: u32 = 4;
const AWAY_MAX: Duration = Duration::from_secs(10);
const DEADLINE: Duration = Duration::from_secs(5);

/// Who knows how an image shall come.
pub trait Desk: Send + 'static {
    /// Asks.
    fn ask(&mut self, ask: &CastAsk) -> impl Future<Output = Result<CastReply, NoReply>> + Send;
}

/// Why there was no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoReply {
    /// Nobody is there, for the moment.
    Away,
    /// There will be none.
    Never,
}

/// Makes a question that can wait one that can't.
#[derive(Debug, Default)]
pub struct Urge(Notify);

impl Urge {
    /// Whatever has changed, the controller is to know it now.
    pub(in crate::deploy::imaging) fn now(&self) {
        self.0.notify_one();
    }

    /// Waits until that is so.
    pub(super) async fn asked(&self) {
        self.0.notified().await;
    }
}

/// Asks until it is dropped.
#[derive(Debug)]
pub struct Seating {
    replies: watch::Receiver<Option<CastReply>>,
    asks: watch::Sender<CastAsk>,
    urge: Arc<Urge>,
    task: JoinHandle<()>,
}

impl Seating {
    /// Begins, on the runtime that this is called on.
    pub fn begin(desk: impl Desk, job: JobId) -> Self {
        let (say, replies) = watch::channel(None);
        let (asks, asked) = watch::channel(CastAsk::new(job));
        let urge = Arc::new(Urge::default());
        let task = tokio::spawn(ask(desk, asked, Arc::clone(&urge), say));
        Self { replies, asks, urge, task }
    }

    /// For one who listens at our address there.
    pub fn live(&self, local: Ipv4Addr) -> Live {
        let (replies, asks, urge) = (self.replies.clone(), self.asks.clone(), Arc::clone(&self.urge));
        Live { local, replies, asks, urge }
    }
}

impl Drop for Seating {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The controller, over a line of its own.
#[derive(Debug)]
pub(in crate::deploy) struct Office {
    line: Line,
    node: NodeId,
    reign: Reign,
    last: CastReply,
}

impl Office {
    pub(in crate::deploy) fn new(controller: Controller, node: NodeId, reign: Reign) -> Self {
        Self { line: Line::new(controller), node, reign, last: CastReply::default() }
    }
}

impl Desk for Office {
    async fn ask(&mut self, ask: &CastAsk) -> Result<CastReply, NoReply> {
        let reply = self.line.call::<_, Envelope<CastReply>>(routes::CAST, ask, DEADLINE).await;
        match reply {
            Ok(envelope) => {
                // One that is not for us, or from a reign that is over, says nothing.
                if let Ok(reply) = self.reign.open(self.node, envelope) {
                    self.last = reply;
                }
                Ok(self.last.clone())
            }
            Err(error) if error.is_refusal() => Err(NoReply::Never),
            // What is being heard goes on; a sender that has gone too is noticed by its silence.
            Err(_) => Err(NoReply::Away),
        }
    }
}

async fn ask(
    mut desk: impl Desk,
    asked: watch::Receiver<CastAsk>,
    urge: Arc<Urge>,
    say: watch::Sender<Option<CastReply>>,
) {
    let mut pace = Pace::default();
    loop {
        let ask = asked.borrow().clone();
        let reply = desk.ask(&ask).await;
        let (least, most) = pace.after(reply.as_ref().err().copied(), keys::dice());
        if let Ok(reply) = reply {
            say.send_replace(Some(reply));
        }
        sleep(least).await;
        let is_urgent = timeout(most.saturating_sub(least), urge.asked()).await.is_ok();
        pace.urged(is_urgent);
    }
}

/// When to ask next.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    /// How often in a row nobody was there.
    away: u32,
    /// How often in a row it was urgent.
    urged: u32,
}

impl Pace {
    /// After this answer: how long to wait at least, and at most.
    fn after(&mut self, no: Option<NoReply>, dice: u8) -> (Duration, Duration) {
        match no {
            None => {
                self.away = 0;
                (if self.urged < URGED_MAX { URGENT } else { EVERY }, EVERY)
            }
            Some(NoReply::Never) => (NEVER, NEVER),
            Some(NoReply::Away) => {
                self.away = self.away.saturating_add(1);
                let doublings = self.away.saturating_sub(AWAY_URGENT).min(16);
                let step = URGENT.saturating_mul(1 << doublings).min(AWAY_MAX);
                // Blurred, so that a rack of agents does not call in step.
                let wait = step + step * u32::from(dice) / 510;
                (wait, wait)
            }
        }
    }

    fn urged(&mut self, is_urgent: bool) {
        self.urged = if is_urgent { self.urged.saturating_add(1) } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::time::Instant;

    use super::*;

    /// Answers all questions in the same way, and notes when they came.
    struct Clerk(Result<CastReply, NoReply>, Arc<Mutex<Vec<Duration>>>, Instant);

    impl Desk for Clerk {
        async fn ask(&mut self, _: &CastAsk) -> Result<CastReply, NoReply> {
            self.1.lock().unwrap().push(self.2.elapsed());
            self.0.clone()
        }
    }

    /// When questions are asked within ten seconds. `urge_every`: how often it is urgent.
    async fn asked(reply: Result<CastReply, NoReply>, urge_every: Option<Duration>) -> Vec<Duration> {
        let times = Arc::new(Mutex::default());
        let begun = Instant::now();
        let seating = Seating::begin(Clerk(reply, Arc::clone(&times), begun), JobId([1; 8]));
        let live = seating.live(Ipv4Addr::LOCALHOST);
        while begun.elapsed() < Duration::from_secs(10) {
            sleep(urge_every.unwrap_or(EVERY)).await;
            if urge_every.is_some() {
                live.urge.now();
            }
        }
        drop(seating);
        times.lock().unwrap().clone()
    }

    #[tokio::test(start_paused = true)]
    async fn the_controller_is_asked_every_second_when_nothing_is_urgent() {
        let asked = asked(Ok(CastReply::default()), None).await;
        assert!((10..=11).contains(&asked.len()), "{asked:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_urgent_question_is_asked_at_once() {
        let asked = asked(Ok(CastReply::default()), Some(Duration::from_millis(1450))).await;
        let urgent = Duration::from_millis(1450);
        assert!(asked.iter().any(|at| at.abs_diff(urgent) < Duration::from_millis(5)), "{asked:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn never_more_than_five_questions_a_second_and_fewer_where_it_is_of_no_use() {
        let asked = asked(Ok(CastReply::default()), Some(Duration::from_millis(10))).await;
        for second in asked.windows(6).filter_map(|six| Some(*six.last()? - *six.first()?)) {
            assert!(second >= Duration::from_secs(1), "{asked:?}");
        }
        let late = asked.iter().filter(|at| **at > Duration::from_secs(4)).count();
        assert!((5..=7).contains(&late), "{asked:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_controller_that_is_away_is_asked_less_and_less_often() {
        let asked = asked(Err(NoReply::Away), Some(Duration::from_millis(10))).await;
        let gaps: Vec<_> = asked.windows(2).filter_map(|two| Some(*two.last()? - *two.first()?)).collect();
        let (soon, later) = gaps.split_at(4);
        assert!(soon.iter().all(|gap| *gap >= URGENT && *gap < URGENT * 2), "{gaps:?}");
        assert!(later.is_sorted_by(|one, next| *next > *one * 4 / 3), "{gaps:?}");
        assert!((7..=9).contains(&asked.len()), "{asked:?}");
        let never = self::asked(Err(NoReply::Never), Some(Duration::from_millis(10))).await;
        assert_eq!(never.len(), 1);
    }
}
