//! What only Unix has: sockets with a path, and descriptors of any kind that are watched.
#![cfg(all(unix, feature = "testing", feature = "net"))]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

mod common;

use common::{on_both_cores, within};
use futures_util::io::{AsyncReadExt, AsyncWriteExt};
use lastout_async_rt::net::{UnixListener, UnixStream};
use lastout_async_rt::time::{sleep, timeout};
use lastout_async_rt::{AsyncFd, spawn_boxed};
use std::io::Write as _;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

on_both_cores! {
    fn a_descriptor_that_is_not_watched_comes_back(core) {
        core.runtime().block_on(async {
            let file = std::fs::File::open("Cargo.toml").unwrap();
            let error = AsyncFd::new(file).unwrap_err();
            assert_eq!(error.source.kind(), std::io::ErrorKind::PermissionDenied);
            let mut text = String::new();
            std::io::Read::read_to_string(&mut &error.inner, &mut text).unwrap();
            assert!(text.contains("lastout-async-rt"));
            let (one, _two) = std::os::unix::net::UnixStream::pair().unwrap();
            let watched = AsyncFd::new(&one).unwrap();
            assert!(AsyncFd::new(&one).is_err(), "it is watched already");
            drop(watched);
            AsyncFd::new(&one).unwrap();
        });
    }

    fn unix_sockets_connect_and_end(core) {
        core.runtime().block_on(async {
            let path = std::env::temp_dir().join(format!("async-rt-{}-{core:?}", std::process::id()));
            let _ = std::fs::remove_file(&path);
            let listener = UnixListener::bind(&path).unwrap();
            let mut client = UnixStream::connect(&path).await.unwrap();
            let (mut server, _) = within("accept", listener.accept()).await.unwrap();
            client.write_all(b"over").await.unwrap();
            drop(client);
            let mut text = String::new();
            within("the end", server.read_to_string(&mut text)).await.unwrap();
            std::fs::remove_file(&path).unwrap();
            assert_eq!(text, "over");
            let (mut one, mut two) = UnixStream::pair().unwrap();
            one.write_all(b"x").await.unwrap();
            let mut byte = [0];
            within("a pair", two.read_exact(&mut byte)).await.unwrap();
        });
    }

    /// The system says neither when the backlog of a Unix listener is full, nor when it is not.
    fn a_connect_waits_for_room_in_the_backlog(core) {
        core.runtime().block_on(async {
            let path = std::env::temp_dir().join(format!("async-rt-backlog-{}-{core:?}", std::process::id()));
            let _ = std::fs::remove_file(&path);
            let listener = UnixListener::bind(&path).unwrap();
            #[expect(unsafe_code, reason = "std chooses the backlog")]
            // SAFETY: a system call without pointers, on a socket that is alive.
            let listens = unsafe { libc::listen(listener.as_fd().as_raw_fd(), 0) };
            assert_eq!(listens, 0);
            let mut clients: Vec<_> = (0..4).map(|_| spawn_boxed(UnixStream::connect(path.clone()))).collect();
            sleep(Duration::from_millis(1)).await;
            assert!(clients.iter().any(|client| !client.is_finished()), "the backlog holds one");
            for _ in 0..4 { within("accept", listener.accept()).await.unwrap(); }
            for client in &mut clients { within("connect", client).await.unwrap().unwrap(); }
            std::fs::remove_file(&path).unwrap();
        });
    }

    /// A pidfd is readable when its process has ended.
    fn the_exit_of_a_child_is_awaited(core) {
        core.runtime().block_on(async {
            let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
            #[expect(unsafe_code, reason = "std has no stable pidfd")]
            // SAFETY: a system call without pointers.
            let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, child.id(), 0) };
            assert!(pidfd >= 0);
            #[expect(unsafe_code, reason = "std has no stable pidfd")]
            // SAFETY: it was just created, and has no other owner.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd as i32) };
            let pidfd = AsyncFd::new(pidfd).unwrap();
            assert!(timeout(Duration::from_millis(20), pidfd.readable()).await.is_err(), "it lives");
            child.stdin.take().unwrap().write_all(b"").unwrap();
            within("the exit", pidfd.readable()).await.unwrap();
            assert!(child.wait().unwrap().success());
        });
    }
}
