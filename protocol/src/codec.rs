//! Reads and writes values that are encoded field by field: little-endian, no padding, with bounds
//! checks.

/// The input ended before the value did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message ends too soon")]
pub struct Truncated;

/// A cursor over received bytes.
#[derive(Clone, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Creates a reader that starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes that have not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// Reads the next `len` bytes.
    ///
    /// # Errors
    /// [`Truncated`] if fewer bytes are left, as with every method that reads.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], Truncated> {
        let (head, tail) = self.0.split_at_checked(len).ok_or(Truncated)?;
        self.0 = tail;
        Ok(head)
    }

    /// Reads the next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let (head, tail) = self.0.split_first_chunk::<N>().ok_or(Truncated)?;
        self.0 = tail;
        Ok(*head)
    }

    /// Reads one byte.
    pub fn u8(&mut self) -> Result<u8, Truncated> {
        Ok(self.array::<1>()?[0])
    }

    /// Reads two bytes as a number.
    pub fn u16(&mut self) -> Result<u16, Truncated> {
        self.array().map(u16::from_le_bytes)
    }

    /// Reads three bytes as a number in two's complement.
    pub fn i24(&mut self) -> Result<i32, Truncated> {
        let [a, b, c] = self.array()?;
        Ok(i32::from_le_bytes([0, a, b, c]) >> 8)
    }

    /// Reads four bytes as a number.
    pub fn u32(&mut self) -> Result<u32, Truncated> {
        self.array().map(u32::from_le_bytes)
    }

    /// Reads eight bytes as a number.
    pub fn u64(&mut self) -> Result<u64, Truncated> {
        self.array().map(u64::from_le_bytes)
    }

    /// Reads a u16 length, then a byte string of that length.
    pub fn string(&mut self) -> Result<&'a [u8], Truncated> {
        let len = self.u16()?;
        self.bytes(usize::from(len))
    }
}

/// Appends a u16 length and the byte string. Cuts a string off after `u16::MAX` bytes.
pub fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&bytes[..usize::from(len)]);
}

/// Appends the lower three bytes of a number.
pub fn put_i24(out: &mut Vec<u8>, number: i32) {
    out.extend_from_slice(&number.to_le_bytes()[..3]);
}
