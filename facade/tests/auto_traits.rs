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

#[cfg(feature = "console")]
#[test]
fn the_console_is_shared_and_its_answers_can_be_sent() {
    use lastout::console::{Body, BuildError, Builder, Console, ListenError, Panel, Server};
    fn future<F: Future + Send>(_: impl Fn(Console) -> F) {}
    shared::<(Console, Server, Panel, ListenError, BuildError)>();
    send::<(Builder, Body)>();
    future(|console| async move { console.listen("127.0.0.1:0").await });
    future(|console| async move {
        console.handle(axum::http::Request::new(String::new())).await;
    });
}
