//! Which image is written: the one whose manifest the job's signer signed, under the job's own digest.

use std::time::Duration;

use pack::{Digest, Manifest, Signed, Span};
use protocol::{ImageJob, SEED_BYTES, SEED_OFFSET, routes};

use crate::controller::{CallError, Line};

const DEADLINE: Duration = Duration::from_secs(60);

/// Why an image is not written.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The manifest did not come.
    #[error("fetching the manifest")]
    Fetch(#[source] CallError),
    /// Not the JSON of a signed manifest.
    #[error("reading the manifest")]
    Decode(#[source] serde_json::Error),
    /// Not signed by the job's key, or not valid.
    #[error("refusing the image {image}")]
    Untrusted {
        /// Its name.
        image: Digest,
        /// Why.
        source: pack::VerifyError,
    },
    /// Signed and valid, but another image.
    #[error("refusing the image: the job names {want}, the manifest is {got}")]
    Other {
        /// In the job.
        want: Digest,
        /// That came.
        got: Digest,
    },
    /// The disk is too small.
    #[error("refusing the image: it needs a disk of at least {need} bytes, this one has {have}")]
    TooBig {
        /// The smallest disk it goes onto.
        need: u64,
        /// The target.
        have: u64,
    },
    /// For another kind of processor.
    #[error("refusing the image: it is for {image}, this server is {server}")]
    Arch {
        /// The image's.
        image: String,
        /// Ours.
        server: &'static str,
    },
    /// It could never enrol.
    #[error("refusing the image: it has no place for the seed ({SEED_BYTES} bytes at {SEED_OFFSET})")]
    NoSeed,
    /// This machine gave up on its own work.
    #[error("checking the manifest")]
    Thread(#[source] tokio::task::JoinError),
}

/// Fetches the manifest of a job, once.
///
/// # Errors
/// [`ImageError::Fetch`] when it may help to try again, else another.
pub async fn fetch(line: &mut Line, job: &ImageJob) -> Result<Manifest, ImageError> {
    let body = line.get(&routes::manifest(&job.image), None, DEADLINE).await.map_err(ImageError::Fetch)?;
    let (image, signer, bytes) = (job.image, job.signer, job.target.bytes);
    let checked = tokio::task::spawn_blocking(move || {
        let signed: Signed = serde_json::from_slice(&body).map_err(ImageError::Decode)?;
        let believed = signed.verify(&[signer]);
        let (got, manifest) = believed.map_err(|source| ImageError::Untrusted { image, source })?;
        if got != image {
            return Err(ImageError::Other { want: image, got });
        }
        fits(&manifest, bytes, std::env::consts::ARCH)?;
        Ok(manifest)
    });
    checked.await.map_err(ImageError::Thread)?
}

/// Whether an image may go onto a disk of so many bytes in such a server.
fn fits(manifest: &Manifest, bytes: u64, arch: &'static str) -> Result<(), ImageError> {
    let need = manifest.layout().least_bytes(manifest.disk_bytes());
    if need > bytes {
        return Err(ImageError::TooBig { need, have: bytes });
    }
    let debian = match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    if manifest.arch() != debian {
        return Err(ImageError::Arch { image: manifest.arch().to_owned(), server: debian });
    }
    // The seed lies between the first and the last MiB, the disk's and the image's: these are zeroed while it has to stay.
    let is_between = manifest.disk_bytes().min(bytes) >= SEED_OFFSET + SEED_BYTES + u64::from(pack::WINDOW);
    match manifest.seed() {
        Some(Span { offset: SEED_OFFSET, bytes }) if bytes >= SEED_BYTES && is_between => Ok(()),
        Some(_) | None => Err(ImageError::NoSeed),
    }
}

#[cfg(test)]
mod tests {
    use pack::{About, Builder, Manifest, Span};
    use protocol::{SEED_BYTES, SEED_OFFSET};

    use super::{ImageError, fits};

    fn manifest(arch: &str, seed: Option<Span>) -> Manifest {
        of_layout(arch, seed, pack::Layout::default())
    }

    fn of_layout(arch: &str, seed: Option<Span>, layout: pack::Layout) -> Manifest {
        let mut builder = Builder::new(About {
            name: "n".to_owned(),
            arch: arch.to_owned(),
            roles: Vec::new(),
            disk_bytes: 128 << 20,
            seed,
            packages: None,
            layout,
        });
        for window in [0, 127] {
            builder.push(&pack::chunk(window, &vec![0; 1 << 20], 1).unwrap()).unwrap();
        }
        builder.finish().unwrap()
    }

    #[test]
    fn only_an_image_that_will_run_here_and_enrol() {
        let seed = Some(Span { offset: SEED_OFFSET, bytes: SEED_BYTES });
        let good = manifest("amd64", seed);
        fits(&good, 128 << 20, "x86_64").unwrap();
        assert!(matches!(fits(&good, (128 << 20) - 512, "x86_64"), Err(ImageError::TooBig { .. })));
        assert!(matches!(fits(&good, 1 << 40, "aarch64"), Err(ImageError::Arch { .. })));
        let elsewhere = Some(Span { offset: 1 << 20, bytes: SEED_BYTES });
        for seed in [None, elsewhere, Some(Span { offset: SEED_OFFSET, bytes: 512 })] {
            assert!(matches!(fits(&manifest("amd64", seed), 1 << 40, "x86_64"), Err(ImageError::NoSeed)));
        }
    }

    #[test]
    fn a_smaller_disk_has_the_partitions_and_the_seed_before_its_last_mib() {
        let seed = Some(Span { offset: SEED_OFFSET, bytes: SEED_BYTES });
        let ending = |end: u64| {
            let part = pack::PartitionId {
                number: 1,
                kind: String::new(),
                uuid: String::new(),
                name: String::new(),
                offset: 1 << 20,
                bytes: end - (1 << 20),
            };
            let table = Some(pack::TableId { kind: "gpt".to_owned(), id: String::new() });
            of_layout(
                "amd64",
                seed,
                pack::Layout { table, partitions: vec![part], ..pack::Layout::default() },
            )
        };
        let image = ending(100 << 20);
        fits(&image, 101 << 20, "x86_64").unwrap();
        let told = fits(&image, (101 << 20) - 512, "x86_64").unwrap_err();
        assert!(told.to_string().contains("a disk of at least 105906176 bytes"), "{told}");
        // A table that leaves the seed out.
        let image = ending(20 << 20);
        fits(&image, SEED_OFFSET + SEED_BYTES + (1 << 20), "x86_64").unwrap();
        let told = fits(&image, SEED_OFFSET + SEED_BYTES + (1 << 20) - 512, "x86_64");
        assert!(matches!(told, Err(ImageError::NoSeed)));
    }
}
