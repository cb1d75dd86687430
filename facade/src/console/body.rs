//! What a response carries: a whole page, or events until somebody ends them.

use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The next piece of a stream of events and how it goes on; `None` at its end.
pub(super) type Next = Pin<Box<dyn Future<Output = Option<(Bytes, Rest)>> + Send>>;

/// Makes the next piece.
pub(super) struct Rest(pub(super) Box<dyn FnOnce() -> Next + Send>);

/// The body of a response of the console.
///
/// It is an `http_body::Body`, so that hyper, axum and all that builds on them send it.
pub struct Body(Inner);

enum Inner {
    Whole(Option<Bytes>),
    Events(Option<Next>),
}

impl Body {
    pub(super) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self(Inner::Whole(Some(bytes.into()).filter(|bytes: &Bytes| !bytes.is_empty())))
    }

    pub(super) fn events(first: Next) -> Self {
        Self(Inner::Events(Some(first)))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match &mut self.0 {
            Inner::Whole(bytes) => return Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Inner::Events(next) => next,
        };
        let Some(future) = next else { return Poll::Ready(None) };
        let Poll::Ready(piece) = future.as_mut().poll(cx) else { return Poll::Pending };
        // It is not polled again before it was replaced.
        *next = None;
        Poll::Ready(piece.map(|(bytes, rest)| {
            *next = Some((rest.0)());
            Ok(Frame::data(bytes))
        }))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Inner::Whole(None) | Inner::Events(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64)
            }
            Inner::Events(_) => SizeHint::default(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Inner::Whole(bytes) => {
                f.debug_tuple("Whole").field(&bytes.as_ref().map(Bytes::len)).finish()
            }
            Inner::Events(_) => f.write_str("Events"),
        }
    }
}
