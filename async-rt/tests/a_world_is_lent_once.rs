//! A world is lent to one task at a time, and a second borrow is a clear panic.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

mod common;

use common::on_both_cores;
use lastout_async_rt::time::yield_now;
use lastout_async_rt::{World, WorldCtx, spawn_boxed};

on_both_cores! {
    fn a_nested_borrow_is_refused(core) {
        std::panic::set_hook(Box::new(|_| {}));
        let (runtime, world) = (core.runtime(), World::new(vec![0]));
        runtime.provide(&world);
        let ctx = world.ctx();
        runtime.block_on(async {
            let task = spawn_boxed(async {
                WorldCtx::<Vec<i32>>::current().with(|list| list.push(1));
                yield_now().await;
                WorldCtx::<Vec<i32>>::current().with(|_| WorldCtx::<Vec<i32>>::current().with(Vec::clear));
            });
            let error = task.await.unwrap_err();
            assert!(error.to_string().contains("borrowed already"), "{error}");
            assert!(spawn_boxed(async { WorldCtx::<u8>::current() }).await.unwrap_err().is_panic());
        });
        ctx.with(|_| assert!(ctx.try_with(|_| ()).is_err()));
        drop(ctx);
        let world = world.into_inner().unwrap_err();
        drop(runtime);
        assert_eq!(world.into_inner().unwrap(), [0, 1]);
    }

    fn a_closure_that_panics_gives_the_value_back(core) {
        std::panic::set_hook(Box::new(|_| {}));
        let (runtime, world) = (core.runtime(), World::new(vec![0]));
        runtime.provide(&world);
        runtime.block_on(async {
            let task = spawn_boxed(async {
                WorldCtx::<Vec<i32>>::current().with(|list| {
                    list.push(1);
                    assert!(list.is_empty(), "half-way");
                });
            });
            assert!(task.await.unwrap_err().is_panic());
            WorldCtx::<Vec<i32>>::current().with(|list| list.push(2));
        });
        // What panics as it is dropped: a value that the runtime alone still has.
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("a destructor");
            }
        }
        let bomb = World::new(Bomb);
        runtime.provide(&bomb);
        drop(bomb);
        assert!(runtime.shutdown_blocking(std::time::Duration::from_secs(60)).is_clean());
        assert_eq!(world.into_inner().unwrap(), [0, 1, 2]);
    }
}
