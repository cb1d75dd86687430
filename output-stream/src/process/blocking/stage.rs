//! One process whose streams, input and end the thread of the caller drives.

use crate::collect::{Collected, Keep, Sink};
use crate::consume::ConsumerError;
use crate::error::SubscribeError;
use crate::event::Event;
use crate::merge::Channel;
use crate::policy::{Policy, Position};
use crate::process::copy::{CopyFailed, Progress, Target, bytes_of, room_of, write_some};
use crate::process::food::{Food, Meal};
use crate::process::input::{StdinEnd, StdinReport, has_no_reader};
use crate::process::output::{Exit, Limits, Output};
use crate::process::start::{Ready, blame, show};
use crate::process::watcher::{Root, Watcher};
use crate::process::{Ended, ExitError, OutputError, REST, SURE, concluded, is_unsure};
use crate::pump::caller;
use crate::reactor::{Promise, Reactor};
use crate::stream::Stream;
use crate::sync::Mutex;
use crate::turn::let_others_run;
use lastout_proc_tree::{Child, ProcId, SpawnError, Tree};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::process::ExitStatus;
use std::sync::{Arc, OnceLock, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

/// How long the thread is given away at a time while a root is gone and its supervisor has not said how.
const NEWS: Duration = Duration::from_millis(10);

/// A process that runs.
pub(super) struct Stage {
    // The first field: the tree is ended before its pipes are closed.
    tree: Arc<Tree>,
    program: String,
    is_measured: bool,
    reactor: Arc<Reactor>,
    exit: Promise<Result<Exit, ExitError>>,
    outputs: Result<[Gathering; 2], SubscribeError>,
    stdin: Option<Promise<StdinReport>>,
    hook: Option<Promise<Result<(), ConsumerError>>>,
    copies: Vec<Copying>,
}

impl Ready {
    /// Starts the tree, then its readers, then the pumps.
    pub(super) fn start_here(
        mut self,
        reactor: &Arc<Reactor>,
        limits: Limits,
    ) -> Result<Stage, SpawnError> {
        let begin = self.begin.unwrap_or_else(Instant::now);
        let (tree, mut child) = self
            .origin
            .spawn(self.containment)
            .map_err(|error| blame(error, self.directory.as_deref()))?;
        // It holds the ends of the process of the pipes that were made here.
        drop(self.origin);
        let lost = |source: Errno| SpawnError::Lost { source: source.into() };
        let out = self.joined.or(child.stdout.take().map(OwnedFd::from));
        let err = child.stderr.take().map(OwnedFd::from);
        let input = child.stdin.take().map(OwnedFd::from);
        for pipe in [&out, &err, &input].into_iter().flatten() {
            rustix::io::ioctl_fionbio(pipe, true).map_err(lost)?;
        }
        let end = end_of(child.id()).map_err(lost)?;
        let (stdout, stderr) = (self.out.stream, self.err.stream);
        let outputs = [(&stdout, limits.stdout), (&stderr, limits.stderr)];
        let outputs = outputs.map(|(stream, keep)| Gathering::start(reactor, stream, keep));
        let outputs = match outputs {
            [Ok(out), Ok(err)] => Ok([out, err]),
            [Err(error), _] | [_, Err(error)] => Err(error),
        };
        let show = |hook| reactor.spawn(show(hook, self.line_options, &stdout, &stderr));
        let hook = self.hook.map(show);
        let of_out = self.out.copies.into_iter().map(|to| (Channel::Out, &stdout, to));
        let of_err = self.err.copies.into_iter().map(|to| (Channel::Err, &stderr, to));
        let copies = of_out.chain(of_err);
        let copies = copies.map(|(channel, from, to)| Copying::start(reactor, channel, from, to));
        let copies = copies.collect();
        for (idle, pipe) in [(self.out.idle, out), (self.err.idle, err)] {
            if let (Some(idle), Some(pipe)) = (idle, pipe) {
                let duty = idle.start_by_caller();
                reactor.spawn(caller::run(duty, reactor.clone(), pipe));
            }
        }
        let over = Arc::new(OnceLock::new());
        let stdin = input.zip(self.feed.food).map(|(pipe, food)| {
            reactor.spawn(feed(reactor.clone(), Arc::new(pipe), food, over.clone()))
        });
        let tree = Arc::new(tree);
        let watcher = Watcher {
            root: Here { child, end, reactor: reactor.clone() },
            tree: Arc::downgrade(&tree),
            stdout,
            stderr,
            begin,
            time: self.time,
            ending: self.ending,
            linger: self.linger,
        };
        let watching = watcher.run(self.cancel);
        let exit = reactor.spawn(async move {
            let exit = watching.await;
            let _ = over.set(());
            exit
        });
        Ok(Stage {
            tree,
            program: self.shown,
            is_measured: self.is_measured,
            reactor: reactor.clone(),
            exit,
            outputs,
            stdin,
            hook,
            copies,
        })
    }
}

impl Stage {
    /// Waits for the exit and for everything that was written.
    pub(super) async fn finished(&mut self) -> Result<Ended, OutputError> {
        let [out, err] = match &mut self.outputs {
            Ok(outputs) => outputs,
            Err(error) => return Err(OutputError::Subscribe(*error)),
        };
        let mut exit = match self.exit.wait().await.unwrap_or(Err(ExitError::Aborted)) {
            Ok(exit) => exit,
            Err(source) => {
                let (stdout, stderr) = (Box::new(out.snapshot()), Box::new(err.snapshot()));
                return Err(OutputError::Exit { source, stdout, stderr });
            }
        };
        exit.copies = copied(&self.reactor, &mut self.copies, exit.until).await;
        if let Some(hook) = &mut self.hook {
            exit.on_line = match hook.wait().await {
                Ok(shown) => shown.err(),
                Err(error) => Some(error),
            };
        }
        let (stdout, stderr) = (out.wait().await, err.wait().await);
        let stdin = match &mut self.stdin {
            Some(report) => report.wait().await.ok(),
            None => None,
        };
        Ok(Ended { exit, stdout, stderr, stdin })
    }

    /// Ends what is left of the tree.
    #[expect(
        clippy::result_large_err,
        reason = "it is that of the public call, once for each process"
    )]
    pub(super) fn buried(self, ended: Ended) -> Result<Output, OutputError> {
        let report = match self.tree.kill_blocking(REST) {
            ended if is_unsure(&ended) => self.tree.kill_blocking(SURE),
            ended => ended,
        };
        concluded(self.program, &self.tree, self.is_measured, ended, report)
    }
}

/// Waits until every copy is whole or has failed. At `until`, the copies that are left are stopped.
async fn copied(
    reactor: &Reactor,
    copies: &mut [Copying],
    until: Option<Instant>,
) -> Vec<CopyFailed> {
    let mut failed = Vec::new();
    for at in 0..copies.len() {
        let result = poll_fn(|_| {
            let result = copies[at].task.poll();
            if result.is_pending() && until.is_some_and(|until| reactor.poll_time(until).is_ready())
            {
                copies.iter().for_each(|copy| copy.progress.stop());
                reactor.ring();
            }
            result
        });
        let error = match result.await {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => error,
            Err(error) => io::Error::other(error),
        };
        let Copying { channel, to, progress, .. } = &mut copies[at];
        failed.push(progress.failed(*channel, std::mem::take(to), error));
    }
    failed
}

/// An output that is collected.
struct Gathering {
    sink: Arc<Mutex<Sink>>,
    task: Promise<()>,
}

impl Gathering {
    fn start(reactor: &Reactor, stream: &Stream, keep: Keep) -> Result<Self, SubscribeError> {
        let mut reader = stream.subscribe(Position::Start, Policy::Block)?;
        let sink = Arc::new(Mutex::new(Sink::new(keep)));
        let filled = sink.clone();
        let take = move |event: &Event| {
            filled.lock().unwrap_or_else(PoisonError::into_inner).take(event);
        };
        let task = reactor.spawn(async move {
            while let Some(event) = reader.next().await {
                take(&event);
            }
        });
        Ok(Self { sink, task })
    }

    fn snapshot(&self) -> Collected {
        self.sink.lock().unwrap_or_else(PoisonError::into_inner).snapshot()
    }

    async fn wait(&mut self) -> Collected {
        let ended = self.task.wait().await;
        debug_assert!(ended.is_ok(), "it never panics");
        self.snapshot()
    }
}

/// A copy that is being made.
struct Copying {
    channel: Channel,
    to: String,
    progress: Arc<Progress>,
    task: Promise<io::Result<()>>,
}

impl Copying {
    fn start(reactor: &Arc<Reactor>, channel: Channel, stream: &Stream, target: Target) -> Self {
        let Target { to, file } = target;
        let reader = stream.subscribe(Position::Start, Policy::Block);
        let progress = Arc::new(Progress::default());
        let (noted, on) = (progress.clone(), reactor.clone());
        let task = reactor.spawn(async move {
            let mut reader = reader.map_err(io::Error::other)?;
            let size = room_of(&file)?;
            let file = Arc::new(OwnedFd::from(file));
            while let Some(event) = reader.next().await {
                let Some(bytes) = bytes_of(event)? else { break };
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let room = poll_fn(|_| match noted.go_on() {
                        Ok(()) => on.poll_ready(&file, PollFlags::OUT).map(Ok),
                        Err(error) => Poll::Ready(Err(error)),
                    });
                    room.await?;
                    // Another copy may have filled the same place since the wait.
                    if has_room(&file) {
                        write_some(&file, &mut rest, size, &noted)?;
                    }
                }
            }
            Ok(())
        });
        Self { channel, to, progress, task }
    }
}

/// Whether it can be written to now. What cannot be asked is tried.
fn has_room(file: &OwnedFd) -> bool {
    let mut asked = [PollFd::new(file, PollFlags::OUT)];
    !matches!(poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(0))
}

/// Writes the input, until it ends, nobody reads it any more, or the process is over.
async fn feed(
    reactor: Arc<Reactor>,
    pipe: Arc<OwnedFd>,
    food: Food,
    over: Arc<OnceLock<()>>,
) -> StdinReport {
    let mut meal = Meal::new(food);
    let mut written = 0;
    loop {
        let (bytes, failure) = meal.next().await;
        let is_last = bytes.is_empty();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let end = match rustix::io::write(&pipe, rest) {
                Ok(n) => {
                    written += n as u64;
                    rest = &rest[n..];
                    // A reader that is as fast keeps neither outputs nor the time limit waiting.
                    let_others_run().await;
                    continue;
                }
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) if over.get().is_none() => {
                    // The end of the process wakes every future of the thread.
                    poll_fn(|_| match over.get() {
                        Some(()) => Poll::Ready(()),
                        None => reactor.poll_ready(&pipe, PollFlags::OUT),
                    })
                    .await;
                    continue;
                }
                Err(Errno::AGAIN) if has_no_reader(&pipe) => StdinEnd::BrokenPipe,
                Err(Errno::AGAIN) => StdinEnd::Exited,
                Err(Errno::PIPE) => StdinEnd::BrokenPipe,
                Err(error) => StdinEnd::Error(error.into()),
            };
            return StdinReport { written, end };
        }
        if let Some(end) = failure {
            return StdinReport { written, end };
        }
        if is_last {
            return StdinReport { written, end: StdinEnd::Eof };
        }
        let_others_run().await;
    }
}

/// A root that the thread of the caller waits for.
struct Here {
    child: Child,
    /// Readable when it has exited; `None` when that was so at the start.
    end: Option<Arc<OwnedFd>>,
    reactor: Arc<Reactor>,
}

impl Root for Here {
    type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

    async fn exit(&mut self) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if let Some(end) = &self.end {
                self.reactor.ready(end, PollFlags::IN).await;
            }
            if let Some(status) = self.child.wait_until(NEWS)? {
                return Ok(status);
            }
            let_others_run().await;
        }
    }

    fn sleep_until(&self, time: Instant) -> Self::Sleep {
        let reactor = self.reactor.clone();
        Box::pin(async move { reactor.sleep_until(time).await })
    }

    fn now(&self) -> Instant {
        Instant::now()
    }
}

/// A descriptor of the root that is readable when it has exited; `None` when it is gone already, and its number may
/// mean another process.
fn end_of(root: ProcId) -> Result<Option<Arc<OwnedFd>>, Errno> {
    let pid = i32::try_from(root.pid()).ok().and_then(Pid::from_raw);
    let end = match pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) {
        Some(Ok(end)) => end,
        None | Some(Err(Errno::SRCH)) => return Ok(None),
        Some(Err(error)) => return Err(error),
    };
    let is_other = ProcId::of(root.pid()).is_some_and(|found| !found.is_same(&root));
    Ok((!is_other).then(|| Arc::new(end)))
}
