//! Breaking one thing on purpose makes its step fail, with a line that says which and where.
//!
//! Each test lays out a workspace of one small crate under our own lints and breaks it.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::{Path, PathBuf};
use xtask::cli::Flags;
use xtask::console::Console;
use xtask::steps::Outcome;
use xtask::workspace::Workspace;
use xtask::{checks, features, tests_step, tidy};

const MANIFEST: &str = "[package]\nname = \"lastout-NAME\"\nversion.workspace = true\n\
    edition.workspace = true\nrust-version.workspace = true\nlicense.workspace = true\n\
    authors.workspace = true\n\n[features]\nextra = []\n\n[lints]\nworkspace = true\n";

/// A workspace in a directory of its own, removed at the end.
struct Scratch {
    root: PathBuf,
    console: Console,
}

impl Scratch {
    /// Lays out a crate that is fine, but for `lib` being its whole source.
    fn new(name: &str, lib: &str) -> Self {
        let root =
            std::env::temp_dir().join(format!("lastout-scratch-{name}-{}", std::process::id()));
        let scratch = Self { root, console: Console::new() };
        std::fs::create_dir_all(scratch.root.join("scratch/src")).unwrap();
        let ours = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let manifest = std::fs::read_to_string(ours.join("Cargo.toml")).unwrap();
        let lints = manifest.split_once("[workspace.lints.rust]").unwrap().1;
        // The models' profile names packages that are not there.
        let lints = lints.split_once("[profile.").unwrap().0;
        scratch.write(
            "Cargo.toml",
            &format!(
                "[workspace]\nresolver = \"3\"\nmembers = [\"scratch\"]\n[workspace.package]\n\
                 version = \"0.1.0\"\nedition = \"2024\"\nrust-version = \"1.95\"\nlicense = \"MIT\"\n\
                 authors = [\"us\"]\n[workspace.lints.rust]{lints}"
            ),
        );
        scratch.write("clippy.toml", &std::fs::read_to_string(ours.join("clippy.toml")).unwrap());
        // A name of its own each: where the target directory is shared, they must not meet in it.
        scratch.write("scratch/Cargo.toml", &MANIFEST.replace("NAME", name));
        scratch.write(
            "scratch/README.md",
            &format!("Scratch.\n\n```rust\nassert_eq!(lastout_{name}::two(), 2);\n```\n"),
        );
        scratch.write(
            "scratch/src/lib.rs",
            &format!("#![doc = include_str!(\"../README.md\")]\n{lib}"),
        );
        scratch.write("xtask/peers/.keep", "");
        scratch
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn workspace(&self) -> Workspace {
        Workspace::load_from(&self.console, &self.root).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        #[expect(clippy::disallowed_methods, reason = "cargo has ended: nobody writes there")]
        drop(std::fs::remove_dir_all(&self.root));
    }
}

const FINE: &str = "/// Two.\npub fn two() -> u8 {\n    2\n}\n";

#[test]
fn a_crate_without_faults_passes_every_step() {
    let scratch = Scratch::new("fine", FINE);
    let (workspace, flags) = (scratch.workspace(), Flags::default());
    assert!(matches!(checks::lint(&scratch.console, &workspace).unwrap(), Outcome::Passed(_)));
    assert!(matches!(
        tests_step::tests(&scratch.console, &workspace, &flags).unwrap(),
        Outcome::Passed(_)
    ));
    assert!(matches!(
        features::features(&scratch.console, &workspace, &flags).unwrap(),
        Outcome::Passed(_)
    ));
}

#[test]
fn a_clippy_warning_fails_lint() {
    let scratch = Scratch::new("clippy", "/// Two.\npub fn two() -> u8 {\n    return 2;\n}\n");
    assert!(checks::lint(&scratch.console, &scratch.workspace()).is_err());
}

#[test]
fn an_undocumented_unsafe_block_fails_lint_and_is_found_by_tidy() {
    let code = "/// Two.\n#[expect(unsafe_code, reason = \"x\")]\npub fn two() -> u8 {\n    \
                unsafe { std::hint::unreachable_unchecked() }\n}\n";
    let scratch = Scratch::new("unsafe", code);
    assert!(checks::lint(&scratch.console, &scratch.workspace()).is_err());
    let said = tidy::tidy(&scratch.workspace()).unwrap_err().to_string();
    assert!(said.contains("scratch/src/lib.rs: 1 unsafe"), "{said}");
}

#[test]
fn a_failing_doc_test_fails_test() {
    let scratch = Scratch::new("doctest", &FINE.replace("    2\n", "    3\n"));
    assert!(tests_step::tests(&scratch.console, &scratch.workspace(), &Flags::default()).is_err());
}

#[test]
fn a_feature_that_does_not_build_alone_fails_features_and_is_named() {
    let code = format!("{FINE}#[cfg(feature = \"extra\")]\nmod missing;\n");
    let scratch = Scratch::new("feature", &code);
    let error =
        features::features(&scratch.console, &scratch.workspace(), &Flags::default()).unwrap_err();
    let said = error.to_string();
    assert!(said.contains("lastout-feature with --no-default-features --features extra"), "{said}");
    assert!(!said.contains("lastout-feature with --no-default-features:"), "{said}");
}

#[test]
fn a_warning_in_one_combination_fails_features() {
    let code = format!("{FINE}#[cfg(not(feature = \"extra\"))]\nuse std::fmt;\n");
    let scratch = Scratch::new("warning", &code);
    let error =
        features::features(&scratch.console, &scratch.workspace(), &Flags::default()).unwrap_err();
    assert!(error.to_string().contains("unused import"), "{error}");
}

#[test]
fn a_module_without_its_doc_is_found_by_tidy() {
    let scratch = Scratch::new("module", &format!("{FINE}mod bare;\n"));
    scratch.write("scratch/src/bare.rs", "pub(crate) fn f() {}\n");
    let said = tidy::tidy(&scratch.workspace()).unwrap_err().to_string();
    assert!(said.contains("scratch/src/bare.rs:1: a module starts with `//!`"), "{said}");
}
