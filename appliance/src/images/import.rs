//! Taking an image file in as it streams.

use fleet::image::Image;
use pack::{Header, Manifest, Parsed};

use super::{ImageError, Images, Intake};

/// An image on its way in; dropped before [`Import::finish`], it leaves nothing.
#[derive(Debug)]
pub struct Import<'a> {
    images: &'a Images,
    intake: Intake<&'a Images>,
    want: u64,
    got: u64,
    pending: Vec<u8>,
    head: Option<(Header, Manifest)>,
    next: usize,
}

impl<'a> Import<'a> {
    pub(super) fn begin(images: &'a Images, want: u64) -> Result<Self, ImageError> {
        let intake = Intake::begin(images);
        // No more than all of what the store has can be in this image too.
        if intake.reserve(want.saturating_sub(images.shelf().bytes())).is_err() {
            intake.reserve(want)?;
        }
        Ok(Self { images, intake, want, got: 0, pending: Vec::new(), head: None, next: 0 })
    }

    /// The next bytes.
    ///
    /// # Errors
    /// [`ImageError`] as soon as they show that the image is not to be taken.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        self.got = self.got.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.pending.extend_from_slice(bytes);
        if self.head.is_none() {
            self.take_head()?;
        }
        self.take_chunks()
    }

    fn take_head(&mut self) -> Result<(), ImageError> {
        let header = match Header::parse(&self.pending)? {
            Parsed::Needs(_) => return Ok(()),
            Parsed::Whole(header) => header,
        };
        let (_, manifest) = header.signed.verify(&self.images.trusted)?;
        header.check_file_bytes(&manifest, self.want)?;
        let begin = usize::try_from(header.data_begin()).unwrap_or(usize::MAX).min(self.pending.len());
        self.intake.reserve(self.needs(&manifest).saturating_add(header.data_begin()))?;
        self.pending.drain(..begin);
        self.head = Some((header, manifest));
        Ok(())
    }

    /// Bytes of it that the store does not have.
    fn needs(&self, manifest: &Manifest) -> u64 {
        let missing = manifest.chunks().iter().filter(|chunk| self.intake.lacks(chunk));
        missing.map(|chunk| u64::from(chunk.stored)).sum()
    }

    fn take_chunks(&mut self) -> Result<(), ImageError> {
        let Some((_, manifest)) = &self.head else { return Ok(()) };
        let mut taken = 0;
        while let Some(chunk) = manifest.chunks().get(self.next) {
            let stored = usize::try_from(chunk.stored).unwrap_or(usize::MAX);
            let Some(stored) = self.pending.get(taken..).and_then(|rest| rest.get(..stored)) else { break };
            self.intake.put(chunk, stored)?;
            taken += stored.len();
            self.next += 1;
        }
        self.pending.drain(..taken);
        Ok(())
    }

    /// The image is whole: durable, then visible under its digest.
    ///
    /// # Errors
    /// [`ImageError`]; then nothing is left of it.
    pub fn finish(mut self) -> Result<Image, ImageError> {
        let short = ImageError::Short { got: self.got, want: self.want };
        let whole = self.head.take().filter(|(_, manifest)| self.next == manifest.chunks().len());
        let (header, _) = whole.ok_or(short)?;
        self.intake.seal(header.signed)
    }
}
