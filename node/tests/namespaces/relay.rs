//! What stands between the nodes' namespaces: a relay in this process that every connection from one node to
//! another passes, and that makes the way between two of them slow, silent or unreliable.
//!
//! It forwards bytes of TCP connections and knows nothing of what they mean. A TCP stream cannot lack bytes in its
//! middle, so what is lost here is what a broken connection loses: a piece of it, and everything behind.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// Bytes that are taken at once.
const PIECE: usize = 16 * 1024;
/// Pieces that may be on their way: what is more waits with the sender, as on a line that is full.
const UNDER_WAY: usize = 256;

/// How the way from one node to another is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// How long every piece takes.
    pub delay: Duration,
    /// Whether nothing arrives any more, and nobody is told.
    pub silent: bool,
    /// Of a thousand pieces so many are lost, each with its connection.
    pub lost_per_mille: u64,
}

type Ways = BTreeMap<(u8, u8), watch::Sender<Way>>;

/// The relay: a listener for each node.
pub struct Relay {
    ways: Arc<Ways>,
}

/// Which node an address belongs to.
pub type NodeOf = fn(IpAddr) -> Option<u8>;

impl Relay {
    /// Listens for each node at its first address, and forwards to its second.
    pub async fn start(nodes: &[(u8, SocketAddr, SocketAddr)], node_of: NodeOf) -> Self {
        let numbers: Vec<u8> = nodes.iter().map(|(number, ..)| *number).collect();
        let pairs = numbers.iter().flat_map(|from| numbers.iter().map(move |to| (*from, *to)));
        let ways: Arc<Ways> =
            Arc::new(pairs.map(|pair| (pair, watch::Sender::new(Way::default()))).collect());
        // SplitMix64, so that a run's losses can be had again
        let chance = Arc::new(Mutex::new(1_u64));
        for (to, listen, forward) in nodes.iter().copied() {
            let listener = TcpListener::bind(listen).await.unwrap();
            let (ways, chance) = (Arc::clone(&ways), Arc::clone(&chance));
            tokio::spawn(async move {
                while let Ok((stream, source)) = listener.accept().await {
                    let Some(from) = node_of(source.ip()) else { continue };
                    let there = ways[&(from, to)].subscribe();
                    let back = ways[&(to, from)].subscribe();
                    tokio::spawn(connection(stream, forward, there, back, Arc::clone(&chance)));
                }
            });
        }
        Self { ways }
    }

    /// Makes the way from one node to another so, for connections that are open as well.
    pub fn set(&self, from: u8, to: u8, way: Way) {
        self.ways[&(from, to)].send_replace(way);
    }

    /// Makes every way between two groups so, in both directions.
    pub fn set_between(&self, one: &[u8], other: &[u8], way: Way) {
        for (a, b) in one.iter().flat_map(|a| other.iter().map(move |b| (*a, *b))) {
            self.set(a, b, way);
            self.set(b, a, way);
        }
    }
}

async fn connection(
    stream: TcpStream,
    forward: SocketAddr,
    mut there: watch::Receiver<Way>,
    back: watch::Receiver<Way>,
    chance: Arc<Mutex<u64>>,
) {
    // who calls into silence waits, as for packets that nobody answers
    if there.wait_for(|way| !way.silent).await.is_err() {
        return;
    }
    let Ok(target) = TcpStream::connect(forward).await else { return };
    let _ = (stream.set_nodelay(true), target.set_nodelay(true));
    let (from_caller, to_caller) = stream.into_split();
    let (from_called, to_called) = target.into_split();
    tokio::select! {
        // one direction that breaks takes the other with it
        () = carry(from_caller, to_called, there, Arc::clone(&chance)) => {}
        () = carry(from_called, to_caller, back, chance) => {}
    }
}

/// Carries one direction until it ends or breaks.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut way: watch::Receiver<Way>,
    chance: Arc<Mutex<u64>>,
) {
    let (sender, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let delays = way.clone();
    let read = async move {
        let mut buffer = vec![0; PIECE];
        loop {
            let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
            let due = Instant::now() + delays.borrow().delay;
            if sender.send((due, buffer[..read].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((due, piece)) = pieces.recv().await {
            sleep_until(due).await;
            if way.wait_for(|way| !way.silent).await.is_err() {
                return;
            }
            let lost = way.borrow().lost_per_mille;
            if next(&chance) % 1000 < lost || to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        // at the end of what was read, and at once where it breaks
        () = write => {}
        () = async {
            read.await;
            std::future::pending::<()>().await;
        } => {}
    }
}

fn next(chance: &Mutex<u64>) -> u64 {
    let mut state = chance.lock().unwrap();
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
