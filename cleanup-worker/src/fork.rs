//! Notices that this process is a forked child, for the price of one load, and keeps what each process has of
//! its own.
//!
//! A word on a page that the kernel wipes in a child (`MADV_WIPEONFORK`) holds the number of this
//! process; no fork handler is registered. Where the kernel has no such page, the word stays 0, which
//! is no process's number, and each check asks for the process id: slower, with the same result.
#![cfg_attr(
    all(target_os = "linux", not(lastout_loom)),
    expect(unsafe_code, reason = "advises the kernel, by the C library that std links anyway")
)]

use crate::sync::process::AtomicU32;
use std::mem::ManuallyDrop;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};

/// A page with one word on it, and nothing else that a wipe could hit.
#[cfg_attr(any(target_arch = "x86", target_arch = "x86_64"), repr(align(4096)))]
#[cfg_attr(not(any(target_arch = "x86", target_arch = "x86_64")), repr(align(65536)))]
struct Page(AtomicU32);

/// The number of this process; 0 in a fresh child, and where there is no such page.
static PAGE: Page = Page(AtomicU32::new(0));
/// Numbers given so far. An ordinary word: a child goes on from its parent's.
static ISSUED: AtomicU32 = AtomicU32::new(0);

/// Whether that is the number of this process, as far as the page knows. When it says no, ask
/// [`is_generation`].
#[inline]
pub(crate) fn is_marked(generation: u32) -> bool {
    PAGE.0.load(Relaxed) == generation
}

/// Whether that is the number of this process.
#[inline]
pub(crate) fn is_generation(generation: u32) -> bool {
    is_marked(generation) || self::generation() == generation
}

/// The number of this process, at least 1.
pub(crate) fn generation() -> u32 {
    let present = PAGE.0.load(Relaxed);
    if present != 0 {
        return present;
    }
    if !wiped_on_fork() {
        return std::process::id();
    }
    let fresh = ISSUED.fetch_add(1, Relaxed) + 1;
    match PAGE.0.compare_exchange(0, fresh, Relaxed, Relaxed) {
        Ok(_) => fresh,
        Err(present) => present,
    }
}

/// Asks the kernel to wipe the page in children, and whether it will. A child inherits that.
#[cfg(all(target_os = "linux", not(lastout_loom)))]
fn wiped_on_fork() -> bool {
    use std::ffi::{c_int, c_void};
    unsafe extern "C" {
        fn madvise(at: *mut c_void, length: usize, advice: c_int) -> c_int;
    }
    const MADV_WIPEONFORK: c_int = 18;
    let at = (&raw const PAGE).cast_mut().cast();
    // SAFETY: the page is a static of its own alignment and size; the advice changes nothing in
    // this process, and in a child nothing but this page.
    unsafe { madvise(at, size_of::<Page>(), MADV_WIPEONFORK) == 0 }
}

/// Models never fork; elsewhere there is no such advice.
#[cfg(any(not(target_os = "linux"), lastout_loom))]
fn wiped_on_fork() -> bool {
    cfg!(lastout_loom)
}

/// A value that each process has of its own: a lock of the parent may be held for ever in a forked child. What
/// the parent had is neither used nor dropped there.
pub(crate) struct PerProcess<T> {
    generation: u32,
    /// Held once more than it is dropped, where it is not this process's.
    value: Arc<T>,
    /// That of the forked child that this process is, or comes from.
    next: OnceLock<Box<Self>>,
}

impl<T> PerProcess<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { generation: generation(), value: Arc::new(value), next: OnceLock::new() }
    }

    /// The value of the process that made one last.
    #[inline]
    pub(crate) fn last(&self) -> &T {
        &self.newest().value
    }

    /// The value of this process, which is made here if it has none.
    pub(crate) fn own(&self, fresh: impl FnOnce() -> T) -> &T {
        let newest = self.newest();
        if is_generation(newest.generation) {
            return &newest.value;
        }
        &newest.next.get_or_init(|| Box::new(Self::new(fresh()))).value
    }

    #[inline]
    fn newest(&self) -> &Self {
        let mut newest = self;
        while let Some(next) = newest.next.get() {
            newest = next;
        }
        newest
    }
}

impl<T> Drop for PerProcess<T> {
    fn drop(&mut self) {
        if !is_generation(self.generation) {
            let _ = ManuallyDrop::new(Arc::clone(&self.value));
        }
    }
}

#[cfg(all(test, target_os = "linux", not(lastout_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_process_keeps_its_number() {
        let number = generation();
        assert!(number >= 1 && is_generation(number) && generation() == number);
        assert!(!is_generation(number + 1));
    }

    #[test]
    fn this_kernel_marks_its_children() {
        assert!(is_marked(generation()), "submits are slower without the page");
    }
}
