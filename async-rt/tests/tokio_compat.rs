//! Tokio here, and this runtime from tokio.
#![cfg(all(feature = "testing", feature = "tokio-compat"))]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

mod common;
use common::{on_both_cores, within};
use futures_util::io::AsyncWriteExt;
use lastout_async_rt::channel::oneshot;
use lastout_async_rt::net::{TcpListener, TcpStream};
use lastout_async_rt::spawn_boxed;
use lastout_async_rt::time::yield_now;
use lastout_async_rt::tokio_compat::{Compat, spawn_on_tokio, with_tokio};
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

on_both_cores! {
    fn tokio_futures_run_here(core) {
        core.runtime().block_on(async {
            let rc = Rc::new(1);
            let nap = with_tokio(async { tokio::time::sleep(Duration::from_millis(2)).await; *rc });
            assert_eq!(within("a tokio timer", nap).await.unwrap(), 1);
            let there = spawn_on_tokio(async { tokio::task::yield_now().await; 7 }).unwrap();
            assert_eq!(within("a tokio task", there).await.unwrap(), 7);
            let stuck = spawn_on_tokio(std::future::pending::<()>()).unwrap();
            stuck.abort();
            assert!(within("an aborted tokio task", stuck).await.unwrap_err().is_cancelled());
        });
    }

    fn what_is_cancelled_inside_tokio_is_dropped_inside_tokio(core) {
        struct Spawns(Option<oneshot::Sender<bool>>);
        impl Drop for Spawns {
            fn drop(&mut self) {
                let entered = tokio::runtime::Handle::try_current().is_ok();
                self.0.take().unwrap().send(entered).unwrap();
            }
        }
        core.runtime().block_on(async {
            let (tell, told) = oneshot::channel();
            let guard = Spawns(Some(tell));
            let task = spawn_boxed(with_tokio(async move {
                let _guard = guard;
                std::future::pending::<()>().await;
            }));
            yield_now().await;
            task.abort();
            assert!(within("the abort", task).await.unwrap_err().is_cancelled());
            assert!(told.await.unwrap(), "tokio's context is there");
        });
    }

    fn both_kinds_of_streams_talk(core) {
        core.runtime().block_on(async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
            let address = listener.local_addr().unwrap();
            let theirs = spawn_boxed(with_tokio(async move {
                let mut stream = Compat::new(tokio::net::TcpStream::connect(address).await.unwrap());
                stream.write_all(b"from tokio").await.unwrap();
                stream.close().await.unwrap();
            }));
            let (mut ours, _): (TcpStream, _) = within("accept", listener.accept()).await.unwrap();
            let mut text = String::new();
            within("the text", tokio::io::AsyncReadExt::read_to_string(&mut ours, &mut text)).await.unwrap();
            assert_eq!(text, "from tokio");
            within("the tokio side", theirs).await.unwrap().unwrap();
        });
    }

    fn tokio_sends_work_here(core) {
        let runtime = core.runtime();
        let (remote, here) = (runtime.remote_handle(), std::thread::current().id());
        let (done, wait) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let ran = tokio.block_on(remote.spawn(|| async {
                let local = Rc::new(std::thread::current().id());
                yield_now().await;
                *local
            }));
            done.send(ran).unwrap();
        });
        let ran = runtime.block_on(async { within("remote work", wait).await.unwrap() });
        assert_eq!(ran, Ok(here));
        thread.join().unwrap();
    }
}
