//! What a reset of a page undoes: a list of what it does, and not of what it does not.

/// Domains whose settings belong to the session or the target, and end with it. A reset closes every target
/// of a context; whatever is not listed here may have changed more, and ends the context.
const OF_THE_TARGET: &[&str] = &[
    "Accessibility.",
    "Animation.",
    "CSS.",
    "DOM.",
    "DOMSnapshot.",
    "Emulation.",
    "Fetch.",
    "Input.",
    "Log.",
    "Overlay.",
    "Page.",
    "Performance.",
    "Runtime.",
];

/// Calls of other domains that change nothing, or what a reset clears.
pub(super) const UNDONE: &[&str] = &[
    "IO.close",
    "IO.read",
    "Network.clearBrowserCache",
    "Network.clearBrowserCookies",
    "Network.deleteCookies",
    "Network.disable",
    "Network.emulateNetworkConditions",
    "Network.enable",
    "Network.getCookies",
    "Network.getResponseBody",
    "Network.setBlockedURLs",
    "Network.setCacheDisabled",
    "Network.setCookie",
    "Network.setCookies",
    "Network.setExtraHTTPHeaders",
    "Network.setUserAgentOverride",
    "Storage.clearDataForOrigin",
    "Target.activateTarget",
    "Target.setAutoAttach",
];

/// Calls of those domains that reach beyond the target.
pub(super) const BEYOND: &[&str] = &["Page.setDownloadBehavior"];

/// Whether a reset undoes what this call does.
pub(super) fn is_undone(method: &str) -> bool {
    let of_the_target = OF_THE_TARGET.iter().any(|domain| method.starts_with(domain));
    of_the_target && !BEYOND.contains(&method) || UNDONE.contains(&method)
}
