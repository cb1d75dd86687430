#![doc = include_str!("mod.md")]

#[doc = include_str!("scaling.md")]
pub mod scaling {}
