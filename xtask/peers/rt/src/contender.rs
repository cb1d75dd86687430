//! The runtimes, behind one trait: run a future to its end, and spawn a task beside it.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// A single-threaded runtime.
pub trait Contender: 'static {
    const NAME: &'static str;
    type Join: Future + 'static;
    fn run<F: Future + 'static>(future: F) -> F::Output;
    fn spawn<F: Future<Output = ()> + 'static>(future: F) -> Self::Join;
}

pub struct Ours;

impl Contender for Ours {
    const NAME: &'static str = "ours";
    type Join = lastout_async_rt::JoinHandle<()>;
    fn run<F: Future + 'static>(future: F) -> F::Output {
        lastout_async_rt::Runtime::new().expect("build ours").block_on(future)
    }
    fn spawn<F: Future<Output = ()> + 'static>(future: F) -> Self::Join {
        lastout_async_rt::spawn_boxed(future)
    }
}

/// Ours, watching for a while before it sleeps.
pub struct OursSpinning;

impl Contender for OursSpinning {
    const NAME: &'static str = "ours";
    type Join = lastout_async_rt::JoinHandle<()>;
    fn run<F: Future + 'static>(future: F) -> F::Output {
        let idle = lastout_async_rt::Idle::SpinThenPark(Duration::from_millis(2));
        let runtime = lastout_async_rt::Runtime::builder().idle(idle).build();
        runtime.expect("build ours").block_on(future)
    }
    fn spawn<F: Future<Output = ()> + 'static>(future: F) -> Self::Join {
        lastout_async_rt::spawn_boxed(future)
    }
}

/// A peer that never sleeps, because one of its tasks is always ready: none has a knob for it that
/// leaves its wakers working.
pub struct Awake<C>(PhantomData<C>);

impl<C: Contender> Contender for Awake<C> {
    const NAME: &'static str = C::NAME;
    type Join = C::Join;
    fn run<F: Future + 'static>(future: F) -> F::Output {
        C::run(async move {
            let done = Rc::new(Cell::new(false));
            let stop = Rc::clone(&done);
            let restless = C::spawn(poll_fn(move |cx| {
                if stop.get() {
                    return Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            }));
            let output = future.await;
            done.set(true);
            restless.await;
            output
        })
    }
    fn spawn<F: Future<Output = ()> + 'static>(future: F) -> Self::Join {
        C::spawn(future)
    }
}

pub struct TokioLocalSet;

impl Contender for TokioLocalSet {
    const NAME: &'static str = "tokio LocalSet";
    type Join = tokio::task::JoinHandle<()>;
    fn run<F: Future + 'static>(future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        tokio::task::LocalSet::new().block_on(&runtime.expect("build tokio"), future)
    }
    fn spawn<F: Future<Output = ()> + 'static>(future: F) -> Self::Join {
        tokio::task::spawn_local(future)
    }
}

pub struct TokioLocalRuntime;

impl Contender for TokioLocalRuntime {
    const NAME: &'static str = "tokio LocalRuntime";
    type Join = tokio::task::JoinHandle<()>;
    fn run<F: Future + 'static>(future: F) -> F::Output {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build_local(tokio::runtime::LocalOptions::default());
        let runtime = runtime.expect("build tokio");
        // The root of `block_on` is no task: a spawned one is, as everywhere else here.
        runtime.block_on(async { tokio::task::spawn_local(future).await.expect("no panic") })
    }
    fn spawn<F: Future<Output = ()> + 'static>(future: F) -> Self::Join {
        tokio::task::spawn_local(future)
    }
}

pub struct Nexus;

impl Contender for Nexus {
    const NAME: &'static str = "nexus-async-rt";
    type Join = nexus_async_rt::JoinHandle<()>;
    fn run<F: Future + 'static>(future: F) -> F::Output {
        let mut world = nexus_rt::WorldBuilder::new().build();
        let mut runtime = nexus_async_rt::Runtime::builder(&mut world).build();
        runtime.block_on(future)
    }
    fn spawn<F: Future<Output = ()> + 'static>(future: F) -> Self::Join {
        nexus_async_rt::spawn_boxed(future)
    }
}

thread_local! {
    static SMOL: Cell<Option<&'static async_executor::LocalExecutor<'static>>> = const { Cell::new(None) };
}

pub struct Smol;

impl Contender for Smol {
    const NAME: &'static str = "async-executor";
    type Join = async_executor::Task<()>;
    fn run<F: Future + 'static>(future: F) -> F::Output {
        let executor = SMOL.get().unwrap_or_else(|| {
            let executor = Box::leak(Box::default());
            SMOL.set(Some(executor));
            executor
        });
        async_io::block_on(executor.run(future))
    }
    fn spawn<F: Future<Output = ()> + 'static>(future: F) -> Self::Join {
        SMOL.get().expect("inside run").spawn(future)
    }
}

pub struct Monoio;

impl Contender for Monoio {
    const NAME: &'static str = "monoio";
    type Join = monoio::task::JoinHandle<()>;
    fn run<F: Future + 'static>(future: F) -> F::Output {
        let mut runtime = monoio::RuntimeBuilder::<monoio::FusionDriver>::new()
            .enable_all()
            .build()
            .expect("build monoio");
        runtime.block_on(future)
    }
    fn spawn<F: Future<Output = ()> + 'static>(future: F) -> Self::Join {
        monoio::spawn(future)
    }
}

pub struct Compio;

impl Contender for Compio {
    const NAME: &'static str = "compio";
    type Join = compio::runtime::JoinHandle<()>;
    fn run<F: Future + 'static>(future: F) -> F::Output {
        compio::runtime::Runtime::new().expect("build compio").block_on(future)
    }
    fn spawn<F: Future<Output = ()> + 'static>(future: F) -> Self::Join {
        compio::runtime::spawn(future)
    }
}
