//! Traffic between a browser and its client that nobody recorded: one message a line, as the seeds write it.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| lastout_browser_pool::bridge_traffic(text));
