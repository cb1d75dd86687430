//! The conformance suite: what every store must do, as cases that run against any [`Registry`].
//!
//! ```no_run
//! use lastout_work_runner::{MemoryRegistry, Registry, conformance};
//! use std::sync::Arc;
//!
//! # async fn example() {
//! for case in conformance::cases() {
//!     // Each case wants a registry of its own, and empty.
//!     case.run(Arc::new(MemoryRegistry::new())).await;
//! }
//! # }
//! ```
//!
//! The cases use the clock of the store as it is: where a lease must run out they wait for the store
//! to say so. They run on a tokio runtime with timers.

mod claiming;
mod ending;
mod ends;
mod history;
mod leases;
mod limits;
mod operators;
mod periodic;
mod rates;
mod views;

use crate::identity::Identity;
use crate::job::{JobId, JobRecord, NewJob};
use crate::lease::{Lease, WorkerId};
use crate::lifecycle::{Outcome, State};
use crate::registry::{Applied, Claimed, Registry, Report, Turn, TurnRequest};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

type CaseFuture = Pin<Box<dyn Future<Output = ()>>>;

/// One thing that every store must do.
#[derive(Clone, Copy)]
pub struct Case {
    name: &'static str,
    run: fn(Bench) -> CaseFuture,
}

impl Case {
    /// What it checks, as the name of a function.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Runs it against an empty registry.
    ///
    /// # Panics
    ///
    /// When the registry does not do it.
    pub async fn run(&self, registry: Arc<dyn Registry>) {
        (self.run)(Bench { registry }).await;
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

macro_rules! cases {
    ($($module:ident::$name:ident,)*) => {
        /// All cases.
        pub fn cases() -> Vec<Case> {
            vec![$(Case { name: stringify!($name), run: |bench| Box::pin($module::$name(bench)) },)*]
        }
    };
}

cases! {
    claiming::what_is_enqueued_is_kept_as_it_was,
    claiming::an_empty_call_does_nothing,
    claiming::the_order_is_due_time_less_head_start,
    claiming::a_claim_raises_fence_and_attempt,
    claiming::nothing_is_claimed_twice,
    claiming::queues_are_separate_and_counts_are_kept,
    claiming::what_is_not_due_is_not_claimed,
    claiming::a_turn_completes_and_claims,
    claiming::a_thousand_in_one_call,
    claiming::peek_tells_without_writing,
    claiming::an_enqueue_pokes_subscribers,
    ending::every_outcome_leads_where_the_table_says,
    ending::a_stale_fence_is_refused_for_every_outcome,
    ending::a_repeated_report_is_recognised,
    ending::attempts_are_used_up,
    ending::what_is_given_back_is_not_charged,
    ending::big_and_odd_bytes_survive,
    ending::a_waiter_sees_the_end,
    ending::ended_jobs_are_pruned_by_age,
    ends::any_number_bounds_a_call,
    ends::a_periodic_job_runs_at_most_a_thousand_times_at_once,
    ends::the_id_of_a_worker_is_used_once,
    ends::an_outside_result_over_the_limit_is_refused,
    ends::an_error_is_looked_for_where_there_is_one,
    history::every_attempt_is_told,
    history::the_last_ten_attempts_are_kept,
    leases::a_lapsed_lease_is_never_renewed_and_claims_nothing,
    leases::a_sweep_takes_back_and_the_zombie_is_refused,
    leases::a_proven_death_needs_no_lapse,
    leases::only_recorded_starts_are_charged_again,
    leases::a_poisoned_job_is_set_aside,
    leases::never_rerun_is_abandoned_once_started,
    leases::an_external_job_belongs_to_its_creator,
    leases::an_own_lease_lapses_alone,
    leases::progress_is_kept_and_fenced,
    leases::reconcile_gives_back_what_nobody_holds,
    leases::deregister_gives_everything_back,
    leases::a_death_is_charged_once,
    limits::a_unique_key_is_taken_while_its_job_lives,
    limits::a_kept_key_is_taken_until_it_is_pruned,
    limits::a_key_may_be_made_of_what_a_job_is,
    limits::a_batch_sees_its_own_keys,
    limits::a_long_batch_of_keys_is_answered_one_by_one,
    limits::a_batch_of_keys_passes_over_the_one_that_is_taken,
    limits::a_limit_key_admits_as_many_as_it_may,
    limits::every_way_to_end_gives_the_place_back,
    limits::a_scheduled_job_takes_its_place_when_due,
    limits::a_queue_limit_counts_over_workers,
    limits::a_pause_stands_beside_the_limit,
    rates::a_queue_rate_counts_over_workers,
    rates::a_key_rate_counts_over_queues,
    rates::a_key_rate_counts_jobs_that_come_one_by_one,
    rates::the_rate_of_a_queue_wakes_its_own_workers_alone,
    rates::no_span_of_time_starts_more_than_its_rate,
    rates::rates_are_listed_and_checked,
    operators::orders_follow_the_table_in_every_state,
    operators::only_what_has_ended_is_deleted,
    operators::what_is_scheduled_runs_now,
    operators::what_waits_is_edited,
    operators::an_order_over_a_query_counts_what_it_did,
    operators::a_cancel_reaches_the_holder,
    operators::a_cancelled_job_is_not_tried_again,
    operators::an_abandoned_job_refuses_its_holder,
    operators::a_requeued_job_starts_afresh_under_a_higher_fence,
    operators::a_requeue_respects_the_unique_key,
    views::counts_say_where_they_stopped,
    views::an_overview_tells_who_waits,
    views::workers_tell_what_they_do,
    views::lists_are_paged_and_filtered,
    views::lists_go_both_ways_and_find,
    periodic::a_periodic_job_fires_once_for_each_time,
    periodic::a_paused_periodic_job_misses_its_times,
}

/// A registry under test, with the steps that cases are made of.
struct Bench {
    registry: Arc<dyn Registry>,
}

/// Long enough that nothing lapses while a case runs.
const LONG: Duration = Duration::from_secs(600);
/// How long a case waits for the store before it fails.
const PATIENCE: Duration = Duration::from_secs(60);

impl Bench {
    async fn enqueue(&self, job: NewJob) -> JobId {
        let enqueued = self.registry.enqueue(vec![job]).await.expect("enqueue");
        assert!(enqueued[0].is_new(), "{enqueued:?}");
        enqueued[0].id()
    }

    async fn worker(&self) -> WorkerId {
        self.worker_for(LONG).await
    }

    async fn worker_for(&self, ttl: Duration) -> WorkerId {
        let worker = WorkerId::random();
        let identity = Identity::current();
        self.registry.register(worker, identity.into(), ttl).await.expect("register");
        worker
    }

    async fn turn(&self, turn: TurnRequest) -> Turn {
        self.registry.turn(turn).await.expect("turn")
    }

    /// Claims up to `count` jobs of the default queue.
    async fn claim(&self, worker: WorkerId, count: usize) -> Vec<Claimed> {
        let turn = TurnRequest::new(worker).claim(NewJob::DEFAULT_QUEUE, count).promote();
        let first = self.turn(turn).await.claimed;
        if !first.is_empty() {
            return first;
        }
        // What has just been made ready may be claimable only by the next turn.
        self.turn(TurnRequest::new(worker).claim(NewJob::DEFAULT_QUEUE, count)).await.claimed
    }

    async fn claim_one(&self, worker: WorkerId) -> Claimed {
        let mut claimed = self.claim(worker, 1).await;
        assert_eq!(claimed.len(), 1, "one job was ready");
        claimed.remove(0)
    }

    async fn report(&self, lease: Lease, outcome: Outcome) -> Applied {
        let turn = TurnRequest::new(lease.owner).reports([Report::new(lease, outcome)]);
        let applied = self.turn(turn).await.applied;
        assert_eq!(applied.len(), 1, "one answer for one report");
        applied[0]
    }

    async fn get(&self, job: JobId) -> JobRecord {
        let row = self.registry.fetch(vec![job]).await.expect("fetch").pop();
        row.expect("the job exists")
    }

    async fn state(&self, job: JobId) -> State {
        self.get(job).await.state
    }

    /// Waits until the store says that the lease of `worker` has run out.
    async fn lapse(&self, worker: WorkerId) {
        self.eventually("the lease runs out", async || {
            let workers = self.registry.workers().await.expect("workers");
            workers.iter().any(|record| record.id == worker && record.lease_ms <= 0)
        })
        .await;
    }

    /// Waits for a condition of the store, which only its own clock can bring about.
    async fn eventually(&self, what: &str, condition: impl AsyncFn() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !condition().await {
            assert!(Instant::now() < until, "{what} within {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Brings a new job into `state` by the calls that lead there.
    async fn job_in(&self, state: State) -> JobId {
        let plain = NewJob::raw("any", b"1".to_vec());
        let end = async |outcome| {
            let worker = self.worker().await;
            let id = self.enqueue(plain.clone()).await;
            let claimed = self.claim_one(worker).await;
            assert_eq!(claimed.lease.job, id);
            assert!(self.report(claimed.lease, outcome).await.is_applied());
            id
        };
        let error = || "because".to_owned();
        let id = match state {
            State::Scheduled => self.enqueue(plain.delay(LONG)).await,
            State::Held => {
                let worker = self.worker().await;
                let key = format!("held by {worker}");
                let first = self.enqueue(plain.clone().limit(key.clone(), 1)).await;
                assert_eq!(self.claim_one(worker).await.lease.job, first);
                self.enqueue(plain.limit(key, 1)).await
            }
            State::Ready => self.enqueue(plain).await,
            State::Running => {
                let worker = self.worker().await;
                let id = self.enqueue(plain).await;
                assert_eq!(self.claim_one(worker).await.lease.job, id);
                id
            }
            State::Succeeded => end(Outcome::Done { result: None }).await,
            State::Failed => end(Outcome::Fail { error: error() }).await,
            State::Cancelled => end(Outcome::Stopped { error: None }).await,
            State::Dead => end(Outcome::Reject { error: error() }).await,
            State::Abandoned => {
                let id = self.enqueue(plain).await;
                let order = crate::registry::Order::Abandon { reason: error() };
                self.registry.order(order, vec![id]).await.expect("abandon");
                id
            }
            State::Unreadable => unreachable!("no call leads there"),
        };
        assert_eq!(self.state(id).await, state);
        id
    }
}

/// The states that calls lead to.
fn states() -> impl Iterator<Item = State> {
    State::ALL.into_iter().filter(|state| *state != State::Unreadable)
}

fn job(kind: &str) -> NewJob {
    NewJob::raw(kind, b"null".to_vec())
}

fn done() -> Outcome {
    Outcome::Done { result: None }
}

fn ids(claimed: &[Claimed]) -> Vec<JobId> {
    claimed.iter().map(|claimed| claimed.lease.job).collect()
}
