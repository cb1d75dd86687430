//! `lastout ps`: processes with everything that descends from them.

use crate::answer::{Answer, Failed};
use crate::words::Words;
use lastout::proc_tree::{Process, Snapshot, snapshot};
use serde_json::json;
use std::io::ErrorKind;

pub(crate) fn main(words: &Words) -> Result<Answer, Failed> {
    let pids = words.list()?;
    if pids.is_empty() {
        return Err(Failed::usage("ps: which process? Its number is missing"));
    }
    let mut found: Vec<Process> = Vec::new();
    for pid in pids {
        let number = pid
            .parse()
            .map_err(|_| Failed::usage(format!("{pid:?} is not the number of a process")))?;
        let tree = snapshot(number).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Failed::text(format!("there is no process {pid}")),
            _ => Failed::new(format_args!("look at process {pid}"), &error),
        })?;
        found.extend_from_slice(Snapshot::processes(&tree));
    }
    if words.json() {
        return Answer::json(&found.iter().map(value).collect());
    }
    Answer::table(&["pid", "parent", "group", "state", "name"], found.iter().map(row).collect())
}

fn row(process: &Process) -> Vec<String> {
    let Process { pid, parent, group, state, depth, .. } = process;
    let name = format!("{:indent$}{}", "", process.name, indent = depth * 2);
    vec![pid.to_string(), parent.to_string(), group.to_string(), state.to_string(), name]
}

fn value(process: &Process) -> serde_json::Value {
    let Process { pid, parent, group, session, state, name, depth, .. } = process;
    json!({
        "pid": pid, "parent": parent, "group": group, "session": session,
        "state": state.to_string(), "name": name, "depth": depth,
    })
}
