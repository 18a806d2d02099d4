//! Randomness as an argument: one seed per event, from the shell.

/// A stream of bytes that one 32-byte seed decides.
pub struct Entropy {
    stream: blake3::OutputReader,
}

impl std::fmt::Debug for Entropy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entropy")
    }
}

impl Entropy {
    /// The stream of this seed. The shell takes the seed from the kernel, anew for every event.
    pub fn new(seed: &[u8; 32]) -> Self {
        let mut hash = blake3::Hasher::new_derive_key("rackwright 2026 fleet entropy v1");
        hash.update(seed);
        Self { stream: hash.finalize_xof() }
    }

    /// The next `N` bytes.
    pub fn draw<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        self.stream.fill(&mut out);
        out
    }
}
