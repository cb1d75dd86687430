//! A program that is ready to be executed, and the calls that turn a process into it: its user and its exec.
//!
//! The calls are made before the exec, under the rules of `launch.rs`.
#![expect(unsafe_code, reason = "what a process calls before its exec")]

use super::launch::{errno, unless_negative};
use super::supervise::execute_file;
use std::ffi::CString;
use std::os::fd::RawFd;
use std::ptr;

/// A program, ready to be executed: nothing of it is searched for or allocated later.
#[derive(Debug)]
pub(crate) struct Recipe {
    pub(crate) program: Executable,
    pub(crate) arguments: Strings,
    pub(crate) variables: Strings,
    pub(crate) directory: Option<CString>,
    pub(crate) user: User,
}

/// What is executed.
#[derive(Debug)]
pub(crate) enum Executable {
    /// The first of these that is there.
    Paths(Vec<CString>),
    /// An open file.
    File(RawFd),
}

/// Whom the process belongs to, as far as that differs from the caller.
#[derive(Debug, Clone, Default)]
pub(crate) struct User {
    pub(crate) user: Option<libc::uid_t>,
    pub(crate) group: Option<libc::gid_t>,
    pub(crate) groups: Option<Vec<libc::gid_t>>,
}

/// Strings, and the array of pointers to them that ends with a null.
#[derive(Debug)]
pub(crate) struct Strings {
    pointers: Vec<*const libc::c_char>,
    _owned: Vec<CString>,
}

impl Strings {
    pub(crate) fn new(owned: Vec<CString>) -> Self {
        let pointers = owned.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect();
        Self { pointers, _owned: owned }
    }
}

/// Executes the program; returns only when that fails, with the error.
pub(super) fn execute(recipe: &Recipe) -> i32 {
    let (arguments, variables) =
        (recipe.arguments.pointers.as_ptr(), recipe.variables.pointers.as_ptr());
    let paths = match &recipe.program {
        Executable::Paths(paths) => paths,
        Executable::File(file) => return execute_file(*file, arguments, variables),
    };
    let mut reason = None;
    for path in paths {
        // SAFETY: the path is terminated; both arrays end with a null, and hold strings that are terminated.
        unsafe { libc::execve(path.as_ptr(), arguments, variables) };
        let error = errno();
        if !is_not_here(error) {
            return error;
        }
        // Of many, a file that may not be executed is the best reason, and a plain absence the next.
        reason = match (reason, error) {
            (None, _) | (_, libc::EACCES) => Some(error),
            (Some(libc::EACCES), _) => reason,
            (Some(_), libc::ENOENT) => Some(error),
            (Some(_), _) => reason,
        };
    }
    reason.unwrap_or(libc::ENOENT)
}

/// Whether the program may be in a later directory: this one does not lead to it, whatever is wrong with it.
fn is_not_here(error: i32) -> bool {
    matches!(
        error,
        libc::ENOENT
            | libc::EACCES
            | libc::ENOTDIR
            | libc::ENAMETOOLONG
            | libc::ELOOP
            | libc::ENODEV
            | libc::ESTALE
            | libc::ETIMEDOUT
    )
}

/// Changes the user of this process. The calls of libc change all threads, and this process has none but
/// the caller's: so the kernel is asked itself.
pub(super) fn change_user(user: &User) -> Result<(), i32> {
    if let Some(group) = user.group {
        set_id(calls::SETGID, group)?;
    }
    match (&user.groups, user.user) {
        (Some(groups), _) => set_groups(groups)?,
        // SAFETY: a system call without pointers. As std: a privileged caller hands on no groups of its own.
        (None, Some(_)) if unsafe { libc::getuid() } == 0 => set_groups(&[])?,
        _ => {}
    }
    user.user.map_or(Ok(()), |user| set_id(calls::SETUID, user))
}

fn set_id(call: libc::c_long, id: u32) -> Result<(), i32> {
    // SAFETY: a system call without pointers.
    unless_negative(unsafe { libc::syscall(call, id) } as libc::c_int)
}

fn set_groups(groups: &[libc::gid_t]) -> Result<(), i32> {
    // SAFETY: so many groups are readable.
    unless_negative(
        unsafe { libc::syscall(calls::SETGROUPS, groups.len(), groups.as_ptr()) } as libc::c_int
    )
}

/// The calls with ids of 32 bits.
#[cfg(any(target_arch = "x86", target_arch = "arm"))]
mod calls {
    pub(super) use libc::{
        SYS_setgid32 as SETGID, SYS_setgroups32 as SETGROUPS, SYS_setuid32 as SETUID,
    };
}
#[cfg(not(any(target_arch = "x86", target_arch = "arm")))]
mod calls {
    pub(super) use libc::{SYS_setgid as SETGID, SYS_setgroups as SETGROUPS, SYS_setuid as SETUID};
}
