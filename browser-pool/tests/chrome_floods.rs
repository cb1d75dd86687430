//! A page that floods what the client is told of costs the other tenants of its browser nothing that is theirs.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "starts and ends real processes"
)]

mod chrome_support;

use chrome_support::{LONG, Oracle, Server, assert_clean_end, engines, patient, pool, soon};
use lastout_browser_pool::{LeaseOptions, Loss, PageLease};
use std::time::{Duration, Instant};

type Page = PageLease<lastout_browser_pool::Chrome>;

/// What a hostile page does as fast as it can. Each turn lets the page answer calls in between.
const FLOODS: &[(&str, &str)] = &[
    ("bindings", "window.flooded && window.flooded('x'.repeat(500))"),
    ("console", "console.log('x'.repeat(500), n++)"),
    ("history", "history.pushState(n, '', '?' + n++)"),
];

async fn flood(page: &Page, what: &str) {
    use chromiumoxide::cdp::js_protocol::runtime::AddBindingParams;
    page.execute(AddBindingParams::new("flooded")).await.unwrap();
    let flood = format!(
        "let n = 0; const flood = () => {{
            for (let i = 0; i < 5000; i++) {{ {what} }}
            setTimeout(flood);
        }}; setTimeout(flood); 1"
    );
    page.evaluate(flood).await.unwrap();
}

/// What the innocent page says of itself.
const SELF: &str = "[location.href, document.cookie, localStorage.getItem('k')].join(' ')";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_costs_no_other_tenant_its_cookies_its_address_or_its_lease() {
    for engine in engines() {
        for (name, what) in FLOODS {
            let (oracle, server) = (Oracle::new(), Server::start().await);
            let config = patient().max_browsers(1).spares(0);
            let config = config.probe_interval(Duration::from_millis(100)).op_timeout(LONG);
            let pool = pool(&engine, &oracle, config.build().unwrap());
            let of = |tenant: &str| LeaseOptions::new().tenant(tenant);
            let innocent = soon("a page", pool.page_with(of("innocent"))).await.unwrap();
            innocent.navigate(server.url("/set"), LONG).await.unwrap();
            let flooder = soon("a page", pool.page_with(of("flooder"))).await.unwrap();
            flooder.navigate(server.url("/flood"), LONG).await.unwrap();
            flood(&flooder, what).await;
            let (started, mut worst) = (Instant::now(), Duration::ZERO);
            let mut looks = 0;
            while looks < 10 || started.elapsed() < Duration::from_secs(8) {
                let asked = Instant::now();
                let says = soon("an answer", innocent.evaluate(SELF)).await;
                worst = worst.max(asked.elapsed());
                let says: String = says.unwrap().into_value().unwrap();
                assert_eq!(says, format!("{} c=1 v", server.url("/set")), "{name}");
                looks += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let loss = flooder.loss();
            println!("{} {name}: worst {worst:?}, {loss:?}", engine.display());
            assert!(matches!(loss, None | Some(Loss::PageFlooded)), "{name}: {loss:?}");
            assert_eq!((innocent.loss(), pool.stats().lost), (None, 0), "{name}");
            assert_eq!(innocent.shed_messages(), 0, "{name}");
            drop(flooder);
            innocent.release();
            assert_clean_end(pool, &oracle).await;
        }
    }
}
