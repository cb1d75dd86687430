//! Slab tasks: no allocation, correct alignment, typed refusal.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

mod common;

use common::{Drops, on_both_cores};
use lastout_async_rt::time::yield_now;
use lastout_async_rt::{SlabErrorKind, spawn_slab, try_claim_slab, try_spawn_slab};
use std::future::{pending, poll_fn};
use std::task::Poll;

#[repr(align(64))]
struct Aligned(u8);

#[repr(align(256))]
struct TooAligned(#[expect(dead_code, reason = "it only has a size")] u8);

on_both_cores! {
    fn over_aligned_futures_are_aligned(core) {
        let runtime = core.builder().slab_bounded(4, 512).build().unwrap();
        runtime.block_on(async {
            for _ in 0..4 {
                let value = Aligned(1);
                let address = spawn_slab(poll_fn(move |_| Poll::Ready((&raw const value).addr() + usize::from(value.0 - 1))));
                assert_eq!(address.await.unwrap() % 64, 0);
            }
            let too = TooAligned(1);
            let refused = try_spawn_slab(poll_fn(move |_| { let _ = &too; Poll::<()>::Pending })).unwrap_err();
            assert!(matches!(refused.kind, SlabErrorKind::OverAligned { needed: 256, .. }));
        });
    }

    fn a_full_slab_hands_the_future_back(core) {
        let runtime = core.builder().slab_bounded(2, 256).build().unwrap();
        runtime.block_on(async {
            let drops = Drops::default();
            let one = spawn_slab(pending::<()>());
            let claim = try_claim_slab().unwrap();
            let guard = drops.guard();
            let refused = try_spawn_slab(async move { let _guard = guard; 5 }).unwrap_err();
            assert_eq!(refused.kind, SlabErrorKind::Full { capacity: 2 });
            assert_eq!(refused.to_string(), "all 2 slots of the slab are taken");
            assert_eq!(drops.count(), 0, "it came back");
            assert_eq!(try_claim_slab().unwrap_err(), SlabErrorKind::Full { capacity: 2 });
            assert!(claim.slot_size() >= 256);
            assert_eq!(claim.spawn(refused.future).await.unwrap(), 5);
            one.abort();
            assert!(one.await.unwrap_err().is_cancelled());
            let (a, b) = (try_claim_slab().unwrap(), try_claim_slab().unwrap());
            drop((a, b));
            let large = [0_u8; 600];
            let refused = try_spawn_slab(async move { yield_now().await; large.len() }).unwrap_err();
            assert!(matches!(refused.kind, SlabErrorKind::TooLarge { slot_size: 256, .. }));
        });
    }

    fn slots_are_used_again(core) {
        let runtime = core.builder().slab_bounded(1, 256).build().unwrap();
        runtime.block_on(async {
            for n in 0..1000 {
                assert_eq!(spawn_slab(async move { n }).await.unwrap(), n);
            }
        });
    }

    fn an_unbounded_slab_grows_and_none_refuses(core) {
        let runtime = core.builder().slab_unbounded(0, 256).build().unwrap();
        let drops = Drops::default();
        runtime.block_on(async {
            for _ in 0..1000 {
                let guard = drops.guard();
                spawn_slab(async move { let _guard = guard; pending::<()>().await }).detach();
            }
        });
        drop(runtime);
        assert_eq!(drops.count(), 1000);
        core.runtime().block_on(async {
            assert_eq!(try_spawn_slab(async {}).unwrap_err().kind, SlabErrorKind::NoSlab);
        });
        let empty = core.builder().slab_bounded(0, 0).build().unwrap();
        empty.block_on(async {
            assert_eq!(try_claim_slab().unwrap_err(), SlabErrorKind::Full { capacity: 0 });
        });
    }
}
