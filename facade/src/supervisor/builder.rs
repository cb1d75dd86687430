//! Collects the members of a supervisor.

use crate::supervisor::drain::{Drain, Failure};
use crate::supervisor::error::{BuildError, BuildReason};
use crate::supervisor::member::{Make, Makes, Member, Service};
use crate::supervisor::notify::Notifier;
use crate::supervisor::owner::Supervisor;
use crate::supervisor::restart::{Restart, Strategy};
#[cfg(feature = "signals")]
use crate::supervisor::signals::Signals;
use crate::supervisor::{IntoDrain, Limits, Shared};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Collects members; they end in the reverse of the order in which they were added.
#[derive(Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct Builder {
    members: Vec<Member>,
    deadline: Duration,
    start_within: Duration,
    group: Option<usize>,
    strategy: Strategy,
    limits: Limits,
    #[cfg(feature = "signals")]
    until_signal: bool,
    #[cfg(feature = "signals")]
    reload_on_hangup: bool,
    notify: bool,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            members: Vec::new(),
            deadline: Duration::from_secs(10),
            start_within: Duration::from_secs(30),
            group: None,
            strategy: Strategy::OneForOne,
            limits: Limits {
                grace: Duration::from_secs(1),
                total: Duration::MAX,
                lame_duck: Duration::ZERO,
            },
            #[cfg(feature = "signals")]
            until_signal: false,
            #[cfg(feature = "signals")]
            reload_on_hangup: false,
            notify: false,
        }
    }
}

impl Builder {
    /// How long the drain of each member that is added after this call may take. Default 10 s.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long a start of each service that is added after this call may take. One that takes longer is
    /// dropped, and counts as a failure. Default 30 s.
    ///
    /// A start that blocks its thread cannot be dropped. The next start waits for it, and fails in its turn if
    /// that takes too long: a service never has two starts at once. If a start that was given up still
    /// returns a service, that service is forced to end.
    pub fn start_within(mut self, time: Duration) -> Self {
        self.start_within = time;
        self
    }

    /// Which services are started again when one is: those that lean on it too, or all. The default is the
    /// one alone.
    ///
    /// Before the pause, the others are ended by their deadlines, the last one first; after it, all are
    /// started in their order. Only a service whose policy is `always` or `on_failure`, and that is not
    /// done, is taken along: members that ran when they were added, and services that are started once, run
    /// on. To be taken along is no failure, and counts against no limit.
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// How long past its deadline a drain may return before it is dropped, and how long a forced end
    /// may take. Default 1 s.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.limits.grace = grace;
        self
    }

    /// Bounds the whole end: what an init system or an orchestrator gives before it kills. The report is
    /// there when this time is over, whatever the members do. A quarter of it, and at most two graces, is
    /// kept for force: members whose turn comes in that part are forced at once, and each gets its share
    /// of what is left. Default: no bound.
    pub fn total(mut self, total: Duration) -> Self {
        self.limits.total = total;
        self
    }

    /// How long nothing is ended yet after a stop or a signal, while [`Handle::health`] says that it is not
    /// ready: for load balancers that see so only some time later. Part of `total`; a second signal cuts it
    /// short. In this time no service is started again. Default: none.
    ///
    /// [`Handle::health`]: crate::supervisor::Handle::health
    pub fn lame_duck(mut self, time: Duration) -> Self {
        self.limits.lame_duck = time;
        self
    }

    /// Tells the service manager by the protocol of `sd_notify`, if `$NOTIFY_SOCKET` names its socket at the
    /// time of the build: `READY=1` when every service has started, `STOPPING=1` when the end begins, a
    /// `STATUS` line whenever a member changes, `RELOADING=1` around a reload, and `WATCHDOG=1` at half of
    /// `$WATCHDOG_USEC` while every member [is live](crate::Drain::is_live). Without the variable it does
    /// nothing.
    ///
    /// ```
    /// use lastout::Supervisor;
    ///
    /// let supervisor = Supervisor::builder().notify().build()?;
    /// supervisor.handle().stop();
    /// assert!(supervisor.run_blocking().is_clean());
    /// # Ok::<(), lastout::supervisor::BuildError>(())
    /// ```
    pub fn notify(mut self) -> Self {
        self.notify = true;
        self
    }

    /// Has the members [reload](crate::Drain::reload) when SIGHUP comes, from the build on.
    ///
    /// This changes the whole process: SIGHUP does not end it any more.
    #[cfg(feature = "signals")]
    pub fn reload_on_hangup(mut self) -> Self {
        self.reload_on_hangup = true;
        self
    }

    /// Ends everything when SIGINT or SIGTERM comes, from the build on: a signal that comes before the run
    /// ends the run at its start. A second signal forces, and at a third nothing is waited for.
    ///
    /// This changes the whole process: neither signal ends it any more.
    #[cfg(feature = "signals")]
    pub fn until_signal(mut self) -> Self {
        self.until_signal = true;
        self
    }

    /// Adds something that runs already. When it fails, everything is ended; when it ends without a
    /// failure, it is done, and the others go on.
    pub fn member(mut self, name: impl Into<String>, member: impl IntoDrain) -> Self {
        let instance = Arc::from(member.into_drain());
        let mut member = Member::running(name.into(), self.deadline, instance);
        member.group = self.group;
        self.members.push(member);
        self
    }

    /// Adds members that do not lean on each other: they end at the same time. Their services are started
    /// one after the other all the same. A group inside of a group is part of it.
    ///
    /// ```
    /// use lastout::Supervisor;
    /// use lastout::supervisor::Thread;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let wait = |stopping: lastout::supervisor::Stopping| {
    ///     stopping.asked_blocking();
    ///     Ok(())
    /// };
    /// let (mail, search) = (Thread::spawn("mail", wait)?, Thread::spawn("search", wait)?);
    /// let supervisor = Supervisor::builder()
    ///     .group(|group| group.member("mail", mail).member("search", search))
    ///     .build()?;
    /// assert!(supervisor.shutdown_blocking().is_clean());
    /// # Ok(())
    /// # }
    /// ```
    pub fn group(mut self, add: impl FnOnce(Self) -> Self) -> Self {
        let outer = self.group;
        self.group.get_or_insert(self.members.len());
        let mut added = add(self);
        added.group = outer;
        added
    }

    /// Adds something that ends after all members, whenever they were added: what they need in order
    /// to end, above all a cleanup worker. Several end in the reverse of their order.
    pub fn last(mut self, name: impl Into<String>, member: impl IntoDrain) -> Self {
        let instance = Arc::from(member.into_drain());
        let mut member = Member::running(name.into(), self.deadline, instance);
        member.is_last = true;
        self.members.push(member);
        self
    }

    /// Adds a service that the supervisor starts itself, and starts again by `policy` when it fails.
    ///
    /// Services are started one after the other, in the order in which they were added, each on a thread
    /// of its own. A start that returns an error, panics or takes too long counts as a failure. A start is
    /// dropped when everything is to end: it must leave nothing behind then.
    pub fn service<S, F, T>(self, name: impl Into<String>, policy: Restart, start: S) -> Self
    where
        S: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<T, Failure>> + Send + 'static,
        T: IntoDrain,
    {
        let start = move || -> crate::supervisor::contain::Boxed<'static, _> {
            let starting = start();
            Box::pin(async move {
                let started = starting.await?;
                Ok(Arc::<dyn Drain>::from(started.into_drain()))
            })
        };
        self.push_service(name.into(), policy, Arc::new(start))
    }

    fn push_service(mut self, name: String, policy: Restart, make: Arc<Make>) -> Self {
        let (makes, start_within) = (Makes::new(make), self.start_within);
        let service = Service { policy, makes, start_within };
        let mut member = Member::service(name, self.deadline, service);
        member.group = self.group;
        self.members.push(member);
        self
    }

    /// Checks the names, and reaches for signals and the service manager if it was asked to.
    ///
    /// # Errors
    ///
    /// When two members have the same name, one has none, the system refuses to listen for signals, or the
    /// socket of the service manager cannot be reached. The builder comes back.
    pub fn build(self) -> Result<Supervisor, BuildError> {
        let mut names: Vec<&str> = self.members.iter().map(|member| &*member.name).collect();
        names.sort_unstable();
        let reason = if names.first().is_some_and(|name| name.is_empty()) {
            Some(BuildReason::EmptyName)
        } else {
            let twice = names.windows(2).find(|pair| pair[0] == pair[1]);
            twice.map(|pair| BuildReason::SameName(pair[0].to_owned()))
        };
        match reason {
            Some(reason) => Err(BuildError::new(reason, self)),
            None => self.listen(),
        }
    }

    fn listen(self) -> Result<Supervisor, BuildError> {
        let notifier = match self.notify.then(Notifier::from_env).transpose() {
            Ok(notifier) => notifier.flatten(),
            Err(error) => {
                return Err(BuildError::new(BuildReason::Notify(error.to_string()), self));
            }
        };
        let (stop, reloads) = (Arc::default(), Arc::default());
        #[cfg(feature = "signals")]
        let signals = {
            let stop = self.until_signal.then(|| Arc::clone(&stop));
            let reloads = self.reload_on_hangup.then(|| Arc::clone(&reloads));
            match Signals::listen(stop, reloads) {
                Ok(signals) => signals,
                Err(error) => {
                    return Err(BuildError::new(BuildReason::Signals(error.to_string()), self));
                }
            }
        };
        let supervisor = Supervisor::new(Shared {
            members: self.members,
            strategy: self.strategy,
            limits: self.limits,
            stop,
            reloads,
            until: Mutex::default(),
            notifier,
        });
        #[cfg(feature = "signals")]
        let supervisor = supervisor.hears(signals);
        Ok(supervisor)
    }
}
