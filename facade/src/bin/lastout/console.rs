//! `lastout console`: the page of the library over a store, served until a signal comes.

use crate::answer::{self, Answer, Failed};
use crate::store::{Missing, block_on, open, shown};
use crate::words::Words;
use lastout::Supervisor;
use lastout::console::Console;
use std::sync::Arc;

/// Where it listens unless it is told.
const ADDRESS: &str = "127.0.0.1:7431";

pub(crate) fn main(words: &Words) -> Result<Answer, Failed> {
    let address = words.option("listen")?.unwrap_or(ADDRESS);
    let store = shown(words)?;
    let mut console = Console::builder(words.option("name")?.unwrap_or(&store));
    if words.has("allow-orders") {
        console = console.allow_orders();
    }
    if words.has("payloads") {
        console = console.payloads(|job| String::from_utf8_lossy(&job.payload).into_owned());
    }
    if let Some(host) = words.option("host")? {
        console = console.host(host);
    }
    if let Some(path) = words.option("token-file")? {
        let token = std::fs::read_to_string(path)
            .map_err(|error| Failed::new(format_args!("read the token in {path}"), &error))?;
        console = console.token(token.trim());
    }
    block_on(async {
        let driver = open(words, Missing::Refuse).await?;
        let console = console.store(Arc::clone(driver.registry())).build();
        let console = console.map_err(|error| Failed::usage(error.to_string()))?;
        let server = console.listen(address).await;
        let server = server.map_err(|error| Failed::text(answer::chain(&error)))?;
        let url = format!("http://{}/", server.address());
        let supervisor = Supervisor::builder().until_signal().member("console", server).build();
        let supervisor = supervisor.map_err(|error| Failed::new("the console", &error))?;
        answer::print(&url, "").map_err(|error| Failed::new("print the address", &error))?;
        let report = supervisor.run().await;
        match report.is_clean() {
            true => Answer::say(""),
            false => Err(Failed::text(report.to_string())),
        }
    })
}
