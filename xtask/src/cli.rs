//! The table of commands, and the dispatch into it.

use crate::console::Console;
use anyhow::{Result, bail};
use lexopt::prelude::*;
use std::process::ExitCode;

/// One developer command.
struct Command {
    name: &'static str,
    summary: &'static str,
    run: fn(&Console, lexopt::Parser) -> Result<()>,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "demo",
        summary: "the main job on embedded defaults, with faults [--pictures: those of the README]",
        run: crate::demo::run,
    },
    Command {
        name: "ci",
        summary: "everything CI runs [--keep-going] [--without chrome,postgres] [--only STEP,…] [--with-peers]",
        run: crate::ci::run,
    },
    Command {
        name: "test",
        summary: "unit, integration and doc tests [CRATE]",
        run: crate::tests_step::run,
    },
    Command {
        name: "e2e",
        summary: "tests on real Chrome and real PostgreSQL [CRATE] [--without …] [--test NAME]",
        run: crate::e2e::run,
    },
    Command {
        name: "loom",
        summary: "the models of the lock-free paths [CRATE|MODEL] [--preemptions N]",
        run: crate::models::run_loom,
    },
    Command {
        name: "mutants",
        summary: "weakens each marked step; its model must fail [CRATE|MUTANT]",
        run: crate::models::run_mutants,
    },
    Command {
        name: "features",
        summary: "each crate alone: no features, each feature, all [CRATE] [--cost]",
        run: crate::features::run,
    },
    Command { name: "fmt", summary: "formatting, checked only", run: crate::checks::run_fmt },
    Command {
        name: "lint",
        summary: "clippy, with warnings as errors",
        run: crate::checks::run_lint,
    },
    Command {
        name: "doc",
        summary: "documentation, with warnings as errors",
        run: crate::checks::run_doc,
    },
    Command {
        name: "tidy",
        summary: "the house rules that no other tool knows",
        run: crate::tidy::run,
    },
    Command {
        name: "deps",
        summary: "licences and versions of the dependencies",
        run: crate::dependencies::run,
    },
    Command {
        name: "api",
        summary: "the public API against facade/tests/api [--bless]",
        run: crate::api::run,
    },
    Command {
        name: "asan",
        summary: "nightly AddressSanitizer over the crates with unsafe code [CRATE]",
        run: crate::asan::run,
    },
    Command {
        name: "tsan",
        summary: "ThreadSanitizer over the crates with atomics or locks of their own [CRATE]",
        run: crate::foreign::run_tsan,
    },
    Command {
        name: "fuzz",
        summary: "libFuzzer over what reads bytes of others, a minute for each target [SECONDS]",
        run: crate::fuzz::run,
    },
    Command {
        name: "targets",
        summary: "type checks for systems that cannot be run here [CRATE]",
        run: crate::foreign::run_targets,
    },
    Command {
        name: "wine",
        summary: "tests as Windows programs, under Wine [CRATE]",
        run: crate::foreign::run_wine,
    },
    Command {
        name: "package",
        summary: "the packages of a release, each built from what it contains",
        run: crate::package::run,
    },
    Command {
        name: "release",
        summary: "a release but for the upload --repository URL [--baseline COMMIT]",
        run: crate::package::run_release,
    },
    Command {
        name: "bench",
        summary: "side by side with peers [AREA] [--case TEXT] [--rounds N]",
        run: crate::bench::run,
    },
    Command {
        name: "soak",
        summary: "fault storms, ends with the sums [AREA] [--minutes N] [--seed S]",
        run: crate::soak::run,
    },
    Command { name: "doctor", summary: "what this machine offers", run: crate::doctor::run },
];

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let console = match Console::listening() {
        Ok(console) => console,
        Err(error) => {
            Console::new().complain(&format!("xtask failed: {error:#}"));
            return ExitCode::FAILURE;
        }
    };
    let done = dispatch(&console);
    if let Err(error) = &done {
        console.complain(&format!("xtask failed: {error:#}"));
    }
    match (console.told(), done) {
        // As a shell says it of a program that a signal ended.
        (Some(signal), _) => ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX)),
        (None, Ok(())) => ExitCode::SUCCESS,
        (None, Err(_)) => ExitCode::FAILURE,
    }
}

fn dispatch(console: &Console) -> Result<()> {
    let mut parser = lexopt::Parser::from_env();
    let name = match parser.next()? {
        None | Some(Short('h') | Long("help")) => {
            console.say(&help());
            return Ok(());
        }
        Some(Value(name)) => name.string()?,
        Some(other) => return Err(other.unexpected().into()),
    };
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        bail!("there is no command `{name}`\n\n{}", help());
    };
    let rest: Vec<_> = parser.raw_args()?.collect();
    if rest.iter().any(|word| word == "--help" || word == "-h") {
        console.say(&format!("cargo xtask {name}: {}", command.summary));
        return Ok(());
    }
    (command.run)(console, lexopt::Parser::from_args(rest))
}

fn help() -> String {
    let mut text = String::from("cargo xtask COMMAND\n");
    for Command { name, summary, .. } in COMMANDS {
        text.push_str(&format!("\n  {name:<10} {summary}"));
    }
    text
}

/// Among the allowed flags: the command takes the name of a crate, an area or a model.
pub const NAME: &str = "NAME";

/// Flags that several commands share.
#[derive(Debug, Default, Clone)]
pub struct Flags {
    /// The first word that is not a flag: a crate, an area, a model.
    pub name: Option<String>,
    /// Go on after a failed step.
    pub keep_going: bool,
    /// Programs not to ask for: `chrome`, `postgres`.
    pub without: Vec<String>,
    /// Run these steps only.
    pub only: Vec<String>,
    /// Compile the peers of the benches too.
    pub with_peers: bool,
    /// Write what would be compared.
    pub bless: bool,
    /// Take the pictures of the README.
    pub pictures: bool,
    /// Show what features cost.
    pub cost: bool,
    /// Loom's bound on preemptions.
    pub preemptions: Option<u32>,
    /// The address of the repository that packages shall name.
    pub repository: Option<String>,
    /// The commit or tag of the last release.
    pub baseline: Option<String>,
    /// The one test target to run.
    pub test: Option<String>,
    /// Everything else, passed on to the program that the command runs.
    pub rest: Vec<String>,
}

impl Flags {
    /// Parses what is left. A flag that `allowed` does not list is an error, except with `"…"`, which
    /// passes unknown ones on; a word is one too, except with [`NAME`], and then it comes first.
    ///
    /// # Errors
    ///
    /// On an unknown flag or a value that does not parse.
    pub fn parse(mut parser: lexopt::Parser, allowed: &[&str]) -> Result<Self> {
        let mut flags = Self::default();
        let (pass_on, takes_name) = (allowed.contains(&"…"), allowed.contains(&NAME));
        while let Some(argument) = parser.next()? {
            match argument {
                Long(name) if allowed.contains(&name) => {
                    let name = name.to_owned();
                    flags.set(&name, &mut parser)?;
                }
                Long(name) if pass_on => {
                    flags.rest.push(format!("--{name}"));
                    flags.rest.extend(parser.optional_value().map(OsStringExt::lossy));
                }
                Value(word) if takes_name && flags.name.is_none() && flags.rest.is_empty() => {
                    flags.name = Some(word.string()?);
                }
                Value(word) if pass_on => flags.rest.push(word.string()?),
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(flags)
    }

    fn set(&mut self, name: &str, parser: &mut lexopt::Parser) -> Result<()> {
        let list = |parser: &mut lexopt::Parser| -> Result<Vec<String>> {
            Ok(parser.value()?.string()?.split(',').map(str::to_owned).collect())
        };
        match name {
            "keep-going" => self.keep_going = true,
            "with-peers" => self.with_peers = true,
            "bless" => self.bless = true,
            "cost" => self.cost = true,
            "pictures" => self.pictures = true,
            "without" => {
                self.without.extend(list(parser)?);
                if let Some(word) = self
                    .without
                    .iter()
                    .find(|word| !["chrome", "postgres"].contains(&word.as_str()))
                {
                    bail!("--without takes chrome and postgres, not `{word}`");
                }
            }
            "only" => self.only.extend(list(parser)?),
            "preemptions" => self.preemptions = Some(parser.value()?.parse()?),
            "repository" => self.repository = Some(parser.value()?.string()?),
            "baseline" => self.baseline = Some(parser.value()?.string()?),
            "test" => self.test = Some(parser.value()?.string()?),
            other => bail!("--{other} is allowed here but nobody reads it"),
        }
        Ok(())
    }

    /// Whether a package, given by folder, package name or area, was asked for.
    pub fn wants(&self, package: &crate::workspace::Package) -> bool {
        self.name.as_deref().is_none_or(|name| package.answers_to(name))
    }
}

/// `OsString` to `String`, for flags that are only passed on.
trait OsStringExt {
    fn lossy(self) -> String;
}

impl OsStringExt for std::ffi::OsString {
    fn lossy(self) -> String {
        self.to_string_lossy().into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(words: &[&str], allowed: &[&str]) -> Result<Flags> {
        Flags::parse(lexopt::Parser::from_args(words), allowed)
    }

    #[test]
    fn an_unknown_flag_is_refused_where_nothing_is_passed_on() {
        assert!(flags(&["--bogus"], &["bless"]).is_err());
        let passed_on = flags(&["proc", "--minutes", "3"], &[NAME, "…"]).unwrap();
        assert_eq!(
            (passed_on.name.as_deref(), passed_on.rest.join(" ")),
            (Some("proc"), "--minutes 3".into())
        );
    }

    #[test]
    fn a_word_that_nobody_reads_is_refused() {
        assert!(flags(&["nonsense"], &["bless"]).is_err());
        assert_eq!(flags(&["proc"], &[NAME]).unwrap().name.as_deref(), Some("proc"));
    }

    #[test]
    fn without_names_only_what_can_be_left_out() {
        assert!(flags(&["--without", "chrome,kitchen"], &["without"]).is_err());
        assert_eq!(flags(&["--without", "chrome"], &["without"]).unwrap().without, ["chrome"]);
    }

    #[test]
    fn every_command_has_its_line_in_the_help() {
        let help = help();
        for command in COMMANDS {
            assert!(help.contains(command.summary), "{} is missing", command.name);
        }
    }
}
