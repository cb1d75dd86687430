//! The streams of a process lead where people want them to, and every byte arrives or is named.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
#![cfg(all(feature = "process", feature = "tokio"))]

use lastout_output_stream::{
    Channel, Config, EndReason, Inlet, Outlet, Policy, Position, Process, ProcessBuilder, Stream,
};
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};

const LONG: Duration = Duration::from_secs(60);

/// A path that is removed with this.
struct Path(PathBuf);

impl Path {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("lastout-{name}-{}", std::process::id())))
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.0).unwrap()
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

async fn text(builder: ProcessBuilder) -> String {
    builder.timeout(LONG).output().await.unwrap().check().unwrap().stdout.text()
}

#[tokio::test]
async fn input_comes_from_a_file_by_path_or_open_or_from_a_pipe() {
    let path = Path::new("input");
    fs::write(&path.0, "from a file").unwrap();
    assert_eq!(text(Process::builder("cat").stdin(Inlet::file(&path.0))).await, "from a file");
    let mut file = File::open(&path.0).unwrap();
    file.read_exact(&mut [0; 5]).unwrap();
    assert_eq!(text(Process::builder("cat").stdin(file)).await, "a file", "from its position on");
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(b"from a pipe").unwrap();
    drop(writer);
    let reader = std::os::fd::OwnedFd::from(reader);
    assert_eq!(text(Process::builder("cat").stdin(reader)).await, "from a pipe");
}

#[tokio::test]
async fn input_comes_from_a_reader_as_fast_as_the_process_reads() {
    let reader = tokio::io::AsyncReadExt::take(tokio::io::repeat(b'x'), 3 << 20);
    let output = Process::builder("wc").arg("-c").stdin(Inlet::reader(reader));
    let output = output.timeout(LONG).output().await.unwrap().check().unwrap();
    assert_eq!(output.stdout.text().trim(), "3145728");
    assert_eq!(output.stdin.unwrap().written, 3 << 20);
    // One without an end, of a process that reads a part.
    let head = Process::builder("head").args(["-c", "10"]);
    let output = head.stdin(Inlet::reader(tokio::io::repeat(b'y'))).timeout(LONG).output().await;
    assert_eq!(output.unwrap().check().unwrap().stdout.text(), "yyyyyyyyyy");
}

#[tokio::test]
async fn input_comes_from_an_iterator_of_lines() {
    let lines = (0..100_000).map(|n| n.to_string());
    let sum = Process::shell("awk 'NR == 1 {print} END {print NR}'").stdin(Inlet::lines(lines));
    assert_eq!(text(sum).await, "0\n100000\n");
    let cat = || Process::builder("cat");
    assert_eq!(text(cat().stdin(Inlet::lines(["", "a", ""]))).await, "\na\n\n");
    assert_eq!(text(cat().stdin(Inlet::lines(Vec::<String>::new()))).await, "");
    // One without an end, of a process that ends.
    let endless = Inlet::lines(std::iter::repeat("z"));
    assert_eq!(text(Process::builder("head").args(["-n", "2"]).stdin(endless)).await, "z\nz\n");
}

/// Gives ten bytes, and then what it is told to.
struct Breaks {
    given: bool,
    panics: bool,
}

impl AsyncRead for Breaks {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.given, true) {
            buf.put_slice(b"0123456789");
            return Poll::Ready(Ok(()));
        }
        assert!(!self.panics, "of a reader");
        Poll::Ready(Err(io::Error::other("the disk is gone")))
    }
}

#[tokio::test]
async fn a_source_whose_destructor_panics_changes_nothing() {
    struct Bad(u32);
    impl Iterator for Bad {
        type Item = &'static str;

        fn next(&mut self) -> Option<&'static str> {
            self.0 = self.0.checked_sub(1)?;
            Some("x")
        }
    }
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("of a destructor");
        }
    }
    for (lines, script) in [(3, "wc -l"), (u32::MAX, "head -n 3 | wc -l")] {
        let output = Process::shell(script).stdin(Inlet::lines(Bad(lines))).timeout(LONG).output();
        let output = output.await.unwrap().check().unwrap();
        assert_eq!(output.stdout.text().trim(), "3");
        assert!(output.stdin.unwrap().written >= 6);
    }
}

#[tokio::test]
async fn input_that_was_cut_short_is_no_success() {
    let lines = ["0123456", "8"].into_iter().chain(std::iter::once_with(|| panic!("of lines")));
    let cases = [
        (
            Inlet::reader(Breaks { given: false, panics: false }),
            "its source failed: the disk is gone",
        ),
        (Inlet::reader(Breaks { given: false, panics: true }), "its source panicked: of a reader"),
        (Inlet::lines(lines), "its source panicked: of lines"),
    ];
    for (inlet, why) in cases {
        let output =
            Process::builder("wc").arg("-c").stdin(inlet).timeout(LONG).output().await.unwrap();
        assert!(output.exit.success() && !output.success());
        assert_eq!(output.stdout.text().trim(), "10", "what came before it arrived: {why}");
        let message = output.check().unwrap_err().to_string();
        assert!(message.contains(&format!("its input was cut after 10 bytes: {why}")), "{message}");
    }
}

#[tokio::test]
async fn an_output_goes_to_a_file_that_is_made_emptied_or_added_to() {
    let (path, other) = (Path::new("made"), Path::new("other"));
    let run = |line: &str, out: Outlet, err: Outlet| {
        let run = Process::shell(line).stdout(out).stderr(err).timeout(LONG).output();
        async { run.await.unwrap().check().unwrap() }
    };
    let (out, err) = (Outlet::file(&path.0), Outlet::append(&other.0));
    let output = run("echo first; echo e1 >&2", out.clone(), err.clone()).await;
    assert_eq!((path.text(), other.text()), ("first\n".into(), "e1\n".into()));
    assert_eq!(output.stdout.total(), 0, "there is no pipe");
    run("echo 2; echo e2 >&2", out.clone(), err.clone()).await;
    assert_eq!((path.text(), other.text()), ("2\n".into(), "e1\ne2\n".into()));
    let file = File::options().append(true).open(&path.0).unwrap();
    run("echo 3", file.into(), Outlet::Discard).await;
    assert_eq!(path.text(), "2\n3\n");
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_is_named_and_nothing_runs() {
    let mark = Path::new("mark");
    let touch = || Process::builder("touch").arg(&mark.0);
    let cases = [
        (touch().stdin(Inlet::file("/nonexistent/in")), "open /nonexistent/in for stdin"),
        (touch().stdout(Outlet::file("/nonexistent/out")), "open /nonexistent/out for stdout"),
        (touch().stderr(Outlet::append("/nonexistent/err")), "open /nonexistent/err for stderr"),
        (touch().stdout(Outlet::Stdout), "only standard error can follow standard output"),
        (
            touch().stdout(Outlet::tee([Outlet::default(), Outlet::default()])),
            "an output can go to one stream only",
        ),
    ];
    for (builder, why) in cases {
        let error = builder.output().await.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    assert!(!mark.0.exists());
}

#[tokio::test]
async fn both_outputs_in_one_pipe_are_in_the_order_of_their_writes() {
    const LINES: usize = 2_000;
    let script =
        format!("i=0; while [ $i -lt {LINES} ]; do echo o$i; echo e$i >&2; i=$((i+1)); done");
    let expected: String = (0..LINES).map(|n| format!("o{n}\ne{n}\n")).collect();
    let output = Process::shell(&script).stderr_to_stdout().timeout(LONG).output().await.unwrap();
    assert_eq!(output.stdout.text(), expected);
    assert_eq!(output.stderr.total(), 0);
    assert!(output.stdout.is_complete());
    assert!(
        matches!(output.exit.stdout.reason, EndReason::Eof),
        "no end of the pipe stays with us"
    );
    output.check().unwrap();
    // Of a command of std, and in a file.
    let mut command = std::process::Command::new("sh");
    let command = command.args(["-c", "echo a; echo b >&2; echo c"]);
    assert_eq!(text(Process::builder(command).stderr_to_stdout()).await, "a\nb\nc\n");
    let path = Path::new("both");
    let both = Process::shell(&script).stdout(Outlet::file(&path.0)).stderr_to_stdout();
    both.timeout(LONG).output().await.unwrap().check().unwrap();
    assert_eq!(path.text(), expected);
}

#[tokio::test]
async fn who_holds_the_one_pipe_of_both_outputs_is_reported() {
    let process = Process::shell("echo up; sleep 600 & exit 0").stderr_to_stdout().timeout(LONG);
    let output = process.output().await.unwrap().check().unwrap();
    assert_eq!(output.stdout.text(), "up\n");
    assert!(output.exit.writers_left() && output.tree.is_clean());
}

#[tokio::test]
async fn an_output_goes_to_several_places_at_once_and_each_has_every_byte() {
    let (one, two) = (Path::new("tee-1"), Path::new("tee-2"));
    fs::write(&two.0, "before\n").unwrap();
    let prepared = Stream::prepare(Config::default());
    let mut reader = prepared.subscribe(Position::Start, Policy::Block).unwrap();
    let outlets = [prepared.into(), Outlet::file(&one.0), Outlet::append(&two.0)];
    let mut process = Process::shell("seq 200000; echo e >&2")
        .stdout(Outlet::tee(outlets))
        .timeout(LONG)
        .spawn()
        .unwrap();
    let mut seen = 0;
    while let Some(event) = reader.next().await {
        if let lastout_output_stream::Event::Data { bytes, .. } = event {
            seen += bytes.len();
        }
    }
    let exit = process.wait().await.unwrap();
    assert!(exit.success() && exit.copies.is_empty());
    let expected: String = (1..=200_000).map(|n| format!("{n}\n")).collect();
    assert_eq!(seen, expected.len());
    assert_eq!(one.text(), expected);
    assert_eq!(two.text(), format!("before\n{expected}"));
    // Without a stream: nothing is kept, and the copies are whole.
    let files = Outlet::tee([Outlet::file(&one.0), Outlet::tee([Outlet::file(&two.0)])]);
    let output = Process::shell("seq 200000").stdout(files).timeout(LONG).output().await.unwrap();
    output.check().unwrap();
    assert_eq!((one.text(), two.text()), (expected.clone(), expected));
}

#[tokio::test]
async fn a_copy_that_fails_is_named_and_harms_nobody_else() {
    let path = Path::new("whole");
    let outlets = [Outlet::default(), Outlet::file("/dev/full"), Outlet::file(&path.0)];
    let builder = Process::shell("echo text").stdout(Outlet::tee(outlets)).timeout(LONG);
    let output = builder.output().await.unwrap();
    assert_eq!((output.stdout.text(), path.text()), ("text\n".into(), "text\n".into()));
    assert!(output.exit.status.success() && !output.success());
    let [copy] = &output.exit.copies[..] else { panic!("{:?}", output.exit.copies) };
    assert_eq!((copy.channel, copy.written), (Channel::Out, 0));
    let message = output.check().unwrap_err().to_string();
    let text =
        "run sh: exit status: 0; copy stdout to /dev/full: failed after 0 bytes: No space left";
    assert!(message.starts_with(text), "{message}");
}

#[test]
fn a_copy_to_a_pipe_that_nobody_reads_holds_up_neither_a_time_limit_nor_the_runtime() {
    let begin = std::time::Instant::now();
    let (_reader, writer) = io::pipe().unwrap();
    let outlets = [Outlet::default(), std::os::fd::OwnedFd::from(writer).into()];
    let builder = Process::shell("seq 1000000").stdout(Outlet::tee(outlets));
    let builder = builder.timeout(Duration::from_millis(300)).grace(Duration::ZERO);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let output = runtime.block_on(builder.output()).unwrap();
    drop(runtime);
    let [copy] = &output.exit.copies[..] else { panic!("{:?}", output.exit) };
    // What a pipe takes whose reader does not come.
    assert_eq!((copy.written, copy.error.kind()), (65_536, io::ErrorKind::TimedOut));
    assert!(begin.elapsed() < LONG && output.exit.timed_out);

    // A process that is dropped leaves no thread that writes.
    let (_reader, writer) = io::pipe().unwrap();
    let outlets = [Outlet::default(), std::os::fd::OwnedFd::from(writer).into()];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let spawned = Process::shell("seq 1000000").stdout(Outlet::tee(outlets)).spawn();
        let process = spawned.unwrap();
        let wait = process.stdout().wait_for(LONG, |line| line.bytes == b"10");
        let _seen = wait.await.unwrap();
    });
    drop(runtime);
    assert!(begin.elapsed() < LONG);
}

#[tokio::test]
async fn a_pipe_that_does_not_block_gets_a_whole_copy() {
    let (reader, writer) = io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    let outlets = [Outlet::default(), std::os::fd::OwnedFd::from(writer).into()];
    let mut process =
        Process::shell("seq 100000").stdout(Outlet::tee(outlets)).timeout(LONG).spawn().unwrap();
    let read = tokio::task::spawn_blocking(move || {
        let (mut text, mut reader) = (String::new(), reader);
        reader.read_to_string(&mut text).map(|_| text)
    });
    assert!(process.wait().await.unwrap().success());
    assert_eq!(read.await.unwrap().unwrap().lines().count(), 100_000);
}

#[tokio::test]
async fn an_open_file_that_two_processes_share_has_the_output_of_both() {
    let path = Path::new("shared");
    let mut file = File::options().create_new(true).read(true).write(true).open(&path.0).unwrap();
    for word in ["a", "b"] {
        let copy = file.try_clone().unwrap();
        let echo = Process::builder("echo").arg(word).stdout(copy).timeout(LONG);
        echo.output().await.unwrap().check().unwrap();
    }
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "a\nb\n");
}
