//! Times and sizes as people write them.

use std::time::Duration;

/// A number with a unit of time; without one, seconds.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let unit = match unit {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return Err(format!("{text:?} is not a time: write 500ms, 30s, 5m, 2h or 1d")),
    };
    let seconds = number.parse::<f64>().map(|number| number * unit);
    let time = seconds.ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.ok_or_else(|| format!("{text:?} is not a time: write 500ms, 30s, 5m, 2h or 1d"))
}

/// A number of bytes, with a unit of 1024.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let shift = match unit {
        "" => Some(0),
        "K" => Some(10),
        "M" => Some(20),
        "G" => Some(30),
        "T" => Some(40),
        _ => None,
    };
    let bytes = number.parse::<u64>().ok().zip(shift);
    let bytes = bytes.and_then(|(number, shift)| number.checked_mul(1 << shift));
    bytes.ok_or_else(|| format!("{text:?} is not a size: write 4096, 64K, 512M or 2G"))
}

/// An age in milliseconds, with its largest unit.
pub(crate) fn age(ms: i64) -> String {
    match ms {
        ..1_000 => format!("{ms}ms"),
        1_000..60_000 => format!("{}.{}s", ms / 1_000, ms % 1_000 / 100),
        60_000..3_600_000 => format!("{}m", ms / 60_000),
        3_600_000..86_400_000 => format!("{}h", ms / 3_600_000),
        _ => format!("{}d", ms / 86_400_000),
    }
}

fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_read_or_refused() {
        assert_eq!(time("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(time("0"), Ok(Duration::ZERO));
        assert_eq!(time("2d"), Ok(Duration::from_secs(172_800)));
        for bad in ["", "s", "-1s", "1y", "1e9", "1 s", "1.2.3", &"9".repeat(400)] {
            assert!(time(bad).is_err(), "{bad}");
        }
        assert_eq!(
            (age(-3), age(3_250), age(i64::MAX)),
            ("-3ms".into(), "3.2s".into(), format!("{}d", i64::MAX / 86_400_000))
        );
        assert_eq!(size("2G"), Ok(2 << 30));
        for bad in ["", "G", "1.5G", "-1", "1k", "99999999999999999999", "18446744073709551615K"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
