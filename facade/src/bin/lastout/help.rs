//! `lastout help`: what there is, from the table of commands, with the exit status and the units.

use crate::answer::{Answer, Failed};
use crate::commands::{ALL, Command};

/// The exit status, by number and meaning.
pub(crate) const STATUS: &[(&str, &str)] = &[
    ("0", "done"),
    ("1", "failed, or something was found"),
    ("2", "not understood"),
    ("3", "refused, or nothing to do"),
    ("4", "there is no such job"),
];

/// The exit status of `run`, beside that of the program and 128 and the signal that ended it.
pub(crate) const STATUS_OF_RUN: &[(&str, &str)] = &[
    ("120", "something was left behind; stderr names it"),
    ("124", "the time was over"),
    ("125", "lastout itself failed"),
    ("126", "PROGRAM cannot be executed"),
    ("127", "PROGRAM is not found"),
    ("128+n", "lastout got the signal n"),
    ("137", "the time was over, and the tree had to be killed"),
];

pub(crate) const UNITS: &str =
    "A TIME is a number with ms, s, m, h or d; a SIZE one with K, M, G or T (of 1024).";

/// The help for these words.
pub(crate) fn main(words: &[&str]) -> Result<Answer, Failed> {
    match help(words) {
        Some(text) => Answer::say(text),
        None => Err(Failed::usage(format!("there is no command {:?}", words.join(" ")))),
    }
}

/// What the words say, or all of it.
pub(crate) fn help(words: &[&str]) -> Option<String> {
    let asked = words.join(" ");
    let is_asked = |command: &&Command| {
        asked.is_empty()
            || command.name == asked
            || command.name.strip_prefix(&*asked).is_some_and(|rest| rest.starts_with(' '))
    };
    let commands: Vec<&Command> = ALL.iter().filter(is_asked).collect();
    if commands.is_empty() {
        return None;
    }
    let mut text = String::new();
    if asked.is_empty() {
        text.push_str("lastout COMMAND: runs programs of which nothing survives, and looks into what runs\n\n");
        for command in &commands {
            let name = format!("{} {}", command.name, command.arguments);
            text.push_str(&format!("  {:<29} {}\n", name.trim_end(), command.about));
        }
        text.push_str("\n`lastout help COMMAND` lists its options.\n\nExit status\n");
        for (code, meaning) in STATUS {
            text.push_str(&format!("  {code:<6} {meaning}\n"));
        }
        text.push_str(
            "Exit status of run: that of the program, or 128 and the signal that ended it, or\n",
        );
        for (code, meaning) in STATUS_OF_RUN {
            text.push_str(&format!("  {code:<6} {meaning}\n"));
        }
    } else {
        for command in &commands {
            let usage = format!("lastout {} {}", command.name, command.arguments);
            text.push_str(&format!("{}\n    {}\n", usage.trim_end(), command.summary()));
            for option in command.options() {
                text.push_str(&format!("      {:<26} {}\n", option.shown(), option.about));
            }
        }
    }
    text.push_str(&format!("\n{UNITS}"));
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_every_command_and_every_option() {
        let all = help(&[]).unwrap();
        for command in ALL {
            assert!(all.contains(&format!("\n  {}", command.name)), "{}", command.name);
            let own = help(&[command.name]).unwrap();
            assert!(command.options().all(|option| own.contains(&option.shown())), "{own}");
            let mut names: Vec<_> = command.options().map(|option| option.name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), command.options().count(), "{}: an option twice", command.name);
        }
        assert!(help(&["job"]).is_none() && help(&["jobs"]).unwrap().contains("jobs prune"));
        assert!(all.lines().all(|line| line.chars().count() <= 110), "{all}");
    }
}
