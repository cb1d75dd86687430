//! Reads the source files, and blanks what is not code so that a word in a comment counts nothing.

use crate::workspace::Workspace;
use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};

/// A source file of a member.
#[derive(Debug, Clone)]
pub struct File {
    /// The package it belongs to.
    pub package: String,
    /// The path as a person would type it, from the root.
    pub path: String,
    /// The path inside its package.
    pub inside: String,
    /// The text.
    pub text: String,
    /// The text with comments and the insides of strings blanked, line for line.
    pub code: String,
    /// Whether the manifest says why it may be longer than the cap.
    pub may_be_long: bool,
    /// Whether its parent compiles it for tests only.
    pub for_tests: bool,
}

impl File {
    /// Whether it is a test, a model, a soak or a bench: these may be longer.
    pub fn is_test(&self) -> bool {
        let folder = |name: &str| self.inside.starts_with(name);
        self.for_tests
            || folder("tests/")
            || folder("soak/")
            || folder("benches/")
            || folder("src/model")
            || self.inside.ends_with("/tests.rs")
    }
}

/// Every source file of every member.
///
/// # Errors
///
/// When a file cannot be read.
pub fn tree(workspace: &Workspace) -> Result<Vec<File>> {
    let mut found = Vec::new();
    for package in &workspace.packages {
        for path in files(&package.dir)? {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("read {}", path.display()))?;
            let inside =
                path.strip_prefix(&package.dir).unwrap_or(&path).to_string_lossy().into_owned();
            // The peers of the benches, and what is fuzzed, are packages of their own, held to formatting and no more.
            let is_peer = package.name == "xtask" && inside.starts_with("peers/");
            if is_peer || inside.starts_with("fuzz/") {
                continue;
            }
            found.push(File {
                package: package.name.clone(),
                path: format!("{}/{inside}", package.folder),
                may_be_long: package.settings["allow-long"][&inside]
                    .as_str()
                    .is_some_and(|why| !why.is_empty()),
                for_tests: false,
                inside,
                code: code_of(&text),
                text,
            });
        }
    }
    let of_tests: Vec<_> = found.iter().flat_map(test_modules).collect();
    for file in &mut found {
        file.for_tests = of_tests.contains(&file.path);
    }
    Ok(found)
}

/// The files that this one declares as `#[cfg(test)] mod name;`.
fn test_modules(file: &File) -> Vec<String> {
    let (dir, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
    let dir = match name.trim_end_matches(".rs") {
        "mod" | "lib" | "main" => dir.to_owned(),
        name => format!("{dir}/{name}"),
    };
    let lines: Vec<_> = file.code.lines().map(str::trim).collect();
    let declared =
        lines.windows(2).filter(|pair| pair[0].starts_with("#[cfg(") && pair[0].contains("test"));
    let names = declared.filter_map(|pair| {
        pair[1].trim_start_matches("pub(crate) ").strip_prefix("mod ")?.strip_suffix(';')
    });
    names.flat_map(|name| [format!("{dir}/{name}.rs"), format!("{dir}/{name}/mod.rs")]).collect()
}

/// The `.rs` files below `dir`, in a stable order; none when there is no such folder.
///
/// # Errors
///
/// When a folder cannot be read.
pub fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    if !dir.is_dir() {
        return Ok(found);
    }
    for entry in std::fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
        let entry = entry.with_context(|| format!("read {}", dir.display()))?;
        let (path, name) = (entry.path(), entry.file_name());
        let is_build = name == "target" && dir.join("Cargo.toml").is_file();
        if path.is_dir() && !is_build && !name.to_string_lossy().starts_with('.') {
            found.extend(files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Every string literal in code, with the code of its line and of those above that leads to it.
pub fn strings(text: &str) -> Vec<(String, String)> {
    let (bytes, code) = (text.as_bytes(), code_of(text));
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let (end, hide) = token(bytes, at);
        if hide == Hide::Text && bytes[at] == b'"' {
            let inside = text.get(at + 1..end.saturating_sub(1)).unwrap_or_default();
            let from =
                (0..=at.saturating_sub(80)).rev().find(|place| code.is_char_boundary(*place));
            found.push((code[from.unwrap_or(0)..at].to_owned(), inside.to_owned()));
        }
        at = end;
    }
    found
}

/// Comments and the insides of strings blanked: they become spaces, so that lines and columns stay.
pub fn code_of(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let (end, hide) = token(bytes, at);
        if hide != Hide::Nothing {
            // The quotes of a string stay, so that code around it still reads as code.
            let margin = usize::from(hide == Hide::Text);
            for byte in out.iter_mut().take(end.saturating_sub(margin)).skip(at + margin) {
                if *byte != b'\n' {
                    *byte = b' ';
                }
            }
        }
        at = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[derive(PartialEq, Eq, Clone, Copy)]
enum Hide {
    Nothing,
    Comment,
    Text,
}

/// The end of the token that starts at `at`, and what it is.
fn token(bytes: &[u8], at: usize) -> (usize, Hide) {
    let rest = &bytes[at..];
    let in_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    // A prefix `b` or `c` leaves the rest of the literal as it is.
    if let [b'b' | b'c', rest @ ..] = rest
        && !in_word
        && let [b'r', b'"' | b'#', ..] = rest
    {
        return raw_end(&rest[1..])
            .map_or((at + 1, Hide::Nothing), |end| (at + 2 + end, Hide::Text));
    }
    match rest {
        [b'/', b'/', ..] => (at + line_end(rest), Hide::Comment),
        [b'/', b'*', ..] => (at + block_comment_end(rest), Hide::Comment),
        [b'"', ..] => (at + quoted_end(rest), Hide::Text),
        [b'r', b'"' | b'#', ..] if !in_word => {
            raw_end(&rest[1..]).map_or((at + 1, Hide::Nothing), |end| (at + 1 + end, Hide::Text))
        }
        [b'\'', b'\\', ..] => (at + quoted_end(rest), Hide::Text),
        [b'\'', _, b'\'', ..] => (at + 3, Hide::Text),
        _ => (at + 1, Hide::Nothing),
    }
}

fn line_end(rest: &[u8]) -> usize {
    rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())
}

fn block_comment_end(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// The end of a string or character that starts with its quote and may hold escapes.
fn quoted_end(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == rest[0] => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The end of `#"…"#` behind an `r`; `None` when it is a raw identifier.
fn raw_end(rest: &[u8]) -> Option<usize> {
    let hashes = rest.iter().take_while(|byte| **byte == b'#').count();
    if rest.get(hashes) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(hashes + 1, b'#');
    let body = &rest[hashes + 1..];
    let end = body.windows(close.len()).position(|window| window == close)?;
    Some(hashes + 1 + end + close.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_is_left() {
        let text = "let a = \"unsafe {\"; // unsafe {\n/* x /* unsafe */ y */ let b = '\"'; r#\"un\"safe\"#; 'a: loop {}";
        let code = code_of(text);
        assert!(!code.contains("unsafe"));
        assert!(!code.contains("un\"safe"));
        assert!(code.contains("let b") && code.contains("'a: loop {}"), "{code}");
        assert_eq!(code.lines().count(), text.lines().count());
    }

    #[test]
    fn a_module_for_tests_only_is_known_by_its_parent() {
        let parent = File {
            package: "p".into(),
            path: "p/src/engine/mod.rs".into(),
            inside: "src/engine/mod.rs".into(),
            text: String::new(),
            code: "mod a;\n#[cfg(test)]\nmod races;\n".into(),
            may_be_long: false,
            for_tests: false,
        };
        let found = test_modules(&parent);
        assert_eq!(found, ["p/src/engine/races.rs", "p/src/engine/races/mod.rs"]);
    }

    #[test]
    fn a_string_comes_with_the_code_before_it() {
        let found = strings("// on(\"i0.no\")\nlet a = '\"'; on(\"i1.x\"); f(br#\"y\"#)");
        assert_eq!(found.len(), 1);
        assert!(found[0].0.ends_with("on(") && found[0].1 == "i1.x", "{found:?}");
    }

    #[test]
    fn byte_strings_and_raw_byte_strings_end_where_they_end() {
        let text = "let a = br\"\\\"; let b = b\"\\\"\"; let c = br#\"\"\"#; unsafe_here()";
        assert!(code_of(text).contains("unsafe_here"), "{}", code_of(text));
    }

    #[test]
    fn escapes_lifetimes_and_raw_identifiers_do_not_confuse_it() {
        let text = r#"let q = '\''; let s = "a\"b // c"; fn f<'a>(r#type: &'a str) { code } "#;
        let code = code_of(text);
        assert!(code.contains("{ code }") && !code.contains("// c"), "{code}");
    }
}
