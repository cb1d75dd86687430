//! How a supervisor finds, holds and signals its descendants: through `/proc`, without libc.
//!
//! Compiled twice, like `direct.rs` and `watch.rs`, under the same rules.

use super::direct::{self, RawPid};

pub(crate) const SIGKILL: i32 = 9;

/// The descendants of a supervisor, as a strike sees them. A test has a family of its own.
pub(crate) trait Family {
    /// Writes the children of the supervisor, or of a process, into `list`; returns how many there are.
    fn children(&mut self, of: Option<RawPid>, list: &mut [RawPid]) -> usize;
    fn parent(&mut self, pid: RawPid) -> RawPid;
    /// A descriptor for the process; negative when there is none.
    fn hold(&mut self, pid: RawPid) -> i32;
    fn is_over(&mut self, hold: i32) -> bool;
    fn signal(&mut self, hold: i32, signal: i32);
    fn release(&mut self, hold: i32);
    /// Kills a child of the supervisor by its number.
    fn kill_child(&mut self, pid: RawPid);
    fn now(&mut self) -> u64;
}

/// The processes of the system.
pub(crate) struct Kernel;

impl Family for Kernel {
    fn children(&mut self, of: Option<RawPid>, list: &mut [RawPid]) -> usize {
        let mut list = List { pids: list, count: 0 };
        let Some(pid) = of else {
            // The supervisor has one thread.
            list.read(direct::open(b"/proc/thread-self/children\0"));
            return list.count;
        };
        let mut path = Path::new();
        path.push(b"/proc/").push_number(pid).push(b"/task/");
        let directory = direct::open(&path.bytes);
        let mut entries = [0; 1024];
        if directory < 0 {
            return 0;
        }
        loop {
            let length = direct::entries(directory, &mut entries);
            let Some(mut rest) = filled(&entries, length) else { break };
            // Eight bytes, eight bytes, the length of the entry in two, a type in one, and the name.
            while let Some([low, high]) = rest.get(16..18) {
                let length = usize::from(u16::from_ne_bytes([*low, *high]));
                if let Some(thread) = rest.get(19..length).and_then(number) {
                    let mut path = path.clone();
                    path.push_number(thread).push(b"/children");
                    list.read(direct::open(&path.bytes));
                }
                rest = rest.get(length.max(1)..).unwrap_or(&[]);
            }
        }
        direct::close(directory);
        list.count
    }

    fn parent(&mut self, pid: RawPid) -> RawPid {
        let mut path = Path::new();
        path.push(b"/proc/").push_number(pid).push(b"/stat");
        let mut text = [0; 512];
        let file = direct::open(&path.bytes);
        let length = direct::read(file, &mut text);
        direct::close(file);
        let text = filled(&text, length).unwrap_or(&[]);
        // `pid (name) state parent …`, and the name may hold anything.
        let end = text.iter().rposition(|byte| *byte == b')');
        end.and_then(|end| number(text.get(end.wrapping_add(4)..)?)).unwrap_or(-1)
    }

    fn hold(&mut self, pid: RawPid) -> i32 {
        direct::hold(pid)
    }

    fn is_over(&mut self, hold: i32) -> bool {
        direct::is_over(hold)
    }

    fn signal(&mut self, hold: i32, signal: i32) {
        // Who may not be signalled lives, and the caller names it.
        direct::signal(hold, signal);
    }

    fn release(&mut self, hold: i32) {
        direct::close(hold);
    }

    fn kill_child(&mut self, pid: RawPid) {
        if pid > 1 {
            direct::kill(pid, SIGKILL);
        }
    }

    fn now(&mut self) -> u64 {
        direct::now()
    }
}

/// What a call has written into `bytes`; `None` at the end and on an error.
fn filled(bytes: &[u8], length: isize) -> Option<&[u8]> {
    bytes.get(..usize::try_from(length).ok()?).filter(|bytes| !bytes.is_empty())
}

/// The decimal number that `text` begins with.
pub(crate) fn number(text: &[u8]) -> Option<RawPid> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(None, |number: Option<RawPid>, digit| Some(append(number.unwrap_or(0), *digit)))
}

fn append(number: RawPid, digit: u8) -> RawPid {
    number.wrapping_mul(10).wrapping_add(RawPid::from(digit.wrapping_sub(b'0')))
}

/// Pids that files of children have named.
struct List<'a> {
    pids: &'a mut [RawPid],
    count: usize,
}

impl List<'_> {
    /// Reads an open file of children to its end, and closes it.
    fn read(&mut self, file: i32) {
        if file < 0 {
            return;
        }
        let mut buffer = [0; 1024];
        let mut pid = 0;
        loop {
            let length = direct::read(file, &mut buffer);
            let Some(text) = filled(&buffer, length) else { break };
            for byte in text {
                // A number may be cut by the end of the buffer, so it is carried over.
                if byte.is_ascii_digit() {
                    pid = append(pid, *byte);
                } else if pid != 0 {
                    self.push(pid);
                    pid = 0;
                }
            }
        }
        direct::close(file);
    }

    fn push(&mut self, pid: RawPid) {
        if let Some(slot) = self.pids.get_mut(self.count) {
            *slot = pid;
            self.count = self.count.wrapping_add(1);
        }
    }
}

/// A path below `/proc`, with NULs behind it.
#[derive(Clone)]
struct Path {
    bytes: [u8; 64],
    length: usize,
}

impl Path {
    fn new() -> Self {
        Self { bytes: [0; 64], length: 0 }
    }

    fn push(&mut self, part: &[u8]) -> &mut Self {
        for byte in part {
            // The last byte stays a NUL.
            let free = self.bytes.get_mut(..63).and_then(|free| free.get_mut(self.length));
            if let Some(slot) = free {
                *slot = *byte;
                self.length = self.length.wrapping_add(1);
            }
        }
        self
    }

    fn push_number(&mut self, number: RawPid) -> &mut Self {
        let mut digits = [0; 10];
        let mut rest = number.unsigned_abs();
        let mut from = digits.len();
        for (place, slot) in digits.iter_mut().enumerate().rev() {
            *slot = b'0'.wrapping_add((rest % 10) as u8);
            rest /= 10;
            from = place;
            if rest == 0 {
                break;
            }
        }
        self.push(digits.get(from..).unwrap_or(&[]))
    }
}
