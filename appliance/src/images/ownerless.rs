//! Images that nodes have taken, when the state does not say of which node: it is older than they are.

use fleet::Fleet;
use fleet::image::Image;
use pack::Digest;

use super::shelf::manifest_name;
use super::{Images, describe};

impl Images {
    /// Images that were signed with the controller's own key, and that neither the list nor any capture names. They may have the
    /// keys of a node in them, and nobody knows of which: they come into no list by themselves.
    pub fn ownerless(&self, fleet: &Fleet) -> Vec<Image> {
        let own = self.key.public();
        let is_named = |digest: &Digest| {
            let mut captures = fleet.captures.values();
            fleet.images.contains_key(digest) || captures.any(|capture| capture.image == Some(*digest))
        };
        let shelf = self.shelf();
        let found = shelf.images().filter(|(digest, stored)| stored.signed.key == own && !is_named(digest));
        found.map(|(digest, stored)| describe(digest, &stored.manifest, stored.signed.key)).collect()
    }

    /// What is wrong with one, and what an operator does about it.
    pub fn ownerless_told(&self, image: &Image) -> (String, String) {
        let (name, digest) = (&image.name, image.digest.short());
        let path = self.folder.join(&manifest_name(&image.digest));
        (
            format!(
                "{name} ({digest}) was taken of a node, and the state does not know of which: it is in no list"
            ),
            format!(
                "put a younger backup of the state back; or take the image again (rackwright image capture NODE), then \
                 stop the controller and delete {}",
                path.display()
            ),
        )
    }
}
