//! A process without descriptors accepts without burning the processor, and goes on when it has some.
#![cfg(all(unix, feature = "net"))]
#![allow(clippy::unwrap_used, reason = "a test")]

use lastout_async_rt::Runtime;
use lastout_async_rt::net::{TcpListener, TcpStream};
use lastout_async_rt::time::timeout;
use std::fs::File;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

#[test]
fn accepting_rests_while_descriptors_are_used_up() {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        // The only test of this binary, so the limit of its process is its own.
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        #[expect(unsafe_code, reason = "std has no limits")]
        // SAFETY: `limit` is alive.
        unsafe {
            libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit)
        };
        limit.rlim_cur = 64;
        #[expect(unsafe_code, reason = "std has no limits")]
        // SAFETY: `limit` is alive.
        unsafe {
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit)
        };
        let mut hogs: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        let (start, mut errors) = (Instant::now(), 0_u128);
        while start.elapsed() < Duration::from_millis(200) {
            let error = listener.accept().await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
            errors += 1;
        }
        let most = start.elapsed().as_millis() / 20 + 1;
        assert!(errors <= most, "{errors} errors, and at most {most} are one each 20 ms");
        hogs.clear();
        let accepted = timeout(Duration::from_secs(60), listener.accept()).await.unwrap().unwrap();
        assert_eq!(accepted.1, client.local_addr().unwrap());
    });
}
