//! Erasure from the request to the certificate, so that a crash anywhere leaves it done or not done.
//!
//! Order: the certificate is kept as one of an erasure under way; the vault erases; then one
//! transaction closes the request, lists the certificate for the brand's log, and ends the erasure. What
//! a crash left under way is finished at the next start if the member is gone, and forgotten if not.

use minicbor::{Decode, Encode};
use protocol::ids::{BrandId, MemberHandle};
use protocol::time::Timestamp;

use super::certificate::{Certificate, certificate_hash};
use super::operations::{Deed, Note};
use super::requests::{RequestKind, RequestNumber, RequestState};
use super::{Desk, DeskError, deadline};
use crate::store::{Keyspace, Write};
use crate::vault::{MemberId, VaultError, masked};

/// Erasures under way, by member.
pub(super) const UNDER_WAY: Keyspace = "desk_erasure";
/// Certificates by hash.
const CERTIFICATES: Keyspace = "desk_certificate";
/// Hashes of certificates that are not in the brand's log yet.
const TO_ENTER: Keyspace = "desk_certificate_to_enter";

/// Erased members whom the points programme has not forgotten yet.
const TO_FORGET: Keyspace = "desk_member_to_forget";

#[derive(Encode, Decode)]
#[cbor(array)]
pub(super) struct UnderWay {
    #[n(0)]
    pub(super) member: MemberId,
    #[n(1)]
    pub(super) request: RequestNumber,
    #[n(2)]
    pub(super) by: String,
    #[n(3)]
    pub(super) at: Timestamp,
    #[n(4)]
    pub(super) certificate: String,
}

/// What an erasure gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erased {
    /// The certificate's text.
    pub certificate: String,
    /// Its SHA-256.
    pub hash: [u8; 32],
}

impl Desk {
    /// Does what a request for erasure asks.
    ///
    /// # Errors
    /// When the request is closed or asks for something else, a legal hold forbids it, or the store or
    /// a key fails.
    pub fn erase(&self, by: &str, id: RequestNumber, at: Timestamp) -> Result<Erased, DeskError> {
        let request = self.still_open(id)?;
        if request.kind != RequestKind::Erasure {
            return Err(DeskError::OtherKind);
        }
        let member = request.member;
        if self.vault.hold(member)?.is_some() {
            return Err(VaultError::OnHold.into());
        }
        let profile = self.vault.profile(member)?;
        let card = profile.card.expose();
        let links = self.vault.links(member)?;
        let told: Vec<BrandId> = links.outgoing.iter().map(|(brand, _)| *brand).collect();
        let removed_by = deadline::days_after(at, self.rules.facts_days);
        let certificate = Certificate::new(
            self.vault.brand(),
            card,
            id.to_string(),
            (request.opened, at, removed_by),
            &told,
            self.rules.erased_known_days(),
            &*self.sealed.random,
        )?;
        let text = certificate.to_text().map_err(|_| DeskError::Damaged("certificate"))?;
        let note = Note::new(by, Deed::Erase, "erased").about(member);
        self.note(note.changed(Some(masked(card)), None), at)?;
        let by = by.to_owned();
        let under_way = UnderWay { member, request: id, by, at, certificate: text };
        self.sealed.put(UNDER_WAY, member.as_bytes(), &under_way)?;
        self.vault.erase(member, at)?;
        self.finish(under_way)
    }

    fn finish(&self, it: UnderWay) -> Result<Erased, DeskError> {
        let UnderWay { member, request, by, at, certificate } = it;
        let hash = certificate_hash(&certificate);
        let entered = [
            self.sealed.write(CERTIFICATES, &hash, &certificate)?,
            Write::put(TO_ENTER, hash, Vec::new()),
            Write::put(TO_FORGET, *member.as_bytes(), Vec::new()),
        ];
        self.sealed.store.transaction(&entered)?;
        let done =
            RequestState::Done { at, by: by.clone(), certificate: Some(certificate.clone()) };
        match self.close_request(request, done, at) {
            // closed before a crash that came before the last step
            Ok(_) | Err(DeskError::Closed) => {}
            Err(error) => return Err(error),
        }
        self.close_requests_of(member, &by, at)?;
        self.sealed.store.transaction(&[Write::delete(UNDER_WAY, *member.as_bytes())])?;
        Ok(Erased { certificate, hash })
    }

    /// Finishes what a crash left under way.
    pub(super) fn finish_erasures(&self) -> Result<(), DeskError> {
        for it in self.sealed.scan::<UnderWay>(UNDER_WAY, None, 10_000)? {
            if self.vault.erased_at(it.member)?.is_some() {
                self.finish(it)?;
            } else {
                let forget = Write::delete(UNDER_WAY, *it.member.as_bytes());
                self.sealed.store.transaction(&[forget])?;
            }
        }
        Ok(())
    }

    /// Destroys what is left of those who were erased so long ago that it is not to be known any more. Says how many
    /// keys were destroyed.
    ///
    /// # Errors
    /// When the store fails.
    pub fn forget_erased_long_ago(&self, at: Timestamp) -> Result<u64, DeskError> {
        let before = at.unix_ms().saturating_sub(self.rules.erased_known.get());
        Ok(self.vault.forget_tombstones(Timestamp::from_unix_ms(before))?)
    }

    /// A certificate by its hash.
    ///
    /// # Errors
    /// When the store or the key fails.
    pub fn certificate(&self, hash: &[u8; 32]) -> Result<Option<String>, DeskError> {
        self.sealed.get(CERTIFICATES, hash)
    }

    /// Certificates whose hashes are to go into the brand's log, at most `most`.
    ///
    /// # Errors
    /// When the store fails.
    pub fn certificates_to_enter(&self, most: usize) -> Result<Vec<[u8; 32]>, DeskError> {
        let keys = self.sealed.store.scan_prefix(TO_ENTER, &[], None, most)?;
        let read = |(key, _): &(Vec<u8>, Vec<u8>)| <[u8; 32]>::try_from(key.as_slice());
        let hashes: Result<Vec<_>, _> = keys.iter().map(read).collect();
        hashes.map_err(|_| DeskError::Damaged("list of certificates"))
    }

    /// Enters that a certificate's hash is on its way into the log, durably.
    ///
    /// # Errors
    /// When the store fails.
    pub fn certificate_entered(&self, hash: &[u8; 32]) -> Result<(), DeskError> {
        Ok(self.sealed.store.transaction(&[Write::delete(TO_ENTER, *hash)])?)
    }

    /// Erased members whom the points programme is to forget.
    ///
    /// # Errors
    /// When the store fails.
    pub fn members_to_forget(&self, most: usize) -> Result<Vec<MemberId>, DeskError> {
        let keys = self.sealed.store.scan_prefix(TO_FORGET, &[], None, most)?;
        let read = |(key, _): &(Vec<u8>, Vec<u8>)| <[u8; 16]>::try_from(key.as_slice());
        let members: Result<Vec<_>, _> = keys.iter().map(read).collect();
        let members = members.map_err(|_| DeskError::Damaged("list of erased members"))?;
        Ok(members.into_iter().map(MemberId::from_bytes).collect())
    }

    /// Enters that the points programme has forgotten a member, durably.
    ///
    /// # Errors
    /// When the store fails.
    pub fn member_forgotten(&self, member: MemberId) -> Result<(), DeskError> {
        Ok(self.sealed.store.transaction(&[Write::delete(TO_FORGET, *member.as_bytes())])?)
    }

    /// Members who were merged or parted, of which the points programme is to be told.
    ///
    /// # Errors
    /// As of [`crate::vault::Vault::merges_to_tell`].
    pub fn merges_to_tell(
        &self,
        most: usize,
    ) -> Result<Vec<(MemberId, Option<MemberId>)>, DeskError> {
        Ok(self.vault.merges_to_tell(most)?)
    }

    /// Enters that the points programme was told of one.
    ///
    /// # Errors
    /// As of [`crate::vault::Vault::merge_told`].
    pub fn merge_told(&self, told: (MemberId, Option<MemberId>)) -> Result<(), DeskError> {
        Ok(self.vault.merge_told(told)?)
    }

    /// Brands that are to be told that a member is gone, with the handle by which they know the member.
    ///
    /// # Errors
    /// When the store fails.
    pub fn brands_to_tell(&self, most: usize) -> Result<Vec<(BrandId, MemberHandle)>, DeskError> {
        Ok(self.vault.unlinks(most)?)
    }

    /// Enters that a brand was told, durably.
    ///
    /// # Errors
    /// When the store fails.
    pub fn brand_told(&self, brand: BrandId, handle: MemberHandle) -> Result<(), DeskError> {
        Ok(self.vault.forget_unlink(brand, handle)?)
    }
}
