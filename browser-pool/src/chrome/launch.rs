//! One launch: directory, process, bridge, client, first answer.

use super::args::{self, Parts, arguments};
use super::bridge::{self, Bridge, Upstream};
use super::config::{Chrome, Inner, Transport};
use super::home::BrowserDir;
use super::live::{ChromeBrowser, drive};
use super::process::{KILL_BOUND, Process};
use crate::config::FOREVER;
use crate::driver::{Driver, Launch, Launched};
use crate::error::{LaunchError, Loss};
use crate::report::LeftBehind;
use crate::request::LaunchProfile;
use crate::tasks;
use chromiumoxide::browser::Browser;
use chromiumoxide::handler::HandlerConfig;
use lastout_proc_tree::{Containment, Io, Program, TokioChild, Tree};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};

/// Variables of this process that a browser sees.
const PASSED_ON: &[&str] = &["PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH"];

/// Those that a browser with windows sees as well.
const DISPLAYS: &[&str] = &["DISPLAY", "XAUTHORITY"];

/// How often the file that tells the port is looked for.
const LOOK: Duration = Duration::from_millis(5);

/// The status of a process whose pipe has closed comes a moment later.
const STATUS: Duration = Duration::from_millis(250);

impl Driver for Chrome {
    type Browser = ChromeBrowser;

    async fn launch(&self, launch: Launch) -> Result<Launched<ChromeBrowser>, LaunchError> {
        if let Some(adopted) = self.inner.adopted.take(launch.pool, launch.browser) {
            return adopted.launch().await;
        }
        let deadline = Instant::now() + launch.timeout.min(FOREVER);
        let started = start(&self.inner, &launch)?;
        let process = started.process.clone();
        let mut phase = "the opening of its port";
        let connected = async {
            let (started, upstream) = upstream(&self.inner, started).await?;
            phase = "its first answer";
            connect(&self.inner, started, upstream, &launch).await
        };
        let connected = timeout_at(deadline, connected).await;
        match connected {
            Ok(Ok(launched)) => Ok(launched),
            Ok(Err(error)) => {
                let _kept_by_the_home = process.end(KILL_BOUND).await;
                Err(error)
            }
            Err(_) => {
                let (after, stderr) = (launch.timeout, process.last_words());
                let _kept_by_the_home = process.end(KILL_BOUND).await;
                Err(LaunchError::TimedOut { phase, after, stderr })
            }
        }
    }

    async fn left_behind(&self, pool: u64, reported: Vec<LeftBehind>) -> Vec<LeftBehind> {
        let home = self.inner.home.clone();
        let there = tasks::blocking(move || home.left_behind(pool)).await;
        there.unwrap_or(reported)
    }

    fn check(&self, profile: &LaunchProfile) -> Result<(), LaunchError> {
        args::check(&profile.args, self.inner.safety, profile)
    }

    fn keeps_to_proxies(&self) -> bool {
        !self.inner.safety.webrtc_udp
    }

    fn called_off(&self, pool: u64, browser: u64) {
        drop(self.inner.adopted.take(pool, browser));
    }
}

/// A browser that was started, and does not talk yet. Dropping it ends it.
struct Started {
    process: Arc<Process>,
    child: TokioChild,
    dir: BrowserDir,
    pipe: (pipe::Receiver, pipe::Sender),
}

/// The same, once its pipe is in the bridge.
struct Connecting {
    process: Arc<Process>,
    child: TokioChild,
}

fn start(chrome: &Inner, launch: &Launch) -> Result<Started, LaunchError> {
    let mut dir = chrome.home.browser(launch.pool)?;
    // From here on whatever fails removes the directory.
    let program = chrome.executable.path();
    let spawned = spawn(chrome, launch, &dir);
    let (tree, mut child, pipe) = match spawned {
        Ok(spawned) => spawned,
        Err(error) => {
            return Err(match error {
                SpawnFailed::Args(error) => error,
                SpawnFailed::Io(source) => LaunchError::Spawn { program: program.into(), source },
            });
        }
    };
    let stderr = child.stderr.take();
    let recorded = dir.record(child.id());
    let process = Arc::new(Process::new(tree, &mut dir, stderr));
    recorded.map_err(|source| LaunchError::Directory { path: dir.path().into(), source })?;
    Ok(Started { process, child, dir, pipe })
}

enum SpawnFailed {
    Args(LaunchError),
    Io(Box<dyn std::error::Error + Send + Sync>),
}

type Spawned = (Tree, TokioChild, (pipe::Receiver, pipe::Sender));

fn spawn(chrome: &Inner, launch: &Launch, dir: &BrowserDir) -> Result<Spawned, SpawnFailed> {
    let parts = Parts {
        is_shell: chrome.executable.is_headless_shell(),
        safety: chrome.safety,
        transport: chrome.transport,
        headful: chrome.headful,
        without: &chrome.without,
        gpu: chrome.gpu,
        window: chrome.window,
        profile_dir: &dir.part("p"),
        crash_dir: &dir.part("k"),
        profile: &launch.profile,
    };
    let args = arguments(parts, &chrome.args).map_err(SpawnFailed::Args)?;
    let mut program = Program::new(chrome.executable.path());
    program.args(args).stdin(Io::Null).stdout(Io::Null).stderr(Io::Piped);
    program.current_dir(dir.path()).env_clear();
    for name in PASSED_ON {
        program.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    for name in DISPLAYS.iter().filter(|_| chrome.headful) {
        program.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    let fonts =
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FONTCONFIG_"));
    program.envs(fonts);
    program.envs(args::OWN_PLACES.map(|(name, letter)| (name, dir.part(letter))));
    program.envs(chrome.env.iter().map(|(name, value)| (name, value)));
    let failed = |error: std::io::Error| SpawnFailed::Io(Box::new(error));
    let (our_out, its_in) = pipe::pipe().map_err(failed)?;
    let (its_out, our_in) = pipe::pipe().map_err(failed)?;
    let ours = (our_in, our_out);
    let its_in = its_in.into_blocking_fd().map_err(failed)?;
    let its_out = its_out.into_blocking_fd().map_err(failed)?;
    let containment = Containment::strongest().descriptor(3, its_in).descriptor(4, its_out);
    let spawned = Tree::spawn(&mut program.on_tokio(), containment);
    let (tree, child) = spawned.map_err(|error| SpawnFailed::Io(Box::new(error)))?;
    Ok((tree, child, ours))
}

/// The browser's side of the bridge.
async fn upstream(chrome: &Inner, started: Started) -> Result<(Connecting, Upstream), LaunchError> {
    let Started { process, child, dir, pipe: (from, to) } = started;
    let mut started = Connecting { process, child };
    if chrome.transport == Transport::Pipe {
        return Ok((started, Upstream::Pipe { from, to }));
    }
    let file = dir.part("p").join("DevToolsActivePort");
    let address = loop {
        if let Some(address) = active_port(&file) {
            break address;
        }
        if let Ok(Some(status)) = started.child.try_wait() {
            return Err(exited(&started.process, Some(status.to_string())).await);
        }
        sleep(LOOK).await;
    };
    let socket = bridge::connect(&address)
        .await
        .map_err(|source| LaunchError::Connect { source, stderr: started.process.last_words() })?;
    Ok((started, Upstream::Socket { socket: Box::new(socket), lifeline: (from, to) }))
}

/// The address in the file that a browser writes when it listens: the port, then the path.
fn active_port(file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let (port, rest) = text.split_once('\n')?;
    let port: u16 = port.trim().parse().ok()?;
    let path = rest.lines().next().filter(|path| path.starts_with('/'))?;
    Some(format!("ws://127.0.0.1:{port}{path}"))
}

/// Bridges, connects chromiumoxide, and waits for the first answer.
async fn connect(
    chrome: &Inner,
    mut started: Connecting,
    upstream: Upstream,
    launch: &Launch,
) -> Result<Launched<ChromeBrowser>, LaunchError> {
    let (news, told) = mpsc::unbounded_channel();
    let process = started.process.clone();
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| LaunchError::Connect {
        source,
        stderr: process.last_words(),
    };
    let bridge = Bridge::listen(upstream, launch.op_timeout, news).await;
    let bridge = bridge.map_err(|error| failed(Box::new(error)))?;
    let address = bridge.address().map_err(|error| failed(Box::new(error)))?;
    let router = bridge.router();
    let mut carried = Box::pin(bridge.run());
    let config = HandlerConfig {
        ignore_https_errors: chrome.ignore_https_errors,
        ignore_invalid_messages: true,
        viewport: None,
        context_ids: Vec::new(),
        // The bridge ends calls: it knows how long each may take, and the client has one limit for all.
        request_timeout: FOREVER,
        request_intercept: chrome.request_intercept,
        cache_enabled: true,
    };
    let (client, handler) = tokio::select! {
        client = Browser::connect_with_config(address, config) => {
            client.map_err(|error| failed(Box::new(error)))?
        }
        _ = &mut carried => return Err(ended(&mut started).await),
    };
    let browser = ChromeBrowser::new(client, Some(router), started.process.clone());
    let mut drive: std::pin::Pin<Box<dyn Future<Output = Loss> + Send>> =
        Box::pin(drive(handler, carried));
    let answer = tokio::select! {
        answer = browser.first_answer() => Some(answer),
        _ = &mut drive => None,
        _ = started.child.wait() => None,
    };
    match answer {
        Some(Ok(())) => {}
        Some(Err(error)) => return Err(failed(Box::new(error))),
        None => return Err(ended(&mut started).await),
    }
    let mut child = started.child;
    let drive = Box::pin(async move {
        let lost = tokio::select! {
            loss = drive => Some(loss),
            _ = child.wait() => None,
        };
        // The connection is gone by now; the status comes a moment later.
        match (lost, tokio::time::timeout(STATUS, child.wait()).await) {
            (Some(loss @ Loss::Client(_)), _) => loss,
            (_, Ok(status)) => {
                Loss::Exited { status: status.ok().map(|status| status.to_string()) }
            }
            (lost, Err(_)) => lost.unwrap_or(Loss::Disconnected),
        }
    });
    Ok(Launched { browser, drive, news: told })
}

async fn ended(started: &mut Connecting) -> LaunchError {
    let status = tokio::time::timeout(STATUS, started.child.wait()).await;
    let status = status.ok().and_then(Result::ok).map(|status| status.to_string());
    exited(&started.process, status).await
}

async fn exited(process: &Process, status: Option<String>) -> LaunchError {
    LaunchError::Exited { status, stderr: process.all_words().await }
}
