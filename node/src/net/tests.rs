use std::time::Instant;

use futures::{AsyncWriteExt as _, StreamExt as _};
use libp2p::swarm::SwarmEvent;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::*;

const PATIENCE: Duration = Duration::from_secs(180);

fn brand(name: &str) -> BrandId {
    BrandId::new(name).unwrap()
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn quick() -> Limits {
    Limits {
        queued_bytes: MESSAGE_MAX,
        received_bytes: MESSAGE_MAX,
        heartbeat: Duration::from_millis(50),
        // threads that get no processor for seconds are no silence
        silence: Duration::from_secs(60),
        redial_least: Duration::from_millis(20),
        redial_most: Duration::from_millis(200),
        ..Limits::default()
    }
}

struct Node {
    handle: NetworkHandle,
    inbox: Inbox,
    counters: Counters,
}

impl Node {
    /// A node whose seed is `seed`, with peers given by name, seed and address.
    async fn start(seed: u8, listen: SocketAddr, peers: &[(&str, u8, SocketAddr)]) -> Self {
        Self::start_with(seed, listen, peers, quick()).await
    }

    /// The same within these limits.
    async fn start_with(
        seed: u8,
        listen: SocketAddr,
        peers: &[(&str, u8, SocketAddr)],
        limits: Limits,
    ) -> Self {
        let counters = Counters::default();
        let peers = peers.iter().map(|(name, seed, address)| Peer {
            brand: brand(name),
            public_key: public_key([*seed; 32]),
            address: *address,
        });
        let config = NetworkConfig {
            identity_seed: [seed; 32],
            listen,
            peers: peers.collect(),
            limits,
            counters: counters.clone(),
        };
        let (handle, inbox) = Network::start(config).await.unwrap();
        Self { handle, inbox, counters }
    }

    async fn next(&mut self) -> Inbound {
        timeout(PATIENCE, self.inbox.recv())
            .await
            .expect("nothing came")
            .expect("the network ended")
    }

    async fn next_message(&mut self) -> (BrandId, Vec<u8>) {
        loop {
            if let Inbound::Message { from, bytes } = self.next().await {
                return (from, bytes);
            }
        }
    }

    async fn until_connected(&mut self, name: &str) {
        while self.next().await != Inbound::Connected(brand(name)) {}
    }

    async fn until_counted(&self, name: &'static str) {
        let deadline = Instant::now() + PATIENCE;
        while self.counters.counter(name).get() == 0 {
            assert!(Instant::now() < deadline, "{name} is still 0");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Two nodes, `a` (seed 1) and `b` (seed 2), connected.
async fn pair() -> (Node, Node) {
    pair_with(quick()).await
}

async fn pair_with(limits: Limits) -> (Node, Node) {
    let mut a = Node::start_with(1, loopback(0), &[("b", 2, loopback(9))], limits.clone()).await;
    let at_a = a.handle.local_address();
    let mut b = Node::start_with(2, loopback(0), &[("a", 1, at_a)], limits).await;
    b.until_connected("a").await;
    a.until_connected("b").await;
    (a, b)
}

/// A brand that joins is let in while the network runs, and one whose key changed by its new key alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_come_and_change_their_keys_while_the_network_runs() {
    let (mut a, b) = pair().await;
    let at_a = a.handle.local_address();
    let mut c = Node::start(3, loopback(0), &[("a", 1, at_a)]).await;
    a.until_counted("network_strangers_refused").await;
    let peer = |name: &str, seed: u8, address| Peer {
        brand: brand(name),
        public_key: public_key([seed; 32]),
        address,
    };
    let own = peer("d", 1, at_a);
    a.handle.set_peers(vec![peer("c", 3, loopback(9)), own]).await;
    c.until_connected("a").await;
    a.until_connected("c").await;
    // who was connected stays so
    b.handle.send(brand("a"), vec![7]).unwrap();
    assert_eq!(a.next_message().await, (brand("b"), vec![7]));

    let mut again = Node::start(4, loopback(0), &[("a", 1, at_a)]).await;
    a.handle.set_peers(vec![peer("c", 4, again.handle.local_address())]).await;
    again.until_connected("a").await;
    while c.next().await != Inbound::Disconnected(brand("a")) {}
    again.handle.send(brand("a"), vec![8]).unwrap();
    assert_eq!(a.next_message().await, (brand("c"), vec![8]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_exchange_messages_of_every_size() {
    let (mut a, mut b) = pair().await;
    for length in [1, 1000, BRIEF_MAX, BRIEF_MAX + 1, MESSAGE_MAX] {
        let message: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        a.handle.send(brand("b"), message.clone()).unwrap();
        assert!(b.next_message().await == (brand("a"), message.clone()), "{length} to b");
        b.handle.send(brand("a"), message.clone()).unwrap();
        assert!(a.next_message().await == (brand("b"), message), "{length} to a");
    }
    let refused = |length: usize| a.handle.send(brand("b"), vec![0; length]);
    assert_eq!(refused(0), Err(SendError::WrongLength { found: 0 }));
    let found = MESSAGE_MAX + 1;
    assert_eq!(refused(found), Err(SendError::WrongLength { found }));
    let unknown = a.handle.send(brand("c"), vec![1]);
    assert_eq!(unknown, Err(SendError::UnknownBrand(brand("c"))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_refused_and_members_go_on() {
    let (a, mut b) = pair().await;
    let mut stranger = Node::start(66, loopback(0), &[("a", 1, a.handle.local_address())]).await;
    a.until_counted("network_strangers_refused").await;
    assert!(timeout(Duration::from_millis(100), stranger.inbox.recv()).await.is_err());
    let refused = stranger.handle.send(brand("a"), vec![1]);
    assert_eq!(refused, Err(SendError::NotConnected(brand("a"))));
    a.handle.send(brand("b"), b"still here".to_vec()).unwrap();
    assert_eq!(b.next_message().await.1, b"still here");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_a_peers_address_but_not_its_key_gets_nothing() {
    let impostor = Node::start(66, loopback(0), &[("a", 1, loopback(9))]).await;
    let at = impostor.handle.local_address();
    let mut a = Node::start(1, loopback(0), &[("b", 2, at)]).await;
    assert!(timeout(Duration::from_millis(300), a.inbox.recv()).await.is_err());
    assert!(a.handle.connected().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_handshake_harm_nothing() {
    let (a, mut b) = pair().await;
    for garbage in [&[0xff; 4096][..], b"GET / HTTP/1.1\r\n\r\n", b""] {
        let mut socket = tokio::net::TcpStream::connect(a.handle.local_address()).await.unwrap();
        socket.write_all(garbage).await.unwrap();
        socket.shutdown().await.unwrap();
    }
    a.until_counted("network_handshakes_failed").await;
    a.handle.send(brand("b"), b"still here".to_vec()).unwrap();
    assert_eq!(b.next_message().await.1, b"still here");
}

/// A member (seed 3, `evil` to others) that connects properly and then writes `bytes` on a lane.
async fn member_that_writes(to: SocketAddr, on: lanes::Lane, bytes: Vec<u8>) {
    let members = BTreeMap::from([(
        identity::PublicKey::from(keypair([1; 32]).public()).to_peer_id(),
        brand("a"),
    )]);
    let mut swarm = libp2p::SwarmBuilder::with_existing_identity(keypair([3; 32]).into())
        .with_tokio()
        .with_tcp(
            libp2p::tcp::Config::default(),
            libp2p::noise::Config::new,
            libp2p::yamux::Config::default,
        )
        .unwrap()
        .with_behaviour(|_| lanes::Behaviour::new(members))
        .unwrap()
        .build();
    let address = format!("/ip4/127.0.0.1/tcp/{}", to.port());
    swarm.dial(address.parse::<libp2p::Multiaddr>().unwrap()).unwrap();
    let mut streams = Vec::new();
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::Behaviour((_, _, lanes::LaneEvent::Opened(lane, mut stream))) => {
                if lane == on {
                    // it may be cut off before all is written
                    let _ = stream.write_all(&bytes).await;
                    let _ = stream.flush().await;
                }
                streams.push(stream);
            }
            SwarmEvent::ConnectionClosed { .. } => return,
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_no_node_would_send_cost_the_connection_only() {
    let brief = u32::try_from(BRIEF_MAX).unwrap() + 1;
    for (lane, bytes) in [
        (lanes::Lane::Brief, u32::MAX.to_be_bytes().to_vec()),
        (lanes::Lane::Brief, brief.to_be_bytes().to_vec()),
        (lanes::Lane::Bulk, u32::MAX.to_be_bytes().to_vec()),
        (lanes::Lane::Bulk, vec![0; 4]),
        (lanes::Lane::Bulk, b"not a frame at all".to_vec()),
    ] {
        let peers = [("b", 2, loopback(9)), ("evil", 3, loopback(9))];
        let mut a = Node::start(1, loopback(0), &peers).await;
        let at_a = a.handle.local_address();
        let mut b = Node::start(2, loopback(0), &[("a", 1, at_a)]).await;
        timeout(PATIENCE, member_that_writes(at_a, lane, bytes)).await.expect("not cut off");
        a.until_counted("network_protocol_violations").await;
        b.until_connected("a").await;
        b.handle.send_when_possible(brand("a"), b"unharmed".to_vec()).await.unwrap();
        assert_eq!(a.next_message().await, (brand("b"), b"unharmed".to_vec()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_restarts_elsewhere_is_found_again() {
    let (mut a, b) = pair().await;
    let at_a = a.handle.local_address();
    b.handle.shut_down().await;
    assert_eq!(a.next().await, Inbound::Disconnected(brand("b")));
    assert_eq!(a.handle.send(brand("b"), vec![1]), Err(SendError::NotConnected(brand("b"))));

    // it does not know where `a` is, so only `a` can dial
    let mut b = Node::start(2, loopback(0), &[("a", 1, loopback(9))]).await;
    a.handle.set_address(brand("b"), b.handle.local_address()).await;
    a.until_connected("b").await;
    a.handle.send(brand("b"), b"again".to_vec()).unwrap();
    assert_eq!(b.next_message().await, (brand("a"), b"again".to_vec()));

    // the same the other way: a listener that stays, a peer that comes back and dials
    b.handle.shut_down().await;
    let b = Node::start(2, loopback(0), &[("a", 1, at_a)]).await;
    a.until_connected("b").await;
    drop(b);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_keep_an_idle_connection_and_silence_ends_one() {
    let limits = Limits { silence: Duration::from_secs(4), ..quick() };
    let (mut a, _b) = pair_with(limits.clone()).await;
    assert!(timeout(2 * limits.silence, a.inbox.recv()).await.is_err());

    let mut a = Node::start_with(1, loopback(0), &[("mute", 3, loopback(9))], limits).await;
    let at_a = a.handle.local_address();
    let mute = member_that_writes(at_a, lanes::Lane::Brief, frame::HEARTBEAT.to_vec());
    let mute = tokio::spawn(mute);
    a.until_connected("mute").await;
    assert_eq!(a.next().await, Inbound::Disconnected(brand("mute")));
    timeout(PATIENCE, mute).await.expect("not cut off").unwrap();
    assert_eq!(a.counters.counter("network_protocol_violations").get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_does_not_read_holds_back_the_sender_and_loses_nothing() {
    let (a, mut b) = pair().await;
    let message = |number: u32| {
        let mut bytes = vec![0; 1 << 20];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        bytes
    };
    let mut sent = 0;
    let deadline = Instant::now() + PATIENCE;
    // our queue, the peer's budget, and what is on the way
    let most = (quick().queued_bytes + quick().received_bytes) >> 20;
    // room is freed while the peer's budget fills, so "full" must last to be meant
    let mut full_since = None;
    let lasts = |since: Instant| since.elapsed() >= Duration::from_millis(200);
    while (sent as usize) < most - 1 || !full_since.is_some_and(lasts) {
        assert!(Instant::now() < deadline, "{sent} MiB were taken, and it is not full");
        match a.handle.send(brand("b"), message(sent)) {
            Ok(()) => (sent, full_since) = (sent + 1, None),
            Err(SendError::QueueFull(_)) => {
                full_since.get_or_insert_with(Instant::now);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!((most - 1..=most + 64).contains(&(sent as usize)), "{sent} MiB were taken");
    // the other lane is free
    a.handle.send(brand("b"), b"brief".to_vec()).unwrap();
    let mut expected = 0;
    let mut brief_after = None;
    while expected < sent || brief_after.is_none() {
        let (_, bytes) = b.next_message().await;
        if bytes == b"brief" {
            brief_after = Some(expected);
        } else {
            assert_eq!(bytes[..4], expected.to_be_bytes(), "in order and once");
            expected += 1;
        }
    }
    assert!(brief_after.unwrap() < sent, "a brief message overtakes what waits");
}

#[tokio::test]
async fn a_wrong_configuration_is_refused() {
    let peer = |name: &str, key| Peer { brand: brand(name), public_key: key, address: loopback(9) };
    let start = |peers: Vec<Peer>, limits| {
        Network::start(NetworkConfig {
            identity_seed: [1; 32],
            listen: loopback(0),
            peers,
            limits,
            counters: Counters::default(),
        })
    };
    let other = public_key([2; 32]);
    for twice in [
        vec![peer("a", public_key([1; 32]))],
        vec![peer("b", other), peer("c", other)],
        vec![peer("b", other), peer("b", public_key([3; 32]))],
    ] {
        assert!(matches!(start(twice, quick()).await, Err(StartError::Duplicate { .. })));
    }
    let small = Limits { queued_bytes: 1, ..quick() };
    assert!(matches!(start(vec![], small).await, Err(StartError::Limits)));
    let taken = std::net::TcpListener::bind(loopback(0)).unwrap();
    let config = NetworkConfig {
        identity_seed: [1; 32],
        listen: taken.local_addr().unwrap(),
        peers: vec![],
        limits: quick(),
        counters: Counters::default(),
    };
    assert!(matches!(Network::start(config).await, Err(StartError::Listen { .. })));
}
