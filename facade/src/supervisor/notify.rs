//! Tells the service manager how the supervisor is, in the datagrams of `sd_notify`.
//!
//! Nothing of a member is called here but [`Drain::is_live`](crate::Drain::is_live), and that only for the
//! watchdog. A datagram that the manager does not take within [`PATIENCE`] is given up; the ones that
//! matter are sent again.

use crate::supervisor::clock::Clock;
use crate::supervisor::error::one_line;
use crate::supervisor::health::is_live;
use crate::supervisor::report::{Cause, Report};
use crate::supervisor::stats::Phase;
use crate::supervisor::{Shared, stop::Level};
use socket::Socket;
use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

/// How long one datagram may wait for room.
const PATIENCE: Duration = Duration::from_millis(100);

/// When what could not be sent is sent again.
const AGAIN: Duration = Duration::from_secs(1);

/// Pings are not sent more often, however short the time of the watchdog is.
const SHORTEST: Duration = Duration::from_millis(1);

/// The way to the service manager.
#[derive(Debug)]
pub(crate) struct Notifier {
    socket: Socket,
    /// How often the watchdog is pinged.
    every: Option<Duration>,
    said: Mutex<Said>,
}

/// What the manager knows.
#[derive(Debug, Default)]
struct Said {
    ready: bool,
    status: String,
}

impl Notifier {
    /// Where `$NOTIFY_SOCKET` points; `None` without it. `$WATCHDOG_USEC` counts if it is for this process.
    pub(crate) fn from_env() -> io::Result<Option<Self>> {
        let Some(address) = std::env::var_os("NOTIFY_SOCKET").filter(|it| !it.is_empty()) else {
            return Ok(None);
        };
        let variable = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
        let other =
            variable("WATCHDOG_PID").is_some_and(|pid| pid != u64::from(std::process::id()));
        let watchdog = variable("WATCHDOG_USEC").filter(|usec| *usec > 0 && !other);
        let every = watchdog.map(|usec| (Duration::from_micros(usec) / 2).max(SHORTEST));
        Ok(Some(Self { socket: Socket::connect(&address)?, every, said: Mutex::default() }))
    }

    /// Whether the manager took it.
    fn send(&self, lines: &str) -> bool {
        self.socket.send(lines).is_ok()
    }

    pub(crate) fn reloading(&self) {
        self.send(&format!("RELOADING=1{}\nSTATUS=reloading", monotonic()));
    }

    pub(crate) fn reloaded(&self) {
        let mut said = self.lock();
        // The next turn says so again if this is not taken.
        said.ready = self.send("READY=1");
        said.status.clear();
    }

    pub(crate) fn stopping(&self, cause: &Cause) {
        self.send(&format!("STOPPING=1\nSTATUS=ending: {}", one_line(&cause.to_string())));
    }

    pub(crate) fn ended(&self, report: &Report) {
        let left = report.left_behind().count();
        self.send(&format!("STATUS=ended in {:.1?}, left behind: {left}", report.elapsed));
    }

    /// What changed since the last turn; whether the manager took it.
    fn tell(&self, shared: &Shared) -> bool {
        if shared.stop.level() > Level::Run {
            return true;
        }
        let (started, _) = shared.readiness();
        let status = status(shared);
        let mut said = self.lock();
        let mut lines = String::new();
        if started && !said.ready {
            lines.push_str("READY=1\n");
        }
        if status != said.status {
            lines.push_str(&format!("STATUS={status}\n"));
        }
        if lines.is_empty() {
            return true;
        }
        let taken = self.send(&lines);
        if taken {
            said.ready |= started;
            said.status = status;
        }
        taken
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells what changes in each turn of the supervisor, and pings the watchdog while all members are live.
pub(crate) async fn attend(shared: &Shared, clock: &Clock) -> Infallible {
    let Some(notifier) = &shared.notifier else {
        return pending().await;
    };
    let mut ping = Instant::now();
    poll_fn(|cx| {
        let now = Instant::now();
        let mut next = (!notifier.tell(shared)).then(|| now + AGAIN);
        if let Some(every) = notifier.every {
            if now >= ping {
                ping = now.checked_add(every).unwrap_or(now + 1_000 * AGAIN);
                if shared.members.iter().all(is_live) {
                    notifier.send("WATCHDOG=1");
                }
            }
            next = Some(next.map_or(ping, |next| next.min(ping)));
        }
        if next.is_some_and(|next| Pin::new(&mut clock.at(next)).poll(cx).is_ready()) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await
}

/// The members in one line.
fn status(shared: &Shared) -> String {
    let phases = shared.members.iter().map(|member| (&member.name, member.phase()));
    let fine = |phase: &Phase| matches!(phase, Phase::Running | Phase::Done);
    let runs = phases.clone().filter(|(_, phase)| *phase == Phase::Running).count();
    let mut line = format!("{runs} of {} members run", shared.members.len());
    for (name, phase) in phases.filter(|(_, phase)| !fine(phase)).take(3) {
        line.push_str(&format!("; {name}: {phase}"));
    }
    one_line(&line)
}

/// The clock that a manager of the type `notify-reload` compares.
#[cfg(all(feature = "signals", target_os = "linux"))]
fn monotonic() -> String {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    format!("\nMONOTONIC_USEC={}", now.tv_sec * 1_000_000 + now.tv_nsec / 1_000)
}

#[cfg(not(all(feature = "signals", target_os = "linux")))]
fn monotonic() -> &'static str {
    ""
}

#[cfg(target_os = "linux")]
mod socket {
    use super::PATIENCE;
    use std::ffi::OsStr;
    use std::io;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    /// The socket of the service manager: a path, or an abstract name behind `@`.
    #[derive(Debug)]
    pub(super) struct Socket(UnixDatagram);

    impl Socket {
        pub(super) fn connect(address: &OsStr) -> io::Result<Self> {
            let to = match address.as_bytes() {
                [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
                [b'/', ..] => SocketAddr::from_pathname(address)?,
                _ => {
                    let error = format!("{address:?} is neither a path nor an abstract name");
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
                }
            };
            let socket = UnixDatagram::unbound()?;
            socket.connect_addr(&to)?;
            socket.set_write_timeout(Some(PATIENCE))?;
            Ok(Self(socket))
        }

        pub(super) fn send(&self, lines: &str) -> io::Result<()> {
            self.0.send(lines.as_bytes()).map(|_| ())
        }
    }
}

/// Service managers of this protocol run on Linux.
#[cfg(not(target_os = "linux"))]
mod socket {
    use std::convert::Infallible;
    use std::ffi::OsStr;
    use std::io;

    #[derive(Debug)]
    pub(super) struct Socket(Infallible);

    impl Socket {
        pub(super) fn connect(_address: &OsStr) -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) fn send(&self, _lines: &str) -> io::Result<()> {
            match self.0 {}
        }
    }
}
