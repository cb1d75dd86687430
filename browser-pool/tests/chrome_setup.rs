//! What browsers are started with: extensions, windows.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "starts and ends real processes"
)]

mod chrome_support;

use chrome_support::{Oracle, Server, assert_clean_end, builder, engines, patient, soon};
use lastout_browser_pool::{AcquireError, BrowserPool, Executable, LaunchError, LeaseOptions};
use std::path::PathBuf;
use std::time::Duration;

fn engine(is_shell: bool) -> Option<PathBuf> {
    engines().into_iter().find(|path| Executable::at(path).is_headless_shell() == is_shell)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extension_runs_in_a_whole_browser() {
    let Some(engine) = engine(false) else { return };
    let (oracle, server) = (Oracle::new(), Server::start().await);
    let extension = oracle.scripts().join("extension");
    std::fs::create_dir_all(&extension).unwrap();
    let manifest = r#"{"manifest_version": 3, "name": "titles", "version": "1",
        "content_scripts": [{"matches": ["<all_urls>"], "js": ["titles.js"]}]}"#;
    std::fs::write(extension.join("manifest.json"), manifest).unwrap();
    std::fs::write(extension.join("titles.js"), "document.title = 'extended'").unwrap();
    let chrome = builder(&engine, &oracle)
        .without("--disable-extensions")
        .arg(format!("--load-extension={}", extension.display()))
        .arg("--disable-features=DisableLoadExtensionCommandLineSwitch");
    let pool = BrowserPool::start(chrome.build().unwrap(), patient().build().unwrap()).unwrap();
    let browser = soon("a browser", pool.browser()).await.unwrap();
    let page = browser.new_page(server.url("/plain")).await.unwrap();
    soon("the extension", async {
        while page.get_title().await.unwrap().as_deref() != Some("extended") {
            // SLEEP: the pause between two looks.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    drop(browser.close().await);
    assert_clean_end(pool, &oracle).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_need_a_display_and_a_full_browser() {
    let oracle = Oracle::new();
    if let Some(shell) = engine(true) {
        let refused = builder(&shell, &oracle).headful(true).build();
        assert!(matches!(refused, Err(LaunchError::Refused { .. })), "{refused:?}");
    }
    let Some(engine) = engine(false) else { return };
    // A display that is not there: with windows the browser says so.
    let chrome = builder(&engine, &oracle).headful(true).env("DISPLAY", ":65000").build().unwrap();
    let config = patient().max_browsers(1).circuit_after(1).build().unwrap();
    let pool = BrowserPool::start(chrome, config).unwrap();
    let asked = soon("an answer", pool.page_with(LeaseOptions::new())).await;
    let Err(AcquireError::Launch(error)) = asked else { panic!("{asked:?}") };
    let LaunchError::Exited { stderr, .. } = &*error else { panic!("{error:?}") };
    assert!(stderr.to_lowercase().contains("display"), "{stderr}");
    assert_clean_end(pool, &oracle).await;
}
