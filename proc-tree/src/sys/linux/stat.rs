//! The parser of `/proc/<pid>/stat`: pure, and fed with the worst names a process can give itself.

use crate::engine::{Stat, State};

const PF_KTHREAD: u64 = 0x0020_0000;

/// Parses the text of `stat`; also returns the name, which may hold any byte but NUL.
pub(super) fn parse(text: &[u8]) -> Option<(Stat, &[u8])> {
    // The name stands in parentheses and may contain `)`, spaces and newlines: its end is the
    // last parenthesis, because nothing behind it contains one.
    let open = text.iter().position(|byte| *byte == b'(')?;
    let close = text.iter().rposition(|byte| *byte == b')')?;
    let name = text.get(open + 1..close)?;
    let pid = number(text[..open].trim_ascii())?;
    let mut fields = text[close + 1..]
        .split(|byte| byte.is_ascii_whitespace())
        .filter(|field| !field.is_empty());
    let state = State(*fields.next()?.first()?);
    let mut next = || fields.next();
    let parent = number(next()?)?;
    let group = number(next()?)?;
    let session = number(next()?)?;
    let flags = number::<u64>({
        next()?; // the terminal
        next()?; // the group in its foreground
        next()?
    })?;
    let mut rest = fields.skip(10);
    let threads = number(rest.next()?)?;
    rest.next()?; // a constant 0
    let start = number(rest.next()?)?;
    let stat = Stat {
        pid,
        parent,
        group,
        session,
        start,
        threads,
        state,
        is_kernel_thread: flags & PF_KTHREAD != 0,
    };
    Some((stat, name))
}

/// A decimal number; negative ones, which the kernel prints for "none", become 0.
fn number<N: TryFrom<u64>>(digits: &[u8]) -> Option<N> {
    if digits.first() == Some(&b'-') {
        return N::try_from(0).ok();
    }
    let mut value: u64 = 0;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    (!digits.is_empty()).then(|| N::try_from(value).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(name: &[u8], state: u8) -> Vec<u8> {
        let mut text = b"4711 (".to_vec();
        text.extend(name);
        text.extend(b") ");
        text.push(state);
        text.extend(b" 12 4711 99 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 123456 9 9 9\n");
        text
    }

    #[test]
    fn names_full_of_parentheses_and_newlines_do_not_shift_the_fields() {
        for name in [&b"sh"[..], b"", b") Z 1 1 1 (", b"a\nb) R 0 0", b"\xff\xfe)"] {
            let text = line(name, b'S');
            let (stat, parsed) = parse(&text).unwrap();
            assert_eq!(parsed, name);
            assert_eq!((stat.pid, stat.parent, stat.group, stat.session), (4711, 12, 4711, 99));
            assert_eq!((stat.threads, stat.start), (3, 123_456));
            assert!(!stat.is_kernel_thread);
        }
    }

    #[test]
    fn the_kernel_thread_flag_is_seen() {
        let text = b"2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 3 0 0";
        let (stat, _) = parse(text).unwrap();
        assert!(stat.is_kernel_thread);
        assert_eq!((stat.threads, stat.start), (1, 3));
    }

    proptest! {
        #[test]
        fn any_name_is_returned_whole(name in prop::collection::vec(1u8..=255, 0..64)) {
            let text = line(&name, b'Z');
            let (stat, parsed) = parse(&text).unwrap();
            prop_assert_eq!(parsed, &name[..]);
            prop_assert!(stat.state.is_zombie());
        }

        #[test]
        fn no_bytes_panic_the_parser(text in prop::collection::vec(any::<u8>(), 0..256)) {
            let _ = parse(&text);
        }
    }
}
