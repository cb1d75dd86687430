//! Names of hosts: what stands for socket addresses, and asking the system for them without blocking
//! the runtime's thread.

use crate::blocking::{BlockingTask, spawn_blocking};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::vec;

/// What stands for one or more socket addresses: an address, a pair of host and port, a text like
/// `"localhost:80"` or `"[::1]:80"`, or a slice of addresses.
///
/// Numbers are taken as they are. A name is resolved by the system on the runtime's blocking pool.
pub trait ToSocketAddrs: sealed::ToSocketAddrs {}

impl<T: sealed::ToSocketAddrs + ?Sized> ToSocketAddrs for T {}

/// What is known before the system is asked.
#[derive(Debug)]
pub enum Target {
    One(SocketAddr),
    Several(Vec<SocketAddr>),
    Name(String, u16),
    Invalid(io::Error),
}

mod sealed {
    pub trait ToSocketAddrs {
        #[doc(hidden)]
        fn target(&self) -> super::Target;
    }
}

macro_rules! addresses {
    ($($known:ty),*) => { $(
        impl sealed::ToSocketAddrs for $known {
            fn target(&self) -> Target {
                Target::One((*self).into())
            }
        }
    )* };
}

addresses!(SocketAddr, SocketAddrV4, SocketAddrV6);
addresses!((IpAddr, u16), (Ipv4Addr, u16), (Ipv6Addr, u16));

impl sealed::ToSocketAddrs for [SocketAddr] {
    fn target(&self) -> Target {
        Target::Several(self.to_vec())
    }
}

impl sealed::ToSocketAddrs for (&str, u16) {
    fn target(&self) -> Target {
        let (host, port) = *self;
        match host.parse::<IpAddr>() {
            Ok(address) => Target::One((address, port).into()),
            Err(_) => Target::Name(host.into(), port),
        }
    }
}

impl sealed::ToSocketAddrs for (String, u16) {
    fn target(&self) -> Target {
        (self.0.as_str(), self.1).target()
    }
}

impl sealed::ToSocketAddrs for str {
    fn target(&self) -> Target {
        if let Ok(address) = self.parse() {
            return Target::One(address);
        }
        let split =
            self.rsplit_once(':').filter(|(host, _)| !host.is_empty() && !host.contains(':'));
        match split.and_then(|(host, port)| Some((host, port.parse().ok()?))) {
            Some((host, port)) => (host, port).target(),
            None => {
                let message = format!("address {self:?} is not of the form `host:port`");
                Target::Invalid(io::Error::new(io::ErrorKind::InvalidInput, message))
            }
        }
    }
}

impl sealed::ToSocketAddrs for String {
    fn target(&self) -> Target {
        self.as_str().target()
    }
}

impl<T: sealed::ToSocketAddrs + ?Sized> sealed::ToSocketAddrs for &T {
    fn target(&self) -> Target {
        (**self).target()
    }
}

/// The addresses of a target, in the order in which to try them.
#[derive(Debug)]
pub(super) enum Addresses {
    One(Option<SocketAddr>),
    Several(vec::IntoIter<SocketAddr>),
}

impl Iterator for Addresses {
    type Item = SocketAddr;

    fn next(&mut self) -> Option<SocketAddr> {
        match self {
            Self::One(address) => address.take(),
            Self::Several(addresses) => addresses.next(),
        }
    }
}

impl Addresses {
    /// What `attempt` gives for the first address with which it succeeds; otherwise the last error.
    pub(super) async fn first_with<T>(
        self,
        attempt: impl AsyncFn(SocketAddr) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut failed = None;
        for address in self {
            match attempt(address).await {
                Ok(outcome) => return Ok(outcome),
                Err(error) => failed = Some(error),
            }
        }
        let none = || io::Error::new(io::ErrorKind::InvalidInput, "target resolved to no address");
        Err(failed.unwrap_or_else(none))
    }
}

/// A lookup that still waits for a thread is not needed once its caller is gone.
struct AbortOnDrop<R>(BlockingTask<R>);

impl<R> Drop for AbortOnDrop<R> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn ask(host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
    let lookup = move || {
        let found = std::net::ToSocketAddrs::to_socket_addrs(&(host.as_str(), port))?;
        Ok(found.collect())
    };
    let refused = |kind| io::Error::new(io::ErrorKind::ResourceBusy, kind);
    let mut asked = AbortOnDrop(spawn_blocking(lookup).map_err(|error| refused(error.kind))?);
    (&mut asked.0).await.map_err(io::Error::other)?
}

pub(super) async fn resolve(target: impl ToSocketAddrs) -> io::Result<Addresses> {
    let known = target.target();
    drop(target);
    let addresses = match known {
        Target::One(address) => return Ok(Addresses::One(Some(address))),
        Target::Several(addresses) => addresses,
        Target::Name(host, port) => ask(host, port).await?,
        Target::Invalid(error) => return Err(error),
    };
    Ok(Addresses::Several(addresses.into_iter()))
}

/// The addresses of `target`, in the order in which the system prefers them.
///
/// The system is asked on the runtime's [blocking pool](crate::spawn_blocking), so that a slow name
/// server holds up nothing but this call.
///
/// # Errors
/// When the text is not of the form `host:port`, when the name is unknown, and when the blocking pool
/// refuses the lookup.
///
/// # Cancel safety
/// Cancel safe: a lookup that has begun ends by itself, and one that waits for a thread is dropped.
///
/// # Panics
/// Outside a runtime, when `target` is a name.
pub async fn lookup_host(target: impl ToSocketAddrs) -> io::Result<Vec<SocketAddr>> {
    Ok(resolve(target).await?.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::codes;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    /// As on a machine without IPv6, where the socket itself cannot be made.
    async fn only_v4(address: SocketAddr) -> io::Result<SocketAddr> {
        match address {
            SocketAddr::V4(_) => Ok(address),
            SocketAddr::V6(_) => Err(io::Error::from_raw_os_error(codes::NO_SUCH_FAMILY)),
        }
    }

    #[test]
    fn an_address_of_a_family_that_is_not_there_is_passed_over() {
        let v6: SocketAddr = (Ipv6Addr::LOCALHOST, 80).into();
        let v4: SocketAddr = (Ipv4Addr::LOCALHOST, 80).into();
        let first = |addresses: &[SocketAddr]| {
            let addresses = Addresses::Several(Vec::from(addresses).into_iter());
            let first = pin!(addresses.first_with(only_v4));
            match first.poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(outcome) => outcome,
                Poll::Pending => panic!("nothing is waited for"),
            }
        };
        assert_eq!(first(&[v6, v4]).unwrap(), v4);
        assert_eq!(first(&[v6]).unwrap_err().raw_os_error(), Some(codes::NO_SUCH_FAMILY));
        assert_eq!(first(&[]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
