//! The conditions that a caller may find itself in: who it is, what it may write, and what it may call.
#![expect(
    unsafe_code,
    reason = "a process changes what it is by raw system calls, before any thread"
)]

use std::ffi::CString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::ptr;

/// Who everybody is that is not root.
const NOBODY: libc::uid_t = 65_534;

/// How many processes a fork bomb gets, and how many everything of a worker gets.
const BOMB: &str = "400";
const WORKER: &str = "3000";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// As root.
    Root,
    /// As an ordinary user, without a cgroup to write to.
    User,
    /// As an ordinary user with a cgroup of its own.
    Delegated,
    /// As an ordinary user who sees only what it may trace.
    Hidden,
    /// As the first process of a PID namespace with few pids, so that numbers come back soon.
    First,
    /// As root, and the cgroup file systems cannot be written.
    ReadOnly,
    /// As root, and `clone3` answers EPERM, as in an older container.
    NoClone3,
    /// As root, and `clone3` and `pidfd_open` answer ENOSYS.
    Missing,
    /// As root, and `clone3` and `pidfd_open` answer EPERM.
    Forbidden,
}

impl Condition {
    pub(crate) const ALL: [Self; 9] = [
        Self::Root,
        Self::User,
        Self::Delegated,
        Self::Hidden,
        Self::First,
        Self::ReadOnly,
        Self::NoClone3,
        Self::Missing,
        Self::Forbidden,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::User => "user",
            Self::Delegated => "delegated",
            Self::Hidden => "hidepid",
            Self::First => "pid-1",
            Self::ReadOnly => "read-only",
            Self::NoClone3 => "no-clone3",
            Self::Missing => "enosys",
            Self::Forbidden => "eperm",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|condition| condition.name() == name)
    }

    pub(crate) fn is_possible(self) -> Result<(), String> {
        // SAFETY: a system call without pointers.
        let is_root = unsafe { libc::geteuid() } == 0;
        match self {
            Self::User => Ok(()),
            _ if !is_root => Err("it needs root".into()),
            Self::Delegated if unified().is_none() => Err("no cgroup v2 is mounted".into()),
            _ => Ok(()),
        }
    }

    /// Makes the calling process what the condition says. Returns what storms are handed.
    pub(crate) fn enter(self, group: Option<&str>) -> Doors {
        let bomb = group.and_then(|group| {
            let group = Path::new(group);
            std::fs::write(group.join("cgroup.procs"), "0").expect("the worker joins its group");
            File::options().write(true).open(group.join("bomb/cgroup.procs")).ok()
        });
        match self {
            Self::Root => {}
            Self::User => become_nobody(),
            Self::Delegated => {
                join_delegated();
                become_nobody();
            }
            Self::Hidden => {
                own_mounts();
                mount("proc", "/proc", Some("proc"), 0, Some("hidepid=2"));
                become_nobody();
            }
            Self::First => {
                become_first();
                own_mounts();
                mount("proc", "/proc", Some("proc"), 0, None);
                if has_pid_max_of_its_own() {
                    std::fs::write("/proc/sys/kernel/pid_max", "1500").expect("few pids");
                }
            }
            Self::ReadOnly => {
                own_mounts();
                for mounted in cgroup_mounts() {
                    let flags = libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY;
                    mount("none", &mounted, None, flags, None);
                }
            }
            Self::NoClone3 => filter(libc::EPERM, libc::SYS_clone3),
            Self::Missing => filter(libc::ENOSYS, libc::SYS_pidfd_open),
            Self::Forbidden => filter(libc::EPERM, libc::SYS_pidfd_open),
        }
        Doors { bomb: bomb.map(OwnedFd::from) }
    }
}

/// What a storm is handed by whoever could still open it.
#[derive(Debug)]
pub(crate) struct Doors {
    /// The `cgroup.procs` of the group in which a fork bomb finds its limit.
    pub(crate) bomb: Option<OwnedFd>,
}

/// A limit of processes for one worker, outside of what the crate knows, with a smaller one for bombs.
#[derive(Debug)]
pub(crate) struct Group {
    path: String,
}

impl Group {
    /// `None` where it cannot be made; then the limit of the user has to do.
    pub(crate) fn make() -> Option<Self> {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let parent = Path::new("/sys/fs/cgroup/pids");
        let path = parent.join(format!("soak-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).ok()?;
        let group = Self { path: path.to_str()?.to_owned() };
        std::fs::create_dir(path.join("bomb")).ok()?;
        std::fs::write(path.join("pids.max"), WORKER).ok()?;
        std::fs::write(path.join("bomb/pids.max"), BOMB).ok()?;
        Some(group)
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for path in [format!("{}/bomb", self.path), self.path.clone()] {
            if let Err(error) = std::fs::remove_dir(&path) {
                println!("left behind: {path}: {error}");
            }
        }
    }
}

/// Where cgroup v2 is mounted.
pub(crate) fn unified() -> Option<PathBuf> {
    let roots = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(PathBuf::from);
    roots.into_iter().find(|root| root.join("cgroup.controllers").exists())
}

fn cgroup_mounts() -> Vec<String> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("the mount table");
    let lines = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (at, kind) = (words.next()?, words.next()?);
        kind.starts_with("cgroup").then(|| at.to_owned())
    });
    lines.collect()
}

/// Enters a cgroup that belongs to the user, below another one that does.
fn join_delegated() {
    let outer = unified().expect("it is possible").join(format!("soak-{}", std::process::id()));
    let inner = outer.join("worker");
    std::fs::create_dir_all(&inner).expect("a cgroup can be made");
    for folder in [&outer, &inner] {
        for file in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
            let path = folder.join(file);
            std::os::unix::fs::chown(&path, Some(NOBODY), Some(NOBODY)).expect("it is given away");
        }
    }
    std::fs::write(inner.join("cgroup.procs"), "0").expect("it can be joined");
}

/// Removes what [`join_delegated`] has made, when the worker that joined it has ended.
pub(crate) fn remove_delegated(worker: u32) {
    let Some(root) = unified() else { return };
    remove_below(&root.join(format!("soak-{worker}")));
}

fn remove_below(folder: &Path) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        // The leaves of callers inside of trees, which were killed with these, are among them.
        remove_below(&entry.path());
    }
    if folder.exists()
        && let Err(error) = std::fs::remove_dir(folder)
    {
        println!("left behind: {}: {error}", folder.display());
    }
}

fn become_nobody() {
    // SAFETY: a system call without pointers.
    if unsafe { libc::geteuid() } != 0 {
        return;
    }
    // SAFETY: no groups are read.
    assert_eq!(unsafe { libc::setgroups(0, ptr::null()) }, 0);
    // SAFETY: a system call without pointers.
    assert_eq!(unsafe { libc::setgid(NOBODY) }, 0);
    // SAFETY: a system call without pointers.
    assert_eq!(unsafe { libc::setuid(NOBODY) }, 0);
    // Otherwise its own files in `/proc` would be those of root.
    // SAFETY: the option takes a number.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) }, 0);
}

/// Goes on as the first process of a new PID namespace. The process that was called waits for it, and
/// ends as it did.
fn become_first() {
    // SAFETY: a system call without pointers.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWPID) }, 0);
    // SAFETY: the process has one thread, so the copy may do anything.
    let first = unsafe { libc::fork() };
    if first == 0 {
        return;
    }
    let mut status = 0;
    // SAFETY: `status` is writable, and the child is ours.
    let ended = unsafe { libc::waitpid(first, &raw mut status, 0) };
    let is_good = ended == first && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0;
    // SAFETY: ends this process; nothing of it needs a destructor.
    unsafe { libc::_exit(i32::from(!is_good)) }
}

/// Whether the number of pids is that of the namespace, as since Linux 6.14.
fn has_pid_max_of_its_own() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map_while(|word| word.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(14))
}

fn own_mounts() {
    // SAFETY: a system call without pointers.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNS) }, 0);
    mount("none", "/", None, libc::MS_REC | libc::MS_PRIVATE, None);
}

fn mount(source: &str, at: &str, kind: Option<&str>, flags: libc::c_ulong, data: Option<&str>) {
    let text = |text: &str| CString::new(text).expect("no NUL");
    let (source, target, kind, data) = (text(source), text(at), kind.map(text), data.map(text));
    let pointer = |text: &Option<CString>| text.as_ref().map_or(ptr::null(), |text| text.as_ptr());
    let (source, target, kind) = (source.as_ptr(), target.as_ptr(), pointer(&kind));
    // SAFETY: terminated strings that are live, or null where the call allows it.
    let outcome = unsafe { libc::mount(source, target, kind, flags, pointer(&data).cast()) };
    assert_eq!(outcome, 0, "mount {at}: {}", std::io::Error::last_os_error());
}

/// Makes `clone3` and `other` answer with that error, for this process and all that it starts.
fn filter(error: i32, other: libc::c_long) {
    let code = |code: u32| u16::try_from(code).expect("a code of 16 bits");
    let load = code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS);
    let equal = code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K);
    let give = code(libc::BPF_RET | libc::BPF_K);
    let refuse = libc::SECCOMP_RET_ERRNO | error.cast_unsigned();
    let number = |number: libc::c_long| u32::try_from(number).expect("a number of a call");
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut steps = [
        step(load, 0, 0, 0),
        step(equal, 2, 0, number(other)),
        step(equal, 1, 0, number(libc::SYS_clone3)),
        step(give, 0, 0, libc::SECCOMP_RET_ALLOW),
        step(give, 0, 0, refuse),
    ];
    let program = libc::sock_fprog { len: 5, filter: steps.as_mut_ptr() };
    // SAFETY: the option takes a number.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    let mode = libc::SECCOMP_MODE_FILTER;
    // SAFETY: the program and its steps are live during the call.
    let outcome = unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) };
    assert_eq!(outcome, 0, "filter calls: {}", std::io::Error::last_os_error());
}
