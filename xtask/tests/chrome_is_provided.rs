//! What `LASTOUT_CHROME` names is a browser that renders a page.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::time::Duration;
use xtask::command::Cmd;
use xtask::console::{Console, Show};

fn renders(variable: &str) {
    let Some(program) = std::env::var_os(variable) else {
        assert_ne!(variable, "LASTOUT_CHROME", "set by `cargo xtask e2e`");
        return;
    };
    let profile =
        std::env::temp_dir().join(format!("lastout-xtask-{variable}-{}", std::process::id()));
    let done = Cmd::new(program)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"])
        .args(["--disable-background-networking", "--disable-component-update", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .env("HOME", &profile)
        .env("XDG_CONFIG_HOME", profile.join("config"))
        .env("XDG_CACHE_HOME", profile.join("cache"))
        .arg("data:text/html,<p id=x></p><script>x.textContent = 6 * 7</script>")
        .limit(Duration::from_secs(120))
        .show(Show::OnFailure)
        .run(&Console::new());
    // Whatever the browser said, its profile goes; a helper may still be writing there.
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while profile.exists() && std::time::Instant::now() < deadline {
        #[expect(clippy::disallowed_methods, reason = "repeated until it stays gone")]
        drop(std::fs::remove_dir_all(&profile));
    }
    assert!(!profile.exists(), "the profile came back");
    assert!(done.unwrap().stdout.contains("<p id=\"x\">42</p>"));
}

#[test]
fn the_browser_renders_a_page() {
    renders("LASTOUT_CHROME");
}

#[test]
fn the_headless_shell_renders_a_page_where_there_is_one() {
    renders("LASTOUT_CHROME_HEADLESS_SHELL");
}
