//! What the public types promise to every caller: they cross threads, survive unwinds, and print.
#![cfg(target_os = "linux")]

use lastout_proc_tree::{
    AdoptError, Child, Contained, Containment, Culprit, Deadline, Evidence, Guarantee, KillError,
    Level, Policy, ProcId, Removal, Report, Signal, Snapshot, SpawnError, StaysDead,
    StaysDeadError, Survivor, Tree, WaitError,
};
use std::fmt::Debug;
use std::panic::{RefUnwindSafe, UnwindSafe};

fn shared<T: Send + Sync + Debug>() {}
fn unwinds<T: UnwindSafe + RefUnwindSafe>() {}
fn sent<T: Send>(_: &T) {}

#[test]
fn everything_is_shared_and_printed() {
    shared::<Tree>();
    shared::<Child>();
    shared::<Contained>();
    shared::<Containment>();
    shared::<Culprit>();
    shared::<Deadline>();
    shared::<Evidence>();
    shared::<Guarantee>();
    shared::<Level>();
    shared::<Policy>();
    shared::<ProcId>();
    shared::<Removal>();
    shared::<Report>();
    shared::<Signal>();
    shared::<Snapshot>();
    shared::<StaysDead<'_>>();
    shared::<Survivor>();
    shared::<AdoptError>();
    shared::<KillError>();
    shared::<SpawnError>();
    shared::<lastout_proc_tree::SpawnStep>();
    shared::<lastout_proc_tree::SupervisorForm>();
    shared::<lastout_proc_tree::Program>();
    shared::<lastout_proc_tree::Io>();
    shared::<StaysDeadError>();
    shared::<WaitError>();
    #[cfg(feature = "tokio")]
    shared::<lastout_proc_tree::TokioChild>();
}

#[test]
fn a_tree_survives_an_unwind() {
    unwinds::<Tree>();
    unwinds::<ProcId>();
    unwinds::<Report>();
}

#[test]
fn the_futures_may_be_sent() {
    let nobody = Tree::adopt_with(Evidence::new()).expect("nobody can always be adopted");
    let policy = Policy::default();
    sent(&nobody.kill(std::time::Duration::ZERO));
    sent(&nobody.terminate(&policy));
    sent(&nobody.wait_empty(std::time::Duration::ZERO));
    sent(&StaysDead::new("/nothing").suspect(&nobody).remove());
}
