//! A command line as people are shown it.

use crate::text::printable;
use std::ffi::OsStr;

/// How long an argument, and a whole line, may be before it is shortened.
const WORD: usize = 80;
const LINE: usize = 800;

/// The program and the arguments that a builder was given, quoted as for a shell. What is secret is not kept.
#[derive(Debug, Clone, Default)]
pub(super) struct Words {
    words: Vec<String>,
    /// A secret has a NUL in it, which no argument can have.
    pub(super) has_bad_secret: bool,
}

impl Words {
    pub(super) fn add(&mut self, word: &OsStr) {
        self.words.push(quote(&word.to_string_lossy()));
    }

    pub(super) fn add_secret(&mut self, word: &OsStr) {
        self.has_bad_secret |= word.as_encoded_bytes().contains(&0);
        self.words.push("***".into());
    }

    /// The line, of `program` and these words.
    pub(super) fn line(&self, program: &str) -> String {
        let mut line = quote(program);
        for word in &self.words {
            line.push(' ');
            line.push_str(word);
            if line.chars().count() > LINE {
                return shorten(&line, LINE);
            }
        }
        line
    }
}

/// In one line, without what would move a cursor.
pub(super) fn plain(text: &str) -> String {
    printable(text).replace('\n', "\\n")
}

fn quote(word: &str) -> String {
    let word = plain(&shorten(word, WORD));
    let is_plain = |c: char| c.is_alphanumeric() || "-_./=:,@%+…".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word;
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn shorten(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.into(),
        Some((at, _)) => format!("{}…", &text[..at]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_quoted_shortened_and_without_secrets() {
        let mut words = Words::default();
        for word in ["-r", "two words", "it's", "", "a\nb\x1b[2J", "$HOME"] {
            words.add(OsStr::new(word));
        }
        words.add_secret(OsStr::new("hunter2"));
        let line = r"sort -r 'two words' 'it'\''s' '' 'a\nb\u{1b}[2J' '$HOME' ***";
        assert_eq!(words.line("sort"), line);
        words.add(OsStr::new(&"ä".repeat(5_000)));
        assert_eq!(words.line("sort").chars().count(), line.chars().count() + 82);
        for _ in 0..5_000 {
            words.add(OsStr::new("word"));
        }
        assert_eq!(words.line("sort").chars().count(), LINE + 1);
    }
}
