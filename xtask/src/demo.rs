//! Runs the flagship example of the façade, with what it needs.

use crate::cli::Flags;
use crate::command::Cmd;
use crate::console::{Console, Show};
use crate::pictures;
use crate::provision::{self, Need};
use crate::workspace::Workspace;
use anyhow::{Context as _, Result, bail};

/// `cargo xtask demo [FLAGS]`; the flags go to the example. With `--pictures` alone it makes the pictures of the
/// README.
///
/// # Errors
///
/// When the façade has no demo yet, or the demo ends with something left behind.
pub fn run(console: &Console, parser: lexopt::Parser) -> Result<()> {
    let flags = Flags::parse(parser, &["pictures", "…"])?;
    let workspace = Workspace::load(console)?;
    let facade = workspace.packages.iter().find(|package| package.name == "lastout");
    let facade = facade.context("the workspace has a façade")?;
    if !facade.targets.iter().any(|target| target.kind == "example" && target.name == "capture") {
        bail!("the façade is still a shell and has no demo: see facade/README.md");
    }
    let mut needs = vec![Need::Chrome];
    if flags.rest.windows(2).any(|pair| pair == ["--store", "postgres"])
        || flags.rest.iter().any(|flag| flag == "--store=postgres")
    {
        needs.push(Need::Postgres);
    }
    let provided = provision::provide(console, &needs, false)?;
    if flags.pictures {
        if !flags.rest.is_empty() {
            bail!("--pictures takes no other flags");
        }
        return pictures::take(console, &workspace, &facade.dir, provided.envs());
    }
    let result = Cmd::cargo()
        .args([
            "run",
            "--release",
            "--package",
            "lastout",
            "--all-features",
            "--example",
            "capture",
            "--",
        ])
        .args(&flags.rest)
        .envs(provided.envs())
        .dir(&workspace.root)
        .show(Show::Live)
        .run(console);
    provided.shutdown()?;
    result.map(drop)
}
