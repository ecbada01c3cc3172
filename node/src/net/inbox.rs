//! What peers sent, taken from each in turn: whoever sends more waits longer, and nobody else does.
//!
//! Deficit round robin (Shreedhar and Varghese, SIGCOMM 1995): a peer's turn is worth [`QUANTUM`], and
//! a message costs its bytes and [`MESSAGE_COST`] besides, because also an empty one has a signature to
//! be checked. While one peer alone has something to say, it is served as fast as it speaks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::ids::BrandId;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use super::lanes::Lane;
use super::{Connected, Inbound};

/// Messages of one peer's lane that wait to be taken.
const WAITING_MAX: usize = 1024;
/// What a peer's turn is worth, in bytes.
const QUANTUM: usize = 64 * 1024;
/// What a message costs beyond its bytes.
const MESSAGE_COST: usize = 4 * 1024;

/// A message with its shares of the peer's budgets.
struct Received {
    bytes: Vec<u8>,
    _budget: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
}

#[derive(Default)]
struct Waiting {
    // brief ones first: a vote does not wait behind a block
    brief: VecDeque<Received>,
    bulk: VecDeque<Received>,
    deficit: usize,
}

impl Waiting {
    fn lane(&mut self) -> &mut VecDeque<Received> {
        if self.brief.is_empty() { &mut self.bulk } else { &mut self.brief }
    }
    fn cost(&mut self) -> Option<usize> {
        Some(self.lane().front()?.bytes.len() + MESSAGE_COST)
    }
}

#[derive(Default)]
struct Queues {
    peers: BTreeMap<BrandId, Waiting>,
    // those with something to say, the one whose turn it is first
    turns: VecDeque<BrandId>,
}

impl Queues {
    fn push(&mut self, from: BrandId, lane: Lane, received: Received) {
        let waiting = self.peers.entry(from).or_default();
        if waiting.brief.is_empty() && waiting.bulk.is_empty() {
            self.turns.push_back(from);
        }
        match lane {
            Lane::Brief => waiting.brief.push_back(received),
            Lane::Bulk => waiting.bulk.push_back(received),
        }
    }

    fn pop(&mut self) -> Option<(BrandId, Received)> {
        loop {
            let from = *self.turns.front()?;
            let is_alone = self.turns.len() == 1;
            let waiting = self.peers.entry(from).or_default();
            let Some(cost) = waiting.cost() else {
                // whoever has nothing to say saves nothing up
                waiting.deficit = 0;
                self.turns.pop_front();
                continue;
            };
            if waiting.deficit < cost && !is_alone {
                waiting.deficit += QUANTUM;
                self.turns.rotate_left(1);
                continue;
            }
            waiting.deficit = waiting.deficit.saturating_sub(cost);
            let received = waiting.lane().pop_front()?;
            if waiting.cost().is_none() {
                waiting.deficit = 0;
                self.turns.pop_front();
            }
            return Some((from, received));
        }
    }
}

/// What the readers of all lanes fill.
#[derive(Clone, Default)]
pub(super) struct Waitroom {
    queues: Arc<Mutex<Queues>>,
    filled: Arc<Notify>,
}

impl Waitroom {
    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The places of one lane.
    pub(super) fn places() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(WAITING_MAX))
    }

    /// Puts a message where it waits for its turn. The lane's place and its share of the budget are
    /// given back when it is taken.
    pub(super) fn put(
        &self,
        (from, lane): (BrandId, Lane),
        bytes: Vec<u8>,
        budget: OwnedSemaphorePermit,
        place: OwnedSemaphorePermit,
    ) {
        self.queues().push(from, lane, Received { bytes, _budget: budget, _place: place });
        self.filled.notify_one();
    }

    fn take(&self) -> Option<Inbound> {
        let (from, received) = self.queues().pop()?;
        Some(Inbound::Message { from, bytes: received.bytes })
    }

    /// Messages and bytes that wait, of all peers.
    fn waiting(&self) -> (usize, usize) {
        let queues = self.queues();
        let all = queues.peers.values().flat_map(|peer| peer.brief.iter().chain(&peer.bulk));
        all.fold((0, 0), |(count, bytes), one| (count + 1, bytes + one.bytes.len()))
    }
}

/// What peers sent: each peer's messages of a lane in order, the peers in turn.
pub struct Inbox {
    room: Waitroom,
    connected: watch::Receiver<Connected>,
    seen: Connected,
    changes: VecDeque<Inbound>,
    network_ended: bool,
}

impl Inbox {
    pub(super) fn new(room: Waitroom, connected: watch::Receiver<Connected>) -> Self {
        let (seen, changes) = (Connected::new(), VecDeque::new());
        Self { room, connected, seen, changes, network_ended: false }
    }

    /// The next message or change; none when the network has ended. Loses nothing when dropped while
    /// waiting. A peer's first messages may come before its [`Inbound::Connected`].
    pub async fn recv(&mut self) -> Option<Inbound> {
        loop {
            if !self.network_ended && self.connected.has_changed().unwrap_or(true) {
                self.network_ended = self.connected.has_changed().is_err();
                self.note_changes();
            }
            if let Some(change) = self.changes.pop_front() {
                return Some(change);
            }
            if let Some(message) = self.room.take() {
                return Some(message);
            }
            if self.network_ended {
                return None;
            }
            // a message put since then has left its notice
            tokio::select! {
                _ = self.connected.changed() => {
                    self.connected.mark_changed();
                }
                () = self.room.filled.notified() => {}
            }
        }
    }

    /// Messages and bytes that wait to be taken.
    #[must_use]
    pub fn waiting(&self) -> (usize, usize) {
        self.room.waiting()
    }

    fn note_changes(&mut self) {
        let now = self.connected.borrow_and_update().clone();
        for (brand, connection) in &self.seen {
            if now.get(brand) != Some(connection) {
                self.changes.push_back(Inbound::Disconnected(*brand));
            }
        }
        for (brand, connection) in &now {
            if self.seen.get(brand) != Some(connection) {
                self.changes.push_back(Inbound::Connected(*brand));
            }
        }
        self.seen = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brand(name: &str) -> BrandId {
        BrandId::new(name).unwrap()
    }

    async fn put(room: &Waitroom, from: &str, lane: Lane, bytes: usize) {
        let permit = || Arc::new(Semaphore::new(1)).acquire_owned();
        let (budget, place) = (permit().await.unwrap(), permit().await.unwrap());
        room.put((brand(from), lane), vec![0; bytes], budget, place);
    }

    fn senders(room: &Waitroom, count: usize) -> Vec<String> {
        let next = || match room.take() {
            Some(Inbound::Message { from, .. }) => from.to_string(),
            other => panic!("{other:?}"),
        };
        std::iter::repeat_with(next).take(count).collect()
    }

    #[tokio::test]
    async fn whoever_floods_waits_and_the_others_do_not() {
        let room = Waitroom::default();
        for _ in 0..1000 {
            put(&room, "evil", Lane::Brief, 100).await;
        }
        for name in ["b", "c"] {
            put(&room, name, Lane::Brief, 200).await;
        }
        let first = senders(&room, 64);
        assert!(first.iter().any(|from| from == "b") && first.iter().any(|from| from == "c"));
        // and is served whole when nobody else has anything to say
        assert_eq!(senders(&room, 1002 - 64).iter().filter(|from| *from != "evil").count(), 0);
        assert_eq!(room.take(), None);
    }

    /// A megabyte of one costs as many turns as a megabyte of another.
    #[tokio::test]
    async fn a_turn_is_worth_bytes_not_messages() {
        let room = Waitroom::default();
        for _ in 0..8 {
            put(&room, "evil", Lane::Bulk, 1 << 20).await;
        }
        for _ in 0..64 {
            put(&room, "b", Lane::Brief, 4 * 1024).await;
        }
        let order = senders(&room, 72);
        let before = order.iter().rposition(|from| from == "b").unwrap();
        let evil = order[..before].iter().filter(|from| *from == "evil").count();
        assert!(evil <= 1, "{evil} MiB before 256 KiB of another");
    }

    #[tokio::test]
    async fn brief_messages_overtake_and_each_lane_keeps_its_order() {
        let room = Waitroom::default();
        for (lane, bytes) in [(Lane::Bulk, 5), (Lane::Bulk, 6), (Lane::Brief, 1), (Lane::Brief, 2)]
        {
            put(&room, "b", lane, bytes).await;
        }
        let lengths = std::iter::from_fn(|| match room.take()? {
            Inbound::Message { bytes, .. } => Some(bytes.len()),
            _ => None,
        });
        assert_eq!(lengths.collect::<Vec<_>>(), [1, 2, 5, 6]);
        assert_eq!(room.waiting(), (0, 0));
    }
}
