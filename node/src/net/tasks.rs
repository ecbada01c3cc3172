//! The tasks that read and write the lanes of one connection.
//!
//! Each ends with the reason why its lane cannot be used any further; the driver then closes the
//! connection.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::io::{AsyncWriteExt as _, BufReader};
use libp2p::PeerId;
use libp2p::swarm::{ConnectionId, Stream};
use protocol::ids::BrandId;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::frame::{self, LaneError};
use super::inbox::Waitroom;
use super::lanes::Lane;
use super::pace::Pace;
use super::{Limits, Queued};

/// Small messages that wait are written together up to this many bytes.
const GATHER_BYTES: usize = 32 * 1024;

/// What the tasks of lanes share.
pub(super) struct LaneTasks {
    pub(super) room: Waitroom,
    pub(super) ended: mpsc::Sender<(PeerId, ConnectionId, LaneError)>,
    pub(super) limits: Limits,
}

impl LaneTasks {
    pub(super) fn spawn(
        &self,
        peer: PeerId,
        connection: ConnectionId,
        lane: impl Future<Output = LaneError> + Send + 'static,
    ) {
        let ended = self.ended.clone();
        tokio::spawn(async move {
            let error = lane.await;
            // fails only when the network has ended
            let _ = ended.send((peer, connection, error)).await;
        });
    }
}

pub(super) struct Reader {
    pub(super) brand: BrandId,
    pub(super) lane: Lane,
    pub(super) budget: Arc<Semaphore>,
    pub(super) pace: Arc<Mutex<Pace>>,
    pub(super) limits: Limits,
    pub(super) room: Waitroom,
    pub(super) places: Arc<Semaphore>,
}

impl Reader {
    pub(super) async fn run(self, stream: Stream) -> LaneError {
        let mut reader = BufReader::with_capacity(GATHER_BYTES, stream);
        loop {
            if let Err(error) = self.read_one(&mut reader).await {
                return error;
            }
        }
    }

    async fn read_one(&self, reader: &mut BufReader<Stream>) -> Result<(), LaneError> {
        let length = frame::read_length(reader, self.lane, self.limits.silence).await?;
        let wait = self
            .pace
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .charge(length.unwrap_or(0), Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let Some(length) = length else { return Ok(()) };
        // room first, then the bytes: whoever sends waits while its messages are not taken
        let permits = u32::try_from(length).unwrap_or(u32::MAX);
        let budget = Arc::clone(&self.budget).acquire_many_owned(permits).await;
        let budget = budget.map_err(|_| LaneError::Ended)?;
        let bytes = frame::read_body(reader, length, self.limits.stall).await?;
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.map_err(|_| LaneError::Ended)?;
        self.room.put((self.brand, self.lane), bytes, budget, place);
        Ok(())
    }
}

pub(super) async fn write_lane(
    mut stream: Stream,
    lane: Lane,
    mut queued: mpsc::Receiver<Queued>,
    limits: Limits,
) -> LaneError {
    let mut gathered = Vec::with_capacity(2 * GATHER_BYTES);
    loop {
        let first = match lane {
            Lane::Brief => timeout(limits.heartbeat, queued.recv()).await,
            Lane::Bulk => Ok(queued.recv().await),
        };
        let written = match first {
            Ok(Some(first)) => {
                write_queued(&mut stream, first, &mut queued, &mut gathered, limits.stall).await
            }
            Ok(None) => Err(LaneError::Ended),
            Err(_) => frame::write_bytes(&mut stream, &frame::HEARTBEAT, limits.stall).await,
        };
        let flushed = match written {
            Ok(()) => timeout(limits.stall, stream.flush()).await,
            Err(error) => return error,
        };
        match flushed {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return LaneError::Ended,
            Err(_) => return LaneError::Stalled,
        }
    }
}

/// Writes a message and, together with it, small ones that already wait behind it.
async fn write_queued(
    stream: &mut Stream,
    first: Queued,
    queued: &mut mpsc::Receiver<Queued>,
    gathered: &mut Vec<u8>,
    stall: Duration,
) -> Result<(), LaneError> {
    let mut next = Some(first);
    while let Some(message) = next {
        gathered.clear();
        gathered.extend(frame::length_prefix(&message.bytes));
        if message.bytes.len() > GATHER_BYTES {
            frame::write_bytes(stream, gathered, stall).await?;
            frame::write_bytes(stream, &message.bytes, stall).await?;
            return Ok(());
        }
        gathered.extend_from_slice(&message.bytes);
        next = None;
        while gathered.len() < GATHER_BYTES
            && let Ok(message) = queued.try_recv()
        {
            if message.bytes.len() > GATHER_BYTES {
                next = Some(message);
                break;
            }
            gathered.extend(frame::length_prefix(&message.bytes));
            gathered.extend_from_slice(&message.bytes);
        }
        frame::write_bytes(stream, gathered, stall).await?;
    }
    Ok(())
}
