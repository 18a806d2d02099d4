//! What is in the ISO, as SPDX 2.3 in JSON: Debian's packages in the live system and in each node image, those that kernel,
//! ramdisk and loaders come from, and the crates that our programs are locked to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{IsoError, Job};
use crate::archive::Package;
use crate::files;
use crate::node;

/// Where it is on the medium.
pub(super) const PLACE: &str = "rackwright/sbom.spdx.json";

#[derive(Debug, Deserialize)]
struct Lock {
    package: Vec<Crate>,
}

#[derive(Debug, Deserialize)]
struct Crate {
    name: String,
    version: String,
    checksum: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    spdx_version: &'a str,
    data_license: &'a str,
    #[serde(rename = "SPDXID")]
    id: &'a str,
    name: &'a str,
    document_namespace: String,
    creation_info: Creation,
    packages: Vec<Item>,
    relationships: Vec<Relationship>,
}

#[derive(Debug, Serialize)]
struct Creation {
    created: String,
    creators: [&'static str; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    #[serde(rename = "SPDXID")]
    id: String,
    name: String,
    version_info: String,
    download_location: &'static str,
    files_analyzed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checksums: Vec<Checksum>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_refs: Vec<Reference>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Checksum {
    algorithm: &'static str,
    checksum_value: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    reference_category: &'static str,
    reference_type: &'static str,
    reference_locator: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Relationship {
    spdx_element_id: String,
    relationship_type: &'static str,
    related_spdx_element: String,
}

const ROOT: &str = "SPDXRef-iso";

/// The document.
pub(super) fn document(job: &Job<'_>) -> Result<String, IsoError> {
    let lock = crates(job.order.lock)?;
    let release = &job.workshop.release;
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(release.epoch.into());
    let mut items = vec![item(ROOT, "rackwright-iso", env!("CARGO_PKG_VERSION"), None)];
    items.extend(job.images.iter().map(|image| {
        let (name, digest) = (image.manifest.name(), image.digest.to_string());
        item(&reference("image", name, &digest), name, &digest, None)
    }));
    items.extend(debian(job)?.into_iter().map(|(package, places)| {
        let Package { name, version } = package;
        let purl = format!("pkg:deb/debian/{name}@{}?arch=amd64&distro={}", escaped(&version), release.name);
        let places = places.into_iter().collect::<Vec<_>>().join(", ");
        Item {
            comment: Some(format!("in {places}")),
            ..item(&reference("deb", &name, &version), &name, &version, Some(purl))
        }
    }));
    items.extend(lock.into_iter().map(|Crate { name, version, checksum }| {
        let purl = checksum.is_some().then(|| format!("pkg:cargo/{name}@{}", escaped(&version)));
        let sha256 = |checksum_value| Checksum { algorithm: "SHA256", checksum_value };
        Item {
            checksums: checksum.map(sha256).into_iter().collect(),
            ..item(&reference("crate", &name, &version), &name, &version, purl)
        }
    }));
    let document = Document {
        spdx_version: "SPDX-2.3",
        data_license: "CC0-1.0",
        id: "SPDXRef-DOCUMENT",
        name: "rackwright-iso",
        document_namespace: format!("urn:uuid:{}", job.ids.uuid("bill")),
        creation_info: Creation {
            created: humantime::format_rfc3339_seconds(time).to_string(),
            creators: ["Tool: rackwright image-build"],
        },
        relationships: relationships(&items),
        packages: items,
    };
    Ok(serde_json::to_string_pretty(&document).map_err(IsoError::List)? + "\n")
}

/// Each Debian package, with where it is in.
fn debian(job: &Job<'_>) -> Result<BTreeMap<Package, BTreeSet<String>>, IsoError> {
    let mut found: BTreeMap<Package, BTreeSet<String>> = BTreeMap::new();
    let mut put = |packages: &[Package], place: &str| {
        for package in packages {
            found.entry(package.clone()).or_default().insert(place.to_owned());
        }
    };
    put(&job.system.packages, "the live system");
    put(job.workshop.toolbox.packages(), "kernel, ramdisks and loaders, or the tools that made them");
    for (image, path) in job.images.iter().zip(job.order.images) {
        // A disk that somebody else made: it is named, and what is on it is not known.
        let Some(digest) = image.manifest.packages() else { continue };
        let packages = node::packages(job.workshop, job.order.catalog, image.manifest.roles())?;
        if digest != node::digest(&packages) {
            return Err(IsoError::OldImage(path.clone()));
        }
        put(&packages, &format!("image {}", image.manifest.name()));
    }
    Ok(found)
}

fn crates(path: &Path) -> Result<Vec<Crate>, IsoError> {
    let lock: Lock = toml::from_str(&files::read_text(path)?)
        .map_err(|source| IsoError::Lock { path: path.to_owned(), source })?;
    Ok(lock.package)
}

fn item(id: &str, name: &str, version: &str, purl: Option<String>) -> Item {
    let refer = |reference_locator| Reference {
        reference_category: "PACKAGE-MANAGER",
        reference_type: "purl",
        reference_locator,
    };
    Item {
        id: id.to_owned(),
        name: name.to_owned(),
        version_info: version.to_owned(),
        download_location: "NOASSERTION",
        files_analyzed: false,
        comment: None,
        checksums: vec![],
        external_refs: purl.map(refer).into_iter().collect(),
    }
}

/// Letters, digits, dots and dashes are all that SPDX allows in an id.
fn reference(kind: &str, name: &str, version: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '.' { c.to_string() } else { format!("-{:x}-", u32::from(c)) }
    };
    format!("SPDXRef-{kind}-{}", [name, "@", version].concat().chars().map(plain).collect::<String>())
}

/// Percent-encoding of a version in a package URL.
fn escaped(version: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_~".contains(c);
    version.chars().map(|c| if plain(c) { c.to_string() } else { format!("%{:02X}", u32::from(c)) }).collect()
}

fn relationships(items: &[Item]) -> Vec<Relationship> {
    let to = |from: &str, relationship_type, id: &str| Relationship {
        spdx_element_id: from.to_owned(),
        relationship_type,
        related_spdx_element: id.to_owned(),
    };
    let inside = items.iter().skip(1).map(|item| to(ROOT, "CONTAINS", &item.id));
    std::iter::once(to("SPDXRef-DOCUMENT", "DESCRIBES", ROOT)).chain(inside).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_distinct_and_made_of_allowed_letters() {
        let ids = [("a", "1:2"), ("a", "1-2"), ("a-1", "2"), ("a", "1~2"), ("a+", "1")];
        let ids: BTreeSet<_> =
            ids.into_iter().map(|(name, version)| reference("deb", name, version)).collect();
        assert_eq!(ids.len(), 5);
        assert!(
            ids.iter().all(|id| id.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c))),
            "{ids:?}"
        );
        assert_eq!(escaped("1:2+b~1"), "1%3A2%2Bb~1");
    }

    #[test]
    fn the_lock_file_of_the_project_is_read() {
        let lock = crates(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock")).unwrap();
        let zstd = lock.iter().find(|one| one.name == "zstd").unwrap();
        assert_eq!(zstd.checksum.as_ref().unwrap().len(), 64);
        assert!(lock.iter().any(|one| one.name == "image-build" && one.checksum.is_none()));
    }
}
