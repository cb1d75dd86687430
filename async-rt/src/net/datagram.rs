//! What the datagram sockets have in common.

/// Implements the operations of a datagram socket over its `io: AsyncFd<$std>`, where `$address` is
/// where a datagram is from.
macro_rules! datagrams {
    ($socket:ty, $std:ty, $address:ty) => {
        impl $socket {
            /// Takes over a socket of std, which also is the way to set options.
            ///
            /// # Errors
            /// When it cannot be made non-blocking or watched.
            ///
            /// # Panics
            /// Outside a runtime.
            #[track_caller]
            pub fn from_std(socket: $std) -> std::io::Result<Self> {
                socket.set_nonblocking(true)?;
                let io = crate::async_fd::AsyncFd::watch(crate::net::current(), socket)?;
                Ok(Self { io })
            }

            /// The socket of std, for its options. Do not make it blocking.
            pub fn as_std(&self) -> &$std {
                self.io.get_ref()
            }

            /// The socket of std, still non-blocking.
            pub fn into_std(self) -> $std {
                self.io.into_inner()
            }

            /// The address of this end.
            ///
            /// # Errors
            /// When the socket refuses, with its error.
            pub fn local_addr(&self) -> std::io::Result<$address> {
                self.io.get_ref().local_addr()
            }

            /// The address that the socket is connected to.
            ///
            /// # Errors
            /// When it is not connected.
            pub fn peer_addr(&self) -> std::io::Result<$address> {
                self.io.get_ref().peer_addr()
            }

            /// The error that the socket has noted, which this clears.
            ///
            /// # Errors
            /// When the socket cannot be asked.
            pub fn take_error(&self) -> std::io::Result<Option<std::io::Error>> {
                self.io.get_ref().take_error()
            }

            /// Waits until there is a datagram to receive.
            ///
            /// # Errors
            /// When the runtime has ended.
            ///
            /// # Cancel safety
            /// Cancel safe.
            pub async fn readable(&self) -> std::io::Result<()> {
                self.io.readable().await
            }

            /// Waits until there is room to send.
            ///
            /// # Errors
            /// When the runtime has ended.
            ///
            /// # Cancel safety
            /// Cancel safe.
            pub async fn writable(&self) -> std::io::Result<()> {
                self.io.writable().await
            }

            /// Sends a datagram to the connected address.
            ///
            /// # Errors
            /// When the socket refuses, with its error.
            ///
            /// # Cancel safety
            /// Cancel safe: a cancelled send has sent nothing.
            pub async fn send(&self, datagram: &[u8]) -> std::io::Result<usize> {
                self.io.write_io(|socket| socket.send(datagram)).await
            }

            /// Receives a datagram from the connected address. What does not fit into `buffer` is lost.
            ///
            /// # Errors
            /// When the socket refuses, with its error.
            ///
            /// # Cancel safety
            /// Cancel safe: no datagram is lost.
            pub async fn recv(&self, buffer: &mut [u8]) -> std::io::Result<usize> {
                self.io.read_io(|socket| socket.recv(buffer)).await
            }

            /// Receives a datagram, and where it is from. What does not fit into `buffer` is lost.
            ///
            /// # Errors
            /// When the socket refuses, with its error.
            ///
            /// # Cancel safety
            /// Cancel safe: no datagram is lost.
            pub async fn recv_from(&self, buffer: &mut [u8]) -> std::io::Result<(usize, $address)> {
                self.io.read_io(|socket| socket.recv_from(buffer)).await
            }

            /// Does what [`send`](Self::send) does, now or not at all.
            ///
            /// # Errors
            /// `WouldBlock` when there is no room, and those of the socket.
            pub fn try_send(&self, datagram: &[u8]) -> std::io::Result<usize> {
                self.io.try_write_io(|socket| socket.send(datagram))
            }

            /// Does what [`recv`](Self::recv) does, now or not at all.
            ///
            /// # Errors
            /// `WouldBlock` when there is no datagram, and those of the socket.
            pub fn try_recv(&self, buffer: &mut [u8]) -> std::io::Result<usize> {
                self.io.try_read_io(|socket| socket.recv(buffer))
            }

            /// Does what [`recv_from`](Self::recv_from) does, now or not at all.
            ///
            /// # Errors
            /// `WouldBlock` when there is no datagram, and those of the socket.
            pub fn try_recv_from(&self, buffer: &mut [u8]) -> std::io::Result<(usize, $address)> {
                self.io.try_read_io(|socket| socket.recv_from(buffer))
            }

            /// Polls what [`send`](Self::send) awaits, for hand-written futures. Only the last task that polled is
            /// woken.
            pub fn poll_send(
                &self,
                cx: &mut std::task::Context<'_>,
                datagram: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                self.io.poll_write_io(cx, |socket| socket.send(datagram))
            }

            /// Polls what [`recv`](Self::recv) awaits, for hand-written futures. Only the last task that polled is
            /// woken.
            pub fn poll_recv(
                &self,
                cx: &mut std::task::Context<'_>,
                buffer: &mut [u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                self.io.poll_read_io(cx, |socket| socket.recv(buffer))
            }

            /// Polls what [`recv_from`](Self::recv_from) awaits, for hand-written futures. Only the last task that
            /// polled is woken.
            pub fn poll_recv_from(
                &self,
                cx: &mut std::task::Context<'_>,
                buffer: &mut [u8],
            ) -> std::task::Poll<std::io::Result<(usize, $address)>> {
                self.io.poll_read_io(cx, |socket| socket.recv_from(buffer))
            }
        }

        crate::sys::lend!([] $socket, |this| this.io);
    };
}

pub(crate) use datagrams;
