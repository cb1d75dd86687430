//! The bytes of a line that is owned.

use bytes::Bytes;
use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, Range};

/// How long a line may be to lie in its own value.
const SHORT: usize = 38;

/// The bytes of a line: a slice of bytes that owns what it shows.
///
/// Up to 38 bytes lie in the value itself, without an allocation. A longer line shares the memory of the log and keeps
/// its segment of at most 64 KiB alive; if it was spread over several reads, or comes from
/// [`LineRef::to_line`](crate::LineRef::to_line), it is a copy. [`Bytes::from`] makes either into what can be cloned and cut without a copy.
///
/// ```
/// use lastout_output_stream::{LineOptions, LineParser};
/// use std::ops::ControlFlow;
///
/// let mut parser = LineParser::new(LineOptions::default());
/// let _ = parser.feed(0, b"PATH=/bin\n", |line| {
///     let line = line.to_line();
///     assert_eq!(line.bytes, "PATH=/bin");
///     assert!(line.bytes.starts_with(b"PATH="));
///     let shared: bytes::Bytes = line.bytes.into();
///     assert_eq!(shared.slice(5..), "/bin");
///     ControlFlow::Continue(())
/// });
/// ```
#[derive(Clone)]
pub struct LineBytes {
    place: Place,
}

#[derive(Clone)]
enum Place {
    /// The first so many of these; what is behind them means nothing.
    Here {
        len: u8,
        bytes: [u8; SHORT],
    },
    Shared(Bytes),
}

impl LineBytes {
    /// This part of a slice of the log.
    #[inline]
    pub(crate) fn of(slice: &Bytes, range: Range<usize>) -> Self {
        let len = range.len();
        let place = match slice.get(range.start..range.start + SHORT) {
            // Whatever lies behind the line comes along: a copy of a fixed length takes less time.
            Some(more) if len <= SHORT => {
                let mut bytes = [0; SHORT];
                bytes.copy_from_slice(more);
                Place::Here { len: len as u8, bytes }
            }
            _ if len <= SHORT => return Self::copied(&slice[range]),
            _ => Place::Shared(slice.slice(range)),
        };
        Self { place }
    }

    /// A copy.
    pub(crate) fn copied(line: &[u8]) -> Self {
        let place = if line.len() <= SHORT {
            let mut bytes = [0; SHORT];
            bytes[..line.len()].copy_from_slice(line);
            Place::Here { len: line.len() as u8, bytes }
        } else {
            Place::Shared(Bytes::copy_from_slice(line))
        };
        Self { place }
    }
}

impl Deref for LineBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.place {
            Place::Here { len, bytes } => &bytes[..usize::from(*len)],
            Place::Shared(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for LineBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Borrow<[u8]> for LineBytes {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl From<LineBytes> for Bytes {
    fn from(line: LineBytes) -> Self {
        match line.place {
            Place::Here { len, bytes } => Self::copy_from_slice(&bytes[..usize::from(len)]),
            Place::Shared(bytes) => bytes,
        }
    }
}

impl From<LineBytes> for Vec<u8> {
    fn from(line: LineBytes) -> Self {
        line.to_vec()
    }
}

impl fmt::Debug for LineBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}

impl PartialEq for LineBytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for LineBytes {}

impl Hash for LineBytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

macro_rules! compared {
    ($($other:ty),*) => {$(
        impl PartialEq<$other> for LineBytes {
            fn eq(&self, other: &$other) -> bool {
                let other: &[u8] = other.as_ref();
                **self == *other
            }
        }
    )*};
}

compared!([u8], &[u8], str, &str, String, Vec<u8>, Bytes);

impl<const N: usize> PartialEq<[u8; N]> for LineBytes {
    fn eq(&self, other: &[u8; N]) -> bool {
        **self == *other
    }
}

impl<const N: usize> PartialEq<&[u8; N]> for LineBytes {
    fn eq(&self, other: &&[u8; N]) -> bool {
        **self == **other
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_line_of_any_length_is_what_it_was_made_of() {
        let all: Bytes = (0..200_u8).collect::<Vec<_>>().into();
        for start in [0, 1, 150, 199, 200] {
            for len in 0..=(200 - start) {
                let line = LineBytes::of(&all, start..start + len);
                let expected = &all[start..start + len];
                assert_eq!(line, expected);
                assert_eq!(LineBytes::copied(expected), line);
                assert_eq!(Bytes::from(line.clone()), expected);
                let set = HashSet::from([line]);
                assert!(set.contains(expected), "it hashes as a slice does");
            }
        }
        let shared = LineBytes::of(&all, 0..39);
        assert_eq!(shared.as_ptr(), all.as_ptr(), "a long one is not copied");
    }

    #[test]
    fn a_short_line_keeps_no_segment_alive() {
        let mut segment = bytes::BytesMut::from(&[b'x'; 100][..]);
        let slice = segment.split().freeze();
        let line = LineBytes::of(&slice, 3..9);
        drop(slice);
        assert!(segment.try_reclaim(100), "nobody holds it");
        assert_eq!(line, "xxxxxx");
        assert_eq!(format!("{line:?}"), "b\"xxxxxx\"");
    }
}
