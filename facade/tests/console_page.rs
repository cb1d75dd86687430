//! The console shows what runs and what ends, live, and ends like every member.

#![cfg(all(feature = "console", feature = "work-runner"))]
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use lastout::console::{Console, ListenError, Panel, Server};
use lastout::supervisor::{Phase, Task};
use lastout::work_runner::{MemoryRegistry, NewJob, WorkDriver};
use lastout::{Restart, Supervisor};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use support::web::{Events, get, say};
use support::{Book, Fake, GENEROUS, wait_until};
use tokio::io::AsyncWriteExt;

const HOSTILE: &str = "<script>alert('x')</script>\"\n\ndata: y";

async fn serve(console: &Console) -> (Server, SocketAddr) {
    let server = console.listen("127.0.0.1:0").await.unwrap();
    let address = server.address();
    (server, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn members_queues_and_panels_are_on_the_page() {
    let store = Arc::new(MemoryRegistry::new());
    let driver = WorkDriver::producer(store.clone());
    for n in 0..3 {
        driver.enqueue(NewJob::new("capture", &n).unwrap().queue("shots")).await.unwrap();
    }
    driver.pause("mail", "olga").await.unwrap();
    let console = Console::builder("shop")
        .store(store)
        .panel("uploads", || Panel::new().fact("under way", 41).sum("in = out", 2, 3).line("a.png"))
        .build()
        .unwrap();
    let (server, address) = serve(&console).await;
    let book = Book::default();
    let supervisor = Supervisor::builder()
        .member("console", server)
        .member("fake", Fake::new("fake", &book).counted(7))
        .service("late", Restart::never(), std::future::pending::<Result<Task, _>>)
        .build()
        .unwrap();
    console.watch(supervisor.handle());
    let page = get(address, "/", &[]).await;
    assert_eq!(page.status, 200, "{}", page.head);
    for text in ["shop", "fake.counted 7", "counted = counted: 7 = 7", "waiting", "shots", "mail"] {
        assert!(page.body.contains(text), "{text}: {}", page.body);
    }
    for text in ["paused by olga", "under way", "41", "in = out: 2 ≠ 3", "a.png", "read-only"] {
        assert!(page.body.contains(text), "{text}: {}", page.body);
    }
    assert!(!page.body.contains("/confirm"), "a read-only page has no orders");
    assert_eq!(supervisor.stats().members[0].phase, Phase::Running);
    let report = supervisor.shutdown().await;
    assert!(report.is_clean(), "{report}");
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nothing listens");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_shown_from_the_moment_a_supervisor_is_watched() {
    let console = Console::builder("shop").every(Duration::from_millis(100)).build().unwrap();
    let (_server, address) = serve(&console).await;
    let page = get(address, "/", &[]).await;
    assert!(!page.body.contains("Members"), "{}", page.body);
    let mut events = Events::open(address).await;
    assert!(events.until("event: beat").await);
    let supervisor = Supervisor::builder().member("fake", Fake::new("fake", &Book::default()));
    let supervisor = supervisor.build().unwrap();
    console.watch(supervisor.handle());
    assert!(events.until("event: members\ndata: <h2>Members</h2>").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_look_is_a_dot_and_what_waits_in_a_paused_queue_is_told_apart() {
    let store = Arc::new(MemoryRegistry::new());
    let driver = WorkDriver::producer(store.clone());
    let hours_ago = |hours: u64| SystemTime::now() - Duration::from_secs(3_600 * hours + 60);
    for (queue, hours) in [("on", 2), ("paused", 5)] {
        let job = NewJob::new("mail", &1).unwrap().queue(queue).run_at(hours_ago(hours));
        driver.enqueue(job).await.unwrap();
    }
    driver.pause("paused", "olga").await.unwrap();
    let console = Console::builder("shop").store(store).build().unwrap();
    let (_server, address) = serve(&console).await;
    let page = get(address, "/", &[]).await;
    let summary = "Oldest ready job: 2 h 1 min · oldest in a paused queue: 5 h 1 min";
    assert!(page.body.contains(summary), "{}", page.body);
    assert!(page.body.contains("ready: 2, one look so far"), "{}", page.body);
    assert!(page.body.contains("oldest ready: 2 h 1 min, one look so far"), "{}", page.body);
    assert_eq!(page.body.matches("<circle").count(), 4, "{}", page.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_text_of_others_becomes_markup() {
    let store = Arc::new(MemoryRegistry::new());
    let driver = WorkDriver::producer(store.clone());
    let job = NewJob::new(HOSTILE, &HOSTILE).unwrap().queue(HOSTILE);
    let id = driver.enqueue(job).await.unwrap().id();
    driver.pause(HOSTILE, HOSTILE).await.unwrap();
    driver.abandon(id, HOSTILE).await.unwrap();
    let console = Console::builder(HOSTILE)
        .store(store)
        .payloads(|job| String::from_utf8_lossy(&job.payload).into_owned())
        .panel(HOSTILE, || Panel::new().fact(HOSTILE, HOSTILE).sum(HOSTILE, 1, 1).line(HOSTILE))
        .allow_orders()
        .build()
        .unwrap();
    let (_server, address) = serve(&console).await;
    let supervisor = Supervisor::builder().member(HOSTILE, Fake::new("x", &Book::default()));
    let supervisor = supervisor.build().unwrap();
    console.watch(supervisor.handle());
    let name = "%3Cscript%3Ealert('x')%3C/script%3E%22";
    let paths = [
        "/".to_owned(),
        "/jobs".to_owned(),
        format!("/jobs/{id}"),
        format!("/jobs/{id}?note={name}"),
        format!("/jobs?kind={name}&queue={name}&error={name}"),
        format!("/confirm?order=pause&queue={name}"),
        format!("/confirm?order=retry&job={name}"),
        format!("/confirm?order=retry&many=1&state=dead&kind={name}"),
        format!("/confirm?order={name}&job=1"),
        format!("/{name}"),
    ];
    for path in &paths {
        let page = get(address, path, &[]).await;
        assert!(page.body.starts_with("<!doctype html>"), "{path}: {}", page.head);
        assert!(!page.body.contains("<script>"), "{path}: {}", page.body);
        assert_eq!(page.body.matches("<script ").count(), 1, "{path}: our own");
        assert!(page.header("content-security-policy").unwrap().contains("default-src 'none'"));
    }
    assert!(get(address, &paths[2], &[]).await.body.contains("&lt;script&gt;alert"));
    let mut events = Events::open(address).await;
    assert!(events.until("event: panels\ndata: ").await);
    assert!(events.until("event: beat").await);
    assert!(!events.text.contains("\ndata: y"), "no text begins a line");
    assert!(supervisor.shutdown().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_fed_what_has_changed_and_nothing_else() {
    let number = Arc::new(AtomicU64::new(1));
    let seen = Arc::clone(&number);
    let console = Console::builder("shop")
        .panel("n", move || Panel::new().fact("n", format!("n{}", seen.load(Ordering::SeqCst))))
        .every(Duration::from_millis(100))
        .build()
        .unwrap();
    let (_server, address) = serve(&console).await;
    let mut events = Events::open(address).await;
    assert!(events.until("event: members").await);
    assert!(events.until("n1").await);
    assert!(events.until("event: beat").await);
    for _ in 0..3 {
        assert!(events.until("event: beat").await);
    }
    assert!(!events.text.contains("event: panels"));
    number.store(2, Ordering::SeqCst);
    assert!(events.until("event: panels").await && events.until("n2").await);
    console.close();
    assert!(events.until("event: beat").await || events.text.is_empty());
    assert!(!events.until("there is no such text").await, "it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_looked_at_while_nobody_looks_and_all_pages_share_a_look() {
    let looks = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&looks);
    let console = Console::builder("shop")
        .panel("n", move || Panel::new().fact("looks", counted.fetch_add(1, Ordering::SeqCst)))
        .every(Duration::from_secs(60))
        .build()
        .unwrap();
    let (_server, address) = serve(&console).await;
    assert_eq!(looks.load(Ordering::SeqCst), 0);
    for _ in 0..20 {
        assert_eq!(get(address, "/", &[]).await.status, 200);
    }
    assert_eq!(looks.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_ends_within_its_deadline_whatever_is_open() {
    let console = Console::builder("shop").build().unwrap();
    let (server, address) = serve(&console).await;
    let supervisor = Supervisor::builder().member("console", server).build().unwrap();
    let mut fed = Events::open(address).await;
    assert!(fed.until("event: beat").await);
    let silent = tokio::net::TcpStream::connect(address).await.unwrap();
    let report = tokio::time::timeout(GENEROUS, supervisor.shutdown()).await.unwrap();
    assert!(report.is_clean() && !report.was_forced(), "{report}");
    assert!(!fed.until("there is no such text").await);
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_blocks_and_a_panel_that_panics_hold_up_nothing() {
    let (open, closed) = std::sync::mpsc::channel::<()>();
    let closed = std::sync::Mutex::new(closed);
    let console = Console::builder("shop")
        .panel("stuck", move || {
            let _ = closed.lock().unwrap().recv();
            Panel::new()
        })
        .panel("broken", || panic!("the panel is broken"))
        .panel("fine", || Panel::new().fact("fine", "as it should be"))
        .build()
        .unwrap();
    let (_server, address) = serve(&console).await;
    let page = get(address, "/", &[]).await;
    assert!(page.body.contains("as it should be"), "{}", page.body);
    assert!(page.body.contains("no answer within 2 s"), "{}", page.body);
    assert!(page.body.contains("it panicked: the panel is broken"), "{}", page.body);
    drop(open);
}

#[tokio::test]
async fn it_does_not_listen_for_others_without_a_token() {
    let console = Console::builder("shop").build().unwrap();
    for address in ["0.0.0.0:0", "[::]:0", "[::ffff:10.0.0.1]:0", "192.0.2.1:0"] {
        let refused = console.listen(address).await.unwrap_err();
        assert!(matches!(refused, ListenError::NeedsToken(_)), "{address}: {refused}");
    }
    let console = Console::builder("shop").token("0123456789abcdef").build().unwrap();
    assert!(console.listen("0.0.0.0:0").await.is_ok());
    let taken = console.listen("127.0.0.1:0").await.unwrap();
    let refused = console.listen(taken.address()).await.unwrap_err();
    assert!(matches!(refused, ListenError::Bind(_)), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_dropped_is_gone() {
    let console = Console::builder("shop").build().unwrap();
    let (server, address) = serve(&console).await;
    let mut fed = Events::open(address).await;
    assert!(fed.until("event: beat").await);
    drop(server);
    assert!(!fed.until("there is no such text").await);
    wait_until(|| std::net::TcpStream::connect(address).is_err(), |is_gone| *is_gone);
    let (_again, address) = serve(&console).await;
    assert_eq!(get(address, "/", &[]).await.status, 200, "the console listens again");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_pages_are_fed_at_once() {
    let console = Console::builder("shop").build().unwrap();
    let (_server, address) = serve(&console).await;
    let mut fed = Vec::new();
    for _ in 0..32 {
        let mut events = Events::open(address).await;
        assert!(events.until("event: beat").await);
        fed.push(events);
    }
    let refused = get(address, "/events", &[]).await;
    assert_eq!(refused.status, 503, "{}", refused.head);
    assert_eq!(get(address, "/", &[]).await.status, 200, "a page is still shown");
    fed.clear();
    let mut events = Events::open(address).await;
    while !events.until("event: beat").await {
        events = Events::open(address).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_stop_half_way_are_ended_and_their_places_serve_others() {
    let console = Console::builder("shop").token("0123456789abcdef").build().unwrap();
    let (_server, address) = serve(&console).await;
    let form = format!(
        "POST /login HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\n\
                        Content-Length: 100\r\nConnection: close\r\n\r\ntoken="
    );
    let mut clients = tokio::task::JoinSet::new();
    for n in 0..64 {
        let text = [String::new(), "GET / HT".to_owned(), form.clone()][n % 3].clone();
        clients.spawn(async move { (n, say(address, &text).await.status) });
    }
    // It waits for a place, and is served when one is free.
    clients.spawn(async move { (99, get(address, "/login", &[]).await.status) });
    let all = tokio::time::timeout(GENEROUS, clients.join_all()).await.unwrap();
    for (n, status) in all {
        match n {
            99 => assert_eq!(status, 200),
            n if n % 3 == 2 => assert_eq!(status, 408),
            _ => assert!(status == 0 || status == 408, "{status}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_and_does_not_read_is_let_go() {
    let console = Console::builder("shop").token("0123456789abcdef").build().unwrap();
    let (_server, address) = serve(&console).await;
    let mut deaf = tokio::net::TcpStream::connect(address).await.unwrap();
    let asks = format!("GET /console.css HTTP/1.1\r\nHost: {address}\r\n\r\n").repeat(1_000);
    let ended = async { while deaf.write_all(asks.as_bytes()).await.is_ok() {} };
    tokio::time::timeout(GENEROUS, ended).await.expect("the server has ended the connection");
    assert_eq!(get(address, "/login", &[]).await.status, 200);
}
