//! A process is described, fed and asked in the ways that people are used to.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
#![cfg(all(feature = "process", feature = "tokio"))]

use lastout_output_stream::{
    Config, ConsumerError, Inlet, Position, Process, ProcessBuilder, Stream, SubscribeError, tree,
};
use std::error::Error;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

const LONG: Duration = Duration::from_secs(60);

async fn text(builder: ProcessBuilder) -> String {
    builder.timeout(LONG).output().await.unwrap().check().unwrap().stdout.text()
}

#[tokio::test]
async fn a_process_is_made_of_a_name_a_path_or_any_command() {
    use std::process::Command;
    assert_eq!(text(Process::builder("echo").arg("a").args(["b", "c"])).await, "a b c\n");
    assert_eq!(text(Process::builder(String::from("echo"))).await, "\n");
    assert_eq!(text(Process::builder(std::path::Path::new("/bin/echo")).arg("x")).await, "x\n");
    assert_eq!(text(Process::builder(Command::new("echo").arg("borrowed"))).await, "borrowed\n");
    let mut command = tokio::process::Command::new("echo");
    assert_eq!(text(Process::builder(command.arg("too"))).await, "too\n");
    assert_eq!(command.as_std().get_program(), "", "what it held was taken");
}

#[tokio::test]
async fn a_builder_sets_the_environment_and_the_directory() {
    let builder = Process::shell("echo $A $B $C; pwd; echo $0")
        .env("A", "1")
        .envs([("B", "2"), ("C", "3")])
        .env_remove("C")
        .current_dir("/")
        .arg("name");
    assert_eq!(text(builder).await, "1 2\n/\nname\n");
    let bare = Process::builder("/usr/bin/env").env_clear().env("ONLY", "this");
    let bare = text(bare).await;
    let others = bare.lines().filter(|line| !line.starts_with("LASTOUT_TREE_"));
    assert_eq!(others.collect::<Vec<_>>(), ["ONLY=this"], "beside the mark of its tree");
}

#[tokio::test]
async fn input_may_be_text_or_bytes_of_any_kind() {
    let owned = String::from("text");
    let inputs: [Inlet; 8] = [
        "text".into(),
        (&owned).into(),
        owned.clone().into(),
        b"text".into(),
        [b't', b'e', b'x', b't'].into(),
        vec![b't', b'e', b'x', b't'].into(),
        owned.as_bytes().into(),
        bytes::Bytes::from_static(b"text").into(),
    ];
    for input in inputs {
        assert_eq!(text(Process::builder("cat").stdin(input)).await, "text");
    }
}

#[tokio::test]
async fn input_takes_what_other_readers_give() {
    let mut process = Process::builder("wc").arg("-c").stdin(Inlet::Piped).spawn().unwrap();
    let mut stdin = process.take_stdin().unwrap();
    // More than the queue holds: the copy waits for the child.
    let copied = tokio::io::copy(&mut &vec![b'x'; 3 << 20][..], &mut stdin).await.unwrap();
    assert_eq!(copied, 3 << 20);
    stdin.shutdown().await.unwrap();
    let late = stdin.write_all(b"late").await.unwrap_err();
    assert_eq!(late.kind(), std::io::ErrorKind::BrokenPipe);
    assert_eq!(stdin.write("late").await.unwrap_err().unsent, "late");
    let line = process.wait_for(LONG, |_| true).await.unwrap();
    assert_eq!(line.text().trim(), "3145728");
    assert!(process.wait().await.unwrap().success());
}

#[tokio::test]
async fn pid_code_and_signal_are_at_hand() {
    let mut process = Process::shell("echo $$; exit 3").spawn().unwrap();
    let pid = process.pid();
    let line = process.wait_for(LONG, |_| true).await.unwrap();
    assert_eq!(line.text(), pid.to_string());
    let exit = process.wait().await.unwrap();
    assert_eq!((exit.code(), exit.signal()), (Some(3), None));
    let exit = Process::shell("kill -9 $$").spawn().unwrap().wait().await.unwrap();
    assert_eq!((exit.code(), exit.signal()), (None, Some(9)));
}

#[tokio::test]
async fn what_the_tree_takes_is_at_hand_without_another_dependency() {
    let process = Process::shell("exec sleep 600")
        .contain(tree::Containment::strongest())
        .terminate_with(tree::EndPolicy::new())
        .spawn()
        .unwrap();
    let killed: Result<tree::Report, tree::KillError> =
        process.kill(tree::Deadline::after(LONG)).await;
    assert!(killed.unwrap().is_clean());
}

#[tokio::test]
async fn messages_name_what_is_to_blame() {
    let chain = |error: &dyn Error| format!("{error}: {}", error.source().unwrap());
    let error = Process::builder("echo").current_dir("/nonexistent").output().await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("start echo: enter the directory: /nonexistent: "), "{text}");
    let error = Process::builder("").output().await.unwrap_err();
    assert_eq!(error.to_string(), "start \"\": the program has no name");
    let error = Process::builder("no-such-program-here").spawn().unwrap_err();
    assert!(chain(&error).starts_with("start no-such-program-here: No such file"));
}

#[tokio::test]
async fn a_message_does_not_write_to_the_terminal_what_the_process_wrote() {
    let script = r"printf 'a\033[2J\000\rb\r\nc' >&2; exit 1";
    let output = Process::shell(script).output().await.unwrap();
    assert_eq!(output.stderr.bytes(), &b"a\x1b[2J\0\rb\r\nc"[..], "the bytes are as they were");
    let message = output.check().unwrap_err().to_string();
    assert_eq!(message, "run sh: exit status: 1; stderr: a\\u{1b}[2J\\u{0}\\rb\nc");
    let process = Process::shell(r"printf '\033[31mred\n'").spawn().unwrap();
    let error = process.wait_for(LONG, |_| false).await.unwrap_err();
    assert!(error.to_string().ends_with("last line: \\u{1b}[31mred"), "{error}");
}

#[tokio::test]
async fn the_exit_tells_that_a_callback_died() {
    let mut process =
        Process::shell("seq 100").on_line(|_, _| panic!("of a hook")).spawn().unwrap();
    for _ in 0..2 {
        let exit = process.wait().await.unwrap();
        assert_eq!(exit.on_line, Some(ConsumerError::Panicked("of a hook".into())));
        assert!(exit.success());
    }
    let hook = |_: lastout_output_stream::Channel, _: lastout_output_stream::LineRef<'_>| {
        std::panic::panic_any(7)
    };
    let mut process = Process::shell("echo").on_line(hook).spawn().unwrap();
    let error = process.wait().await.unwrap().on_line.unwrap();
    let text = "consume a stream: the callback panicked: a value that is no text";
    assert_eq!(error.to_string(), text);

    let alone = Stream::prepare(Config::builder().single_subscriber().build().unwrap());
    let reader = alone.subscribe(Position::Start, lastout_output_stream::Policy::Block).unwrap();
    let mut process = Process::shell("true").stdout(alone).on_line(|_, _| ()).spawn().unwrap();
    let exit = process.wait().await.unwrap();
    assert_eq!(exit.on_line, Some(ConsumerError::Subscribe(SubscribeError::Busy)));
    drop(reader);

    let mut process = Process::shell("echo").on_line(|_, _| ()).spawn().unwrap();
    assert_eq!(process.wait().await.unwrap().on_line, None);
}

#[tokio::test]
async fn a_program_is_named_as_it_was_given() {
    let output = Process::builder("/bin/false").output().await.unwrap();
    assert_eq!(output.program, "/bin/false");
    assert_eq!(output.check().unwrap_err().to_string(), "run /bin/false: exit status: 1");
}

#[tokio::test]
async fn no_error_shows_a_secret_or_moves_the_cursor() {
    let error = Process::builder("echo").secret("hun\0ter2").output().await.unwrap_err();
    assert_eq!(error.to_string(), "start echo: a secret argument holds a NUL");
    assert!(!format!("{error:?}").contains("ter2"));
    let error = Process::builder("/no/\x1b[31mx\ny").output().await.unwrap_err().to_string();
    assert!(error.starts_with(r"start /no/\u{1b}[31mx\ny: "), "{error}");
}
