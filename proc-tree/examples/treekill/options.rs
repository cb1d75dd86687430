//! What the command line says.

use lastout_proc_tree::{Limits, Pid, Signal};
use std::ffi::OsString;
use std::time::Duration;

pub(crate) const USAGE: &str = "\
usage: treekill [OPTION…] [--] COMMAND [ARGUMENT…]
       treekill [OPTION…] PID…

  --timeout TIME   end the tree after this time; 0 is none
  --grace TIME     kill what is left this long after it was asked to end (2s)
  --signal NAME    ask with this signal: TERM, INT, HUP, QUIT, USR1, USR2, or a number (TERM)
  --memory SIZE    memory for the whole tree, such as 512M or 2G
  --tasks COUNT    processes and threads for the whole tree
  --cpus COUNT     processors for the whole tree, such as 1.5
  --foreground     stay in the process group of the terminal, to read from it
  --usage          at the end, print what the tree has used
  --help           print this

TIME is in seconds, or ends with s, m, h or d. SIZE is in bytes, or ends with K, M, G or T.";

/// The options that are followed by a value.
const WITH_VALUE: [&str; 6] = ["--timeout", "--grace", "--signal", "--memory", "--tasks", "--cpus"];

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Job {
    Help,
    Run(Vec<OsString>),
    End(Vec<Pid>),
}

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) job: Job,
    pub(crate) timeout: Option<Duration>,
    pub(crate) grace: Duration,
    pub(crate) signal: Signal,
    pub(crate) limits: Limits,
    pub(crate) foreground: bool,
    pub(crate) usage: bool,
}

impl Options {
    /// The error is a sentence for the terminal.
    pub(crate) fn parse(words: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let mut options = Self {
            job: Job::Help,
            timeout: None,
            grace: Duration::from_secs(2),
            signal: Signal::TERM,
            limits: Limits::new(),
            foreground: false,
            usage: false,
        };
        let mut words = words.peekable();
        while let Some(word) = words.next_if(|word| word.as_encoded_bytes().starts_with(b"--")) {
            let word = text(word)?;
            if word == "--" {
                let command: Vec<_> = words.collect();
                if command.is_empty() {
                    return Err("no command is given".into());
                }
                options.job = Job::Run(command);
                return Ok(options);
            }
            if word == "--help" {
                return Ok(options);
            }
            match word.as_str() {
                "--foreground" => options.foreground = true,
                "--usage" => options.usage = true,
                _ => {
                    let (name, value) = match word.split_once('=') {
                        Some((name, value)) => (name, Some(value.to_owned())),
                        None => (word.as_str(), None),
                    };
                    if !WITH_VALUE.contains(&name) {
                        return Err(format!("{name} is no option"));
                    }
                    let value = match value {
                        Some(value) => value,
                        None => text(words.next().ok_or_else(|| format!("{name} needs a value"))?)?,
                    };
                    options.set(name, &value)?;
                }
            }
        }
        let rest: Vec<_> = words.collect();
        let pids: Option<Vec<Pid>> = rest.iter().map(|word| word.to_str()?.parse().ok()).collect();
        options.job = match pids {
            _ if rest.is_empty() => return Err("neither a command nor a pid is given".into()),
            Some(pids) => Job::End(pids),
            None => Job::Run(rest),
        };
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let wrong = || format!("{name} {value:?} is not understood");
        match name {
            "--timeout" => {
                let time = time(value).ok_or_else(wrong)?;
                self.timeout = Some(time).filter(|time| !time.is_zero());
            }
            "--grace" => self.grace = time(value).ok_or_else(wrong)?,
            "--signal" => self.signal = signal(value).ok_or_else(wrong)?,
            "--memory" => self.limits = self.limits.memory(size(value).ok_or_else(wrong)?),
            "--tasks" => self.limits = self.limits.tasks(value.parse().map_err(|_| wrong())?),
            "--cpus" => self.limits = self.limits.milli_cpus(thousandths(value).ok_or_else(wrong)?),
            _ => return Err(wrong()),
        }
        Ok(())
    }
}

/// An option or its value. Only the words of a command may be what is no text.
fn text(word: OsString) -> Result<String, String> {
    word.into_string().map_err(|word| format!("{word:?} is no text"))
}

fn time(text: &str) -> Option<Duration> {
    let (number, unit) = split(text);
    let factor = match unit {
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    let seconds = number.parse::<f64>().ok().filter(|number| number.is_finite())?;
    // More than the clock can hold is for ever.
    if seconds < 0.0 {
        return None;
    }
    Some(Duration::try_from_secs_f64(seconds * factor).unwrap_or(Duration::MAX))
}

fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text);
    let shift = match unit {
        "" => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        "T" | "t" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn thousandths(text: &str) -> Option<u32> {
    let count = text.parse::<f64>().ok().filter(|count| count.is_finite() && *count >= 0.0)?;
    let thousandths = (count * 1_000.0).round();
    (thousandths <= f64::from(u32::MAX)).then_some(thousandths as u32)
}

fn split(text: &str) -> (&str, &str) {
    let end = text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len());
    text.split_at(end)
}

fn signal(text: &str) -> Option<Signal> {
    let known = [
        ("TERM", Signal::TERM),
        ("INT", Signal::INT),
        ("HUP", Signal::HUP),
        ("QUIT", Signal::QUIT),
        ("USR1", Signal::USR1),
        ("USR2", Signal::USR2),
    ];
    let name = text.strip_prefix("SIG").unwrap_or(text);
    let named = known.into_iter().find(|(known, _)| *known == name).map(|(_, signal)| signal);
    named.or_else(|| Signal::from_raw(text.parse().ok()?))
}
