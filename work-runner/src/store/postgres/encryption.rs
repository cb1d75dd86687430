//! What a connection string says of TLS, in the words of libpq: `sslmode` and `sslrootcert`.

use crate::error::{StoreError, StoreErrorKind};
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

#[cfg(feature = "tls")]
pub(super) use super::tls::{Connector, Stream};
#[cfg(not(feature = "tls"))]
pub(super) use tokio_postgres::{NoTls as Connector, tls::NoTlsStream as Stream};

/// `sslmode`, from the weakest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(super) enum Mode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

const MODES: [(&str, Mode); 5] = [
    ("disable", Mode::Disable),
    ("prefer", Mode::Prefer),
    ("require", Mode::Require),
    ("verify-ca", Mode::VerifyCa),
    ("verify-full", Mode::VerifyFull),
];

/// `sslrootcert` for the roots that the machine trusts.
const SYSTEM: &str = "system";

/// The roots to verify against.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Roots {
    System,
    File(String),
}

/// Which server is let in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Trust {
    pub(super) mode: Mode,
    /// `None` when no certificate is verified.
    pub(super) roots: Option<Roots>,
}

/// Reads a connection string: how to connect, and which server to trust.
pub(super) fn read(text: &str) -> Result<(Config, Trust), StoreError> {
    let (rest, mode, root) = split(text);
    let trust = trust(mode.as_deref(), root)?;
    let config: Result<Config, _> = rest.parse();
    let mut config = config.map_err(|error| invalid(error.to_string()))?;
    config.ssl_mode(match trust.mode {
        Mode::Disable => SslMode::Disable,
        Mode::Prefer => SslMode::Prefer,
        Mode::Require | Mode::VerifyCa | Mode::VerifyFull => SslMode::Require,
    });
    Ok((config, trust))
}

/// The connector for `trust`.
#[cfg(not(feature = "tls"))]
pub(super) fn connector(trust: &Trust) -> Result<Connector, StoreError> {
    if trust.mode > Mode::Prefer {
        let name = MODES.iter().find(|(_, mode)| *mode == trust.mode).map(|(name, _)| name);
        return Err(invalid(format!("sslmode={} needs the feature `tls`", name.unwrap_or(&"?"))));
    }
    Ok(Connector)
}

#[cfg(feature = "tls")]
pub(super) use super::tls::connector;

pub(super) fn invalid(why: String) -> StoreError {
    StoreError::new(StoreErrorKind::Invalid, "read the connection string").with_source(why)
}

fn trust(mode: Option<&str>, root: Option<String>) -> Result<Trust, StoreError> {
    let system = root.as_deref() == Some(SYSTEM);
    let mode = match mode {
        // Whoever names the roots of the machine, as whom everybody can buy a certificate, means this.
        None if system => Mode::VerifyFull,
        None => Mode::Prefer,
        Some(name) => {
            let known = MODES.iter().find(|(known, _)| *known == name);
            let names = MODES.map(|(name, _)| name).join(", ");
            known.ok_or_else(|| invalid(format!("sslmode is {name:?}, none of {names}")))?.1
        }
    };
    if system && mode != Mode::VerifyFull {
        let why = "sslrootcert=system says nothing about a server unless sslmode is verify-full";
        return Err(invalid(why.to_owned()));
    }
    Ok(match (mode, root) {
        (Mode::Disable | Mode::Prefer, _) | (Mode::Require, None) => Trust { mode, roots: None },
        // As libpq has it: who names roots wants them asked.
        (Mode::Require, Some(file)) => {
            Trust { mode: Mode::VerifyCa, roots: Some(Roots::File(file)) }
        }
        (Mode::VerifyCa, None) => {
            let why =
                "sslmode=verify-ca needs sslrootcert, the file of the roots to verify against";
            return Err(invalid(why.to_owned()));
        }
        (_, Some(file)) if !system => Trust { mode, roots: Some(Roots::File(file)) },
        (_, _) => Trust { mode, roots: Some(Roots::System) },
    })
}

/// The connection string without our two words, and their values.
fn split(text: &str) -> (String, Option<String>, Option<String>) {
    let (mut mode, mut root) = (None, None);
    // The last word on a key wins.
    let mut is_ours = |key: &str, value: String| {
        let place = match key {
            "sslmode" => &mut mode,
            "sslrootcert" => &mut root,
            _ => return false,
        };
        *place = Some(value);
        true
    };
    let is_url = text.starts_with("postgres://") || text.starts_with("postgresql://");
    let mut rest = String::new();
    if let (true, Some((place, options))) = (is_url, text.split_once('?')) {
        rest.push_str(place);
        let mut mark = '?';
        for option in options.split('&') {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            if !is_ours(key, decoded(value)) {
                rest.push(mark);
                rest.push_str(option);
                mark = '&';
            }
        }
    } else if is_url {
        rest.push_str(text);
    } else {
        let mut left = text;
        while let Some((key, value, after)) = word(left) {
            if !is_ours(key, value) {
                rest.push_str(&left[..left.len() - after.len()]);
            }
            left = after;
        }
        rest.push_str(left);
    }
    (rest, mode, root)
}

/// The first `key=value` of `text`, and what follows it.
fn word(text: &str) -> Option<(&str, String, &str)> {
    let (key, rest) = text.split_once('=')?;
    let rest = rest.trim_start();
    let quoted = rest.strip_prefix('\'');
    let body = quoted.unwrap_or(rest);
    let (mut value, mut escaped) = (String::new(), false);
    for (at, c) in body.char_indices() {
        match c {
            _ if escaped => {
                value.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '\'' if quoted.is_some() => return Some((key.trim(), value, &body[at + 1..])),
            _ if quoted.is_none() && c.is_whitespace() => {
                return Some((key.trim(), value, &body[at..]));
            }
            _ => value.push(c),
        }
    }
    Some((key.trim(), value, ""))
}

/// A value of a URL with its `%2F` resolved. What is none stays as it is.
fn decoded(value: &str) -> String {
    let (bytes, mut out, mut at) = (value.as_bytes(), Vec::new(), 0);
    while let Some(&byte) = bytes.get(at) {
        let code = value.get(at + 1..at + 3).filter(|_| byte == b'%');
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(code) => {
                out.push(code);
                at += 3;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(mode: Mode, name: &str) -> Trust {
        Trust { mode, roots: Some(Roots::File(name.to_owned())) }
    }

    #[test]
    fn both_forms_say_which_server_is_trusted() {
        let none = |mode| Trust { mode, roots: None };
        for (text, trust) in [
            ("host=db", none(Mode::Prefer)),
            ("host=db sslmode=disable", none(Mode::Disable)),
            ("sslmode = require host=db", none(Mode::Require)),
            ("sslmode=require sslrootcert=/a host=db", file(Mode::VerifyCa, "/a")),
            (
                r"sslrootcert='/a b\'c' sslmode=verify-full host=db",
                file(Mode::VerifyFull, "/a b'c"),
            ),
            (r"sslrootcert=/a\ b sslmode=verify-ca host=db", file(Mode::VerifyCa, "/a b")),
            ("postgres://db", none(Mode::Prefer)),
            ("postgres://db/jobs?sslmode=require", none(Mode::Require)),
            (
                "postgresql://db/?sslrootcert=%2Fa%20b&connect_timeout=3&sslmode=verify-full",
                file(Mode::VerifyFull, "/a b"),
            ),
            (
                "host=db sslrootcert=system",
                Trust { mode: Mode::VerifyFull, roots: Some(Roots::System) },
            ),
        ] {
            let (config, read) = read(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
            assert_eq!(read, trust, "{text}");
            let host = tokio_postgres::config::Host::Tcp("db".to_owned());
            assert_eq!(config.get_hosts(), [host], "{text}");
        }
    }

    #[test]
    fn what_is_around_our_words_stays_as_it_is() {
        let text = r"user='a b' sslmode=require password='sslmode=\' x' sslrootcert=/r dbname=d";
        let (config, _) = read(text).expect("it is well formed");
        assert_eq!(config.get_user(), Some("a b"));
        assert_eq!(config.get_password(), Some(&b"sslmode=' x"[..]));
        assert_eq!(config.get_dbname(), Some("d"));
    }

    #[test]
    #[cfg(not(feature = "tls"))]
    fn without_the_feature_a_mode_that_needs_it_is_refused() {
        for (text, taken) in [
            ("host=db", true),
            ("host=db sslmode=disable", true),
            ("host=db sslmode=require", false),
            ("host=db sslrootcert=system", false),
        ] {
            let (_, trust) = read(text).expect(text);
            assert_eq!(connector(&trust).is_ok(), taken, "{text}");
        }
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for text in [
            "host=db sslmode=sometimes",
            "host=db sslmode=",
            "host=db sslmode=verify-ca",
            "host=db sslmode=require sslrootcert=system",
            "host=db sslmode=disable sslrootcert=system",
            "host=db nothing=x",
            "postgres://db?sslmode=verify",
        ] {
            let refused = read(text).expect_err(text);
            assert_eq!(refused.kind(), StoreErrorKind::Invalid, "{text}");
        }
    }
}
