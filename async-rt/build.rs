//! Says in one line that there is nothing to build for a system without epoll, kqueue or Windows' sockets.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if ["UNIX", "WINDOWS"]
        .iter()
        .all(|family| std::env::var_os(format!("CARGO_CFG_{family}")).is_none())
    {
        println!(
            "cargo::error=lastout-async-rt runs on Unix and on Windows: it waits with epoll or through mio"
        );
    }
}
