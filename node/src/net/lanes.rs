//! The part of libp2p that is ours: who may connect, and the streams of a connection.
//!
//! A connection opens both lanes towards the peer and accepts both from it, once each. Streams are
//! handed out as they are; framing is done elsewhere.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::{IpAddr, Ipv6Addr};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade};
use libp2p::core::{Endpoint, UpgradeInfo};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::handler::{ConnectionEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
    NetworkBehaviour, Stream, SubstreamProtocol, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use protocol::codec::MESSAGE_MAX;
use protocol::ids::BrandId;

use super::BRIEF_MAX;

/// Connections whose key is not known yet, at most.
const NEGOTIATING_MAX: usize = 512;
/// And of one address, of IPv6 one /64: all other brands at once, also where they share a machine.
const NEGOTIATING_FROM_ONE_MAX: usize = 32;

/// One of the two streams of a direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    Brief,
    Bulk,
}

impl Lane {
    pub(super) const ALL: [Self; 2] = [Self::Brief, Self::Bulk];

    /// Most bytes of one message.
    pub(super) const fn longest(self) -> usize {
        match self {
            Self::Brief => BRIEF_MAX,
            Self::Bulk => MESSAGE_MAX,
        }
    }
}

impl AsRef<str> for Lane {
    fn as_ref(&self) -> &str {
        match self {
            Self::Brief => "/coalition/0/brief",
            Self::Bulk => "/coalition/0/bulk",
        }
    }
}

/// Opens or accepts some of the lanes.
#[derive(Debug, Clone)]
pub(super) struct LaneUpgrade(Vec<Lane>);

impl UpgradeInfo for LaneUpgrade {
    type Info = Lane;
    type InfoIter = std::vec::IntoIter<Lane>;
    fn protocol_info(&self) -> Self::InfoIter {
        self.0.clone().into_iter()
    }
}

impl InboundUpgrade<Stream> for LaneUpgrade {
    type Output = (Lane, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;
    fn upgrade_inbound(self, stream: Stream, lane: Lane) -> Self::Future {
        ready(Ok((lane, stream)))
    }
}

impl OutboundUpgrade<Stream> for LaneUpgrade {
    type Output = (Lane, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;
    fn upgrade_outbound(self, stream: Stream, lane: Lane) -> Self::Future {
        ready(Ok((lane, stream)))
    }
}

/// What a connection tells.
#[derive(Debug)]
pub(super) enum LaneEvent {
    /// Ours to write.
    Opened(Lane, Stream),
    /// Ours to read.
    Accepted(Lane, Stream),
    /// A lane could not be opened: another version, or the connection is ending.
    NotOpened,
    /// The peer opened a lane twice.
    AcceptedTwice,
}

/// The streams of one connection.
#[derive(Debug)]
pub(super) struct LaneHandler {
    to_open: VecDeque<Lane>,
    accepted: BTreeSet<Lane>,
    events: VecDeque<LaneEvent>,
}

impl LaneHandler {
    fn new() -> Self {
        Self {
            to_open: VecDeque::from(Lane::ALL),
            accepted: BTreeSet::new(),
            events: VecDeque::new(),
        }
    }
}

impl ConnectionHandler for LaneHandler {
    type FromBehaviour = Infallible;
    type ToBehaviour = LaneEvent;
    type InboundProtocol = LaneUpgrade;
    type OutboundProtocol = LaneUpgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<LaneUpgrade> {
        SubstreamProtocol::new(LaneUpgrade(Lane::ALL.to_vec()), ())
    }

    fn connection_keep_alive(&self) -> bool {
        // peers stay connected: the next block comes soon, and a handshake costs round trips
        true
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<LaneUpgrade, (), LaneEvent>> {
        if let Some(lane) = self.to_open.pop_front() {
            let protocol = SubstreamProtocol::new(LaneUpgrade(vec![lane]), ());
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        // the connection polls again after each event it delivers, so no waker is kept
        match self.events.pop_front() {
            Some(event) => Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(event)),
            None => Poll::Pending,
        }
    }

    fn on_behaviour_event(&mut self, event: Infallible) {
        match event {}
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, LaneUpgrade, LaneUpgrade>) {
        let event = match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (lane, stream),
                ..
            }) => {
                if self.accepted.insert(lane) {
                    LaneEvent::Accepted(lane, stream)
                } else {
                    LaneEvent::AcceptedTwice
                }
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: (lane, stream),
                ..
            }) => LaneEvent::Opened(lane, stream),
            ConnectionEvent::DialUpgradeError(_) => LaneEvent::NotOpened,
            _ => return,
        };
        self.events.push_back(event);
    }
}

/// Why a connection was refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("not a member of the alliance")]
    Stranger,
    #[error("it broke the protocol a moment ago")]
    Barred,
    #[error("too many connections have not shown their key yet")]
    TooManyNegotiating,
}

/// The network that a connection comes from.
fn network(from: &Multiaddr) -> Option<IpAddr> {
    from.iter().find_map(|part| match part {
        Protocol::Ip4(v4) => Some(v4.into()),
        // who has one address of a /64 has all of them
        Protocol::Ip6(v6) => match v6.to_canonical() {
            IpAddr::V6(v6) => Some(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into()),
            v4 => Some(v4),
        },
        _ => None,
    })
}

/// Who may connect.
#[derive(Debug)]
pub(super) struct Behaviour {
    members: BTreeMap<PeerId, BrandId>,
    barred: BTreeMap<PeerId, Instant>,
    // by whence they came
    negotiating: BTreeMap<ConnectionId, Option<IpAddr>>,
    events: VecDeque<ToSwarm<(PeerId, ConnectionId, LaneEvent), Infallible>>,
}

impl Behaviour {
    pub(super) fn new(members: BTreeMap<PeerId, BrandId>) -> Self {
        Self {
            members,
            barred: BTreeMap::new(),
            negotiating: BTreeMap::new(),
            events: VecDeque::new(),
        }
    }

    /// From now on this peer is a member.
    pub(super) fn let_in(&mut self, peer: PeerId, brand: BrandId) {
        self.members.insert(peer, brand);
    }

    /// From now on this peer is a stranger.
    pub(super) fn shut_out(&mut self, peer: &PeerId) {
        self.members.remove(peer);
    }

    /// Refuses a member for a while.
    pub(super) fn bar(&mut self, peer: PeerId, duration: Duration) {
        self.barred.insert(peer, Instant::now() + duration);
    }

    fn admit(&mut self, peer: PeerId) -> Result<LaneHandler, ConnectionDenied> {
        if !self.members.contains_key(&peer) {
            return Err(ConnectionDenied::new(Refused::Stranger));
        }
        if self.barred.get(&peer).is_some_and(|until| Instant::now() < *until) {
            return Err(ConnectionDenied::new(Refused::Barred));
        }
        Ok(LaneHandler::new())
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = LaneHandler;
    type ToSwarm = (PeerId, ConnectionId, LaneEvent);

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        from: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let from = network(from);
        let of_one = self.negotiating.values().filter(|other| **other == from).count();
        if of_one >= NEGOTIATING_FROM_ONE_MAX || self.negotiating.len() >= NEGOTIATING_MAX {
            return Err(ConnectionDenied::new(Refused::TooManyNegotiating));
        }
        self.negotiating.insert(connection, from);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<LaneHandler, ConnectionDenied> {
        self.negotiating.remove(&connection);
        self.admit(peer)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<LaneHandler, ConnectionDenied> {
        self.admit(peer)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ListenFailure(failure) = event {
            self.negotiating.remove(&failure.connection_id);
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: LaneEvent,
    ) {
        self.events.push_back(ToSwarm::GenerateEvent((peer, connection, event)));
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, Infallible>> {
        self.events.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever opens connections and never shows a key keeps out nobody but its own address.
    #[test]
    fn half_open_connections_have_a_share_for_each_address() {
        let mut behaviour = Behaviour::new(BTreeMap::new());
        let here: Multiaddr = "/ip4/10.0.0.9/tcp/7001".parse().unwrap();
        let mut number = 0;
        let mut knock = |behaviour: &mut Behaviour, from: &str| {
            number += 1;
            let connection = ConnectionId::new_unchecked(number);
            let from: Multiaddr = from.parse().unwrap();
            let taken = behaviour.handle_pending_inbound_connection(connection, &here, &from);
            taken.is_ok().then_some(connection)
        };
        let mut open = Vec::new();
        for port in 1..1_000 {
            open.extend(knock(&mut behaviour, &format!("/ip4/10.0.0.1/tcp/{port}")));
            knock(&mut behaviour, &format!("/ip6/2001:db8::{port:x}/tcp/{port}"));
        }
        assert_eq!(open.len(), NEGOTIATING_FROM_ONE_MAX);
        assert_eq!(behaviour.negotiating.len(), 2 * NEGOTIATING_FROM_ONE_MAX);
        assert!(knock(&mut behaviour, "/ip4/10.0.0.2/tcp/1").is_some());
        assert!(knock(&mut behaviour, "/ip6/2001:db8:0:1::1/tcp/1").is_some());
        // one that has shown its key, whosever it is, makes room
        let key = libp2p::identity::PublicKey::from(super::super::keypair([1; 32]).public());
        let (peer, from) = (key.to_peer_id(), "/ip4/10.0.0.1/tcp/1".parse().unwrap());
        let shown = open.pop().unwrap();
        let shown = behaviour.handle_established_inbound_connection(shown, peer, &here, &from);
        assert!(shown.is_err());
        assert!(knock(&mut behaviour, "/ip4/10.0.0.1/tcp/2000").is_some());
        assert!(knock(&mut behaviour, "/ip4/10.0.0.1/tcp/2001").is_none());
        // and from however many addresses, all of them together are bounded
        for number in 0..=255 {
            for port in 1..8 {
                knock(&mut behaviour, &format!("/ip4/10.1.0.{number}/tcp/{port}"));
            }
        }
        assert_eq!(behaviour.negotiating.len(), NEGOTIATING_MAX);
    }
}
