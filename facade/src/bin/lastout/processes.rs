//! `lastout ps`: processes with everything that descends from them.

use crate::answer::{Answer, Failed};
use lastout::proc_tree::{Process, Snapshot, snapshot};
use serde_json::json;
use std::ffi::OsString;

pub(crate) fn main(words: Vec<OsString>) -> Result<Answer, Failed> {
    let (pids, as_json) = parse(words).map_err(|error| Failed::usage(error.to_string()))?;
    if pids.is_empty() {
        return Err(Failed::usage("ps: which process? Its number is missing"));
    }
    let mut found: Vec<Process> = Vec::new();
    for pid in pids {
        let tree = snapshot(pid)
            .map_err(|error| Failed::new(format_args!("look at process {pid}"), &error))?;
        found.extend_from_slice(Snapshot::processes(&tree));
    }
    if as_json {
        return Answer::json(&found.iter().map(value).collect());
    }
    Answer::table(&["pid", "parent", "group", "state", "name"], found.iter().map(row).collect())
}

fn parse(words: Vec<OsString>) -> Result<(Vec<u32>, bool), lexopt::Error> {
    use lexopt::prelude::*;
    let (mut pids, mut as_json) = (Vec::new(), false);
    let mut parser = lexopt::Parser::from_args(words);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("json") => as_json = true,
            Value(pid) => pids.push(pid.parse()?),
            other => return Err(other.unexpected()),
        }
    }
    Ok((pids, as_json))
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
