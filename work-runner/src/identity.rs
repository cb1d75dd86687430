//! Who a worker is, and the proof that it is dead.
//!
//! A pid names a process only together with its start time, its machine, the machine's boot and the
//! pid namespace. Where one of them is unknown nothing is proven, and the lease decides.

use std::sync::OnceLock;

/// The process behind a worker, as it is written beside the worker's lease.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct Identity {
    /// The machine and the pid namespace on it; empty when unknown.
    pub host: String,
    /// The boot of that machine; empty when unknown.
    pub boot: String,
    /// The process.
    pub pid: i64,
    /// When it started, in clock ticks since the boot; 0 when unknown.
    pub start: i64,
}

impl Identity {
    /// The process that calls.
    pub fn current() -> Self {
        let (host, boot) = place();
        let pid = std::process::id();
        Self {
            host: host.clone(),
            boot: boot.clone(),
            pid: i64::from(pid),
            start: start_ticks(pid).flatten().unwrap_or(0),
        }
    }

    /// An identity read back from a store.
    pub fn new(host: String, boot: String, pid: i64, start: i64) -> Self {
        Self { host, boot, pid, start }
    }

    /// Whether the process is gone without doubt, seen from here.
    pub fn is_provably_dead(&self) -> bool {
        let (host, boot) = place();
        // Another boot proves nothing: cloned machines share their machine id.
        let same_place = self.host == *host && self.boot == *boot;
        if self.host.is_empty() || self.boot.is_empty() || self.start == 0 || !same_place {
            return false;
        }
        let Ok(pid) = u32::try_from(self.pid) else {
            return false;
        };
        match start_ticks(pid) {
            Some(None) => true,
            Some(Some(start)) => start != self.start,
            None => false,
        }
    }
}

/// This boot of this machine; empty where the system does not tell.
#[cfg(feature = "sqlite")]
pub(crate) fn boot() -> &'static str {
    &place().1
}

/// The name of this machine, for people; empty where the system does not tell.
pub(crate) fn hostname() -> String {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let name = read("/proc/sys/kernel/hostname").or_else(|| read("/etc/hostname"));
    let name = name.or_else(|| std::env::var("COMPUTERNAME").ok()).unwrap_or_default();
    name.trim().to_owned()
}

/// This machine with this pid namespace, and this boot; empty where the system does not tell.
fn place() -> &'static (String, String) {
    static PLACE: OnceLock<(String, String)> = OnceLock::new();
    PLACE.get_or_init(|| {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let boot = read("/proc/sys/kernel/random/boot_id");
        let machine = read("/etc/machine-id");
        let host = match std::fs::read_link("/proc/self/ns/pid") {
            // Without a machine id the boot id still tells machines apart, for this boot.
            Ok(namespace) if !boot.is_empty() => {
                let machine = if machine.is_empty() { &boot } else { &machine };
                format!("{machine}/{}", namespace.display())
            }
            _ => String::new(),
        };
        (host, boot)
    })
}

/// Start time of a process: `None` when it cannot be known, `Some(None)` when there is no such
/// living process.
fn start_ticks(pid: u32) -> Option<Option<i64>> {
    let stat = match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return std::path::Path::new("/proc/self/stat").exists().then_some(None);
        }
        // ESRCH: it ended between the open and the read.
        Err(error) if error.raw_os_error() == Some(3) => return Some(None),
        Err(_) => return None,
    };
    // The name may hold spaces and brackets; the fields begin after its last bracket.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    if matches!(fields.first(), Some(&"Z" | &"X")) {
        return Some(None);
    }
    Some(Some(fields.get(19)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    /// The start of a process is read on Linux alone.
    #[test]
    #[cfg(target_os = "linux")]
    fn only_proof_counts_as_death() {
        use super::Identity;
        let me = Identity::current();
        assert!(!me.is_provably_dead(), "{me:?}");
        let reused = Identity { start: me.start + 1, ..me.clone() };
        assert!(reused.is_provably_dead(), "the pid is another process now");
        let gone = Identity { pid: i64::from(u32::MAX >> 2), ..me };
        assert!(gone.is_provably_dead());
        for unknown in [
            Identity { host: "elsewhere".into(), ..gone.clone() },
            Identity { host: String::new(), ..gone.clone() },
            Identity { boot: String::new(), ..gone.clone() },
            Identity { boot: "an earlier boot".into(), ..gone.clone() },
            Identity { start: 0, ..gone },
        ] {
            assert!(!unknown.is_provably_dead(), "{unknown:?} proves nothing");
        }
    }
}
