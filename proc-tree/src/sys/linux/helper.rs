//! The helper program, as a file in memory that is executed and never written to a disk.
//!
//! It is source like the rest of the crate, compiled by `build.rs`; see `helper/main.rs`.

use super::birth::start;
use super::launch::{Launch, Place};
use super::pidfd::wait_readable;
use super::recipe::{Executable, Recipe, Strings, User};
use super::supervise::NAME;
use super::told::ToldPage;
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

#[cfg(not(no_helper))]
const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/lastout-supervisor"));
#[cfg(no_helper)]
const PROGRAM: &[u8] = &[];

/// An open file of the program; otherwise why it cannot be executed here. That is tried once per process.
pub(crate) fn helper() -> Result<OwnedFd, String> {
    static PROBED: OnceLock<Result<(), String>> = OnceLock::new();
    if PROGRAM.is_empty() {
        return Err("the helper program was not built for this target".into());
    }
    let file = make().map_err(|error| format!("make a file for the helper program: {error}"))?;
    match PROBED.get() {
        Some(probed) => probed.clone()?,
        None => {
            // What fails for lack of something says nothing about the next time.
            let probed = probe(&file);
            if !matches!(&probed, Err(Trouble::Scarce(_))) {
                let kept = probed.as_ref().copied().map_err(ToString::to_string);
                let _ = PROBED.set(kept);
            }
            probed.map_err(|trouble| trouble.to_string())?;
        }
    }
    Ok(file)
}

/// Writes the program into memory and seals it, so that nothing changes what will be executed.
fn make() -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = match rustix::fs::memfd_create(NAME, flags | MemfdFlags::EXEC) {
        // Older than Linux 6.3: every such file can be executed.
        Err(rustix::io::Errno::INVAL) => rustix::fs::memfd_create(NAME, flags)?,
        memory => memory?,
    };
    let mut rest = PROGRAM;
    while !rest.is_empty() {
        let written = rustix::io::write(&memory, rest)?;
        rest = rest.get(written..).unwrap_or(&[]);
    }
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&memory, seals)?;
    // A file that is open to be written is not executed.
    let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(file)
}

/// Why the program did not run.
enum Trouble {
    /// Nothing was free to run it with.
    Scarce(String),
    Refused(String),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Scarce(why) | Self::Refused(why)) = self;
        f.write_str(why)
    }
}

/// How long a program may take that ends at once.
const PROBE: Duration = Duration::from_secs(10);

/// Runs the program without arguments: it ends at once.
fn probe(file: &OwnedFd) -> Result<(), Trouble> {
    let scarce = |error: io::Error| Trouble::Scarce(format!("run the helper program: {error}"));
    let recipe = Recipe {
        program: Executable::File(file.as_raw_fd()),
        arguments: Strings::new(vec![NAME.into()]),
        variables: Strings::new(Vec::new()),
        directory: None,
        user: User::default(),
    };
    let launch = Launch {
        told: ToldPage::new().map_err(scarce)?,
        supervise: None,
        doors: Vec::new(),
        directory: None,
        mark: None,
        place: Place::OwnGroup,
        descriptors: Vec::new(),
        handover: None,
        variable: None,
    };
    let born = start(&recipe, &launch, None).map_err(|fault| match fault.errno {
        libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EAGAIN => scarce(fault.into()),
        _ => Trouble::Refused(format!("run the helper program: {}", io::Error::from(fault))),
    })?;
    let _ = wait_readable(born.pidfd.as_fd(), Instant::now() + PROBE);
    match born.pidfd.reap() {
        Ok(Some(status)) if !status.success() => {
            Err(Trouble::Refused(format!("the helper program ended with {status}")))
        }
        // Whoever ignores SIGCHLD may not learn how it ended; it did start.
        Ok(Some(_)) | Err(_) => Ok(()),
        Ok(None) => {
            let _ = born.pidfd.signal(crate::signal::Signal::KILL);
            Err(Trouble::Refused("the helper program did not end".into()))
        }
    }
}
