//! Says in one line that there is nothing to build for a system without epoll or kqueue.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_CFG_UNIX").is_none() {
        println!("cargo::error=lastout-async-rt runs on Unix: it waits with epoll or kqueue");
    }
}
