//! How browsers are started: which executable, where, and how safely.

use super::args::{self, Safety};
use super::find::{Engine, Executable};
use super::home::{Home, SweepReport};
use crate::error::LaunchError;
use crate::request::LaunchProfile;
use std::path::PathBuf;
use std::sync::Arc;

/// How the pool talks to a browser.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// A pair of pipes: no port is open, and the browser ends by itself when its owner dies in any
    /// way, because the kernel closes them.
    #[default]
    Pipe,
    /// A port on the loopback that the system chooses, for browsers whose pipe does not work. Every
    /// process of the machine can drive the browser through it. The pipe is open as well, so that the
    /// browser still ends with its owner.
    Port,
}

/// Whether the browser's own sandbox must hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Sandbox {
    /// It must: a page that breaks its renderer is still locked in. As root no browser starts with
    /// it, so a launch is refused.
    #[default]
    Required,
    /// It is off. A page that breaks its renderer has all rights of this process: choose this only
    /// for pages that you wrote, or inside a container or machine that you can lose. The usual reason
    /// is a container in which everything is root and user namespaces are forbidden.
    Disabled,
}

/// Starts browsers: the driver of a [`BrowserPool`](crate::BrowserPool).
///
/// It owns one private directory in which every file of every browser lives. Clones share it.
#[derive(Debug, Clone)]
pub struct Chrome {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) executable: Executable,
    pub(super) transport: Transport,
    pub(super) safety: Safety,
    pub(super) headful: bool,
    pub(super) without: Vec<String>,
    pub(super) gpu: bool,
    pub(super) window: (u32, u32),
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) request_intercept: bool,
    pub(super) ignore_https_errors: bool,
    pub(super) home: Arc<Home>,
    pub(super) swept: SweepReport,
    pub(super) adopted: super::adopt::Queue,
}

impl Chrome {
    /// Starts from the defaults.
    pub fn builder() -> ChromeBuilder {
        ChromeBuilder {
            executable: None,
            engine: Engine::Auto,
            transport: Transport::Pipe,
            sandbox: Sandbox::Required,
            headful: false,
            without: Vec::new(),
            gpu: false,
            window: (1280, 720),
            webrtc_udp: false,
            args: Vec::new(),
            env: Vec::new(),
            root: None,
            request_intercept: false,
            ignore_https_errors: false,
        }
    }

    /// The executable that is started.
    pub fn executable(&self) -> &Executable {
        &self.inner.executable
    }

    /// What was left by owners that had died, and was removed when this driver was built.
    pub fn swept(&self) -> &SweepReport {
        &self.inner.swept
    }

    /// The private directory of this driver. Everything in it ends with it.
    pub fn directory(&self) -> &std::path::Path {
        self.inner.home.path()
    }
}

/// Collects what a [`Chrome`] is started with.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is built"]
pub struct ChromeBuilder {
    executable: Option<PathBuf>,
    engine: Engine,
    transport: Transport,
    sandbox: Sandbox,
    headful: bool,
    without: Vec<String>,
    gpu: bool,
    window: (u32, u32),
    webrtc_udp: bool,
    args: Vec<String>,
    env: Vec<(String, String)>,
    root: Option<PathBuf>,
    request_intercept: bool,
    ignore_https_errors: bool,
}

impl ChromeBuilder {
    /// Starts this executable. Without it one is searched, see [`Executable::find`].
    pub fn executable(mut self, path: impl Into<PathBuf>) -> Self {
        self.executable = Some(path.into());
        self
    }

    /// Which kind to search for. Default [`Engine::Auto`].
    pub fn engine(mut self, engine: Engine) -> Self {
        self.engine = engine;
        self
    }

    /// How to talk to it. Default [`Transport::Pipe`].
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Whether its sandbox must hold. Default [`Sandbox::Required`].
    pub fn sandbox(mut self, sandbox: Sandbox) -> Self {
        self.sandbox = sandbox;
        self
    }

    /// Shows windows, on the display that `DISPLAY` names: for looking at what a page does. Default off. A headless
    /// shell has no windows; an executable that is searched for is then a full browser.
    pub fn headful(mut self, headful: bool) -> Self {
        self.headful = headful;
        self
    }

    /// Leaves out a switch that every browser gets, such as `--disable-extensions` before an extension is loaded
    /// by an argument. A feature that is off by default is turned on by `--enable-features=NAME` in
    /// [`arg`](Self::arg).
    pub fn without(mut self, switch: impl Into<String>) -> Self {
        self.without.push(switch.into());
        self
    }

    /// Lets it use a GPU. Default off: servers have none.
    pub fn gpu(mut self, gpu: bool) -> Self {
        self.gpu = gpu;
        self
    }

    /// The size of pages, each side from 1 to 16384. Default 1280 × 720.
    pub fn window(mut self, width: u32, height: u32) -> Self {
        self.window = (width, height);
        self
    }

    /// Lets WebRTC use UDP, which goes past every proxy and shows the machine's own address: with it every proxy, of a
    /// lease or of a launch profile, is refused. Default off.
    pub fn webrtc_udp(mut self, allowed: bool) -> Self {
        self.webrtc_udp = allowed;
        self
    }

    /// Adds a command line argument for every browser.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Sets an environment variable. Browsers see only these, and `PATH`, `LANG`, `LC_ALL`, `TZ`,
    /// `FONTCONFIG_*` and `LD_LIBRARY_PATH` of this process. `build` refuses variables that lead a
    /// browser out of its private directory, such as `HOME` and `TMPDIR`, and `CHROMIUM_*FLAGS`, whose arguments
    /// would not be checked.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Keeps the private directories under this one, which must belong to this user alone. The path
    /// may have at most 40 bytes, because browsers make sockets below it. Default:
    /// `lastout-UID` in the directory for temporary files.
    pub fn root(mut self, root: impl Into<PathBuf>) -> Self {
        self.root = Some(root.into());
        self
    }

    /// Lets pages intercept their requests, as chromiumoxide does when it is asked to.
    pub fn request_intercept(mut self, intercept: bool) -> Self {
        self.request_intercept = intercept;
        self
    }

    /// Accepts every certificate. Default off.
    pub fn ignore_https_errors(mut self, ignore: bool) -> Self {
        self.ignore_https_errors = ignore;
        self
    }

    /// Finds the executable, makes the private directory, and sweeps what dead owners have left:
    /// their browsers are killed, their directories removed. Reads `/proc` and the file system, so it
    /// may take milliseconds.
    ///
    /// # Errors
    ///
    /// When no executable is found; when an argument, a variable or the size of the window is refused; when a switch to
    /// leave out is none that browsers get, or protects what has an option of its own; when a headless shell is to show
    /// windows; when this is root and the sandbox is not disabled; and when the directory cannot be made private.
    pub fn build(self) -> Result<Chrome, LaunchError> {
        let executable = match self.executable {
            Some(path) => Executable::at(path),
            None if self.headful && self.engine == Engine::Auto => Executable::find(Engine::Full)?,
            None => Executable::find(self.engine)?,
        };
        if self.headful && executable.is_headless_shell() {
            let what = "a headless shell has no windows; choose Engine::Full or do without headful";
            return Err(LaunchError::Refused { what: what.into() });
        }
        args::check_without(&self.without)?;
        args::check_env(&self.env)?;
        args::check_window(self.window)?;
        let safety = Safety { sandbox: self.sandbox, webrtc_udp: self.webrtc_udp };
        args::check(&self.args, safety, &LaunchProfile::default())?;
        if self.sandbox == Sandbox::Required && rustix::process::geteuid().is_root() {
            let what = "as root no browser starts with its sandbox: run as another user, or, if \
                        every page is trusted, say Sandbox::Disabled";
            return Err(LaunchError::Refused { what: what.into() });
        }
        let home = Home::open(self.root)?;
        let swept = home.sweep();
        Ok(Chrome {
            inner: Arc::new(Inner {
                executable,
                transport: self.transport,
                safety,
                headful: self.headful,
                without: self.without,
                gpu: self.gpu,
                window: self.window,
                args: self.args,
                env: self.env,
                request_intercept: self.request_intercept,
                ignore_https_errors: self.ignore_https_errors,
                home: Arc::new(home),
                swept,
                adopted: super::adopt::Queue::default(),
            }),
        })
    }
}
