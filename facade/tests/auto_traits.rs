//! What can be sent, shared and printed.

use lastout::supervisor::{
    BuildError, Builder, Counters, Drained, Handle, MemberReport, Stats, Until,
};
use lastout::{Drain, Report, Restart, Supervisor};
use std::fmt::Debug;

fn send<T: Send + Debug>() {}
fn shared<T: Send + Sync + Debug>() {}

#[test]
fn all_types_are_send_and_debug() {
    send::<Builder>();
    shared::<Supervisor>();
    shared::<Handle>();
    shared::<BuildError>();
    shared::<Report>();
    shared::<Restart>();
    shared::<(Counters, Drained, MemberReport, Stats, Until)>();
}

#[test]
fn the_trait_is_object_safe_and_shared_things_are_members() {
    fn drains<T: Drain>() {}
    drains::<Box<dyn Drain>>();
    drains::<std::sync::Arc<dyn Drain>>();
}

#[cfg(feature = "tokio")]
#[test]
fn the_futures_of_a_supervisor_can_be_spawned() {
    fn future<F: Future + Send>(_: impl Fn(Supervisor) -> F) {}
    future(Supervisor::run);
    future(Supervisor::shutdown);
    future(Supervisor::run_until_signal);
    shared::<lastout::supervisor::Task>();
    shared::<lastout::supervisor::Stopping>();
    shared::<lastout::supervisor::SignalError>();
}
