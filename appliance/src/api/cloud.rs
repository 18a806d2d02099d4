//! The cloud: how its services are, and the way in.

use std::io::Read;
use std::path::Path;

use bytes::Bytes;
use fleet::{Denied, Event, view};
use http_body_util::Full;
use hyper::Response;
use serde::Deserialize;

use super::{Answer, Api, ApiError, Query, one, read, rows};
use crate::boot::{BootError, BootStore};
use crate::writer::{World, now};

/// Neither part of the guest is larger, in bytes: whoever asks takes a part as one piece.
const MAX_PART: u64 = 32 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotate {
    confirm: Option<String>,
}

impl Api {
    pub(super) fn cloud(&self, world: &World) -> Answer {
        if !self.core.catalog.is_cloud() {
            return Err(no_cloud().into());
        }
        rows(view::cloud_rows(&world.fleet, &world.site, &self.core.catalog, now()))
    }

    /// A secret: asked for like a change, so that the journal says who has it.
    pub(super) fn cloud_access(&self, world: &World) -> Answer {
        if !self.core.catalog.is_cloud() {
            return Err(no_cloud().into());
        }
        let none = || Denied::Conflict("no node has the role control: there is no keystone yet".to_owned());
        one(view::cloud_access(&world.fleet, &world.site).ok_or_else(none)?)
    }

    /// What an upgrade of the nodes would be.
    pub(super) fn upgrade(&self, world: &World) -> Answer {
        if !self.core.catalog.is_cloud() {
            return Err(no_cloud().into());
        }
        let images = world.fleet.images.keys();
        let packages = images.filter_map(|digest| Some((*digest, self.images.packages(digest)?))).collect();
        one(view::upgrade_view(&world.fleet, &self.core.catalog, &packages))
    }

    /// How far a rotation of the passwords is; none of them is in it.
    pub(super) fn passwords(&self, world: &World) -> Answer {
        if !self.core.catalog.is_cloud() {
            return Err(no_cloud().into());
        }
        one(view::passwords_view(&world.fleet, &world.site, &self.core.catalog, now()))
    }

    /// Others take the place of all passwords. They are durable when this is answered; nodes are told, and take them, after that.
    pub(super) async fn rotate_passwords(&self, body: &[u8]) -> Answer {
        let Rotate { confirm } = read(body)?;
        if !self.core.catalog.is_cloud() {
            return Err(no_cloud().into());
        }
        let world = self.core.world();
        let site = &world.site.name;
        if confirm.as_deref() != Some(site.as_str()) {
            return Err(ApiError::Rotates(site.clone()));
        }
        self.refuse_alone("rotate the passwords of the cloud", || {
            format!("rackwright cloud passwords rotate --confirm {site}")
        })?;
        self.core.bring(Event::Rotate).await?;
        self.passwords(&self.core.world())
    }

    /// One part of the guest that proves the cloud, as it lies in the boot store.
    pub(super) async fn cloud_guest(&self, query: &Query) -> Answer {
        if !self.core.catalog.is_cloud() {
            return Err(no_cloud().into());
        }
        let part = match query.text("part") {
            Some("kernel") => BootStore::guest_kernel,
            Some("ramdisk") => BootStore::guest_ramdisk,
            _ => return Err(ApiError::Body("part is kernel or ramdisk".to_owned())),
        };
        let boot = self.joining.boot.clone();
        let read = tokio::task::spawn_blocking(move || read_part(&boot, part)).await;
        let bytes = read.map_err(|error| ApiError::Broken(error.to_string()))??;
        Ok(Response::new(Full::new(Bytes::from(bytes))))
    }
}

type Part = fn(&BootStore) -> Result<(std::fs::File, u64), BootError>;

fn read_part(boot: &Path, part: Part) -> Result<Vec<u8>, ApiError> {
    let unusable = |error: BootError| Denied::Conflict(crate::chain(&error));
    let (file, length) = BootStore::open(boot).and_then(|store| part(&store)).map_err(unusable)?;
    if length > MAX_PART {
        return Err(Denied::Conflict(too_large(boot, length)).into());
    }
    let mut bytes = Vec::new();
    let read = file.take(MAX_PART).read_to_end(&mut bytes);
    read.map_err(|error| ApiError::Broken(format!("reading the guest: {error}")))?;
    Ok(bytes)
}

fn too_large(boot: &Path, length: u64) -> String {
    format!(
        "a part of the guest is {length} bytes long: make it again (image-build ramdisk --out {})",
        boot.display()
    )
}

fn no_cloud() -> Denied {
    Denied::Conflict(
        "this rack is no cloud: put the line [cloud] into rackwright.toml and restart rackwright.service"
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::tests::fill;

    #[test]
    fn the_guest_comes_from_the_boot_store_and_a_store_without_one_says_how_to_get_it() {
        let boot = tempfile::tempdir().unwrap();
        fill(boot.path());
        let kernel = read_part(boot.path(), BootStore::guest_kernel).unwrap();
        assert_eq!(kernel, std::fs::read(boot.path().join("vmlinuz")).unwrap());
        let refused = read_part(boot.path(), BootStore::guest_ramdisk).unwrap_err();
        let said = refused.to_string();
        assert!(said.contains("guest.img") && said.contains("image-build ramdisk --out"), "{said}");
        assert_eq!(refused.codes().1, 4, "{said}");

        std::fs::write(boot.path().join("guest.img"), "a guest").unwrap();
        assert_eq!(read_part(boot.path(), BootStore::guest_ramdisk).unwrap(), b"a guest");
        std::fs::File::create(boot.path().join("guest.img")).unwrap().set_len(MAX_PART + 1).unwrap();
        let said = read_part(boot.path(), BootStore::guest_ramdisk).unwrap_err().to_string();
        assert!(said.contains("33554433 bytes") && said.contains("image-build ramdisk"), "{said}");
    }
}
