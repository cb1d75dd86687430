//! Wakes the pool when time alone changes something: idleness, age, limits, pauses, free memory.

use crate::driver::Driver;
use crate::free_memory::free_memory;
use crate::shell::Core;
use crate::state::Event;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// How often free memory is looked at, when there is a limit for it.
const MEMORY_PAUSE: Duration = Duration::from_secs(1);

/// Runs until the pool has ended. Holds the pool only while it looks, so it never keeps it alive.
pub(crate) async fn tick<D: Driver>(pool: Weak<Core<D>>, alarm: Arc<Notify>) {
    loop {
        let wake = {
            let Some(core) = pool.upgrade() else { return };
            let event = match core.config.min_free_memory {
                Some(least) => {
                    let high = free_memory().is_some_and(|free| free < least);
                    Event::Pressure { high }
                }
                None => Event::Tick,
            };
            let next = core.tick(event);
            if core.has_ended() {
                return;
            }
            let look = core.config.min_free_memory.map(|_| Instant::now() + MEMORY_PAUSE);
            next.map(Instant::from_std).into_iter().chain(look).min()
        };
        match wake {
            Some(wake) => tokio::select! {
                () = sleep_until(wake) => {}
                () = alarm.notified() => {}
            },
            None => alarm.notified().await,
        }
    }
}
