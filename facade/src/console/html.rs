//! Writes HTML: markup of ours as it is, text of others escaped.

use std::fmt::{self, Display, Write};

/// A piece of a page. What is not a literal of this crate goes through [`text`](Self::text).
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Html(String);

impl Html {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A piece that is text alone.
    pub(crate) fn of(text: impl Display) -> Self {
        let mut html = Self::new();
        html.text(text);
        html
    }

    /// Adds markup as it stands.
    pub(crate) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Adds text; nothing of it is markup, in an element or in a quoted attribute. A line break is written
    /// as a reference, so that a piece is one line.
    pub(crate) fn text(&mut self, text: impl Display) -> &mut Self {
        // Writing to a string fails only if the `Display` does.
        let _ = write!(Escaped(&mut self.0), "{text}");
        self
    }

    pub(crate) fn add(&mut self, piece: &Self) -> &mut Self {
        self.0.push_str(&piece.0);
        self
    }

    pub(crate) fn link(href: impl Display, text: impl Display) -> Self {
        let mut html = Self::new();
        html.raw("<a href=\"").text(href).raw("\">").text(text).raw("</a>");
        html
    }

    /// A word with a class, which gives it a colour; the word says the same without one.
    pub(crate) fn mark(class: &'static str, text: impl Display) -> Self {
        let mut html = Self::new();
        html.raw("<span class=\"").raw(class).raw("\">").text(text).raw("</span>");
        html
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\n' => self.0.push_str("&#10;"),
                '\r' => self.0.push_str("&#13;"),
                '\t' => self.0.push('\t'),
                c if c.is_control() => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

/// The most rows of a table: a page of all queues of a large store would be of no use, and slow.
const ROWS: usize = 500;

/// A table. On a narrow screen each row is a card, and each cell says what it is.
#[derive(Debug)]
pub(crate) struct Table {
    heads: &'static [&'static str],
    rows: Vec<Vec<Html>>,
}

impl Table {
    pub(crate) fn new(heads: &'static [&'static str]) -> Self {
        Self { heads, rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Html>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table, or a sentence when it has no row.
    pub(crate) fn or(&self, empty: &'static str) -> Html {
        let mut html = Html::new();
        if self.rows.is_empty() {
            html.raw("<p class=\"quiet\">").raw(empty).raw("</p>");
            return html;
        }
        html.raw("<table><thead><tr>");
        for head in self.heads {
            html.raw("<th scope=\"col\">").raw(head).raw("</th>");
        }
        html.raw("</tr></thead><tbody>");
        for row in self.rows.iter().take(ROWS) {
            html.raw("<tr>");
            for (cell, head) in row.iter().zip(self.heads) {
                html.raw("<td data-is=\"").raw(head).raw("\"><div>").add(cell).raw("</div></td>");
            }
            html.raw("</tr>");
        }
        html.raw("</tbody></table>");
        let more = self.rows.len().saturating_sub(ROWS);
        if more > 0 {
            html.raw("<p class=\"quiet\">and ").text(more).raw(" more</p>");
        }
        html
    }
}

/// The first `most` bytes of a text, to a whole character, and a sign when there is more.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}…", &text[..end])
}

/// A span of time in two units at most, such as `3.2 s` or `14 min`.
pub(crate) fn span(ms: i64) -> String {
    let ms = ms.max(0);
    let (seconds, minutes, hours) = (ms / 1_000, ms / 60_000, ms / 3_600_000);
    match () {
        () if ms < 1_000 => format!("{ms} ms"),
        () if seconds < 60 => format!("{seconds}.{} s", ms % 1_000 / 100),
        () if minutes < 60 => format!("{minutes} min {} s", seconds % 60),
        () if hours < 48 => format!("{hours} h {} min", minutes % 60),
        () => format!("{} d {} h", hours / 24, hours % 24),
    }
}

/// A time of a store in UTC; 0 stands for never.
#[cfg(feature = "work-runner")]
pub(crate) fn instant(ms: i64) -> String {
    if ms == 0 {
        return "never".to_owned();
    }
    let (days, second) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000) / 1_000);
    // Years begin in March here, so that the day of a leap year is its last one; eras have 400 years.
    let day = days + 719_468;
    let (era, day) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{date:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_markup_or_a_second_line() {
        let hostile = "<script>alert('x')</script>\" onload=\"y\r\ndata: z\u{0}&amp;";
        let html = Html::link(hostile, hostile).into_string();
        assert_eq!(html.matches('<').count(), 2, "{html}");
        assert_eq!(html.matches('"').count(), 2, "{html}");
        assert!(!html.contains(['\n', '\r', '\0', '\'']), "{html}");
        assert!(html.contains("&amp;amp;"), "{html}");
    }

    #[test]
    fn a_table_shows_a_bounded_number_of_rows_and_counts_the_others() {
        let mut table = Table::new(&["n"]);
        assert!(table.or("none").as_str().contains("none"));
        for n in 0..ROWS + 7 {
            table.row([Html::of(n)]);
        }
        let html = table.or("none").into_string();
        assert_eq!(html.matches("<td").count(), ROWS);
        assert!(html.ends_with("and 7 more</p>"), "{html}");
    }

    #[test]
    fn a_cut_is_at_a_whole_character() {
        assert_eq!(cut("äöü", 3), "ä…");
        assert_eq!(cut("äöü", 0), "…");
        assert_eq!(cut("äöü", 6), "äöü");
    }

    #[cfg(feature = "work-runner")]
    #[test]
    fn times_are_those_of_the_calendar() {
        let shown = [0, 1, 951_782_400_000, 951_868_799_999, 1_795_788_131_000, -1].map(instant);
        assert_eq!(
            shown,
            [
                "never",
                "1970-01-01 00:00:00 UTC",
                "2000-02-29 00:00:00 UTC",
                "2000-02-29 23:59:59 UTC",
                "2026-11-27 14:02:11 UTC",
                "1969-12-31 23:59:59 UTC",
            ]
        );
        assert!(instant(i64::MAX).ends_with("UTC") && instant(i64::MIN).ends_with("UTC"));
    }

    #[test]
    fn spans_are_short_at_every_size() {
        let shown = [i64::MIN, 0, 999, 3_210, 61_000, 7_260_000, i64::MAX].map(span);
        let wanted = ["0 ms", "0 ms", "999 ms", "3.2 s", "1 min 1 s", "2 h 1 min"];
        assert_eq!(shown[..6], wanted);
        assert!(shown[6].contains(" d "), "{}", shown[6]);
    }
}
