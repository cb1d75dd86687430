//! The floor: a cgroup v2 leaf in the way of whoever needs no guarantee, found by its usual places.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

pub struct Leaf {
    path: PathBuf,
    procs: File,
    kill: File,
}

impl Leaf {
    pub fn make() -> Self {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let own = std::fs::read_to_string("/proc/self/cgroup").expect("the own cgroup");
        let own = own.lines().find_map(|line| line.strip_prefix("0::/")).expect("cgroup v2");
        let roots = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(PathBuf::from);
        let root = roots.into_iter().find(|root| root.join("cgroup.procs").exists());
        let path = root.expect("cgroup v2 is mounted").join(own);
        let path = path.join(format!("lastout-bench-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).expect("a leaf can be made");
        let open =
            |name| File::options().write(true).open(path.join(name)).expect("its files open");
        let (procs, kill) = (open("cgroup.procs"), open("cgroup.kill"));
        Self { path, procs, kill }
    }

    pub fn contain(&self, command: &mut Command) {
        let procs = self.procs.as_raw_fd();
        // SAFETY: one byte of a literal is written.
        unsafe {
            command.pre_exec(move || {
                libc::write(procs, c"0".as_ptr().cast(), 1);
                Ok(())
            })
        };
    }

    pub fn kill(&self) {
        (&self.kill).write_all(b"1").expect("the kernel kills");
    }
}

impl Drop for Leaf {
    /// The oracle has ended when the last member has closed its files, which is before it has left the
    /// leaf: until then the leaf is busy.
    fn drop(&mut self) {
        let until = Instant::now() + Duration::from_secs(60);
        while let Err(error) = std::fs::remove_dir(&self.path) {
            if error.kind() != ErrorKind::ResourceBusy || Instant::now() > until {
                eprintln!("left behind: {}: {error}", self.path.display());
                return;
            }
            // SLEEP: between two looks at the condition, outside of what is measured.
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
