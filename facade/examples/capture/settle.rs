//! The account at the end: what came in, what became of it, and what is still there.

use crate::browse::{self, Captured};
use crate::demo::Batch;
use crate::digest::{self, Digested};
use crate::hub::Hub;
use crate::options::Options;
use crate::plan::Work;
use crate::summary::{JobLine, Left, SumLine, Summary};
use crate::{Result, pages, store, worker};
use lastout::Report;
use lastout::proc_tree::snapshot;
use lastout::work_runner::{JobRecord, State, WorkDriver};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Everything that the reports show.
pub(crate) async fn summary(
    driver: &WorkDriver,
    batch: &Batch,
    options: &Options,
    hub: &Hub,
    report: &Report,
) -> Result<Summary> {
    let elapsed_ms = hub.now_ms();
    let began = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?
        - i64::try_from(elapsed_ms)?;
    let rows = store::rows(driver, &batch.ids).await?;
    let mut jobs: Vec<_> = rows.iter().filter_map(|row| line(row, began, &options.out)).collect();
    jobs.sort_by_key(|job| job.n);
    let mut summary = Summary {
        what: format!(
            "{} jobs in {}, {} browsers, faults {}, worker held by {}",
            batch.ids.len(),
            options.store,
            options.browsers,
            options.faults,
            hub.guarantee()
        ),
        elapsed_ms,
        jobs,
        timeline: hub.moments(),
        sums: sums(batch, &rows, &options.out),
        left: left(&rows, report, hub.report().as_ref()),
        reports: vec![("demo".into(), report.to_string())],
    };
    match hub.report() {
        Some(worker) => {
            summary.sums.extend(of_report("last worker", &worker));
            summary.reports.push(("last worker".into(), worker.to_string()));
        }
        None => summary.left.jobs.push("the report of the last worker never came".into()),
    }
    summary.sums.extend(of_report("demo", report));
    Ok(summary)
}

fn line(row: &JobRecord, began: i64, out: &Path) -> Option<JobLine> {
    let Work { n, kind, target, .. } = store::work(row)?;
    let result = row.result.as_deref().unwrap_or_default();
    let captured: Option<Captured> = serde_json::from_slice(result).ok();
    let succeeded = row.state == State::Succeeded;
    let right_title = match (&captured, kind) {
        (Some(captured), kind) if kind != crate::plan::Kind::Url => {
            captured.title == pages::title(n)
        }
        _ => true,
    };
    let ms = |from: i64, to: i64| u64::try_from(to - from).unwrap_or(0);
    Some(JobLine {
        n,
        kind,
        target,
        state: row.state.to_string(),
        as_it_should: succeeded == kind.is_curable() && right_title
            || kind == crate::plan::Kind::Url && row.state.is_terminal(),
        attempts: row.attempt.unsigned_abs(),
        crashes: row.crashes.unsigned_abs(),
        began_ms: ms(began, row.claimed_at),
        wait_ms: ms(row.run_at.max(row.created_at), row.claimed_at),
        run_ms: ms(row.claimed_at, row.ended_at),
        title: captured.map_or_else(String::new, |captured| captured.title),
        error: row.error.clone(),
        thumbnail: std::fs::read(browse::thumbnail_path(out, n)).ok().filter(|_| succeeded),
    })
}

fn sums(batch: &Batch, rows: &[JobRecord], out: &Path) -> Vec<SumLine> {
    let in_state = |state: State| rows.iter().filter(|row| row.state == state).count() as u64;
    let ends = [State::Succeeded, State::Failed, State::Dead, State::Cancelled, State::Abandoned];
    let ended: u64 = ends.into_iter().map(in_state).sum();
    let words = ends.map(|state| format!("{} {state}", in_state(state)));
    let succeeded = |capture: bool| {
        let rows = rows.iter().filter(|row| row.state == State::Succeeded);
        rows.filter_map(|row| Some((row, store::work(row)?)))
            .filter(move |(_, work)| work.kind.is_capture() == capture)
    };
    let whole = |bytes: u64, path: &Path| {
        bytes > 0 && std::fs::metadata(path).is_ok_and(|meta| meta.len() == bytes)
    };
    let kept = succeeded(true).filter(|(row, work)| {
        let result = row.result.as_deref().unwrap_or_default();
        serde_json::from_slice::<Captured>(result).is_ok_and(|captured| {
            whole(captured.png, &browse::png_path(out, work.n))
                && whole(captured.pdf, &browse::pdf_path(out, work.n))
        })
    });
    let (mut digests, mut lines, mut ingested, mut accounted) = (0, 0, 0, 0);
    for (row, _) in succeeded(false) {
        let result = row.result.as_deref().unwrap_or_default();
        if let Ok(read) = serde_json::from_slice::<Digested>(result) {
            lines += read.lines;
            ingested += read.ingested;
            accounted += read.delivered + read.lost;
        }
        digests += 1;
    }
    vec![
        SumLine::new(
            format!("jobs: enqueued = {}", words.join(" + ")),
            batch.ids.len() as u64,
            ended,
        ),
        SumLine::new(
            "captures: succeeded = whole PNG and PDF on the disk",
            succeeded(true).count() as u64,
            kept.count() as u64,
        ),
        SumLine::new("lines of processes: written = read", digests * digest::LINES, lines),
        SumLine::new("bytes of processes: ingested = delivered + lost", ingested, accounted),
    ]
}

fn of_report(whose: &str, report: &Report) -> Vec<SumLine> {
    let sums = report.totals().sums;
    sums.into_iter()
        .map(|sum| SumLine::new(format!("{whose}: {}", sum.what), sum.left, sum.right))
        .collect()
}

fn left(rows: &[JobRecord], demo: &Report, worker: Option<&Report>) -> Left {
    let mut left = Left::default();
    if let Ok(tree) = snapshot(std::process::id()) {
        let names = tree.descendants().iter().map(|p| format!("process {} ({})", p.pid, p.name));
        left.processes.extend(names);
    }
    left.processes.extend(strays(&worker::directory()));
    for report in [Some(demo), worker].into_iter().flatten() {
        for (member, what) in report.left_behind() {
            left.processes.push(format!("{member}: {what}"));
        }
    }
    left.directories.extend(entries(&worker::directory()));
    let open = rows.iter().filter(|row| !row.state.is_terminal());
    left.jobs.extend(open.map(|row| format!("job {} is {}", row.id, row.state)));
    left
}

/// Processes of anybody that were started with a directory below this one.
fn strays(root: &Path) -> Vec<String> {
    let root = root.to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.parse::<u32>().is_err() {
            continue;
        }
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&line).contains(&root) {
            found.push(format!("process {name} uses {root}"));
        }
    }
    found
}

/// What is in the private directory of the browsers: each entry is a directory that was not removed.
fn entries(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    let directories = entries.filter(|entry| entry.path().is_dir());
    directories.map(|entry| entry.path().display().to_string()).collect()
}
