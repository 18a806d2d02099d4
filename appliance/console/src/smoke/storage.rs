//! Volumes, and objects.

use bytes::Bytes;
use hyper::Method;
use serde_json::json;

use super::cloud::{Service, id_of, text};
use super::course::{Course, Ended, made};
use super::fault::Fault;
use super::instance::Instance;
use super::remains::PREFIX;
use super::step::Outcome;
use crate::client::segment;

/// How long a volume may take for each of its changes, as [`Course::deadline`] counts.
const CHANGE: u32 = 600;
/// How long the list of a container may be behind: the objects' updater comes every five minutes.
const LIST: u32 = 600;
const OBJECT_BYTES: usize = 256 << 10;

impl Course<'_> {
    pub(super) async fn volume(&mut self) -> Ended {
        if !self.cloud.has(Service::Volumes) {
            return Ok(Outcome::Skipped("the catalog has no block storage".to_owned()));
        }
        if let Some(why) = &self.offer.no_volumes {
            return Ok(Outcome::Skipped(why.clone()));
        }
        let wish = json!({"volume": {"name": PREFIX, "size": 1}});
        let answer = self.cloud.post(Service::Volumes, "/volumes", wish).await?;
        let volume = id_of(&answer, &["volume", "id"])?;
        self.becomes(&volume, "available").await?;
        if self.wish.no_attach {
            return Ok(Outcome::Ok("1 GiB, made; given to no instance: --no-attach".to_owned()));
        }
        let first = made(&self.made.first, "instance")?;
        let heard = self.attached(&first, &volume).await?;
        let path = format!("/servers/{}/os-volume_attachments/{}", segment(&first.id), segment(&volume));
        self.cloud.delete(Service::Compute, &path).await?;
        self.becomes(&volume, "available").await?;
        Ok(Outcome::Ok(heard))
    }

    /// Gives the volume to the instance, and hears that it can be written and read there.
    async fn attached(&mut self, first: &Instance, volume: &str) -> Result<String, Fault> {
        let path = format!("/servers/{}/os-volume_attachments", segment(&first.id));
        let wish = json!({"volumeAttachment": {"volumeId": volume}});
        self.cloud.post(Service::Compute, &path, wish).await?;
        self.becomes(volume, "in-use").await?;
        let (disk, bytes, kept) = self.hear(first, "what its disk keeps", |said| said.disk.clone()).await?;
        let size = crate::text::bytes(bytes);
        match (kept, bytes) {
            (true, 0x4000_0000) => Ok(format!("{disk}, {size}, written and read in the guest")),
            (true, _) => Err(Fault::new(format!("the guest sees {disk} with {size} instead of 1 GiB"))),
            (false, _) => {
                Err(Fault::new(format!("what the guest wrote to {disk} is not what it read there")))
            }
        }
    }

    async fn becomes(&mut self, volume: &str, wanted: &str) -> Result<(), Fault> {
        let path = format!("/volumes/{}", segment(volume));
        let deadline = self.deadline(CHANGE);
        loop {
            let answer = self.cloud.get(Service::Volumes, &path).await?;
            let status = text(&answer, &["volume", "status"]);
            if status == wanted {
                return Ok(());
            }
            self.tell(&format!("volume: {status}"));
            // error, error_attaching and so on: it does not go on from there by itself.
            if status.starts_with("error") || !self.again(deadline).await {
                return Err(Fault::new(format!("the volume is {status} instead of {wanted}")));
            }
        }
    }

    pub(super) async fn objects(&mut self) -> Ended {
        if !self.cloud.has(Service::Objects) {
            return Ok(Outcome::Skipped("the catalog has no object storage".to_owned()));
        }
        let content =
            Bytes::from((0..OBJECT_BYTES).map(|at| (at % 251).to_le_bytes()[0]).collect::<Vec<_>>());
        let (container, object) = (format!("/{PREFIX}"), format!("/{PREFIX}/{PREFIX}"));
        let nothing = || ("application/octet-stream", Bytes::new());
        self.cloud.raw(Service::Objects, Method::PUT, &container, nothing()).await?;
        let body = ("application/octet-stream", content.clone());
        self.cloud.raw(Service::Objects, Method::PUT, &object, body).await?;
        let back = self.cloud.raw(Service::Objects, Method::GET, &object, nothing()).await?.body;
        if back != content {
            let why = format!("{OBJECT_BYTES} bytes were put, and {} others came back", back.len());
            return Err(Fault::new(why));
        }
        self.cloud.delete(Service::Objects, &object).await?;
        self.emptied(&container).await?;
        Ok(Outcome::Ok(format!("{} came back as they were put", crate::text::bytes(OBJECT_BYTES as u64))))
    }

    /// Deletes a container that nothing is in any more. Swift keeps the list of it elsewhere than what was in it: where a node was slow to hear
    /// that the object has gone, the list follows minutes later, and until then the answer is a conflict (409).
    async fn emptied(&mut self, container: &str) -> Result<(), Fault> {
        let deadline = self.deadline(LIST);
        loop {
            match self.cloud.delete(Service::Objects, container).await {
                Err(fault) if fault.is(409) => {
                    self.tell("objects: the container's list still has the object");
                    if !self.again(deadline).await {
                        return Err(fault);
                    }
                }
                ended => return ended,
            }
        }
    }
}
