//! Drops and cancellations in every place, and executables that are no browsers, over any number of
//! rounds.

use super::{LONG, Oracle, Server, assert_clean_end, builder, patient, pool as start, soon, until};
use lastout_browser_pool::chromiumoxide::cdp::browser_protocol::target::GetTargetsParams;
use lastout_browser_pool::{AcquireError, BrowserPool, LaunchError, LeaseOptions, PoolConfig};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn two_browsers() -> PoolConfig {
    patient().max_browsers(2).warm_browsers(2).build().unwrap()
}

/// Five drops a round: in the runtime, on a plain thread before and after the lease, in the middle of a
/// launch, and by the end of the runtime.
pub(crate) fn dropped(engine: &Path, rounds: u64) {
    let oracle = Oracle::new();
    for round in 0..rounds {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        // Within the runtime, with a lease out.
        runtime.block_on(async {
            let pool = start(engine, &oracle, patient().build().unwrap());
            let page = soon("a page", pool.page()).await.unwrap();
            page.goto("data:text/html,x").await.unwrap();
            drop(pool);
            oracle.assert_no_process();
            oracle.assert_no_browser_directory();
            assert!(page.loss().is_some(), "round {round}");
        });
        // On a plain thread, while the runtime runs, the lease before and after.
        for lease_first in [true, false] {
            let (pool, page) = runtime.block_on(async {
                let pool = start(engine, &oracle, patient().build().unwrap());
                let page = soon("a page", pool.page()).await.unwrap();
                (pool, page)
            });
            let drops: [Box<dyn FnOnce()>; 2] = if lease_first {
                [Box::new(move || drop(page)), Box::new(move || drop(pool))]
            } else {
                [Box::new(move || drop(pool)), Box::new(move || drop(page))]
            };
            drops.into_iter().for_each(|drop| drop());
            oracle.assert_no_process();
            oracle.assert_no_browser_directory();
        }
        // In the middle of a launch.
        let pool = runtime.block_on(async {
            let pool = start(engine, &oracle, two_browsers());
            // SLEEP: each round drops at another moment of the launch; every one must work.
            tokio::time::sleep(Duration::from_millis(10 * round)).await;
            pool
        });
        drop(pool);
        drop(runtime);
        oracle.wait_no_process(LONG);
        // By the end of the runtime.
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let pool = runtime.block_on(async {
            let pool = start(engine, &oracle, patient().build().unwrap());
            soon("a page", pool.page()).await.unwrap().release();
            pool
        });
        drop(runtime);
        oracle.assert_no_process();
        drop(pool);
        oracle.assert_nothing();
    }
}

/// Four callers that give up at another moment in each round: nothing is left but the stock.
pub(crate) async fn cancelled(engine: &Path, rounds: u64) {
    let oracle = Oracle::new();
    let config = patient().max_browsers(1).max_contexts(4).spares(1);
    let pool = start(engine, &oracle, config.build().unwrap());
    soon("a first page", pool.page()).await.unwrap().release();
    for round in 0..rounds {
        let limit = Duration::from_millis(round * 13 % 150);
        let pages = (0..4).map(|_| tokio::time::timeout(limit, pool.page()));
        drop(futures_util::future::join_all(pages).await);
    }
    until(&pool, "all to be back", |stats| stats.out == 0 && stats.units <= 1).await;
    let page = soon("a page", pool.page()).await.unwrap();
    // What the browser itself says, of all its contexts.
    let browser = page.browser();
    let targets = page.execute(GetTargetsParams::default()).await.unwrap();
    let pages = targets.target_infos.iter().filter(|target| target.r#type == "page").count();
    let units = pool.stats().units;
    assert!(pages <= 2, "browser {browser} has {pages} pages for one lease and one spare; {units}");
    page.release();
    assert_clean_end(pool, &oracle).await;
}

/// A script in place of a browser.
pub(crate) fn script(oracle: &Oracle, name: &str, text: &str) -> PathBuf {
    let path = oracle.scripts().join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    path
}

async fn failure_of(path: &Path, oracle: &Oracle, limit: Duration) -> LaunchError {
    let config = patient().max_browsers(1).circuit_after(1).spares(0);
    let config = config.launch_timeout(limit).build().unwrap();
    let chrome = builder(path, oracle).build().unwrap();
    let pool = BrowserPool::start(chrome, config).unwrap();
    let options = LeaseOptions::new().deadline(LONG);
    let error = soon("the refusal", pool.page_with(options)).await.unwrap_err();
    let AcquireError::Launch(error) = error else { panic!("{error}") };
    let report = pool.drain(LONG).await;
    assert!(report.is_clean(), "{report}");
    drop(pool);
    oracle.assert_nothing();
    std::sync::Arc::into_inner(error).expect("nobody else has the error")
}

/// An executable that is missing, one that exits, one that hangs: each with its last words, and
/// nothing left.
pub(crate) async fn no_browsers(rounds: u64) {
    let oracle = Oracle::new();
    let exits =
        script(&oracle, "exits", "echo first >&2; printf 'bad \\377\\376 bytes\\n' >&2; exit 7");
    let hangs = script(&oracle, "hangs", "echo waiting >&2; sleep 600 & sleep 600");
    for _ in 0..rounds {
        let missing = failure_of(&oracle.scripts().join("missing"), &oracle, LONG).await;
        assert!(matches!(missing, LaunchError::Spawn { .. }), "{missing:?}");

        let LaunchError::Exited { status, stderr } = failure_of(&exits, &oracle, LONG).await else {
            panic!("it exits")
        };
        assert!(status.unwrap().contains('7'), "{stderr}");
        assert!(stderr.contains("bad") && stderr.contains("first"), "{stderr}");

        let short = Duration::from_secs(1);
        let LaunchError::TimedOut { stderr, .. } = failure_of(&hangs, &oracle, short).await else {
            panic!("it hangs")
        };
        assert!(stderr.contains("waiting"), "{stderr}");
    }
}

/// A wrapper that stays beside its browser and writes no text to the standard error.
pub(crate) async fn wrapped(engine: &Path, rounds: u64) {
    let oracle = Oracle::new();
    let text = format!("printf '\\377\\376\\000\\n' >&2\n{} \"$@\"\nexit $?", engine.display());
    let is_shell = engine.to_string_lossy().contains("headless-shell");
    let name = if is_shell { "wrapper-headless-shell" } else { "wrapper" };
    let wrapper = script(&oracle, name, &text);
    for _ in 0..rounds {
        let pool = start(&wrapper, &oracle, patient().build().unwrap());
        let page = soon("a page", pool.page()).await.unwrap();
        page.goto("data:text/html,<title>wrapped</title>").await.unwrap();
        page.release();
        assert_clean_end(pool, &oracle).await;
    }
}

/// A file system for the profile that is full after 96 KiB: a typed answer or a page, and nothing left.
/// `false` when none can be mounted here.
pub(crate) async fn full_disk(engine: &Path, rounds: u64) -> bool {
    let oracle = Oracle::new();
    std::fs::create_dir(oracle.root()).unwrap();
    std::fs::set_permissions(oracle.root(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let Some(mount) = Mount::new(oracle.root()) else {
        return false;
    };
    for _ in 0..rounds {
        let config = patient().max_browsers(1).circuit_after(1).spares(0);
        let config = config.launch_timeout(Duration::from_secs(10)).build().unwrap();
        let pool = start(engine, &oracle, config);
        let options = LeaseOptions::new().deadline(Duration::from_secs(20));
        match soon("an answer", pool.page_with(options)).await {
            Ok(page) => page.release(),
            Err(AcquireError::Launch(error)) => assert!(!error.to_string().is_empty()),
            Err(error) => panic!("{error}"),
        }
        let report = soon("the drain", pool.drain(LONG)).await;
        assert!(report.is_clean(), "{report}");
        drop(pool);
        oracle.assert_nothing();
    }
    drop(mount);
    true
}

/// A small file system, unmounted also when the test fails.
struct Mount<'a>(&'a Path);

impl<'a> Mount<'a> {
    fn new(path: &'a Path) -> Option<Self> {
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=96k,mode=0700", "lastout-test"])
            .arg(path)
            .status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(path))
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let unmounted = std::process::Command::new("umount").arg(self.0).status();
        if !std::thread::panicking() {
            assert!(unmounted.is_ok_and(|status| status.success()));
        }
    }
}

/// Downloads are kept when asked for, end with the lease, and are refused otherwise.
pub(crate) async fn downloads(engine: &Path, rounds: u64) {
    let (oracle, server) = (Oracle::new(), Server::start().await);
    let pool = start(engine, &oracle, patient().build().unwrap());
    for _ in 0..rounds {
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
                // SLEEP: the pause between two looks.
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
    }
    assert_clean_end(pool, &oracle).await;
}
