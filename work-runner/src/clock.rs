//! Time, in two kinds that are never mixed: the wall clock, which people set and which says when a
//! job is due; and the boot clock, which only goes forward and which says when a lease ends.

pub(crate) use crate::sys::boot_ms;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

/// The clock of a store or a runner: the system's, or one that a test moves by hand.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    manual: Option<Arc<Offsets>>,
}

#[derive(Debug, Default)]
struct Offsets {
    /// Added to the wall clock, or all of it when frozen.
    wall: AtomicI64,
    /// Added to the boot clock, or all of it when frozen.
    boot: AtomicI64,
    frozen: bool,
}

impl Clock {
    /// The system's clocks.
    pub fn system() -> Self {
        Self::default()
    }

    /// Clocks that stand still until they are moved; both start at one million seconds.
    pub fn manual() -> Self {
        let start = 1_000_000_000;
        Self {
            manual: Some(Arc::new(Offsets {
                wall: AtomicI64::new(start),
                boot: AtomicI64::new(start),
                frozen: true,
            })),
        }
    }

    /// The system's clocks, with the wall clock wrong by `milliseconds`: what somebody did to one machine.
    pub fn skewed(milliseconds: i64) -> Self {
        Self {
            manual: Some(Arc::new(Offsets {
                wall: AtomicI64::new(milliseconds),
                ..Offsets::default()
            })),
        }
    }

    /// Lets time pass on both clocks. Without effect on the system's own clock.
    pub fn advance(&self, by: std::time::Duration) {
        if let Some(offsets) = &self.manual {
            let by = crate::job::millis(by);
            offsets.wall.fetch_add(by, Ordering::Relaxed);
            offsets.boot.fetch_add(by, Ordering::Relaxed);
        }
    }

    /// Sets the wall clock off by `milliseconds` more, as an administrator does. The boot clock goes on.
    pub fn step_wall(&self, milliseconds: i64) {
        if let Some(offsets) = &self.manual {
            offsets.wall.fetch_add(milliseconds, Ordering::Relaxed);
        }
    }

    /// Milliseconds since the epoch.
    pub fn wall_ms(&self) -> i64 {
        let system = || crate::job::wall_millis(SystemTime::now());
        match &self.manual {
            None => system(),
            Some(offsets) if offsets.frozen => offsets.wall.load(Ordering::Relaxed),
            Some(offsets) => system() + offsets.wall.load(Ordering::Relaxed),
        }
    }

    /// Milliseconds on the boot clock, which all processes of the machine share: on Linux and Windows since the
    /// machine was started, sleep included; on another Unix by its monotonic clock.
    pub fn boot_ms(&self) -> i64 {
        match &self.manual {
            None => boot_ms(),
            Some(offsets) if offsets.frozen => offsets.boot.load(Ordering::Relaxed),
            Some(offsets) => boot_ms() + offsets.boot.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_step_of_the_wall_clock_leaves_the_boot_clock_alone() {
        let clock = Clock::manual();
        let (wall, boot) = (clock.wall_ms(), clock.boot_ms());
        clock.step_wall(-5000);
        assert_eq!((clock.wall_ms(), clock.boot_ms()), (wall - 5000, boot));
        clock.advance(Duration::from_secs(1));
        assert_eq!((clock.wall_ms(), clock.boot_ms()), (wall - 4000, boot + 1000));
    }

    #[test]
    fn a_skewed_clock_still_runs() {
        let clock = Clock::skewed(86_400_000);
        assert!(clock.wall_ms() - Clock::system().wall_ms() > 86_000_000);
        assert!((clock.boot_ms() - boot_ms()).abs() < 10_000);
    }
}
