//! Moments that are finer than [`crate::Millis`].

/// A moment, in microseconds on a clock that never goes back; where it began does not matter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub u64);

impl Micros {
    /// This long after.
    #[must_use]
    pub fn after(self, span: Micros) -> Micros {
        Micros(self.0.saturating_add(span.0))
    }

    /// How long since an earlier moment; nothing when it was not earlier.
    #[must_use]
    pub fn since(self, earlier: Micros) -> Micros {
        Micros(self.0.saturating_sub(earlier.0))
    }
}
