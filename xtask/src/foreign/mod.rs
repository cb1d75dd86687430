//! What the machine's own toolchain cannot tell: other systems, the oldest compiler, other sanitizers.
//!
//! Each step says what it did, run or only type-checked, and is skipped visibly where its parts are missing.

mod msrv;
mod targets;
mod tsan;
mod wine;

pub(crate) use msrv::msrv;
pub use targets::run_targets;
pub(crate) use targets::targets;
pub use tsan::run_tsan;
pub(crate) use tsan::tsan_in_ci;
pub use wine::run_wine;
pub(crate) use wine::wine_in_ci;

use crate::workspace::Package;

/// The features of a crate, without some and without those that turn them on.
fn features_without<'a>(package: &'a Package, left_out: &[&str]) -> Vec<&'a str> {
    let names = package.features.keys().map(String::as_str);
    names.filter(|name| !brings(package, name, left_out)).collect()
}

/// Whether a feature is one of these, or turns one of them on.
fn brings(package: &Package, name: &str, left_out: &[&str]) -> bool {
    let parts = package.features.get(name).into_iter().flatten();
    left_out.contains(&name) || parts.into_iter().any(|part| brings(package, part, left_out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::Console;
    use crate::workspace::Workspace;

    #[test]
    fn a_feature_that_turns_on_what_is_left_out_is_left_out() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let workspace = Workspace::load(&Console::new()).unwrap();
        let mut package = workspace.packages[0].clone();
        package.features = [
            ("sqlite".to_owned(), list(&["dep:rusqlite"])),
            ("cli".to_owned(), list(&["postgres", "sqlite"])),
            ("full".to_owned(), list(&["cli"])),
            ("postgres".to_owned(), list(&["dep:tokio-postgres"])),
        ]
        .into();
        assert_eq!(features_without(&package, &["sqlite"]), ["postgres"]);
    }
}
