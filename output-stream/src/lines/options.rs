//! What a line is.

use crate::error::ConfigError;

/// The default of [`LineOptionsBuilder::max_len`].
const MAX_LEN: usize = 64 * 1024;

/// What ends a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Separator {
    /// LF; a CR before it belongs to the ending unless
    /// [`keep_cr`](LineOptionsBuilder::keep_cr) is set.
    #[default]
    Lf,
    /// LF, CR, or both: for progress bars. A CR ends the line at once, and an LF right after it
    /// belongs to it; such a line says [`Ending::Cr`](crate::Ending::Cr) in any case.
    LfOrCr,
    /// This byte, such as 0 for `find -print0`.
    Byte(u8),
}

/// What happens to a line that is longer than [`max_len`](LineOptionsBuilder::max_len).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnLong {
    /// The rest of it is dropped, and counted in [`Line::cut`](crate::Line::cut).
    #[default]
    Truncate,
    /// It comes in pieces; all but the last say [`Ending::Split`](crate::Ending::Split).
    Split,
    /// Reading lines ends with [`LinesEnd::TooLong`](crate::LinesEnd::TooLong).
    Fail,
}

/// How bytes are cut into lines; the default is LF, at most 64 KiB, the rest dropped and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineOptions {
    pub(crate) separator: Separator,
    pub(crate) max_len: usize,
    pub(crate) on_long: OnLong,
    pub(crate) strip_cr: bool,
}

impl LineOptions {
    /// Starts from the defaults.
    pub fn builder() -> LineOptionsBuilder {
        LineOptionsBuilder { options: Self::default() }
    }
}

impl Default for LineOptions {
    fn default() -> Self {
        Self {
            separator: Separator::Lf,
            max_len: MAX_LEN,
            on_long: OnLong::Truncate,
            strip_cr: true,
        }
    }
}

/// Builds [`LineOptions`].
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct LineOptionsBuilder {
    options: LineOptions,
}

impl LineOptionsBuilder {
    /// What ends a line. Default: [`Separator::Lf`].
    pub fn separator(mut self, separator: Separator) -> Self {
        self.options.separator = separator;
        self
    }

    /// The most bytes that a line may have without its ending. Default: 64 KiB.
    ///
    /// A line is never cut inside a UTF-8 character, and may come out up to three bytes shorter for
    /// that; only a character that is longer than this limit itself is cut.
    pub fn max_len(mut self, bytes: usize) -> Self {
        self.options.max_len = bytes;
        self
    }

    /// What happens to longer ones. Default: [`OnLong::Truncate`].
    pub fn on_long(mut self, on_long: OnLong) -> Self {
        self.options.on_long = on_long;
        self
    }

    /// Leaves a CR before the LF in the line.
    pub fn keep_cr(mut self) -> Self {
        self.options.strip_cr = false;
        self
    }

    /// Checks the options.
    ///
    /// # Errors
    ///
    /// [`ConfigError::ZeroLine`] when lines may have no bytes.
    pub fn build(self) -> Result<LineOptions, ConfigError> {
        if self.options.max_len == 0 { Err(ConfigError::ZeroLine) } else { Ok(self.options) }
    }
}
