//! A terminal for tests of programs that want one.
//!
//! ```
//! use lastout_proc_tree::{Containment, Io, Program, Tree, terminal};
//! use std::io::Read;
//!
//! let (outer, inner) = terminal::open()?;
//! let mut program = Program::new("tty");
//! program.stdin(Io::from(inner.try_clone()?)).stdout(Io::from(inner.try_clone()?));
//! let (_tree, _child) = Tree::spawn(&mut program, Containment::strongest().new_session_on(inner))?;
//! drop(program); // It holds ends of the terminal.
//! let mut shown = [0; 9];
//! std::fs::File::from(outer).read_exact(&mut shown)?;
//! assert_eq!(&shown, b"/dev/pts/");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::io;
use std::os::fd::OwnedFd;

/// Opens a new pseudoterminal: the end of whoever shows it and presses its keys, and the end of the programs
/// that sit on it. Neither becomes the terminal of the calling process.
///
/// # Errors
///
/// When no terminal or no descriptor is free.
pub fn open() -> io::Result<(OwnedFd, OwnedFd)> {
    let outer = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&outer)?;
    unlockpt(&outer)?;
    let name = ptsname(&outer, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok((outer, rustix::fs::open(name, flags, Mode::empty())?))
}
