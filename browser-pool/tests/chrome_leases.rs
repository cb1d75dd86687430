//! Leases on real browsers: pages, contexts and browsers that work, are isolated, and leave nothing.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "starts and ends real processes"
)]

mod chrome_support;

use chrome_support::{
    LONG, Oracle, Server, assert_clean_end, builder, endings, engines, patient, pool, soon,
};
use lastout_browser_pool::chromiumoxide::cdp::browser_protocol::browser::ResetPermissionsParams;
use lastout_browser_pool::chromiumoxide::cdp::browser_protocol::input::SetIgnoreInputEventsParams;
use lastout_browser_pool::chromiumoxide::cdp::browser_protocol::target::{
    GetTargetInfoParams, GetTargetsParams,
};
use lastout_browser_pool::{
    AcquireError, BrowserPool, Isolation, LaunchProfile, LeaseOptions, Transport, Until,
};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_works_and_nothing_is_left() {
    for engine in engines() {
        for transport in [Transport::Pipe, Transport::Port] {
            let (oracle, server) = (Oracle::new(), Server::start().await);
            let chrome = builder(&engine, &oracle).transport(transport).build().unwrap();
            let pool = BrowserPool::start(chrome, patient().build().unwrap()).unwrap();
            let page = soon("a page", pool.page()).await.unwrap();
            page.goto(server.url("/one")).await.unwrap();
            assert_eq!(page.get_title().await.unwrap().as_deref(), Some("page /one"));
            assert!(
                oracle.processes().len() >= 3,
                "the oracle sees the browser: {:#?}",
                oracle.processes()
            );
            oracle.assert_private();
            if transport == Transport::Pipe {
                let ports = listening(oracle.main_process());
                assert!(ports.is_empty(), "the browser listens on {ports:?}");
            }
            page.release();
            assert_clean_end(pool, &oracle).await;
        }
    }
}

/// The TCP ports on which the process listens.
fn listening(pid: u32) -> Vec<String> {
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let sockets: Vec<_> = fds
        .filter_map(|fd| std::fs::read_link(fd.path()).ok()?.to_str().map(str::to_owned))
        .filter_map(|link| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let tables =
        ["tcp", "tcp6"].map(|name| std::fs::read_to_string(format!("/proc/{pid}/net/{name}")));
    let tables = tables.map(Result::unwrap_or_default);
    let lines = tables.iter().flat_map(|table| table.lines().skip(1));
    lines
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields[3] == "0A" && sockets.iter().any(|socket| *socket == fields[9]))
        .map(|fields| fields[1].to_owned())
        .collect()
}

/// What a page can find out about earlier visits to its site.
const SEEN: &str = "(async () => [
    document.cookie, localStorage.getItem('k'), sessionStorage.getItem('k'), window.name,
    history.length, (await indexedDB.databases()).length, (await caches.keys()).length,
].join())()";

/// Leaves a trace in each of these.
const STORE: &str = "(async () => {
    document.cookie = 'c=1';
    localStorage.setItem('k', 'v');
    sessionStorage.setItem('k', 'v');
    window.name = 'n';
    await new Promise(done => { indexedDB.open('d').onsuccess = done; });
    await caches.open('c');
    return 0;
})()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_see_nothing_of_each_other() {
    for engine in engines() {
        for isolation in [Isolation::Context, Isolation::Page] {
            let (oracle, server) = (Oracle::new(), Server::start().await);
            let config = patient().max_browsers(1).isolation(isolation).build().unwrap();
            let pool = pool(&engine, &oracle, config);
            let sites = [server.url("/one"), server.url("/two").replace("127.0.0.1", "localhost")];
            for round in 0..3 {
                let page = soon("a page", pool.page()).await.unwrap();
                let read =
                    async || -> String { page.evaluate(SEEN).await.unwrap().into_value().unwrap() };
                let mut seen = Vec::new();
                for site in &sites {
                    page.goto(site).await.unwrap();
                    seen.push(read().await);
                }
                assert_eq!(seen, [",,,,2,0,0", ",,,,3,0,0"], "round {round} of {isolation:?}");
                for site in &sites {
                    // A replaced entry is not in the history.
                    page.evaluate(format!("location.replace({site:?})")).await.unwrap();
                    soon("the other site", async {
                        while page.url().await.unwrap().as_ref() != Some(site) {
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                    })
                    .await;
                    page.wait_for_navigation().await.unwrap();
                    page.evaluate(STORE).await.unwrap();
                    let seen = read().await;
                    assert_eq!(seen, "c=1,v,v,n,3,1,1", "the page sees itself");
                }
                page.release();
            }
            let made = pool.stats().made;
            if isolation == Isolation::Page {
                assert!(made <= 2, "the page is reset and used again: {made} were made");
            }
            assert_clean_end(pool, &oracle).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_with_lasting_changes_is_not_used_again() {
    for engine in engines() {
        let (oracle, server) = (Oracle::new(), Server::start().await);
        let config = patient().max_browsers(1).isolation(Isolation::Page).spares(0);
        let pool = pool(&engine, &oracle, config.build().unwrap());
        let page = soon("a page", pool.page()).await.unwrap();
        page.set_user_agent("another agent").await.unwrap();
        page.execute(SetIgnoreInputEventsParams::new(true)).await.unwrap();
        let clone = page.clone();
        // A page that a page has opened opens a page.
        page.goto(server.url("/one")).await.unwrap();
        let opened: bool = page
            .evaluate("window.open('/two').window.open('/three') !== null")
            .await
            .unwrap()
            .into_value()
            .unwrap();
        assert!(opened);
        page.release();
        let page = soon("a page", pool.page()).await.unwrap();
        assert_eq!(pool.stats().made, 1, "the context is reset and used again");
        let agent: String =
            page.evaluate("navigator.userAgent").await.unwrap().into_value().unwrap();
        assert_ne!(agent, "another agent");
        let context = page.execute(GetTargetInfoParams::default()).await.unwrap();
        let context = context.result.target_info.browser_context_id.clone();
        let all = page.execute(GetTargetsParams::default()).await.unwrap();
        let all = &all.result.target_infos;
        let here = all.iter().filter(|target| target.browser_context_id == context).count();
        assert_eq!(here, 1, "no page of the last lease is left: {all:#?}");
        let driven = soon("the clone to fail", clone.evaluate("window.name = 'mine'")).await;
        assert!(driven.is_err(), "a clone of the last lease's page drives the page: {driven:?}");
        let name: String = page.evaluate("window.name").await.unwrap().into_value().unwrap();
        assert_eq!(name, "");
        drop(page.execute(ResetPermissionsParams::default()).await);
        page.release();
        soon("a page", pool.page()).await.unwrap().release();
        assert_eq!(pool.stats().made, 2, "what a reset cannot undo ends the context");
        assert_clean_end(pool, &oracle).await;
    }
}

/// A proxy that answers everything itself.
async fn proxy() -> (String, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            drop(tokio::io::AsyncReadExt::read(&mut stream, &mut request).await);
            let body = "<title>by proxy</title>";
            let length = body.len();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close";
            let answer = format!("{head}\r\nContent-Length: {length}\r\n\r\n{body}");
            drop(tokio::io::AsyncWriteExt::write_all(&mut stream, answer.as_bytes()).await);
        }
    });
    (format!("http://{address}"), task)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_is_used_by_every_kind_of_lease_or_refused() {
    for engine in engines() {
        let oracle = Oracle::new();
        let (proxy, task) = proxy().await;
        let config = patient().max_browsers(1).isolation(Isolation::Page).spares(1);
        let pool = pool(&engine, &oracle, config.build().unwrap());
        let asked = || LeaseOptions::new().proxy(&proxy).downloads();
        for isolation in [Isolation::Context, Isolation::Page, Isolation::Browser] {
            let page = pool.page_with(asked().isolation(isolation));
            let page = soon("a page", page).await.unwrap();
            assert!(page.downloads().is_some(), "{isolation:?} drops the option");
            page.goto("http://lastout.invalid/").await.unwrap();
            let title = page.get_title().await.unwrap();
            assert_eq!(title.as_deref(), Some("by proxy"), "{isolation:?} connects directly");
            page.release();
        }
        let context = soon("a context", pool.context_with(asked())).await.unwrap();
        let page = context.new_page().await.unwrap();
        page.goto("http://lastout.invalid/").await.unwrap();
        assert_eq!(page.get_title().await.unwrap().as_deref(), Some("by proxy"));
        drop(page);
        context.release();
        let refused = soon("the refusal", pool.browser_with(asked())).await;
        assert!(matches!(refused, Err(AcquireError::BadOption { option: "proxy", .. })));
        let profile = LaunchProfile::new().proxy(&proxy);
        let whole = pool.browser_with(LeaseOptions::new().profile(profile));
        let whole = soon("a browser", whole).await.unwrap();
        let page = whole.new_page("http://lastout.invalid/").await.unwrap();
        assert_eq!(page.get_title().await.unwrap().as_deref(), Some("by proxy"));
        assert!(whole.close().await.is_clean());
        assert_clean_end(pool, &oracle).await;
        task.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contexts_and_whole_browsers_are_leased() {
    for engine in engines() {
        let (oracle, server) = (Oracle::new(), Server::start().await);
        let pool = pool(&engine, &oracle, patient().max_browsers(2).build().unwrap());
        let context = soon("a context", pool.context()).await.unwrap();
        let (one, two) = tokio::join!(context.new_page(), context.new_page());
        let (one, two) = (one.unwrap(), two.unwrap());
        one.goto(server.url("/set")).await.unwrap();
        two.goto(server.url("/look")).await.unwrap();
        let cookie: String = two.evaluate("document.cookie").await.unwrap().into_value().unwrap();
        assert_eq!(cookie, "c=1", "pages of one context share it");
        drop((one, two));
        context.release();
        let browser = soon("a browser", pool.browser()).await.unwrap();
        assert!(browser.version().await.unwrap().product.contains("Chrom"));
        let page = browser.new_page("about:blank").await.unwrap();
        page.goto(server.url("/x")).await.unwrap();
        let report = soon("its end", browser.close()).await;
        assert!(report.is_clean() && report.reason().is_some(), "{report:?}");
        let lease = pool.page_with(LeaseOptions::new().isolation(Isolation::Browser));
        soon("a page of its own browser", lease).await.unwrap().release();
        assert_clean_end(pool, &oracle).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn downloads_are_kept_when_asked_for_and_end_with_the_lease() {
    for engine in engines() {
        endings::downloads(&engine, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn navigation_has_limits_of_its_own() {
    let engine = engines().pop().unwrap();
    let (oracle, server) = (Oracle::new(), Server::start().await);
    let pool = pool(&engine, &oracle, patient().build().unwrap());
    let page = soon("a page", pool.page()).await.unwrap();
    let short = page.navigate(server.url("/hang"), Duration::from_millis(300)).await;
    assert!(matches!(short, Err(lastout_browser_pool::OpError::TimedOut { .. })), "{short:?}");
    page.navigate(server.url("/after"), LONG).await.unwrap();
    assert_eq!(page.get_title().await.unwrap().as_deref(), Some("page /after"));
    let refused = page.navigate("http://127.0.0.1:1/", LONG).await;
    assert!(matches!(refused, Err(lastout_browser_pool::OpError::Driver(_))), "{refused:?}");
    page.release();
    assert_clean_end(pool, &oracle).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_navigation_says_where_it_led() {
    for engine in engines() {
        let (oracle, server) = (Oracle::new(), Server::start().await);
        let pool = pool(&engine, &oracle, patient().max_browsers(2).build().unwrap());
        let page = soon("a page", pool.page()).await.unwrap();
        let there = page.navigate(server.url("/missing"), LONG).await.unwrap();
        assert_eq!(there.status(), Some(404));
        let there = page.navigate(server.url("/moved"), LONG).await.unwrap();
        let place = server.url("/there");
        assert_eq!((there.status(), there.url()), (Some(200), Some(&*place)));
        let within = page.navigate(format!("{place}#part"), LONG).await.unwrap();
        assert_eq!(within.status(), None, "another place in the same document");
        page.release();
        let context = soon("a context", pool.context()).await.unwrap();
        let page = context.new_page().await.unwrap();
        for until in [Until::DomContentLoaded, Until::Loaded, Until::NetworkIdle] {
            let there = page.navigate_until(server.url("/x"), until, LONG).await.unwrap();
            assert_eq!(there.status(), Some(200), "{until:?}");
        }
        drop(page);
        context.release();
        let whole = soon("a browser", pool.browser()).await.unwrap();
        let page = whole.run(LONG, whole.new_page("about:blank")).await.unwrap().unwrap();
        let there = whole.navigate_until(&page, server.url("/y"), Until::Loaded, LONG).await;
        assert_eq!(there.unwrap().status(), Some(200));
        assert!(whole.close().await.is_clean());
        assert_clean_end(pool, &oracle).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_launch_profile_that_is_refused_launches_and_evicts_nothing() {
    let engine = engines().pop().unwrap();
    let oracle = Oracle::new();
    let pool = pool(&engine, &oracle, patient().max_browsers(1).build().unwrap());
    let held = soon("a page", pool.page()).await.unwrap();
    for _ in 0..10 {
        let bad = LaunchProfile::new().arg("--remote-debugging-port=1");
        let refused = pool.page_with(LeaseOptions::new().profile(bad));
        let refused = soon("the refusal", refused).await;
        assert!(matches!(refused, Err(AcquireError::Launch(_))), "{refused:?}");
    }
    assert_eq!((pool.stats().launches, pool.stats().retiring), (1, 0));
    held.release();
    assert_clean_end(pool, &oracle).await;
}
