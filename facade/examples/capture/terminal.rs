//! The report on the terminal.

use crate::plot::time;
use crate::summary::{Sort, Summary, quantile};
use std::path::Path;

pub(crate) fn print(summary: &Summary, html: &Path) {
    println!("\n{}", summary.what);
    for (whose, table) in &summary.reports {
        println!("\n{whose}\n{table}");
    }
    println!("\nfaults and recoveries");
    let moments = summary.timeline.iter().filter(|moment| moment.sort != Sort::Note);
    for moment in moments {
        let mark = if moment.sort == Sort::Fault { "x" } else { "+" };
        println!("  {:>9}  {mark} {}", time(moment.at_ms), moment.text);
    }
    println!("\nsums");
    for sum in &summary.sums {
        let sign = if sum.holds() { "=" } else { "≠" };
        println!("  {:>10} {sign} {:<10} {}", sum.left, sum.right, sum.what);
    }
    let (waits, runs) = (summary.times(|job| job.wait_ms), summary.times(|job| job.run_ms));
    let words = |times: &[u64]| {
        let (half, most) = (quantile(times, 0.5), quantile(times, 0.95));
        format!("p50 {}, p95 {}", time(half), time(most))
    };
    println!("\nwaited {}; ran {}", words(&waits), words(&runs));
    let crashes: u32 = summary.jobs.iter().map(|job| job.crashes).sum();
    let retried = summary.jobs.iter().filter(|job| job.attempts > 1).count();
    println!(
        "{} jobs in {}: {} faults injected, {crashes} jobs taken over from dead workers, {retried} tried again",
        summary.jobs.len(),
        time(summary.elapsed_ms),
        summary.count(Sort::Fault)
    );
    println!("report: {}", html.display());
    for complaint in summary.complaints() {
        println!("WRONG: {complaint}");
    }
    println!("{}", summary.left.line());
}
