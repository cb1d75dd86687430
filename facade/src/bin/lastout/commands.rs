//! Every command with its words and options: the help, the completions, the manual and the parser read
//! this one table.

/// One command.
#[derive(Debug)]
pub(crate) struct Command {
    /// Its one or two words.
    pub(crate) name: &'static str,
    /// What follows them, as the help shows it.
    pub(crate) arguments: &'static str,
    pub(crate) about: &'static str,
    pub(crate) options: &'static [&'static [Opt]],
}

/// One option of a command.
#[derive(Debug)]
pub(crate) struct Opt {
    pub(crate) name: &'static str,
    pub(crate) value: Value,
    pub(crate) about: &'static str,
}

/// What follows an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value {
    /// Nothing: it is a flag.
    None,
    /// A text, by this name.
    Text(&'static str),
    /// The path of a file, by this name.
    File(&'static str),
    /// One of these words.
    Word(&'static str, &'static [&'static str]),
}

use Value::{File, None as Flag, Text, Word};

const fn opt(name: &'static str, value: Value, about: &'static str) -> Opt {
    Opt { name, value, about }
}

pub(crate) const STATES: &[&str] = &[
    "scheduled",
    "held",
    "ready",
    "running",
    "succeeded",
    "failed",
    "dead",
    "cancelled",
    "abandoned",
    "unreadable",
];
pub(crate) const SHELLS: &[&str] = &["bash", "zsh", "fish"];
pub(crate) const WAITS: &[&str] = &["dom", "load", "idle"];

const JSON: &[Opt] = &[opt("json", Flag, "answers in JSON")];
const STORE: &[Opt] = &[
    opt("store", File("STORE"), "a SQLite file or a PostgreSQL address, instead of LASTOUT_STORE"),
    opt("json", Flag, "answers in JSON"),
];
const FILTER: &[Opt] = &[
    opt("queue", Text("QUEUE"), "only jobs of this queue"),
    opt("kind", Text("KIND"), "only jobs of this kind"),
    opt("state", Word("STATE", STATES), "only jobs in this state"),
    opt("error", Text("TEXT"), "only jobs whose error holds this text"),
    opt("worker", Text("WORKER"), "only jobs that this worker holds or held last"),
    opt("since", Text("TIME"), "only jobs of which something happened in this last time"),
];
const MANY: &[Opt] = &[
    opt("all", Flag, "takes all jobs, without a filter"),
    opt("limit", Text("N"), "at most so many jobs that match (1000)"),
    opt("dry-run", Flag, "says how many jobs match, and does nothing"),
    opt("yes", Flag, "does not ask"),
];
const ROOT: &[Opt] = &[opt(
    "root",
    File("DIRECTORY"),
    "where the browsers of the program are, instead of the default",
)];
const ABOUT_ORDERS: &str = "; without numbers, those that match the options";

/// All of them, in the order of the help.
pub(crate) const ALL: &[Command] = &[
    Command {
        name: "run",
        arguments: "[--] PROGRAM [ARGUMENT…]",
        about: "runs a program of which nothing survives",
        options: &[&[
            opt("timeout", Text("TIME"), "ends the tree when this time is over"),
            opt("grace", Text("TIME"), "how long it may take to end when it is asked to (2s)"),
            opt("memory", Text("SIZE"), "limits the memory of the whole tree"),
            opt("processes", Text("N"), "limits its processes and threads"),
            opt("keep-output", File("FILE"), "writes stdout and stderr to this new file"),
            opt("usage", Flag, "prints what the whole tree used to stderr"),
            opt("json", Flag, "prints the report as JSON to stderr"),
        ]],
    },
    Command {
        name: "ps",
        arguments: "PID…",
        about: "shows processes with everything that descends from them",
        options: &[JSON],
    },
    Command {
        name: "jobs enqueue",
        arguments: "KIND [JSON|-]",
        about: "adds a job and says its number; - reads the payload from stdin",
        options: &[
            &[
                opt("queue", Text("QUEUE"), "the queue"),
                opt("priority", Text("N"), "higher goes first (0)"),
                opt("delay", Text("TIME"), "not due before this time is over"),
                opt("timeout", Text("TIME"), "the longest time of one attempt"),
                opt("attempts", Text("N"), "how many attempts may fail"),
                opt("unique", Text("KEY"), "not while another job has this key"),
            ],
            STORE,
        ],
    },
    Command {
        name: "jobs list",
        arguments: "",
        about: "lists jobs, the newest first",
        options: &[
            FILTER,
            &[
                opt("limit", Text("N"), "at most so many (20)"),
                opt("after", Text("ID"), "goes on after this job"),
            ],
            STORE,
        ],
    },
    Command {
        name: "jobs show",
        arguments: "ID",
        about: "shows one job with its attempts",
        options: &[STORE],
    },
    Command {
        name: "jobs wait",
        arguments: "ID",
        about: "waits until a job has ended; 1 if it did not succeed",
        options: &[&[opt("timeout", Text("TIME"), "at most so long (1h)")], STORE],
    },
    Command {
        name: "jobs cancel",
        arguments: "[ID…]",
        about: "ends jobs that wait, and asks those that run to end",
        options: &[FILTER, MANY, STORE],
    },
    Command {
        name: "jobs retry",
        arguments: "[ID…]",
        about: "runs jobs that have ended once more",
        options: &[FILTER, MANY, STORE],
    },
    Command {
        name: "jobs run-now",
        arguments: "[ID…]",
        about: "makes scheduled jobs due",
        options: &[FILTER, MANY, STORE],
    },
    Command {
        name: "jobs delete",
        arguments: "[ID…]",
        about: "deletes jobs that have ended",
        options: &[FILTER, MANY, STORE],
    },
    Command {
        name: "jobs abandon",
        arguments: "[ID…]",
        about: "writes down that jobs will not be finished",
        options: &[&[opt("reason", Text("TEXT"), "why")], FILTER, MANY, STORE],
    },
    Command {
        name: "jobs pause",
        arguments: "QUEUE",
        about: "starts no more jobs of a queue",
        options: &[&[opt("by", Text("NAME"), "who pauses it")], STORE],
    },
    Command {
        name: "jobs resume",
        arguments: "QUEUE",
        about: "starts jobs of a paused queue again",
        options: &[STORE],
    },
    Command {
        name: "jobs stats",
        arguments: "",
        about: "counts the jobs of each queue and state",
        options: &[&[opt("prometheus", Flag, "answers in the text format of Prometheus")], STORE],
    },
    Command {
        name: "jobs top",
        arguments: "",
        about: "shows the queues again and again",
        options: &[
            &[
                opt("every", Text("TIME"), "how often (2s)"),
                opt("times", Text("N"), "ends after so many looks"),
            ],
            STORE,
        ],
    },
    Command {
        name: "jobs prune",
        arguments: "",
        about: "deletes jobs that have ended long ago",
        options: &[
            &[
                opt("older", Text("TIME"), "those that ended before this time"),
                opt(
                    "unhappy",
                    Text("TIME"),
                    "another time for jobs that failed, died or were abandoned",
                ),
            ],
            STORE,
        ],
    },
    Command {
        name: "jobs migrate",
        arguments: "",
        about: "makes the tables of a store, or brings them up to date",
        options: &[STORE],
    },
    Command {
        name: "jobs doctor",
        arguments: "",
        about: "looks for faults in a store and on this machine; 1 if there are any",
        options: &[STORE],
    },
    Command { name: "queues", arguments: "[list]", about: "lists the queues", options: &[STORE] },
    Command {
        name: "queues pause",
        arguments: "QUEUE",
        about: "starts no more jobs of a queue",
        options: &[&[opt("by", Text("NAME"), "who pauses it")], STORE],
    },
    Command {
        name: "queues resume",
        arguments: "QUEUE",
        about: "starts jobs of a paused queue again",
        options: &[STORE],
    },
    Command {
        name: "queues limit",
        arguments: "QUEUE N|none",
        about: "how many jobs of a queue run at once, over all workers",
        options: &[STORE],
    },
    Command {
        name: "queues rate",
        arguments: "QUEUE N/TIME|none",
        about: "how often jobs of a queue start, over all workers",
        options: &[
            &[
                opt("burst", Text("N"), "at most so many at once after a quiet time (N)"),
                opt("key", Flag, "QUEUE is a limit key, of jobs in whatever queues"),
            ],
            STORE,
        ],
    },
    Command {
        name: "queues rates",
        arguments: "",
        about: "lists the rates of queues and of limit keys",
        options: &[STORE],
    },
    Command { name: "workers", arguments: "", about: "lists the workers", options: &[STORE] },
    Command {
        name: "cron",
        arguments: "[list]",
        about: "lists the periodic jobs",
        options: &[STORE],
    },
    Command {
        name: "cron fire",
        arguments: "NAME",
        about: "enqueues a periodic job once more, now; its next time stays",
        options: &[STORE],
    },
    Command {
        name: "cron pause",
        arguments: "NAME",
        about: "enqueues a periodic job no more",
        options: &[&[opt("by", Text("NAME"), "who pauses it")], STORE],
    },
    Command {
        name: "cron resume",
        arguments: "NAME",
        about: "enqueues a paused periodic job again, from its next time on",
        options: &[STORE],
    },
    Command {
        name: "cron drop",
        arguments: "NAME",
        about: "forgets a periodic job",
        options: &[STORE],
    },
    Command {
        name: "browsers",
        arguments: "[list]",
        about: "lists the programs of this user that have browsers, the living and the dead",
        options: &[ROOT, JSON],
    },
    Command {
        name: "browsers sweep",
        arguments: "",
        about: "ends what dead programs left: browsers and their directories",
        options: &[&[opt("dry-run", Flag, "says what it would sweep")], ROOT, JSON],
    },
    Command {
        name: "browsers capture",
        arguments: "URL FILE",
        about: "writes a page to a new file, .png or .pdf",
        options: &[
            &[
                opt("window", Text("WIDTHxHEIGHT"), "the size of the window (1280x720)"),
                opt("full-page", Flag, "all of the page, not only the window"),
                opt("wait", Word("UNTIL", WAITS), "how far the page must be (load)"),
                opt("timeout", Text("TIME"), "the longest time for all of it (1m)"),
                opt("executable", File("FILE"), "this browser, instead of the first that is found"),
                opt("no-sandbox", Flag, "as root, and for pages that you trust only"),
            ],
            ROOT,
        ],
    },
    Command {
        name: "console",
        arguments: "",
        about: "serves a page over a store until it is told to end",
        options: &[
            &[
                opt("listen", Text("ADDRESS"), "where (127.0.0.1:7431)"),
                opt("name", Text("NAME"), "the name on the page"),
                opt("allow-orders", Flag, "takes orders; without it the page is read-only"),
                opt("token-file", File("FILE"), "asks for the token in this file"),
                opt("host", Text("NAME"), "answers to this name as well"),
                opt("payloads", Flag, "shows the payloads of jobs"),
            ],
            STORE,
        ],
    },
    Command {
        name: "completions",
        arguments: "bash|zsh|fish",
        about: "prints the completions for a shell",
        options: &[],
    },
    Command { name: "man", arguments: "", about: "prints the manual page", options: &[] },
    Command { name: "help", arguments: "[COMMAND]", about: "says what there is", options: &[] },
    Command { name: "version", arguments: "", about: "prints the version", options: &[] },
];

impl Command {
    pub(crate) fn options(&self) -> impl Iterator<Item = &'static Opt> {
        self.options.iter().copied().flatten()
    }

    /// What it is about; an order may take many jobs.
    pub(crate) fn summary(&self) -> String {
        let takes_many = self.options().any(|option| option.name == "all");
        format!("{}{}", self.about, if takes_many { ABOUT_ORDERS } else { "" })
    }
}

impl Opt {
    /// With its value, as the help shows it.
    pub(crate) fn shown(&self) -> String {
        match self.value {
            Value::None => format!("--{}", self.name),
            Text(value) | File(value) | Word(value, _) => format!("--{} {value}", self.name),
        }
    }
}

/// The command that the first words name, and how many words that takes. A second word that is none of its
/// commands is left to it.
pub(crate) fn find(first: &str, second: Option<&str>) -> Option<(&'static Command, usize)> {
    let both = second.map(|second| format!("{first} {second}"));
    let long = ALL.iter().find(|command| Some(command.name) == both.as_deref());
    let short = || ALL.iter().find(|command| command.name == first).map(|it| (it, 1));
    long.map(|command| (command, 2)).or_else(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_states_are_those_of_the_store() {
        let states = lastout::work_runner::State::ALL;
        assert_eq!(states.len(), STATES.len());
        assert!(states.iter().all(|state| STATES.contains(&state.name())));
    }
}
