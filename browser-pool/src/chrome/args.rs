//! The command line of a browser: every switch with its reason, and the user's own merged in.

use super::config::{Sandbox, Transport};
use crate::error::LaunchError;
use crate::request::{BadOption, LaunchProfile};
use std::ffi::OsString;
use std::path::Path;

/// Switches that every browser gets, with the reason.
pub(super) const ALWAYS: &[(&str, &str)] = &[
    ("--no-first-run", "no welcome page"),
    ("--no-default-browser-check", "no question about the default browser"),
    ("--no-startup-window", "no start page: it would cost a renderer that nobody uses"),
    ("--no-service-autorun", "nothing that outlives the browser"),
    ("--disable-background-networking", "no traffic that no page asked for"),
    ("--disable-background-timer-throttling", "pages are always in the background here"),
    ("--disable-backgrounding-occluded-windows", "no window is ever visible"),
    ("--disable-renderer-backgrounding", "renderers of pages that work keep their priority"),
    ("--disable-breakpad", "crash reports go nowhere"),
    ("--disable-client-side-phishing-detection", "no model is loaded for it"),
    ("--disable-component-extensions-with-background-pages", "no hidden pages"),
    ("--disable-component-update", "no downloads into the profile"),
    ("--disable-default-apps", "none are used"),
    (
        "--disable-dev-shm-usage",
        "/dev/shm is 64 MiB in most containers, and pages crash when it is full",
    ),
    ("--disable-extensions", "none are installed"),
    ("--disable-field-trial-config", "the same behaviour on every machine"),
    ("--disable-hang-monitor", "no dialog about a page that hangs: the pool has limits of its own"),
    ("--disable-infobars", "they change the size of pages"),
    ("--disable-popup-blocking", "pages may open what they want; it ends with their context"),
    ("--disable-prompt-on-repost", "a reload never waits for an answer"),
    ("--disable-search-engine-choice-screen", "no question at the first start"),
    ("--disable-sync", "there is no account"),
    ("--enable-automation", "no infobars, no password bubbles"),
    ("--export-tagged-pdf", "PDFs that can be read aloud"),
    ("--force-color-profile=srgb", "the same pixels on every machine"),
    ("--hide-scrollbars", "screenshots without them"),
    ("--metrics-recording-only", "metrics are not sent"),
    ("--mute-audio", "nobody listens"),
    ("--password-store=basic", "no keyring daemon is started or asked"),
    ("--use-mock-keychain", "the same on macOS"),
    ("--lang=en-US", "messages and number formats do not depend on the machine"),
];

/// Switches that every browser gets unless WebRTC may use UDP, which would go past every proxy and show the
/// machine's own address. The second is the headless shell's name of the first.
const WEBRTC_PROXIED: &[&str] = &[
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
];

/// Features that are off, with the reason.
pub(super) const FEATURES_OFF: &[(&str, &str)] = &[
    ("AcceptCHFrame", "no extra round trip for client hints"),
    ("AutofillServerCommunication", "no form is reported"),
    ("BackForwardCache", "a page that was left is gone, with its memory"),
    ("CertificateTransparencyComponentUpdater", "a download nobody asked for"),
    ("DestroyProfileOnBrowserClose", "the profile is removed as a whole"),
    ("DialMediaRouteProvider", "no search for devices in the network"),
    ("GlobalMediaControls", "nobody sees them"),
    ("HttpsUpgrades", "a URL is what the caller wrote"),
    ("LensOverlay", "nobody sees it"),
    ("MediaRouter", "no search for devices in the network"),
    ("OptimizationGuideModelDownloading", "a download nobody asked for"),
    ("OptimizationHints", "a request for each page nobody asked for"),
    ("PaintHolding", "screenshots show the new page"),
    ("RenderDocument", "one renderer for each page"),
    ("SpareRendererForSitePerProcess", "a second renderer for each context that most never use"),
    ("Translate", "no bar, no model"),
    ("OnDeviceModelService", "a process that starts after minutes"),
    ("InitialWebUI", "no toolbar that is itself a web page"),
    ("PreloadTopChromeWebUI", "no renderer for menus that nobody opens"),
    ("WebUIOmniboxAimPopup", "a renderer for each window, for an address bar that nobody sees"),
    ("WebUIOmniboxFullPopup", "the same"),
    ("WebUIOmniboxPopup", "the same; without them a context costs less than half"),
    ("WebUIReloadButton", "no toolbar that is itself a web page"),
];

/// Switches that the pool owns: a user's argument with such a name is refused, with the reason.
const OWNED: &[(&str, &str)] = &[
    ("--user-data-dir", "the pool gives every browser a directory of its own"),
    ("--crash-dumps-dir", "the pool gives every browser a directory of its own"),
    ("--disk-cache-dir", "the pool gives every browser a directory of its own"),
    ("--remote-debugging-pipe", "choose the transport in the configuration"),
    ("--remote-debugging-port", "an open port lets every process of the machine in"),
    ("--remote-debugging-address", "an open port lets every machine in"),
    ("--remote-debugging-socket-name", "choose the transport in the configuration"),
    ("--remote-allow-origins", "it lets web pages drive the browser"),
    ("--no-sandbox", "say Sandbox::Disabled in the configuration"),
    ("--disable-setuid-sandbox", "say Sandbox::Disabled in the configuration"),
    ("--headless", "say headful in the configuration"),
    ("--proxy-server", "say LaunchProfile::proxy"),
    ("--user-agent", "say LaunchProfile::user_agent"),
    ("--webrtc-ip-handling-policy", "say ChromeBuilder::webrtc_udp"),
    ("--force-webrtc-ip-handling-policy", "say ChromeBuilder::webrtc_udp"),
    ("--disable-crashpad-for-testing", "pages hang with it"),
    ("--single-process", "a crash of one page would take all"),
];

/// Switches that weaken or lift the sandbox: refused unless it is disabled in the configuration.
const UNSANDBOXING: &[&str] = &[
    "--allow-no-sandbox-job",
    "--allow-sandbox-debugging",
    "--allow-third-party-modules",
    "--browser-subprocess-path",
    "--disable-gpu-sandbox",
    "--disable-landlock-sandbox",
    "--disable-namespace-sandbox",
    "--disable-seccomp-filter-sandbox",
    "--disable-win32k-lockdown",
    "--disable-yama-sandbox",
    "--gpu-launcher",
    "--gpu-sandbox-failures-fatal",
    "--in-process-gpu",
    "--no-zygote",
    "--no-zygote-sandbox",
    "--nacl-dangerous-no-sandbox-nonsfi",
    "--ppapi-plugin-launcher",
    "--renderer-cmd-prefix",
    "--service-sandbox-type",
    "--type",
    "--utility-cmd-prefix",
    "--zygote-cmd-prefix",
];

/// Switches that send traffic past the proxy of the profile: refused beside one.
const UNPROXYING: &[&str] =
    &["--no-proxy-server", "--proxy-auto-detect", "--proxy-pac-url", "--winhttp-proxy-resolver"];

/// Variables that lead a browser to its own places, and the letter of each in its directory.
pub(super) const OWN_PLACES: [(&str, &str); 7] = [
    ("TMPDIR", "t"),
    ("HOME", "h"),
    ("XDG_CACHE_HOME", "c"),
    ("XDG_CONFIG_HOME", "g"),
    ("XDG_DATA_HOME", "h"),
    ("XDG_RUNTIME_DIR", "t"),
    ("BREAKPAD_DUMP_LOCATION", "k"),
];

/// The longest side of a window: no picture of a page that a browser draws is longer.
const MOST_WINDOW: u32 = 16_384;

/// What the configuration says of the browser's own protection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Safety {
    pub(super) sandbox: Sandbox,
    /// Whether WebRTC may use UDP.
    pub(super) webrtc_udp: bool,
}

/// What else decides the command line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) is_shell: bool,
    pub(super) safety: Safety,
    pub(super) transport: Transport,
    pub(super) headful: bool,
    pub(super) without: &'a [String],
    pub(super) gpu: bool,
    pub(super) window: (u32, u32),
    pub(super) profile_dir: &'a Path,
    pub(super) crash_dir: &'a Path,
    pub(super) profile: &'a LaunchProfile,
}

/// The whole command line.
pub(super) fn arguments(parts: Parts<'_>, extra: &[String]) -> Result<Vec<OsString>, LaunchError> {
    let kept = ALWAYS.iter().filter(|(switch, _)| !parts.without.iter().any(|out| out == switch));
    let mut args: Vec<String> = kept.map(|(switch, _)| (*switch).into()).collect();
    if !parts.is_shell && !parts.headful {
        args.push("--headless=new".into());
    }
    if !parts.gpu {
        args.push("--disable-gpu".into());
    }
    if parts.safety.sandbox == Sandbox::Disabled {
        args.push("--no-sandbox".into());
    }
    if !parts.safety.webrtc_udp {
        args.extend(WEBRTC_PROXIED.iter().map(|switch| (*switch).into()));
    }
    args.push("--remote-debugging-pipe".into());
    if parts.transport == Transport::Port {
        args.push("--remote-debugging-port=0".into());
    }
    args.push(format!("--window-size={},{}", parts.window.0, parts.window.1));
    if let Some(proxy) = &parts.profile.proxy {
        args.push(format!("--proxy-server={proxy}"));
    }
    if let Some(agent) = &parts.profile.user_agent {
        args.push(format!("--user-agent={agent}"));
    }
    let mut off: Vec<String> = FEATURES_OFF.iter().map(|(name, _)| (*name).into()).collect();
    let mut on = Vec::new();
    check(extra, parts.safety, parts.profile)?;
    check(&parts.profile.args, parts.safety, parts.profile)?;
    for arg in extra.iter().chain(&parts.profile.args) {
        merge(&mut args, &mut off, &mut on, arg);
    }
    off.retain(|name| !on.contains(name));
    args.push(format!("--disable-features={}", off.join(",")));
    if !on.is_empty() {
        args.push(format!("--enable-features={}", on.join(",")));
    }
    let mut args: Vec<OsString> = args.into_iter().map(OsString::from).collect();
    for (switch, path) in
        [("--user-data-dir", parts.profile_dir), ("--crash-dumps-dir", parts.crash_dir)]
    {
        let mut arg = OsString::from(switch);
        arg.push("=");
        arg.push(path);
        args.push(arg);
    }
    Ok(args)
}

/// Checks the switches that a user wants left out.
pub(super) fn check_without(without: &[String]) -> Result<(), LaunchError> {
    let Some(out) = without.iter().find(|out| !ALWAYS.iter().any(|(switch, _)| switch == out))
    else {
        return Ok(());
    };
    let why = owned(out).unwrap_or("no browser gets it by default");
    Err(LaunchError::Refused { what: format!("{out:?} cannot be left out: {why}") })
}

/// Why a switch is the pool's alone, if it is.
fn owned(arg: &str) -> Option<&'static str> {
    OWNED.iter().find(|(owned, _)| *owned == name_of(arg)).map(|(_, why)| *why)
}

/// Adds a user's argument: features are merged, another switch replaces ours of the same name.
fn merge(args: &mut Vec<String>, off: &mut Vec<String>, on: &mut Vec<String>, arg: &str) {
    let name = name_of(arg);
    let values = arg.split_once('=').map_or("", |(_, values)| values);
    let values = values.split(',').filter(|value| !value.is_empty()).map(str::to_owned);
    match name {
        "--disable-features" => off.extend(values),
        "--enable-features" => on.extend(values),
        _ => {
            args.retain(|ours| name_of(ours) != name);
            args.push(arg.into());
        }
    }
}

fn name_of(arg: &str) -> &str {
    arg.split_once('=').map_or(arg, |(name, _)| name)
}

/// Checks a profile and a user's arguments, without a browser.
pub(super) fn check(
    args: &[String],
    safety: Safety,
    profile: &LaunchProfile,
) -> Result<(), LaunchError> {
    let refused = |what: String| LaunchError::Refused { what };
    let bad = |bad: BadOption| refused(format!("{} is refused: {}", bad.option, bad.reason));
    profile.check().map_err(bad)?;
    if profile.proxy.is_some() && safety.webrtc_udp {
        return Err(refused("a proxy is refused: WebRTC over UDP would go past it".into()));
    }
    for arg in args {
        if let Err(why) = check_arg(arg, safety.sandbox, profile) {
            return Err(refused(format!("the argument {arg:?} is refused: {why}")));
        }
    }
    Ok(())
}

fn check_arg(arg: &str, sandbox: Sandbox, profile: &LaunchProfile) -> Result<(), &'static str> {
    if !arg.starts_with("--") || arg.len() < 3 || arg.contains('\0') {
        return Err("it is not a switch such as --name or --name=value");
    }
    // A browser cuts white space off, and takes what is left for the switch.
    if name_of(arg).chars().any(|c| !c.is_ascii_graphic()) {
        return Err("the name of a switch has printable ASCII characters alone");
    }
    if let Some(why) = owned(arg) {
        return Err(why);
    }
    if sandbox == Sandbox::Required && UNSANDBOXING.contains(&name_of(arg)) {
        return Err("the sandbox would not hold; say Sandbox::Disabled in the configuration");
    }
    if profile.proxy.is_some() && UNPROXYING.contains(&name_of(arg)) {
        return Err("traffic would go past the proxy of the launch profile");
    }
    Ok(())
}

/// Checks the environment variables that a user sets for every browser.
pub(super) fn check_env(env: &[(String, String)]) -> Result<(), LaunchError> {
    for (name, value) in env {
        let is_one = !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0');
        let why = if !is_one {
            "a name is not empty and holds neither = nor NUL, and a value holds no NUL"
        } else if OWN_PLACES.iter().any(|(owned, _)| owned == name) {
            "the pool gives every browser a directory of its own"
        } else if name.starts_with("CHROMIUM_") && name.ends_with("FLAGS") {
            "say ChromeBuilder::arg, which is checked"
        } else {
            continue;
        };
        let what = format!("the environment variable {name:?} is refused: {why}");
        return Err(LaunchError::Refused { what });
    }
    Ok(())
}

/// Checks the size of pages.
pub(super) fn check_window((width, height): (u32, u32)) -> Result<(), LaunchError> {
    if [width, height].iter().all(|side| (1..=MOST_WINDOW).contains(side)) {
        return Ok(());
    }
    let what =
        format!("a window of {width} x {height} is refused: each is from 1 to {MOST_WINDOW}");
    Err(LaunchError::Refused { what })
}

#[cfg(test)]
mod tests;
