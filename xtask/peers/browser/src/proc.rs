//! Processes and their clocks.

use crate::tasks::Run;
use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

/// CPU seconds of all processes that descend from `root`, itself included, alive or waited for.
pub fn tree_cpu(root: u32) -> f64 {
    let mut parents = HashMap::new();
    let mut times = HashMap::new();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((_, rest)) = stat.rsplit_once(')') else { continue };
        let fields: Vec<_> = rest.split_whitespace().collect();
        let number = |at: usize| fields[at].parse::<u64>().unwrap_or(0);
        parents.insert(pid, number(1) as u32);
        times.insert(pid, (number(11) + number(12) + number(13) + number(14)) as f64 / 100.0);
    }
    let descends = |mut pid: u32| loop {
        if pid == root {
            return true;
        }
        match parents.get(&pid) {
            Some(&parent) if parent != pid && parent != 0 => pid = parent,
            _ => return false,
        }
    };
    times.iter().filter(|(pid, _)| descends(**pid)).map(|(_, time)| time).sum()
}

/// Whether the process descends from `root`.
pub fn descends(mut pid: u32, root: u32) -> bool {
    for _ in 0..64 {
        if pid == root {
            return true;
        }
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
        let parent = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        match parent {
            Some(parent) if parent > 1 => pid = parent,
            _ => return false,
        }
    }
    false
}

/// User and system seconds of this process.
pub fn own_cpu() -> f64 {
    lastout_bench_runner::cpu_time().as_secs_f64()
}

/// The peak resident memory of this process in MiB.
pub fn own_memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: f64 =
        line.and_then(|l| l.trim().strip_suffix("kB")?.trim().parse().ok()).unwrap_or(0.0);
    kib / 1024.0
}

/// Runs this very program as one contender of the throughput case.
pub async fn run_self(
    contender: &str,
    engine: &Path,
    url: &str,
    tasks: usize,
    concurrency: usize,
) -> Run {
    let mut command = Command::new(std::env::current_exe().expect("own path"));
    command.args(["--contender", contender]).arg(engine).arg(url);
    command.args([tasks.to_string(), concurrency.to_string()]);
    run(command).await
}

/// Runs a contender: it prints `begin` when it is warm, its figures as JSON when its tasks are done, and ends its browser
/// when its stdin closes; in between the CPU of its tree is read.
pub async fn run(mut command: Command) -> Run {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("the contender starts");
    let pid = child.id().expect("it runs");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut before = None;
    let text = loop {
        let line = lines.next_line().await.expect("its output").expect("figures before its end");
        if line == "begin" {
            before = Some(tree_cpu(pid));
        }
        if line.starts_with('{') {
            break line;
        }
    };
    let tree = tree_cpu(pid) - before.unwrap_or(0.0);
    end(&mut child).await;
    let field = |name: &str| {
        let rest = text.split(&format!("\"{name}\":")).nth(1).expect("the figure");
        let end = rest.find([',', '}']).expect("its end");
        rest[..end].trim().parse::<f64>().expect("a number")
    };
    if field("failed") > 0.0 {
        eprintln!("    {} tasks failed", field("failed"));
    }
    Run { wall: field("wall"), tree, client: field("client"), memory: field("memory") }
}

async fn end(child: &mut Child) {
    if let Some(mut stdin) = child.stdin.take() {
        drop(stdin.write_all(b"\n").await);
    }
    let ended = tokio::time::timeout(std::time::Duration::from_secs(20), child.wait()).await;
    if ended.is_err() {
        drop(child.kill().await);
    }
}

/// Prints the figures of a Rust contender and waits until they were read.
pub async fn report(wall: f64, client: f64, failed: usize) {
    let memory = own_memory();
    println!(r#"{{"wall":{wall},"client":{client},"memory":{memory},"failed":{failed}}}"#);
    drop(tokio::io::stdin().read(&mut [0_u8; 1]).await);
}
