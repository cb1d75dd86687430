//! Collects the members of a supervisor.

use crate::supervisor::drain::{Drain, Failure};
use crate::supervisor::error::{BuildError, BuildReason};
use crate::supervisor::member::{Member, Service, Start};
use crate::supervisor::owner::Supervisor;
use crate::supervisor::restart::{Restart, Strategy};
#[cfg(feature = "signals")]
use crate::supervisor::signals::Signals;
use crate::supervisor::stop::Stop;
use crate::supervisor::{IntoDrain, Limits, Shared};
use std::future::Future;
use std::sync::Arc;
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
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            members: Vec::new(),
            deadline: Duration::from_secs(10),
            start_within: Duration::from_secs(30),
            group: None,
            strategy: Strategy::OneForOne,
            limits: Limits { grace: Duration::from_secs(1), total: Duration::MAX },
            #[cfg(feature = "signals")]
            until_signal: false,
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
        self.push_service(name.into(), policy, Box::new(start))
    }

    fn push_service(mut self, name: String, policy: Restart, start: Box<Start>) -> Self {
        let service = Service { policy, start, start_within: self.start_within };
        let mut member = Member::service(name, self.deadline, service);
        member.group = self.group;
        self.members.push(member);
        self
    }

    /// Checks the names, and begins to listen for signals if it was asked to.
    ///
    /// # Errors
    ///
    /// When two members have the same name, one has none, or the system refuses to listen for signals. The
    /// builder comes back.
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

    #[cfg(feature = "signals")]
    fn listen(self) -> Result<Supervisor, BuildError> {
        let stop = Arc::<Stop>::default();
        let signals = match self.until_signal {
            true => match Signals::listen(Arc::clone(&stop)) {
                Ok(signals) => Some(signals),
                Err(error) => {
                    return Err(BuildError::new(BuildReason::Signals(error.to_string()), self));
                }
            },
            false => None,
        };
        Ok(self.owned(stop).hears(signals))
    }

    #[cfg(not(feature = "signals"))]
    fn listen(self) -> Result<Supervisor, BuildError> {
        Ok(self.owned(Arc::default()))
    }

    fn owned(self, stop: Arc<Stop>) -> Supervisor {
        Supervisor::new(Shared {
            members: self.members,
            strategy: self.strategy,
            limits: self.limits,
            stop,
        })
    }
}
