//! The public API of each crate against its list, so that a change of it is seen in review.

use crate::cli::Flags;
use crate::command::Cmd;
use crate::console::{Console, Show};
use crate::workspace::Workspace;
use anyhow::Result;

/// `cargo xtask api [--bless]`.
///
/// The comparison is a test of the façade, so it is part of every run of the tests.
///
/// # Errors
///
/// When a crate shows something else than its list in `facade/tests/api`, and `--bless` was not given.
pub fn run(console: &Console, parser: lexopt::Parser) -> Result<()> {
    let flags = Flags::parse(parser, &["bless"])?;
    let compare = Cmd::cargo()
        .args(["test", "--package", "lastout", "--test", "public_surface"])
        .dir(&Workspace::load(console)?.root)
        .show(Show::OnFailure);
    if flags.bless { compare.env("LASTOUT_BLESS", "1") } else { compare }.run(console)?;
    console.say(if flags.bless { "wrote facade/tests/api" } else { "as in facade/tests/api" });
    Ok(())
}
