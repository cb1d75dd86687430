//! The program that a supervisor runs: two descriptors, four words, one loop.
//!
//! `build.rs` compiles it without std and without libc, so that it is a few KiB of code and as much memory.
//! Its arguments are the pid of the root, `-` or `n` for the first process of a PID namespace, and the
//! directory of a leaf, if there is one. Its descriptors are the socket to the caller and, with a leaf, the
//! file that kills it. `probe` alone makes it end at once.
#![no_std]
#![no_main]

#[path = "../src/sys/linux/direct.rs"]
mod direct;
#[path = "../src/sys/linux/kin.rs"]
mod kin;
#[path = "../src/sys/linux/watch.rs"]
mod watch;

use core::arch::global_asm;
use watch::{Order, watch};

#[cfg(target_arch = "x86_64")]
global_asm!(".globl _start", "_start:", "mov rdi, rsp", "and rsp, -16", "call {main}", "ud2", main = sym main);
#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start:", "mov x0, sp", "bl {main}", "brk 1", main = sym main);
#[cfg(target_arch = "riscv64")]
global_asm!(".globl _start", "_start:", "mv a0, sp", "call {main}", "ebreak", main = sym main);

/// The kernel puts the number of arguments and then their addresses on the stack.
extern "C" fn main(stack: *const usize) -> ! {
    // SAFETY: the kernel has put that many addresses of strings behind the number.
    let arguments = unsafe { core::slice::from_raw_parts(stack.add(1).cast(), *stack) };
    let mut arguments = arguments.iter().skip(1).map(|argument| text(*argument));
    let Some(root) = arguments.next().and_then(kin::number) else {
        direct::exit(0);
    };
    let namespace = arguments.next().is_some_and(|word| word == b"n\0");
    let leaf = arguments.next();
    let kill_file = if leaf.is_some() { 1 } else { -1 };
    direct::close_from(kill_file.max(0) + 1);
    watch(Order { control: 0, kill_file, leaf, root, namespace })
}

/// The string at this address, with its NUL.
fn text(at: *const u8) -> &'static [u8] {
    let mut length = 0;
    // SAFETY: the string ends with a NUL, and is there for as long as the process. Volatile, or the compiler
    // would call `strlen`.
    while unsafe { at.add(length).read_volatile() } != 0 {
        length += 1;
    }
    // SAFETY: that many bytes were just read, and the NUL.
    unsafe { core::slice::from_raw_parts(at, length + 1) }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    direct::exit(101)
}

/// What the compiler calls for zeroed arrays.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(at: *mut u8, byte: i32, length: usize) -> *mut u8 {
    let mut place = 0;
    while place < length {
        // SAFETY: the caller says that so many bytes are writable. Volatile, or this would call itself.
        unsafe { at.add(place).write_volatile(byte as u8) };
        place += 1;
    }
    at
}

/// What the compiler calls for moved values.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    let mut place = 0;
    while place < length {
        // SAFETY: the caller says that so many bytes are readable.
        let byte = unsafe { from.add(place).read() };
        // SAFETY: the caller says that so many bytes are writable. Volatile, or this would call itself.
        unsafe { to.add(place).write_volatile(byte) };
        place += 1;
    }
    to
}

/// What the compiler calls to compare bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
    let mut place = 0;
    while place < length {
        // SAFETY: the caller says that so many bytes are readable at both places.
        let (a, b) = unsafe { (a.add(place).read_volatile(), b.add(place).read_volatile()) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
        place += 1;
    }
    0
}
