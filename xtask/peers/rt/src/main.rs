//! The bars of `async-rt`, each beside the peers and the floor of its mechanism.
//!
//! Cases of one thread are measured in processor time of that thread, the others in wall time.
//!
//! Left out, with the reason: `nexus-async-rt` where other threads wake (its plain wakers do nothing
//! or panic there, and its own channel between threads hangs now and then), `futures::LocalPool` and `FuturesUnordered` (they have neither timers nor sockets; in the cases they
//! could run they are slower than every other peer).

mod awaited;
mod channels;
mod contender;
mod net;
mod stopwatch;
mod tasks;
mod timers;

use contender::{
    Awake, Compio, Contender, Monoio, Nexus, Ours, OursSpinning, Smol, TokioLocalRuntime,
    TokioLocalSet,
};
use lastout_bench_runner::{Bar, Bench, Case, pin_to_core};
use std::time::Duration;

/// Adds the peers that run `$measure::<Peer>($args)`.
macro_rules! peers {
    ($case:expr, [$($peer:ty),* $(,)?], $module:ident::$measure:ident $args:tt) => {
        $case$(.peer(<$peer as Contender>::NAME, move || $module::$measure::<$peer> $args))*
    };
}

/// Adds the peers with sockets, each with a stream of its own.
macro_rules! echo_peers {
    ($case:expr, $measure:ident) => {
        $case
            .peer("tokio LocalSet", net::$measure::<TokioLocalSet, tokio::net::TcpStream>)
            .peer("nexus-async-rt", net::$measure::<Nexus, nexus_async_rt::TcpStream>)
            .peer("async-io", net::$measure::<Smol, async_io::Async<std::net::TcpStream>>)
            .peer("monoio", net::$measure::<Monoio, monoio::net::TcpStream>)
            .peer("compio", net::$measure::<Compio, compio::net::TcpStream>)
    };
}

fn dispatch_case<'a>(name: &str, ready: u64, of_best_peer: f64) -> Case<'a> {
    let case = Case::lower(name, "ns").ours(move || tasks::dispatch::<Ours>(ready));
    peers!(
        case,
        [Nexus, TokioLocalSet, TokioLocalRuntime, Smol, Monoio, Compio],
        tasks::dispatch(ready)
    )
    .bar(Bar::absolute().max(7.0))
    .bar(Bar::best_peer().max(of_best_peer))
}

fn wake_case<'a>(name: &str, spread: bool) -> Case<'a> {
    let case = Case::lower(name, "ns")
        .isolated()
        .rounds(5)
        // The floor is the same with nothing but the 1000 alive.
        .floor(|| tasks::wake_among::<Ours>(1_000, 1_000, false))
        .ours(move || tasks::wake_among::<Ours>(1_000_000, 1_000, spread));
    // monoio is left out: beside 10^6 tasks its run did not end within 13 minutes, on a full core.
    peers!(
        case,
        [Nexus, TokioLocalSet, TokioLocalRuntime, Smol],
        tasks::wake_among(1_000_000, 1_000, spread)
    )
    .bar(Bar::floor().max(1.2))
}

fn main() -> std::process::ExitCode {
    pin_to_core(0);
    let spin_pause = Duration::from_micros(30);
    let park_pause = Duration::from_micros(300);

    let spawn = Case::lower("spawn, run and join", "ns").ours(tasks::spawn_join::<Ours>);
    // compio is left out: each of its pairs enters the kernel, 30 us, which only slows the run.
    let spawn =
        peers!(spawn, [Nexus, TokioLocalSet, TokioLocalRuntime, Smol, Monoio], tasks::spawn_join())
            .bar(Bar::absolute().max(80.0))
            .bar(Bar::best_peer().max(0.42));

    let ping_pong = Case::lower("local ping-pong", "ns").ours(tasks::ping_pong::<Ours>);
    let ping_pong = peers!(
        ping_pong,
        [Nexus, TokioLocalSet, TokioLocalRuntime, Smol, Monoio, Compio],
        tasks::ping_pong()
    )
    .bar(Bar::best_peer().max(0.5));

    let foreign =
        Case::lower("foreign wakes over 1024 tasks, each", "ns").ours(tasks::foreign_wakes::<Ours>);
    let foreign = peers!(
        foreign,
        [TokioLocalSet, TokioLocalRuntime, Smol, Monoio, Compio],
        tasks::foreign_wakes()
    )
    .bar(Bar::absolute().max(40.0))
    .bar(Bar::best_peer().max(0.6));

    let spinning = Case::lower("cross-thread wake, spinning, p50", "us")
        .ours(move || tasks::wake_latency::<OursSpinning>(4000, spin_pause));
    // monoio is left out: it does not look at foreign wakes while a task is always ready.
    let spinning = peers!(
        spinning,
        [
            Awake<TokioLocalSet>,
            Awake<TokioLocalRuntime>,
            Awake<Smol>,
            Awake<Compio>
        ],
        tasks::wake_latency(4000, spin_pause)
    )
    .bar(Bar::absolute().max(0.6))
    .bar(Bar::best_peer().max(0.75));

    let parked = Case::lower("cross-thread wake, parked, p50", "us")
        .floor(move || tasks::raw_parked_wake(1500, park_pause))
        .ours(move || tasks::wake_latency::<Ours>(1500, park_pause));
    let parked = peers!(parked, [TokioLocalSet, Smol], tasks::wake_latency(1500, park_pause))
        .bar(Bar::floor().max(1.05));

    let heap = Case::lower("heap of an idle task, 16-byte state", "B")
        .isolated()
        .rounds(3)
        .ours(|| tasks::heap_per_task::<Ours>(100_000));
    let heap =
        peers!(heap, [Nexus, TokioLocalSet, Smol, Monoio, Compio], tasks::heap_per_task(100_000))
            .bar(Bar::absolute().max(133.0));
    let heap_million = Case::lower("heap of one of 10^6 idle tasks", "B")
        .isolated()
        .rounds(3)
        .ours(|| tasks::heap_per_task::<Ours>(1_000_000));
    let heap_million = peers!(
        heap_million,
        [Nexus, TokioLocalSet, Smol, Monoio, Compio],
        tasks::heap_per_task(1_000_000)
    )
    .bar(Bar::absolute().max(133.0));

    let beside = wake_case("wake of 1000 tasks beside 10^6 idle ones, each", false);
    // The same 1000 on as many pages: what is added is the translation of their addresses.
    let spread = wake_case("wake of 1000 tasks spread over 10^6, each", true);
    // Here each task comes from memory, whose latency is most of it, for everybody.
    let million = Case::lower("wake of each of 10^6 tasks", "ns")
        .isolated()
        .rounds(5)
        .ours(|| tasks::wake_among::<Ours>(1_000_000, 1_000_000, true));
    let million = peers!(
        million,
        [Nexus, TokioLocalSet, TokioLocalRuntime, Smol],
        tasks::wake_among(1_000_000, 1_000_000, true)
    )
    .bar(Bar::best_peer().max(1.0));

    let create = Case::lower("timer create, 100 k alive", "ns")
        .ours(|| timers::ours().0)
        .peer("tokio", || timers::tokio().0)
        .peer("async-io", || timers::smol().0)
        .bar(Bar::absolute().max(50.0))
        .bar(Bar::best_peer().max(0.5));
    let cancel = Case::lower("timer cancel, 100 k alive", "ns")
        .ours(|| timers::ours().1)
        .peer("tokio", || timers::tokio().1)
        .peer("async-io", || timers::smol().1)
        .bar(Bar::absolute().max(10.0))
        .bar(Bar::best_peer().max(0.5));
    let late = Case::lower("sleep 250 us, late beyond a raw epoll_pwait2, p50", "us")
        .ours(|| timers::late_ours() - timers::late_raw())
        .peer("tokio", || timers::late_tokio() - timers::late_raw())
        .peer("async-io", || timers::late_smol() - timers::late_raw())
        .bar(Bar::absolute().max(10.0));

    let echo = Case::lower("TCP echo, both ends in one runtime", "us")
        .floor(net::raw_pair)
        .ours(net::one_pair::<Ours, lastout_async_rt::net::TcpStream>);
    let echo = echo_peers!(echo, one_pair)
        .bar(Bar::best_peer().max(1.0))
        // Half of what lay between the four system calls and the whole: 3.6 us beside 9.4.
        .bar(Bar::floor().max(1.19));
    // What is left when the system calls of an edge-triggered loop are taken away: a wait on each side,
    // and a read on each side that finds out that nothing is left.
    let edge = Case::lower("TCP echo, beside a bare edge-triggered loop", "us")
        .floor(net::raw_edge)
        .ours(net::one_pair::<Ours, lastout_async_rt::net::TcpStream>)
        .bar(Bar::floor().max(1.15));
    let many_edge =
        Case::lower("TCP echo, 64 connections, beside a bare edge-triggered loop", "us")
            .floor(net::raw_many_edge)
            .ours(net::many::<Ours, lastout_async_rt::net::TcpStream>)
            .bar(Bar::floor().max(1.1));
    let many = Case::lower("TCP echo, 64 connections, each message", "us")
        .floor(net::raw_many)
        .ours(net::many::<Ours, lastout_async_rt::net::TcpStream>);
    let many = echo_peers!(many, many).bar(Bar::best_peer().max(1.0)).bar(Bar::floor().max(1.05));

    awaited::add_to(channels::add_to(Bench::new("rt")))
        .case(dispatch_case("dispatch, 64 ready", 64, 0.5))
        .case(dispatch_case("dispatch, 1 ready", 1, 0.5))
        .case(spawn)
        .case(ping_pong)
        .case(foreign)
        .case(spinning)
        .case(parked)
        .case(create)
        .case(cancel)
        .case(late)
        .case(echo)
        .case(many)
        .case(edge)
        .case(many_edge)
        .case(heap)
        .case(heap_million)
        .case(beside)
        .case(spread)
        .case(million)
        .run()
}
