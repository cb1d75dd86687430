//! What the error codes of Windows mean.

/// The operation would have blocked (`WSAEWOULDBLOCK`).
pub(crate) fn would_block(code: i32) -> bool {
    code == 10_035
}

/// The operation was interrupted (`WSAEINTR`).
pub(crate) fn interrupted(code: i32) -> bool {
    code == 10_004
}

/// The process or the system has no handle or memory left (`ERROR_TOO_MANY_OPEN_FILES`,
/// `ERROR_NOT_ENOUGH_MEMORY`, `WSAEMFILE`, `WSAENOBUFS`).
#[cfg(feature = "net")]
pub(crate) fn used_up(code: i32) -> bool {
    [4, 8, 10_024, 10_055].contains(&code)
}

/// The connection is being made (`WSAEWOULDBLOCK`).
#[cfg(feature = "net")]
pub(crate) const CONNECTING: i32 = 10_035;

/// The system has no sockets of this family (`WSAEAFNOSUPPORT`).
#[cfg(all(test, feature = "net"))]
pub(crate) const NO_SUCH_FAMILY: i32 = 10_047;

/// Whether a listener must ask for an address that a closed connection still occupies. Here it gets one unasked,
/// and asking would let two programs listen on one address.
#[cfg(feature = "net")]
pub(crate) const ASKS_FOR_USED_ADDRESSES: bool = false;
