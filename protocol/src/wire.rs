//! Which version two nodes speak, and what is in one frame between them.
//!
//! Every message names its version. A node speaks a range of versions and says so in its hello, whose
//! form never changes; each side then uses the highest version that both speak. Until the other's
//! hello has come it uses its own lowest, which a node of the version before understands as well; a
//! message that comes too early for that is lost, as any message may be, and said again.
//!
//! A log is another matter: everyone reads it, for years. Its blocks are of the version that the
//! constitution of their epoch names, whatever two nodes speak.

use minicbor::{Decode, Encode};

use crate::codec::{self, DecodeError, MESSAGE_MAX, WIRE_VERSION};
use crate::witness::message::Message;

/// A range of versions, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    least: u16,
    most: u16,
}

impl Versions {
    /// What this version of the program speaks. It takes the version before with it as long as brands
    /// are being updated one after another.
    pub const SPOKEN: Self = Self { least: WIRE_VERSION, most: WIRE_VERSION };

    /// From one version to another; none when that is no range.
    #[must_use]
    pub const fn new(least: u16, most: u16) -> Option<Self> {
        if least <= most { Some(Self { least, most }) } else { None }
    }
    /// The lowest.
    #[must_use]
    pub const fn least(self) -> u16 {
        self.least
    }
    /// The highest.
    #[must_use]
    pub const fn most(self) -> u16 {
        self.most
    }
    /// Whether a version is in it.
    #[must_use]
    pub const fn include(self, version: u16) -> bool {
        self.least <= version && version <= self.most
    }
    /// The highest version that both speak, if there is one. The same from either side.
    #[must_use]
    pub fn common(self, other: Self) -> Option<u16> {
        let version = self.most.min(other.most);
        (self.include(version) && other.include(version)).then_some(version)
    }
}

/// What one node sends another.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // all but the first of a connection are messages
pub enum Frame {
    /// Which versions it speaks; first on every connection.
    Hello(Versions),
    /// A message of a version that both speak.
    Message(Message),
}

// `["hello", least, most]`: the first element of a message is a number, so that no version of it can be
// taken for a hello
#[derive(Encode, Decode)]
#[cbor(array)]
struct Hello<'a> {
    #[n(0)]
    hello: &'a str,
    #[n(1)]
    least: u16,
    #[n(2)]
    most: u16,
}

const HELLO: &str = "hello";
/// The array's head, the text's head and its five bytes.
const HELLO_BEGINS: &[u8] = b"\x83\x65hello";

/// What one node knows of the versions of another, for as long as they are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiation {
    own: Versions,
    other: Option<Versions>,
}

impl Default for Negotiation {
    fn default() -> Self {
        Self::new(Versions::SPOKEN)
    }
}

impl Negotiation {
    /// On connecting.
    #[must_use]
    pub const fn new(own: Versions) -> Self {
        Self { own, other: None }
    }

    /// What the other side is told first.
    #[must_use]
    pub fn hello(&self) -> Vec<u8> {
        codec::encode(&Hello { hello: HELLO, least: self.own.least, most: self.own.most })
    }

    /// The version that is spoken to the other side now; none when there is no common one.
    #[must_use]
    pub fn version(&self) -> Option<u16> {
        match self.other {
            None => Some(self.own.least),
            Some(other) => self.own.common(other),
        }
    }

    /// What the other side has said it speaks.
    #[must_use]
    pub const fn other(&self) -> Option<Versions> {
        self.other
    }

    /// Reads a frame of the other side's, and takes note of a hello.
    ///
    /// # Errors
    /// When it is no frame, or a message of a version that is not spoken here.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Frame, DecodeError> {
        let what = "a message";
        if bytes.starts_with(HELLO_BEGINS) {
            let hello: Hello<'_> = codec::decode("a hello", bytes, MESSAGE_MAX)?;
            let versions = Versions::new(hello.least, hello.most)
                .ok_or(DecodeError::Malformed { what: "a hello", position: 0 })?;
            self.other = Some(versions);
            return Ok(Frame::Hello(versions));
        }
        // the version stands before anything of which another version may have another form
        let mut decoder = minicbor::Decoder::new(bytes);
        let version = decoder.array().and_then(|_| decoder.u16());
        let version =
            version.map_err(|_| DecodeError::Malformed { what, position: decoder.position() })?;
        if !self.own.include(version) {
            return Err(DecodeError::Version { what, found: version });
        }
        Message::read(bytes).map(|(_, message)| Frame::Message(message))
    }

    /// The bytes of a message in the version that is spoken now; none when there is no common one.
    #[must_use]
    pub fn send(&self, message: Message) -> Option<Vec<u8>> {
        self.version().map(|version| message.into_bytes_of(version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{BrandId, Height};
    use crate::witness::message::CatchUp;

    const RANGES: [(u16, u16); 10] =
        [(0, 0), (0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3), (2, 2), (2, 3), (3, 3)];

    fn versions((least, most): (u16, u16)) -> Versions {
        Versions::new(least, most).unwrap()
    }

    #[test]
    fn any_two_ranges_agree_on_the_highest_version_of_both_or_on_none() {
        for one in RANGES {
            for other in RANGES {
                let common = (0..=3).filter(|v| one.0 <= *v && *v <= one.1);
                let highest = common.filter(|v| other.0 <= *v && *v <= other.1).max();
                assert_eq!(versions(one).common(versions(other)), highest, "{one:?} {other:?}");
                assert_eq!(versions(other).common(versions(one)), highest, "{one:?} {other:?}");
                // whoever speaks two versions speaks with whoever is one version away
                if one.1 == one.0 + 1 && other.1 == other.0 + 1 && one.1.abs_diff(other.1) <= 1 {
                    assert!(highest.is_some(), "{one:?} {other:?}");
                }
            }
        }
        assert_eq!(Versions::new(2, 1), None);
    }

    #[test]
    fn two_nodes_of_different_ranges_find_their_version_whoever_speaks_first() {
        for (one, other) in RANGES.into_iter().flat_map(|one| RANGES.map(|other| (one, other))) {
            let mut old = Negotiation::new(versions(one));
            let mut new = Negotiation::new(versions(other));
            assert_eq!((old.version(), new.version()), (Some(one.0), Some(other.0)));
            let (of_old, of_new) = (old.hello(), new.hello());
            assert_eq!(new.receive(&of_old).unwrap(), Frame::Hello(versions(one)));
            assert_eq!(old.receive(&of_new).unwrap(), Frame::Hello(versions(other)));
            assert_eq!(old.version(), versions(one).common(versions(other)));
            assert_eq!(old.version(), new.version());
        }
    }

    #[test]
    fn messages_pass_in_the_common_version_and_in_no_other() {
        let ask = || {
            let log = BrandId::new("a").unwrap();
            Message::CatchUp(CatchUp { log, from: Height::new(1) })
        };
        // the only messages there are have the form of version 0, whatever number they go under
        let mut newer = Negotiation::new(versions((0, 1)));
        let mut older = Negotiation::default();
        let early = newer.send(ask()).unwrap();
        assert_eq!(older.receive(&early).unwrap(), Frame::Message(ask()));
        newer.receive(&older.hello()).unwrap();
        older.receive(&newer.hello()).unwrap();
        let bytes = newer.send(ask()).unwrap();
        assert_eq!(older.receive(&bytes).unwrap(), Frame::Message(ask()));
        let bytes = older.send(ask()).unwrap();
        assert_eq!(newer.receive(&bytes).unwrap(), Frame::Message(ask()));

        let mut alone = Negotiation::new(versions((1, 2)));
        alone.receive(&older.hello()).unwrap();
        assert_eq!((alone.version(), alone.send(ask())), (None, None));
        let refused = alone.receive(&bytes).unwrap_err();
        assert_eq!(refused, DecodeError::Version { what: "a message", found: 0 });
    }

    #[test]
    fn what_is_neither_a_hello_nor_a_message_is_refused() {
        let mut own = Negotiation::default();
        let hello = own.hello();
        assert!(hello.starts_with(HELLO_BEGINS));
        for wrong in [&hello[..8], &[&hello[..], &[0]].concat(), b"", b"\x82\x65hello\x00", b"\x83"]
        {
            assert!(own.receive(wrong).is_err(), "{wrong:?}");
        }
        let backwards = codec::encode(&Hello { hello: HELLO, least: 2, most: 1 });
        assert!(own.receive(&backwards).is_err());
        assert_eq!(own.other(), None);
    }
}
