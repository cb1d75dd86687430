//! Installs Debian packages, after saying so, where this process may.

use crate::command::Cmd;
use crate::console::{Console, Show};
use crate::find;
use anyhow::{Result, bail};

/// Installs `packages` on Debian or Ubuntu as root.
///
/// # Errors
///
/// Elsewhere, with the one command that a person runs; or when apt fails.
pub(crate) fn install(console: &Console, packages: &[&str], why: &str) -> Result<()> {
    let names = packages.join(" ");
    if find::on_path(&["apt-get"]).is_none() {
        bail!(
            "{why} is missing and this system has no apt: install it with your package manager, or name it in the environment (`cargo xtask doctor` says how)"
        );
    }
    if !find::is_root() {
        bail!("{why} is missing; run: sudo apt-get install --no-install-recommends {names}");
    }
    console.say(&format!("{why} is missing: installing {names} through apt"));
    // Another run on this machine may hold the lock of dpkg.
    let apt = || {
        Cmd::new("apt-get")
            .args(["-qq", "-o", "DPkg::Lock::Timeout=600"])
            .env("DEBIAN_FRONTEND", "noninteractive")
            .show(Show::OnFailure)
    };
    apt().arg("update").run(console)?;
    apt().args(["install", "--yes", "--no-install-recommends"]).args(packages).run(console)?;
    Ok(())
}
