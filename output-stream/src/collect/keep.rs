//! How much of an output to keep.

/// Which part of an output a collector keeps: its start, its end, both, or all of it.
///
/// ```
/// use lastout_output_stream::Keep;
///
/// Keep::tail(64 * 1024); // the last 64 KiB
/// Keep::head_tail_lines(20, 100); // the first 20 lines and the last 100
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    pub(crate) head: u64,
    pub(crate) tail: u64,
    pub(crate) unit: Unit,
}

/// What [`Keep`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Bytes,
    Lines,
}

impl Keep {
    /// The first `bytes`.
    #[must_use]
    pub const fn head(bytes: u64) -> Self {
        Self::head_tail(bytes, 0)
    }

    /// The last `bytes`.
    #[must_use]
    pub const fn tail(bytes: u64) -> Self {
        Self::head_tail(0, bytes)
    }

    /// The first and the last so many bytes. Both together are everything when there is no more.
    #[must_use]
    pub const fn head_tail(head: u64, tail: u64) -> Self {
        Self { head, tail, unit: Unit::Bytes }
    }

    /// The first `lines`.
    #[must_use]
    pub const fn head_lines(lines: u64) -> Self {
        Self::head_tail_lines(lines, 0)
    }

    /// The last `lines`.
    #[must_use]
    pub const fn tail_lines(lines: u64) -> Self {
        Self::head_tail_lines(0, lines)
    }

    /// The first and the last so many lines.
    ///
    /// A line ends at LF and is kept up to 64 KiB; the rest of a longer one is counted as omitted.
    #[must_use]
    pub const fn head_tail_lines(head: u64, tail: u64) -> Self {
        Self { head, tail, unit: Unit::Lines }
    }

    /// Everything. Memory grows with the output: for sources that you trust.
    #[must_use]
    pub const fn all() -> Self {
        Self::head(u64::MAX)
    }

    /// Nothing; the output is only counted.
    #[must_use]
    pub const fn nothing() -> Self {
        Self::head(0)
    }
}

impl Default for Keep {
    /// The first 1 MiB and the last 1 MiB.
    fn default() -> Self {
        Self::head_tail(1024 * 1024, 1024 * 1024)
    }
}
