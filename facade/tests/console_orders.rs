//! Orders reach the store once, from those who may give them, and nobody else changes anything.

#![cfg(all(feature = "console", feature = "work-runner"))]
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use lastout::console::{BuildError, Builder, Console, Server};
use lastout::work_runner::{JobId, MemoryRegistry, NewJob, Query, QueueRecord, State, WorkDriver};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use support::web::{get, parse, post, post_with, request, say};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const TOKEN: &str = "0123456789abcdef";

struct Site {
    driver: WorkDriver,
    address: SocketAddr,
    _server: Server,
}

async fn site(set: impl FnOnce(Builder) -> Builder) -> Site {
    let store = Arc::new(MemoryRegistry::new());
    let driver = WorkDriver::producer(store.clone());
    let console = set(Console::builder("shop").store(store)).build().unwrap();
    let server = console.listen("127.0.0.1:0").await.unwrap();
    Site { driver, address: server.address(), _server: server }
}

impl Site {
    async fn job(&self, kind: &str) -> JobId {
        self.driver.enqueue(NewJob::new(kind, &1).unwrap()).await.unwrap().id()
    }

    async fn state(&self, job: JobId) -> Option<State> {
        self.driver.get(job).await.unwrap().map(|row| row.state)
    }

    async fn queues(&self) -> Vec<QueueRecord> {
        self.driver.registry().queues().await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_confirmed_carried_out_and_shown() {
    let site = site(Builder::allow_orders).await;
    let job = site.job("capture").await;
    let page = get(site.address, &format!("/jobs/{job}"), &[]).await;
    assert!(page.body.contains(&format!("/confirm?order=cancel&amp;job={job}")), "{}", page.body);
    let asked = get(site.address, &format!("/confirm?order=cancel&job={job}"), &[]).await;
    assert!(asked.body.contains("method=\"post\""), "{}", asked.body);
    assert_eq!(site.state(job).await, Some(State::Ready), "a question changes nothing");
    for (order, state) in [("cancel", State::Cancelled), ("retry", State::Ready)] {
        let done = post(site.address, "/order", &format!("order={order}&job={job}")).await;
        assert_eq!(done.status, 303, "{}", done.body);
        assert_eq!(site.state(job).await, Some(state));
        let page = get(site.address, done.header("location").unwrap(), &[]).await;
        assert!(page.body.contains("was carried out"), "{}", page.body);
    }
    let refused = post(site.address, "/order", &format!("order=delete&job={job}")).await;
    assert!(refused.header("location").unwrap().ends_with("?note=refused"), "{}", refused.head);
    let missing = post(site.address, "/order", "order=cancel&job=999").await;
    assert_eq!(missing.status, 404);
    post(site.address, "/order", &format!("order=cancel&job={job}")).await;
    let deleted = post(site.address, "/order", &format!("order=delete&job={job}")).await;
    assert_eq!((deleted.status, site.state(job).await), (303, None));
    let later = NewJob::new("later", &1).unwrap().delay(Duration::from_secs(3_600));
    let later = site.driver.enqueue(later).await.unwrap().id();
    post(site.address, "/order", &format!("order=run-now&job={later}")).await;
    assert_eq!(site.state(later).await, Some(State::Ready));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_paused_and_resumed_whatever_its_name_is() {
    let site = site(Builder::allow_orders).await;
    site.driver.limit("a&b=c/ü", Some(4)).await.unwrap();
    let page = get(site.address, "/", &[]).await;
    assert!(
        page.body.contains("/confirm?order=pause&amp;queue=a%26b%3Dc%2F%C3%BC"),
        "{}",
        page.body
    );
    let form = "order=pause&queue=a%26b%3Dc%2F%C3%BC";
    assert_eq!(post(site.address, "/order", form).await.status, 303);
    let queue = site.queues().await.remove(0);
    assert_eq!((&*queue.queue, queue.max_running), ("a&b=c/ü", Some(4)));
    assert_eq!(queue.paused.unwrap().by, "console shop");
    let page = get(site.address, "/", &[]).await;
    assert!(page.body.contains("paused by console shop"), "an order is seen at once");
    post(site.address, "/order", &form.replace("pause", "resume")).await;
    assert!(site.queues().await[0].paused.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_over_a_filter_reaches_what_matches_and_no_other_job() {
    let site = site(Builder::allow_orders).await;
    for _ in 0..120 {
        site.job("capture").await;
    }
    let other = site.job("mail").await;
    let list = get(site.address, "/jobs?kind=capture&state=ready", &[]).await;
    assert_eq!(list.body.matches("<tr>").count(), 51, "a head and a page");
    let next = list.between("href=\"/jobs?after=", "\"").replace("&amp;", "&");
    let second = get(site.address, &format!("/jobs?after={next}"), &[]).await;
    assert_eq!(second.body.matches("<tr>").count(), 51);
    let all = list.between("href=\"/confirm?order=cancel&amp;many=1", "\"").replace("&amp;", "&");
    let asked = get(site.address, &format!("/confirm?order=cancel&many=1{all}"), &[]).await;
    let filter = asked.between("name=\"filter\" value=\"", "\"").replace("&amp;", "&");
    let form = format!("order=cancel&filter={}", filter.replace('&', "%26").replace('=', "%3D"));
    let unconfirmed = post(site.address, "/order", &form).await;
    assert_eq!(unconfirmed.status, 400, "{}", unconfirmed.body);
    let done = post(site.address, "/order", &format!("{form}&typed=cancel")).await;
    assert!(done.body.contains("Carried out for 120, refused for 0 of 120"), "{}", done.body);
    assert_eq!(site.state(other).await, Some(State::Ready));
    let without_state =
        post(site.address, "/order", "order=cancel&filter=kind%3Dmail&typed=cancel");
    assert_eq!(without_state.await.status, 400);
    assert_eq!(site.state(other).await, Some(State::Ready));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_console_changes_nothing() {
    let site = site(|console| console.token(TOKEN)).await;
    let job = site.job("capture").await;
    let bearer = format!("Authorization: Bearer {TOKEN}");
    let (origin, forms) = (
        format!("Origin: http://{}", site.address),
        [format!("order=cancel&job={job}"), "order=pause&queue=default".to_owned()],
    );
    for form in &forms {
        let headers = [&*bearer, &*origin, "Sec-Fetch-Site: same-origin"];
        let refused = post_with(site.address, "/order", form, &headers).await;
        assert_eq!(refused.status, 403, "{}", refused.body);
        for path in [format!("/order?{form}"), format!("/confirm?{form}")] {
            let page = get(site.address, &path, &[&bearer]).await;
            assert_eq!(page.status, 404, "{path}");
        }
    }
    assert_eq!(site.state(job).await, Some(State::Ready));
    assert!(site.queues().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_somebody_else_gives_no_order_and_a_name_of_somebody_else_sees_nothing() {
    let site = site(Builder::allow_orders).await;
    let job = site.job("capture").await;
    let form = format!("order=cancel&job={job}");
    for headers in [
        &["Origin: http://evil.example", "Sec-Fetch-Site: cross-site"][..],
        &["Origin: null"],
        &["Sec-Fetch-Site: same-site"],
        &[],
    ] {
        let refused = post_with(site.address, "/order", &form, headers).await;
        assert_eq!(refused.status, 403, "{headers:?}");
    }
    let rebound =
        ["Host: evil.example", "Origin: http://evil.example", "Sec-Fetch-Site: same-origin"];
    assert_eq!(post_with(site.address, "/order", &form, &rebound).await.status, 421);
    for path in ["/", "/jobs", "/events", "/console.css"] {
        assert_eq!(get(site.address, path, &["Host: evil.example"]).await.status, 421, "{path}");
        for header in ["Sec-Fetch-Site: cross-site", "Origin: http://evil.example"] {
            let refused = get(site.address, path, &[header]).await;
            assert_eq!(refused.status, 403, "{path} {header}");
        }
    }
    assert_eq!(site.state(job).await, Some(State::Ready));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_by_a_form_a_cookie_or_a_header_and_is_never_shown() {
    let site = site(|console| console.token(TOKEN).allow_orders()).await;
    for path in ["/", "/jobs", "/events", "/confirm?order=pause&queue=a", "/nothing"] {
        let page = get(site.address, path, &[]).await;
        assert_eq!(page.status, 401, "{path}");
        assert!(page.body.contains("name=\"token\"") && !page.body.contains(TOKEN), "{path}");
    }
    assert_eq!(post(site.address, "/login", "token=0123456789abcdeX").await.status, 401);
    let open = post(site.address, "/login", &format!("token={TOKEN}")).await;
    assert_eq!(open.status, 303);
    let cookie = open.header("set-cookie").unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let cookie = format!("Cookie: {}", cookie.split(';').next().unwrap());
    let page = get(site.address, "/", &[&cookie]).await;
    assert!(page.status == 200 && !page.body.contains(TOKEN));
    let bearer = format!("Authorization: Bearer {TOKEN}");
    let paused = post_with(site.address, "/order", "order=pause&queue=a", &[&bearer]).await;
    assert_eq!(paused.status, 303);
    let resume = post_with(site.address, "/order", "order=resume&queue=a", &[&cookie]).await;
    assert_eq!(resume.status, 403, "a cookie alone is no order");
    assert!(site.queues().await[0].paused.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_too_long_or_broken_are_refused_and_the_next_one_is_served() {
    let site = site(Builder::allow_orders).await;
    let long = format!("order=pause&queue={}", "x".repeat(9_000));
    assert_eq!(post(site.address, "/order", &long).await.status, 413);
    let path = format!("/{}", "x".repeat(20_000));
    assert!((400..500).contains(&get(site.address, &path, &[]).await.status));
    for form in [
        "",
        "order=",
        "order=cancel",
        "order=cancel&job=x",
        "order=pause",
        "order=resume&job=1",
        "order=cancel&job=1&queue=a",
    ] {
        assert_eq!(post(site.address, "/order", form).await.status, 400, "{form:?}");
    }
    for path in [
        "/jobs?state=no",
        "/jobs?minutes=x",
        "/jobs?after=99999999999999999999",
        "/jobs?worker=-1",
        "/jobs?worker=10000000000000000",
    ] {
        assert_eq!(get(site.address, path, &[]).await.status, 400, "{path}");
    }
    for path in ["/jobs/x", "/jobs/", "/jobs/1/2", "/jobs/-1", "//", "/..", "/%00"] {
        assert_eq!(get(site.address, path, &[]).await.status, 404, "{path}");
    }
    for number in [i64::MIN, i64::MAX] {
        // The number of a worker is written as every page shows it.
        let path = format!("/jobs?minutes={number}&after={number}&worker={number:x}");
        assert_eq!(get(site.address, &path, &[]).await.status, 200, "{path}");
    }
    let origin = format!("Origin: http://{}", site.address);
    let put = say(site.address, &request(site.address, "PUT", "/", &[&origin], "")).await;
    assert_eq!((put.status, put.header("allow")), (405, Some("GET, HEAD, POST")));
    let head = say(site.address, &request(site.address, "HEAD", "/events", &[], "")).await;
    assert_eq!((head.status, &*head.body), (200, ""));
    let mut cut = tokio::net::TcpStream::connect(site.address).await.unwrap();
    let text = request(site.address, "POST", "/order", &[&origin, "Content-Length: 100"], "");
    cut.write_all(text.as_bytes()).await.unwrap();
    cut.write_all(b"order=pause&queue=cut").await.unwrap();
    cut.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let _ = cut.read_to_end(&mut answer).await;
    assert_ne!(parse(&answer).status, 303);
    assert!(site.queues().await.is_empty(), "half of an order is none");
    assert_eq!(get(site.address, "/", &[]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn your_own_server_serves_it_below_a_path() {
    let store = Arc::new(MemoryRegistry::new());
    let driver = WorkDriver::producer(store.clone());
    let job = driver.enqueue(NewJob::new("capture", &1).unwrap()).await.unwrap().id();
    let console = Console::builder("shop").store(store).base("/console/").allow_orders();
    let console = console.build().unwrap();
    let nested = console.clone();
    let router =
        axum::Router::new().route("/", axum::routing::get(|| async { "the shop" })).nest_service(
            "/console",
            axum::Router::new().fallback(move |request: axum::extract::Request| {
                let console = nested.clone();
                async move { console.handle(request).await }
            }),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut server = tokio::task::JoinSet::new();
    let serve = axum::serve(listener, router);
    server.spawn(async move { serve.await });
    assert_eq!(get(address, "/", &[]).await.body, "the shop");
    let page = get(address, "/console", &[]).await;
    assert!(page.body.contains("href=\"/console/jobs\""), "{}", page.body);
    assert!(page.body.contains("src=\"/console/console.js\""), "{}", page.body);
    for path in ["/console/", "/console/jobs", "/console/console.js", "/console/console.css"] {
        assert_eq!(get(address, path, &[]).await.status, 200, "{path}");
    }
    let done = post(address, "/console/order", &format!("order=cancel&job={job}")).await;
    assert_eq!(done.header("location"), Some(&*format!("/console/jobs/{job}?note=done")));
    let cancelled = driver.list(Query::all().state(State::Cancelled)).await.unwrap();
    assert_eq!(cancelled.len(), 1);
}

#[test]
fn what_cannot_work_is_not_built() {
    let build = |set: fn(Builder) -> Builder| set(Console::builder("")).build();
    assert!(build(|console| console).is_ok());
    assert_eq!(build(|console| console.token("short")).unwrap_err(), BuildError::Token);
    for host in ["", "a b", "a:80", "http://a", "127.0.0.1", "ü"] {
        let refused = Console::builder("").host(host).build().unwrap_err();
        assert_eq!(refused, BuildError::Host(host.to_owned()));
    }
    for base in [
        "console",
        "//evil.example",
        "/a//b",
        "/a\"b",
        "/a?b",
        "/a b",
        "/jobs",
        "/login/a",
        "/console.js",
        "/a/../b",
        "/.",
    ] {
        let refused = Console::builder("").base(base).build().unwrap_err();
        assert_eq!(refused, BuildError::Base(base.to_owned()), "{refused}");
    }
    for every in [Duration::ZERO, Duration::from_millis(99), Duration::MAX] {
        let refused = Console::builder("").every(every).build().unwrap_err();
        assert_eq!(refused, BuildError::Every(every));
    }
}
