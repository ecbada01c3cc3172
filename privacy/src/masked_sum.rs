//! A sum of vectors of which nobody sees a summand.
//!
//! After Bonawitz et al. 2017, without resharing: every pair of participants shares a pad, one adds
//! it and the other subtracts it. y_i = x_i + e_i + sum over j > i of PRG(s_ij) - sum over j < i of
//! PRG(s_ij), modulo 2^64, with s_ij = HKDF-SHA256(X25519 secret; query, attempt, set, plan) and
//! PRG = ChaCha20. Secret against n-1 others; all n openings or nothing: with one missing, or with
//! two views of the set, the pads do not cancel and the sum is noise of 64 bits.
//!
//! A participant commits to H(y_i, nonce) before anybody opens, so that nobody chooses its vector
//! after having seen others'.
//!
//! Keys, nonces and storage are the caller's. Dropouts are not repaired: the attempt is void.

use core::borrow::Borrow;
use core::fmt;
use std::collections::BTreeMap;

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use minicbor::Encode;
use ring::hkdf;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::bounded::BoundedVector;
use crate::hash;
use crate::ids::{MaskingKey, ParticipantId, PlanHash, SetHash, SnapshotId, VectorHash};
use crate::mechanism::NoiseShare;
use crate::steps::AttemptId;

/// Why a vector cannot be masked or a sum not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MaskError {
    /// The participant or its key is not in the set.
    #[error("this participant's key is not the one certified in the set")]
    NotInSet,
    /// Vector, noise and set belong to different plans.
    #[error("vector, noise and set belong to different plans")]
    Plan,
    /// A peer's public key is of low order.
    #[error("the key of {0} gives no shared secret; that brand must make a new one")]
    Key(ParticipantId),
    /// Openings that are not one vector from each participant of the set.
    #[error("a sum needs exactly one vector of the plan's length from each participant")]
    Incomplete,
}

/// A participant's X25519 secret for one attempt. The caller draws it, and stores it sealed.
#[derive(Clone)]
pub struct MaskingSecret(Zeroizing<[u8; 32]>);

impl MaskingSecret {
    /// From 32 random bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key to certify.
    pub fn public_key(&self) -> MaskingKey {
        MaskingKey(PublicKey::from(&StaticSecret::from(*self.0)).to_bytes())
    }
}

impl fmt::Debug for MaskingSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MaskingSecret(redacted)")
    }
}

/// The fixed set of one attempt: who answers, from which data, with which keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParticipantSet {
    id: AttemptId,
    plan: PlanHash,
    members: BTreeMap<ParticipantId, SetMember>,
}

/// The bytes a set's hash covers: members in ascending order of their names.
#[derive(Encode)]
#[cbor(array)]
struct HashedSet {
    #[n(0)]
    id: AttemptId,
    #[n(1)]
    plan: PlanHash,
    #[n(2)]
    members: Vec<(ParticipantId, SetMember)>,
}

/// One participant of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode)]
#[cbor(array)]
pub struct SetMember {
    /// Its certified key.
    #[n(0)]
    pub key: MaskingKey,
    /// The data it answers from.
    #[n(1)]
    pub snapshot: SnapshotId,
}

impl ParticipantSet {
    /// A set out of certified reservations.
    pub(crate) const fn new(
        id: AttemptId,
        plan: PlanHash,
        members: BTreeMap<ParticipantId, SetMember>,
    ) -> Self {
        Self { id, plan, members }
    }

    /// What masks and hashes are bound to.
    pub fn hash(&self) -> SetHash {
        let members = self.members.iter().map(|(name, member)| (*name, *member)).collect();
        let hashed = HashedSet { id: self.id, plan: self.plan, members };
        let mut bytes = Vec::new();
        // Writing to a vector cannot fail.
        let _ = minicbor::encode(&hashed, &mut bytes);
        SetHash(hash::tagged("coalition/privacy/set/v0", &[&bytes]))
    }

    /// The participants with their keys and snapshots.
    pub const fn members(&self) -> &BTreeMap<ParticipantId, SetMember> {
        &self.members
    }

    /// The plan.
    pub const fn plan(&self) -> PlanHash {
        self.plan
    }
}

/// y_i: a masked vector. Before it is opened it is kept, after that it is public.
#[derive(Clone, PartialEq, Eq)]
pub struct MaskedVector(Vec<u64>);

impl MaskedVector {
    /// Eight bytes a coordinate, big-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|value| value.to_be_bytes()).collect()
    }

    /// Reads what [`Self::to_bytes`] wrote; `None` when it is no whole number of coordinates.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (coordinates, rest) = bytes.as_chunks::<8>();
        rest.is_empty().then(|| Self(coordinates.iter().map(|c| u64::from_be_bytes(*c)).collect()))
    }

    /// Number of coordinates.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The hash its owner certifies before anybody opens.
    pub fn commitment(&self, owner: ParticipantId, set: SetHash, nonce: &[u8; 32]) -> VectorHash {
        let parts: [&[u8]; 4] =
            [owner.as_str().as_bytes(), set.as_bytes(), nonce, &self.to_bytes()];
        VectorHash(hash::tagged("coalition/privacy/masked-vector/v0", &parts))
    }
}

/// Redacted: together with the pads of n-1 colluders it is a brand's noised figures.
impl fmt::Debug for MaskedVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MaskedVector({} coordinates)", self.0.len())
    }
}

/// Makes y_i out of x_i and e_i, using both up.
pub(crate) fn mask(
    vector: BoundedVector,
    noise: NoiseShare,
    owner: ParticipantId,
    secret: &MaskingSecret,
    set: &ParticipantSet,
) -> Result<MaskedVector, MaskError> {
    if vector.plan() != set.plan
        || noise.plan() != set.plan
        || vector.values().len() != noise.values().len()
    {
        return Err(MaskError::Plan);
    }
    if set.members.get(&owner).is_none_or(|member| member.key != secret.public_key()) {
        return Err(MaskError::NotInSet);
    }
    let mut masked: Vec<u64> = vector
        .values()
        .iter()
        .zip(noise.values())
        .map(|(x, e)| x.wrapping_add(*e).cast_unsigned())
        .collect();
    let set_hash = set.hash();
    for (peer, member) in &set.members {
        if *peer == owner {
            continue;
        }
        let pad = pad(secret, owner, *peer, member.key, set_hash, masked.len())?;
        for (value, pad) in masked.iter_mut().zip(pad.as_chunks::<8>().0) {
            let pad = u64::from_le_bytes(*pad);
            *value = if *peer > owner { value.wrapping_add(pad) } else { value.wrapping_sub(pad) };
        }
    }
    Ok(MaskedVector(masked))
}

/// The pad of a pair. The set's hash binds query, attempt, plan, keys and snapshots; the two names,
/// in order, bind the pair. A key is used for one stream only, so the nonce is zero.
fn pad(
    secret: &MaskingSecret,
    owner: ParticipantId,
    peer: ParticipantId,
    peer_key: MaskingKey,
    set: SetHash,
    coordinates: usize,
) -> Result<Zeroizing<Vec<u8>>, MaskError> {
    let shared =
        StaticSecret::from(*secret.0).diffie_hellman(&PublicKey::from(*peer_key.as_bytes()));
    if !shared.was_contributory() {
        return Err(MaskError::Key(peer));
    }
    let (low, high) = (owner.min(peer), owner.max(peer));
    let info: [&[u8]; 4] =
        [set.as_bytes(), low.as_str().as_bytes(), b"/", high.as_str().as_bytes()];
    let mut key = Zeroizing::new([0u8; 32]);
    hkdf::Salt::new(hkdf::HKDF_SHA256, b"coalition/privacy/pad/v0")
        .extract(shared.as_bytes())
        .expand(&info, hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(key.as_mut()))
        .map_err(|_| MaskError::Key(peer))?;
    let mut stream = Zeroizing::new(vec![0u8; coordinates.saturating_mul(8)]);
    ChaCha20::new((&*key).into(), &[0u8; 12].into()).apply_keystream(&mut stream);
    Ok(stream)
}

/// Adds one vector of each participant of the set; the pads cancel. Signed: two's complement.
pub(crate) fn sum<V: Borrow<MaskedVector>>(
    set: &ParticipantSet,
    coordinates: usize,
    openings: &BTreeMap<ParticipantId, V>,
) -> Result<Vec<i64>, MaskError> {
    let whole = |vector: &V| {
        let vector: &MaskedVector = vector.borrow();
        vector.len() == coordinates
    };
    let complete = openings.len() == set.members.len()
        && openings.keys().eq(set.members.keys())
        && openings.values().all(whole);
    if !complete {
        return Err(MaskError::Incomplete);
    }
    let mut total = vec![0u64; coordinates];
    for vector in openings.values() {
        let vector: &MaskedVector = vector.borrow();
        for (sum, value) in total.iter_mut().zip(&vector.0) {
            *sum = sum.wrapping_add(*value);
        }
    }
    Ok(total.into_iter().map(u64::cast_signed).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bounded::Collector;
    use crate::ids::{Attempt, QueryId};
    use crate::mechanism::{NoiseError, NoiseSource};
    use crate::plan::DpPlan;
    use crate::testing::{brand, sample_contract, spec};

    /// Noise the test knows.
    struct Fixed(i64);
    impl NoiseSource for Fixed {
        fn discrete_gaussian(&mut self, _: &crate::exact::Rational) -> Result<i64, NoiseError> {
            Ok(self.0)
        }
    }

    fn plan(n: usize) -> DpPlan {
        let sql =
            "SELECT half_year(purchased_on) h, count(distinct member) FROM purchases GROUP BY 1";
        DpPlan::new(&sample_contract(), &spec(sql, n)).unwrap()
    }

    fn secret(index: usize) -> MaskingSecret {
        MaskingSecret::from_bytes([u8::try_from(index).unwrap() + 1; 32])
    }

    fn set(plan: &DpPlan, query: u8) -> ParticipantSet {
        let id =
            AttemptId { proposer: brand(0), query: QueryId([query; 16]), attempt: Attempt::FIRST };
        let members = (0..plan.participants().len())
            .map(|i| {
                let snapshot = SnapshotId([0; 32]);
                (brand(i), SetMember { key: secret(i).public_key(), snapshot })
            })
            .collect();
        ParticipantSet::new(id, plan.hash(), members)
    }

    fn masked(
        plan: &DpPlan,
        set: &ParticipantSet,
        index: usize,
        members: [u8; 2],
        noise: i64,
    ) -> MaskedVector {
        let mut collector = Collector::new(plan, brand(index));
        for (cell, count) in (0i64..).zip(members) {
            for member in 0..count {
                collector.push(Some(&[b'm', member]), cell, &[Some(1)]).unwrap();
            }
        }
        let share = NoiseShare::draw(plan, &mut Fixed(noise)).unwrap();
        mask(collector.finish().unwrap(), share, brand(index), &secret(index), set).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn masked_sums_equal_plain_sums(
            inputs in prop::collection::vec(([any::<u8>(), any::<u8>()], -1_000_000i64..1_000_000), 3..=5),
        ) {
            let plan = plan(inputs.len());
            let set = set(&plan, 1);
            let openings: BTreeMap<_, _> = inputs
                .iter()
                .enumerate()
                .map(|(i, (members, noise))| (brand(i), masked(&plan, &set, i, *members, *noise)))
                .collect();
            let plain: Vec<i64> = (0..2)
                .map(|cell| inputs.iter().map(|(m, noise)| i64::from(m[cell]) + noise).sum())
                .collect();
            prop_assert_eq!(sum(&set, 2, &openings), Ok(plain));
        }
    }

    /// Trap 1: participants who see different sets must not leave a brand's value with only its
    /// own noise when openings are subtracted. Here one brand masked for another attempt.
    #[test]
    fn trap_1_two_views_of_the_set_give_garbage() {
        let plan = plan(3);
        let (ours, theirs) = (set(&plan, 1), set(&plan, 2));
        let mut openings: BTreeMap<_, _> =
            (0..3).map(|i| (brand(i), masked(&plan, &ours, i, [9, 9], 0))).collect();
        assert_eq!(sum(&ours, 2, &openings), Ok(vec![27, 27]));
        openings.insert(brand(1), masked(&plan, &theirs, 1, [9, 9], 0));
        let garbage = sum(&ours, 2, &openings).unwrap();
        assert!(garbage.iter().all(|value| value.unsigned_abs() > 1 << 40), "{garbage:?}");
    }

    /// Trap 8: with a brand missing, the noise of the rest would be less than was charged for. So
    /// there is no sum of the rest: all of the set or nothing.
    #[test]
    fn trap_8_an_incomplete_set_has_no_sum() {
        let plan = plan(4);
        let set = set(&plan, 1);
        let mut openings: BTreeMap<_, _> =
            (0..4).map(|i| (brand(i), masked(&plan, &set, i, [1, 2], 0))).collect();
        let last = openings.remove(&brand(3)).unwrap();
        assert_eq!(sum(&set, 2, &openings), Err(MaskError::Incomplete));
        openings.insert(brand(4), last);
        assert_eq!(sum(&set, 2, &openings), Err(MaskError::Incomplete));
    }

    #[test]
    fn one_vector_alone_says_nothing() {
        let plan = plan(3);
        let (a, b) = (set(&plan, 1), set(&plan, 2));
        let small = |set| masked(&plan, set, 0, [1, 2], 0);
        assert_ne!(small(&a), small(&b));
        assert!(small(&a).0.iter().all(|value| *value > 1 << 40 && *value < u64::MAX - (1 << 40)));
        assert!(!format!("{:?} {:?}", small(&a), secret(0)).contains("[1"));
    }

    #[test]
    fn a_key_of_low_order_is_refused() {
        let plan = plan(3);
        let mut set = set(&plan, 1);
        set.members.get_mut(&brand(2)).unwrap().key = MaskingKey([0; 32]);
        let vector = Collector::new(&plan, plan.participants()[0]).finish().unwrap();
        let share = NoiseShare::draw(&plan, &mut Fixed(0)).unwrap();
        let refused = mask(vector, share, brand(0), &secret(0), &set);
        assert_eq!(refused.unwrap_err(), MaskError::Key(brand(2)));
    }

    #[test]
    fn commitments_bind_owner_set_nonce_and_vector() {
        let vector = MaskedVector(vec![1, 2]);
        let base = vector.commitment(brand(0), SetHash([0; 32]), &[0; 32]);
        assert_ne!(vector.commitment(brand(1), SetHash([0; 32]), &[0; 32]), base);
        assert_ne!(vector.commitment(brand(0), SetHash([1; 32]), &[0; 32]), base);
        assert_ne!(vector.commitment(brand(0), SetHash([0; 32]), &[1; 32]), base);
        let other = MaskedVector(vec![1, 3]);
        assert_ne!(other.commitment(brand(0), SetHash([0; 32]), &[0; 32]), base);
        assert_eq!(MaskedVector::from_bytes(&vector.to_bytes()), Some(vector));
        assert_eq!(MaskedVector::from_bytes(&[0; 9]), None);
    }
}
