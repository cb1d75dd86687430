//! The drawings of the report, as SVG without a script: pure.

use crate::summary::{JobLine, Moment, Sort, quantile};
use std::fmt::Write as _;

const WIDTH: f64 = 960.0;
/// Room for labels at the left and at the bottom.
const LEFT: f64 = 44.0;
const BOTTOM: f64 = 26.0;

/// Text that is safe between tags and in attributes.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

/// A time for people.
pub(crate) fn time(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{:.1} s", ms as f64 / 1000.0),
        _ => format!("{} min {} s", ms / 60_000, ms / 1000 % 60),
    }
}

/// Ended jobs over time as a curve, each fault and recovery as a line across it.
pub(crate) fn timeline(jobs: &[JobLine], moments: &[Moment], elapsed_ms: u64) -> String {
    const HEIGHT: f64 = 260.0;
    let last = moments.iter().map(|moment| moment.at_ms).max().unwrap_or(0);
    let span = elapsed_ms.max(last).max(1) as f64;
    let x = |ms: u64| LEFT + (WIDTH - LEFT - 8.0) * (ms as f64 / span).min(1.0);
    let mut ends: Vec<u64> = jobs.iter().map(|job| job.began_ms + job.run_ms).collect();
    ends.sort_unstable();
    let most = ends.len().max(1) as f64;
    let y = |count: usize| 10.0 + (HEIGHT - BOTTOM - 10.0) * (1.0 - count as f64 / most);
    let mut svg = open("Jobs that ended, over time, with each fault and recovery", HEIGHT);
    axes(&mut svg, HEIGHT, span as u64);
    let _ = write!(svg, "<text class=tick x=4 y=18>{}</text>", ends.len());
    for moment in moments.iter().filter(|moment| moment.sort != Sort::Note) {
        let (class, at) = (class(moment.sort), x(moment.at_ms));
        let said = format!("{}: {}", time(moment.at_ms), moment.text);
        let _ = write!(
            svg,
            "<g class={class}><line x1={at:.1} x2={at:.1} y1=10 y2={:.1} />\
             <circle cx={at:.1} cy={:.1} r=4 /><title>{}</title></g>",
            HEIGHT - BOTTOM,
            if moment.sort == Sort::Fault { HEIGHT - BOTTOM } else { 10.0 },
            escape(&said)
        );
    }
    let mut path = format!("M{:.1} {:.1}", x(0), y(0));
    for (count, end) in ends.iter().enumerate() {
        let _ = write!(path, "H{:.1}V{:.1}", x(*end), y(count + 1));
    }
    let _ = write!(path, "H{:.1}", x(elapsed_ms));
    let _ = write!(svg, "<path class=curve d=\"{path}\" /></svg>");
    svg
}

/// How many jobs took how long; the classes double.
pub(crate) fn histogram(name: &str, times: &[u64]) -> String {
    const HEIGHT: f64 = 150.0;
    let mut svg = open(name, HEIGHT);
    let class_of = |ms: u64| (u64::BITS - ms.leading_zeros()) as usize;
    let classes = times.last().map_or(1, |most| class_of(*most) + 1);
    let mut counts = vec![0_usize; classes];
    times.iter().for_each(|ms| counts[class_of(*ms)] += 1);
    let first = counts.iter().position(|count| *count > 0).unwrap_or(0);
    let shown = &counts[first..];
    let most = shown.iter().copied().max().unwrap_or(0).max(1) as f64;
    let step = (WIDTH - LEFT) / shown.len() as f64;
    for (place, count) in shown.iter().enumerate() {
        let height = (HEIGHT - BOTTOM - 24.0) * (*count as f64 / most);
        let (left, top) = (LEFT + step * place as f64, HEIGHT - BOTTOM - height);
        let below = 1_u64 << (first + place).min(62);
        let _ = write!(
            svg,
            "<rect class=bar x={:.1} y={top:.1} width={:.1} height={height:.1} rx=3 />\
             <text class=tick text-anchor=middle x={:.1} y={:.1}>{}</text>\
             <text class=tick text-anchor=middle x={:.1} y={:.1}>&lt; {}</text>",
            left + 3.0,
            (step - 6.0).max(1.0),
            left + step / 2.0,
            top - 6.0,
            count,
            left + step / 2.0,
            HEIGHT - 8.0,
            time(below)
        );
    }
    svg.push_str("</svg>");
    let quantiles = [("p50", 0.5), ("p95", 0.95), ("max", 1.0)];
    let words = quantiles.map(|(word, share)| format!("{word} {}", time(quantile(times, share))));
    format!("<figure><figcaption>{name}: {}</figcaption>{svg}</figure>", words.join(" · "))
}

fn class(sort: Sort) -> &'static str {
    match sort {
        Sort::Fault => "fault",
        Sort::Recovery => "recovery",
        Sort::Note => "note",
    }
}

fn open(label: &str, height: f64) -> String {
    let label = escape(label);
    format!("<svg role=img aria-label=\"{label}\" viewBox=\"0 0 {WIDTH} {height}\">")
}

fn axes(svg: &mut String, height: f64, span: u64) {
    let base = height - BOTTOM;
    let _ = write!(
        svg,
        "<line class=axis x1={LEFT} x2={WIDTH} y1={base} y2={base} /><text class=tick x={LEFT} y={}>0</text>\
         <text class=tick text-anchor=end x={WIDTH} y={}>{}</text>",
        height - 8.0,
        height - 8.0,
        time(span)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_page_says_cannot_leave_its_place() {
        assert_eq!(escape("<b a='\"'>&"), "&lt;b a=&#39;&quot;&#39;&gt;&amp;");
    }

    #[test]
    fn nothing_and_extremes_are_drawn() {
        for svg in [timeline(&[], &[], 0), histogram("x", &[]), histogram("x", &[0, u64::MAX])] {
            assert!(svg.contains("</svg>") && !svg.contains("NaN") && !svg.contains("inf"));
        }
    }

    #[test]
    fn times_are_for_people() {
        assert_eq!([time(7), time(1500), time(61_000)], ["7 ms", "1.5 s", "1 min 1 s"]);
    }
}
