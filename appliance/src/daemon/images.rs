//! The image store over the weeks: images that the list lacks after a start, and the scrub that nobody asked for.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fleet::Event;
use fleet::job::Work;

use crate::chain;
use crate::images::{Images, Rest};
use crate::listen::Stop;
use crate::writer::{Core, now};

/// How often it is looked whether an image is overdue.
const LOOK: Duration = Duration::from_secs(600);
const DAY_SECONDS: u64 = 86_400;

/// Puts images into the list that are in the store, whole, and signed by a trusted key: the power went after they came and
/// before that was noted, or the state is of an older backup. One that was taken of a node, when nobody knows of which, is left
/// alone. Damaged ones that nobody knows are removed.
pub async fn adopt(core: &Core, images: &Arc<Images>) {
    let world = core.world();
    let known = world.fleet.images.keys().copied().collect::<BTreeSet<_>>();
    let ownerless = images.ownerless(&world.fleet);
    for (what, fix) in ownerless.iter().map(|image| images.ownerless_told(image)) {
        tracing::error!(what, fix, "an image in the store is left alone");
    }
    let left = known.iter().copied().chain(ownerless.iter().map(|image| image.digest));
    let left = left.collect::<BTreeSet<_>>();
    for image in images.all().into_iter().filter(|image| !left.contains(&image.digest)) {
        tracing::info!(image = image.name, digest = %image.digest.short(), "an image was found in the store");
        if let Err(why) = core.bring(Event::Imported(image)).await {
            tracing::warn!(%why, "an image in the store is in no list");
        }
    }
    let images = Arc::clone(images);
    drop(tokio::task::spawn_blocking(move || images.remove_unread(&known)).await);
}

/// [`adopt`]s, then has every image read through once in so many days: one after the other, and none is begun while servers
/// are being written or read.
pub(super) async fn keep(core: Core, images: Arc<Images>, days: u16, mut stop: Stop) {
    adopt(&core, &images).await;
    if days == 0 {
        return;
    }
    loop {
        tokio::select! {
            _ = stop.changed() => return,
            () = tokio::time::sleep(LOOK) => begin(&core, &images, u64::from(days) * DAY_SECONDS),
        }
    }
}

fn begin(core: &Core, images: &Arc<Images>, seconds: u64) {
    let world = core.world();
    if images.scrubbing().running || Work::all(&world.fleet).any(|work| !work.state().ended()) {
        return;
    }
    let here = world.fleet.images.values().filter(|image| match images.stored(&image.digest) {
        Ok(_) => true,
        Err(error) => {
            tracing::debug!(why = chain(&error), "an image can't be read through");
            false
        }
    });
    let here = here.map(|image| (image.digest, image.imported)).collect::<Vec<_>>();
    if let Some(digest) = images.overdue(&here, seconds, now()) {
        images.begin_scrub(&[digest], Rest::Half);
    }
}
