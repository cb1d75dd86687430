//! The few flags that every peer binary takes.

use std::path::PathBuf;

/// What the command line asked for.
#[derive(Debug, Default)]
pub(crate) struct Args {
    pub(crate) rounds: Option<usize>,
    pub(crate) case: Option<String>,
    pub(crate) out: Option<PathBuf>,
    pub(crate) list: bool,
    /// Runs one variant of one case once and prints its value: how isolated cases measure.
    pub(crate) one: Option<(String, String)>,
}

impl Args {
    /// Reads the process's arguments; the error is a sentence for the terminal.
    pub(crate) fn from_env() -> Result<Self, String> {
        let mut args = Self::default();
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = |name: &str| words.next().ok_or(format!("{name} needs a value"));
            match word.as_str() {
                "--rounds" => {
                    let text = value("--rounds")?;
                    let rounds = text.parse().map_err(|_| format!("--rounds {text}: no number"))?;
                    if rounds == 0 {
                        return Err("--rounds must be at least 1".into());
                    }
                    args.rounds = Some(rounds);
                }
                "--case" => args.case = Some(value("--case")?),
                "--out" => args.out = Some(value("--out")?.into()),
                "--quick" => args.rounds = Some(1),
                "--list" => args.list = true,
                "--one" => args.one = Some((value("--one")?, value("--one")?)),
                other => return Err(format!("unknown argument {other}")),
            }
        }
        Ok(args)
    }
}
