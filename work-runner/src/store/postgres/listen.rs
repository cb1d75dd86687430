//! Pokes between processes: one NOTIFY for many enqueues, and a connection that listens.
//!
//! A hint only. The notification is sent apart from the enqueue, because commits that notify wait
//! for each other; and at most every [`DEBOUNCE`], because each one wakes every process. The
//! listening connection does nothing else, so it is always read, and never holds a snapshot.

use super::super::hub::Hub;
use super::pool::{Driver, Pool};
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_postgres::AsyncMessage;

/// The shortest time between two notifications of one registry.
const DEBOUNCE: Duration = Duration::from_millis(10);
/// The longest that a notification may take; the beats wait for it.
const NOTIFY_WITHIN: Duration = Duration::from_secs(2);
/// The pause before a broken listening connection is made again.
const PAUSE: Duration = Duration::from_millis(200);

/// Sends a notification soon after `wanted` was notified; ends with the registry.
pub(super) async fn send(pool: Rc<Pool>, wanted: Weak<Notify>) {
    while let Some(notify) = wanted.upgrade() {
        // Held only while it waits for a short while, so that the registry can end.
        let asked = tokio::time::timeout(Duration::from_secs(1), notify.notified()).await;
        drop(notify);
        if asked.is_err() {
            continue;
        }
        // A hint need not reach the disk: its commit waits for none, and its setting ends with it.
        let sql = format!(
            "SELECT set_config('synchronous_commit', 'off', true), pg_notify('{}', '{}')",
            channel(&pool),
            pool.token
        );
        let sent = pool
            .with_beat(NOTIFY_WITHIN, async |connection| {
                let done = connection.client.batch_execute(&sql).await;
                done.map_err(|error| super::pool::failed("notify", error))
            })
            .await;
        // A lost hint delays others by a poll.
        drop(sent);
        tokio::time::sleep(DEBOUNCE).await;
    }
}

fn channel(pool: &Pool) -> String {
    format!("{}_jobs", pool.schema)
}

/// Pokes everybody in this process for each notification; ends with the registry.
pub(super) async fn receive(pool: Rc<Pool>, hub: Weak<Hub>) {
    while hub.strong_count() > 0 {
        if let Ok((client, connection)) = pool.open().await {
            let listen = format!("LISTEN \"{}\"", channel(&pool));
            read(client, connection, &listen, &pool.token, &hub).await;
        }
        if let Some(hub) = hub.upgrade() {
            // What was notified meanwhile was missed.
            hub.poke_all();
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn read(
    client: tokio_postgres::Client,
    mut connection: Driver,
    listen: &str,
    token: &str,
    hub: &Weak<Hub>,
) {
    let listening = client.batch_execute(listen);
    let mut listening = std::pin::pin!(listening);
    let mut listens = false;
    let mut check = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            message = std::future::poll_fn(|cx| connection.poll_message(cx)) => match message {
                // Whoever enqueues in this process has poked it: once is enough.
                Some(Ok(AsyncMessage::Notification(note))) => if note.payload() != token {
                    hub.upgrade().iter().for_each(|hub| hub.poke_all());
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
            done = &mut listening, if !listens => match done {
                Ok(()) => {
                    listens = true;
                    // From here on nothing is missed; what came before is found by looking.
                    hub.upgrade().iter().for_each(|hub| hub.poke_all());
                }
                Err(_) => return,
            },
            _ = check.tick() => if Weak::strong_count(hub) == 0 {
                return;
            },
        }
    }
}

/// Who is to be poked, and who notifies others.
pub(super) fn start(pool: Rc<Pool>, hub: &Arc<Hub>, wanted: &Arc<Notify>, listens: bool) {
    spawn(send(Rc::clone(&pool), Arc::downgrade(wanted)));
    if listens {
        spawn(receive(pool, Arc::downgrade(hub)));
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "two tasks of the registry's own thread; they end with the registry, and with its thread"
)]
fn spawn(work: impl Future<Output = ()> + 'static) {
    tokio::task::spawn_local(work);
}
