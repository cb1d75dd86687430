//! The thread that owns the connections, and how they are made, mended and shared.
//!
//! All connections live on one thread with a runtime of its own: they outlive the caller's runtime,
//! and a handler that blocks every thread of that runtime does not stop the beats. One connection is
//! kept for beats alone, so that they never wait for a long call.

use super::encryption::{Connector, Stream};
use super::options::PostgresOptions;
use super::schema;
use crate::error::{StoreError, StoreErrorKind};
use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::Instant;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, Socket, Statement};

/// First and longest pause between two tries to connect.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// How long a call waits for a connection before the store counts as unreachable; also the longest that
/// one try may take to reach an address, unless the connection string says so.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// How long a network that answers nothing is believed in, unless the connection string says so.
/// Without it a call hangs as long as the system tries, which is a quarter of an hour.
const SILENT_FOR: Duration = Duration::from_secs(30);

/// How long the server may take to hear that a call is to be ended.
const CANCEL_WITHIN: Duration = Duration::from_secs(1);
/// Lists and counts may take this many times as long as other calls.
const BROWSE_LIMITS: u32 = 6;

/// Settings of our own connections. The statements are written for their indexes; these keep the
/// planner from reading whole tables, or dead entries of other indexes, when its statistics are
/// older than the queue.
const SESSION: &str = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; \
    SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; \
    SET enable_sort = off; SET jit = off; SET application_name = 'lastout-work-runner'";

pub(super) type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;
/// What moves the bytes of a connection.
pub(super) type Driver = tokio_postgres::Connection<Socket, Stream>;
type Call = Box<dyn FnOnce(Rc<Pool>) -> LocalFuture<'static, ()> + Send>;

/// The sending end of the thread, which ends with the last clone.
#[derive(Clone)]
pub(super) struct Calls(mpsc::UnboundedSender<Call>);

/// Connections of one thread.
pub(super) struct Pool {
    config: Config,
    /// How a connection is encrypted, if it is.
    connector: Connector,
    pub(super) schema: String,
    idle: RefCell<Vec<Connection>>,
    places: Semaphore,
    /// For lists and counts, which may read the whole table: one at a time, beside the other places.
    browsing: Semaphore,
    /// The longest that a call may take.
    pub(super) limit: Duration,
    beat: Mutex<Option<Connection>>,
    /// Where the claims of each queue have come to.
    pub(super) bounds: super::hot::Bounds,
    /// Names this registry in its notifications: its own were poked for already.
    pub(super) token: String,
}

/// A connection with its prepared statements.
pub(super) struct Connection {
    pub(super) client: Client,
    statements: HashMap<(usize, usize), Statement>,
    schema: String,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// A statement, prepared at its first use. `lastout.` stands for the schema.
    pub(super) async fn prepare(&mut self, sql: &'static str) -> Result<Statement, StoreError> {
        let key = (sql.as_ptr().addr(), sql.len());
        if let Some(statement) = self.statements.get(&key) {
            return Ok(statement.clone());
        }
        let text = self.text(sql);
        let prepared = self.client.prepare(&text).await;
        let statement = prepared.map_err(|error| failed("prepare a statement", error))?;
        self.statements.insert(key, statement.clone());
        Ok(statement)
    }

    /// The text of a statement with the schema in its place.
    pub(super) fn text(&self, sql: &str) -> String {
        schema::named(sql, &self.schema)
    }
}

/// The configuration with a bound on every wait for the network that the caller left open.
pub(super) fn bounded(mut config: Config) -> Config {
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_WITHIN);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(SILENT_FOR);
    }
    if config.get_keepalives_idle() > SILENT_FOR {
        config.keepalives_idle(SILENT_FOR);
    }
    config
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one thread of the registry; it ends when the registry is dropped"
)]
pub(super) fn spawn(
    config: Config,
    connector: Connector,
    options: &PostgresOptions,
) -> Result<Calls, StoreError> {
    let PostgresOptions { schema, connections, call_timeout, .. } = options.clone();
    let (sender, calls) = mpsc::unbounded_channel();
    let unavailable = |error: std::io::Error| {
        StoreError::new(StoreErrorKind::Unavailable, "start the thread of the job store")
            .with_source(error)
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(unavailable)?;
    let thread = std::thread::Builder::new().name("lastout-postgres".into());
    let serve = move || {
        let pool = Rc::new(Pool {
            config,
            connector,
            schema,
            idle: RefCell::default(),
            places: Semaphore::new(connections),
            browsing: Semaphore::new(1),
            limit: call_timeout,
            beat: Mutex::new(None),
            bounds: super::hot::Bounds::default(),
            token: format!("{:016x}", crate::retry::random()),
        });
        LocalSet::new().block_on(&runtime, serve(pool, calls));
    };
    thread.spawn(serve).map_err(unavailable)?;
    Ok(Calls(sender))
}

#[expect(clippy::disallowed_methods, reason = "calls run side by side; each ends with its answer")]
async fn serve(pool: Rc<Pool>, mut calls: mpsc::UnboundedReceiver<Call>) {
    while let Some(call) = calls.recv().await {
        tokio::task::spawn_local(call(Rc::clone(&pool)));
    }
}

impl Calls {
    /// Sends `work`, which runs on the thread whether or not anybody waits for the answer.
    pub(super) fn send<T, F>(&self, work: F) -> oneshot::Receiver<T>
    where
        T: Send + 'static,
        F: AsyncFnOnce(Rc<Pool>) -> T + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let call = move |pool: Rc<Pool>| -> LocalFuture<'static, ()> {
            Box::pin(async move {
                // A caller that has gone needs no answer.
                let _ = reply.send(work(pool).await);
            })
        };
        // If the thread is gone the call is dropped with its reply, and the caller sees that.
        let _ = self.0.send(Box::new(call));
        answer
    }
}

impl Pool {
    /// Runs `work` on a connection, a mended one if need be. A connection that broke is not kept.
    pub(super) async fn with<T>(
        &self,
        work: impl AsyncFnMut(&mut Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.with_within(self.limit, work).await
    }

    /// Like `with`, for work that may take `limit`.
    pub(super) async fn with_within<T>(
        &self,
        limit: Duration,
        work: impl AsyncFnMut(&mut Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let place = tokio::time::timeout(self.limit, self.places.acquire()).await;
        // The semaphore is never closed.
        let _place = place.map_err(|_| {
            let why = format!("every connection was busy for {:?}", self.limit);
            StoreError::new(StoreErrorKind::Unavailable, "call the job store").with_source(why)
        })?;
        self.on_connection(limit, work).await
    }

    /// Like `with`, for looks that may read whole tables: they take no place of the others.
    pub(super) async fn browse<T>(
        &self,
        work: impl AsyncFnMut(&mut Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        // Bounded: each of those before it is.
        let _place = self.browsing.acquire().await;
        self.on_connection(self.limit * BROWSE_LIMITS, work).await
    }

    async fn on_connection<T>(
        &self,
        limit: Duration,
        mut work: impl AsyncFnMut(&mut Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let idle = self.idle.borrow_mut().pop().filter(|idle| !idle.client.is_closed());
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.connect(CONNECT_WITHIN).await?,
        };
        let Ok(result) = tokio::time::timeout(limit, work(&mut connection)).await else {
            return Err(self.give_up(connection, limit).await);
        };
        // The client may not have noticed yet what the error says.
        let lost = matches!(&result, Err(error) if error.kind() == StoreErrorKind::Unknown);
        if lost || connection.client.is_closed() {
            // What broke one of them has often broken them all, and the next call wants one that lives.
            self.idle.borrow_mut().clear();
        } else {
            self.idle.borrow_mut().push(connection);
        }
        result
    }

    /// Ends a connection that does not answer, and asks the server to end what it does for it: otherwise a
    /// claim that waits for a lock could be committed when nobody waits for it any more.
    async fn give_up(&self, connection: Connection, limit: Duration) -> StoreError {
        let cancel = connection.client.cancel_token();
        drop(connection);
        self.idle.borrow_mut().clear();
        // Through a network that is silent this cannot succeed; the reconciliation finds the rest.
        let _ = tokio::time::timeout(
            CANCEL_WITHIN,
            cancel.cancel_query(Connector::clone(&self.connector)),
        )
        .await;
        let why = format!("no answer within {limit:?}; the connection was ended");
        StoreError::new(StoreErrorKind::Unknown, "call the job store").with_source(why)
    }

    /// Runs `work` on the connection for beats.
    pub(super) async fn with_beat<T>(
        &self,
        limit: Duration,
        work: impl AsyncFnOnce(&mut Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut place = self.beat.lock().await;
        let limit = limit.min(self.limit);
        let mut connection = match place.take().filter(|kept| !kept.client.is_closed()) {
            Some(connection) => connection,
            None => {
                let silent = |_| StoreError::new(StoreErrorKind::Unavailable, "renew a lease");
                tokio::time::timeout(limit, self.connect(limit)).await.map_err(silent)??
            }
        };
        let Ok(result) = tokio::time::timeout(limit, work(&mut connection)).await else {
            return Err(self.give_up(connection, limit).await);
        };
        let lost = matches!(&result, Err(error) if error.kind() == StoreErrorKind::Unknown);
        *place = Some(connection).filter(|_| !lost);
        result
    }

    /// Makes the first connection, so that a server that cannot be reached is told of after `within`.
    pub(super) async fn reach(&self, within: Duration) -> Result<(), StoreError> {
        let connection = self.connect(within).await?;
        self.idle.borrow_mut().push(connection);
        Ok(())
    }

    /// Connects, with backoff while the server is away or starting; no try begins after `within`.
    async fn connect(&self, within: Duration) -> Result<Connection, StoreError> {
        let until = Instant::now() + within;
        let mut pause = BACKOFF.0;
        loop {
            match self.try_connect().await {
                Err(error) if error.is_transient() && Instant::now() + pause < until => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(BACKOFF.1);
                }
                connected => return connected,
            }
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the task of a connection: `Connection` keeps the handle and aborts it"
    )]
    async fn try_connect(&self) -> Result<Connection, StoreError> {
        let (client, driver) = self.open().await?;
        let driver = tokio::task::spawn_local(async move {
            // Its error reaches whoever waits on the client.
            let _ = driver.await;
        });
        let connection =
            Connection { client, statements: HashMap::new(), schema: self.schema.clone(), driver };
        match tokio::time::timeout(self.limit, connection.client.batch_execute(SESSION)).await {
            Ok(set) => set.map_err(not_connected)?,
            Err(_) => return Err(unreachable(format!("no answer within {:?}", self.limit))),
        }
        Ok(connection)
    }

    /// One try to connect. Its bound also holds for a server that accepts and then says nothing.
    pub(super) async fn open(&self) -> Result<(Client, Driver), StoreError> {
        let each = self.config.get_connect_timeout().copied().unwrap_or(CONNECT_WITHIN);
        let hosts = self.config.get_hosts().len().max(1);
        // For each host as long again as it may take to reach it.
        let limit = each.saturating_mul(2 * u32::try_from(hosts).unwrap_or(u32::MAX / 2));
        match tokio::time::timeout(limit, self.config.connect(Connector::clone(&self.connector)))
            .await
        {
            Ok(connected) => connected.map_err(not_connected),
            Err(_) => Err(unreachable(format!("no answer within {limit:?}"))),
        }
    }
}

const CONNECT: &str = "connect to the job store";

fn unreachable(why: String) -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, CONNECT).with_source(why)
}

/// What an error of connecting means: nothing was asked, so nothing is unknown.
fn not_connected(error: tokio_postgres::Error) -> StoreError {
    let kind = match kind_of(&error) {
        StoreErrorKind::Unknown => StoreErrorKind::Unavailable,
        kind => kind,
    };
    StoreError::new(kind, CONNECT).with_source(error)
}

/// What an error of PostgreSQL means to a caller.
pub(super) fn failed(doing: &'static str, error: tokio_postgres::Error) -> StoreError {
    StoreError::new(kind_of(&error), doing).with_source(error)
}

/// Whether a row was refused because another one has its key.
pub(super) fn is_taken(error: &StoreError) -> bool {
    let source = std::error::Error::source(error);
    let source = source.and_then(|source| source.downcast_ref::<tokio_postgres::Error>());
    source.is_some_and(|source| source.code() == Some(&SqlState::UNIQUE_VIOLATION))
}

fn kind_of(error: &tokio_postgres::Error) -> StoreErrorKind {
    match error.code() {
        Some(code) => kind_of_code(code),
        // No answer: the connection broke, or was never made.
        None if error.is_closed() => StoreErrorKind::Unknown,
        None if std::error::Error::source(error)
            .is_some_and(|source| source.is::<std::io::Error>()) =>
        {
            StoreErrorKind::Unknown
        }
        None => StoreErrorKind::Other,
    }
}

fn kind_of_code(code: &SqlState) -> StoreErrorKind {
    match code.code().get(..2) {
        // Deadlocks, serialization, a key that was taken meanwhile, locks: the same call can succeed.
        Some("40" | "55" | "53") if *code != SqlState::DISK_FULL => StoreErrorKind::Unavailable,
        // Shutting down, crashed or starting; a cancelled statement. A commit may have been made.
        Some("57" | "08") => StoreErrorKind::Unknown,
        _ => match *code {
            SqlState::UNIQUE_VIOLATION => StoreErrorKind::Unavailable,
            SqlState::DISK_FULL => StoreErrorKind::Full,
            // A NUL byte is in no text of the server.
            SqlState::PROGRAM_LIMIT_EXCEEDED | SqlState::CHARACTER_NOT_IN_REPERTOIRE => {
                StoreErrorKind::Invalid
            }
            SqlState::READ_ONLY_SQL_TRANSACTION => StoreErrorKind::ReadOnly,
            SqlState::DATA_CORRUPTED | SqlState::INDEX_CORRUPTED => StoreErrorKind::Corrupt,
            _ => StoreErrorKind::Other,
        },
    }
}
