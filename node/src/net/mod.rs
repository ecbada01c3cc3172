//! Messages between the nodes of an alliance: libp2p over TCP, Noise and yamux.
//!
//! Knows: who may connect (the peers of the constitution, by public key), lanes, limits, back-pressure.
//! Does not know what a message means or whether it is valid.
//!
//! - **Lanes.** Each direction of a connection has two long-lived streams: one for messages of at most
//!   [`BRIEF_MAX`] bytes and one for longer ones, so that a vote does not wait behind a block. A
//!   message costs no negotiation and waits for no timer.
//! - **What is promised.** While a connection lasts, the messages of one lane arrive in order and once.
//!   Nothing else is: the two lanes overtake each other, and what was in flight when a connection
//!   broke may or may not have arrived. Callers tolerate loss, repetition and reordering, and say
//!   again on [`Inbound::Connected`] what still matters.
//! - **Back-pressure.** Nothing is unbounded. [`NetworkHandle::send`] fails when the peer's queue is
//!   full, [`NetworkHandle::send_when_possible`] waits. What was received and not yet taken from the
//!   [`Inbox`] is bounded for each peer and lane, then that lane is not read any further; others are.
//! - **Turns.** Messages are taken from the peers in turn, so that one that floods holds up itself.
//! - **Strangers** are refused when their key is known, before any stream; a member that breaks the
//!   framing loses its connection and cannot come back for a second. Both are counted.
//! - A peer that is silent for [`Limits::silence`] (heartbeats included) is disconnected and dialled
//!   again, with growing pauses.
//!
//! Not here yet: peers by name (DNS), and a bound of ours on yamux's receive windows (its own is 1 GiB for a connection, reached only while we read).

mod driver;
mod frame;
mod inbox;
mod lanes;
mod pace;
mod tasks;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

pub use libp2p::bytes::Bytes;
use libp2p::identity;
use protocol::codec::MESSAGE_MAX;
use protocol::ids::BrandId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc, oneshot};

pub use self::inbox::Inbox;

use crate::telemetry::Counters;

/// Most bytes of a message that takes the lane for brief ones.
pub const BRIEF_MAX: usize = 64 * 1024;

/// Another brand's node.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The brand.
    pub brand: BrandId,
    /// Its network identity: an Ed25519 public key.
    pub public_key: [u8; 32],
    /// Where it listens.
    pub address: SocketAddr,
}

/// What a network needs to start.
pub struct NetworkConfig {
    /// Seed of this node's Ed25519 network identity, used for nothing else.
    pub identity_seed: [u8; 32],
    /// Where to listen; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The other members of the alliance.
    pub peers: Vec<Peer>,
    /// How much is held for each peer, and for how long.
    pub limits: Limits,
    /// Where the network counts.
    pub counters: Counters,
}

/// Bounds, each for one peer.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Messages that wait to be sent on one lane.
    pub queued_messages: usize,
    /// Bytes that wait to be sent on one lane; at least [`MESSAGE_MAX`].
    pub queued_bytes: usize,
    /// Bytes received on one lane and not yet taken from the inbox; at least [`MESSAGE_MAX`].
    pub received_bytes: usize,
    /// Messages read in a second, on both lanes, heartbeats included.
    pub messages_per_second: u32,
    /// Bytes read in a second, on both lanes.
    pub bytes_per_second: u32,
    /// Pause after which an idle node shows that it is there.
    pub heartbeat: Duration,
    /// Silence after which a peer counts as gone.
    pub silence: Duration,
    /// How long a begun message may make no progress.
    pub stall: Duration,
    /// First pause before dialling again; doubled up to `redial_most`.
    pub redial_least: Duration,
    /// Longest pause before dialling again.
    pub redial_most: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queued_messages: 4096,
            queued_bytes: 2 * MESSAGE_MAX,
            received_bytes: 2 * MESSAGE_MAX,
            messages_per_second: 100_000,
            bytes_per_second: 512 * 1024 * 1024,
            heartbeat: Duration::from_secs(5),
            silence: Duration::from_secs(20),
            stall: Duration::from_secs(60),
            redial_least: Duration::from_millis(200),
            redial_most: Duration::from_secs(10),
        }
    }
}

/// What comes from the network.
#[derive(Debug, PartialEq, Eq)]
pub enum Inbound {
    /// A message, 1 to [`MESSAGE_MAX`] bytes.
    Message {
        /// The brand whose key the connection proved.
        from: BrandId,
        /// The message.
        bytes: Vec<u8>,
    },
    /// Messages can be sent to this brand. Comes again after every interruption.
    Connected(BrandId),
    /// Messages can no longer be sent to this brand; those in flight may be lost.
    Disconnected(BrandId),
}

/// Why a network could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: is another program using it?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A peer's key is not one.
    #[error("the network key of {brand} is not an Ed25519 public key")]
    PublicKey {
        /// The peer.
        brand: BrandId,
    },
    /// Two peers share a name or a key, or one has this node's.
    #[error("{brand} is named twice among the peers, or has the key of another or of this node")]
    Duplicate {
        /// The peer.
        brand: BrandId,
    },
    /// A bound is smaller than one message.
    #[error(
        "a peer's bounds in bytes must be at least {MESSAGE_MAX}, those in messages at least 1"
    )]
    Limits,
    /// libp2p could not be set up.
    #[error("the network's encryption could not be set up")]
    Transport,
}

/// Why a message was not taken. Nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// No such peer in the constitution.
    #[error("{0} is not a peer of this node")]
    UnknownBrand(BrandId),
    /// The peer cannot be reached at the moment.
    #[error("{0} is not connected: send again once it is")]
    NotConnected(BrandId),
    /// Too much waits for this peer already.
    #[error("too much waits for {0} already: send later")]
    QueueFull(BrandId),
    /// Empty or too long.
    #[error("a message of {found} bytes; 1 to {MESSAGE_MAX} are possible")]
    WrongLength {
        /// Its length.
        found: usize,
    },
}

/// The network's public key for a seed, as peers must list it.
#[must_use]
pub fn public_key(identity_seed: [u8; 32]) -> [u8; 32] {
    keypair(identity_seed).public().to_bytes()
}

fn keypair(mut seed: [u8; 32]) -> identity::ed25519::Keypair {
    match identity::ed25519::SecretKey::try_from_bytes(&mut seed) {
        Ok(secret) => secret.into(),
        Err(_) => unreachable!("any 32 bytes are an Ed25519 seed (RFC 8032, section 5.1.5)"),
    }
}

/// What waits in a lane's queue.
struct Queued {
    bytes: Bytes,
    // gives its bytes back to the lane's budget when the message has been written
    _budget: OwnedSemaphorePermit,
}

/// The sending side of one lane of one connection.
#[derive(Clone)]
struct LaneQueue {
    queue: mpsc::Sender<Queued>,
    budget: Arc<Semaphore>,
}

/// The sending side of one connection.
#[derive(Clone)]
struct Link {
    connection: libp2p::swarm::ConnectionId,
    brief: LaneQueue,
    bulk: LaneQueue,
}

/// The connections to each peer, the newest last.
type Links = Arc<RwLock<BTreeMap<BrandId, Vec<Link>>>>;
/// The brands that can be sent to, each with the number of the connection.
type Connected = BTreeMap<BrandId, u64>;

enum Command {
    SetAddress(BrandId, SocketAddr),
    SetPeers(Vec<Peer>),
    ShutDown(oneshot::Sender<()>),
}

/// Sends to peers. Clones share the network, which ends when the last is dropped.
#[derive(Clone)]
pub struct NetworkHandle {
    local_address: SocketAddr,
    links: Links,
    commands: mpsc::Sender<Command>,
}

impl NetworkHandle {
    /// Where this node listens, with the port the system chose.
    #[must_use]
    pub const fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// Queues a message, at once or not at all.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn send(&self, to: BrandId, bytes: impl Into<Bytes>) -> Result<(), SendError> {
        let bytes = bytes.into();
        let (lane, length) = self.lane(to, &bytes)?;
        let budget = lane.budget.try_acquire_many_owned(length).map_err(|error| match error {
            TryAcquireError::NoPermits => SendError::QueueFull(to),
            TryAcquireError::Closed => SendError::NotConnected(to),
        })?;
        lane.queue.try_send(Queued { bytes, _budget: budget }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => SendError::QueueFull(to),
            mpsc::error::TrySendError::Closed(_) => SendError::NotConnected(to),
        })
    }

    /// Queues a message, waiting for room.
    ///
    /// # Errors
    /// See [`SendError`]; [`SendError::QueueFull`] does not occur.
    pub async fn send_when_possible(
        &self,
        to: BrandId,
        bytes: impl Into<Bytes>,
    ) -> Result<(), SendError> {
        let bytes = bytes.into();
        let (lane, length) = self.lane(to, &bytes)?;
        let gone = SendError::NotConnected(to);
        let Ok(budget) = lane.budget.acquire_many_owned(length).await else { return Err(gone) };
        lane.queue.send(Queued { bytes, _budget: budget }).await.map_err(|_| gone)
    }

    fn lane(&self, to: BrandId, bytes: &Bytes) -> Result<(LaneQueue, u32), SendError> {
        let found = bytes.len();
        let length = match u32::try_from(found) {
            Ok(length) if (1..=MESSAGE_MAX).contains(&found) => length,
            _ => return Err(SendError::WrongLength { found }),
        };
        let links = self.links.read().unwrap_or_else(PoisonError::into_inner);
        let of_brand = links.get(&to).ok_or(SendError::UnknownBrand(to))?;
        let link = of_brand.last().ok_or(SendError::NotConnected(to))?;
        let lane = if found <= BRIEF_MAX { &link.brief } else { &link.bulk };
        Ok((lane.clone(), length))
    }

    /// The brands that can be sent to.
    #[must_use]
    pub fn connected(&self) -> Vec<BrandId> {
        let links = self.links.read().unwrap_or_else(PoisonError::into_inner);
        links.iter().filter(|(_, links)| !links.is_empty()).map(|(brand, _)| *brand).collect()
    }

    /// Where a peer listens from now on; it is dialled there at once unless it is connected.
    pub async fn set_address(&self, brand: BrandId, address: SocketAddr) {
        // fails only when the network has ended, and then there is no one to dial
        let _ = self.commands.send(Command::SetAddress(brand, address)).await;
    }

    /// Lets in and dials peers that were none so far, and others where and by the key that they have now.
    /// Who is not named stays.
    pub async fn set_peers(&self, peers: Vec<Peer>) {
        // fails only when the network has ended, and then there is no one to dial
        let _ = self.commands.send(Command::SetPeers(peers)).await;
    }

    /// Closes every connection and the listener, and returns when that is done.
    pub async fn shut_down(self) {
        let (done, is_done) = oneshot::channel();
        if self.commands.send(Command::ShutDown(done)).await.is_ok() {
            let _ = is_done.await;
        }
    }
}

/// The network of one node.
pub struct Network;

impl Network {
    /// Listens, and begins to dial the peers.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(config: NetworkConfig) -> Result<(NetworkHandle, Inbox), StartError> {
        driver::start(config).await
    }
}

#[cfg(test)]
mod tests;
