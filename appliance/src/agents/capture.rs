//! Stage *deploy*: an image of the node's disk on its way into the store.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64;
use fleet::capture::Capture;
use fleet::certificate::Authed;
use fleet::job::JobState;
use fleet::{Event, Fleet};
use protocol::{Envelope, JobId, Missing, Seal, Task, Windows};

use super::{AgentRefusal, Agents};
use crate::images::{CaptureError, Captures};
use crate::listen::Stop;

/// How often it is looked for captures that have ended, when nothing has changed.
const LOOK: Duration = Duration::from_secs(5);

impl Agents {
    pub(super) async fn windows(
        &self,
        who: Authed,
        told: Windows,
    ) -> Result<Envelope<Missing>, AgentRefusal> {
        let over = || self.envelope(&who, Missing { go_on: false, windows: Vec::new() });
        let Some(capture) = self.capture(&who, told.job) else {
            self.forget_ended().await?;
            return Ok(over());
        };
        let records = BASE64.decode(told.records.as_bytes());
        let records = records.map_err(|_| AgentRefusal::Coding("the windows are not base64"))?;
        let disk_bytes = capture.subject.bytes;
        let windows = self
            .blocking(move |captures| captures.windows(told.job, told.before, &records, disk_bytes))
            .await;
        if self.capture(&who, told.job).is_none() {
            // Cancelled meanwhile: what has been begun since is nobody's.
            self.forget_ended().await?;
            return Ok(over());
        }
        Ok(self.envelope(&who, Missing { go_on: true, windows: windows? }))
    }

    pub(super) async fn stored(
        &self,
        who: Authed,
        (job, window): (JobId, u32),
        bytes: Vec<u8>,
    ) -> Result<serde_json::Value, AgentRefusal> {
        self.capture(&who, job).ok_or_else(|| AgentRefusal::NoRoute(format!("capture {job}")))?;
        self.blocking(move |captures| captures.stored(job, window, &bytes)).await?;
        Ok(serde_json::json!({}))
    }

    /// Making an image durable takes longer than a call may when it is large: it goes on when nobody waits for the answer any
    /// more, and whoever asks again waits for the same.
    pub(super) async fn seal(&self, who: Authed, seal: Seal) -> Result<Envelope<Task>, AgentRefusal> {
        seal.check()?;
        let job = seal.job;
        let turn = self.captures.turn(job).lock_owned().await;
        if let Some(task) = self.sealed_before(&who, job).await? {
            return Ok(self.envelope(&who, task));
        }
        let (agents, node) = (self.clone(), who.clone());
        let work = tokio::spawn(async move {
            let _turn = turn;
            let task = agents.make(&node, seal).await;
            if let Err(why) = &task {
                tracing::warn!(%job, %why, "no image was made of a capture");
            }
            task
        });
        let task = work.await.map_err(|error| AgentRefusal::Broken(error.to_string()))??;
        Ok(self.envelope(&who, task))
    }

    /// The image is written down before it is in the store, and again when it is there: whatever moment the power goes, an image
    /// in the store is known to be of this node.
    async fn make(&self, who: &Authed, seal: Seal) -> Result<Task, AgentRefusal> {
        let node = who.node;
        let Seal { job, windows, root, layout, seed, found, milliseconds: _ } = seal;
        let capture =
            self.capture(who, job).ok_or_else(|| AgentRefusal::NoRoute(format!("capture {job}")))?;
        let about = capture.about(layout, seed);
        let signed = self.blocking(move |captures| captures.sign(job, about, windows, root)).await?;
        self.core.bring(Event::Sealing { node, job, image: signed.claimed_digest() }).await?;
        let image = self.blocking(move |captures| captures.seal(job, signed)).await?;
        self.captured((node, job), image, found).await
    }

    /// The task that followed, when the answer to an earlier seal was lost.
    async fn sealed_before(&self, who: &Authed, job: JobId) -> Result<Option<Task>, AgentRefusal> {
        let world = self.core.world();
        let capture = world.fleet.captures.get(&job).filter(|capture| capture.node == who.node);
        let Some(capture) = capture.filter(|c| matches!(c.state, JobState::Verified | JobState::Done)) else {
            return Ok(None);
        };
        let wait = Task::Wait { reason: "the image is taken".to_owned() };
        Ok(Some(if capture.runs { Task::Reboot } else { wait }))
    }

    /// The capture of this id that the asking node is at, if it goes on.
    fn capture(&self, who: &Authed, job: JobId) -> Option<Capture> {
        let world = self.core.world();
        let is_its = world.fleet.nodes.get(&who.node).is_some_and(|node| node.state.job() == Some(job));
        let capture = world.fleet.captures.get(&job).filter(|capture| capture.node == who.node);
        capture.filter(|capture| is_its && capture.goes_on()).cloned()
    }

    /// Forgets captures as soon as their jobs have ended, whoever ended them: the node may be off, and is not heard of again.
    pub async fn watch_captures(self: Arc<Self>, mut stop: Stop) {
        let mut watch = self.core.watch();
        loop {
            watch.mark_unchanged();
            if let Err(why) = self.forget_ended().await {
                tracing::warn!(%why, "what came of captures that have ended is still there");
            }
            tokio::select! {
                _ = stop.changed() => return,
                changed = watch.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// What came of captures that do not go on leaves nothing.
    pub(super) async fn forget_ended(&self) -> Result<(), AgentRefusal> {
        if self.captures.is_idle() {
            return Ok(());
        }
        let live = live(&self.core.world().fleet);
        self.blocking(move |captures| {
            captures.keep(&live);
            Ok(())
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Captures) -> Result<T, CaptureError> + Send + 'static,
    ) -> Result<T, AgentRefusal> {
        let captures = Arc::clone(&self.captures);
        let done = tokio::task::spawn_blocking(move || work(&captures)).await;
        Ok(done.map_err(|error| AgentRefusal::Broken(error.to_string()))??)
    }
}

/// The captures that go on.
fn live(fleet: &Fleet) -> BTreeSet<JobId> {
    fleet.captures.values().filter(|capture| capture.goes_on()).map(|capture| capture.id).collect()
}

/// `JOB/WINDOW`, as in `protocol::routes::stored`.
pub(super) fn place(rest: &str) -> Option<(JobId, u32)> {
    let (job, window) = rest.split_once('/')?;
    Some((job.parse().ok()?, window.parse().ok()?))
}
