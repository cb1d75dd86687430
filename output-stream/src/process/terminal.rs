//! A terminal for a process: a pseudoterminal that the caller holds the other end of.

use lastout_proc_tree::Containment;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Winsize, tcgetattr, tcgetwinsize, tcsetattr,
    tcsetwinsize,
};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use tokio::process::{ChildStdin, ChildStdout};

/// The terminal that a process is to have, see [`ProcessBuilder::terminal`](crate::ProcessBuilder::terminal).
///
/// ```
/// use lastout_output_stream::Terminal;
///
/// let terminal = Terminal::new(24, 80).echo(false);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Terminal {
    rows: u16,
    columns: u16,
    echo: bool,
}

impl Terminal {
    /// One with so many rows and columns; 0 stands for an unknown number.
    pub fn new(rows: u16, columns: u16) -> Self {
        Self { rows, columns, echo: true }
    }

    /// Whether what is written to it comes out again, as what is typed does. A process may change that. Default: yes.
    pub fn echo(mut self, echo: bool) -> Self {
        self.echo = echo;
        self
    }

    /// Opens one: our end, and that of the process.
    pub(super) fn open(self) -> io::Result<(Pty, Arc<OwnedFd>)> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let outer = openpt(flags)?;
        grantpt(&outer)?;
        unlockpt(&outer)?;
        let inner = ioctl_tiocgptpeer(&outer, flags)?;
        let pty = Pty { outer: Arc::new(outer) };
        pty.resize(self.rows, self.columns)?;
        pty.set_echo(self.echo)?;
        Ok((pty, Arc::new(inner)))
    }
}

impl Default for Terminal {
    /// 24 rows, 80 columns, with echo.
    fn default() -> Self {
        Self::new(24, 80)
    }
}

/// The terminal of a running process, see [`Process::pty`](crate::Process::pty). Clones are handles of the same
/// terminal; it is gone for the process when the last of them, the process and its streams are dropped.
#[derive(Debug, Clone)]
pub struct Pty {
    outer: Arc<OwnedFd>,
}

impl Pty {
    /// Gives it another size: the processes in its foreground get SIGWINCH.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn resize(&self, rows: u16, columns: u16) -> io::Result<()> {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(tcsetwinsize(&self.outer, size)?)
    }

    /// Its rows and columns.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn size(&self) -> io::Result<(u16, u16)> {
        let size = tcgetwinsize(&self.outer)?;
        Ok((size.ws_row, size.ws_col))
    }

    /// Sets whether what is written to it comes out again.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn set_echo(&self, echo: bool) -> io::Result<()> {
        let mut modes = tcgetattr(&self.outer)?;
        modes.local_modes.set(LocalModes::ECHO, echo);
        Ok(tcsetattr(&self.outer, OptionalActions::Now, &modes)?)
    }

    /// Whether what is written to it comes out again: not while a program reads a password.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn echoes(&self) -> io::Result<bool> {
        Ok(tcgetattr(&self.outer)?.local_modes.contains(LocalModes::ECHO))
    }

    /// The byte that ends the input of a process that reads lines.
    pub(super) fn end_of_file(&self) -> u8 {
        let modes = tcgetattr(&self.outer);
        modes.map_or(4, |modes| modes.special_codes[SpecialCodeIndex::VEOF])
    }

    /// What the caller writes to, a descriptor of its own.
    pub(super) fn input(&self) -> io::Result<ChildStdin> {
        ChildStdin::from_std(self.outer.try_clone()?.into())
    }

    /// What the caller reads from, a descriptor of its own.
    pub(super) fn output(&self) -> io::Result<ChildStdout> {
        ChildStdout::from_std(self.outer.try_clone()?.into())
    }
}

/// Makes the inner end the controlling terminal of the root, in a session of its own.
pub(super) fn control(containment: Containment, inner: &OwnedFd) -> io::Result<Containment> {
    Ok(containment.new_session_on(inner.try_clone()?))
}
