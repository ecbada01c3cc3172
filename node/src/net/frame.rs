//! Frames on a lane: a length (u32, big-endian) and as many bytes.
//!
//! Length 0 is a heartbeat, on the brief lane only. A length above the lane's is refused before
//! anything is allocated for it; of a body's memory only what has arrived is touched.

use std::io;
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::lanes::Lane;

const CHUNK_BYTES: usize = 256 * 1024;
pub(super) const HEARTBEAT: [u8; 4] = [0; 4];

/// Why a lane cannot be read or written any further.
#[derive(Debug, thiserror::Error)]
pub(super) enum LaneError {
    #[error("the connection ended")]
    Ended,
    #[error("the peer said nothing for too long")]
    Silent,
    #[error("a message made no progress for too long")]
    Stalled,
    #[error("a frame of {found} bytes where {most} are possible")]
    TooLong { found: usize, most: usize },
    #[error("an empty frame where only messages are possible")]
    Empty,
}

impl LaneError {
    /// Whether only a peer that does not keep to the protocol can cause it.
    pub(super) const fn is_violation(&self) -> bool {
        matches!(self, Self::TooLong { .. } | Self::Empty)
    }
}

impl From<io::Error> for LaneError {
    fn from(_: io::Error) -> Self {
        // whatever the system calls it: this connection is of no more use
        Self::Ended
    }
}

/// Reads a frame's length: none for a heartbeat.
pub(super) async fn read_length<R: AsyncRead + Unpin>(
    reader: &mut R,
    lane: Lane,
    silence: Duration,
) -> Result<Option<usize>, LaneError> {
    let mut length = [0; 4];
    match lane {
        Lane::Brief => timeout(silence, reader.read_exact(&mut length))
            .await
            .map_err(|_| LaneError::Silent)??,
        // no heartbeats here: the other lane shows whether the peer is alive
        Lane::Bulk => reader.read_exact(&mut length).await?,
    };
    let found = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    let most = lane.longest();
    match (found, lane) {
        (0, Lane::Brief) => Ok(None),
        (0, Lane::Bulk) => Err(LaneError::Empty),
        _ if found > most => Err(LaneError::TooLong { found, most }),
        _ => Ok(Some(found)),
    }
}

/// Reads the bytes of a frame.
pub(super) async fn read_body<R: AsyncRead + Unpin>(
    reader: &mut R,
    length: usize,
    stall: Duration,
) -> Result<Vec<u8>, LaneError> {
    // room for all of it at once, which takes none as long as nothing is written there
    let mut bytes = Vec::with_capacity(length);
    let mut filled = 0;
    while filled < length {
        if bytes.len() == filled {
            bytes.resize(length.min(filled + CHUNK_BYTES), 0);
        }
        let room = bytes.get_mut(filled..).unwrap_or_default();
        let read = timeout(stall, reader.read(room)).await.map_err(|_| LaneError::Stalled)??;
        if read == 0 {
            return Err(LaneError::Ended);
        }
        filled += read;
    }
    Ok(bytes)
}

/// Writes bytes, giving up when none of a chunk can be written for `stall`.
pub(super) async fn write_bytes<W: AsyncWrite + Unpin>(
    writer: &mut W,
    bytes: &[u8],
    stall: Duration,
) -> Result<(), LaneError> {
    for chunk in bytes.chunks(CHUNK_BYTES) {
        timeout(stall, writer.write_all(chunk)).await.map_err(|_| LaneError::Stalled)??;
    }
    Ok(())
}

/// The length in front of a message of at most `MESSAGE_MAX` bytes.
pub(super) fn length_prefix(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use futures::io::Cursor;

    use super::*;

    const WAIT: Duration = Duration::from_millis(50);

    async fn read(lane: Lane, bytes: &[u8]) -> Result<Option<Vec<u8>>, LaneError> {
        let mut reader = Cursor::new(bytes);
        match read_length(&mut reader, lane, WAIT).await? {
            Some(length) => read_body(&mut reader, length, WAIT).await.map(Some),
            None => Ok(None),
        }
    }

    #[tokio::test]
    async fn frames_are_read_and_bad_ones_refused() {
        assert_eq!(read(Lane::Brief, b"\0\0\0\x02hi!").await.unwrap(), Some(b"hi".to_vec()));
        assert_eq!(read(Lane::Brief, &HEARTBEAT).await.unwrap(), None);
        assert!(matches!(read(Lane::Bulk, &HEARTBEAT).await, Err(LaneError::Empty)));
        assert!(matches!(read(Lane::Brief, b"\0\0\0\x03hi").await, Err(LaneError::Ended)));
        assert!(matches!(read(Lane::Brief, b"\0\0").await, Err(LaneError::Ended)));
        for lane in [Lane::Brief, Lane::Bulk] {
            let length = u32::try_from(lane.longest()).unwrap() + 1;
            let error = read(lane, &length.to_be_bytes()).await.unwrap_err();
            assert!(matches!(error, LaneError::TooLong { .. }) && error.is_violation());
        }
    }

    #[tokio::test]
    async fn a_frame_that_never_comes_is_not_waited_for() {
        let mut reader = Never;
        assert!(matches!(read_body(&mut reader, 1 << 30, WAIT).await, Err(LaneError::Stalled)));
        let length = read_length(&mut reader, Lane::Brief, WAIT).await;
        assert!(matches!(length, Err(LaneError::Silent)));
    }

    /// A reader on which nothing ever arrives.
    struct Never;
    impl AsyncRead for Never {
        fn poll_read(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            _: &mut [u8],
        ) -> std::task::Poll<io::Result<usize>> {
            std::task::Poll::Pending
        }
    }
}
