//! The task that owns the connections: dials, accepts, closes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, ListenError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, SwarmBuilder, identity, noise, tcp, yamux};
use protocol::codec::MESSAGE_MAX;
use protocol::ids::BrandId;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;

use super::frame::LaneError;
use super::inbox::Waitroom;
use super::lanes::{Behaviour, Lane, LaneEvent, Refused};
use super::pace::Pace;
use super::tasks::{LaneTasks, Reader, write_lane};
use super::{
    Command, Connected, Inbox, LaneQueue, Limits, Link, Links, NetworkConfig, NetworkHandle, Peer,
    StartError, keypair,
};
use crate::telemetry::{Counter, Counters};

/// Connections to one peer: two when both dialled at once, or when one is dead and not yet known so.
const CONNECTIONS_MAX: usize = 2;
/// Streams of one connection: two lanes each way, and as many that are being negotiated.
const STREAMS_MAX: usize = 8;
const BAR: Duration = Duration::from_secs(1);
const LISTEN_PATIENCE: Duration = Duration::from_secs(30);
const COMMANDS_MAX: usize = 64;

pub(super) async fn start(config: NetworkConfig) -> Result<(NetworkHandle, Inbox), StartError> {
    let limits = config.limits;
    let enough = limits.queued_bytes.min(limits.received_bytes) >= MESSAGE_MAX;
    if !enough || limits.queued_messages == 0 || limits.messages_per_second == 0 {
        return Err(StartError::Limits);
    }
    let keypair = identity::Keypair::from(keypair(config.identity_seed));
    let local = keypair.public().to_peer_id();
    let mut peers = BTreeMap::new();
    let mut links = BTreeMap::new();
    for peer in config.peers {
        let brand = peer.brand;
        let id = peer_id(&peer)?;
        let state = PeerState::new(brand, peer.address, local < id, &limits);
        let named_twice = links.insert(brand, Vec::new()).is_some();
        if id == local || named_twice || peers.insert(id, state).is_some() {
            return Err(StartError::Duplicate { brand });
        }
    }
    let members = peers.iter().map(|(id, state)| (*id, state.brand)).collect();
    let mut swarm = SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, || {
            let mut config = yamux::Config::default();
            config.set_max_num_streams(STREAMS_MAX);
            config
        })
        .map_err(|_| StartError::Transport)?
        .with_behaviour(|_| Behaviour::new(members))
        .map_err(|_| StartError::Transport)?
        .build();
    let local_address = listen(&mut swarm, config.listen).await?;

    let (commands, command_receiver) = mpsc::channel(COMMANDS_MAX);
    let room = Waitroom::default();
    let (connected, connected_receiver) = watch::channel(Connected::new());
    let (ended, ended_receiver) = mpsc::channel(COMMANDS_MAX);
    let links = Links::new(links.into());
    let driver = Driver {
        swarm,
        peers,
        links: Arc::clone(&links),
        opening: BTreeMap::new(),
        connected,
        generation: 0,
        counts: Counts::new(&config.counters),
        tasks: LaneTasks { room: room.clone(), ended, limits },
        ended: ended_receiver,
    };
    tokio::spawn(driver.run(command_receiver));
    let handle = NetworkHandle { local_address, links, commands };
    let inbox = Inbox::new(room, connected_receiver);
    Ok((handle, inbox))
}

fn peer_id(peer: &Peer) -> Result<PeerId, StartError> {
    let key = identity::ed25519::PublicKey::try_from_bytes(&peer.public_key)
        .map_err(|_| StartError::PublicKey { brand: peer.brand })?;
    Ok(identity::PublicKey::from(key).to_peer_id())
}

async fn listen(
    swarm: &mut Swarm<Behaviour>,
    address: SocketAddr,
) -> Result<SocketAddr, StartError> {
    let failed = |source| StartError::Listen { address, source };
    // libp2p shares its port with any program that does so too: another node would take a part of the
    // connections unnoticed
    drop(std::net::TcpListener::bind(address).map_err(failed)?);
    swarm.listen_on(multiaddr(address)).map_err(|error| failed(std::io::Error::other(error)))?;
    let listening = async {
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::NewListenAddr { address, .. } => {
                    if let Some(address) = socket_address(&address) {
                        return Ok(address);
                    }
                }
                SwarmEvent::ListenerError { error, .. } => return Err(failed(error)),
                SwarmEvent::ListenerClosed { reason: Err(error), .. } => return Err(failed(error)),
                _ => {}
            }
        }
    };
    let late = |_| failed(std::io::ErrorKind::TimedOut.into());
    let chosen = timeout(LISTEN_PATIENCE, listening).await.map_err(late)??;
    // asked to listen everywhere, libp2p names one interface after another: only the port is news
    Ok(SocketAddr::new(address.ip(), chosen.port()))
}

fn multiaddr(address: SocketAddr) -> Multiaddr {
    Multiaddr::from(address.ip()).with(Protocol::Tcp(address.port()))
}

fn socket_address(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    match parts.next()? {
        Protocol::Tcp(port) => Some(SocketAddr::new(ip, port)),
        _ => None,
    }
}

struct PeerState {
    brand: BrandId,
    address: SocketAddr,
    // oldest first
    connections: Vec<ConnectionId>,
    dialing: bool,
    dial_at: Instant,
    pause: Duration,
    // of two nodes that want to connect one goes first, so that they do not cross
    dials_first: bool,
    // of each lane: bytes, and messages, that may wait to be taken
    budgets: BTreeMap<Lane, (Arc<Semaphore>, Arc<Semaphore>)>,
    pace: Arc<Mutex<Pace>>,
}

impl PeerState {
    fn new(brand: BrandId, address: SocketAddr, dials_first: bool, limits: &Limits) -> Self {
        let now = Instant::now();
        let budget = |lane| {
            let bytes = Arc::new(Semaphore::new(limits.received_bytes));
            (lane, (bytes, Waitroom::places()))
        };
        let pace = Pace::new(limits.messages_per_second, limits.bytes_per_second, now);
        let mut state = Self {
            brand,
            address,
            connections: Vec::new(),
            dialing: false,
            dial_at: now,
            pause: limits.redial_least,
            dials_first,
            budgets: Lane::ALL.into_iter().map(budget).collect(),
            pace: Arc::new(Mutex::new(pace)),
        };
        if !dials_first {
            state.dial_at += 2 * limits.redial_least;
        }
        state
    }

    fn dial_later(&mut self, limits: &Limits) {
        let head_start = if self.dials_first { Duration::ZERO } else { 2 * limits.redial_least };
        self.dial_at = Instant::now() + self.pause + head_start;
        self.pause = (2 * self.pause).min(limits.redial_most);
    }
}

struct Counts {
    connections: Counter,
    strangers: Counter,
    handshakes: Counter,
    violations: Counter,
}

impl Counts {
    fn new(counters: &Counters) -> Self {
        Self {
            connections: counters.counter("network_connections"),
            strangers: counters.counter("network_strangers_refused"),
            handshakes: counters.counter("network_handshakes_failed"),
            violations: counters.counter("network_protocol_violations"),
        }
    }
}

struct Driver {
    swarm: Swarm<Behaviour>,
    peers: BTreeMap<PeerId, PeerState>,
    links: Links,
    // lanes of connections that do not have both yet
    opening: BTreeMap<ConnectionId, BTreeMap<Lane, LaneQueue>>,
    connected: watch::Sender<Connected>,
    generation: u64,
    counts: Counts,
    tasks: LaneTasks,
    ended: mpsc::Receiver<(PeerId, ConnectionId, LaneError)>,
}

impl Driver {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let done = loop {
            let dial_at = tokio::time::Instant::from_std(self.next_dial());
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm_event(event),
                Some((peer, connection, error)) = self.ended.recv() => {
                    self.on_lane_ended(peer, connection, &error);
                }
                command = commands.recv() => match command {
                    Some(Command::SetAddress(brand, address)) => self.set_address(brand, address),
                    Some(Command::SetPeers(peers)) => self.set_peers(peers),
                    Some(Command::ShutDown(done)) => break Some(done),
                    None => break None,
                },
                () = tokio::time::sleep_until(dial_at) => self.dial_due(),
            }
        };
        let mut links = self.links.write().unwrap_or_else(PoisonError::into_inner);
        links.values_mut().for_each(Vec::clear);
        drop(links);
        self.connected.send_replace(Connected::new());
        drop(self);
        if let Some(done) = done {
            // the caller may have stopped waiting
            let _ = done.send(());
        }
    }

    fn next_dial(&self) -> Instant {
        let waiting =
            self.peers.values().filter(|peer| peer.connections.is_empty() && !peer.dialing);
        // with nothing to dial any later moment does
        waiting.map(|peer| peer.dial_at).min().unwrap_or_else(|| Instant::now() + BAR)
    }

    fn dial_due(&mut self) {
        let now = Instant::now();
        for (id, peer) in &mut self.peers {
            if !peer.connections.is_empty() || peer.dialing || peer.dial_at > now {
                continue;
            }
            let options = DialOpts::peer_id(*id)
                .addresses(vec![multiaddr(peer.address)])
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .build();
            match self.swarm.dial(options) {
                Ok(()) => peer.dialing = true,
                Err(_) => peer.dial_later(&self.tasks.limits),
            }
        }
    }

    fn set_address(&mut self, brand: BrandId, address: SocketAddr) {
        if let Some(peer) = self.peers.values_mut().find(|peer| peer.brand == brand) {
            peer.address = address;
            peer.pause = self.tasks.limits.redial_least;
            peer.dial_at = Instant::now();
        }
    }

    fn set_peers(&mut self, peers: Vec<Peer>) {
        for peer in peers {
            let brand = peer.brand;
            let Ok(id) = peer_id(&peer) else { continue };
            match self.peers.get(&id) {
                Some(known) if known.brand == brand && known.address == peer.address => {}
                Some(known) if known.brand == brand => self.set_address(brand, peer.address),
                // a key is one brand's, as at the start
                Some(_) => {
                    tracing::warn!(%brand, "a peer has the key of another: it is not let in")
                }
                None => self.let_in(id, &peer),
            }
        }
    }

    /// A peer that was none, or that has another key now: the one it had counts no more.
    fn let_in(&mut self, id: PeerId, peer: &Peer) {
        let local = *self.swarm.local_peer_id();
        if id == local {
            return;
        }
        let former: Vec<PeerId> =
            self.peers.iter().filter(|(_, it)| it.brand == peer.brand).map(|(id, _)| *id).collect();
        for former in former {
            self.swarm.behaviour_mut().shut_out(&former);
            let connections = self.peers.get(&former).map(|it| it.connections.clone());
            for connection in connections.unwrap_or_default() {
                self.close(former, connection, false);
            }
            self.peers.remove(&former);
        }
        self.swarm.behaviour_mut().let_in(id, peer.brand);
        let mut links = self.links.write().unwrap_or_else(PoisonError::into_inner);
        links.entry(peer.brand).or_default();
        drop(links);
        let state = PeerState::new(peer.brand, peer.address, local < id, &self.tasks.limits);
        self.peers.insert(id, state);
    }

    fn on_swarm_event(&mut self, event: SwarmEvent<(PeerId, ConnectionId, LaneEvent)>) {
        match event {
            SwarmEvent::Behaviour((peer, connection, event)) => {
                self.on_lane_event(peer, connection, event);
            }
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, .. } => {
                self.counts.connections.increment();
                let Some(peer) = self.peers.get_mut(&peer_id) else { return };
                peer.dialing = false;
                peer.connections.push(connection_id);
                if peer.connections.len() > CONNECTIONS_MAX {
                    self.swarm.close_connection(peer.connections.remove(0));
                }
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, .. } => {
                self.forget(peer_id, connection_id);
            }
            SwarmEvent::OutgoingConnectionError { peer_id: Some(id), error, .. } => {
                let Some(peer) = self.peers.get_mut(&id) else { return };
                if matches!(error, DialError::DialPeerConditionFalse(_)) {
                    return;
                }
                if let DialError::WrongPeerId { .. } = error {
                    tracing::warn!(brand = %peer.brand, "another node answers at the address of a peer");
                }
                peer.dialing = false;
                peer.dial_later(&self.tasks.limits);
            }
            SwarmEvent::IncomingConnectionError { peer_id, error, .. } => {
                self.on_refused(peer_id, &error);
            }
            _ => {}
        }
    }

    fn on_refused(&self, peer: Option<PeerId>, error: &ListenError) {
        let ListenError::Denied { cause } = error else {
            self.counts.handshakes.increment();
            return;
        };
        if let (Some(Refused::Stranger), Some(peer)) = (cause.downcast_ref(), peer) {
            self.counts.strangers.increment();
            // the first and then fewer and fewer of them: whoever dials must not fill the log
            if self.counts.strangers.get().is_power_of_two() {
                let count = self.counts.strangers.get();
                tracing::warn!(%peer, count, "refused the connection of a stranger");
            }
        }
    }

    fn on_lane_event(&mut self, id: PeerId, connection: ConnectionId, event: LaneEvent) {
        let Some(peer) = self.peers.get(&id) else { return };
        match event {
            LaneEvent::Accepted(lane, stream) => {
                let Some((budget, places)) = peer.budgets.get(&lane) else { return };
                let reader = Reader {
                    brand: peer.brand,
                    lane,
                    budget: Arc::clone(budget),
                    pace: Arc::clone(&peer.pace),
                    limits: self.tasks.limits.clone(),
                    room: self.tasks.room.clone(),
                    places: Arc::clone(places),
                };
                self.tasks.spawn(id, connection, reader.run(stream));
            }
            LaneEvent::Opened(lane, stream) => {
                let limits = self.tasks.limits.clone();
                let (queue, queued) = mpsc::channel(limits.queued_messages);
                let budget = Arc::new(Semaphore::new(limits.queued_bytes));
                self.tasks.spawn(id, connection, write_lane(stream, lane, queued, limits));
                let lanes = self.opening.entry(connection).or_default();
                lanes.insert(lane, LaneQueue { queue, budget });
                self.link_when_open(id, connection);
            }
            LaneEvent::NotOpened => {
                tracing::warn!(brand = %peer.brand, "closing a connection: its lanes do not open");
                self.close(id, connection, false);
            }
            LaneEvent::AcceptedTwice => {
                tracing::warn!(brand = %peer.brand, "closing a connection: a lane came twice");
                self.close(id, connection, true);
            }
        }
    }

    fn link_when_open(&mut self, id: PeerId, connection: ConnectionId) {
        let Some(lanes) = self.opening.get(&connection) else { return };
        let (Some(brief), Some(bulk)) = (lanes.get(&Lane::Brief), lanes.get(&Lane::Bulk)) else {
            return;
        };
        let link = Link { connection, brief: brief.clone(), bulk: bulk.clone() };
        self.opening.remove(&connection);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.pause = self.tasks.limits.redial_least;
        let brand = peer.brand;
        tracing::info!(%brand, "connected");
        self.links
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(brand)
            .or_default()
            .push(link);
        self.announce(brand);
    }

    /// Tells the inbox which connection a brand is sent to by now.
    fn announce(&mut self, brand: BrandId) {
        let links = self.links.read().unwrap_or_else(PoisonError::into_inner);
        let linked = links.get(&brand).is_some_and(|links| !links.is_empty());
        self.generation += 1;
        let generation = self.generation;
        self.connected.send_modify(|connected| {
            if linked {
                connected.insert(brand, generation);
            } else {
                connected.remove(&brand);
            }
        });
    }

    fn on_lane_ended(&mut self, id: PeerId, connection: ConnectionId, error: &LaneError) {
        let Some(peer) = self.peers.get(&id) else { return };
        if peer.connections.contains(&connection) {
            tracing::warn!(brand = %peer.brand, %error, "closing a connection");
            self.close(id, connection, error.is_violation());
        }
    }

    fn close(&mut self, id: PeerId, connection: ConnectionId, violation: bool) {
        if violation {
            self.counts.violations.increment();
            self.swarm.behaviour_mut().bar(id, BAR);
        }
        self.swarm.close_connection(connection);
        self.unlink(id, connection);
    }

    /// Stops sending over a connection.
    fn unlink(&mut self, id: PeerId, connection: ConnectionId) {
        self.opening.remove(&connection);
        let Some(peer) = self.peers.get(&id) else { return };
        let brand = peer.brand;
        let mut links = self.links.write().unwrap_or_else(PoisonError::into_inner);
        let Some(of_brand) = links.get_mut(&brand) else { return };
        let before = of_brand.len();
        of_brand.retain(|link| link.connection != connection);
        let changed = of_brand.len() != before;
        drop(links);
        if changed {
            self.announce(brand);
        }
    }

    fn forget(&mut self, id: PeerId, connection: ConnectionId) {
        self.unlink(id, connection);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.connections.retain(|known| *known != connection);
        if peer.connections.is_empty() {
            tracing::info!(brand = %peer.brand, "disconnected");
            peer.dial_later(&self.tasks.limits);
        }
    }
}
