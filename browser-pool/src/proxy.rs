//! Proxies: what browsers take for one, and what one is answered when it asks.

use std::fmt;

/// What a proxy is answered. It is not shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// The kinds of proxies that browsers know. Of others they say nothing and connect directly.
const PROXIES: &[&str] = &["http", "https", "socks", "socks4", "socks5"];

/// Whether a browser takes this as one proxy: `SCHEME://HOST`, with a port if need be.
pub(crate) fn check_proxy(proxy: &str) -> Result<(), &'static str> {
    if proxy == "direct://" {
        return Ok(());
    }
    let (scheme, address) = proxy.split_once("://").unwrap_or(("http", proxy));
    if !PROXIES.contains(&scheme) {
        return Err("its scheme is not http, https, socks4, socks5 or direct");
    }
    if address.contains('@') {
        return Err("a browser takes no user and password in the address of a proxy");
    }
    let (host, port) = match address.rsplit_once(':') {
        // The colons of an IPv6 address are in brackets.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (address, None),
    };
    let is_port = |port: &str| !port.starts_with('+') && port.parse::<u16>().is_ok_and(|n| n > 0);
    if port.is_some_and(|port| !is_port(port)) {
        return Err("its port is not a number from 1 to 65535");
    }
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let good = match bare {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => is_host(host),
    };
    if good { Ok(()) } else { Err("it is not one host, such as socks5://127.0.0.1:1080") }
}

/// Whether this is the name of a host, or an IPv4 address in four numbers. What a browser cannot make one of,
/// such as the address `256.1.1.1`, it ignores, and connects directly.
fn is_host(host: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let labels: Vec<_> = host.strip_suffix('.').unwrap_or(host).split('.').collect();
    let last = labels.last().copied().unwrap_or_default();
    let is_hex = last.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("0x"));
    let is_number = is_hex || last.chars().all(|c| c.is_ascii_digit());
    labels.iter().all(|label| !label.is_empty() && label.chars().all(letter))
        && (!is_number || host.parse::<std::net::Ipv4Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_would_not_take_as_a_proxy_is_refused() {
        let good = [
            "http://proxy",
            "proxy:3128",
            "socks5://127.0.0.1:1080",
            "https://a.b-c.example:443",
            "[::1]:80",
            "socks4://[fe80::1]",
            "a_b.",
            "direct://",
        ];
        for proxy in good {
            assert_eq!(check_proxy(proxy), Ok(()), "{proxy}");
        }
        let bad = [
            "http://a.0X1",
            "http://0X1FFFFFFFF",
            "",
            " ",
            "://",
            "http://",
            "ftp://a",
            "foo://bar",
            "http://user:word@host:1",
            "a b",
            "a:",
            "a:b",
            "a:99999",
            "a:+1",
            "http=a;https=b",
            "a,b",
            "a;b",
            "socks5://a/path",
            "[::1",
            "[x]:1",
            "direct://x",
            "a\0",
            "a:0",
            "http://256.1.1.1:80",
            "http://1.2.3.4.5",
            "http://1.2.3:80",
            "http://0x7f.1",
            "http://0x7f000001",
            "7",
            "a..b",
            ".",
            "http://\u{f1}",
            "http://\u{ff11}27.0.0.1",
            "http://a:1:2",
            "HTTP://a",
        ];
        for proxy in bad {
            assert!(check_proxy(proxy).is_err(), "{proxy:?}");
        }
    }
}
