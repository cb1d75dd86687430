//! Statements for the caller's own connection, of whatever client: a text and one parameter.

use crate::error::{StoreError, StoreErrorKind, WriteError};
use crate::job::{NewJob, Recovery, check_jobs};
use crate::lease::Lease;
use crate::registry::DEFAULT_MAX_BYTES;

/// A statement to run on a connection of the caller's own, in the transaction that it is to be a part of. It has
/// one parameter, a text.
///
/// The rows that it returns hold one column, the id of a job as a 64-bit integer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientStatement {
    /// The text of the statement.
    pub sql: String,
    /// The value of its parameter.
    pub parameter: String,
}

impl ClientStatement {
    pub(super) fn new(sql: String, parameter: &serde_json::Value) -> Self {
        Self { sql, parameter: parameter.to_string() }
    }

    /// The parameter of a statement that completes the job held under `lease`.
    pub(super) fn completion(lease: Lease, result: Option<Vec<u8>>) -> serde_json::Value {
        serde_json::json!({
            "job": lease.job.0,
            "fence": lease.fence.0,
            "owner": lease.owner.0,
            "result": result.as_deref().map(hex),
        })
    }
}

/// Whether a result may be stored, in a transaction that no registry sees.
pub(super) fn check_result(result: Option<&[u8]>) -> Result<(), WriteError> {
    let bytes = result.map_or(0, <[u8]>::len);
    let limit = DEFAULT_MAX_BYTES;
    if bytes > limit { Err(WriteError::TooLarge { bytes, limit }) } else { Ok(()) }
}

/// Jobs that no registry has to see: they are within the limits, and wait for no other job.
pub(super) fn check_for_client(jobs: &[NewJob]) -> Result<(), StoreError> {
    check_jobs(jobs, DEFAULT_MAX_BYTES)?;
    let plain = |job: &NewJob| job.limit.is_none() && job.recovery != Recovery::External;
    if jobs.iter().all(plain) {
        return Ok(());
    }
    let why = "a job with a limit key, or an external one, must go through the registry";
    Err(StoreError::new(StoreErrorKind::Other, "enqueue in a transaction").with_source(why))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
