//! Freezing and thawing a tree: nothing of it runs in between.
//!
//! With a leaf the kernel freezes it, which no member notices. Members that are found elsewhere, and
//! trees without a leaf, are stopped by SIGSTOP until nobody new is found; their parents can notice.

use crate::deadline::Deadline;
use crate::id::Pid;
use crate::inner::Inner;
use crate::members::LOOK;
use crate::sys::{Lookout, WaitSet, sparing, wait_readable};
use crate::tree::Tree;
use std::error::Error;
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// What the kernel and the members have to stop, however early the deadline is.
const LEAST: Duration = Duration::from_millis(20);

/// The pause between two looks at members that are about to stop.
const PAUSE: Duration = Duration::from_millis(1);

/// Why a tree was not frozen. Every member goes on as before.
#[derive(Debug)]
#[non_exhaustive]
pub enum FreezeError {
    /// The deadline came while this many members still ran, or were not known to stand still.
    Deadline {
        /// How many at least; never 0.
        running: usize,
    },
    /// The leaf or the process table could not be used.
    Io(io::Error),
}

impl fmt::Display for FreezeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadline { running } => {
                write!(f, "freeze the tree: deadline passed while {running} members ran")
            }
            Self::Io(_) => write!(f, "freeze the tree with what the system offers"),
        }
    }
}

impl Error for FreezeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(source) => Some(source),
            Self::Deadline { .. } => None,
        }
    }
}

impl Tree {
    /// Stops every member, and completes when none runs. It runs on any executor.
    ///
    /// A frozen tree can be killed, and a request to end thaws it first. [`thaw`](Self::thaw) lets it go
    /// on, and so does [`disarm`](Self::disarm).
    ///
    /// # Errors
    ///
    /// When a member still runs at the deadline, or not every member was found by then. Then all go on.
    ///
    /// # Cancel safety
    ///
    /// A dropped future may leave members stopped, until the tree is thawed, killed or dropped.
    pub async fn freeze(&self, deadline: impl Into<Deadline>) -> Result<(), FreezeError> {
        let inner = self.inner();
        let mut freezing = Freezing::begin(inner, deadline.into().instant())?;
        while !freezing.step()? {
            let until = freezing.next_look();
            crate::wait::ready(Some(freezing.quiet.as_fd()), until).await;
        }
        Ok(())
    }

    /// [`freeze`](Self::freeze), blocking the calling thread.
    ///
    /// # Errors
    ///
    /// As [`freeze`](Self::freeze).
    pub fn freeze_blocking(&self, deadline: impl Into<Deadline>) -> Result<(), FreezeError> {
        let mut freezing = Freezing::begin(self.inner(), deadline.into().instant())?;
        while !freezing.step()? {
            let ready = wait_readable(freezing.quiet.as_fd(), freezing.next_look());
            ready.map_err(|error| freezing.give_up(error))?;
        }
        Ok(())
    }

    /// Lets every member go on that [`freeze`](Self::freeze) has stopped. Without one it does nothing.
    ///
    /// # Errors
    ///
    /// When the leaf cannot be thawed.
    pub fn thaw(&self) -> io::Result<()> {
        self.inner().thaw()
    }
}

/// One freeze in progress. It never waits itself.
struct Freezing<'a> {
    inner: &'a Inner,
    deadline: Instant,
    /// Never readable: what is waited for are the looks.
    quiet: WaitSet,
}

impl<'a> Freezing<'a> {
    fn begin(inner: &'a Inner, deadline: Instant) -> Result<Self, FreezeError> {
        let quiet = sparing(WaitSet::new).map_err(|error| FreezeError::Io(error.into()))?;
        let deadline = deadline.max(Instant::now() + LEAST);
        let freezing = Self { inner, deadline, quiet };
        if let Some(leaf) = &inner.means.leaf {
            leaf.set_frozen(true).map_err(|error| freezing.give_up(error))?;
        }
        Ok(freezing)
    }

    /// One look; whether nothing runs.
    fn step(&mut self) -> Result<bool, FreezeError> {
        let running = self.look().map_err(|error| self.give_up(error))?;
        match running {
            0 => Ok(true),
            _ if Instant::now() < self.deadline => Ok(false),
            running => {
                let _ = self.inner.thaw();
                Err(FreezeError::Deadline { running })
            }
        }
    }

    /// Stops members that are not stopped yet; how many that were, at least. Nothing runs only if a look that
    /// has seen everybody in time found everybody stopped.
    fn look(&self) -> io::Result<usize> {
        let now = Instant::now();
        let until = self.deadline.clamp(now + LEAST, now + LOOK);
        let leaf = self.inner.means.leaf.as_ref();
        if leaf.is_some_and(|leaf| !leaf.is_frozen().unwrap_or(false)) {
            // They are counted only for the error.
            return if now < self.deadline { Ok(1) } else { Ok(self.in_leaf(until)?.len().max(1)) };
        }
        let others = match self.inner.stop_others(&self.in_leaf(until)?, until) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return Ok(1),
            others => others?,
        };
        let mut table = Lookout::open()?;
        let mut running = 0;
        for (place, (id, was_still)) in others.iter().enumerate() {
            if place % 16 == 15 && Instant::now() >= until {
                return Ok(running.max(1));
            }
            // Whoever stops or ends during a look may have started another one behind it.
            let is_still = match self.inner.stopped.contains(*id) {
                true => table.is_halted(id.pid()),
                false => table.is_stopped(id.pid()),
            };
            let is_still = *was_still && is_still;
            running += usize::from(!is_still);
        }
        Ok(running)
    }

    fn in_leaf(&self, until: Instant) -> io::Result<Vec<Pid>> {
        let leaf = self.inner.means.leaf.as_ref();
        let listed = leaf.map_or_else(|| Ok((Vec::new(), true)), |leaf| leaf.members(until));
        Ok(listed?.0)
    }

    fn next_look(&self) -> Instant {
        (Instant::now() + PAUSE).min(self.deadline)
    }

    fn give_up(&self, error: io::Error) -> FreezeError {
        let _ = self.inner.thaw();
        FreezeError::Io(error)
    }
}
