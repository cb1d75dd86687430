//! The report as one HTML page that needs nothing but itself: pure.

use crate::plot::{self, escape, time};
use crate::summary::{JobLine, Sort, Summary};
use std::fmt::Write as _;

/// Thumbnails at most: a page of a hundred megabytes shows nothing.
const THUMBNAILS: usize = 120;

const STYLE: &str = include_str!("report.css");

/// The page.
pub(crate) fn page(summary: &Summary) -> String {
    let mut html = String::with_capacity(1 << 16);
    let verdict = if summary.is_clean() { "clean" } else { "unclean" };
    let _ = write!(
        html,
        "<!doctype html><html lang=en><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width\">\
         <link rel=icon href=\"data:,\"><title>capture: {verdict}</title><style>{STYLE}</style>\
         <body class={verdict}><header><p>{}</p><h1 id=verdict>{}</h1>",
        escape(&summary.what),
        escape(&summary.left.line())
    );
    complaints(&mut html, summary);
    tiles(&mut html, summary);
    html.push_str("</header><main>");
    section(&mut html, "What came in, and what became of it", sums(summary));
    section(&mut html, "Faults and recoveries", moments(summary));
    let waits = plot::histogram("Waiting for a place", &summary.times(|job| job.wait_ms));
    let runs = plot::histogram("Running, the last attempt", &summary.times(|job| job.run_ms));
    section(&mut html, "Times", format!("{waits}{runs}"));
    section(&mut html, "Captures", gallery(summary));
    section(&mut html, "Jobs", jobs(&summary.jobs));
    let mut reports = String::new();
    for (whose, table) in &summary.reports {
        let (whose, table) = (escape(whose), escape(table));
        let _ = write!(reports, "<h3>{whose}</h3><pre>{table}</pre>");
    }
    section(&mut html, "Reports of the supervisors", reports);
    html.push_str("</main></body></html>\n");
    html
}

fn section(html: &mut String, title: &str, body: String) {
    if !body.is_empty() {
        let _ = write!(html, "<section><h2>{title}</h2>{body}</section>");
    }
}

fn complaints(html: &mut String, summary: &Summary) {
    let complaints = summary.complaints();
    if complaints.is_empty() {
        return;
    }
    html.push_str("<ul id=complaints>");
    for complaint in complaints {
        let _ = write!(html, "<li>{}", escape(&complaint));
    }
    html.push_str("</ul>");
}

fn tiles(html: &mut String, summary: &Summary) {
    let crashes: u64 = summary.jobs.iter().map(|job| u64::from(job.crashes)).sum();
    let retried = summary.jobs.iter().filter(|job| job.attempts > 1).count();
    let per_second = summary.jobs.len() as f64 * 1000.0 / summary.elapsed_ms.max(1) as f64;
    let tiles = [
        (summary.jobs.len().to_string(), "jobs"),
        (summary.count(Sort::Fault).to_string(), "faults injected"),
        (crashes.to_string(), "jobs taken over from a dead worker"),
        (retried.to_string(), "jobs tried again"),
        (format!("{per_second:.1}"), "jobs a second"),
        (time(summary.elapsed_ms), "in all"),
    ];
    html.push_str("<dl>");
    for (value, name) in tiles {
        let _ = write!(html, "<div><dd>{value}</dd><dt>{name}</dt></div>");
    }
    html.push_str("</dl>");
}

fn sums(summary: &Summary) -> String {
    let mut table = String::from("<table id=sums>");
    for sum in &summary.sums {
        let (class, sign) = if sum.holds() { ("ok", "=") } else { ("off", "≠") };
        let _ = write!(
            table,
            "<tr class={class}><td>{}<td class=number>{}<td>{sign}<td class=number>{}",
            escape(&sum.what),
            sum.left,
            sum.right
        );
    }
    table.push_str("</table>");
    table
}

fn moments(summary: &Summary) -> String {
    let mut body = plot::timeline(&summary.jobs, &summary.timeline, summary.elapsed_ms);
    body.push_str("<details><summary>Every moment</summary><ol>");
    for moment in &summary.timeline {
        let class = match moment.sort {
            Sort::Fault => "fault",
            Sort::Recovery => "recovery",
            Sort::Note => "note",
        };
        let (at, text) = (time(moment.at_ms), escape(&moment.text));
        let _ = write!(body, "<li class={class}><time>{at}</time> {text}");
    }
    body.push_str("</ol></details>");
    body
}

fn gallery(summary: &Summary) -> String {
    let shown = summary.jobs.iter().filter(|job| job.thumbnail.is_some());
    let total = shown.clone().count();
    if total == 0 {
        return String::new();
    }
    let mut body = String::from("<div id=gallery>");
    for job in shown.take(THUMBNAILS) {
        let data = base64(job.thumbnail.as_deref().unwrap_or_default());
        let (title, kind) = (escape(&job.title), job.kind);
        let _ = write!(
            body,
            "<figure><img alt=\"{title}\" src=\"data:image/png;base64,{data}\">\
             <figcaption>{title} <small>{kind}</small></figcaption></figure>"
        );
    }
    body.push_str("</div>");
    if total > THUMBNAILS {
        let _ = write!(body, "<p>and {} more on the disk</p>", total - THUMBNAILS);
    }
    body
}

fn jobs(jobs: &[JobLine]) -> String {
    let mut table = String::from(
        "<details><summary>Every job</summary><div class=wide><table id=jobs><thead><tr><th>n<th>kind\
         <th>target<th>end<th>attempts<th>crashes<th>wait<th>run<th>error</thead><tbody>",
    );
    for job in jobs {
        let class = if job.as_it_should { "ok" } else { "off" };
        let _ = write!(
            table,
            "<tr class={class}><td class=number>{}<td>{}<td>{}<td>{}<td class=number>{}\
             <td class=number>{}<td class=number>{}<td class=number>{}<td>{}",
            job.n,
            job.kind,
            escape(&job.target),
            escape(&job.state),
            job.attempts,
            job.crashes,
            time(job.wait_ms),
            time(job.run_ms),
            escape(job.error.as_deref().unwrap_or_default())
        );
    }
    table.push_str("</tbody></table></div></details>");
    table
}

/// Bytes as text for a data URL.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |place: usize| u32::from(chunk.get(place).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let six = (group >> (18 - 6 * place)) & 63;
            let letter = if place > chunk.len() { b'=' } else { LETTERS[six as usize] };
            text.push(char::from(letter));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_pads() {
        let coded = [&b""[..], b"f", b"fo", b"foo", b"foob", b"\xff\xfe\xfd"].map(base64);
        assert_eq!(coded, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "//79"]);
    }
}
