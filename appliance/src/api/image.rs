//! Images on their way in, and those that are there read through.

use std::sync::Arc;

use bytes::Bytes;
use fleet::{Event, view};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Request, header};
use tokio::sync::mpsc;
use tokio::task::JoinError;

use super::{Answer, Api, ApiError, one};

/// Pieces of an upload that wait for the disk.
const AHEAD: usize = 8;

impl Api {
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
        let image = written.map_err(broken)??;
        if let Err(refused) = self.core.bring(Event::Imported(image.clone())).await {
            // A file that nobody knows of would only take the room that is missing.
            if !self.core.world().fleet.images.contains_key(&image.digest)
                && let Err(error) = self.images.discard(&image.digest)
            {
                tracing::warn!(
                    why = crate::chain(&error),
                    "an image that is in no list is still in the store"
                );
            }
            return Err(refused.into());
        }
        one(view::image_row(&self.core.world().fleet, &image))
    }

    /// Reads an image through and compares every chunk.
    pub(super) async fn scrub(&self, name: &str) -> Answer {
        let world = self.core.world();
        let image = world.fleet.find_image(name)?.clone();
        let (images, digest) = (Arc::clone(&self.images), image.digest);
        let scrubbed = tokio::task::spawn_blocking(move || images.scrub(&digest)).await;
        let bad = scrubbed.map_err(broken)??;
        one(serde_json::json!({
            "digest": image.digest.to_string(),
            "bytes": image.content_bytes,
            "bad": bad,
        }))
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
