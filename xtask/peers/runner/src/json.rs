//! The JSON of a run: one object for each case and bar, as `cargo xtask bench` reads it.

use crate::run::Measured;
use std::fmt::Write as _;

/// Renders all rows as one JSON list; a case with several bars appears once for each.
pub(crate) fn render(rows: &[Measured]) -> String {
    let mut objects = Vec::new();
    for row in rows {
        let head = head(row);
        if row.bars.is_empty() {
            objects.push(format!("{{{head}}}"));
        }
        for bar in &row.bars {
            let mut object =
                format!("{{{head}, \"bar\": {{\"against\": {}", text(bar.against_name()));
            if let Some(max) = bar.max {
                let _ = write!(object, ", \"max\": {}", number(max));
            }
            if let Some(min) = bar.min {
                let _ = write!(object, ", \"min\": {}", number(min));
            }
            let _ = write!(object, "}}, \"met\": {}}}", row.is_met(bar));
            objects.push(object);
        }
    }
    format!("[\n  {}\n]\n", objects.join(",\n  "))
}

fn head(row: &Measured) -> String {
    let better = if row.lower_is_better { "lower" } else { "higher" };
    let peers: Vec<_> = row
        .peers
        .iter()
        .map(|(name, value)| format!("{}: {}", text(name), number(*value)))
        .collect();
    format!(
        "\"case\": {}, \"unit\": {}, \"better\": \"{better}\", \"ours\": {}, \"peers\": {{{}}}, \"floor\": {}",
        text(&row.name),
        text(&row.unit),
        row.ours.map_or("null".into(), number),
        peers.join(", "),
        row.floor.map_or("null".into(), number),
    )
}

/// JSON has no NaN and no infinity.
fn number(value: f64) -> String {
    if value.is_finite() { value.to_string() } else { "null".into() }
}

fn text(raw: &str) -> String {
    let mut out = String::from("\"");
    for c in raw.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_numbers_stay_json() {
        assert_eq!(text("a\"b\\c\n"), "\"a\\\"b\\\\c\\u000a\"");
        assert_eq!(number(f64::NAN), "null");
        assert_eq!(number(1.5), "1.5");
    }
}
