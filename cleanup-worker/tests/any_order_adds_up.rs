//! Random orders of everything against an oracle that counts; minutes of the same are in the soak.
#![allow(clippy::print_stdout, reason = "the seed of a play that fails")]

#[path = "support/play.rs"]
mod play;

/// A few of the plays that the soak makes for minutes. A seed that failed is run again by `LASTOUT_SEED`.
#[test]
fn any_order_of_everything_adds_up() {
    std::panic::set_hook(Box::new(|info| {
        // The panics of tasks are on purpose.
        if !info.to_string().contains("on purpose") {
            let mut text = info.to_string();
            text.push('\n');
            let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
        }
    }));
    let seed = std::env::var("LASTOUT_SEED").ok().and_then(|seed| seed.parse().ok());
    let start = seed.unwrap_or_else(|| u64::from(std::process::id()));
    let plays = if seed.is_some() { 1 } else { 40 };
    for seed in start..start + plays {
        println!("seed {seed}");
        play::run(seed, 150);
    }
}
