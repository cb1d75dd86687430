//! Finds programs and toolchains without changing anything.

use crate::command::Cmd;
use crate::console::{Console, Show};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Whether `path` is a file that may be executed.
pub fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// The first of `names` on `PATH`.
pub fn on_path(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    names
        .iter()
        .flat_map(|name| std::env::split_paths(&path).map(move |dir| dir.join(name)))
        .find(|file| is_program(file))
}

/// A cargo subcommand, such as `nextest`: on `PATH`, or in cargo's own folder.
pub fn cargo_tool(name: &str) -> Option<PathBuf> {
    let file = format!("cargo-{name}");
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    on_path(&[&file])
        .or_else(|| home.map(|home| home.join("bin").join(file)).filter(|f| is_program(f)))
}

/// The version line of the nightly toolchain, when there is one.
pub fn nightly(console: &Console) -> Option<String> {
    version_of(console, &Cmd::nightly_cargo().arg("--version"))
}

/// The first line that a `--version` command prints, when it works.
pub fn version_of(console: &Console, cmd: &Cmd) -> Option<String> {
    let done = cmd.clone().show(Show::Never).run(console).ok()?;
    done.stdout.lines().next().map(str::to_owned)
}

/// The target triple of this machine.
pub fn host(console: &Console) -> Option<String> {
    let done = Cmd::new("rustc").arg("-vV").show(Show::Never).run(console).ok()?;
    done.stdout.lines().find_map(|line| line.strip_prefix("host: ").map(str::to_owned))
}

/// Whether this process may install packages.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_be_executed_is_a_program() {
        assert!(on_path(&["no-such-program-anywhere", "sh"]).is_some());
        assert!(!is_program(Path::new("/etc/passwd")));
        assert!(!is_program(Path::new("/")));
    }
}
