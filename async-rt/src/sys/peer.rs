//! Who is at the other end of a Unix socket.
#![expect(unsafe_code, reason = "the system calls have no safe wrapper in std")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The process at the other end of a Unix socket, as it was when the connection was made.
///
/// The process may have ended since, and its number may have been given to another one: do not take
/// the number for an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerCredentials {
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
    /// Its number, where the system tells it; seen from the process namespace of this process.
    pub pid: Option<i32>,
}

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn peer_credentials(socket: BorrowedFd<'_>) -> io::Result<PeerCredentials> {
    let mut found = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut size = size_of::<libc::ucred>() as libc::socklen_t;
    let (level, option) = (libc::SOL_SOCKET, libc::SO_PEERCRED);
    // SAFETY: both are alive during the call, which writes at most `size` bytes into `found`.
    let outcome = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, option, (&raw mut found).cast(), &raw mut size)
    };
    if outcome < 0 {
        return Err(io::Error::last_os_error());
    }
    // A peer outside this process's namespace has no number here, which Linux writes as zero.
    let pid = (found.pid != 0).then_some(found.pid);
    Ok(PeerCredentials { uid: found.uid, gid: found.gid, pid })
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn peer_credentials(socket: BorrowedFd<'_>) -> io::Result<PeerCredentials> {
    let (mut uid, mut gid) = (0, 0);
    // SAFETY: both are alive during the call, which writes them.
    if unsafe { libc::getpeereid(socket.as_raw_fd(), &raw mut uid, &raw mut gid) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(PeerCredentials { uid, gid, pid: None })
}
