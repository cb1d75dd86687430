//! Where the outputs of a process go, and where its input comes from.

use crate::config::Config;
use crate::prepared::Prepared;
use bytes::{Bytes, BytesMut};

/// Where an output of a process goes.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outlet {
    /// To a [`Stream`](crate::Stream) with this configuration.
    Stream(Box<Config>),
    /// To this stream, which may have readers already: they get every byte from the first one on.
    Prepared(Prepared),
    /// Nowhere: there is no pipe, and the stream has ended from the start.
    Discard,
    /// To the same place as ours; the stream has ended from the start.
    Inherit,
}

impl Default for Outlet {
    fn default() -> Self {
        Config::default().into()
    }
}

impl From<Config> for Outlet {
    fn from(config: Config) -> Self {
        Self::Stream(Box::new(config))
    }
}

impl From<Prepared> for Outlet {
    fn from(prepared: Prepared) -> Self {
        Self::Prepared(prepared)
    }
}

/// Where the input of a process comes from. Text and bytes of any kind can be turned into it.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Inlet {
    /// There is none: it reads end of file.
    #[default]
    Null,
    /// From the same place as the caller's. A terminal is refused for a process in
    /// [a group of its own](crate::ProcessBuilder::own_group).
    Inherit,
    /// These bytes, and then end of file.
    Bytes(Bytes),
    /// From [`Process::stdin`](crate::Process::stdin).
    Piped,
}

/// What can be had without a copy.
macro_rules! owned {
    ($($owned:ty),*) => {$(
        impl From<$owned> for Inlet {
            fn from(bytes: $owned) -> Self {
                Self::Bytes(bytes.into())
            }
        }
    )*};
}

owned!(Bytes, BytesMut, Vec<u8>, Box<[u8]>, String);

/// What is copied, for it may not live as long as the process.
macro_rules! borrowed {
    ($($borrowed:ty),*) => {$(
        impl From<$borrowed> for Inlet {
            fn from(bytes: $borrowed) -> Self {
                Self::Bytes(Bytes::copy_from_slice(bytes.as_ref()))
            }
        }
    )*};
}

borrowed!(&str, &String, &[u8], &Vec<u8>);

impl<const N: usize> From<[u8; N]> for Inlet {
    fn from(bytes: [u8; N]) -> Self {
        Self::from(&bytes)
    }
}

impl<const N: usize> From<&[u8; N]> for Inlet {
    fn from(bytes: &[u8; N]) -> Self {
        Self::Bytes(Bytes::copy_from_slice(bytes))
    }
}
