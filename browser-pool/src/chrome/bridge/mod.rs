//! An in-process bridge: the protocol pipe of a browser on one side, on the other the websocket that
//! chromiumoxide wants to speak.
//!
//! It listens once, on the loopback, for one client that knows a secret path, and closes the listener
//! as soon as that client is there; the client is in this very process. Being in the middle, it also
//! answers what the browser will not: see [`filter`].

mod filter;
mod router;

use self::filter::Outgoing;
#[cfg(fuzzing)]
pub use self::filter::bridge_traffic;
pub(super) use self::filter::limit_of_unanswered;
pub(super) use self::router::Router;
use self::router::{Ends, OwnCall};
use crate::driver::News;
use crate::error::Loss;
use async_tungstenite::tokio::{
    TokioAdapter, accept_hdr_async_with_config, connect_async_with_config,
};
use async_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use async_tungstenite::tungstenite::protocol::WebSocketConfig;
use async_tungstenite::tungstenite::{Bytes, Message, Utf8Bytes};
use async_tungstenite::{WebSocketReceiver, WebSocketSender, WebSocketStream};
use bytes::{Buf, BytesMut};
use futures_util::io::{AsyncRead, AsyncWrite};
use futures_util::stream::FuturesUnordered;
use futures_util::{SinkExt, StreamExt};
use std::io::{self, Read};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, unix::pipe};
use tokio::sync::mpsc;

/// How often calls whose time is over are looked for.
const LOOK: Duration = Duration::from_millis(100);

/// How much is read from the pipe at once, at least.
const READ: usize = 64 * 1024;

/// How much is read from the client at once, at most.
const CALL: usize = 4 * 1024;

/// Messages that go to the client with one write, at most: the calls of its own go between them.
const MOST_AT_ONCE: usize = 64;

/// A browser that sends more than this in one message is not one.
const LONGEST_MESSAGE: usize = 1 << 30;

/// Connections that may be in their handshake at once. Others of this machine can fill them for as long as
/// the launch may take, and then the launch fails.
const MOST_CALLERS: usize = 64;

/// The client's side of a bridge.
type Socket = WebSocketStream<TokioAdapter<TcpStream>>;

/// The browser's side of a bridge.
pub(super) enum Upstream {
    /// The two ends of the protocol pipe.
    Pipe {
        /// What the browser writes.
        from: pipe::Receiver,
        /// What the browser reads.
        to: pipe::Sender,
    },
    /// A websocket of the browser; the pipe is held open beside it.
    Socket {
        /// The connection.
        socket: Box<WebSocketStream<async_tungstenite::tokio::ConnectStream>>,
        /// Closed when the bridge ends.
        lifeline: (pipe::Receiver, pipe::Sender),
    },
}

/// A bridge that waits for its client.
pub(super) struct Bridge {
    listener: TcpListener,
    path: String,
    router: Router,
    called: mpsc::UnboundedReceiver<OwnCall>,
    upstream: Upstream,
    news: mpsc::UnboundedSender<News>,
}

impl Bridge {
    /// Listens for one client; each call on the connection may take `limit`.
    pub(super) async fn listen(
        upstream: Upstream,
        limit: Duration,
        news: mpsc::UnboundedSender<News>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let mut secret = [0_u8; 16];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut secret)?;
        let path = format!("/{:032x}", u128::from_ne_bytes(secret));
        let (router, called) = Router::new(limit);
        Ok(Self { listener, path, router, called, upstream, news })
    }

    /// What the client connects to.
    pub(super) fn address(&self) -> io::Result<String> {
        Ok(format!("ws://{}{}", self.listener.local_addr()?, self.path))
    }

    pub(super) fn router(&self) -> Router {
        self.router.clone()
    }

    /// Takes the client in and carries messages until one side ends. Anybody else who connects before
    /// the client is turned away.
    pub(super) async fn run(self) -> Loss {
        let Self { listener, path, router, called, upstream, news } = self;
        // Dropped after `called`: a call that was sent is in the list by then, and a later one is refused.
        let _ends = Ends(router.clone());
        let called = called;
        let Some(socket) = first_who_knows(&listener, &path).await else {
            return Loss::Disconnected;
        };
        drop(listener);
        match upstream {
            Upstream::Pipe { from, to } => {
                carry(socket, PipeReader::new(from), PipeWriter(to), router, called, news).await
            }
            Upstream::Socket { socket: upstream, lifeline } => {
                let (to, from) = (*upstream).split();
                let loss = carry(socket, from, to, router, called, news).await;
                drop(lifeline);
                loss
            }
        }
    }
}

/// Connects to a browser that listens on a port.
pub(super) async fn connect(
    address: &str,
) -> Result<
    WebSocketStream<async_tungstenite::tokio::ConnectStream>,
    Box<dyn std::error::Error + Send + Sync>,
> {
    let (socket, _) = connect_async_with_config(address, Some(limits())).await?;
    Ok(socket)
}

fn limits() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(None).max_frame_size(None)
}

/// The first who connects and knows the secret. Whoever connects and says nothing holds up nobody.
async fn first_who_knows(listener: &TcpListener, secret: &str) -> Option<Socket> {
    let mut callers = FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if callers.len() < MOST_CALLERS => {
                callers.push(admit(accepted.ok()?.0, secret));
            }
            Some(admitted) = callers.next(), if !callers.is_empty() => {
                if admitted.is_some() {
                    return admitted;
                }
            }
        }
    }
}

async fn admit(stream: TcpStream, secret: &str) -> Option<Socket> {
    stream.set_nodelay(true).ok()?;
    #[expect(clippy::result_large_err, reason = "the type that the handshake asks for")]
    let knows = |request: &Request, response: Response| {
        if request.uri().path() == secret { Ok(response) } else { Err(ErrorResponse::new(None)) }
    };
    // Calls are short, and each read clears as much as it may read.
    let config = limits().read_buffer_size(CALL);
    accept_hdr_async_with_config(stream, knows, Some(config)).await.ok()
}

/// Something that gives whole messages of the browser.
trait Source {
    /// The next message, or `None` at the end. Dropping the future loses nothing.
    async fn next_message(&mut self) -> Option<Utf8Bytes>;

    /// A message that is here already.
    fn message_at_hand(&mut self) -> Option<Utf8Bytes>;
}

/// Something that takes whole messages to the browser.
trait Target {
    async fn put(&mut self, text: Utf8Bytes) -> bool;
}

/// Carries messages both ways until one side ends.
async fn carry(
    socket: Socket,
    from: impl Source,
    to: impl Target,
    router: Router,
    called: mpsc::UnboundedReceiver<OwnCall>,
    news: mpsc::UnboundedSender<News>,
) -> Loss {
    let (client_in, client_out) = socket.split();
    let (answers, answered) = mpsc::unbounded_channel();
    let outgoing = outgoing(client_out, to, router.clone(), called, answers);
    let incoming = incoming(client_in, from, router, news, answered);
    tokio::select! {
        () = outgoing => {}
        () = incoming => {}
    }
    Loss::Disconnected
}

/// From the client to the browser, and from the bridge itself.
async fn outgoing(
    mut client: WebSocketReceiver<TokioAdapter<TcpStream>>,
    mut to: impl Target,
    router: Router,
    mut called: mpsc::UnboundedReceiver<OwnCall>,
    answers: mpsc::UnboundedSender<String>,
) {
    loop {
        let (text, limit) = tokio::select! {
            message = client.next() => match message {
                Some(Ok(Message::Text(text))) => (text, None),
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => return,
            },
            Some(OwnCall { text, limit }) = called.recv() => (text.into(), Some(limit)),
        };
        let verdict = router.filter().outgoing(&text, limit, Instant::now());
        let going = match verdict {
            Outgoing::Hold => true,
            Outgoing::Forward => to.put(text).await,
            Outgoing::Answer(answer) => answers.send(answer).is_ok(),
        };
        if !going {
            return;
        }
    }
}

/// From the browser to the client, with what the filter adds.
async fn incoming(
    mut client: Client,
    mut from: impl Source,
    router: Router,
    news: mpsc::UnboundedSender<News>,
    mut answered: mpsc::UnboundedReceiver<String>,
) {
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let fed = tokio::select! {
            message = from.next_message() => {
                let Some(text) = message else { return };
                pass_on(&mut client, text, &mut from, &router, &news).await
            }
            Some(answer) = answered.recv() => feed(&mut client, vec![answer], &router).await,
            _ = look.tick() => {
                let late = router.filter().expire(Instant::now());
                router.release(late.release);
                late.news.into_iter().for_each(|told| drop(news.send(told)));
                feed(&mut client, late.inject, &router).await
            }
        };
        if fed.is_none() || client.flush().await.is_err() {
            return;
        }
    }
}

type Client = WebSocketSender<TokioAdapter<TcpStream>>;

/// Feeds the client a message of the browser and those that came with it, each with what the filter adds:
/// a write for each would wake the client for each.
async fn pass_on(
    client: &mut Client,
    first: Utf8Bytes,
    from: &mut impl Source,
    router: &Router,
    news: &mpsc::UnboundedSender<News>,
) -> Option<()> {
    let mut text = first;
    for room in (0..MOST_AT_ONCE).rev() {
        let incoming = router.filter().incoming(&text, Instant::now());
        if !incoming.shed && !router.keeps(&text) {
            client.feed(Message::Text(text)).await.ok()?;
        }
        incoming.news.into_iter().for_each(|told| drop(news.send(told)));
        router.release(incoming.release);
        incoming.order.into_iter().for_each(|order| router.order(order));
        incoming.resume.into_iter().for_each(|session| router.resume(session));
        feed(client, incoming.inject, router).await?;
        let next = if room > 0 { from.message_at_hand() } else { None };
        let Some(next) = next else { break };
        text = next;
    }
    Some(())
}

async fn feed(client: &mut Client, messages: Vec<String>, router: &Router) -> Option<()> {
    for text in messages.into_iter().filter(|text| !router.keeps(text)) {
        client.feed(Message::text(text)).await.ok()?;
    }
    Some(())
}

/// Splits what the browser writes at its NULs.
struct PipeReader {
    pipe: pipe::Receiver,
    buffer: BytesMut,
    /// Bytes of the buffer that are known to hold no NUL.
    seen: usize,
}

impl PipeReader {
    fn new(pipe: pipe::Receiver) -> Self {
        Self { pipe, buffer: BytesMut::with_capacity(READ), seen: 0 }
    }

    fn buffered(&mut self) -> Option<Bytes> {
        let found = memchr::memchr(0, &self.buffer[self.seen..]);
        let Some(end) = found.map(|at| at + self.seen) else {
            self.seen = self.buffer.len();
            return None;
        };
        self.seen = 0;
        let message = self.buffer.split_to(end).freeze();
        self.buffer.advance(1);
        Some(message)
    }
}

impl Source for PipeReader {
    async fn next_message(&mut self) -> Option<Utf8Bytes> {
        loop {
            if let Some(text) = self.message_at_hand() {
                return Some(text);
            }
            if self.buffer.len() > LONGEST_MESSAGE {
                return None;
            }
            self.buffer.reserve(READ);
            if self.pipe.read_buf(&mut self.buffer).await.ok()? == 0 {
                return None;
            }
        }
    }

    fn message_at_hand(&mut self) -> Option<Utf8Bytes> {
        while let Some(message) = self.buffered() {
            // The protocol is JSON; what is not text is no message.
            if let Ok(text) = Utf8Bytes::try_from(message) {
                return Some(text);
            }
        }
        None
    }
}

struct PipeWriter(pipe::Sender);

impl Target for PipeWriter {
    async fn put(&mut self, text: Utf8Bytes) -> bool {
        let mut message = Bytes::from(text).chain(&[0_u8][..]);
        self.0.write_all_buf(&mut message).await.is_ok()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Source for WebSocketReceiver<S> {
    async fn next_message(&mut self) -> Option<Utf8Bytes> {
        while let Some(Ok(message)) = self.next().await {
            if let Message::Text(text) = message {
                return Some(text);
            }
        }
        None
    }

    fn message_at_hand(&mut self) -> Option<Utf8Bytes> {
        None
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Target for WebSocketSender<S> {
    async fn put(&mut self, text: Utf8Bytes) -> bool {
        self.send(Message::Text(text)).await.is_ok()
    }
}

#[cfg(test)]
mod tests;
