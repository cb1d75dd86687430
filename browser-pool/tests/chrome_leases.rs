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
use lastout_browser_pool::{BrowserPool, Isolation, LeaseOptions, Transport};
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
    let engine = engines().pop().unwrap();
    let oracle = Oracle::new();
    let config = patient().max_browsers(1).isolation(Isolation::Page).spares(0);
    let pool = pool(&engine, &oracle, config.build().unwrap());
    let page = soon("a page", pool.page()).await.unwrap();
    page.set_user_agent("somebody else").await.unwrap();
    let first = page.target_id().clone();
    page.release();
    let page = soon("a page", pool.page()).await.unwrap();
    assert_ne!(*page.target_id(), first);
    let agent: String = page.evaluate("navigator.userAgent").await.unwrap().into_value().unwrap();
    assert_ne!(agent, "somebody else");
    page.release();
    assert_clean_end(pool, &oracle).await;
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
