//! Which image, and which disk: what was named, or the only one that fits.

use protocol::{Disk, DiskBus, DiskId};

use super::{Unplannable, Wish};
use crate::image::Image;
use crate::{Catalog, Fleet, Node, capture};

/// The image that was named, else the one that carries least beside the roles.
pub(super) fn choose_image<'a>(
    fleet: &'a Fleet,
    catalog: &Catalog,
    node: &Node,
    wish: Wish<'a>,
) -> Result<&'a Image, Unplannable> {
    let roles = wish.roles.unwrap_or(&node.roles);
    if roles.is_empty() {
        return Err(Unplannable::NoRole { name: node.name.to_string() });
    }
    let needed = catalog.image_roles(roles);
    let lacks = |image: &Image| needed.difference(&image.roles).cloned().collect::<Vec<_>>();
    if let Some(image) = wish.image {
        let missing = lacks(image);
        return if missing.is_empty() {
            Ok(image)
        } else {
            Err(Unplannable::WrongImage { image: image.name.clone(), roles: missing.join(", ") })
        };
    }
    // The one that carries least beside what is wanted; of equals the newest. One that was taken of a node has more in it than
    // roles, and is for whoever names it.
    let fits = fleet
        .images
        .values()
        .filter(|image| lacks(image).is_empty() && !capture::is_taken(fleet, image.digest));
    fits.min_by_key(|image| (image.roles.len(), std::cmp::Reverse(image.imported)))
        .ok_or_else(|| Unplannable::NoImage { roles: needed.iter().cloned().collect::<Vec<_>>().join(", ") })
}

/// The disk that was named, else the only one that fits.
pub(super) fn choose_disk<'a>(
    node: &'a Node,
    image: &Image,
    named: Option<&DiskId>,
) -> Result<&'a Disk, Unplannable> {
    let disks = &node.inventory.disks;
    if let Some(named) = named {
        let mut same = disks.iter().filter(|disk| disk.id().as_ref() == Some(named));
        let missing = |why: &str| Unplannable::WrongDisk {
            name: node.name.to_string(),
            disk: named.to_string(),
            why: why.to_owned(),
        };
        let disk = same.next().ok_or_else(|| missing("it is not there"))?;
        if same.next().is_some() {
            return Err(missing("two disks call themselves so"));
        }
        return match unfit(disk, image) {
            None => Ok(disk),
            Some(why) => Err(missing(&why)),
        };
    }
    let automatic = |disk: &&Disk| unfit_unasked(disks, disk, image).is_none();
    let fit = disks.iter().filter(automatic).collect::<Vec<_>>();
    match fit.as_slice() {
        [one] => Ok(one),
        [] => Err(Unplannable::NoDisk {
            name: node.name.to_string(),
            need: image.least_bytes(),
            why: disks
                .iter()
                .map(|d| format!("{}: {}", title(d), unfit_unasked(disks, d, image).unwrap_or_default()))
                .collect(),
        }),
        several => Err(Unplannable::Ambiguous {
            name: node.name.to_string(),
            disks: several.iter().map(|disk| title(disk)).collect(),
        }),
    }
}

fn unfit(disk: &Disk, image: &Image) -> Option<String> {
    if disk.id().is_none() {
        Some("it has neither WWN nor serial, so it can't be told from another".to_owned())
    } else if disk.bytes < image.least_bytes() {
        Some(format!("it has {} bytes, the image needs at least {}", disk.bytes, image.least_bytes()))
    } else if disk.sector_bytes != image.carried().sector_bytes {
        Some(format!(
            "its sectors have {} bytes, and the tables and file systems of the image are made for {}",
            disk.sector_bytes,
            image.carried().sector_bytes
        ))
    } else if disk.read_only {
        Some("it is read-only".to_owned())
    } else {
        None
    }
}

/// Why a disk is not taken when nobody named it.
fn unfit_unasked(disks: &[Disk], disk: &Disk, image: &Image) -> Option<String> {
    let is_shared = || disks.iter().filter(|other| other.id() == disk.id()).count() > 1;
    match unfit(disk, image) {
        Some(why) => Some(why),
        // Also when the other one would not do: a job could not tell them apart.
        None if is_shared() => Some("two disks call themselves so".to_owned()),
        None if disk.removable || disk.bus == DiskBus::Usb => {
            Some("removable or USB: only by name, with --disk".to_owned())
        }
        None => None,
    }
}

pub(super) fn wrong_disk(node: &Node, disk: &Disk, why: &str) -> Unplannable {
    Unplannable::WrongDisk { name: node.name.to_string(), disk: title(disk), why: why.to_owned() }
}

/// How a disk is called in a message: by what a person can type back.
pub(crate) fn title(disk: &Disk) -> String {
    disk.id().map_or_else(|| format!("{} without serial", disk.model), |id| id.to_string())
}
