//! A forked child cannot run its parent's runtime, and dropping it there does not disturb the parent.
#![cfg(all(unix, feature = "net", feature = "testing"))]
#![allow(clippy::unwrap_used, unsafe_code, reason = "a test that forks")]

use lastout_async_rt::Runtime;
use lastout_async_rt::net::UnixStream;
use lastout_async_rt::time::timeout;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::channel;
use std::time::Duration;

/// Every entry of the runtime refuses the child, which would take the parent's events; the number of
/// the entry that does not.
fn refused(runtime: &Runtime) -> Result<(), i32> {
    let moment = Duration::from_millis(1);
    let entries: [&dyn Fn(); 5] = [
        &|| runtime.block_on(async {}),
        &|| runtime.block_on_busy(async {}),
        &|| runtime.scope(|_| async {}),
        &|| assert!(runtime.shutdown_quiesce(moment).is_ok()),
        &|| runtime.run_until_stalled(),
    ];
    for (place, entry) in (1..).zip(entries) {
        if catch_unwind(AssertUnwindSafe(entry)).is_ok() {
            return Err(place);
        }
    }
    Ok(())
}

/// The only test of its binary. The child ends by `_exit`, and the parent reaps it by its pid.
#[test]
fn the_child_is_told_and_the_parent_goes_on() {
    let runtime = Runtime::builder().blocking_threads(1).build().unwrap();
    let (reader, writer) = runtime.block_on(async { UnixStream::pair().unwrap() });
    let (other, split) = runtime.block_on(async { UnixStream::pair().unwrap() });
    let (read_half, write_half) = split.into_split();
    let (begun, runs) = channel();
    let (release, blocks) = channel::<()>();
    let running = runtime.handle().spawn_blocking(move || {
        begun.send(()).unwrap();
        let _ = blocks.recv();
    });
    let running = running.unwrap();
    runs.recv().unwrap();
    let waiting = runtime.handle().spawn_blocking(|| 7).unwrap();
    // SAFETY: the child calls only what this test is about, and then `_exit`.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        std::panic::set_hook(Box::new(|_| {}));
        let mut refused = refused(&runtime);
        // The threads of the pool are the parent's.
        if runtime.handle().spawn_blocking(|| ()).is_ok() {
            refused = Err(9);
        }
        waiting.abort();
        // A half that is dropped ends writing, but not for the parent.
        drop((reader, writer, running, waiting, other, read_half, write_half));
        drop(runtime);
        // SAFETY: it does not return.
        unsafe { libc::_exit(refused.map_or_else(|place| place, |()| 0)) };
    }
    let mut status = 0;
    // SAFETY: `status` is alive; the child is ours, and not reaped yet.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0, "the child was refused, and ended by itself");
    drop(release);
    runtime.block_on(async {
        timeout(Duration::from_secs(60), running).await.unwrap().unwrap();
        assert_eq!(timeout(Duration::from_secs(60), waiting).await.unwrap().unwrap(), 7);
        assert_eq!(write_half.as_ref().try_write(b"still open").unwrap(), 10);
        assert_eq!(other.try_read(&mut [0; 16]).unwrap(), 10);
        drop((read_half, write_half));
        assert_eq!(other.try_read(&mut [0; 16]).unwrap(), 0, "here it ends");
        assert_eq!(writer.try_write(b"x").unwrap(), 1);
        timeout(Duration::from_secs(60), reader.readable()).await.unwrap().unwrap();
        assert_eq!(reader.try_read(&mut [0; 2]).unwrap(), 1);
        // Known to be empty now: only an event, which the child must not have switched off, wakes it.
        let mut byte = [0];
        assert!(reader.try_read(&mut byte).is_err());
        assert_eq!(writer.try_write(b"y").unwrap(), 1);
        timeout(Duration::from_secs(60), reader.readable()).await.unwrap().unwrap();
    });
}
