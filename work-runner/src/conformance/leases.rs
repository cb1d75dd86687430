//! Leases, crashes and recovery policies.

use super::{Bench, done, ids, job};
use crate::job::Recovery;
use crate::lease::{Fence, Lease, WorkerId};
use crate::lifecycle::{Outcome, State};
use crate::registry::{Applied, Swept, TurnRequest};
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(60);

impl Bench {
    async fn sweep(&self, dead: &[WorkerId]) -> Swept {
        self.registry.sweep(dead.to_vec(), 1000).await.expect("sweep")
    }

    /// Kills the holder: a new worker claims one job, optionally starts it, and dies.
    async fn claim_and_die(&self, start: bool) -> Lease {
        let worker = self.worker().await;
        let lease = self.claim_one(worker).await.lease;
        if start {
            let marked = self.registry.mark_started(vec![lease]).await.expect("mark");
            assert_eq!(marked, [Ok(())]);
        }
        assert_eq!(self.sweep(&[worker]).await.jobs, 1);
        lease
    }
}

pub(super) async fn a_lapsed_lease_is_never_renewed_and_claims_nothing(bench: Bench) {
    let worker = bench.worker_for(SHORT).await;
    bench.lapse(worker).await;
    let beat = async || bench.registry.beat(worker, super::LONG).await.expect("beat");
    assert!(!beat().await);
    bench.enqueue(job("any")).await;
    let turn = bench.turn(TurnRequest::new(worker).claim("default", 1)).await;
    assert!(!turn.live && turn.claimed.is_empty());
    assert!(!beat().await, "for good");
    let unknown = bench.registry.beat(WorkerId::random(), super::LONG).await.expect("beat");
    assert!(!unknown, "nobody knows this worker");
    let healthy = bench.worker_for(super::LONG / 2).await;
    assert!(bench.registry.beat(healthy, super::LONG).await.expect("beat"));
    let workers = bench.registry.workers().await.expect("workers");
    let left = workers.iter().find(|record| record.id == healthy).map(|record| record.lease_ms);
    assert!(left.is_some_and(|ms| ms > super::LONG.as_millis() as i64 / 2), "{left:?}");
}

pub(super) async fn a_sweep_takes_back_and_the_zombie_is_refused(bench: Bench) {
    // Claimed under a long lease that is then let go by a short renewal.
    let zombie = bench.worker().await;
    let living = bench.worker().await;
    bench.enqueue(job("any")).await;
    bench.enqueue(job("other")).await;
    let stale = bench.claim_one(zombie).await.lease;
    let kept = bench.claim_one(living).await.lease;
    assert_eq!(bench.sweep(&[]).await, Swept::default(), "nobody is dead");
    assert!(bench.registry.beat(zombie, SHORT).await.expect("beat"));
    bench.lapse(zombie).await;
    let peek = bench.registry.peek(living, vec![], None).await.expect("peek");
    assert!(peek.expired);
    let swept = bench.sweep(&[]).await;
    assert_eq!((swept.jobs, swept.workers), (1, 1));
    let row = bench.get(stale.job).await;
    assert_eq!((row.state, row.crashes, row.owner), (State::Ready, 1, WorkerId::NONE));
    assert!(matches!(bench.report(stale, done()).await, Applied::Lost(_)));
    let again = bench.claim_one(living).await.lease;
    assert_eq!((again.job, again.fence), (stale.job, Fence(2)));
    assert!(matches!(bench.report(stale, done()).await, Applied::Lost(_)));
    assert!(bench.report(again, done()).await.is_applied());
    assert!(bench.report(kept, done()).await.is_applied(), "the living keep theirs");
    assert!(!bench.registry.workers().await.expect("workers").iter().any(|w| w.id == zombie));
}

pub(super) async fn a_proven_death_needs_no_lapse(bench: Bench) {
    bench.enqueue(job("any")).await;
    let lease = bench.claim_and_die(false).await;
    assert_eq!(bench.state(lease.job).await, State::Ready);
    assert!(!bench.registry.beat(lease.owner, super::LONG).await.expect("beat"));
}

pub(super) async fn only_recorded_starts_are_charged_again(bench: Bench) {
    let id = bench.enqueue(job("any")).await;
    bench.claim_and_die(false).await;
    assert_eq!(bench.get(id).await.crashes, 1, "the first is charged to all");
    for _ in 0..5 {
        bench.claim_and_die(false).await;
    }
    let row = bench.get(id).await;
    assert_eq!((row.crashes, row.attempt), (1, 1), "unstarted again and again");
    bench.claim_and_die(true).await;
    let row = bench.get(id).await;
    assert_eq!((row.crashes, row.state), (2, State::Scheduled));
    assert!(row.run_at > row.claimed_at, "it waits before it kills again");
}

pub(super) async fn a_poisoned_job_is_set_aside(bench: Bench) {
    let id = bench.enqueue(job("any").max_crashes(2)).await;
    bench.claim_and_die(false).await;
    let worker = bench.worker().await;
    let lease = bench.claim_one(worker).await.lease;
    assert_eq!(bench.registry.mark_started(vec![lease]).await.expect("mark"), [Ok(())]);
    let swept = bench.sweep(&[worker]).await;
    assert_eq!((swept.jobs, swept.poisoned), (1, 1));
    let row = bench.get(id).await;
    assert_eq!((row.state, row.crashes), (State::Dead, 2));
    assert!(row.error.is_some_and(|error| error.contains("poisoned")));
}

pub(super) async fn never_rerun_is_abandoned_once_started(bench: Bench) {
    let id = bench.enqueue(job("any").recovery(Recovery::NeverRerun)).await;
    bench.claim_and_die(false).await;
    let row = bench.get(id).await;
    assert_eq!((row.state, row.crashes), (State::Ready, 0), "it never started");
    let worker = bench.worker().await;
    let lease = bench.claim_one(worker).await.lease;
    assert_eq!(bench.registry.mark_started(vec![lease]).await.expect("mark"), [Ok(())]);
    let swept = bench.sweep(&[worker]).await;
    assert_eq!((swept.jobs, swept.abandoned), (1, 1));
    assert_eq!(bench.state(id).await, State::Abandoned);
    let gone = bench.registry.mark_started(vec![lease]).await.expect("mark");
    assert!(gone[0].is_err(), "a stale start is refused");

    let midway = bench.enqueue(job("any").recovery(Recovery::NeverRerun)).await;
    let worker = bench.worker().await;
    let lease = bench.claim_one(worker).await.lease;
    assert_eq!(bench.registry.mark_started(vec![lease]).await.expect("mark"), [Ok(())]);
    assert_eq!(bench.report(lease, Outcome::Release).await, Applied::Now(State::Abandoned));
    assert_eq!(bench.state(midway).await, State::Abandoned, "given back midway");
}

pub(super) async fn an_external_job_belongs_to_its_creator(bench: Bench) {
    let new = || job("any").recovery(Recovery::External);
    let id = bench.enqueue(new()).await;
    let worker = bench.worker().await;
    assert!(bench.claim(worker, 9).await.is_empty(), "no runner claims it");
    assert_eq!(bench.sweep(&[]).await.jobs, 0, "no sweep takes it");
    let lease = bench.get(id).await.lease();
    assert_eq!(lease, Lease::new(id, Fence(1), WorkerId::EXTERNAL));
    let forged = Lease::new(id, Fence(2), WorkerId::EXTERNAL);
    assert!(matches!(bench.report(forged, done()).await, Applied::Lost(_)));
    assert_eq!(bench.report(lease, done()).await, Applied::Now(State::Succeeded));

    let lapsing = bench.enqueue(new().own_lease(Duration::from_millis(80))).await;
    let lease = bench.get(lapsing).await.lease();
    assert_eq!(bench.registry.renew(vec![lease]).await.expect("renew"), [Ok(())]);
    bench.eventually("its own lease lapses", async || bench.sweep(&[]).await.abandoned == 1).await;
    assert_eq!(bench.state(lapsing).await, State::Abandoned);
    assert!(bench.registry.renew(vec![lease]).await.expect("renew")[0].is_err());
}

pub(super) async fn an_own_lease_lapses_alone(bench: Bench) {
    let short = bench.enqueue(job("any").own_lease(Duration::from_millis(80))).await;
    let long = bench.enqueue(job("any").own_lease(super::LONG)).await;
    let worker = bench.worker().await;
    let claimed = bench.claim(worker, 2).await;
    assert_eq!(ids(&claimed), [short, long]);
    bench.eventually("its own lease lapses", async || bench.sweep(&[]).await.jobs == 1).await;
    assert_eq!(bench.state(short).await, State::Ready);
    assert_eq!(bench.state(long).await, State::Running);
    let peek = bench.registry.peek(worker, vec![], None).await.expect("peek");
    assert!(peek.live && peek.cancels.contains(&short), "its holder is told: {peek:?}");
}

pub(super) async fn progress_is_kept_and_fenced(bench: Bench) {
    let id = bench.enqueue(job("any")).await;
    let worker = bench.worker().await;
    let lease = bench.claim_one(worker).await.lease;
    let save =
        async |lease, bytes: &[u8]| bench.registry.save(lease, bytes.to_vec()).await.expect("save");
    assert_eq!(save(lease, b"1").await, Ok(()));
    assert_eq!(save(lease, b"2").await, Ok(()));
    assert_eq!(bench.get(id).await.progress_as::<u8>(), Some(2));
    assert!(bench.report(lease, Outcome::Release).await.is_applied());
    assert!(save(lease, b"3").await.is_err(), "given back");
    let next = bench.claim_one(worker).await;
    assert_eq!(next.progress.as_deref(), Some(&b"2"[..]), "the checkpoint comes along");
    assert!(save(lease, b"4").await.is_err(), "an old fence");
    assert_eq!(bench.get(id).await.progress_as::<u8>(), Some(2));
}

pub(super) async fn reconcile_gives_back_what_nobody_holds(bench: Bench) {
    for _ in 0..4 {
        bench.enqueue(job("any")).await;
    }
    let (worker, other) = (bench.worker().await, bench.worker().await);
    let known = bench.claim(worker, 1).await;
    // The answer to this one is lost on the way.
    let unknown = bench.claim(worker, 2).await;
    let foreign = bench.claim(other, 1).await;
    let given = bench.registry.reconcile(worker, ids(&known)).await.expect("reconcile");
    assert_eq!(given, 2);
    for claimed in &unknown {
        let row = bench.get(claimed.lease.job).await;
        assert_eq!((row.state, row.attempt, row.crashes), (State::Ready, 0, 0));
    }
    assert!(bench.report(known[0].lease, done()).await.is_applied());
    assert!(bench.report(foreign[0].lease, done()).await.is_applied());
}

pub(super) async fn deregister_gives_everything_back(bench: Bench) {
    for _ in 0..3 {
        bench.enqueue(job("any")).await;
    }
    let worker = bench.worker().await;
    let claimed = bench.claim(worker, 3).await;
    assert_eq!(bench.registry.deregister(worker).await.expect("deregister"), 3);
    for claimed in &claimed {
        let row = bench.get(claimed.lease.job).await;
        assert_eq!((row.state, row.attempt, row.crashes), (State::Ready, 0, 0));
        assert!(matches!(
            bench.report(claimed.lease, done()).await,
            Applied::Lost(_) | Applied::Before
        ));
    }
    assert!(bench.registry.workers().await.expect("workers").iter().all(|w| w.id != worker));
    assert_eq!(bench.registry.deregister(worker).await.expect("deregister"), 0);
    assert!(!bench.registry.beat(worker, super::LONG).await.expect("beat"));
}

pub(super) async fn a_death_is_charged_once(bench: Bench) {
    bench.enqueue(job("any")).await;
    let worker = bench.worker().await;
    let lease = bench.claim_one(worker).await.lease;
    let dead = [worker];
    let (one, two) = tokio::join!(bench.sweep(&dead), bench.sweep(&dead));
    assert_eq!(one.jobs + two.jobs, 1, "of two sweepers one takes it");
    assert_eq!(bench.sweep(&[worker]).await, Swept::default());
    assert_eq!(bench.get(lease.job).await.crashes, 1);
}
