//! `lastout completions`: scripts for three shells, from the table of commands.

use crate::answer::{Answer, Failed};
use crate::commands::{ALL, Command, Opt, SHELLS, Value};
use crate::words::Words;
use std::collections::BTreeMap;

pub(crate) fn main(words: &Words) -> Result<Answer, Failed> {
    match words.texts("completions")? {
        ["bash"] => Answer::say(bash()),
        ["zsh"] => Answer::say(zsh()),
        ["fish"] => Answer::say(fish()),
        [other] => Err(Failed::usage(format!("{other:?} is none of {}", SHELLS.join(", ")))),
    }
}

/// The words that may follow the name of a command, and what each is about.
fn verbs() -> BTreeMap<&'static str, Vec<(&'static str, &'static str)>> {
    let mut verbs = BTreeMap::<_, Vec<_>>::new();
    for command in ALL {
        let Some((first, second)) = command.name.split_once(' ') else { continue };
        verbs.entry(first).or_default().push((second, command.about));
    }
    let shells = SHELLS.iter().map(|shell| (*shell, "for this shell"));
    verbs.insert("completions", shells.collect());
    let first = firsts().into_iter().filter(|it| it.0 != "help");
    verbs.insert("help", first.collect());
    verbs
}

/// The first words of all commands, each once.
fn firsts() -> Vec<(&'static str, &'static str)> {
    let mut firsts: Vec<(&str, &str)> = Vec::new();
    for command in ALL {
        let first = command.name.split(' ').next().unwrap_or_default();
        let about = if command.name == first { command.about } else { GROUP };
        if firsts.iter().all(|it| it.0 != first) {
            firsts.push((first, about));
        }
    }
    firsts
}

/// What a first word is about that is no command by itself.
const GROUP: &str = "looks into a job store, and gives orders";

/// All options that have such a value, each once.
fn options_with(is: impl Fn(Value) -> bool) -> Vec<&'static Opt> {
    let mut options: Vec<&Opt> = Vec::new();
    for option in ALL.iter().flat_map(Command::options).filter(|option| is(option.value)) {
        if options.iter().all(|it| it.name != option.name) {
            options.push(option);
        }
    }
    options
}

fn flags(command: &Command) -> String {
    let flags: Vec<_> = command.options().map(|option| format!("--{}", option.name)).collect();
    flags.join(" ")
}

fn names(words: &[(&str, &str)]) -> String {
    words.iter().map(|word| word.0).collect::<Vec<_>>().join(" ")
}

/// One function; after the program of `run`, and where nothing is known, files are offered.
fn bash() -> String {
    let mut script = String::from(
        "# Completions of lastout for bash.\n_lastout() {\n    \
         local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words=\n    \
         COMPREPLY=()\n    case $before in\n",
    );
    let files = options_with(|value| matches!(value, Value::File(_)));
    let names_of = |options: &[&Opt]| {
        let names: Vec<_> = options.iter().map(|option| format!("--{}", option.name)).collect();
        names.join("|")
    };
    script.push_str(&format!(
        "        {}) COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n",
        names_of(&files)
    ));
    for option in options_with(|value| matches!(value, Value::Word(..))) {
        if let Value::Word(_, words) = option.value {
            let words = words.join(" ");
            script.push_str(&format!(
                "        --{}) COMPREPLY=($(compgen -W \"{words}\" -- \"$word\")); return ;;\n",
                option.name
            ));
        }
    }
    let texts = options_with(|value| matches!(value, Value::Text(_)));
    script.push_str(&format!("        {}) return ;;\n    esac\n", names_of(&texts)));
    script.push_str(&format!(
        "    if [ \"$COMP_CWORD\" -eq 1 ]; then words=\"{}\"; fi\n",
        names(&firsts())
    ));
    script.push_str("    if [ \"$COMP_CWORD\" -eq 2 ]; then\n        case ${COMP_WORDS[1]} in\n");
    for (first, verbs) in verbs() {
        script.push_str(&format!("            {first}) words=\"{}\" ;;\n", names(&verbs)));
    }
    script.push_str("        esac\n    fi\n    if [[ $word == -* ]]; then\n        case \"${COMP_WORDS[1]} ${COMP_WORDS[2]}\" in\n");
    // The longer names first: the shorter ones would take theirs.
    let mut commands: Vec<&Command> = ALL.iter().collect();
    commands.sort_by_key(|command| !command.name.contains(' '));
    for command in commands {
        let pattern = match command.name.split_once(' ') {
            Some(_) => format!("\"{}\"", command.name),
            None => format!("\"{} \"*", command.name),
        };
        script.push_str(&format!("            {pattern}) words=\"{}\" ;;\n", flags(command)));
    }
    script.push_str(
        "        esac\n    fi\n    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n}\n\
         complete -o default -F _lastout lastout",
    );
    script
}

fn zsh() -> String {
    let mut script = String::from(
        "#compdef lastout\n# Completions of lastout for zsh.\n_lastout() {\n    local -a offers\n    \
         case $words[CURRENT-1] in\n",
    );
    for option in options_with(|value| !matches!(value, Value::None)) {
        let name = option.name;
        script.push_str(&match option.value {
            Value::File(_) => format!("        --{name}) _files; return ;;\n"),
            Value::Word(_, words) => {
                format!("        --{name}) compadd -- {}; return ;;\n", words.join(" "))
            }
            _ => format!("        --{name}) return ;;\n"),
        });
    }
    script.push_str("    esac\n");
    let offers = |words: &[(&str, &str)]| {
        let offers: Vec<_> =
            words.iter().map(|(word, about)| quoted(&described(word, about))).collect();
        offers.join(" ")
    };
    script.push_str(&format!(
        "    if (( CURRENT == 2 )); then\n        offers=({})\n",
        offers(&firsts())
    ));
    script.push_str(
        "    elif [[ $words[CURRENT] == -* ]]; then\n        case \"$words[2] $words[3]\" in\n",
    );
    let mut commands: Vec<&Command> = ALL.iter().collect();
    commands.sort_by_key(|command| !command.name.contains(' '));
    for command in commands {
        let options: Vec<_> = command
            .options()
            .map(|option| quoted(&described(&format!("--{}", option.name), option.about)))
            .collect();
        let pattern = match command.name.split_once(' ') {
            Some(_) => format!("\"{}\"", command.name),
            None => format!("\"{} \"*", command.name),
        };
        script.push_str(&format!("            {pattern}) offers=({}) ;;\n", options.join(" ")));
    }
    script.push_str("        esac\n    elif (( CURRENT == 3 )); then\n        case $words[2] in\n");
    for (first, verbs) in verbs() {
        script.push_str(&format!("            {first}) offers=({}) ;;\n", offers(&verbs)));
    }
    script.push_str(
        "        esac\n    fi\n    if (( $#offers )); then\n        _describe lastout offers\n    \
         else\n        _files\n    fi\n}\nif [[ $zsh_eval_context[-1] == loadautofunc ]]; then\n    \
         _lastout \"$@\"\nelse\n    compdef _lastout lastout\nfi",
    );
    script
}

/// A word with what it is about, as `_describe` reads it.
fn described(word: &str, about: &str) -> String {
    format!("{word}:{}", about.replace(':', "\\:"))
}

fn fish() -> String {
    let mut script = String::from(
        "# Completions of lastout for fish.\ncomplete -c lastout -n __fish_use_subcommand -f\n",
    );
    for (first, about) in firsts() {
        script.push_str(&format!(
            "complete -c lastout -n __fish_use_subcommand -a {first} -d {}\n",
            quoted(about)
        ));
    }
    for (first, verbs) in verbs() {
        for (second, about) in verbs {
            script.push_str(&format!(
                "complete -c lastout -f -n 'test (count (commandline -opc)) -eq 2; and \
                 __fish_seen_subcommand_from {first}' -a {second} -d {}\n",
                quoted(about)
            ));
        }
    }
    for command in ALL {
        let seen: Vec<_> = command
            .name
            .split(' ')
            .map(|word| format!("__fish_seen_subcommand_from {word}"))
            .collect();
        for option in command.options() {
            let value = match option.value {
                Value::None => String::new(),
                Value::File(_) => " -r -F".to_owned(),
                Value::Text(_) => " -x".to_owned(),
                Value::Word(_, words) => format!(" -x -a {}", quoted(&words.join(" "))),
            };
            script.push_str(&format!(
                "complete -c lastout -n '{}' -l {}{value} -d {}\n",
                seen.join("; and "),
                option.name,
                quoted(option.about)
            ));
        }
    }
    script.trim_end().to_owned()
}

/// A word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
