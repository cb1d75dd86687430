//! Who waits for which descriptor, and what is known about its readiness.
//!
//! Each descriptor has two directions with a readiness bit and waiters of their own. Watching is
//! edge triggered: a bit is set by an event and cleared by the operation that would have blocked.
//! A token carries a generation, so an event that was under way when a descriptor was closed does
//! not reach its successor.
//!
//! Foreign code runs here in one form, wakers that are cloned, woken and dropped: in `poll_for`,
//! `wait_for`, `forget`, `remove`, `turn` and `end`, each after every borrow has ended. The waiters of a
//! direction are taken before they are woken, so a waker may close the descriptor that it wakes for.

use crate::sys::{Event, Events, Poller, SIGNAL, WAKE, Watch, Watched, signal};
use crate::task::raw::WakerSlot;
use std::cell::{Cell, RefCell};
use std::io;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

/// One of the two things to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// A watched descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    index: u32,
    generation: u32,
}

impl Token {
    fn bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }
}

/// One of several futures that wait for the same direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Waiter(usize);

#[derive(Debug)]
struct Side {
    /// An event has said so, and no operation has found otherwise since.
    ready: bool,
    /// Nothing is known yet: an operation is worth a try, and waiting waits for the first event.
    untried: bool,
    /// No further edge may come for this direction.
    closed: bool,
    /// The task that polls: `poll_read` and its like have one.
    poller: WakerSlot,
    /// Futures: any number of them may wait.
    waiters: slab::Slab<WakerSlot>,
}

#[derive(Debug)]
struct Source {
    generation: u32,
    sides: [Side; 2],
    /// `None` only while it is being set up.
    watched: Option<Watched>,
}

/// The watched descriptors of a runtime, and their waiters.
pub(crate) struct Reactor {
    poller: Poller,
    events: RefCell<Events>,
    sources: RefCell<slab::Slab<Source>>,
    /// Kept to wake from without an allocation.
    woken: RefCell<Vec<WakerSlot>>,
    generation: Cell<u32>,
    /// The process that made the epoll instance, which a forked child shares.
    process: u32,
    signals: Option<signal::Watch>,
    ended: Cell<bool>,
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the runtime of this descriptor has ended")
}

fn forked() -> io::Error {
    let what = "a runtime does not survive `fork`: its epoll instance is the parent's";
    io::Error::new(io::ErrorKind::Unsupported, what)
}

impl Reactor {
    pub(crate) fn new(event_capacity: usize, signals: bool) -> io::Result<Self> {
        let poller = Poller::new()?;
        let signals = if signals { Some(signal::Watch::install(&poller)?) } else { None };
        Ok(Self {
            poller,
            events: RefCell::new(Events::with_capacity(event_capacity)),
            sources: RefCell::new(slab::Slab::new()),
            woken: RefCell::new(Vec::new()),
            generation: Cell::new(0),
            process: std::process::id(),
            signals,
            ended: Cell::new(false),
        })
    }

    pub(crate) fn unpark(&self) -> Arc<dyn crate::sys::Unpark> {
        self.poller.unpark()
    }

    /// Whether this process made the reactor; a forked child did not.
    pub(crate) fn is_ours(&self) -> bool {
        self.process == std::process::id()
    }

    /// Watches `what`. What it is ready for at this moment is the first event.
    pub(crate) fn add(&self, what: &impl Watch) -> io::Result<Token> {
        if self.ended.get() {
            return Err(ended());
        }
        if !self.is_ours() {
            return Err(forked());
        }
        let generation = self.generation.get().wrapping_add(1) & 0x7fff_ffff;
        self.generation.set(generation);
        let side = || Side {
            ready: false,
            untried: true,
            closed: false,
            poller: WakerSlot::EMPTY,
            waiters: slab::Slab::new(),
        };
        let mut sources = self.sources.borrow_mut();
        let index = sources.insert(Source { generation, sides: [side(), side()], watched: None });
        let token = Token {
            index: u32::try_from(index).expect("a process has fewer descriptors"),
            generation,
        };
        match self.poller.add(what, token.bits()) {
            Ok(watched) => sources[index].watched = Some(watched),
            Err(error) => {
                sources.remove(index);
                return Err(error);
            }
        }
        Ok(token)
    }

    /// Stops watching, before `what` is closed.
    pub(crate) fn remove(&self, token: Token, what: &impl Watch) {
        let mut source = self.sources.borrow_mut().try_remove(token.index as usize);
        // In a forked child the epoll instance is the parent's: its watches are not ours.
        if self.is_ours() {
            let watched = source.as_mut().and_then(|source| source.watched.take());
            let _ = self.poller.remove(what, watched);
        }
        drop(source);
    }

    fn with_side<R>(
        &self,
        token: Token,
        direction: Direction,
        work: impl FnOnce(&mut Side) -> R,
    ) -> io::Result<R> {
        if self.ended.get() {
            return Err(ended());
        }
        let mut sources = self.sources.borrow_mut();
        let source = &mut sources[token.index as usize];
        Ok(work(&mut source.sides[direction as usize]))
    }

    pub(crate) fn is_ready(&self, token: Token, direction: Direction) -> io::Result<bool> {
        self.with_side(token, direction, |side| side.ready)
    }

    /// Whether an operation may find something.
    pub(crate) fn may_try(&self, token: Token, direction: Direction) -> io::Result<bool> {
        self.with_side(token, direction, |side| side.ready || side.untried)
    }

    /// The operation would have blocked.
    ///
    /// # Errors
    /// When the system does not watch the direction any further.
    pub(crate) fn clear(&self, token: Token, direction: Direction) -> io::Result<()> {
        self.with_side(token, direction, |side| {
            (side.ready, side.untried, side.closed) = (false, false, false);
        })?;
        self.rearm(token)
    }

    /// Asks for the events of each direction that is not known to be ready, where they come only if asked for.
    fn rearm(&self, token: Token) -> io::Result<()> {
        let mut sources = self.sources.borrow_mut();
        let source = &mut sources[token.index as usize];
        let wanted = [!source.sides[0].ready, !source.sides[1].ready];
        match &mut source.watched {
            Some(watched) => self.poller.rearm(watched, token.bits(), wanted),
            None => Ok(()),
        }
    }

    /// The operation on a stream did less than asked, so the next one would block: unless the
    /// direction has ended, which the next one must find out, as no edge will say it again.
    #[cfg(feature = "net")]
    pub(crate) fn exhausted(&self, token: Token, direction: Direction) {
        let may_wait = self.with_side(token, direction, |side| {
            (side.ready, side.untried) = (side.closed, false);
            !side.ready
        });
        // What cannot be watched any further is tried again, and that call gets the error.
        if may_wait.is_ok_and(|wait| wait) && self.rearm(token).is_err() {
            let _ = self.with_side(token, direction, |side| side.ready = true);
        }
    }

    /// Remembers the one task that polls this direction; whether it became ready while the waker was
    /// cloned, which runs foreign code.
    pub(crate) fn poll_for(
        &self,
        token: Token,
        direction: Direction,
        waker: &Waker,
    ) -> io::Result<bool> {
        if self.with_side(token, direction, |side| side.poller.will_wake(waker))? {
            return Ok(false);
        }
        let slot = WakerSlot::new(waker);
        let old =
            self.with_side(token, direction, |side| std::mem::replace(&mut side.poller, slot))?;
        drop(old);
        self.is_ready(token, direction)
    }

    /// Remembers one of many futures that wait for this direction; whether it became ready while the
    /// waker was cloned.
    pub(crate) fn wait_for(
        &self,
        token: Token,
        direction: Direction,
        waiter: &mut Option<Waiter>,
        waker: &Waker,
    ) -> io::Result<bool> {
        let slot = WakerSlot::new(waker);
        let old = self.with_side(token, direction, |side| match *waiter {
            Some(Waiter(key)) => Some(std::mem::replace(&mut side.waiters[key], slot)),
            None => {
                *waiter = Some(Waiter(side.waiters.insert(slot)));
                None
            }
        })?;
        drop(old);
        self.is_ready(token, direction)
    }

    /// The future ends.
    pub(crate) fn forget(&self, token: Token, direction: Direction, waiter: Waiter) {
        let old = self.with_side(token, direction, |side| side.waiters.try_remove(waiter.0));
        drop(old);
    }

    /// Waits until an event or the timeout, and wakes who waited for the events. Returns whether a
    /// signal came.
    pub(crate) fn turn(&self, timeout: Option<Duration>) -> bool {
        let unwatched = self.signals.is_none() && self.sources.borrow().is_empty();
        if unwatched && timeout == Some(Duration::ZERO) {
            // Nothing but an unpark could be seen, and a runtime that is awake is not unparked.
            return false;
        }
        let mut events = self.events.borrow_mut();
        // What can fail here is a bad descriptor or bad memory, which would be a defect of ours.
        self.poller.wait(&mut events, timeout).expect("wait for events of our own epoll instance");
        let mut signal = false;
        let mut woken = self.woken.take();
        for event in events.iter() {
            match event.token {
                WAKE => {}
                SIGNAL => signal |= self.signals.as_ref().is_some_and(signal::Watch::came),
                _ => self.note(event, &mut woken),
            }
        }
        drop(events);
        woken.drain(..).for_each(WakerSlot::wake);
        self.woken.replace(woken);
        signal
    }

    fn note(&self, event: Event, woken: &mut Vec<WakerSlot>) {
        let (index, generation) = (event.token as u32 as usize, (event.token >> 32) as u32);
        let mut sources = self.sources.borrow_mut();
        let Some(source) = sources.get_mut(index).filter(|s| s.generation == generation) else {
            return;
        };
        let happened = [(event.readable, event.read_closed), (event.writable, event.write_closed)];
        for (side, (ready, closed)) in source.sides.iter_mut().zip(happened) {
            if ready {
                side.ready = true;
                side.closed |= closed;
                woken.push(std::mem::take(&mut side.poller));
                woken.extend(side.waiters.iter_mut().map(|(_, waiter)| std::mem::take(waiter)));
            }
        }
    }

    /// How many descriptors are watched.
    pub(crate) fn watched(&self) -> usize {
        self.sources.borrow().len()
    }

    /// The runtime ends: who waits is woken to be told so.
    pub(crate) fn end(&self) {
        self.ended.set(true);
        let sources = self.sources.take();
        for side in sources.into_iter().flat_map(|(_, source)| source.sides) {
            side.poller.wake();
            side.waiters.into_iter().for_each(|(_, waiter)| waiter.wake());
        }
    }
}
