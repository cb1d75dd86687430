//! What pages do by themselves: open others, start workers, and talk too much.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "starts and ends real processes"
)]

mod chrome_support;

use chrome_support::{LONG, Oracle, Server, assert_clean_end, engines, patient, pool, soon, until};
use lastout_browser_pool::OpError;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pop_ups_count_as_pages_and_belong_to_the_lease() {
    for engine in engines() {
        let (oracle, server) = (Oracle::new(), Server::start().await);
        let config = patient().max_browsers(1).max_pages(4).spares(0);
        let pool = pool(&engine, &oracle, config.build().unwrap());
        let page = soon("a page", pool.page()).await.unwrap();
        page.navigate(server.url("/one"), LONG).await.unwrap();
        // Those with `noopener` name no opener.
        for features in ["", "noopener"] {
            let open =
                format!("for (let i = 0; i < 6; i++) window.open('/p', '_blank', '{features}'); 0");
            page.evaluate(open).await.unwrap();
        }
        until(&pool, "the limit", |stats| stats.pages == 4).await;
        let popups = soon("three pop-ups", async {
            loop {
                let popups = page.popups().await.unwrap();
                let urls = popups.iter().map(|popup| popup.url());
                let urls = futures_util::future::join_all(urls).await;
                if urls.len() == 3 && urls.iter().all(|url| url.is_ok()) {
                    break popups;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        let sum: i64 = popups[0].evaluate("1 + 1").await.unwrap().into_value().unwrap();
        assert_eq!((sum, pool.stats().pages), (2, 4));
        page.release();
        until(&pool, "the end of all", |stats| stats.pages == 0).await;
        let context = soon("a context", pool.context()).await.unwrap();
        let first = context.new_page().await.unwrap();
        let second = context.new_page().await.unwrap();
        assert_eq!(pool.stats().pages, 2, "what the pool makes is no pop-up");
        assert!(context.popups().await.unwrap().is_empty());
        first.evaluate("window.open('about:blank'); 0").await.unwrap();
        until(&pool, "the pop-up", |stats| stats.pages == 3).await;
        let third = context.new_page().await.unwrap();
        let full = context.new_page().await.map(drop);
        assert!(matches!(full, Err(OpError::PageLimit { max: 4 })), "{full:?}");
        drop((first, second, third));
        context.release();
        assert_clean_end(pool, &oracle).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_on_the_console_is_shed_and_counted_for_its_own_page() {
    for engine in engines() {
        let oracle = Oracle::new();
        let config = patient().max_browsers(1).spares(0).probe_interval(Duration::from_millis(100));
        let config = config.op_timeout(LONG);
        let pool = pool(&engine, &oracle, config.build().unwrap());
        let innocent = soon("a page", pool.page()).await.unwrap();
        let flooder = soon("a page", pool.page()).await.unwrap();
        let flood = "const text = 'x'.repeat(500); const flood = () => {
            for (let i = 0; i < 5000; i++) console.log(text, i);
            setTimeout(flood);
        }; setTimeout(flood); 1";
        flooder.evaluate(flood).await.unwrap();
        let started = std::time::Instant::now();
        while started.elapsed() < Duration::from_secs(15) {
            let answer = soon("an answer", innocent.evaluate("1 + 1")).await;
            let sum: i64 = answer.unwrap().into_value().unwrap();
            assert_eq!(sum, 2);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!((innocent.loss(), pool.stats().lost), (None, 0));
        assert!(flooder.shed_messages() > 0 && innocent.shed_messages() == 0);
        drop(flooder);
        innocent.release();
        assert_clean_end(pool, &oracle).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_workers_start() {
    for engine in engines() {
        let (oracle, server) = (Oracle::new(), Server::start().await);
        let pool = pool(&engine, &oracle, patient().max_browsers(1).build().unwrap());
        let page = soon("a page", pool.page()).await.unwrap();
        page.navigate(server.url("/app"), LONG).await.unwrap();
        let register = "navigator.serviceWorker.register('/worker.js')
            .then(() => navigator.serviceWorker.ready).then(ready => ready.active.scriptURL)";
        let url: String =
            soon("the registration", page.evaluate(register)).await.unwrap().into_value().unwrap();
        assert_eq!(url, server.url("/worker.js"));
        page.release();
        assert_clean_end(pool, &oracle).await;
    }
}

/// Else the main process of the browser would have no time for its other pages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_cannot_flood_its_history() {
    for engine in engines() {
        let (oracle, server) = (Oracle::new(), Server::start().await);
        let pool = pool(&engine, &oracle, patient().max_browsers(1).build().unwrap());
        let page = soon("a page", pool.page()).await.unwrap();
        page.navigate(server.url("/one"), LONG).await.unwrap();
        let flood = "for (let i = 0; i < 5000; i++) location.hash = i; location.hash";
        let last: String = page.evaluate(flood).await.unwrap().into_value().unwrap();
        assert!(last.len() > 1 && last != "#4999", "{last}");
        page.release();
        assert_clean_end(pool, &oracle).await;
    }
}
