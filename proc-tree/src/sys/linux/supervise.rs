//! How a process becomes a supervisor: it runs the helper program, or goes on as a copy of the caller.
//!
//! The loop itself is in `watch.rs`. Between the start of a process and its exec the rules of `launch.rs`
//! hold.
#![expect(unsafe_code, reason = "code before an exec, and a copy that gives its memory back")]

use super::direct;
use super::launch::{Fault, errno, unless_negative};
use super::raw::{
    block_all_signals, fork, heed_children, ignore_children, prctl, read_file, reap_one, set_mask,
};
use super::stat::parse;
use super::told::Told;
use super::watch::{Order, watch};
use crate::error::SpawnStep;
use std::ffi::{CStr, CString};
use std::ops::Range;
use std::os::fd::RawFd;
use std::ptr;

/// What the supervisor needs to know. Lives in memory that it shares or that the fork copies.
#[derive(Debug)]
pub(crate) struct Supervise {
    /// Its end of the socket to the caller.
    pub(crate) control: RawFd,
    /// It is the first process of a PID namespace: its end is the end of all others.
    pub(crate) namespace: bool,
    /// The leaf of the tree: emptied and removed when the caller is gone.
    pub(crate) leaf: Option<LeafFiles>,
    /// The helper program; without it the supervisor is a copy of the caller.
    pub(crate) helper: Option<RawFd>,
    /// The variables by which trees around this one recognise their members.
    pub(crate) variables: Vec<CString>,
}

/// The leaf, as far as the supervisor needs it.
#[derive(Debug)]
pub(crate) struct LeafFiles {
    pub(crate) kill: RawFd,
    pub(crate) path: CString,
}

/// The name of the helper in `ps -f`; the pid of the root follows.
pub(super) const NAME: &CStr = c"lastout-supervisor";

/// How many variables of outer trees the helper keeps: they are passed through an array.
const MOST_VARIABLES: usize = 30;

impl Supervise {
    /// Splits a process that was forked from the caller: returns in the root, and never in the supervisor.
    pub(super) fn split(&self, told: &Told) -> Result<(), Fault> {
        let failed = |errno| Fault { step: SpawnStep::Supervisor, errno };
        prepare();
        let ignored = heed_children();
        let before = block_all_signals();
        match fork() {
            0 => {
                if ignored {
                    ignore_children();
                }
                set_mask(before);
                self.begin_root(told, true)
            }
            root if root > 0 => self.go_on(told, root, false),
            _ => Err(failed(errno())),
        }
    }

    /// What the root does first, below its supervisor.
    pub(super) fn begin_root(&self, told: &Told, tells: bool) -> Result<(), Fault> {
        // When the supervisor is killed by somebody, the root goes too: the supervisor has one
        // thread, so this is its end and not that of a thread.
        prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong);
        if tells {
            // Read before the namespace shows its own `/proc`, so the pid is the one that the caller sees.
            let mut text = [0; 1024];
            let length = read_file(c"/proc/self/stat", &mut text);
            let stat = text.get(..length).and_then(|text| Some(parse(text)?.0));
            if let Some(stat) = stat {
                told.set_root(stat.pid as i32, stat.start);
            }
        }
        if self.namespace {
            show_namespace().map_err(|errno| Fault { step: SpawnStep::Namespace, errno })?;
        }
        Ok(())
    }

    /// The supervisor, once the root is there and the table of descriptors is its own: never returns to the
    /// caller's code. One that still has the memory of the caller cannot go on in it.
    pub(super) fn go_on(&self, told: &Told, root: libc::pid_t, shares_memory: bool) -> ! {
        direct::lead_a_group();
        let kill = self.leaf.as_ref().map_or(-1, |leaf| leaf.kill);
        // The socket is above the standard ones, so this order overwrites neither.
        for (from, to) in [(kill, 1), (self.control, 0)] {
            // SAFETY: a system call without pointers.
            unsafe { libc::dup2(from, to) };
        }
        if let Some(helper) = self.helper {
            let errno = self.run_helper(helper, root);
            if shares_memory {
                give_up(told, root, errno);
            }
        }
        told.set_copy();
        self.watch_as_copy(root)
    }

    /// Executes the helper; returns only when that fails, with the error.
    fn run_helper(&self, helper: RawFd, root: libc::pid_t) -> i32 {
        let mut pid = [0; 12];
        write_number(root, &mut pid);
        let flag = if self.namespace { c"n" } else { c"-" };
        let leaf = self.leaf.as_ref().map_or(ptr::null(), |leaf| leaf.path.as_ptr());
        let arguments = [NAME.as_ptr(), pid.as_ptr(), flag.as_ptr(), leaf, ptr::null()];
        let mut variables = [ptr::null(); MOST_VARIABLES + 1];
        for (variable, slot) in self.variables.iter().zip(variables.iter_mut().take(MOST_VARIABLES))
        {
            *slot = variable.as_ptr();
        }
        execute_file(helper, arguments.as_ptr(), variables.as_ptr())
    }

    fn watch_as_copy(&self, root: libc::pid_t) -> ! {
        let mut path = [0; 4096];
        let leaf = self.leaf.as_ref().map(|leaf| {
            let bytes = leaf.path.to_bytes_with_nul();
            path.iter_mut().zip(bytes).for_each(|(slot, byte)| *slot = *byte);
            &path[..]
        });
        let kill_file = if leaf.is_some() { 1 } else { -1 };
        let order = Order { control: 0, kill_file, leaf, root, namespace: self.namespace };
        direct::close_from(kill_file.max(0) + 1);
        // Everything that is needed from here on is on this stack.
        give_memory_back();
        watch(order)
    }
}

/// Ends a supervisor that cannot go on, and its root before.
pub(super) fn give_up(told: &Told, root: libc::pid_t, errno: i32) -> ! {
    told.fail(Fault { step: SpawnStep::Supervisor, errno });
    direct::kill(root, libc::SIGKILL);
    reap_one(root);
    direct::exit(127);
}

/// Orphans of the tree fall to this process, and it goes on when the caller dies, even if a member has stopped it:
/// from before the root on, so that no member is faster.
pub(super) fn prepare() {
    prctl(libc::PR_SET_CHILD_SUBREAPER, 1);
    direct::go_on_without_parent();
}

/// Executes an open file; returns only when that fails, with the error.
pub(super) fn execute_file(
    file: RawFd,
    arguments: *const *const libc::c_char,
    variables: *const *const libc::c_char,
) -> i32 {
    // SAFETY: both arrays end with a null, and hold strings that are terminated.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file,
            c"".as_ptr(),
            arguments,
            variables,
            libc::AT_EMPTY_PATH,
        )
    };
    errno()
}

/// Writes a positive number and a NUL.
fn write_number(number: libc::pid_t, into: &mut [libc::c_char; 12]) {
    let mut digits = [0u8; 10];
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
    let digits = digits.iter().skip(from);
    into.iter_mut().zip(digits).for_each(|(slot, digit)| *slot = *digit as libc::c_char);
}

/// Unmaps what a copy of the caller does not need: memory without a file, and memory that is shared with
/// others. What is left is the code, and this thread's part of its stack and of its own data, into which the
/// kernel writes whenever it lets the thread run.
fn give_memory_back() {
    let here = 0u8;
    // SAFETY: the address of this thread's own data is asked for, and nothing is read.
    let own = unsafe { libc::__errno_location() };
    let mut kept = [around((&raw const here).addr()), around(own.addr())];
    if kept[1].start < kept[0].start {
        kept.swap(0, 1);
    }
    let mut is_watched = false;
    each_mapping(&mut |range| is_watched |= range.len() >= SHADOW);
    if is_watched {
        return;
    }
    each_mapping(&mut |range| {
        for part in without(range, &kept) {
            // SAFETY: nothing of this process is there but the heap and the stacks of the caller: the loop that
            // follows uses what is kept, and code and constants that are files.
            unsafe { direct::unmap(part.start, part.end) };
        }
    });
}

/// A mapping of this size is the memory of a sanitizer, which each access to other memory needs: such a copy
/// keeps everything.
#[cfg(target_pointer_width = "64")]
const SHADOW: usize = 1 << 42;
#[cfg(not(target_pointer_width = "64"))]
const SHADOW: usize = usize::MAX;

/// Calls `visit` with every mapping that may go.
fn each_mapping(visit: &mut dyn FnMut(Range<usize>)) {
    let file = direct::open(b"/proc/self/maps\0");
    if file < 0 {
        return;
    }
    let mut line = Line::default();
    let mut buffer = [0; 2048];
    loop {
        let length = direct::read(file, &mut buffer);
        let Some(text) = usize::try_from(length).ok().and_then(|length| buffer.get(..length))
        else {
            break;
        };
        if text.is_empty() {
            break;
        }
        for byte in text {
            if let Some(range) = line.take(*byte) {
                visit(range);
            }
        }
    }
    direct::close(file);
}

/// As much as is kept around an address: more than this process uses, in whole pages of any size.
fn around(address: usize) -> Range<usize> {
    let place = address & !(WINDOW - 1);
    place.saturating_sub(WINDOW)..place.saturating_add(2 * WINDOW)
}

const WINDOW: usize = 64 * 1024;

/// The parts of `range` that are not kept; `kept` is in the order of addresses.
fn without(range: Range<usize>, kept: &[Range<usize>; 2]) -> [Range<usize>; 3] {
    let mut parts = [0..0, 0..0, 0..0];
    let mut from = range.start;
    for (kept, part) in kept.iter().zip(&mut parts) {
        if kept.start < range.end && kept.end > from {
            *part = from..kept.start.max(from);
            from = kept.end.min(range.end);
        }
    }
    parts[2] = from..range.end;
    parts
}

/// One line of the list of mappings: `from-to rwxp offset device inode name`.
#[derive(Default)]
struct Line {
    from: usize,
    to: usize,
    /// Which word the next byte belongs to, and how many bytes of it were seen.
    word: usize,
    seen: usize,
    is_shared: bool,
    first: u8,
    second: u8,
    in_word: bool,
}

impl Line {
    /// Takes the next byte; at the end of a line, the range that may go.
    fn take(&mut self, byte: u8) -> Option<Range<usize>> {
        match byte {
            b'\n' => {
                let line = std::mem::take(self);
                let is_anonymous =
                    line.first == 0 || (line.first == b'[' && matches!(line.second, b'h' | b'a'));
                return (is_anonymous || line.is_shared).then_some(line.from..line.to);
            }
            b' ' if self.word == 5 && self.seen == 0 => return None,
            b' ' if self.word < 5 => {
                self.word += usize::from(self.in_word);
                (self.in_word, self.seen) = (false, 0);
                return None;
            }
            b'-' if self.word == 0 => {
                self.seen = usize::MAX;
                return None;
            }
            _ => {}
        }
        self.in_word = true;
        match self.word {
            0 => {
                let digit = char::from(byte).to_digit(16).unwrap_or(0) as usize;
                let number = if self.seen == usize::MAX { &mut self.to } else { &mut self.from };
                *number = number.wrapping_mul(16).wrapping_add(digit);
            }
            1 => self.is_shared |= byte == b's',
            5 => {
                match self.seen {
                    0 => self.first = byte,
                    1 => self.second = byte,
                    _ => {}
                }
                self.seen = self.seen.wrapping_add(1);
            }
            _ => {}
        }
        None
    }
}

/// Puts the namespace's own `/proc` over the one that shows the caller's pids.
fn show_namespace() -> Result<(), i32> {
    // SAFETY: a system call without pointers.
    unless_negative(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    let none: *const libc::c_char = ptr::null();
    let (root, proc) = (c"/".as_ptr(), c"/proc".as_ptr());
    let slave = libc::MS_REC | libc::MS_SLAVE;
    // SAFETY: strings are terminated, and null where the call ignores them.
    unless_negative(unsafe { libc::mount(none, root, none, slave, ptr::null()) })?;
    let kind = c"proc".as_ptr();
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    // SAFETY: as above.
    unless_negative(unsafe { libc::mount(kind, proc, kind, flags, ptr::null()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_has_no_file_or_is_shared_may_go_and_code_may_not() {
        let maps = "\
00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/dbus daemon
00e03000-00e24000 rw-p 00000000 00:00 0           [heap]
7f00-8000 rw-p 00000000 00:00 0
8000-9000 rw-s 00001000 00:05 77                  /memfd:x (deleted)
a000-b000 r-xp 00000000 00:00 0                   [vdso]
b000-c000 rw-p 00000000 00:00 0                   [anon:arena]
c000-d000 rw-p 00000000 00:00 0                   [stack]
";
        let mut line = Line::default();
        let ranges: Vec<_> = maps.bytes().filter_map(|byte| line.take(byte)).collect();
        let expected =
            [(0xe0_3000, 0xe2_4000), (0x7f00, 0x8000), (0x8000, 0x9000), (0xb000, 0xc000)];
        assert_eq!(ranges, expected.map(|(from, to)| from..to));
    }

    #[test]
    fn what_is_in_use_is_cut_out_of_a_mapping() {
        let cut = |(from, to): (usize, usize), kept: [(usize, usize); 2]| {
            let parts = without(from..to, &kept.map(|(from, to)| from..to));
            let parts = parts.into_iter().filter(|part| !part.is_empty());
            parts.map(|part| (part.start, part.end)).collect::<Vec<_>>()
        };
        assert_eq!(cut((0, 100), [(10, 20), (50, 60)]), [(0, 10), (20, 50), (60, 100)]);
        assert_eq!(cut((0, 100), [(10, 60), (50, 120)]), [(0, 10)]);
        assert_eq!(cut((30, 40), [(10, 60), (80, 90)]), []);
        assert_eq!(cut((70, 75), [(10, 60), (80, 90)]), [(70, 75)]);
        assert_eq!(cut((15, 85), [(10, 20), (80, 90)]), [(20, 80)]);
    }

    #[test]
    fn a_number_is_written_with_its_nul() {
        for number in [1, 10, 4_194_304, libc::pid_t::MAX] {
            let mut text = [0x7f; 12];
            text[11] = 0;
            let mut text = text.map(|_: i32| 0 as libc::c_char);
            write_number(number, &mut text);
            // SAFETY: the array has more places than there are digits, and is zero behind them.
            let text = unsafe { CStr::from_ptr(text.as_ptr()) };
            assert_eq!(text.to_str().unwrap(), number.to_string());
        }
    }
}
