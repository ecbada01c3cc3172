//! Messages on their way, and what becomes of them.
//!
//! Knows bytes and machines, nothing of what the bytes say. Senders are authenticated, as on the real
//! network: a machine cannot speak in another brand's name.

use protocol::ids::BrandId;

use crate::prng::Prng;

/// Most messages on their way at once; what comes on top is lost, as with any bounded queue.
const IN_FLIGHT_MAX: usize = 4096;

/// Number of a machine. A brand that runs twins has two.
pub type Machine = usize;

/// One message on its way.
#[derive(Clone, Debug)]
pub struct Packet {
    /// The brand whose key the channel is bound to.
    pub from: BrandId,
    /// The machine it comes from.
    pub source: Machine,
    /// The machine it goes to.
    pub to: Machine,
    /// The encoded message.
    pub bytes: Vec<u8>,
}

/// How bad the network is, each in a thousand messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Lost when taken from the wire.
    pub loss: usize,
    /// Delivered and left on the wire, to come again.
    pub duplication: usize,
}

/// The wire. Delivery is in no order at all.
#[derive(Debug, Default)]
pub struct Network {
    in_flight: Vec<Packet>,
    weather: Weather,
    // machines on the far side of a partition
    apart: Vec<Machine>,
    lost: u64,
}

impl Network {
    /// A wire in this weather.
    #[must_use]
    pub fn new(weather: Weather) -> Self {
        Self { weather, ..Self::default() }
    }

    /// Puts a message on the wire.
    pub fn send(&mut self, packet: Packet) {
        if self.in_flight.len() < IN_FLIGHT_MAX {
            self.in_flight.push(packet);
        } else {
            self.lost += 1;
        }
    }

    /// Takes some message from the wire, if it arrives.
    pub fn next(&mut self, prng: &mut Prng) -> Option<Packet> {
        if self.in_flight.is_empty() {
            return None;
        }
        let at = prng.below(self.in_flight.len());
        let again = prng.per_mille(self.weather.duplication);
        let packet = match self.in_flight.get(at) {
            Some(packet) if again => packet.clone(),
            _ => self.in_flight.swap_remove(at),
        };
        let cut = self.apart.contains(&packet.source) != self.apart.contains(&packet.to);
        if cut || prng.per_mille(self.weather.loss) {
            self.lost += 1;
            return None;
        }
        Some(packet)
    }

    /// Cuts the network in two.
    pub fn partition(&mut self, apart: Vec<Machine>) {
        self.apart = apart;
    }

    /// Repairs everything: nothing is lost or repeated from now on.
    pub fn heal(&mut self) {
        self.apart.clear();
        self.weather = Weather::default();
    }

    /// How many messages are on their way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// How many were lost.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }
}
