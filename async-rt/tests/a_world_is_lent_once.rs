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
}
