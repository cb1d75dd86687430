//! Leases on real browsers: pages, contexts and browsers that work, are isolated, and leave nothing.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "starts and ends real processes"
)]

mod chrome_support;

use chrome_support::{LONG, Oracle, Server, assert_clean_end, builder, engines, pool, soon, until};
use lastout_browser_pool::{BrowserPool, Isolation, LeaseOptions, PoolConfig, Transport};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_works_and_nothing_is_left() {
    for engine in engines() {
        for transport in [Transport::Pipe, Transport::Port] {
            let (oracle, server) = (Oracle::new(), Server::start().await);
            let chrome = builder(&engine, &oracle).transport(transport).build().unwrap();
            let pool = BrowserPool::start(chrome, PoolConfig::default()).unwrap();
            let page = soon("a page", pool.page()).await.unwrap();
            page.goto(server.url("/one")).await.unwrap();
            assert_eq!(page.get_title().await.unwrap().as_deref(), Some("page /one"));
            assert!(
                oracle.processes().len() >= 3,
                "the oracle sees the browser: {:#?}",
                oracle.processes()
            );
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_see_nothing_of_each_other() {
    for engine in engines() {
        for isolation in [Isolation::Context, Isolation::Page] {
            let (oracle, server) = (Oracle::new(), Server::start().await);
            let config =
                PoolConfig::builder().max_browsers(1).isolation(isolation).build().unwrap();
            let pool = pool(&engine, &oracle, config);
            let seen = "document.cookie + '|' + localStorage.getItem('k')";
            for round in 0..3 {
                let page = soon("a page", pool.page()).await.unwrap();
                page.goto(server.url("/look")).await.unwrap();
                let value: String = page.evaluate(seen).await.unwrap().into_value().unwrap();
                assert_eq!(value, "|null", "round {round} of {isolation:?} sees another lease");
                page.goto(server.url("/set")).await.unwrap();
                let value: String = page.evaluate(seen).await.unwrap().into_value().unwrap();
                assert_eq!(value, "c=1|v", "the page sees itself");
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
    let config = PoolConfig::builder().max_browsers(1).isolation(Isolation::Page).spares(0);
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
        let pool = pool(&engine, &oracle, PoolConfig::builder().max_browsers(2).build().unwrap());
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
        let (oracle, server) = (Oracle::new(), Server::start().await);
        let pool = pool(&engine, &oracle, PoolConfig::default());
        let page = soon("a page", pool.page_with(LeaseOptions::new().downloads())).await.unwrap();
        let folder = page.downloads().unwrap().to_owned();
        // A navigation that becomes a download is aborted.
        drop(page.run(Duration::from_secs(1), page.goto(server.url("/download"))).await);
        let arrived = || {
            std::fs::read_dir(&folder)
                .unwrap()
                .flatten()
                .any(|file| std::fs::read(file.path()).is_ok_and(|bytes| bytes == b"hello"))
        };
        soon("the download", async {
            while !arrived() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        page.release();
        until(&pool, "the context to end", |stats| stats.out == 0 && stats.units <= 1).await;
        assert!(!folder.exists());
        let page = soon("a page", pool.page()).await.unwrap();
        assert_eq!(page.downloads(), None);
        drop(page.run(Duration::from_secs(1), page.goto(server.url("/download"))).await);
        page.release();
        assert_clean_end(pool, &oracle).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn navigation_has_limits_of_its_own() {
    let engine = engines().pop().unwrap();
    let (oracle, server) = (Oracle::new(), Server::start().await);
    let pool = pool(&engine, &oracle, PoolConfig::default());
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
