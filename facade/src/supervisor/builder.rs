//! Collects the members of a supervisor.

use crate::supervisor::drain::{Drain, Failure};
use crate::supervisor::error::{BuildError, BuildReason};
use crate::supervisor::member::{Member, Service};
use crate::supervisor::owner::Supervisor;
use crate::supervisor::restart::Restart;
use crate::supervisor::{IntoDrain, Limits};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// Collects members; they end in the reverse of the order in which they were added.
#[derive(Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct Builder {
    members: Vec<Member>,
    deadline: Duration,
    limits: Limits,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            members: Vec::new(),
            deadline: Duration::from_secs(10),
            limits: Limits { grace: Duration::from_secs(1), total: Duration::MAX },
        }
    }
}

impl Builder {
    /// How long the drain of each member that is added after this call may take. Default 10 s.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long past its deadline a drain may return before it is dropped, and how long a forced end
    /// may take. Default 1 s.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.limits.grace = grace;
        self
    }

    /// Bounds all deadlines together: what an init system or an orchestrator gives before it kills.
    /// Members whose turn comes after it are forced. Default: no bound.
    pub fn total(mut self, total: Duration) -> Self {
        self.limits.total = total;
        self
    }

    /// Adds something that runs already. Should it fail, everything is ended.
    pub fn member(mut self, name: impl Into<String>, member: impl IntoDrain) -> Self {
        let instance = Arc::from(member.into_drain());
        self.members.push(Member::running(name.into(), self.deadline, instance));
        self
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
    /// Services are started one after the other, in the order in which they were added. A start that
    /// returns an error counts as a failure. A start is dropped when everything is to end: it must
    /// leave nothing behind then.
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
        let service = Service { policy, start: Box::new(start) };
        self.add(Member::service, name.into(), service)
    }

    fn add(
        mut self,
        make: impl FnOnce(String, Duration, Service) -> Member,
        name: String,
        service: Service,
    ) -> Self {
        self.members.push(make(name, self.deadline, service));
        self
    }

    /// Checks the names.
    ///
    /// # Errors
    ///
    /// When two members have the same name, or one has none. The builder comes back.
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
            None => Ok(Supervisor::new(self.members, self.limits)),
        }
    }
}
