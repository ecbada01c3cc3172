//! Links between a member here and the same person's account at another brand.
//!
//! Both directions: *outgoing*, a member here may send points to an account there, where the person
//! is known by the member's pairwise handle; *incoming*, a handle of another brand stands for a
//! member here, proven by a one-time code that the member read here and typed there. Neither brand
//! learns the other's member id. Guessing a code (50 bits, one brand, minutes) costs its brand an
//! entry of its log each time; counting the guesses is the caller's.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};
use protocol::codec;
use protocol::ids::{BrandId, MemberHandle};
use protocol::time::{Milliseconds, Timestamp};
use ring::rand::SecureRandom;

use super::keys::{BlindIndex, KeyError, MemberSecret};
use super::member::MemberId;
use super::{Batch, Erasure, Vault, VaultError, damaged, record};

/// Open codes by keyed hash.
const CODES: &str = "vault_link_code";
/// The hash of a member's one open code, by member.
const CODE_OF_MEMBER: &str = "vault_link_code_of_member";
/// Members by keyed hash of direction, brand and handle.
const HANDLES: &str = "vault_link_handle";
/// Links by member, direction and brand.
const LINKS: &str = "vault_link";
/// Handles of erased members whose brands are still to be told, each followed by the brand.
const UNLINKS: &str = "vault_unlink";

/// Crockford's base 32: no I, L, O or U, which people read as others.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const CODE_CHARACTERS: usize = 10;
/// Largest stored link or code, in bytes.
const STORED_MAX: usize = 256;

/// A one-time code that links accounts: ten characters, 50 random bits.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkCode([u8; CODE_CHARACTERS]);

/// Why a text is not a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a link code has {CODE_CHARACTERS} letters and digits, as in 7K2PQ-M9XAB")]
pub struct InvalidLinkCode;

impl LinkCode {
    fn generate(random: &dyn SecureRandom) -> Result<Self, KeyError> {
        let mut characters = [0; CODE_CHARACTERS];
        random.fill(&mut characters).map_err(|_| KeyError::Random)?;
        for character in &mut characters {
            // 256 is a multiple of 32: every character is equally likely
            *character = ALPHABET[usize::from(*character & 31)];
        }
        Ok(Self(characters))
    }

    /// The ten characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for LinkCode {
    type Err = InvalidLinkCode;

    /// Reads a code as people write it: any case, with hyphens or spaces, O for 0, I or L for 1.
    fn from_str(text: &str) -> Result<Self, InvalidLinkCode> {
        let mut characters = [0; CODE_CHARACTERS];
        let mut places = characters.iter_mut();
        for byte in text.bytes().filter(|byte| !matches!(byte, b'-' | b' ')) {
            let character = match byte.to_ascii_uppercase() {
                b'O' => b'0',
                b'I' | b'L' => b'1',
                other => other,
            };
            if !ALPHABET.contains(&character) {
                return Err(InvalidLinkCode);
            }
            *places.next().ok_or(InvalidLinkCode)? = character;
        }
        if places.next().is_some() { Err(InvalidLinkCode) } else { Ok(Self(characters)) }
    }
}

impl fmt::Display for LinkCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (left, right) = self.as_str().split_at(CODE_CHARACTERS / 2);
        write!(f, "{left}-{right}")
    }
}

impl fmt::Debug for LinkCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // whoever reads it can take the member's incoming points until it expires
        f.write_str("LinkCode(..)")
    }
}

/// How far an outgoing link has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum LinkState {
    /// The other brand has been asked.
    #[n(0)]
    Requested,
    /// The other brand accepted the code.
    #[n(1)]
    Accepted,
    /// The other brand returned the request: the code was wrong, used or too old.
    #[n(2)]
    Returned,
}

/// A member's links.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// Brands where the member has an account to send points to, or asked to have.
    pub outgoing: Vec<(BrandId, LinkState)>,
    /// Brands from which points arrive.
    pub incoming: Vec<BrandId>,
}

/// Why two accounts were not linked.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No such code is open for that brand: mistyped, used, replaced by a newer one, or another's.
    #[error("no such code is open for this brand; ask the member for a new one")]
    UnknownCode,
    /// The code was right, and too late.
    #[error("the code has expired; ask the member for a new one")]
    Expired,
    /// The handle stands for another member already.
    #[error("this handle is already linked to an account; that link must be dropped first")]
    HandleTaken,
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

#[derive(Clone, Copy)]
enum Direction {
    Outgoing = 0,
    Incoming = 1,
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct OpenCode {
    #[n(0)]
    member: MemberId,
    #[n(1)]
    counterparty: BrandId,
    #[n(2)]
    expires: Timestamp,
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct Link {
    #[n(0)]
    state: LinkState,
    #[n(1)]
    at: Timestamp,
    /// Where [`HANDLES`] has it.
    #[cbor(n(2), with = "minicbor::bytes")]
    handle_hash: [u8; 32],
    /// Hash of the code that made an incoming link, so that the same request again is no error.
    #[cbor(n(3), with = "minicbor::bytes")]
    code_hash: [u8; 32],
}

impl Vault {
    /// Makes a code with which an account at `counterparty` can be linked to this member until
    /// `now + valid_for`. It replaces the member's earlier code.
    ///
    /// # Errors
    /// When there is no such member, or the store or the generator fails.
    pub fn issue_link_code(
        &self,
        member: MemberId,
        counterparty: BrandId,
        now: Timestamp,
        valid_for: Milliseconds,
    ) -> Result<LinkCode, VaultError> {
        let _writing = self.lock();
        self.open(member)?;
        let code = LinkCode::generate(&*self.random)?;
        let hash = self.code_hash(&code)?;
        let mut batch = Batch::default();
        if let Some(former) = self.store.get(CODE_OF_MEMBER, member.as_bytes())? {
            batch.delete(CODES, &former);
        }
        let open = OpenCode { member, counterparty, expires: now.plus(valid_for) };
        batch.put(CODES, &hash, codec::encode(&open));
        batch.put(CODE_OF_MEMBER, member.as_bytes(), hash.to_vec());
        self.store.transaction(&batch.writes)?;
        Ok(code)
    }

    /// Uses up a code: from now on `handle`, sent by `counterparty`, stands for the member who was
    /// given the code. The same request again gives the same member.
    ///
    /// # Errors
    /// [`LinkError`]; then the code is as it was.
    pub fn accept_link(
        &self,
        code: &LinkCode,
        counterparty: BrandId,
        handle: MemberHandle,
        now: Timestamp,
    ) -> Result<MemberId, LinkError> {
        let _writing = self.lock();
        let code_hash = self.code_hash(code)?;
        let handle_hash = self.handle_hash(Direction::Incoming, counterparty, handle)?;
        let holder = self.member_at(HANDLES, &handle_hash)?;
        if let Some(holder) = holder {
            let link = self.link(holder, Direction::Incoming, counterparty)?;
            if link.is_some_and(|link| link.code_hash == code_hash) {
                return Ok(holder);
            }
        }
        let stored = self.store.get(CODES, &code_hash).map_err(VaultError::from)?;
        let open: OpenCode = match stored {
            Some(bytes) => codec::decode("a link code", &bytes, STORED_MAX)
                .map_err(|_| damaged("link code"))?,
            None => return Err(LinkError::UnknownCode),
        };
        if open.counterparty != counterparty {
            return Err(LinkError::UnknownCode);
        }
        if now > open.expires {
            return Err(LinkError::Expired);
        }
        if holder.is_some_and(|holder| holder != open.member) {
            return Err(LinkError::HandleTaken);
        }
        let mut batch = Batch::default();
        let former = self.link(open.member, Direction::Incoming, counterparty)?;
        let replaces = former.is_some();
        if let Some(former) = former {
            batch.delete(HANDLES, &former.handle_hash);
        }
        let link = Link { state: LinkState::Accepted, at: now, handle_hash, code_hash };
        batch.put(HANDLES, &handle_hash, open.member.as_bytes().to_vec());
        batch.put(
            LINKS,
            &link_key(open.member, Direction::Incoming, counterparty),
            codec::encode(&link),
        );
        batch.delete(CODES, &code_hash);
        batch.delete(CODE_OF_MEMBER, open.member.as_bytes());
        self.store.transaction(&batch.writes).map_err(VaultError::from)?;
        if replaces {
            self.remembered.forget_all();
        } else {
            self.remembered.forget(open.member);
        }
        Ok(open.member)
    }

    /// The member for whom a handle of another brand stands.
    ///
    /// # Errors
    /// When the store fails.
    pub fn incoming(
        &self,
        counterparty: BrandId,
        handle: MemberHandle,
    ) -> Result<Option<MemberId>, VaultError> {
        self.member_at(HANDLES, &self.handle_hash(Direction::Incoming, counterparty, handle)?)
    }

    /// Drops an incoming link, as when the other brand says that its member was erased. Says
    /// whether there was one.
    ///
    /// # Errors
    /// When the store fails.
    pub fn drop_incoming(
        &self,
        counterparty: BrandId,
        handle: MemberHandle,
    ) -> Result<bool, VaultError> {
        let _writing = self.lock();
        let hash = self.handle_hash(Direction::Incoming, counterparty, handle)?;
        let Some(member) = self.member_at(HANDLES, &hash)? else { return Ok(false) };
        let mut batch = Batch::default();
        batch.delete(HANDLES, &hash);
        batch.delete(LINKS, &link_key(member, Direction::Incoming, counterparty));
        self.store.transaction(&batch.writes)?;
        self.remembered.forget_all();
        Ok(true)
    }

    /// Enters that `counterparty` is asked to link this member, and gives the handle to ask with.
    ///
    /// # Errors
    /// When there is no such member, or the store or the key fails.
    pub fn request_link(
        &self,
        member: MemberId,
        counterparty: BrandId,
        now: Timestamp,
    ) -> Result<MemberHandle, VaultError> {
        let _writing = self.lock();
        self.write_outgoing(member, counterparty, LinkState::Requested, now)
    }

    /// Enters that `counterparty` accepted the link.
    ///
    /// # Errors
    /// When there is no such member, or the store or the key fails.
    pub fn confirm_link(
        &self,
        member: MemberId,
        counterparty: BrandId,
        now: Timestamp,
    ) -> Result<(), VaultError> {
        let _writing = self.lock();
        self.write_outgoing(member, counterparty, LinkState::Accepted, now).map(|_| ())
    }

    /// Enters that `counterparty` returned the request. A link that was accepted stays so.
    ///
    /// # Errors
    /// When there is no such member, or the store or the key fails.
    pub fn return_link(
        &self,
        member: MemberId,
        counterparty: BrandId,
        now: Timestamp,
    ) -> Result<(), VaultError> {
        let _writing = self.lock();
        self.write_outgoing(member, counterparty, LinkState::Returned, now).map(|_| ())
    }

    /// A member's links in both directions, each in the order of the brands' ids.
    ///
    /// # Errors
    /// When the store fails.
    pub fn links(&self, member: MemberId) -> Result<Links, VaultError> {
        let mut links = Links::default();
        for (direction, brand, link) in self.links_of(member)? {
            match direction {
                Direction::Outgoing => links.outgoing.push((brand, link.state)),
                Direction::Incoming => links.incoming.push(brand),
            }
        }
        Ok(links)
    }

    /// How far the link of a member to `counterparty` has come, if it was begun.
    ///
    /// # Errors
    /// When the store fails.
    pub fn outgoing(
        &self,
        member: MemberId,
        counterparty: BrandId,
    ) -> Result<Option<LinkState>, VaultError> {
        Ok(self.link(member, Direction::Outgoing, counterparty)?.map(|link| link.state))
    }

    /// Our member whom `counterparty` knows by a handle we gave it; for returns.
    ///
    /// # Errors
    /// When the store fails.
    pub fn outgoing_member(
        &self,
        counterparty: BrandId,
        handle: MemberHandle,
    ) -> Result<Option<MemberId>, VaultError> {
        self.member_at(HANDLES, &self.handle_hash(Direction::Outgoing, counterparty, handle)?)
    }

    /// Adds to an erasure's transaction what removes the member's links and code.
    pub(super) fn drop_links(
        &self,
        member: MemberId,
        secret: &MemberSecret,
        erasure: &mut Erasure,
        batch: &mut Batch,
    ) -> Result<(), VaultError> {
        if let Some(hash) = self.store.get(CODE_OF_MEMBER, member.as_bytes())? {
            batch.delete(CODES, &hash);
            batch.delete(CODE_OF_MEMBER, member.as_bytes());
        }
        for (direction, brand, link) in self.links_of(member)? {
            match direction {
                Direction::Outgoing => {
                    let handle = record::handle_of(secret, brand);
                    batch.put(UNLINKS, &unlink_key(brand, handle), Vec::new());
                    erasure.outgoing.push((brand, handle));
                }
                Direction::Incoming => erasure.incoming.push(brand),
            }
            batch.delete(HANDLES, &link.handle_hash);
            batch.delete(LINKS, &link_key(member, direction, brand));
        }
        Ok(())
    }

    /// Brands that are to be told that a member is gone, with the handle by which they knew the member,
    /// at most `most`.
    ///
    /// # Errors
    /// When the store fails.
    pub fn unlinks(&self, most: usize) -> Result<Vec<(BrandId, MemberHandle)>, VaultError> {
        let pairs = self.store.scan_prefix(UNLINKS, &[], None, most)?;
        let read = |(key, _): &(Vec<u8>, Vec<u8>)| {
            let (handle, brand) = key.split_first_chunk::<16>().ok_or(damaged("ended link"))?;
            let brand = std::str::from_utf8(brand).map_err(|_| damaged("ended link"))?;
            let brand = BrandId::new(brand).map_err(|_| damaged("ended link"))?;
            Ok((brand, MemberHandle::from_bytes(*handle)))
        };
        pairs.iter().map(read).collect()
    }

    /// Enters that a brand was told.
    ///
    /// # Errors
    /// When the store fails.
    pub fn forget_unlink(&self, brand: BrandId, handle: MemberHandle) -> Result<(), VaultError> {
        let _writing = self.lock();
        let mut batch = Batch::default();
        batch.delete(UNLINKS, &unlink_key(brand, handle));
        Ok(self.store.transaction(&batch.writes)?)
    }

    /// Adds to a merge that handles of one member, and of those who were merged into that one before, stand for
    /// another from now on.
    pub(super) fn move_handles(
        &self,
        from: MemberId,
        to: MemberId,
        batch: &mut Batch,
    ) -> Result<(), VaultError> {
        for whose in self.with_absorbed(from)? {
            for (_, _, link) in self.links_of(whose)? {
                batch.put(HANDLES, &link.handle_hash, to.as_bytes().to_vec());
            }
        }
        Ok(())
    }

    /// Adds to the undoing of a merge that handles stand for their member again, with those of who was merged
    /// into that one before; those that were dropped meanwhile stay so.
    pub(super) fn return_handles(&self, to: MemberId, batch: &mut Batch) -> Result<(), VaultError> {
        for whose in self.with_absorbed(to)? {
            for (_, _, link) in self.links_of(whose)? {
                if self.store.get(HANDLES, &link.handle_hash)?.is_some() {
                    batch.put(HANDLES, &link.handle_hash, to.as_bytes().to_vec());
                }
            }
        }
        Ok(())
    }

    fn write_outgoing(
        &self,
        member: MemberId,
        counterparty: BrandId,
        state: LinkState,
        at: Timestamp,
    ) -> Result<MemberHandle, VaultError> {
        let handle = self.handle(member, counterparty)?;
        // a request that is repeated after it was accepted does not undo that
        let state = match self.link(member, Direction::Outgoing, counterparty)? {
            Some(Link { state: LinkState::Accepted, .. }) => LinkState::Accepted,
            _ => state,
        };
        let handle_hash = self.handle_hash(Direction::Outgoing, counterparty, handle)?;
        let link = Link { state, at, handle_hash, code_hash: [0; 32] };
        let mut batch = Batch::default();
        batch.put(HANDLES, &handle_hash, member.as_bytes().to_vec());
        batch.put(
            LINKS,
            &link_key(member, Direction::Outgoing, counterparty),
            codec::encode(&link),
        );
        self.store.transaction(&batch.writes)?;
        self.remembered.forget(member);
        Ok(handle)
    }

    fn links_of(&self, member: MemberId) -> Result<Vec<(Direction, BrandId, Link)>, VaultError> {
        // a constitution has at most 21 brands, so that a member has at most 42 links
        let pairs = self.store.scan_prefix(LINKS, member.as_bytes(), None, 64)?;
        let links = pairs.iter().map(|(key, value)| {
            let (direction, brand) = link_place(key).ok_or(damaged("link"))?;
            let link = codec::decode("a link", value, STORED_MAX).map_err(|_| damaged("link"))?;
            Ok((direction, brand, link))
        });
        links.collect()
    }

    fn link(
        &self,
        member: MemberId,
        direction: Direction,
        counterparty: BrandId,
    ) -> Result<Option<Link>, VaultError> {
        let key = link_key(member, direction, counterparty);
        let Some(bytes) = self.store.get(LINKS, &key)? else { return Ok(None) };
        codec::decode("a link", &bytes, STORED_MAX).map(Some).map_err(|_| damaged("link"))
    }

    fn code_hash(&self, code: &LinkCode) -> Result<[u8; 32], VaultError> {
        Ok(self.key.blind(BlindIndex::LinkCode, &code.0)?)
    }

    fn handle_hash(
        &self,
        direction: Direction,
        counterparty: BrandId,
        handle: MemberHandle,
    ) -> Result<[u8; 32], VaultError> {
        let mut value = vec![direction as u8];
        value.extend_from_slice(handle.as_bytes());
        value.extend_from_slice(counterparty.as_str().as_bytes());
        Ok(self.key.blind(BlindIndex::LinkHandle, &value)?)
    }
}

fn unlink_key(brand: BrandId, handle: MemberHandle) -> Vec<u8> {
    [handle.as_bytes().as_slice(), brand.as_str().as_bytes()].concat()
}

fn link_key(member: MemberId, direction: Direction, counterparty: BrandId) -> Vec<u8> {
    let mut key = member.as_bytes().to_vec();
    key.push(direction as u8);
    key.extend_from_slice(counterparty.as_str().as_bytes());
    key
}

fn link_place(key: &[u8]) -> Option<(Direction, BrandId)> {
    let (direction, brand) = key.get(16..)?.split_first()?;
    let direction = match direction {
        0 => Direction::Outgoing,
        1 => Direction::Incoming,
        _ => return None,
    };
    Some((direction, BrandId::new(std::str::from_utf8(brand).ok()?).ok()?))
}
