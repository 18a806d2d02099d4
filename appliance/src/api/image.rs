//! Images: on their way in, those that are there, and what is done with them.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use fleet::image::{Image, prunable};
use fleet::view::image::{ImageView, PruneRow, PruneView, ScrubRow, ScrubView, StoreRow};
use fleet::view::{CheckRow, ImageRow};
use fleet::{Event, view};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Request, header};
use pack::Digest;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::JoinError;

use super::{Answer, Api, ApiError, one, read, rows};
use crate::images::{Damage, Freed, ImageError, Rest, Scrubbing};
use crate::writer::World;

/// Pieces of an upload that wait for the disk.
const AHEAD: usize = 8;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Delete {
    confirm: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scrub {
    /// By name or digest; all when there are none.
    images: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Prune {
    /// Digests that may go; all that can when there are none.
    images: Option<BTreeSet<Digest>>,
    #[serde(default)]
    dry_run: bool,
}

impl Api {
    pub(super) fn images(&self, world: &World) -> Answer {
        rows(world.fleet.images.values().map(|image| self.image_row(world, image)).collect())
    }

    pub(super) fn image(&self, world: &World, name: &str) -> Answer {
        one(self.image_view(world, world.fleet.find_image(name)?))
    }

    fn image_row(&self, world: &World, image: &Image) -> ImageRow {
        let damage = self.images.damaged(&image.digest).told();
        ImageRow { damage, ..view::image_row(&world.fleet, image) }
    }

    fn image_view(&self, world: &World, image: &Image) -> ImageView {
        let damaged_windows = match self.images.damaged(&image.digest) {
            Damage::Absent => Vec::new(),
            Damage::Windows(windows) => windows,
        };
        ImageView {
            row: self.image_row(world, image),
            // What is wrong then is told by the row.
            content: self.images.content(&image.digest).ok(),
            damaged_windows,
            checked: self.images.checked(&image.digest).map(|at| at.to_string()),
        }
    }

    pub(super) fn diff(&self, world: &World, from: &str, to: &str) -> Answer {
        let [from, to] = [world.fleet.find_image(from)?.digest, world.fleet.find_image(to)?.digest];
        one(self.images.diff(&from, &to)?)
    }

    /// Takes an image in as it streams. What is refused is refused at once, however much of it is still to come; a
    /// client that goes away leaves nothing behind.
    pub(super) async fn import(&self, request: Request<Incoming>) -> Answer {
        let length =
            request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
        let length: u64 =
            length.ok_or_else(|| ApiError::Body("an image needs a Content-Length".to_owned()))?;
        let (chunks, mut incoming) = mpsc::channel::<Bytes>(AHEAD);
        let images = Arc::clone(&self.images);
        let mut writing = tokio::task::spawn_blocking(move || {
            let mut import = images.import(length)?;
            while let Some(bytes) = incoming.blocking_recv() {
                import.push(&bytes)?;
            }
            import.finish()
        });
        let written = tokio::select! {
            // Before the last piece was fed it ends only with a refusal.
            written = &mut writing => written,
            fed = feed(request.into_body(), chunks) => {
                fed?;
                writing.await
            }
        };
        self.record(written.map_err(broken)??).await
    }

    /// An image that is in the store gets into the list; one that can't is not kept.
    async fn record(&self, image: Image) -> Answer {
        if let Err(refused) = self.core.bring(Event::Imported(image.clone())).await {
            // A file that nobody knows of would only take the room that is missing.
            if !self.core.world().fleet.images.contains_key(&image.digest)
                && let Err(error) = self.remove(image.digest).await
            {
                tracing::warn!(why = %error, "an image that is in no list is still in the store");
            }
            return Err(refused.into());
        }
        one(self.image_view(&self.core.world(), &image))
    }

    async fn remove(&self, digest: Digest) -> Result<Freed, ApiError> {
        self.blocking(move |images| images.remove(&digest)).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&crate::images::Images) -> Result<T, ImageError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let images = Arc::clone(&self.images);
        Ok(tokio::task::spawn_blocking(move || work(&images)).await.map_err(broken)??)
    }

    /// Deletes an image: out of the list first, so that no plan is made with it.
    pub(super) async fn delete_image(&self, name: &str, body: &[u8]) -> Answer {
        let Delete { confirm } = read(body)?;
        let image = self.core.world().fleet.find_image(name)?.clone();
        if confirm.as_deref() != Some(image.name.as_str()) {
            return Err(ApiError::Unnamed(image.name));
        }
        self.refuse_alone(&format!("delete image {}", image.digest), || {
            format!("rackwright image delete {0} --confirm {0}", image.name)
        })?;
        let bytes = self.images.bytes_of(&BTreeSet::from([image.digest]));
        self.core.bring(Event::ForgetImage(image.digest)).await?;
        let freed = self.remove(image.digest).await?;
        let row = prune_row(&image, bytes);
        one(PruneView { images: vec![row], bytes: freed.bytes, done: true, rewritten: 0 })
    }

    /// Deletes images that nothing needs and of whose name and origin there is a newer one, and rewrites packs of which little is left.
    pub(super) async fn prune(&self, body: &[u8]) -> Answer {
        let Prune { images: wanted, dry_run } = read(body)?;
        let world = self.core.world();
        let fits = |image: &&Image| wanted.as_ref().is_none_or(|wanted| wanted.contains(&image.digest));
        let images = prunable(&world.fleet).into_iter().filter(fits).cloned().collect::<Vec<_>>();
        let row = |image: &Image| prune_row(image, self.images.bytes_of(&BTreeSet::from([image.digest])));
        let rows = images.iter().map(row).collect();
        let all = images.iter().map(|image| image.digest).collect::<BTreeSet<_>>();
        if dry_run {
            let (live, packs) = self.images.sizes();
            let bytes = self.images.bytes_of(&all).saturating_add(packs.saturating_sub(live));
            return one(PruneView { images: rows, bytes, done: false, rewritten: 0 });
        }
        if !images.is_empty() {
            let which = all.iter().map(ToString::to_string).collect::<Vec<_>>();
            self.refuse_alone(&format!("prune {}", which.join(" ")), || "rackwright image prune".to_owned())?;
        }
        let mut freed = Freed::default();
        for image in &images {
            self.core.bring(Event::ForgetImage(image.digest)).await?;
            freed.bytes += self.remove(image.digest).await?.bytes;
        }
        let more = self.blocking(crate::images::Images::compact).await?;
        let (bytes, rewritten) = (freed.bytes.saturating_add(more.bytes), more.rewritten);
        one(PruneView { images: rows, bytes, done: true, rewritten })
    }

    /// Begins to read images through and compare every chunk.
    pub(super) fn begin_scrub(&self, body: &[u8]) -> Answer {
        let Scrub { images } = read(body)?;
        let world = self.core.world();
        let digests = match images {
            None => world.fleet.images.keys().copied().collect(),
            Some(names) => {
                let found = names.iter().map(|name| Ok(world.fleet.find_image(name)?.digest));
                found.collect::<Result<Vec<_>, ApiError>>()?
            }
        };
        // One that is not there has nothing to read.
        for digest in &digests {
            self.images.stored(digest)?;
        }
        self.images.begin_scrub(&digests, Rest::None);
        self.scrub(&world)
    }

    pub(super) fn scrub(&self, world: &World) -> Answer {
        one(self.scrub_view(world))
    }

    fn scrub_view(&self, world: &World) -> ScrubView {
        let Scrubbing { running, image, done_bytes, total_bytes, found, begun, ended } =
            self.images.scrubbing();
        let of = |digest: &Digest| world.fleet.images.get(digest);
        let name = |digest: &Digest| of(digest).map_or_else(|| digest.short(), |image| image.name.clone());
        let row = |(digest, bad): &(Digest, Vec<u32>)| ScrubRow {
            image: name(digest),
            digest: digest.to_string(),
            bytes: of(digest).map_or(0, |image| image.stored_bytes),
            bad: bad.clone(),
        };
        ScrubView {
            running,
            image: image.as_ref().map(name),
            done_bytes,
            total_bytes,
            found: found.iter().map(row).collect(),
            begun: begun.map(|at| at.to_string()),
            ended: ended.map(|at| at.to_string()),
        }
    }

    /// The store on one screen.
    pub(super) fn store_row(&self, world: &World) -> StoreRow {
        let problem = |image: &Image| {
            let what = self.images.damaged(&image.digest).told()?;
            let (name, digest) = (&image.name, image.digest.short());
            Some(format!("image {name} ({digest}): {what}; import it again: rackwright image import FILE"))
        };
        let ownerless = |image: &Image| {
            let (what, fix) = self.images.ownerless_told(image);
            format!("image {what}; {fix}")
        };
        let (bytes, pack_bytes) = self.images.sizes();
        let problems = world.fleet.images.values().filter_map(problem);
        let problems = problems.chain(self.images.ownerless(&world.fleet).iter().map(ownerless)).collect();
        StoreRow {
            images: world.fleet.images.len(),
            bytes,
            pack_bytes,
            problems,
            scrub: self.scrub_view(world),
        }
    }

    /// For `doctor`: one line for each image with which something is wrong, or one for all.
    pub(super) fn image_checks(&self, world: &World) -> Vec<CheckRow> {
        let damaged = world.fleet.images.values().filter_map(|image| {
            let what = self.images.damaged(&image.digest).told()?;
            let what = format!("{} ({}): {what}", image.name, image.digest.short());
            let fix = Some("import it again: rackwright image import FILE".to_owned());
            Some(CheckRow { fix, ..CheckRow::new("images", "fail", &what) })
        });
        let ownerless = self.images.ownerless(&world.fleet);
        let ownerless = ownerless.iter().map(|image| {
            let (what, fix) = self.images.ownerless_told(image);
            CheckRow { fix: Some(fix), ..CheckRow::new("images", "fail", &what) }
        });
        let damaged = damaged.chain(ownerless).collect::<Vec<_>>();
        match (damaged.is_empty(), world.fleet.images.len()) {
            (false, _) => damaged,
            (true, 1) => vec![CheckRow::new("images", "ok", "the one image is whole as far as is known")],
            (true, count) => {
                let what = format!("all {count} images are whole as far as is known");
                vec![CheckRow::new("images", "ok", &what)]
            }
        }
    }
}

fn prune_row(image: &Image, bytes: u64) -> PruneRow {
    PruneRow {
        name: image.name.clone(),
        digest: image.digest.to_string(),
        imported: image.imported.to_string(),
        bytes,
    }
}

/// Hands the body on piece by piece, as fast as the disk takes them.
async fn feed(mut body: Incoming, chunks: mpsc::Sender<Bytes>) -> Result<(), ApiError> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ApiError::Body(error.to_string()))?;
        let Ok(bytes) = frame.into_data() else { continue };
        if chunks.send(bytes).await.is_err() {
            break;
        }
    }
    Ok(())
}

fn broken(error: JoinError) -> ApiError {
    ApiError::Broken(error.to_string())
}
