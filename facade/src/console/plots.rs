//! What the looks of the last minutes saw, as small plots.

use super::html::{Html, span};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Points that are kept: five minutes of looks every two seconds.
const POINTS: usize = 150;
/// The size of a plot, in its own units.
const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 60.0;
/// Half of the size of a dot.
const DOT: f64 = 3.0;

/// One look at a store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    pub(super) at: Instant,
    pub(super) ready: u64,
    pub(super) running: u64,
    pub(super) unhappy: u64,
    pub(super) oldest_ms: u64,
}

/// The last looks. There are none of a time in which no page was open.
#[derive(Debug, Default)]
pub(super) struct Plots(Mutex<VecDeque<Point>>);

impl Plots {
    pub(super) fn add(&self, point: Point) {
        let mut points = self.lock();
        if points.len() == POINTS {
            points.pop_front();
        }
        points.push_back(point);
    }

    pub(super) fn draw(&self) -> Html {
        let points: Vec<Point> = self.lock().iter().copied().collect();
        let mut html = Html::new();
        html.raw("<h2>While a page was open</h2><div class=\"plots\">");
        let count = |value: u64| value.to_string();
        let age = |value: u64| span(i64::try_from(value).unwrap_or(i64::MAX));
        plot(&mut html, "ready", &points, |point| point.ready, count);
        plot(&mut html, "running", &points, |point| point.running, count);
        plot(&mut html, "unhappy", &points, |point| point.unhappy, count);
        plot(&mut html, "oldest ready", &points, |point| point.oldest_ms, age);
        html.raw("</div>");
        html
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Point>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A line over time, or the dot of the only look; and in words what it ends at and where it was highest.
fn plot(
    html: &mut Html,
    name: &'static str,
    points: &[Point],
    of: impl Fn(&Point) -> u64,
    say: impl Fn(u64) -> String,
) {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return };
    let most = points.iter().map(&of).max().unwrap_or(0);
    let time = last.at.saturating_duration_since(first.at);
    let now = say(of(last));
    let words = match points.len() {
        1 => format!("{name}: {now}, one look so far"),
        _ => {
            let time = span(i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
            format!("{name}: {now}, at most {} in {time}", say(most))
        }
    };
    let height =
        |point: &Point| 1.0 + (1.0 - share(of(point) as f64, most as f64)) * (HEIGHT - 2.0);
    html.raw("<figure><figcaption>")
        .text(&words)
        .raw("</figcaption><svg role=\"img\" viewBox=\"0 0 ");
    html.text(WIDTH).raw(" ").text(HEIGHT).raw("\" aria-label=\"").text(&words);
    html.raw("\">");
    if points.len() == 1 {
        let y = height(last).clamp(DOT, HEIGHT - DOT);
        html.raw("<circle fill=\"currentColor\" cx=\"").text(DOT).raw("\" cy=\"");
        html.text(format_args!("{y:.1}")).raw("\" r=\"").text(DOT).raw("\"/>");
    } else {
        html.raw("<polyline fill=\"none\" stroke=\"currentColor\" stroke-width=\"2\" points=\"");
        for point in points {
            let since = point.at.saturating_duration_since(first.at);
            let x = share(since.as_secs_f64(), time.as_secs_f64());
            html.text(format_args!("{:.1},{:.1} ", x * WIDTH, height(point)));
        }
        html.raw("\"/>");
    }
    html.raw("</svg></figure>");
}

/// How much of the whole; 0 of nothing.
fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { (part / whole).clamp(0.0, 1.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn point(at: Instant, value: u64) -> Point {
        Point { at, ready: value, running: 0, unhappy: 1, oldest_ms: value }
    }

    #[test]
    fn every_number_has_a_place_in_the_plot_and_old_ones_go() {
        let began = Instant::now();
        let plots = Plots::default();
        assert!(!plots.draw().as_str().contains("svg"));
        plots.add(point(began, u64::MAX));
        let drawn = plots.draw().into_string();
        assert!(drawn.contains("running: 0, one look so far"), "{drawn}");
        assert!(drawn.contains("cy=\"3.0\"") && drawn.contains("cy=\"57.0\""), "{drawn}");
        assert_eq!((drawn.matches("<circle").count(), drawn.contains("at most")), (4, false));
        for second in 0..POINTS as u64 {
            plots.add(point(began + Duration::from_secs(second), second));
        }
        let drawn = plots.draw().into_string();
        assert!(drawn.contains("ready: 149, at most 149 in 2 min 29 s"), "{drawn}");
        assert!(drawn.contains("0.0,59.0 ") && drawn.contains("300.0,1.0 "), "{drawn}");
        assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
        assert_eq!(plots.lock().len(), POINTS);
    }
}
