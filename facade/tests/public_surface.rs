//! What each crate shows to its users, against the list in `tests/api`, so that a change of it is seen
//! in review. When it is meant: `cargo xtask api --bless`.
//!
//! The sources are read, because they are formatted and the lint `unreachable_pub` keeps the word `pub`
//! for what users reach. It needs no other toolchain and no build.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const CRATES: [&str; 7] = [
    "async-rt",
    "browser-pool",
    "cleanup-worker",
    "facade",
    "output-stream",
    "proc-tree",
    "work-runner",
];

/// The attributes that are part of a promise.
const PROMISES: [&str; 4] = ["#[cfg(feature", "#[derive(", "#[macro_export]", "#[non_exhaustive]"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// A line without its comment; lines of comments are empty.
fn code(line: &str) -> &str {
    let line = line.split_once(" // ").map_or(line, |(code, _)| code);
    if line.trim_start().starts_with("//") { "" } else { line.trim_end() }
}

/// The lines of an item from its first one: to the end of its head, or of all of it when its members
/// are part of the promise.
fn item<'a>(lines: &[&'a str], whole: bool) -> Vec<&'a str> {
    let depth = indent(lines[0]);
    let is_end = |line: &str| match whole {
        true => indent(line) == depth && (line.ends_with('}') || line.ends_with(';')),
        false => line.ends_with(['{', ';', ',', '}']) && indent(line) == depth,
    };
    let end = lines.iter().position(|line| is_end(line)).unwrap_or(0);
    lines[..=end].to_vec()
}

/// The members of a trait or an enum, without the bodies of methods.
fn members(lines: &[&str]) -> String {
    let depth = indent(lines[0]) + 4;
    let mut kept = Vec::new();
    let mut inside_body = false;
    for line in lines {
        let is_member = indent(line) == depth;
        if inside_body {
            inside_body = !(is_member && line.trim() == "}");
            continue;
        }
        let opens_body = line.ends_with('{') && is_member && line.contains(['(', ')'])
            || line.trim().starts_with("where") && line.ends_with('{');
        inside_body = opens_body;
        kept.push(if opens_body { line.trim_end_matches('{') } else { line });
    }
    flat(&kept)
}

/// One line, however it was broken.
fn flat(lines: &[&str]) -> String {
    let text = lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
    let text = text.replace("( ", "(").replace(", )", ")").replace(",)", ")");
    let text = text.strip_suffix("{}").unwrap_or(&text);
    let text = text.trim_end_matches(['{', ',', ';', ' ']);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What a crate shows, each item as one line.
#[derive(Debug, Default)]
struct Surface {
    shown: BTreeSet<String>,
    types: BTreeSet<String>,
    /// By the name of the type: some are of types that nobody sees.
    traits: Vec<(String, String)>,
}

impl Surface {
    fn read(&mut self, text: &str) {
        // Tests stand last.
        let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
        let lines: Vec<_> = text.lines().map(code).filter(|line| !line.is_empty()).collect();
        let (mut owner, mut attributes) = (String::new(), Vec::new());
        for (place, line) in lines.iter().enumerate() {
            let (word, is_outermost) = (line.trim_start(), indent(line) == 0);
            if word.starts_with('#') {
                if PROMISES.iter().any(|promise| word.starts_with(promise)) {
                    attributes.push(word);
                }
                continue;
            }
            let promised = std::mem::take(&mut attributes).join(" ");
            if is_outermost && !word.starts_with(['{', '}', ')']) && word != "where" {
                owner = flat(&item(&lines[place..], false));
                if word.starts_with("impl")
                    && let Some((_, name)) = owner.split_once(" for ")
                {
                    self.traits.push((first_word(name), format!("{promised} {owner}")));
                }
            }
            if let Some(head) = promise(&lines[place..], &promised) {
                let inside = if is_outermost { String::new() } else { format!("{owner} :: ") };
                self.shown.insert(format!("{promised} {inside}{head}").trim().to_owned());
                let name = head.split_once("struct ").or_else(|| head.split_once("enum "));
                self.types.extend(name.map(|(_, name)| first_word(name)));
            }
        }
    }

    fn listing(mut self) -> String {
        let traits = self.traits.into_iter().filter(|(name, _)| self.types.contains(name));
        self.shown.extend(traits.map(|(_, line)| line.trim().to_owned()));
        self.shown.into_iter().map(|line| line + "\n").collect()
    }
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// What stands at the start of these lines, if users see it.
fn promise(lines: &[&str], attributes: &str) -> Option<String> {
    let word = lines[0].trim_start();
    if ["pub enum ", "pub trait ", "pub unsafe trait "].iter().any(|head| word.starts_with(head)) {
        return Some(members(&item(lines, true)));
    }
    let is_macro = word.starts_with("macro_rules!") && attributes.contains("macro_export");
    if !word.starts_with("pub ") && !is_macro {
        return None;
    }
    let head = flat(&item(lines, false));
    // The value of a constant is not promised.
    let is_constant = word.starts_with("pub const ") && !word.starts_with("pub const fn ");
    let value = head.find(" = ").filter(|_| is_constant);
    Some(head[..value.unwrap_or(head.len())].to_owned())
}

fn listing(folder: &str) -> String {
    let (mut found, mut surface) = (Vec::new(), Surface::default());
    sources(&root().join(folder).join("src"), &mut found);
    for path in found {
        surface.read(&fs::read_to_string(path).unwrap());
    }
    assert!(!surface.types.is_empty(), "{folder} has types");
    surface.listing()
}

#[test]
fn every_crate_shows_what_is_listed() {
    let bless = std::env::var_os("LASTOUT_BLESS").is_some();
    let mut changes = String::new();
    for folder in CRATES {
        let path = root().join("facade/tests/api").join(folder).with_extension("txt");
        let now = listing(folder);
        if bless {
            fs::write(path, now).unwrap();
            continue;
        }
        let before = fs::read_to_string(&path).unwrap();
        let (old, new): (BTreeSet<_>, BTreeSet<_>) =
            (before.lines().collect(), now.lines().collect());
        let gone = old.difference(&new).map(|line| format!("{folder}: - {line}\n"));
        let come = new.difference(&old).map(|line| format!("{folder}: + {line}\n"));
        changes.extend(gone.chain(come));
    }
    assert!(
        changes.is_empty(),
        "the public surface has changed; if that is meant: cargo xtask api --bless\n{changes}"
    );
}

#[test]
fn an_item_is_one_line_with_its_owner_and_without_its_body() {
    let text = "\
pub struct Open {
    pub field: u32,
    hidden: u32,
}

impl<T> Open
where
    T: Send,
{
    /// Doc.
    pub fn long(
        &self,
        one: u8, // why
    ) -> u8 {
        pub_like()
    }
    pub(crate) fn hidden(&self) {}
}

#[derive(Debug)]
#[non_exhaustive]
pub enum Choice {
    /// Doc.
    One,
    Two { part: u8 },
}

impl Does for Open {}

impl Does for Hidden {}

pub trait Does {
    fn it(&self);
    fn more(&self) -> u8 {
        7
    }
}
";
    let mut surface = Surface::default();
    surface.read(text);
    assert_eq!(
        surface.listing().lines().collect::<Vec<_>>(),
        [
            "#[derive(Debug)] #[non_exhaustive] pub enum Choice { One, Two { part: u8 }, }",
            "impl Does for Open",
            "impl<T> Open where T: Send :: pub fn long(&self, one: u8) -> u8",
            "pub struct Open",
            "pub struct Open :: pub field: u32",
            "pub trait Does { fn it(&self); fn more(&self) -> u8 }",
        ]
    );
}
