//! The threads that own the connections.
//!
//! One writes: it takes every call that waits, runs them in one transaction, commits once and then
//! answers them all (group commit). Two others read: one the short looks of workers, the other the lists
//! and counts of people, so that a long one delays neither a write nor a start.
//!
//! Fairness between processes: SQLite gives its write lock to whoever asks at the right moment, and
//! a writer that works without end starves the others. So before it would work for [`BUSY_FOR`] without
//! a gap the writer pauses for [`GAP`], which is longer than the pause between two tries of whoever
//! waits.

use super::many::Completing;
use super::options::SqliteOptions;
use super::rows::Tx;
use super::schema::{failed, wait_for_locks_until};
use crate::clock::Clock;
use crate::error::{StoreError, StoreErrorKind};
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How long the writer may hold the lock on and off before it leaves a gap.
const BUSY_FOR: Duration = Duration::from_millis(5);
/// A gap in which another process gets the lock.
const GAP: Duration = Duration::from_micros(200);
/// Calls in one transaction at most: bounds how long the last one waits for the first.
const GROUP: usize = 256;

/// A call on its way to a connection.
pub(super) trait Call: Send {
    /// Does the work inside a transaction; may be run again after a rollback.
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError>;

    /// When it was sent.
    fn sent(&self) -> Instant;

    /// Answers, after the commit or instead of it.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Work<F, T> {
    work: F,
    sent: Instant,
    value: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> Call for Work<F, T>
where
    F: FnMut(&mut Tx<'_>) -> Result<T, StoreError> + Send,
    T: Send,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        self.value = Some((self.work)(tx)?);
        Ok(())
    }

    fn sent(&self) -> Instant {
        self.sent
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let gone = || StoreError::new(StoreErrorKind::Closed, "call the job store");
        let Self { value, reply, .. } = *self;
        // A caller that has gone needs no answer.
        let _ = reply.send(committed.and_then(|()| value.ok_or_else(gone)));
    }
}

/// The sending end of a connection's thread; the thread ends with the last clone.
#[derive(Clone)]
pub(super) struct Calls(Sender<Box<dyn Call>>);

impl Calls {
    /// Sends `work`; it runs whether or not anybody waits for the answer.
    pub(super) fn send<T, F>(&self, work: F) -> oneshot::Receiver<Result<T, StoreError>>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let call = Work { work, sent: Instant::now(), value: None, reply };
        // If the thread is gone the call is dropped with its reply, and the caller sees that.
        let _ = self.0.send(Box::new(call));
        answer
    }
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Write,
    /// Short looks.
    Read,
    /// Lists and counts.
    Browse,
}

/// The file that was opened, by its identity: whether its path still leads to it.
#[derive(Debug, Clone)]
pub(super) struct File {
    path: PathBuf,
    identity: (u64, u64),
}

impl File {
    pub(super) fn of(path: &Path) -> Result<Self, StoreError> {
        let missing = |error| {
            StoreError::new(StoreErrorKind::Missing, "open the job store").with_source(error)
        };
        // A relative path means another file once the program changes its folder.
        let path = std::path::absolute(path).map_err(missing)?;
        let identity = identity(&path).map_err(missing)?;
        Ok(Self { path, identity })
    }

    /// Nothing that is written to a file without a name would be found again.
    fn check(&self) -> Result<(), StoreError> {
        let why = match identity(&self.path) {
            Ok(identity) if identity == self.identity => return Ok(()),
            Ok(_) => format!("{} is another file", self.path.display()),
            Err(error) => format!("{}: {error}", self.path.display()),
        };
        Err(StoreError::new(StoreErrorKind::Missing, "use the job store").with_source(why))
    }
}

#[cfg(unix)]
fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    // An open file cannot be deleted there.
    std::fs::metadata(path).map(|_| (0, 0))
}

#[expect(
    clippy::disallowed_methods,
    reason = "SQLite blocks: each connection has a thread, which ends when the registry is dropped"
)]
pub(super) fn spawn(
    conn: Connection,
    role: Role,
    options: &SqliteOptions,
    file: File,
) -> Result<Calls, StoreError> {
    let (clock, limit) = (options.clock.clone(), options.call_timeout);
    let (sender, calls) = channel();
    let name = match role {
        Role::Write => "lastout-sqlite-w",
        Role::Read => "lastout-sqlite-r",
        Role::Browse => "lastout-sqlite-b",
    };
    std::thread::Builder::new()
        .name(name.into())
        .spawn(move || {
            serve(&Served { conn: &conn, role, clock: &clock, limit, file: &file }, &calls);
        })
        .map_err(|error| {
            StoreError::new(StoreErrorKind::Unavailable, "start the thread of the job store")
                .with_source(error)
        })?;
    Ok(Calls(sender))
}

/// What a thread serves.
#[derive(Clone, Copy)]
struct Served<'a> {
    conn: &'a Connection,
    role: Role,
    clock: &'a Clock,
    /// How long a call waits for its turn, and then for a lock.
    limit: Duration,
    file: &'a File,
}

fn serve(served: &Served<'_>, calls: &Receiver<Box<dyn Call>>) {
    let role = served.role;
    let mut tx = Tx::new(served.conn);
    tx.completing = Completing::in_chunks();
    let mut last_gap = Instant::now();
    while let Some(first) = next(calls, &mut last_gap) {
        let mut group = vec![first];
        if role == Role::Write {
            group.extend(calls.try_iter().take(GROUP - 1));
        }
        let start = Instant::now();
        serve_group(&mut tx, served, group);
        // The next transaction will take as long as this one.
        if role == Role::Write && last_gap.elapsed() + start.elapsed() > BUSY_FOR {
            leave_gap();
            last_gap = Instant::now();
        }
    }
}

/// The next call; notes when it took so long that others had the lock meanwhile.
fn next(calls: &Receiver<Box<dyn Call>>, last_gap: &mut Instant) -> Option<Box<dyn Call>> {
    match calls.recv_timeout(GAP) {
        Ok(call) => Some(call),
        Err(RecvTimeoutError::Disconnected) => None,
        Err(RecvTimeoutError::Timeout) => {
            let call = calls.recv().ok();
            *last_gap = Instant::now();
            call
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the gap is time: in it other processes take the lock"
)]
fn leave_gap() {
    // SLEEP: the gap in which others may take the lock.
    std::thread::sleep(GAP);
}

fn serve_group(tx: &mut Tx<'_>, served: &Served<'_>, group: Vec<Box<dyn Call>>) {
    let mut group = in_time(served, group);
    if group.len() > 1 && transact(tx, served, &mut group).is_ok() {
        group.into_iter().for_each(|call| call.answer(Ok(())));
        return;
    }
    // One alone; or one of them failed, or all together were too much: each for itself.
    for call in group {
        for mut call in in_time(served, vec![call]) {
            let result = transact(tx, served, std::slice::from_mut(&mut call));
            call.answer(result);
        }
    }
}

/// Refuses the calls that waited too long for their turn: whoever waits has a bound, and knows that nothing
/// was applied.
fn in_time(served: &Served<'_>, group: Vec<Box<dyn Call>>) -> Vec<Box<dyn Call>> {
    let limit = served.limit;
    let (in_time, late): (Vec<_>, _) =
        group.into_iter().partition(|call| call.sent().elapsed() <= limit);
    for call in late {
        let why = format!("it waited {limit:?} for its turn");
        let kind = StoreErrorKind::Unavailable;
        call.answer(Err(StoreError::new(kind, "call the job store").with_source(why)));
    }
    in_time
}

/// Runs `group` in one transaction, a second time when completing in chunks did not do.
fn transact(
    tx: &mut Tx<'_>,
    served: &Served<'_>,
    group: &mut [Box<dyn Call>],
) -> Result<(), StoreError> {
    let done = once(tx, served, group);
    let done = if tx.completing.again() { once(tx, served, group) } else { done };
    if done.is_ok() {
        tx.completing.committed();
    }
    done
}

fn once(
    tx: &mut Tx<'_>,
    served: &Served<'_>,
    group: &mut [Box<dyn Call>],
) -> Result<(), StoreError> {
    let Served { role, clock, file, .. } = served;
    let begin = match role {
        // Never upgrade from reading to writing: that fails at once when another process wrote.
        Role::Write => "BEGIN IMMEDIATE",
        Role::Read | Role::Browse => "BEGIN",
    };
    let conn = tx.conn();
    wait_for_locks_until(Instant::now() + served.limit);
    tx.control(begin).map_err(|error| failed("begin a transaction", error))?;
    tx.begin(clock.wall_ms(), clock.boot_ms());
    let done = group.iter_mut().try_for_each(|call| call.run(tx));
    let done = done.and_then(|()| tx.finish());
    let done = done
        .and_then(|()| tx.control("COMMIT").map_err(|error| failed("commit a transaction", error)));
    if done.is_err() && !conn.is_autocommit() {
        // It may have rolled back by itself; if this fails too, the next BEGIN says so.
        let _ = conn.execute_batch("ROLLBACK");
    }
    // After the commit: what was acknowledged is in the file that the path leads to.
    done.and_then(|()| file.check())
}
