//! What the behaviour tests share: each runs on both cores.
#![allow(
    unreachable_pub,
    dead_code,
    unused_macros,
    unused_imports,
    reason = "each test file uses its part"
)]

use lastout_async_rt::{Builder, Runtime};
use std::time::{Duration, Instant};

/// Which core a test runs on.
#[derive(Debug, Clone, Copy)]
pub enum Core {
    Intrusive,
    Reference,
}

impl Core {
    pub fn builder(self) -> Builder {
        match self {
            Self::Intrusive => Runtime::builder(),
            Self::Reference => Runtime::builder().reference_core(),
        }
    }

    pub fn runtime(self) -> Runtime {
        self.builder().build().unwrap()
    }
}

/// Makes of each function a test for each core.
macro_rules! on_both_cores {
    ($($(#[$attr:meta])* fn $name:ident($core:ident) $body:block)*) => {
        $(fn $name($core: common::Core) $body)*
        mod intrusive { $($(#[$attr])* #[test] fn $name() { super::$name(super::common::Core::Intrusive) })* }
        mod reference { $($(#[$attr])* #[test] fn $name() { super::$name(super::common::Core::Reference) })* }
    };
}
pub(crate) use on_both_cores;

/// Generous: the machine is slow and shared.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Spins until `level` holds; panics with `what` at the deadline.
pub fn until(what: &str, mut level: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !level() {
        assert!(Instant::now() < end, "{what}: not within {DEADLINE:?}");
        std::thread::yield_now();
    }
}

/// The output of `future`, or a panic at the deadline.
pub async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match lastout_async_rt::time::timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: not within {DEADLINE:?}"),
    }
}

/// Counts the drops of what holds it.
#[derive(Clone, Default)]
pub struct Drops(pub std::rc::Rc<std::cell::Cell<usize>>);

pub struct CountsDrop(Drops);

impl Drops {
    pub fn guard(&self) -> CountsDrop {
        CountsDrop(self.clone())
    }

    pub fn count(&self) -> usize {
        self.0.get()
    }
}

impl Drop for CountsDrop {
    fn drop(&mut self) {
        self.0.0.set(self.0.0.get() + 1);
    }
}
