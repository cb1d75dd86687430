//! The supervisor: the process between the caller and a tree.
//!
//! The child that std forks stays what it is, a copy of the caller that never execs, and becomes the
//! supervisor; it forks again, and *that* child goes on to exec the command. The supervisor is a
//! subreaper: whoever becomes an orphan in the tree becomes its child. It ends when it has no
//! children left, so its end is the end of the tree, and it kills all of them when it is told to, or
//! when the socket to the caller closes because the caller is gone.
//!
//! ```text
//!   caller ──socket── supervisor ── root ── …
//!                          └────── orphans of the tree
//! ```
//!
//! It signals nobody but its own children, and the group of the root while the root is held: numbers
//! that nobody else can have, because nobody but itself waits for them. Like everything between fork and
//! exec it allocates nothing, takes no lock and does not panic: system calls on plain memory are all.
#![expect(unsafe_code, reason = "a forked process that may only make raw system calls")]

use super::launch::check;
use super::raw::{
    block_all_signals, close, errno, fork, keep_only, open, poll_in, prctl, read, read_file,
    set_mask, watch_children,
};
use super::stat::parse;
use std::io;
use std::os::fd::RawFd;
use std::ptr;

/// What the supervisor needs to know. Lives in the memory that the fork copies.
#[derive(Debug, Default)]
pub(crate) struct Supervise {
    /// Its end of the socket to the caller.
    pub(crate) control: RawFd,
    /// It is the first process of a PID namespace: its end is the end of all others.
    pub(crate) namespace: bool,
    /// The leaf of the tree: emptied and removed when the caller is gone.
    pub(crate) leaf: Option<LeafFiles>,
}

/// The leaf, as far as the supervisor needs it.
#[derive(Debug)]
pub(crate) struct LeafFiles {
    pub(crate) kill: RawFd,
    pub(crate) path: std::ffi::CString,
}

/// What the caller tells the supervisor.
pub(crate) const KILL: u8 = b'K';
/// Live on without the caller.
pub(crate) const LET_LIVE: u8 = b'L';

/// A message to the caller: a tag and eight bytes, or for the root its pid and start.
pub(crate) const ROOT: u8 = b'R';
pub(crate) const EXITED: u8 = b'X';
/// Its last word: how many it has killed.
pub(crate) const KILLED: u8 = b'D';
pub(crate) const MESSAGE: usize = 13;

/// The name of the supervisor in `ps`, at most 15 bytes and a NUL.
const NAME: &[u8; 15] = b"lastout-superv\0";

impl Supervise {
    /// Splits the calling process: returns in the root, and never in the supervisor.
    pub(super) fn split(&self) -> io::Result<()> {
        // From before the fork on, so that no orphan is too early.
        prctl(libc::PR_SET_CHILD_SUBREAPER, 1);
        let before = block_all_signals()?;
        match fork() {
            0 => {
                set_mask(&before);
                self.begin_root()
            }
            root if root > 0 => {
                let mut watch = Watch::new(self, root);
                watch.run()
            }
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn begin_root(&self) -> io::Result<()> {
        // When the supervisor is killed by somebody, the root goes too: the supervisor has one
        // thread, so this is its end and not that of a thread.
        prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong);
        let mut text = [0; 1024];
        let length = read_file(c"/proc/self/stat", &mut text);
        let stat = text.get(..length).and_then(|text| Some(parse(text)?.0));
        let stat = stat.ok_or(io::ErrorKind::Unsupported)?;
        send(self.control, ROOT, stat.pid, stat.start);
        if self.namespace {
            show_namespace()?;
        }
        Ok(())
    }
}

/// The state of the supervisor.
struct Watch<'a> {
    order: &'a Supervise,
    control: RawFd,
    signals: RawFd,
    root: libc::pid_t,
    root_is_reaped: bool,
    kills: bool,
    /// Who has died of SIGKILL since it was told to kill. Orphans fall to it, so that is nearly all.
    killed: u64,
    /// The caller has let the tree live on.
    let_live: bool,
}

impl<'a> Watch<'a> {
    fn new(order: &'a Supervise, root: libc::pid_t) -> Self {
        // SAFETY: a system call without pointers; a group of its own keeps the signals of the
        // terminal, and of whoever kills the group of the caller, away.
        unsafe { libc::setpgid(0, 0) };
        prctl(libc::PR_SET_NAME, NAME.as_ptr() as libc::c_ulong);
        let signals = watch_children();
        keep_only([order.control, signals, order.leaf.as_ref().map_or(-1, |leaf| leaf.kill)]);
        // SAFETY: a system call on a literal; it holds no directory of the caller.
        unsafe { libc::chdir(c"/".as_ptr()) };
        Self {
            order,
            control: order.control,
            signals,
            root,
            root_is_reaped: false,
            kills: false,
            killed: 0,
            let_live: false,
        }
    }

    fn run(&mut self) -> ! {
        loop {
            if !self.reap() {
                self.finish();
            }
            if self.kills {
                self.strike();
            }
            let mut fds = [poll_in(self.control), poll_in(self.signals)];
            let timeout = self.patience();
            // SAFETY: both entries are live.
            unsafe { libc::poll(fds.as_mut_ptr(), 2, timeout) };
            if fds[0].revents != 0 {
                self.hear();
            }
            if fds[1].revents != 0 {
                let mut buffer = [0; 1024];
                read(self.signals, &mut buffer);
            }
        }
    }

    /// For how many milliseconds nothing has to be done: for ever, unless children may be missed.
    fn patience(&self) -> libc::c_int {
        match (self.kills, self.signals) {
            (true, _) => 2,
            (false, ..0) => 50,
            (false, _) => -1,
        }
    }

    /// Waits for every child that has ended; whether any child is left.
    fn reap(&mut self) -> bool {
        loop {
            let mut status = 0;
            // SAFETY: `status` is writable. All children here are of the tree: this process never
            // runs anything else.
            let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
            if pid <= 0 {
                return pid == 0 || errno() == libc::EINTR;
            }
            let is_struck = libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL;
            self.killed += u64::from(self.kills && is_struck);
            if pid == self.root {
                self.root_is_reaped = true;
                send(self.order.control, EXITED, 0, u64::from(status.cast_unsigned()));
            }
        }
    }

    /// Takes what the caller said; its silence for ever means that it is gone.
    fn hear(&mut self) {
        let mut word = [0; 1];
        match read(self.control, &mut word) {
            1 if word[0] == KILL => self.kills = true,
            1 if word[0] == LET_LIVE => self.let_live = true,
            1 => {}
            _ => {
                // Closed: there is nothing more to poll.
                self.control = -1;
                self.kills |= !self.let_live;
            }
        }
    }

    /// Kills the group of the root, and every child there is now. Their children become ours.
    fn strike(&mut self) {
        if self.order.namespace {
            self.finish();
        }
        if let Some(leaf) = &self.order.leaf {
            // SAFETY: one byte of a literal is read; without this file the loop does it.
            unsafe { libc::write(leaf.kill, c"1".as_ptr().cast(), 1) };
        }
        if !self.root_is_reaped {
            kill_group(self.root);
        }
        each_child(&mut |child| kill_child(child));
    }

    /// Nobody is left, or the kernel kills them with us.
    fn finish(&self) -> ! {
        if let Some(leaf) = self.order.leaf.as_ref().filter(|_| self.control < 0) {
            // SAFETY: a system call on a string that is terminated.
            unsafe { libc::rmdir(leaf.path.as_ptr()) };
        }
        send(self.control, KILLED, 0, self.killed);
        // SAFETY: ends this process at once, without running anything of the caller's.
        unsafe { libc::_exit(0) }
    }
}

/// Signals a group that is led by a child that nobody has waited for.
fn kill_group(leader: libc::pid_t) {
    // SAFETY: a system call without pointers.
    if leader > 1 && unsafe { libc::getpgid(leader) } == leader {
        // SAFETY: a system call without pointers. The leader is our unreaped child, so its number
        // is its own, and so is the group that it leads.
        unsafe { libc::kill(-leader, libc::SIGKILL) };
    }
}

/// Signals a child that nobody has waited for, because nobody but us can.
fn kill_child(child: libc::pid_t) {
    if child > 1 {
        // SAFETY: a system call without pointers.
        unsafe { libc::kill(child, libc::SIGKILL) };
    }
}

/// Calls `visit` for each child of the only thread of this process.
fn each_child(visit: &mut dyn FnMut(libc::pid_t)) {
    let file = open(c"/proc/thread-self/children");
    if file < 0 {
        return;
    }
    let mut buffer = [0; 4096];
    let mut number: libc::pid_t = 0;
    loop {
        let length = read(file, &mut buffer);
        let Some(text) = usize::try_from(length).ok().and_then(|length| buffer.get(..length))
        else {
            break;
        };
        if text.is_empty() {
            break;
        }
        for byte in text {
            // A number may be cut by the end of the buffer, so it is carried over.
            if byte.is_ascii_digit() {
                number = number.wrapping_mul(10).wrapping_add(libc::pid_t::from(byte - b'0'));
            } else if number != 0 {
                visit(number);
                number = 0;
            }
        }
    }
    close(file);
}

/// Puts the namespace's own `/proc` over the one that shows the caller's pids.
fn show_namespace() -> io::Result<()> {
    // SAFETY: a system call without pointers.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    let none: *const libc::c_char = ptr::null();
    let (root, proc) = (c"/".as_ptr(), c"/proc".as_ptr());
    let slave = libc::MS_REC | libc::MS_SLAVE;
    // SAFETY: strings are terminated, and null where the call ignores them.
    check(unsafe { libc::mount(none, root, none, slave, ptr::null()) })?;
    let kind = c"proc".as_ptr();
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    // SAFETY: as above.
    check(unsafe { libc::mount(kind, proc, kind, flags, ptr::null()) })
}

fn send(control: RawFd, tag: u8, number: u32, value: u64) {
    let mut message = [0; MESSAGE];
    let parts = std::iter::once(tag).chain(number.to_ne_bytes()).chain(value.to_ne_bytes());
    message.iter_mut().zip(parts).for_each(|(slot, byte)| *slot = byte);
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: the message is readable for its length. A caller that is gone needs no message.
    unsafe { libc::send(control, message.as_ptr().cast(), MESSAGE, flags) };
}
