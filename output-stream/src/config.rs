//! How a stream reads, what it keeps and how far its readers may lag.

use crate::error::ConfigError;
use crate::sequence::Sequence;
use std::sync::Arc;

/// The largest segment, and the default of the largest read.
const SEGMENT: usize = 64 * 1024;
/// The smallest segment: less would cost more in bookkeeping than it saves.
const SMALLEST_SEGMENT: usize = 4 * 1024;
/// The default window: sixteen full segments.
const WINDOW: u64 = 1024 * 1024;
/// What the default configuration can replay.
const RETAIN: u64 = 1024 * 1024;
/// The default cap for history that is counted in chunks or lines.
const RETAIN_CAP: u64 = 64 * 1024 * 1024;

/// How much of the past a stream keeps for subscribers that come later.
///
/// This is a promise of at least so much. A subscriber that starts in the past gets whatever is
/// still in memory, which may be a little more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retain {
    /// Nothing, beyond what attached subscribers have yet to read.
    Nothing,
    /// The last so many reads.
    Chunks(usize),
    /// The last so many bytes.
    Bytes(u64),
    /// The last so many complete lines (each ends at LF) and the rest after them.
    Lines(usize),
    /// Everything; memory grows with the output, up to
    /// [`retain_cap`](ConfigBuilder::retain_cap) when that is set.
    All,
}

/// The settings of a [`Stream`](crate::Stream); `Config::default()` suits most children.
///
/// Without settings a stream replays the last 1 MiB, lets a subscriber lag by 1 MiB beyond that,
/// and takes any number of subscribers.
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) chunk_size: usize,
    pub(crate) single_subscriber: bool,
    pub(crate) sequence: Option<Sequence>,
    pub(crate) limits: Limits,
}

/// What the log must know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) segment: usize,
    pub(crate) window: u64,
    pub(crate) retain: Retain,
    pub(crate) retain_cap: u64,
    /// A segment is closed early when less than one in so many of its bytes is left.
    pub(crate) spare_share: usize,
}

impl Config {
    /// Starts from the defaults.
    pub fn builder() -> ConfigBuilder {
        ConfigBuilder {
            name: None,
            chunk_size: None,
            window: WINDOW,
            retain: Retain::Bytes(RETAIN),
            retain_cap: None,
            single_subscriber: false,
            sequence: None,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::builder().build().expect("the defaults are not zero")
    }
}

/// Builds a [`Config`].
#[derive(Debug, Clone)]
#[must_use]
pub struct ConfigBuilder {
    name: Option<Arc<str>>,
    chunk_size: Option<usize>,
    window: u64,
    retain: Retain,
    retain_cap: Option<u64>,
    single_subscriber: bool,
    sequence: Option<Sequence>,
}

impl ConfigBuilder {
    /// Names the stream in threads and traces. It is never taken from a command line by itself.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Reads at most so many bytes at once. Default: a whole segment, 64 KiB.
    pub fn chunk_size(mut self, bytes: usize) -> Self {
        self.chunk_size = Some(bytes);
        self
    }

    /// How far a subscriber may lag behind what is retained before its
    /// [`Policy`](crate::Policy) takes effect. Default: 1 MiB.
    ///
    /// The log allocates in segments of 64 KiB (down to 4 KiB when window and history are small). A
    /// stream takes history, window and at most seven segments for its bytes, and a sixteenth more
    /// when the sizes of the reads leave the ends of segments unused (a third more for what passes
    /// through, with [`Retain::Nothing`]). Each [`Policy::DropNewest`](crate::Policy::DropNewest) reader
    /// that lags takes one window and two segments more.
    pub fn window(mut self, bytes: u64) -> Self {
        self.window = bytes;
        self
    }

    /// What later subscribers can replay. Default: the last 1 MiB.
    pub fn retain(mut self, retain: Retain) -> Self {
        self.retain = retain;
        self
    }

    /// Keeps at most so many bytes for replay, however many chunks or lines that is; the places of
    /// chunks and lines count 16 bytes each. Default: 64 MiB for [`Retain::Chunks`] and [`Retain::Lines`], none for [`Retain::All`].
    pub fn retain_cap(mut self, bytes: u64) -> Self {
        self.retain_cap = Some(bytes);
        self
    }

    /// Allows one subscriber at a time; a second one is
    /// [`Busy`](crate::SubscribeError::Busy) until the first has ended or was dropped.
    pub fn single_subscriber(mut self) -> Self {
        self.single_subscriber = true;
        self
    }

    /// Stamps every read with a number from `sequence`, so that this stream can be
    /// [merged](crate::merge) with others of the same sequence in the order of their reads.
    pub fn sequence(mut self, sequence: &Sequence) -> Self {
        self.sequence = Some(sequence.clone());
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// A size of zero is refused, and a name with a NUL in it: here and not later, when something already runs.
    pub fn build(self) -> Result<Config, ConfigError> {
        let counted = match self.retain {
            Retain::Chunks(0) | Retain::Bytes(0) | Retain::Lines(0) => {
                return Err(ConfigError::ZeroRetain);
            }
            Retain::Chunks(_) | Retain::Lines(_) => RETAIN_CAP,
            Retain::Nothing | Retain::Bytes(_) | Retain::All => u64::MAX,
        };
        if self.name.as_ref().is_some_and(|name| name.contains('\0')) {
            return Err(ConfigError::NulName);
        }
        if self.chunk_size == Some(0) {
            return Err(ConfigError::ZeroChunk);
        }
        if self.window == 0 {
            return Err(ConfigError::ZeroWindow);
        }
        if self.retain_cap == Some(0) {
            return Err(ConfigError::ZeroRetainCap);
        }
        let retain_cap = self.retain_cap.unwrap_or(counted);
        let segment = segment_for(self.window, self.retain, retain_cap);
        Ok(Config {
            name: self.name,
            chunk_size: self.chunk_size.unwrap_or(segment),
            single_subscriber: self.single_subscriber,
            sequence: self.sequence,
            limits: Limits {
                segment,
                window: self.window,
                retain: self.retain,
                retain_cap,
                // What is kept for long must be well filled; what passes through must be quick.
                spare_share: if self.retain == Retain::Nothing { 4 } else { 16 },
            },
        })
    }
}

/// An eighth of what may be held, so that two segments more do not matter.
fn segment_for(window: u64, retain: Retain, cap: u64) -> usize {
    let history = match retain {
        Retain::Nothing => 0,
        Retain::Bytes(n) => n.min(cap),
        Retain::Chunks(_) | Retain::Lines(_) | Retain::All => cap,
    };
    let eighth = usize::try_from(window.saturating_add(history) / 8).unwrap_or(SEGMENT);
    eighth.clamp(SMALLEST_SEGMENT, SEGMENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_sizes_are_refused() {
        let refused = |builder: ConfigBuilder| builder.build().map(|_| ()).unwrap_err();
        assert_eq!(refused(Config::builder().chunk_size(0)), ConfigError::ZeroChunk);
        assert_eq!(refused(Config::builder().window(0)), ConfigError::ZeroWindow);
        assert_eq!(refused(Config::builder().retain_cap(0)), ConfigError::ZeroRetainCap);
        for retain in [Retain::Bytes(0), Retain::Chunks(0), Retain::Lines(0)] {
            assert_eq!(refused(Config::builder().retain(retain)), ConfigError::ZeroRetain);
        }
    }

    #[test]
    fn a_name_that_no_thread_can_have_is_refused() {
        let named = Config::builder().name("a\0b").build();
        assert_eq!(named.map(|_| ()).unwrap_err(), ConfigError::NulName);
    }

    #[test]
    fn segments_fit_what_may_be_held() {
        assert_eq!(segment_for(1, Retain::Nothing, u64::MAX), 4096);
        assert_eq!(segment_for(WINDOW, Retain::Nothing, u64::MAX), SEGMENT);
        assert_eq!(segment_for(1, Retain::All, u64::MAX), SEGMENT);
        assert_eq!(segment_for(1, Retain::Bytes(64 * 1024), u64::MAX), 8192);
    }
}
