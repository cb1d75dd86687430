//! Pipelines: one clock, one end for all, and the result of each stage.
#![allow(clippy::unwrap_used, reason = "tests")]
#![cfg(all(feature = "process", feature = "tokio"))]

use lastout_output_stream::{Inlet, Outlet, Pipeline, PipelineError, Process, ProcessBuilder};
use lastout_proc_tree::audit::Audit;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

fn sh(line: &str) -> ProcessBuilder {
    Process::shell(line)
}

async fn text(pipeline: Pipeline) -> String {
    pipeline.timeout(LONG).output().await.unwrap().check().unwrap().stdout().text()
}

#[tokio::test]
async fn every_byte_goes_from_stage_to_stage_and_none_through_the_caller() {
    let audit = Audit::begin_in([]);
    let pipeline = sh("seq 1000000").pipe(sh("cat; echo of stage 2 >&2")).pipe(sh("wc -l"));
    let output = pipeline.timeout(LONG).output().await.unwrap().check().unwrap();
    assert_eq!(output.stdout().text().trim(), "1000000");
    let totals: Vec<_> = output.stages.iter().map(|stage| stage.stdout.total()).collect();
    assert_eq!(totals, [0, 0, 8], "only the last output was a stream");
    assert_eq!(output.stages[1].stderr.text(), "of stage 2\n");
    assert!(output.stages.iter().all(|stage| stage.tree.is_clean()));
    audit.assert_clean(LONG);
}

#[tokio::test]
async fn the_first_stage_is_fed_and_the_last_one_goes_anywhere() {
    let sorted = Process::builder("sort").stdin("b\na\n").pipe(sh("tr a-z A-Z"));
    assert_eq!(text(sorted).await, "A\nB\n");
    let lines = Inlet::lines((0..100_000).map(|n| n.to_string()));
    let counted = Process::builder("cat").stdin(lines).pipe(Process::builder("wc").arg("-l"));
    assert_eq!(text(counted).await.trim(), "100000");
    let path = std::env::temp_dir().join(format!("lastout-pipeline-{}", std::process::id()));
    let to_file = sh("echo x").pipe(Process::builder("cat").stdout(Outlet::file(&path)));
    assert_eq!(text(to_file).await, "");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "x\n");
    std::fs::remove_file(&path).unwrap();
    let joined = sh("echo a; echo b >&2; echo c").stderr_to_stdout().pipe(sh("cat"));
    assert_eq!(text(joined).await, "a\nb\nc\n", "both outputs in the pipe");
}

#[tokio::test]
async fn the_stage_that_failed_is_named_whichever_it_is() {
    let failing = || sh("cat; echo of it >&2; exit 3");
    let good = || sh("cat");
    let cases = [
        (failing().pipe(good()).pipe(good()), 1),
        (good().pipe(failing()).pipe(good()), 2),
        (good().pipe(good()).pipe(failing()), 3),
    ];
    for (pipeline, stage) in cases {
        let output = pipeline.clone().timeout(LONG).output().await.unwrap();
        assert!(!output.success());
        let failed = output.check().unwrap_err();
        assert_eq!(failed.stage, stage);
        let text = format!("stage {stage} of 3: run sh: exit status: 3; stderr: of it");
        assert_eq!(failed.to_string(), text);
        let output = pipeline.only_last_counts().timeout(LONG).output().await.unwrap();
        assert_eq!(output.success(), stage < 3);
    }
}

#[tokio::test]
async fn a_stage_whose_reader_had_enough_fails_unless_that_is_forgiven() {
    let yes = || Process::builder("yes").pipe(Process::builder("head").args(["-n", "1"]));
    let failed = yes().timeout(LONG).output().await.unwrap().check().unwrap_err();
    assert_eq!((failed.stage, failed.output.stages[0].exit.signal()), (1, Some(13)));
    let forgiven = yes().forgive_sigpipe().timeout(LONG).output().await.unwrap();
    assert_eq!(forgiven.check().unwrap().stdout().text(), "y\n");
    // A failure behind it is what broke the pipe, and is what is named.
    let broken = Process::builder("yes").pipe(sh("exit 4")).timeout(LONG).output().await.unwrap();
    assert_eq!(broken.check().unwrap_err().stage, 2);
    // The last stage is never forgiven.
    let last = sh("true").pipe(sh("kill -PIPE $$")).forgive_sigpipe().timeout(LONG);
    assert!(!last.output().await.unwrap().success());
}

#[tokio::test]
async fn one_time_limit_ends_every_stage_and_keeps_what_was_read() {
    let audit = Audit::begin_in([]);
    let pipeline = sh("echo early; setsid sleep 600 & exec sleep 600")
        .pipe(sh("cat; exec sleep 600"))
        .pipe(Process::builder("cat"));
    let output = pipeline.timeout(Duration::from_millis(300)).output().await.unwrap();
    assert!(output.stages.iter().all(|stage| stage.exit.timed_out), "{output:?}");
    assert_eq!(output.stdout().text(), "early\n");
    let failed = output.check().unwrap_err();
    assert!(failed.to_string().contains("its time limit of 300ms was over"), "{failed}");
    audit.assert_clean(LONG);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_that_cannot_start_ends_those_before_it() {
    let audit = Audit::begin_in([]);
    let pipeline = sh("exec sleep 600").pipe(Process::builder("no-such-program-here"));
    let error = pipeline.output().await.unwrap_err();
    assert!(matches!(error, PipelineError::Spawn(_)));
    let text = error.to_string();
    assert!(text.starts_with("start no-such-program-here: No such file"), "{text}");
    for wrong in [
        sh("true").pipe(sh("true").stdin("x")),
        sh("true").stdout(Outlet::Discard).pipe(sh("true")),
    ] {
        let text = wrong.output().await.unwrap_err().to_string();
        assert!(text.contains("what the stage "), "{text}");
    }
    audit.assert_clean(LONG);
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_a_pipeline_kills_every_stage() {
    let audit = Audit::begin_in([]);
    let mut running =
        sh("setsid sleep 600 & exec sleep 600").pipe(sh("exec sleep 600")).spawn().unwrap();
    let members: usize =
        running.stages().iter().map(|stage| stage.tree().members().unwrap().len()).sum();
    assert!(members >= 2);
    drop(running);
    audit.assert_clean(LONG);

    let running = sh("exec sleep 600").pipe(sh("echo up; exec sleep 600")).spawn().unwrap();
    let _seen = running.stdout().wait_for(LONG, |line| line.bytes == b"up").await.unwrap();
    let reports = running.kill(LONG).await.unwrap();
    assert!(reports.len() == 2 && reports.iter().all(lastout_proc_tree::Report::is_clean));
    drop(running);
    audit.assert_clean(LONG);
}

#[tokio::test]
async fn what_a_stage_leaves_is_read_to_its_end_as_in_a_shell() {
    // The writer outlives its stage: the next one reads until it closes the pipe.
    let (reader, writer) = std::io::pipe().unwrap();
    let late = sh("(head -c 1 > /dev/null; echo late) <&3 & exit 0")
        .contain(lastout_output_stream::tree::Containment::strongest().descriptor(3, reader));
    let mut running = late.pipe(Process::builder("cat")).timeout(LONG).spawn().unwrap();
    assert!(running.stages()[0].wait().await.unwrap().success());
    drop({
        use std::io::Write;
        (&writer).write_all(b"!").unwrap();
        writer
    });
    let _seen = running.stdout().wait_for(LONG, |line| line.bytes == b"late").await.unwrap();
    assert!(running.wait().await.unwrap().iter().all(lastout_output_stream::Exit::success));
}

#[tokio::test]
async fn what_a_spawned_pipeline_leaves_is_ended_with_its_drop() {
    let audit = Audit::begin_in([]);
    let mut running = sh("sleep 600 & echo x").pipe(sh("head -n 1")).spawn().unwrap();
    let exits = running.wait().await.unwrap();
    assert!(exits.iter().all(|exit| exit.status.success()), "{exits:?}");
    let left: Vec<_> =
        running.stages().iter().map(|stage| stage.tree().members().unwrap().len()).collect();
    assert_eq!(left, [1, 0], "the sleep of the first stage");
    drop(running);
    audit.assert_clean(LONG);
}

#[tokio::test]
async fn a_clone_of_a_pipeline_runs_it_again_unless_only_one_can_have_its_input() {
    let again = sh("echo x").pipe(sh("cat"));
    assert_eq!(text(again.clone()).await, text(again).await);
    let once = Process::builder("cat").stdin(Inlet::lines(["a"])).pipe(sh("cat"));
    assert_eq!(text(once.clone()).await, "a\n");
    let error = once.output().await.unwrap_err().to_string();
    assert_eq!(error, "start cat: the reader of its input was taken by an earlier start");
    let command = Process::builder(std::process::Command::new("true"));
    let (clone, marked) = (command.clone(), command.arg("x"));
    marked.output().await.unwrap().check().unwrap();
    let error = clone.output().await.unwrap_err().to_string();
    assert_eq!(error, "start true: the command was taken by an earlier start");
    let hooked = sh("true").on_line(|_, _| ());
    hooked.clone().output().await.unwrap();
    assert!(hooked.output().await.is_err());
}
