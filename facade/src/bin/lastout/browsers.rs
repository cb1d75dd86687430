//! `lastout browsers`: what programs of this user have or left, and a page as a file.

use crate::answer::{Answer, FAILED, Failed, REFUSED, tell};
use crate::store::block_on;
use crate::words::Words;
use crate::{measure, signals};
use lastout::Supervisor;
use lastout::browser_pool::chromiumoxide::cdp::browser_protocol::page::{
    CaptureScreenshotFormat, PrintToPdfParams,
};
use lastout::browser_pool::chromiumoxide::page::ScreenshotParams;
use lastout::browser_pool::{
    BrowserPool, Chrome, LeaseOptions, Navigation, Owner, PoolConfig, Sandbox, Until,
};
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// The longest time of a capture, unless it is told.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the browser may take to end.
const END: Duration = Duration::from_secs(10);
/// The largest side of a window.
const LARGEST: u32 = 16_384;

pub(crate) fn main(verb: &str, words: &Words) -> Result<Answer, Failed> {
    match verb {
        "sweep" => sweep(words),
        "capture" => capture(words),
        _ => list(words),
    }
}

fn owners(words: &Words) -> Result<Vec<Owner>, Failed> {
    let root = words.raw("root").map(Path::new);
    Chrome::owners(root).map_err(|error| Failed::new("look for browsers", &error))
}

fn list(words: &Words) -> Result<Answer, Failed> {
    if !matches!(words.list()?[..], [] | ["list"]) {
        return Err(Failed::usage("browsers: list, sweep or capture"));
    }
    let owners = owners(words)?;
    if words.json() {
        let owners = owners.iter().map(|owner| {
            let browsers = owner.browsers.iter();
            let browsers: Vec<_> =
                browsers.map(|it| json!({ "path": it.path, "pid": it.pid })).collect();
            json!({ "path": owner.path, "is_living": owner.is_living, "browsers": browsers })
        });
        return Answer::json(&owners.collect());
    }
    let rows = owners.iter().map(|owner| {
        let pids = owner.browsers.iter().filter_map(|browser| browser.pid);
        let pids: Vec<_> = pids.map(|pid| pid.to_string()).collect();
        let age = owner.since.and_then(|since| SystemTime::now().duration_since(since).ok());
        let age = age.and_then(|age| i64::try_from(age.as_millis()).ok());
        vec![
            if owner.is_living { "living" } else { "dead" }.to_owned(),
            owner.browsers.len().to_string(),
            if pids.is_empty() { "-".to_owned() } else { pids.join(",") },
            age.map_or_else(|| "-".to_owned(), measure::age),
            owner.path.display().to_string(),
        ]
    });
    Answer::table(&["owner", "browsers", "pids", "age", "directory"], rows.collect())
}

fn sweep(words: &Words) -> Result<Answer, Failed> {
    let dead = owners(words)?.into_iter().filter(|owner| !owner.is_living).count();
    if dead == 0 || words.has("dry-run") {
        let text = match words.json() {
            true => json!({ "dead": dead, "killed": 0, "left": [] }).to_string(),
            false => format!("dead programs: {dead}"),
        };
        return Ok(Answer { text, code: if dead == 0 { REFUSED } else { 0 } });
    }
    let swept = Chrome::sweep(words.raw("root").map(Path::new));
    let swept = swept.map_err(|error| Failed::new("sweep", &error))?;
    for path in &swept.left {
        tell(format_args!("lastout: left behind: directory {}", path.display()));
    }
    let text = match words.json() {
        true => {
            json!({ "dead": swept.dead, "killed": swept.killed, "left": swept.left }).to_string()
        }
        false => format!("dead programs: {}, processes killed: {}", swept.dead, swept.killed),
    };
    Ok(Answer { text, code: if swept.left.is_empty() { 0 } else { FAILED } })
}

/// What to make of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Png,
    Pdf,
}

/// A page, what to make of it, and where.
struct Capture {
    url: String,
    path: PathBuf,
    kind: Kind,
    full_page: bool,
    until: Until,
    begin: Instant,
    timeout: Duration,
}

fn capture(words: &Words) -> Result<Answer, Failed> {
    let (chrome, capture) = parse(words)?;
    let (sender, mut signals) = tokio::sync::mpsc::unbounded_channel();
    let heard = signals::forward(move |number| sender.send(number).is_ok());
    heard.map_err(|error| Failed::new("hear signals", &error))?;
    // Before a browser is started: a file that exists is not overwritten.
    let file = NewFile::new(&capture.path)?;
    block_on(async {
        let chrome = chrome.build().map_err(|error| Failed::new("find a browser", &error))?;
        let config = PoolConfig::builder().max_browsers(1).build();
        let config = config.map_err(|error| Failed::new("set up a browser", &error))?;
        let pool = BrowserPool::start(chrome, config);
        let pool = pool.map_err(|error| Failed::new("start a browser", &error))?;
        // It ends the browser. A second signal does not wait for that.
        let supervisor = Supervisor::builder().deadline(END).until_signal();
        let supervisor = supervisor.member("browsers", pool.clone()).build();
        let supervisor = supervisor.map_err(|error| Failed::new("start a browser", &error))?;
        let handle = supervisor.handle();
        let captured = async {
            let captured = tokio::select! {
                biased;
                Some(number) = signals.recv() => Err(number),
                captured = capture.take(&pool) => Ok(captured),
            };
            handle.stop();
            captured
        };
        let (captured, report) = tokio::join!(captured, supervisor.run());
        if !report.is_clean() {
            return Err(Failed::text(report.to_string()));
        }
        let captured = match captured {
            Ok(captured) => captured,
            Err(number) => {
                return Ok(Answer { text: String::new(), code: signals::status(number) });
            }
        };
        let (bytes, navigation) = captured?;
        file.write(&bytes)?;
        let status = navigation.status().filter(|status| *status >= 400);
        if let Some(status) = status {
            tell(format_args!(
                "lastout: the server answered {status}; the page that came with it is captured"
            ));
        }
        Ok(Answer { text: String::new(), code: if status.is_some() { FAILED } else { 0 } })
    })
}

fn parse(words: &Words) -> Result<(lastout::browser_pool::ChromeBuilder, Capture), Failed> {
    let [url, path] = &words.values[..] else {
        return Err(Failed::usage("browsers capture: it takes a URL and a file"));
    };
    let url = url.to_str().filter(|url| url.contains(':'));
    let url = url.ok_or_else(|| Failed::usage("browsers capture: that is not a URL"))?;
    let kind = match Path::new(path).extension().and_then(|end| end.to_str()) {
        Some("png") => Kind::Png,
        Some("pdf") => Kind::Pdf,
        _ => return Err(Failed::usage("browsers capture: the file must end in .png or .pdf")),
    };
    let until = words.parsed("wait", |word| match word {
        "dom" => Some(Until::DomContentLoaded),
        "load" => Some(Until::Loaded),
        "idle" => Some(Until::NetworkIdle),
        _ => None,
    })?;
    let mut chrome = Chrome::builder();
    if let Some((width, height)) = words.parsed("window", window)? {
        chrome = chrome.window(width, height);
    }
    if let Some(executable) = words.raw("executable") {
        chrome = chrome.executable(executable);
    }
    if let Some(root) = words.raw("root") {
        chrome = chrome.root(root);
    }
    if words.has("no-sandbox") {
        chrome = chrome.sandbox(Sandbox::Disabled);
    }
    let capture = Capture {
        url: url.to_owned(),
        path: path.into(),
        kind,
        full_page: words.has("full-page"),
        until: until.unwrap_or_default(),
        begin: Instant::now(),
        timeout: words.time("timeout")?.unwrap_or(PATIENCE),
    };
    Ok((chrome, capture))
}

fn window(text: &str) -> Option<(u32, u32)> {
    let (width, height) = text.split_once('x')?;
    let side = |text: &str| text.parse().ok().filter(|side| (1..=LARGEST).contains(side));
    Some((side(width)?, side(height)?))
}

impl Capture {
    fn left(&self) -> Duration {
        self.timeout.saturating_sub(self.begin.elapsed())
    }

    async fn take(&self, pool: &BrowserPool) -> Result<(Vec<u8>, Navigation), Failed> {
        let failed = |error: &(dyn std::error::Error + 'static)| {
            Failed::new(format_args!("capture {}", self.url), error)
        };
        let page = pool.page_with(LeaseOptions::new().deadline(self.left())).await;
        let page = page.map_err(|error| failed(&error))?;
        let navigation = page.navigate_until(&*self.url, self.until, self.left()).await;
        let navigation = navigation.map_err(|error| failed(&error))?;
        let bytes = page.run(self.left(), async {
            match self.kind {
                Kind::Pdf => page.pdf(PrintToPdfParams::default()).await,
                Kind::Png => {
                    let picture = ScreenshotParams::builder().full_page(self.full_page);
                    page.screenshot(picture.format(CaptureScreenshotFormat::Png).build()).await
                }
            }
        });
        let bytes = bytes.await.map_err(|error| failed(&error))?;
        Ok((bytes.map_err(|error| failed(&error))?, navigation))
    }
}

/// A file that was not there. It is removed again unless it is written.
struct NewFile<'a> {
    path: &'a Path,
    file: Option<File>,
}

impl<'a> NewFile<'a> {
    fn new(path: &'a Path) -> Result<Self, Failed> {
        let file = OpenOptions::new().write(true).create_new(true).open(path);
        let file =
            file.map_err(|error| Failed::new(format_args!("make {}", path.display()), &error))?;
        Ok(Self { path, file: Some(file) })
    }

    fn write(mut self, bytes: &[u8]) -> Result<(), Failed> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let written = file.write_all(bytes);
        written
            .map_err(|error| Failed::new(format_args!("write {}", self.path.display()), &error))?;
        self.file = None;
        Ok(())
    }
}

impl Drop for NewFile<'_> {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = std::fs::remove_file(self.path);
        }
    }
}
