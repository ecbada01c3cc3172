//! A stream of the protocol's messages in which none is longer than the limit: the length that a message
//! says of itself is looked at before anything is kept for it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Most bytes of a message before sign-in.
pub const BEFORE_SIGN_IN: usize = 8 * 1024;
/// Most bytes of a message after it.
pub const AFTER_SIGN_IN: usize = 64 * 1024;

/// How far into a message the bytes have come.
#[derive(Debug)]
pub struct Framing {
    // the first message has no byte for its type
    first: bool,
    header: Vec<u8>,
    // bytes of the body that are still to come
    left: usize,
}

impl Default for Framing {
    /// Before the first message.
    fn default() -> Self {
        Self { first: true, header: Vec::with_capacity(5), left: 0 }
    }
}

impl Framing {
    /// Goes over bytes; false when a message is too long, or shorter than its own length.
    #[must_use]
    pub fn pass(&mut self, mut bytes: &[u8], limit: usize) -> bool {
        while let Some((byte, rest)) = bytes.split_first() {
            if self.left > 0 {
                let of_body = self.left.min(bytes.len());
                self.left -= of_body;
                bytes = bytes.get(of_body..).unwrap_or_default();
                continue;
            }
            bytes = rest;
            self.header.push(*byte);
            let before = usize::from(!self.first);
            let Some(length) = self.header.get(before..).and_then(|it| it.first_chunk::<4>())
            else {
                continue;
            };
            let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
            if !(4..=limit).contains(&length) {
                return false;
            }
            self.left = length - 4;
            self.header.clear();
            self.first = false;
        }
        true
    }
}

/// A stream with bounded messages.
#[derive(Debug)]
pub struct Bounded<S> {
    inner: S,
    framing: Framing,
    limit: Arc<AtomicUsize>,
}

impl<S> Bounded<S> {
    /// Of a stream at its beginning, and the limit, which may be changed.
    pub fn new(inner: S) -> (Self, Arc<AtomicUsize>) {
        let limit = Arc::new(AtomicUsize::new(BEFORE_SIGN_IN));
        (Self { inner, framing: Framing::default(), limit: Arc::clone(&limit) }, limit)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(context, buffer))?;
        let read = buffer.filled().get(before..).unwrap_or_default();
        let limit = this.limit.load(Ordering::Relaxed);
        Poll::Ready(match this.framing.pass(read, limit) {
            true => Ok(()),
            false => Err(io::ErrorKind::InvalidData.into()),
        })
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing() -> Framing {
        Framing::default()
    }

    fn message(kind: Option<u8>, body: usize) -> Vec<u8> {
        let length = u32::try_from(body + 4).unwrap().to_be_bytes();
        kind.into_iter().chain(length).chain(std::iter::repeat_n(7, body)).collect()
    }

    #[test]
    fn messages_pass_however_they_are_cut_and_a_long_one_does_not() {
        let messages =
            [message(None, 20), message(Some(b'Q'), 0), message(Some(b'Q'), 96)].concat();
        for piece in 1..messages.len() {
            let mut framing = framing();
            assert!(messages.chunks(piece).all(|bytes| framing.pass(bytes, 100)), "{piece}");
            assert!((framing.left, framing.header.len()) == (0, 0), "{piece}");
            // the limit counts as soon as the length is there, before the body
            let long = message(Some(b'Q'), 97);
            assert!(!framing.pass(&long[..5], 100));
        }
    }

    #[test]
    fn a_message_shorter_than_its_length_is_refused() {
        for length in 0..4_u32 {
            assert!(!framing().pass(&length.to_be_bytes(), 100));
        }
        assert!(!framing().pass(&[0xff; 4], 100));
    }
}
