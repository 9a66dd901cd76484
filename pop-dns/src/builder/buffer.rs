//! Where a message is written: anything that grows at its end.

/// Octets that grow at their end.
pub trait Buffer {
    /// What was written so far.
    fn octets(&self) -> &[u8];

    /// The same, to be patched.
    fn octets_mut(&mut self) -> &mut [u8];

    /// The most octets that fit.
    fn capacity(&self) -> usize;

    /// Appends `octets`. The builder asks only for what fits into [`capacity`](Self::capacity).
    fn append(&mut self, octets: &[u8]);

    /// Forgets everything behind the first `len` octets.
    fn truncate(&mut self, len: usize);
}

#[cfg(feature = "alloc")]
impl Buffer for alloc::vec::Vec<u8> {
    #[inline]
    fn octets(&self) -> &[u8] {
        self
    }

    #[inline]
    fn octets_mut(&mut self) -> &mut [u8] {
        self
    }

    #[inline]
    fn capacity(&self) -> usize {
        usize::MAX
    }

    #[inline]
    fn append(&mut self, octets: &[u8]) {
        self.extend_from_slice(octets);
    }

    #[inline]
    fn truncate(&mut self, len: usize) {
        Self::truncate(self, len);
    }
}

/// A borrowed buffer of fixed size: a receive buffer, an array on the stack.
#[derive(Debug)]
pub struct SliceBuffer<'b> {
    octets: &'b mut [u8],
    len: usize,
}

impl<'b> SliceBuffer<'b> {
    /// An empty buffer over `octets`.
    #[must_use]
    pub const fn new(octets: &'b mut [u8]) -> Self {
        Self { octets, len: 0 }
    }

    /// The octets written.
    #[must_use]
    pub fn into_written(self) -> &'b mut [u8] {
        &mut self.octets[..self.len]
    }
}

impl Buffer for SliceBuffer<'_> {
    #[inline]
    fn octets(&self) -> &[u8] {
        &self.octets[..self.len]
    }

    #[inline]
    fn octets_mut(&mut self) -> &mut [u8] {
        &mut self.octets[..self.len]
    }

    #[inline]
    fn capacity(&self) -> usize {
        self.octets.len()
    }

    #[inline]
    fn append(&mut self, octets: &[u8]) {
        self.octets[self.len..self.len + octets.len()].copy_from_slice(octets);
        self.len += octets.len();
    }

    #[inline]
    fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}
