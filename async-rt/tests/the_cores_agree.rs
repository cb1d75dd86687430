//! The intrusive core and the reference core do the same: random programs leave the same trace.
#![cfg(feature = "testing")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::waker_clone_wake,
    reason = "a test"
)]

mod common;
use common::Core;
use lastout_async_rt::{AbortHandle, Handle, JoinHandle, Runtime};
use proptest::prelude::*;
use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// What a task does in one of its polls.
#[derive(Debug, Clone)]
enum Act {
    Wake(usize),
    WakeLater(usize),
    Abort(usize),
    Spawn(Vec<Self>),
    Join(usize),
    DropJoin(usize),
    Panic,
    Wait,
    Finish,
}

/// What happens to the runtime between its runs.
#[derive(Debug, Clone)]
enum Step {
    Act(Act),
    ForeignWake(usize),
    ForeignAbort(usize),
    Run,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let leaf = prop_oneof![
        4 => (0..8_usize).prop_map(Act::Wake),
        2 => (0..8_usize).prop_map(Act::WakeLater),
        2 => (0..8_usize).prop_map(Act::Abort),
        2 => (0..8_usize).prop_map(Act::Join),
        1 => (0..8_usize).prop_map(Act::DropJoin),
        1 => Just(Act::Panic),
        3 => Just(Act::Wait),
        2 => Just(Act::Finish),
    ];
    let nested = leaf
        .prop_recursive(3, 24, 5, |inner| prop::collection::vec(inner, 0..5).prop_map(Act::Spawn));
    prop::collection::vec(nested, 0..8)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => acts().prop_map(|acts| Step::Act(Act::Spawn(acts))),
        2 => (0..8_usize).prop_map(|n| Step::Act(Act::Abort(n))),
        2 => (0..8_usize).prop_map(Step::ForeignWake),
        1 => (0..8_usize).prop_map(Step::ForeignAbort),
        1 => (0..8_usize).prop_map(|n| Step::Act(Act::DropJoin(n))),
        4 => Just(Step::Run),
    ];
    prop::collection::vec(step, 1..24)
}

#[derive(Default)]
struct State {
    trace: Vec<String>,
    wakers: Vec<Option<Waker>>,
    joins: Vec<Option<JoinHandle<usize>>>,
    aborts: Vec<Option<AbortHandle>>,
}

type Shared = Rc<RefCell<State>>;

struct Gone(Shared, usize);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.borrow_mut().trace.push(format!("{} gone", self.1));
    }
}

fn nth<T: Clone>(items: &[Option<T>], n: usize) -> Option<T> {
    items.get(n % items.len().max(1)).cloned().flatten()
}

fn spawn(handle: &Handle, shared: &Shared, acts: Vec<Act>, slab: bool) {
    let id = shared.borrow().joins.len();
    {
        let mut state = shared.borrow_mut();
        state.joins.push(None);
        state.aborts.push(None);
        state.wakers.push(None);
    }
    let (mine, inner, gone) = (Rc::clone(shared), handle.clone(), Gone(Rc::clone(shared), id));
    let mut acts = acts.into_iter();
    let mut joining: Option<JoinHandle<usize>> = None;
    let body = poll_fn(move |cx| {
        let _ = &gone;
        mine.borrow_mut().wakers[id] = Some(cx.waker().clone());
        mine.borrow_mut().trace.push(format!("{id} polled"));
        loop {
            if let Some(join) = &mut joining {
                match std::pin::Pin::new(join).poll(cx) {
                    Poll::Ready(output) => {
                        mine.borrow_mut().trace.push(format!("{id} joined {output:?}"));
                        joining = None;
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
            match acts.next() {
                None | Some(Act::Finish) => return Poll::Ready(id),
                Some(Act::Wait) => return Poll::Pending,
                Some(Act::Panic) => panic!("task {id}"),
                Some(Act::Join(n)) => {
                    let mut state = mine.borrow_mut();
                    let count = state.joins.len();
                    joining = state.joins[n % count].take();
                }
                Some(act) => perform(&inner, &mine, act),
            }
        }
    });
    let join = match slab {
        true => {
            handle.try_spawn_slab(body).unwrap_or_else(|refused| handle.spawn_boxed(refused.future))
        }
        false => handle.spawn_boxed(body),
    };
    let mut state = shared.borrow_mut();
    state.aborts[id] = join.abort_handle();
    state.joins[id] = Some(join);
}

fn perform(handle: &Handle, shared: &Shared, act: Act) {
    match act {
        Act::Wake(n) => {
            let waker = nth(&shared.borrow().wakers, n);
            if let Some(waker) = waker {
                waker.wake_by_ref();
            }
        }
        Act::WakeLater(n) => {
            let waker = nth(&shared.borrow().wakers, n);
            if let Some(waker) = waker {
                waker.clone().wake();
                waker.wake();
            }
        }
        Act::Abort(n) => {
            let abort = nth(&shared.borrow().aborts, n);
            if let Some(abort) = abort {
                abort.abort();
            }
        }
        Act::DropJoin(n) => {
            let count = shared.borrow().joins.len();
            let join = if count > 0 { shared.borrow_mut().joins[n % count].take() } else { None };
            drop(join);
        }
        Act::Spawn(acts) => {
            let slab = acts.len() % 2 == 0;
            spawn(handle, shared, acts, slab);
        }
        Act::Join(_) | Act::Panic | Act::Wait | Act::Finish => {}
    }
}

fn run(core: Core, steps: &[Step]) -> (Vec<String>, String) {
    // More slots than tasks: a slot of the intrusive core is taken as long as its memory is.
    let runtime: Runtime = core.builder().slab_bounded(4096, 512).build().unwrap();
    let (handle, shared): (_, Shared) = (runtime.handle(), Shared::default());
    for step in steps {
        match step {
            Step::Act(act) => perform(&handle, &shared, act.clone()),
            Step::ForeignWake(n) => {
                let waker = nth(&shared.borrow().wakers, *n);
                if let Some(waker) = waker {
                    std::thread::spawn(move || waker.wake()).join().unwrap();
                }
            }
            Step::ForeignAbort(n) => {
                let abort = nth(&shared.borrow().aborts, *n);
                if let Some(abort) = abort {
                    std::thread::spawn(move || abort.abort()).join().unwrap();
                }
            }
            Step::Run => runtime.run_until_stalled(),
        }
    }
    let stats = format!("{:?}", runtime.stats());
    drop(runtime);
    let mut state = shared.borrow_mut();
    let joins: Vec<_> =
        state.joins.iter().map(|join| join.as_ref().map(JoinHandle::is_finished)).collect();
    let trace = std::mem::take(&mut state.trace);
    drop(state);
    (trace, format!("{stats} {joins:?}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_programs_leave_the_same_trace(steps in steps()) {
        std::panic::set_hook(Box::new(|info| {
            let expected = info.payload_as_str().is_some_and(|text| text.starts_with("task "));
            if !expected { eprintln!("{info}"); }
        }));
        let (raw, reference) = (run(Core::Intrusive, &steps), run(Core::Reference, &steps));
        prop_assert_eq!(raw, reference);
    }
}
