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
pub(crate) use tsan::tsan;
pub use wine::run_wine;
pub(crate) use wine::wine;

/// The features of a crate that need no C compiler for the target.
fn portable_features(package: &crate::workspace::Package) -> impl Iterator<Item = &str> {
    let in_c = ["sqlite", "full", "default"];
    package.features.keys().map(String::as_str).filter(move |name| !in_c.contains(name))
}
