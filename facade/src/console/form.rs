//! The names and values of a query string or a form, and the way back into an address.

#[cfg(any(test, feature = "work-runner"))]
use std::fmt;

/// Names and values, decoded.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decoded(name), decoded(value))
                })
                .collect(),
        )
    }

    /// The value of a name; an empty one counts as none, because forms send empty fields.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        let pair = self.0.iter().find(|(mine, value)| mine == name && !value.is_empty());
        pair.map(|(_, value)| value.as_str())
    }
}

/// Decodes `+` and `%41`; what is no such sequence stays as it is.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (bytes[at], hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', ..) => out.push(b' '),
            (byte, ..) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A value as it stands in an address.
#[cfg(any(test, feature = "work-runner"))]
#[derive(Debug)]
pub(crate) struct Encoded<'a>(pub(crate) &'a str);

#[cfg(any(test, feature = "work-runner"))]
impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                    write!(f, "{}", char::from(byte))?;
                }
                _ => write!(f, "%{byte:02X}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_encoded_is_read_back(name in ".+", value in ".+") {
            let form = Form::parse(&format!("a=b&{}={}&c", Encoded(&name), Encoded(&value)));
            prop_assume!(name != "a");
            prop_assert_eq!(form.value(&name), Some(value.as_str()));
        }

        #[test]
        fn anything_can_be_parsed(text in ".*") {
            let _ = Form::parse(&text);
        }
    }

    #[test]
    fn broken_sequences_stay_and_empty_values_are_none() {
        let form = Form::parse("a=%4&b=100%&c=&d=1+2&d=3");
        assert_eq!(form.value("a"), Some("%4"));
        assert_eq!(form.value("b"), Some("100%"));
        assert_eq!(form.value("c"), None);
        assert_eq!(form.value("d"), Some("1 2"));
    }
}
