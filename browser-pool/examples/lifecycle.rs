//! The life of a pool on a real browser: each invariant is shown by its cause (processes before and
//! after) and by its symptom (directories), one line each. Exits with an error when one does not hold.
//!
//! `cargo run -p lastout-browser-pool --features chrome --example lifecycle`

#![allow(clippy::print_stdout, reason = "it shows its results on the terminal")]

use lastout_browser_pool::{BrowserPool, Chrome, Loss, PoolConfig, Sandbox};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

type Outcome = Result<String, Box<dyn Error>>;

const LONG: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(format!("/tmp/lo-life-{}", std::process::id()));
    let life = Life { root };
    let mut failed = 0;
    let mut show = |name: &str, outcome: Outcome| match outcome {
        Ok(text) => println!("held    {name}: {text}"),
        Err(error) => {
            failed += 1;
            println!("BROKEN  {name}: {error}");
        }
    };
    show("destroy_all ends the tree, and the directory stays gone", life.destroy().await);
    show("a lease is activity, however quiet", life.activity().await);
    show("an idle browser is reaped in its time", life.reap().await);
    show("the next start sweeps a dead owner", life.sweep());
    show("a reaped browser leaves nothing", life.reaped().await);
    show("dropping the pool ends everything before it returns", life.dropped().await);
    show("a killed browser revokes its lease and is replaced", life.killed().await);
    show("a cancelled caller leaves no page", life.cancelled().await);
    show("a page from stock", life.stock().await);
    drop(std::fs::remove_dir(&life.root));
    if failed > 0 {
        return Err(format!("{failed} invariants are broken").into());
    }
    println!("all invariants hold");
    Ok(())
}

struct Life {
    root: PathBuf,
}

impl Life {
    fn chrome(&self) -> Result<Chrome, Box<dyn Error>> {
        // This example shows its own blank pages only, so it may run as root in a container.
        let chrome = Chrome::builder().root(&self.root).sandbox(Sandbox::Disabled);
        Ok(chrome.build()?)
    }

    fn pool(&self, config: PoolConfig) -> Result<BrowserPool, Box<dyn Error>> {
        Ok(BrowserPool::start(self.chrome()?, config)?)
    }

    /// Processes that work below the root: at least two for a living browser.
    fn processes(&self) -> Vec<u32> {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let belongs = |pid: &u32| {
            let link = |name| std::fs::read_link(format!("/proc/{pid}/{name}")).unwrap_or_default();
            *pid != std::process::id() && link("cwd").starts_with(&self.root)
        };
        pids.filter(belongs).collect()
    }

    fn directories(&self) -> usize {
        let count = |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten();
        count(&self.root)
            .flat_map(|owner| count(&owner.path()))
            .filter(|e| e.path().is_dir())
            .count()
    }

    fn require_alive(&self) -> Result<usize, Box<dyn Error>> {
        match self.processes().len() {
            0 | 1 => Err("the browser has less than two processes".into()),
            alive => Ok(alive),
        }
    }

    /// Nothing now, and nothing a second later.
    async fn require_gone(&self) -> Result<(), Box<dyn Error>> {
        let until = Instant::now() + Duration::from_secs(1);
        while Instant::now() < until {
            let (processes, directories) = (self.processes().len(), self.directories());
            if processes + directories > 0 {
                return Err(format!("{processes} processes, {directories} directories").into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    async fn destroy(&self) -> Outcome {
        let pool = self.pool(PoolConfig::default())?;
        let page = pool.page().await?;
        let before = self.require_alive()?;
        let report = pool.destroy_all(LONG).await;
        self.require_gone().await?;
        drop(page);
        Ok(format!("{before} processes before, 0 after; {report}"))
    }

    async fn activity(&self) -> Outcome {
        let config = PoolConfig::builder().idle_timeout(Some(Duration::from_millis(500)));
        let pool = self.pool(config.build()?)?;
        let page = pool.page().await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        if let Some(loss) = page.loss() {
            return Err(format!("the lease was taken away: {loss}").into());
        }
        page.release();
        let report = pool.drain(LONG).await;
        Ok(format!("four idle times without a call; {report}"))
    }

    async fn reap(&self) -> Outcome {
        let limit = Duration::from_secs(3);
        let pool = self.pool(PoolConfig::builder().idle_timeout(Some(limit)).build()?)?;
        pool.page().await?.release();
        let (before, idle) = (self.require_alive()?, Instant::now());
        while !self.processes().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let after = idle.elapsed();
        if after < limit || after > limit + Duration::from_secs(2) {
            return Err(format!("{before} processes went after {after:?}").into());
        }
        Ok(format!("{before} processes went after {after:.1?} of a limit of {limit:?}"))
    }

    fn sweep(&self) -> Outcome {
        let chrome = self.chrome()?;
        let owner = chrome.directory().to_owned();
        drop(chrome);
        // What an owner that was killed leaves: its directory, with a lock that nobody holds.
        std::fs::create_dir_all(owner.join("browser/p"))?;
        std::fs::write(owner.join("lock"), "")?;
        let living = self.chrome()?;
        let chrome = self.chrome()?;
        let swept = chrome.swept();
        if owner.exists() || swept.living != 1 {
            return Err(format!("{swept:?}").into());
        }
        drop(living);
        Ok("one dead owner removed, one living owner left alone".into())
    }

    async fn reaped(&self) -> Outcome {
        self.require_gone().await?;
        Ok("0 processes and 0 directories for a second".into())
    }

    async fn dropped(&self) -> Outcome {
        let pool = self.pool(PoolConfig::default())?;
        let page = pool.page().await?;
        let (before, started) = (self.require_alive()?, Instant::now());
        drop(pool);
        let took = started.elapsed();
        self.require_gone().await?;
        drop(page);
        Ok(format!("{before} processes before, 0 after a drop of {took:.0?}"))
    }

    async fn killed(&self) -> Outcome {
        let pool = self.pool(PoolConfig::builder().max_browsers(1).build()?)?;
        let page = pool.page().await?;
        let call = page.evaluate("new Promise(() => {})");
        let kill = async {
            for pid in self.processes() {
                let kill = format!("kill -9 {pid}");
                let mut command = std::process::Command::new("sh");
                let (tree, _) = lastout_proc_tree::Tree::spawn(
                    command.args(["-c", &kill]),
                    lastout_proc_tree::Containment::strongest(),
                )?;
                drop(tree.wait_empty_blocking(LONG));
            }
            Ok::<_, Box<dyn Error>>(Instant::now())
        };
        let (call, killed) = tokio::join!(call, kill);
        let took = killed?.elapsed();
        if call.is_ok() || !matches!(page.lost().await, Loss::Exited { .. }) {
            return Err("the call did not fail".into());
        }
        drop(page);
        pool.page().await?.release();
        let report = pool.drain(LONG).await;
        Ok(format!("the pending call failed within {took:.0?} of the last kill; {report}"))
    }

    async fn cancelled(&self) -> Outcome {
        let pool = self.pool(PoolConfig::builder().max_browsers(1).build()?)?;
        pool.page().await?.release();
        for pause in 0..20 {
            drop(tokio::time::timeout(Duration::from_millis(pause * 5), pool.context()).await);
        }
        let until = Instant::now() + LONG;
        while pool.stats().out > 0 || pool.stats().units > 1 {
            if Instant::now() > until {
                return Err(format!("{:?}", pool.stats()).into());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let stats = pool.stats();
        let report = pool.drain(LONG).await;
        Ok(format!(
            "{} gave up, {} units are left on the browser; {report}",
            stats.cancelled, stats.units
        ))
    }

    async fn stock(&self) -> Outcome {
        let pool = self.pool(PoolConfig::builder().warm_browsers(1).spares(2).build()?)?;
        while pool.stats().spares < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let started = Instant::now();
        let page = pool.page().await?;
        let took = started.elapsed();
        page.release();
        let report = pool.drain(LONG).await;
        Ok(format!("leased in {took:.0?}; {report}"))
    }
}
