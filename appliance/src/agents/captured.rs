//! An image that was taken is in the store: it gets into the list, or leaves the store again.

use std::sync::Arc;
use std::time::Duration;

use fleet::image::Image;
use fleet::{Event, Fleet, Reply};
use pack::Digest;
use protocol::{Found, JobId, NodeId, Task};

use super::{AgentRefusal, Agents};
use crate::writer::Refused;

/// How often, and after what time, it is tried to save that the image is there, when nothing can be saved.
const ATTEMPTS: u32 = 30;
const PAUSE: Duration = Duration::from_secs(2);

impl Agents {
    /// Notes that the image of a capture is in the store, and says what comes next for the node. One that is not wanted any more,
    /// because the job was cancelled while the image was made, is not kept.
    pub(super) async fn captured(
        &self,
        (node, job): (NodeId, JobId),
        image: Image,
        found: Vec<Found>,
    ) -> Result<Task, AgentRefusal> {
        let digest = image.digest;
        let mut attempts = 1..ATTEMPTS;
        let done = loop {
            let event = Event::Captured { node, job, image: Box::new(image.clone()), found: found.clone() };
            match self.core.bring(event).await {
                Err(Refused::Unsaved(_)) if attempts.next().is_some() => tokio::time::sleep(PAUSE).await,
                done => break done,
            }
        };
        if matches!(done, Err(Refused::Denied(_))) && !is_wanted(&self.core.world().fleet, job, digest) {
            self.drop_image(digest).await;
        }
        let Reply::Task(task) = done?.reply else {
            return Err(AgentRefusal::Broken("an image was answered with something else".to_owned()));
        };
        Ok(task)
    }

    async fn drop_image(&self, digest: Digest) {
        let images = Arc::clone(&self.images);
        let removed = tokio::task::spawn_blocking(move || images.remove(&digest)).await;
        let why = match removed {
            Ok(Ok(_)) => return,
            Ok(Err(error)) => crate::chain(&error),
            Err(error) => error.to_string(),
        };
        tracing::warn!(why, "an image that is in no list is still in the store");
    }
}

/// Whether the list has this image, or another capture is about to bring it there.
fn is_wanted(fleet: &Fleet, job: JobId, digest: Digest) -> bool {
    let mut others = fleet.captures.values().filter(|capture| capture.id != job && capture.goes_on());
    fleet.images.contains_key(&digest) || others.any(|capture| capture.image == Some(digest))
}
