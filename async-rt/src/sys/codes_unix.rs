//! What the error codes of Unix mean.

use libc::c_int;

/// The operation would have blocked.
pub(crate) fn would_block(code: c_int) -> bool {
    code == libc::EAGAIN || code == libc::EWOULDBLOCK
}

/// A signal interrupted the operation.
pub(crate) fn interrupted(code: c_int) -> bool {
    code == libc::EINTR
}

/// The process or the system has no descriptor or memory left.
#[cfg(feature = "net")]
pub(crate) fn used_up(code: c_int) -> bool {
    [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM].contains(&code)
}

/// The connection is being made.
#[cfg(feature = "net")]
pub(crate) const CONNECTING: c_int = libc::EINPROGRESS;

/// The system has no sockets of this family.
#[cfg(all(test, feature = "net"))]
pub(crate) const NO_SUCH_FAMILY: c_int = libc::EAFNOSUPPORT;

/// Whether a listener must ask for an address that a closed connection still occupies.
#[cfg(feature = "net")]
pub(crate) const ASKS_FOR_USED_ADDRESSES: bool = true;
