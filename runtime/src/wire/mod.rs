//! Messages between client and server: a header that says what they are and which plan they belong to, a payload, and a
//! checksum. Nothing of a payload is read before all of that holds.
//!
//! All numbers are little-endian:
//!
//! ```text
//! magic 8 · version u32 · kind u32 · fingerprint u64 · payload length u64 · payload · CRC-32 of all before, u32
//! ```

/// Version of the message format; a reader accepts its own.
pub const VERSION: u32 = 2;
/// Bytes around a payload.
pub const OVERHEAD: usize = HEADER + 4;

const MAGIC: &[u8; 8] = b"hecc-msg";
const HEADER: usize = 32;

/// What a message carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// An evaluation key.
    Key = 1,
    /// The client's ciphertexts of a round.
    Upload = 2,
    /// The server's results of a round.
    Download = 3,
    /// The client's carried ciphertexts, or the weights that the server is to act by.
    Plant = 4,
    /// The client's wish for the carried ciphertexts.
    Fetch = 5,
    /// The server's carried ciphertexts.
    Carried = 6,
}

/// Why a message was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The magic word is another.
    #[error("this is not a message of hecc")]
    NotAMessage,
    /// The version is another.
    #[error("the message has format version {0}, and this hecc reads version {VERSION}")]
    Version(u32),
    /// Another plan's parameters.
    #[error("the message belongs to a plan with fingerprint {got:016x}, where this one has {want:016x}")]
    Fingerprint {
        /// That of the message.
        got: u64,
        /// That of the reader's plan.
        want: u64,
    },
    /// Bytes are missing, or too many.
    #[error("the message has {got} bytes, where {want} were expected")]
    Truncated {
        /// How many arrived.
        got: u64,
        /// How many there should be.
        want: u64,
    },
    /// The bytes changed on the way, or never were a message of this kind.
    #[error("the message is damaged: {0}")]
    Damaged(&'static str),
}

/// Wraps `payload`.
pub fn encode(kind: Kind, fingerprint: u64, payload: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(OVERHEAD + payload.len());
    message.extend_from_slice(MAGIC);
    message.extend_from_slice(&VERSION.to_le_bytes());
    message.extend_from_slice(&(kind as u32).to_le_bytes());
    message.extend_from_slice(&fingerprint.to_le_bytes());
    message.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    message.extend_from_slice(payload);
    let sum = crc32fast::hash(&message);
    message.extend_from_slice(&sum.to_le_bytes());
    message
}

/// The payload of a message of that kind and plan.
///
/// # Errors
/// [`WireError`], whatever the bytes are.
pub fn decode(message: &[u8], kind: Kind, fingerprint: u64) -> Result<&[u8], WireError> {
    let truncated = |want: u64| WireError::Truncated { got: message.len() as u64, want };
    let known = message.len().min(MAGIC.len());
    if message[..known] != MAGIC[..known] {
        return Err(WireError::NotAMessage);
    }
    if message.len() < HEADER {
        return Err(truncated(OVERHEAD as u64));
    }
    let mut fields = Reader(&message[MAGIC.len()..HEADER]);
    let (version, found) = (fields.u32()?, fields.u32()?);
    let (print, length) = (fields.u64()?, fields.u64()?);
    if version != VERSION {
        return Err(WireError::Version(version));
    }
    let want = length.saturating_add(OVERHEAD as u64);
    if message.len() as u64 != want {
        return Err(truncated(want));
    }
    let (body, sum) = message.split_at(message.len() - 4);
    if crc32fast::hash(body).to_le_bytes() != sum {
        return Err(WireError::Damaged("its checksum is wrong"));
    }
    if found != kind as u32 {
        return Err(WireError::Damaged("it is of another kind"));
    }
    if print != fingerprint {
        return Err(WireError::Fingerprint { got: print, want: fingerprint });
    }
    Ok(&body[HEADER..])
}

/// Reads a payload front to back.
pub(crate) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let (head, tail) = self.0.split_at_checked(count).ok_or(WireError::Truncated { got: self.0.len() as u64, want: count as u64 })?;
        self.0 = tail;
        Ok(head)
    }

    /// The next four bytes.
    pub(crate) fn u32(&mut self) -> Result<u32, WireError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// The next eight bytes.
    pub(crate) fn u64(&mut self) -> Result<u64, WireError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// Says that nothing is left.
    pub(crate) fn end(self) -> Result<(), WireError> {
        if self.0.is_empty() { Ok(()) } else { Err(WireError::Damaged("it is too long")) }
    }
}

/// A payload of several parts: how many, and each with its number.
pub(crate) fn parts(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(4 + parts.iter().map(|part| 4 + part.len()).sum::<usize>());
    payload.extend_from_slice(&(parts.len() as u32).to_le_bytes());
    for (number, part) in (0u32..).zip(parts) {
        payload.extend_from_slice(&number.to_le_bytes());
        payload.extend_from_slice(part);
    }
    payload
}

/// Reads a payload of parts of those lengths.
pub(crate) fn read_parts<'a>(reader: &mut Reader<'a>, lengths: impl ExactSizeIterator<Item = usize>) -> Result<Vec<&'a [u8]>, WireError> {
    if reader.u32()? as usize != lengths.len() {
        return Err(WireError::Damaged("the number of ciphertexts is another"));
    }
    let part = |(number, length): (u32, usize)| {
        if reader.u32()? == number { reader.take(length) } else { Err(WireError::Damaged("a ciphertext is out of order")) }
    };
    (0u32..).zip(lengths).map(part).collect()
}

/// A payload of parts of any length: how many, and each with its number and its length.
pub(crate) fn sized_parts(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut payload = (parts.len() as u32).to_le_bytes().to_vec();
    for (number, part) in (0u32..).zip(parts) {
        payload.extend_from_slice(&number.to_le_bytes());
        payload.extend_from_slice(&(part.len() as u64).to_le_bytes());
        payload.extend_from_slice(part);
    }
    payload
}

/// Reads a payload of `count` parts of any length.
pub(crate) fn read_sized_parts<'a>(reader: &mut Reader<'a>, count: usize) -> Result<Vec<&'a [u8]>, WireError> {
    if reader.u32()? as usize != count {
        return Err(WireError::Damaged("the number of ciphertexts is another"));
    }
    let part = |number: u32| {
        if reader.u32()? != number {
            return Err(WireError::Damaged("a ciphertext is out of order"));
        }
        let length = reader.u64()?;
        usize::try_from(length).map_err(|_| WireError::Damaged("a part is too long")).and_then(|length| reader.take(length))
    };
    (0..count as u32).map(part).collect()
}

/// Appends whole numbers.
pub(crate) fn put_words(bytes: &mut Vec<u8>, words: &[i64]) {
    bytes.reserve(8 * words.len());
    words.iter().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
}

/// Reads digits of `base2k` bits into `words`; others are refused, since the arithmetic counts on their range.
pub(crate) fn get_digits(bytes: &[u8], base2k: u32, words: &mut [i64]) -> Result<(), WireError> {
    if bytes.len() != 8 * words.len() {
        return Err(WireError::Truncated { got: bytes.len() as u64, want: 8 * words.len() as u64 });
    }
    let half = 1i64 << (base2k - 1);
    let mut outside = false;
    for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = i64::from_le_bytes(chunk.try_into().map_err(|_| WireError::Damaged("its length is odd"))?);
        outside |= *word > half || *word < -half;
    }
    if outside { Err(WireError::Damaged("a digit is out of range")) } else { Ok(()) }
}
