//! What the members of a tree carry, and are recognised by: a number that they inherit, and a variable.

use std::collections::hash_map::RandomState;
use std::ffi::{CString, OsString};
use std::hash::{BuildHasher, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;

/// A number that no other tree has.
pub(crate) fn new_mark() -> u64 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    crate::sys::mark_of(hasher.finish())
}

/// What the names of the variables of all trees begin with.
const VARIABLE: &str = "LASTOUT_TREE_";

/// Each tree has a variable of its own, so that a tree inside a tree carries both.
pub(crate) fn variable_name(number: u64) -> String {
    format!("{VARIABLE}{number:016x}")
}

/// A number for the variable that all trees of this process share. A process that was forked has its own.
pub(crate) fn process_number() -> u64 {
    static NUMBER: OnceLock<u64> = OnceLock::new();
    NUMBER.get_or_init(new_mark) ^ u64::from(std::process::id())
}

/// The variables by which trees around this process recognise it. A supervisor is their member as well.
pub(crate) fn variables_of_outer_trees() -> Vec<CString> {
    let ours = |(name, _): &(OsString, OsString)| name.as_bytes().starts_with(VARIABLE.as_bytes());
    let entries = std::env::vars_os().filter(ours).filter_map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        CString::new(name.as_bytes()).ok()
    });
    entries.collect()
}
