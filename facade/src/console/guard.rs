//! Who may ask for what. One function decides, before anything is routed.
//!
//! - A name in `Host` that the console was not told of is refused: a page of a stranger whose name was
//!   bound to this address (DNS rebinding) shows its own name there.
//! - With a token, everything but the sign-in and its two assets needs it.
//! - A page of another site may link to a page of the console, but loads nothing of it: its script cannot read an
//!   answer, but it could use up the places of the pages that are fed.
//! - What changes something is refused while the console is read-only.
//! - What changes something must come from a page of the console itself, by `Sec-Fetch-Site` and `Origin`.
//!   A program that shows the token in `Authorization` needs neither: no browser adds that by itself.

use hyper::header::{AUTHORIZATION, COOKIE, HOST, HeaderMap, ORIGIN};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use std::hint::black_box;
use std::net::IpAddr;

/// Where a request comes from, as a browser says it.
const SITE: &str = "sec-fetch-site";

/// What a console asks of each request.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    /// Names besides `localhost` and addresses, in lower case.
    pub(crate) hosts: Vec<String>,
    pub(crate) token: Option<Token>,
    pub(crate) may_order: bool,
    /// The cookie that carries the token.
    pub(crate) cookie: String,
}

/// Why a request is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Host,
    Site,
    Token,
    ReadOnly,
    Origin,
}

impl Refusal {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::Token => StatusCode::UNAUTHORIZED,
            Self::Site | Self::ReadOnly | Self::Origin => StatusCode::FORBIDDEN,
        }
    }

    pub(crate) fn why(self) -> &'static str {
        match self {
            Self::Host => "This console does not answer to the name in the header Host.",
            Self::Site => "A page of another site loads nothing of this console.",
            Self::Token => "This console asks for a token.",
            Self::ReadOnly => "This console is read-only.",
            Self::Origin => "An order must come from a page of this console.",
        }
    }
}

impl Guard {
    /// `path` is below the base of the console.
    pub(crate) fn check(&self, parts: &Parts, path: &str) -> Result<(), Refusal> {
        let host = host(parts).ok_or(Refusal::Host)?;
        if !self.knows(host) {
            return Err(Refusal::Host);
        }
        let signs_in = path == "/login";
        let by_header = self.has_bearer(&parts.headers);
        let changes = parts.method != Method::GET && parts.method != Method::HEAD;
        if !changes && !by_header && !may_load(&parts.headers, host, path) {
            return Err(Refusal::Site);
        }
        let is_known = self.token.is_none() || by_header || self.has_cookie(&parts.headers);
        if !is_known && !signs_in && !path.starts_with("/console.") {
            return Err(Refusal::Token);
        }
        if !changes {
            return Ok(());
        }
        if !self.may_order && !signs_in {
            return Err(Refusal::ReadOnly);
        }
        if by_header || is_from_here(&parts.headers, host) {
            return Ok(());
        }
        Err(Refusal::Origin)
    }

    /// Whether a client with this `Host` may mean this console. An address cannot be rebound.
    fn knows(&self, host: &str) -> bool {
        let Some(name) = name_of(host).map(str::to_ascii_lowercase) else { return false };
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        let address = bare.unwrap_or(&name);
        name == "localhost" || address.parse::<IpAddr>().is_ok() || self.hosts.contains(&name)
    }

    fn has_bearer(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return false };
        let value = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
        let scheme = value.and_then(|value| value.split_at_checked("Bearer ".len()));
        // The name of a scheme has no case.
        scheme.is_some_and(|(scheme, shown)| {
            scheme.eq_ignore_ascii_case(b"Bearer ") && token.is(shown)
        })
    }

    fn has_cookie(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return false };
        let values = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
        let pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            (name == self.cookie).then_some(value)
        });
        pairs.into_iter().any(|value| token.is(value.as_bytes()))
    }
}

/// The one name that the client says it talks to, in the header or in the address, or in both.
pub(crate) fn host(parts: &Parts) -> Option<&str> {
    let address = parts.uri.authority().map(|authority| authority.as_str());
    let mut values = parts.headers.get_all(HOST).iter().map(|value| value.to_str().ok());
    let header = values.next().unwrap_or(address)?;
    let is_one = values.next().is_none() && address.is_none_or(|address| address == header);
    is_one.then_some(header)
}

/// The name without the port. `None` when what follows it is no port.
fn name_of(host: &str) -> Option<&str> {
    let after_address = host.rfind(']').map_or(0, |at| at + 1);
    let end = host[after_address..].find(':').map_or(host.len(), |at| after_address + at);
    let port = host[end..].strip_prefix(':').unwrap_or_default();
    port.bytes().all(|byte| byte.is_ascii_digit()).then_some(&host[..end])
}

/// What every value of a header is, if there is one; a header that comes twice must say the same twice.
fn each_is(headers: &HeaderMap, name: &str, is_right: impl Fn(&str) -> bool) -> Option<bool> {
    let values = headers.get_all(name);
    let mut values = values.iter().map(|value| value.to_str().is_ok_and(&is_right)).peekable();
    values.peek()?;
    Some(values.all(|is_right| is_right))
}

/// Whether what sent this may have the answer: a page of this console, a person who typed or followed an
/// address, or a program that is no browser. A stream of events is no page to be led to.
fn may_load(headers: &HeaderMap, host: &str, path: &str) -> bool {
    let says = |name, value| each_is(headers, name, |it| it == value) == Some(true);
    let is_led_to = path != "/events"
        && says("sec-fetch-mode", "navigate")
        && says("sec-fetch-dest", "document");
    let is_near = each_is(headers, SITE, |site| site == "same-origin" || site == "none");
    (is_near.unwrap_or(true) || is_led_to) && origin_is_here(headers, host).unwrap_or(true)
}

/// Whether the header `Origin` names this console, if there is one.
fn origin_is_here(headers: &HeaderMap, host: &str) -> Option<bool> {
    each_is(headers, ORIGIN.as_str(), |origin| {
        let authority = origin.strip_prefix("http://").or(origin.strip_prefix("https://"));
        authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
    })
}

/// Whether a browser says that a page of this very console sent it. Each header that is there must say so,
/// and one of them must be.
fn is_from_here(headers: &HeaderMap, host: &str) -> bool {
    let site = each_is(headers, SITE, |site| site == "same-origin");
    match (site, origin_is_here(headers, host)) {
        (None, None) => false,
        (site, origin) => site.unwrap_or(true) && origin.unwrap_or(true),
    }
}

/// The secret of a console.
pub(crate) struct Token(String);

impl Token {
    /// The shortest one, in bytes: nobody finds it by trying.
    pub(crate) const LEAST: usize = 16;

    /// The longest one: a browser keeps no cookie of more than 4 KiB.
    pub(crate) const MOST: usize = 1024;

    /// `None` when it is too short or too long, or has a character that a cookie cannot carry.
    pub(crate) fn new(text: String) -> Option<Self> {
        let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        let fits = (Self::LEAST..=Self::MOST).contains(&text.len());
        (fits && text.bytes().all(is_safe)).then_some(Self(text))
    }

    /// Compares without telling by its time how much of it was right.
    pub(crate) fn is(&self, shown: &[u8]) -> bool {
        let mine = self.0.as_bytes();
        let mut differs = usize::from(mine.len() != shown.len());
        for (at, byte) in mine.iter().enumerate() {
            let theirs = shown.get(at).copied().unwrap_or(0);
            differs |= usize::from(black_box(byte ^ theirs));
        }
        black_box(differs) == 0
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;

    const TOKEN: &str = "0123456789abcdef";

    fn guard(token: bool, may_order: bool) -> Guard {
        let token = token.then(|| Token::new(TOKEN.to_owned()).unwrap());
        let hosts = vec!["console.example".to_owned()];
        Guard { hosts, token, may_order, cookie: "c".to_owned() }
    }

    fn ask(guard: &Guard, method: &str, path: &str, headers: &[(&str, &str)]) -> Option<Refusal> {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "127.0.0.1:9");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        guard.check(&parts, path).err()
    }

    #[test]
    fn names_that_may_have_been_rebound_are_refused() {
        let guard = guard(false, true);
        for host in
            ["localhost", "LOCALHOST:80", "127.0.0.1", "[::1]:9", "10.0.0.7:1", "console.example"]
        {
            assert_eq!(ask(&guard, "GET", "/", &[("host", host)]), None, "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
            ":9",
            "[",
            "a]:b",
            "127.0.0.1:evil.example",
            "[[127.0.0.1]]",
            "evil.example@127.0.0.1",
        ] {
            let refused = ask(&guard, "GET", "/", &[("host", host)]);
            assert_eq!(refused, Some(Refusal::Host), "{host:?}");
        }
        let two = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(ask(&guard, "GET", "/", &two), Some(Refusal::Host));
        let (parts, ()) = Request::builder().uri("/").body(()).unwrap().into_parts();
        assert_eq!(guard.check(&parts, "/"), Err(Refusal::Host), "none at all");
        let elsewhere = ask(&guard, "GET", "http://evil.example/", &[("host", "localhost")]);
        assert_eq!(elsewhere, Some(Refusal::Host), "the address names another one");
        assert_eq!(ask(&guard, "GET", "http://localhost/", &[("host", "localhost")]), None);
    }

    #[test]
    fn an_order_comes_from_a_page_of_the_console() {
        let guard = guard(false, true);
        let from = |headers: &[(&str, &str)]| ask(&guard, "POST", "/order", headers).is_none();
        assert!(from(&[("sec-fetch-site", "same-origin")]));
        assert!(from(&[("origin", "http://127.0.0.1:9")]));
        assert!(from(&[("origin", "http://127.0.0.1:9"), ("sec-fetch-site", "same-origin")]));
        for site in ["cross-site", "same-site", "none", ""] {
            assert!(!from(&[("sec-fetch-site", site)]), "{site}");
            assert!(!from(&[("sec-fetch-site", site), ("origin", "http://127.0.0.1:9")]), "{site}");
        }
        for origin in
            ["null", "", "http://127.0.0.1:8", "http://evil.example", "file://127.0.0.1:9"]
        {
            assert!(!from(&[("origin", origin)]), "{origin}");
            assert!(!from(&[("origin", origin), ("sec-fetch-site", "same-origin")]), "{origin}");
        }
        let two = [("origin", "http://127.0.0.1:9"), ("origin", "http://evil.example")];
        assert!(!from(&two), "a second origin");
        let two = [("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")];
        assert!(!from(&two), "a second site");
        assert!(!from(&[]), "neither header");
    }

    #[test]
    fn a_page_of_another_site_leads_here_and_loads_nothing() {
        let guard = guard(false, false);
        let led = |site, mode, dest| {
            [("sec-fetch-site", site), ("sec-fetch-mode", mode), ("sec-fetch-dest", dest)]
        };
        for site in ["cross-site", "same-site", ""] {
            let person = led(site, "navigate", "document");
            assert_eq!(ask(&guard, "GET", "/jobs", &person), None, "{site}");
            assert_eq!(ask(&guard, "GET", "/events", &person), Some(Refusal::Site), "{site}");
            for (mode, dest) in [("cors", "empty"), ("no-cors", "image"), ("navigate", "iframe")] {
                for path in ["/", "/jobs", "/events", "/console.js"] {
                    let refused = ask(&guard, "GET", path, &led(site, mode, dest));
                    assert_eq!(refused, Some(Refusal::Site), "{site} {mode} {path}");
                }
            }
            assert_eq!(ask(&guard, "GET", "/", &[(SITE, site)]), Some(Refusal::Site));
        }
        for origin in ["http://evil.example", "null", ""] {
            let refused = ask(&guard, "HEAD", "/events", &[("origin", origin)]);
            assert_eq!(refused, Some(Refusal::Site), "a browser without these headers");
        }
        for site in ["same-origin", "none"] {
            assert_eq!(ask(&guard, "GET", "/events", &[(SITE, site)]), None, "{site}");
        }
        assert_eq!(ask(&guard, "GET", "/events", &[("origin", "http://127.0.0.1:9")]), None);
        assert_eq!(ask(&guard, "GET", "/events", &[]), None, "a program");
    }

    #[test]
    fn nothing_but_the_right_token_opens() {
        let guard = guard(true, true);
        let cookie = format!("a=b; c={TOKEN}; d=e");
        let bearer = format!("Bearer {TOKEN}");
        assert_eq!(ask(&guard, "GET", "/", &[("cookie", &cookie)]), None);
        for bearer in [&*bearer, &format!("bearer {TOKEN}")] {
            assert_eq!(ask(&guard, "GET", "/", &[("authorization", bearer)]), None, "{bearer}");
        }
        assert_eq!(ask(&guard, "POST", "/order", &[("authorization", &bearer)]), None);
        assert_eq!(
            ask(&guard, "POST", "/order", &[("cookie", &cookie)]),
            Some(Refusal::Origin),
            "a browser adds a cookie by itself"
        );
        for wrong in ["", "0123456789abcde", "0123456789abcdeg", "0123456789abcdef0"] {
            let (cookie, bearer) = (format!("c={wrong}"), format!("Bearer {wrong}"));
            let shown = [("cookie", &*cookie), ("authorization", &*bearer)];
            assert_eq!(ask(&guard, "GET", "/jobs", &shown), Some(Refusal::Token), "{wrong}");
        }
        assert_eq!(ask(&guard, "GET", "/login", &[]), None);
        assert_eq!(ask(&guard, "GET", "/console.css", &[]), None);
        assert_eq!(ask(&guard, "GET", "/login/", &[]), Some(Refusal::Token));
    }

    #[test]
    fn a_read_only_console_takes_no_order_from_anyone() {
        let guard = guard(true, false);
        let bearer = format!("Bearer {TOKEN}");
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "FOO"] {
            let headers = [("authorization", &*bearer), ("sec-fetch-site", "same-origin")];
            assert_eq!(
                ask(&guard, method, "/order", &headers),
                Some(Refusal::ReadOnly),
                "{method}"
            );
        }
    }

    #[test]
    fn tokens_that_are_short_or_do_not_fit_a_cookie_are_refused() {
        assert!(Token::new("0123456789abcde".to_owned()).is_none());
        assert!(Token::new("x".repeat(Token::MOST)).is_some());
        assert!(Token::new("x".repeat(Token::MOST + 1)).is_none());
        assert!(Token::new("0123456789abcde;".to_owned()).is_none());
        assert!(Token::new("0123456789abcdeé".to_owned()).is_none());
        let token = Token::new(TOKEN.to_owned()).unwrap();
        assert!(!format!("{token:?}").contains('0'), "it is not printed");
    }
}
