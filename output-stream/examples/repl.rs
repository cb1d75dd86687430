//! Drives an interactive program on a terminal of its own: waits for its prompt, types a line, reads the answer.
//!
//! ```text
//! cargo run -p lastout-output-stream --features pty --example repl
//! cargo run -p lastout-output-stream --features pty --example repl -- '>>> ' 'print(6 * 7)' -- python3 -q
//! ```
#![allow(clippy::print_stdout, reason = "it is a program")]

use lastout_output_stream::{Process, ProcessBuilder, Terminal};
use std::error::Error;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

/// A small interpreter, for those who have named none.
const SHELL: &str =
    r#"while printf '> ' && read -r line; do echo "= $(($line))"; done; echo; echo bye"#;

const WITHIN: Duration = Duration::from_secs(30);

/// The prompt, the lines to type, and the program.
fn order() -> Result<(OsString, Vec<OsString>, ProcessBuilder), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let Some(prompt) = arguments.next() else {
        let lines = ["1 + 2", "6 * 7"].map(OsString::from).to_vec();
        return Ok(("> ".into(), lines, Process::shell(SHELL)));
    };
    let lines = arguments.by_ref().take_while(|argument| argument != "--").collect();
    let program = arguments.next().ok_or("PROMPT LINE... -- PROGRAM ARGUMENT...")?;
    Ok((prompt, lines, Process::builder(program).args(arguments)))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (prompt, lines, program) = order()?;
    let mut process = program.terminal(Terminal::new(24, 80).echo(false)).spawn()?;
    let mut prompts = process.prompts()?;
    let prompt = prompt.as_bytes();
    prompts.wait_for(WITHIN, prompt).await?;
    for line in lines {
        let shown = line.to_string_lossy().into_owned();
        let stdin = process.stdin().ok_or("its input was taken")?;
        stdin.write([line.into_vec(), b"\n".to_vec()].concat()).await?;
        let answer = prompts.wait_for(WITHIN, prompt).await?;
        let answer = answer.bytes.strip_suffix(prompt).unwrap_or(&answer.bytes);
        let answer = String::from_utf8_lossy(answer).replace("\r\n", "\n");
        println!("{shown}: {}", answer.trim());
    }
    // End of file, and then whatever it says last.
    let output =
        process.wait_with_output(lastout_output_stream::Keep::tail(4096)).await?.check()?;
    let text = output.stdout.text();
    println!("last: {}", text.trim_end().lines().last().unwrap_or_default().trim());
    Ok(())
}
