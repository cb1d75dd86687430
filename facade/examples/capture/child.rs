//! The worker process, as the demo starts it.

use crate::hub::Hub;
use lastout::output_stream::{Channel, Process};
use lastout::supervisor::Failure;
use std::process::Command;
use std::sync::Arc;

/// Starts this program again, as a worker, and hears what it prints. Its whole tree, browsers and all,
/// ends with this process even when this one is killed.
pub(crate) fn start(args: &[String], hub: &Arc<Hub>) -> Result<Process, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(args);
    let told = Arc::clone(hub);
    let process = Process::builder(command)
        .own_group()
        .on_line(move |channel, line| match channel {
            Channel::Out => told.line(&line.text()),
            Channel::Err => told.complaint(&line.text()),
        })
        .spawn()?;
    hub.started(process.id(), &process.tree().guarantee().to_string());
    Ok(process)
}
