//! Invented traffic between a browser and its client: one message per line, in the form of the seeds.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| lastout_browser_pool::bridge_traffic(text));
