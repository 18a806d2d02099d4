//! Progress lines of a journey: who is where, how far, how fast.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::journey::Sight;
use crate::operator::{Job, Node};
use crate::say;

/// A line per node at least this often, so that nobody wonders whether it hangs.
const EVERY: Duration = Duration::from_secs(5);

/// What was said about each node, and when.
#[derive(Debug)]
pub struct Watch {
    start: Instant,
    said: BTreeMap<String, (String, Instant, u64)>,
}

impl Watch {
    /// Its clock starts now.
    #[must_use]
    pub fn start() -> Watch {
        Watch { start: Instant::now(), said: BTreeMap::new() }
    }

    /// Says what is new: what the operator did, states that changed, and every few seconds how far everyone is.
    pub fn look(&mut self, sight: &Sight) {
        for done in &sight.done {
            self.line(done);
        }
        for node in &sight.nodes {
            let job = sight.jobs.iter().rev().find(|job| job.node == node.name && is_running(job));
            self.node(node, job);
        }
    }

    fn node(&mut self, node: &Node, job: Option<&Job>) {
        let stage = match job.and_then(|job| job.phase.as_deref()) {
            Some(phase) if node.state == "imaging" || node.state == "verifying" => {
                format!("{} ({phase})", node.state)
            }
            Some(_) | None => node.state.clone(),
        };
        let bytes = job.map_or(0, |job| job.done_bytes + job.read_back_bytes);
        let before = self.said.get(&node.mac);
        let news = before.is_none_or(|(said, at, _)| *said != stage || at.elapsed() >= EVERY);
        if !news {
            return;
        }
        let rate =
            before.filter(|(said, ..)| *said == stage).map(|(_, at, then)| rate(bytes, *then, at.elapsed()));
        let percent = node.percent.map(|percent| format!("{percent:>3} %  "));
        let waiting = node.waiting.as_ref().map(|waiting| format!("  waits for {waiting}"));
        let text = format!(
            "{:<6} {stage:<22} {}{}{}",
            node.name,
            percent.unwrap_or_default(),
            rate.flatten().unwrap_or_default(),
            waiting.unwrap_or_default()
        );
        self.line(text.trim_end());
        self.said.insert(node.mac.clone(), (stage, Instant::now(), bytes));
    }

    fn line(&self, text: &str) {
        let seconds = self.start.elapsed().as_secs();
        say::line(&format!("  {:>2}:{:02}  {text}", seconds / 60, seconds % 60));
    }
}

fn is_running(job: &Job) -> bool {
    job.state == "running" || job.state == "waiting"
}

/// MB/s, when anything moved.
fn rate(now: u64, then: u64, time: Duration) -> Option<String> {
    let moved = now.checked_sub(then).filter(|moved| *moved > 0)?;
    let millis = u64::try_from(time.as_millis()).ok().filter(|millis| *millis > 0)?;
    Some(format!("{} MB/s", moved / 1000 / millis))
}
