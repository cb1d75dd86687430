#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(lastout_docsrs, feature(doc_cfg))]
