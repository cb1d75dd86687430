//! A request as a store keeps it for periodic jobs.

use super::new::Due;
use super::{NewJob, Recovery, Unique, UniqueWhile};
use crate::error::{StoreError, StoreErrorKind};

/// A [`NewJob`] as a store keeps it for periodic ones.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Template {
    queue: String,
    kind: String,
    payload: Vec<u8>,
    priority: i16,
    delay_ms: i64,
    max_attempts: i32,
    max_crashes: i32,
    recovery: i16,
    unique: Option<(String, bool)>,
    /// Templates of earlier versions have none.
    #[serde(default)]
    unique_per_ms: i64,
    limit: Option<(String, i32)>,
    timeout_ms: i64,
    own_lease_ms: i64,
}

impl Template {
    pub(crate) fn json_of(job: &NewJob) -> Result<String, StoreError> {
        serde_json::to_string(&Self::from(job)).map_err(|error| {
            StoreError::new(StoreErrorKind::Invalid, "store a periodic job").with_source(error)
        })
    }

    /// The job of a template as it was stored.
    pub(crate) fn read(json: &[u8]) -> Result<NewJob, StoreError> {
        let read: Result<Self, _> = serde_json::from_slice(json);
        read.map(NewJob::from).map_err(|error| {
            StoreError::new(StoreErrorKind::Corrupt, "read a periodic job").with_source(error)
        })
    }
}

impl From<&NewJob> for Template {
    fn from(job: &NewJob) -> Self {
        Self {
            queue: job.queue.to_string(),
            kind: job.kind.to_string(),
            payload: job.payload.clone(),
            priority: job.priority,
            // A fixed time makes no sense again and again: such a run is due at once.
            delay_ms: match job.due {
                Due::In(delay) => delay,
                Due::At(_) => 0,
            },
            max_attempts: job.max_attempts,
            max_crashes: job.max_crashes,
            recovery: job.recovery.code(),
            unique: job.unique.as_ref().map(|unique| (unique.key.clone(), unique.is_kept())),
            unique_per_ms: job.unique.as_ref().map_or(0, |unique| unique.period_ms),
            limit: job.limit.as_ref().map(|(key, max)| (key.to_string(), *max)),
            timeout_ms: job.timeout_ms,
            own_lease_ms: job.own_lease_ms,
        }
    }
}

impl From<Template> for NewJob {
    fn from(kept: Template) -> Self {
        let scope = |kept| {
            if kept { UniqueWhile::Kept } else { UniqueWhile::Live }
        };
        let period_ms = kept.unique_per_ms;
        Self {
            queue: kept.queue.into(),
            kind: kept.kind.into(),
            payload: kept.payload,
            priority: kept.priority,
            due: Due::In(kept.delay_ms),
            max_attempts: kept.max_attempts,
            max_crashes: kept.max_crashes,
            recovery: Recovery::from_code(kept.recovery),
            unique: kept.unique.map(|(key, kept)| Unique {
                key,
                scope: scope(kept),
                period_ms: period_ms.max(0),
            }),
            limit: kept.limit.map(|(key, max)| (key.into(), max)),
            timeout_ms: kept.timeout_ms,
            own_lease_ms: kept.own_lease_ms,
        }
    }
}
