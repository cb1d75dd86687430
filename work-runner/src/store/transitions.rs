//! The transitions that all stores share: load the row, take one [`step`], settle the limit keys,
//! save. Only claim, done and promote have SQL of their own, for their speed; what those leave
//! aside ends here, so every store treats it alike.

use super::table::Table;
use crate::error::StoreError;
use crate::job::{JobId, JobRecord, rank};
use crate::lease::{Lease, WorkerId};
use crate::lifecycle::{Event, LeaseLost, Outcome, Refused, State, step};
use crate::registry::{Applied, Enqueued, Order, Ordered, Report, Swept};
use std::collections::HashSet;

/// Stores one new job, held back when its limit key is full.
pub(crate) async fn enqueue<T: Table>(
    table: &mut T,
    row: &mut JobRecord,
) -> Result<Enqueued, StoreError> {
    if let Some(holder) = table.key_holder(row).await? {
        return Ok(Enqueued::Duplicate(holder));
    }
    if row.state == State::Ready {
        hold_back(table, row, false).await?;
    }
    if row.state == State::Running && row.own_lease_ms > 0 {
        // Only an external job is born running: its holder must renew from now on.
        row.lease_until = table.lease_now_ms().saturating_add(row.own_lease_ms);
    }
    let took = row.holds_slot();
    if let Some(holder) = table.insert(row).await? {
        // Another transaction was first between the look and the insert.
        if let Some(key) = row.limit_key.clone().filter(|_| took) {
            release_slot(table, &key).await?;
        }
        return Ok(Enqueued::Duplicate(holder));
    }
    Ok(Enqueued::New(row.id))
}

/// Applies `event` to a loaded row, with everything that hangs on it, and saves it.
pub(crate) async fn apply<T: Table>(
    table: &mut T,
    row: &mut JobRecord,
    event: Event,
) -> Result<Result<State, Refused>, StoreError> {
    if row.state == State::Unreadable {
        set_aside(table, row.clone()).await?;
        return Ok(Err(Refused::NoEdge(row.state, event.name())));
    }
    let held_slot = row.holds_slot();
    let was_flagged = row.cancel;
    if let Err(refused) = step(row, event, table.now_ms()) {
        return Ok(Err(refused));
    }
    if row.state == State::Ready {
        hold_back(table, row, held_slot).await?;
    }
    table.save(row).await?;
    if was_flagged && row.state != State::Running {
        table.unsignal(row.id).await?;
    }
    if held_slot && !row.holds_slot() {
        if let Some(key) = row.limit_key.clone() {
            release_slot(table, &key).await?;
        }
    }
    Ok(Ok(row.state))
}

/// Takes a row that cannot be read out of everything, except of what shows it.
pub(crate) async fn set_aside<T: Table>(
    table: &mut T,
    mut row: JobRecord,
) -> Result<(), StoreError> {
    row.error.get_or_insert_with(|| "it cannot be read".to_owned());
    if table.set_aside(&row).await? {
        if let Some(key) = row.limit_key.clone() {
            table.give_slot(&key).await?;
        }
    }
    Ok(())
}

/// A row that wants to be ready takes a place of its limit key, or is held.
async fn hold_back<T: Table>(
    table: &mut T,
    row: &mut JobRecord,
    has_slot: bool,
) -> Result<(), StoreError> {
    let Some(key) = row.limit_key.as_deref() else {
        return Ok(());
    };
    if !has_slot && !table.take_slot(key, row.limit_max).await? {
        row.state = State::Held;
    }
    Ok(())
}

/// Gives a place back and admits who waited for it.
async fn release_slot<T: Table>(table: &mut T, key: &str) -> Result<(), StoreError> {
    table.give_slot(key).await?;
    while let Some(mut next) = table.next_held(Some(key)).await? {
        if !admit(table, &mut next).await? {
            break;
        }
    }
    Ok(())
}

async fn admit<T: Table>(table: &mut T, row: &mut JobRecord) -> Result<bool, StoreError> {
    if row.state == State::Unreadable {
        // Whoever asked goes on with the next one.
        set_aside(table, row.clone()).await?;
        return Ok(true);
    }
    let Some(key) = row.limit_key.clone() else {
        return Ok(false);
    };
    if !table.take_slot(&key, row.limit_max).await? {
        return Ok(false);
    }
    // Held to Ready is an edge; the place has just been taken.
    let admitted = step(row, Event::Admit, table.now_ms()).is_ok();
    table.save(row).await?;
    Ok(admitted)
}

/// Before rows with limit keys are moved one after the other.
async fn lock_keys_of<T: Table>(table: &mut T, rows: Vec<&JobRecord>) -> Result<(), StoreError> {
    let keys: Vec<&str> = rows.into_iter().filter_map(|row| row.limit_key.as_deref()).collect();
    table.lock_keys(&keys).await
}

/// Applies the reports that the hot path left aside.
pub(crate) async fn report<T: Table>(
    table: &mut T,
    reports: Vec<Report>,
) -> Result<Vec<Applied>, StoreError> {
    let ids: Vec<_> = reports.iter().map(|report| report.lease.job).collect();
    let mut rows = by_id(table.load(&ids).await?);
    lock_keys_of(table, rows.values().collect()).await?;
    let mut applied = Vec::with_capacity(reports.len());
    for Report { lease, outcome } in reports {
        let Some(row) = rows.get_mut(&lease.job) else {
            applied.push(Applied::Lost(gone(lease)));
            continue;
        };
        // An end may have admitted a held job of this very batch: rows are never shared between
        // running and held, so what was loaded is still what is stored.
        let result = apply(table, row, Event::Report(lease, outcome)).await?;
        applied.push(match result {
            Ok(state) => Applied::Now(state),
            Err(Refused::AlreadyApplied) => Applied::Before,
            Err(refused) => Applied::Lost(lost(lease, row, refused)),
        });
    }
    Ok(applied)
}

fn by_id(rows: Vec<JobRecord>) -> std::collections::HashMap<JobId, JobRecord> {
    rows.into_iter().map(|row| (row.id, row)).collect()
}

pub(crate) fn gone(lease: Lease) -> LeaseLost {
    LeaseLost::new(lease, None, lease.fence)
}

fn lost(lease: Lease, row: &JobRecord, refused: Refused) -> LeaseLost {
    match refused {
        Refused::LeaseLost(lost) => lost,
        _ => LeaseLost::new(lease, Some(row.state), row.fence),
    }
}

/// Checks a lease and changes its row without moving it.
async fn under_lease<T: Table>(
    table: &mut T,
    lease: Lease,
    change: impl FnOnce(&mut JobRecord),
) -> Result<Result<(), LeaseLost>, StoreError> {
    let Some(mut row) = table.load(&[lease.job]).await?.pop() else {
        return Ok(Err(gone(lease)));
    };
    if row.state != State::Running || row.lease() != lease {
        return Ok(Err(LeaseLost::new(lease, Some(row.state), row.fence)));
    }
    change(&mut row);
    if row.own_lease_ms > 0 {
        row.lease_until = table.lease_now_ms().saturating_add(row.own_lease_ms);
    }
    table.save(&row).await?;
    Ok(Ok(()))
}

/// Renews own leases.
pub(crate) async fn renew<T: Table>(
    table: &mut T,
    leases: Vec<Lease>,
) -> Result<Vec<Result<(), LeaseLost>>, StoreError> {
    let mut answers = Vec::with_capacity(leases.len());
    for lease in leases {
        answers.push(under_lease(table, lease, |_| ()).await?);
    }
    Ok(answers)
}

/// Records that jobs are about to start.
pub(crate) async fn mark_started<T: Table>(
    table: &mut T,
    leases: Vec<Lease>,
) -> Result<Vec<Result<(), LeaseLost>>, StoreError> {
    let mut answers = Vec::with_capacity(leases.len());
    for lease in leases {
        answers.push(under_lease(table, lease, |row| row.started = row.fence).await?);
    }
    Ok(answers)
}

/// Saves progress.
pub(crate) async fn save<T: Table>(
    table: &mut T,
    lease: Lease,
    progress: Vec<u8>,
) -> Result<Result<(), LeaseLost>, StoreError> {
    under_lease(table, lease, |row| row.progress = Some(progress)).await
}

/// Makes ready what has come due, and admits held jobs that a lost race left behind.
pub(crate) async fn promote<T: Table>(table: &mut T, limit: usize) -> Result<(), StoreError> {
    table.promote_plain(limit).await?;
    let due = table.due_with_key(limit).await?;
    lock_keys_of(table, due.iter().collect()).await?;
    for mut row in due {
        // Scheduled to Ready is an edge, so nothing is refused here.
        let _: Result<_, Refused> = apply(table, &mut row, Event::Promote).await?;
    }
    for _ in 0..limit {
        let Some(mut row) = table.next_held(None).await? else {
            break;
        };
        if !admit(table, &mut row).await? {
            break;
        }
    }
    Ok(())
}

/// Takes back what dead workers held.
pub(crate) async fn sweep<T: Table>(
    table: &mut T,
    dead: &[WorkerId],
    limit: usize,
) -> Result<Swept, StoreError> {
    let mut swept = Swept::default();
    let mut gone: Vec<_> = table.expired_workers().await?;
    gone.extend(dead.iter().filter(|id| id.0 > 0));
    gone.sort_unstable();
    gone.dedup();
    for worker in gone {
        let left = limit - swept.jobs.min(limit);
        let rows = table.running_of(worker, left).await?;
        let all = rows.len() < left;
        crash_all(table, rows, &mut swept).await?;
        // A worker that still has jobs stays known, or nobody would look for them.
        if all && table.forget_worker(worker).await? {
            swept.workers += 1;
        }
    }
    let left = limit - swept.jobs.min(limit);
    let rows = table.adrift(left).await?;
    crash_all(table, rows, &mut swept).await?;
    Ok(swept)
}

async fn crash_all<T: Table>(
    table: &mut T,
    rows: Vec<JobRecord>,
    swept: &mut Swept,
) -> Result<(), StoreError> {
    lock_keys_of(table, rows.iter().collect()).await?;
    for mut row in rows {
        let owner = row.owner;
        if let Ok(state) = apply(table, &mut row, Event::Crash).await? {
            // If the owner lives after all (its job's own lease ran out), it must stop the job.
            table.signal(owner, row.id).await?;
            swept.jobs += 1;
            swept.poisoned += usize::from(state == State::Dead);
            swept.abandoned += usize::from(state == State::Abandoned);
        }
    }
    Ok(())
}

/// Gives back, uncharged, what `worker` holds except `held`.
pub(crate) async fn give_back<T: Table>(
    table: &mut T,
    worker: WorkerId,
    held: &[JobId],
) -> Result<usize, StoreError> {
    let mut given = 0;
    let held: HashSet<JobId> = held.iter().copied().collect();
    let mut loose = table.running_ids(worker).await?;
    loose.retain(|job| !held.contains(job));
    if loose.is_empty() {
        return Ok(0);
    }
    let running = table.load(&loose).await?;
    lock_keys_of(table, running.iter().collect()).await?;
    for mut row in running {
        let event = Event::Report(row.lease(), Outcome::Release);
        given += usize::from(apply(table, &mut row, event).await?.is_ok());
    }
    Ok(given)
}

/// Carries out an operator's order for one job.
pub(crate) async fn order<T: Table>(
    table: &mut T,
    order: &Order,
    job: JobId,
) -> Result<Ordered, StoreError> {
    let Some(mut row) = table.load(&[job]).await?.pop() else {
        return Ok(Ordered::NotFound);
    };
    let (before, owner) = (row.state, row.owner);
    let event = match order {
        Order::Cancel => Event::Cancel,
        Order::Abandon { reason } => Event::Abandon { reason: reason.clone() },
        Order::Requeue if before.is_terminal() => {
            let mut revived = row.clone();
            revived.state = State::Ready;
            if table.key_holder(&revived).await?.is_some() {
                return Ok(Ordered::KeyTaken);
            }
            Event::Requeue
        }
        Order::Requeue => Event::Requeue,
        Order::RunNow => {
            row.run_at = table.now_ms();
            row.rank = rank(row.run_at, row.priority);
            Event::Promote
        }
        Order::Edit(edit) => Event::Edit(edit.clone()),
        Order::Delete if before.is_terminal() => {
            table.delete(job).await?;
            return Ok(Ordered::Deleted);
        }
        Order::Delete => return Ok(Ordered::Refused(before)),
    };
    let result = apply(table, &mut row, event).await?;
    if result.is_ok() && before == State::Running {
        table.signal(owner, job).await?;
    }
    Ok(match result {
        Ok(state) => Ordered::Now(state),
        Err(_) => Ordered::Refused(before),
    })
}
