//! Reads the words of a command by the table of commands.

use crate::answer::Failed;
use crate::commands::{Command, Value};
use crate::measure;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

/// The words of one command.
#[derive(Debug, Default)]
pub(crate) struct Words {
    pub(crate) values: Vec<OsString>,
    options: BTreeMap<&'static str, OsString>,
    flags: Vec<&'static str>,
    /// The help is asked for, and nothing after that was read.
    pub(crate) asks_for_help: bool,
}

impl Words {
    /// Reads the words that follow the name of `command`. An option that it does not have is refused, and so
    /// is an empty word: it comes from a variable that is not set. With `of_a_program`, what follows the first
    /// value belongs to that value.
    pub(crate) fn parse(
        command: &Command,
        words: impl IntoIterator<Item = OsString>,
        of_a_program: bool,
    ) -> Result<Self, Failed> {
        let usage = |error: lexopt::Error| Failed::usage(format!("{}: {error}", command.name));
        let mut parser = lexopt::Parser::from_args(words);
        let mut read = Self::default();
        while let Some(argument) = parser.next().map_err(usage)? {
            match argument {
                lexopt::Arg::Long("help") | lexopt::Arg::Short('h') => {
                    read.asks_for_help = true;
                    return Ok(read);
                }
                lexopt::Arg::Long(name) => {
                    let Some(option) = command.options().find(|option| option.name == name) else {
                        return Err(usage(lexopt::Arg::Long(name).unexpected()));
                    };
                    let is_new = match option.value {
                        Value::None => {
                            read.flags.push(option.name);
                            true
                        }
                        _ => {
                            let value = parser.value().map_err(usage)?;
                            if value.is_empty() {
                                return Err(Failed::usage(format!("--{} is empty", option.name)));
                            }
                            read.options.insert(option.name, value).is_none()
                        }
                    };
                    if !is_new {
                        return Err(Failed::usage(format!("--{} is given twice", option.name)));
                    }
                }
                lexopt::Arg::Value(value) if value.is_empty() => {
                    return Err(Failed::usage(format!("{}: a word is empty", command.name)));
                }
                lexopt::Arg::Value(value) => {
                    read.values.push(value);
                    if of_a_program {
                        read.values.extend(parser.raw_args().map_err(usage)?);
                    }
                }
                other => return Err(usage(other.unexpected())),
            }
        }
        Ok(read)
    }

    /// Exactly so many words, as text.
    pub(crate) fn texts<const N: usize>(&self, command: &str) -> Result<[&str; N], Failed> {
        let texts = self.list()?;
        <[&str; N]>::try_from(texts).map_err(|texts| {
            let count = texts.len();
            let words = if N == 1 { "one word".to_owned() } else { format!("{N} words") };
            Failed::usage(format!("{command} takes {words}, not {count}"))
        })
    }

    /// All words, as text.
    pub(crate) fn list(&self) -> Result<Vec<&str>, Failed> {
        let text = |value: &'_ OsString| value.to_str().is_some();
        match self.values.iter().all(text) {
            true => Ok(self.values.iter().filter_map(|value| value.to_str()).collect()),
            false => Err(Failed::usage("a word is not UTF-8")),
        }
    }

    pub(crate) fn has(&self, flag: &str) -> bool {
        self.flags.contains(&flag)
    }

    pub(crate) fn json(&self) -> bool {
        self.has("json")
    }

    /// The value of an option as it was given.
    pub(crate) fn raw(&self, name: &str) -> Option<&OsString> {
        self.options.get(name)
    }

    /// The value of an option as text.
    pub(crate) fn option(&self, name: &str) -> Result<Option<&str>, Failed> {
        let Some(value) = self.options.get(name) else { return Ok(None) };
        value.to_str().map(Some).ok_or_else(|| Failed::usage(format!("--{name} is not UTF-8")))
    }

    /// The value of an option as what it stands for.
    pub(crate) fn parsed<T>(
        &self,
        name: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Failed> {
        let Some(text) = self.option(name)? else { return Ok(None) };
        let refused = || Failed::usage(format!("--{name} cannot be {text:?}"));
        read(text).map(Some).ok_or_else(refused)
    }

    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Failed> {
        self.parsed(name, |text| text.parse().ok())
    }

    pub(crate) fn time(&self, name: &str) -> Result<Option<Duration>, Failed> {
        let Some(text) = self.option(name)? else { return Ok(None) };
        measure::time(text).map(Some).map_err(|why| Failed::usage(format!("--{name}: {why}")))
    }
}
