//! How much memory the processes of a browser use together.

/// The proportional set size of these processes in bytes: shared pages are divided among those who
/// share them, so the sum is what would be free without the browser. Resident sizes would count them
/// three to five times.
pub(super) fn proportional(pids: impl IntoIterator<Item = u32>) -> Option<u64> {
    let sizes = pids.into_iter().filter_map(|pid| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        pss(&text)
    });
    sizes.reduce(|sum, size| sum + size)
}

fn pss(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proportional_line_is_read() {
        assert_eq!(
            pss("Rss:  9 kB\nPss:                1234 kB\nPss_Dirty: 1 kB"),
            Some(1234 * 1024)
        );
        assert_eq!(pss("Rss: 9 kB"), None);
        assert_eq!(pss("Pss: many"), None);
    }

    #[test]
    fn this_process_uses_memory() {
        let own = proportional([std::process::id()]);
        assert!(own.is_none_or(|bytes| bytes > 100_000), "{own:?}");
        assert_eq!(proportional([]), None);
    }
}
