//! Whose identifiers these are: the rules by which people are told apart, as one pure function.
//!
//! 1. A proof (card, account, match key) says who it is. Where proofs, or a proof and a phone number,
//!    lead to several members, the one with the most of them is taken, those with a name first, and
//!    members without a name are merged into it. Two with names are halves of one person, as a card and
//!    an account that were never shown together, unless something speaks against it: different accounts
//!    of a kind of which a person has one; or different ones of another kind, when they share no
//!    address, car, device or way of paying though both have one, or when more than one kind differs.
//!    Halves are merged where that is asked for, else a person reviews the pair, as all other pairs.
//! 2. Without a proof that is known, a phone number says who it is, for it is one member's: also when
//!    the card is new, for cards are changed. Not when something speaks against it: another account of
//!    a kind of which a person has one, or a new card or account together with an address, a device, a
//!    car or a way of paying of which none is the holder's. Then it is another person on a shared or
//!    reassigned number, who is entered without it, and a person reviews the pair.
//! 3. Two shared identifiers of different kinds (address, plate, payment token) say who it is, unless
//!    something speaks against it. One is a pair to review.
//! 4. A device alone says who it is only among members without a name. It is a hint.
//! 5. A member without a name is merged into one with a name when they meet in an identifier that no
//!    other named member has: at the first named purchase.
//!
//! Looks nothing up and writes nothing: [`identity`](super::identity) does both.

use std::collections::{BTreeMap, BTreeSet};

use minicbor::{Decode, Encode};

use super::MemberId;
use super::identifier::{IdentifierKind, Strength};

/// Keyed hash of an identifier.
pub(super) type Hash = [u8; 32];

/// An identifier as it is compared.
pub(super) type Seen = (IdentifierKind, Hash);

/// A member who has at least one of the identifiers that were seen.
pub(super) struct Known {
    pub(super) member: MemberId,
    /// Whether the brand can name the person.
    pub(super) named: bool,
    /// All that the member has.
    pub(super) held: BTreeSet<Seen>,
}

impl Known {
    fn has(&self, seen: &Seen) -> bool {
        self.held.contains(seen)
    }

    fn has_kind(&self, kind: IdentifierKind) -> bool {
        self.held.iter().any(|(held, _)| *held == kind)
    }
}

/// Why two members may be one person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Reason {
    /// Cards or accounts of both came together.
    #[n(0)]
    Proofs,
    /// They have, or had, one phone number, and something else speaks against it.
    #[n(1)]
    Phone,
    /// They share an address, a car or a way of paying.
    #[n(2)]
    Shared,
}

impl Reason {
    /// Its name in requests and answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Proofs => "proofs",
            Self::Phone => "phone",
            Self::Shared => "shared",
        }
    }
}

/// Whose the identifiers are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decision {
    /// The member; none when it is somebody new.
    pub(super) member: Option<MemberId>,
    /// Members without a name who are the same person.
    pub(super) absorbed: Vec<MemberId>,
    /// Which of the identifiers are the member's, by their places, but for those that come with a merge.
    pub(super) taken: Vec<usize>,
    /// Others who may be the same person.
    pub(super) review: Vec<(MemberId, Reason)>,
}

/// Most members proposed for review at a time: what more of them share says nothing.
const REVIEW_MAX: usize = 3;

/// Decides by the rules above. `known` has every member who has one of `seen`; members with names who
/// are halves of one person are merged, or only proposed for review.
pub(super) fn resolve(seen: &[Seen], known: &[Known], merge_halves: bool) -> Decision {
    let mut review = BTreeMap::new();
    let mut absorbed = BTreeSet::new();
    let mut leave_phone = false;

    let by_proof = ranked(seen, known, Strength::Proof);
    let mut main: Option<&Known> = None;
    if let Some((first, _)) = by_proof.first() {
        let by_phone = ranked(seen, known, Strength::Phone).first().map(|(holder, _)| *holder);
        // an account that nobody had a name for, and now a phone number that somebody has
        let names = by_phone.filter(|holder| {
            !first.named
                && holder.named
                && !is_another_person(seen, holder)
                && by_proof.iter().all(|(it, _)| !differ(it, holder))
        });
        let chosen = names.unwrap_or(first);
        main = Some(chosen);
        let others = by_proof.iter().map(|(other, _)| (*other, Reason::Proofs));
        let others = others.chain(by_phone.map(|other| (other, Reason::Phone)));
        for (other, reason) in others.filter(|(other, _)| other.member != chosen.member) {
            if !other.named && !differ(other, chosen)
                || merge_halves && other.named && chosen.named && are_halves(other, chosen)
            {
                absorbed.insert(other.member);
            } else {
                review.entry(other.member).or_insert(reason);
            }
        }
    } else if let Some((holder, _)) = ranked(seen, known, Strength::Phone).first() {
        if is_another_person(seen, holder) {
            leave_phone = true;
            review.insert(holder.member, Reason::Phone);
        } else {
            main = Some(holder);
        }
    } else {
        let by_shared = ranked(seen, known, Strength::Shared);
        let strong: Vec<_> = by_shared.iter().filter(|(_, kinds)| *kinds >= 2).collect();
        match strong.as_slice() {
            [(only, _)] if !speaks_against(seen, only) => main = Some(only),
            _ if by_shared.len() <= REVIEW_MAX => {
                let named = by_shared.iter().filter(|(holder, _)| holder.named);
                review.extend(named.map(|(holder, _)| (holder.member, Reason::Shared)));
            }
            _ => {}
        }
    }

    let only_hints = seen.iter().all(|(kind, _)| kind.strength() == Strength::Hint);
    if main.is_none() && only_hints {
        let mut nameless = known.iter().filter(|holder| !holder.named);
        main = match (nameless.next(), nameless.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        };
    }

    let has_name = seen.iter().any(|(kind, _)| kind.is_name());
    if has_name || main.is_some_and(|main| main.named) {
        for meeting in seen.iter().filter(|(kind, _)| kind.strength() <= Strength::Shared) {
            let holders: Vec<&Known> = known.iter().filter(|it| it.has(meeting)).collect();
            let is_main = |it: &Known| main.is_some_and(|main| main.member == it.member);
            let others_named = holders.iter().any(|it| it.named && !is_main(it));
            let mut nameless = holders.iter().filter(|it| !it.named && !is_main(it));
            if let (false, Some(only), None) = (others_named, nameless.next(), nameless.next())
                && !speaks_against(seen, only)
                && main.is_none_or(|main| !differ(main, only))
            {
                absorbed.insert(only.member);
            }
        }
    }
    let mut member = main.map(|main| main.member);
    if member.is_none() {
        // whoever had no name gets one now
        member = absorbed.pop_first();
    }
    absorbed.retain(|it| Some(*it) != member);
    review.retain(|it, _| Some(*it) != member && !absorbed.contains(it));

    let main = known.iter().find(|it| Some(it.member) == member);
    let mut taken = Vec::new();
    for (place, it @ (kind, _)) in seen.iter().enumerate() {
        let elsewhere = known.iter().find(|k| k.has(it) && Some(k.member) != member);
        // what a merged member has comes with the merge, and goes with its undoing
        if known.iter().any(|k| absorbed.contains(&k.member) && k.has(it)) {
            continue;
        }
        let takes = match kind.strength() {
            Strength::Hint | Strength::Shared => true,
            Strength::Phone | Strength::Proof if elsewhere.is_some() => {
                if let Some(holder) = elsewhere
                    && *kind == IdentifierKind::Phone
                    && holder.named
                {
                    review.entry(holder.member).or_insert(Reason::Phone);
                }
                false
            }
            Strength::Phone => !leave_phone,
            // a second one of which a person has one: somebody mixed them up
            Strength::Proof => {
                let other = |main: &Known| main.has_kind(*kind) && !main.has(it);
                !(kind.is_single() && main.is_some_and(other))
            }
        };
        if takes {
            taken.push(place);
        }
    }
    let absorbed = absorbed.into_iter().collect();
    Decision { member, absorbed, taken, review: review.into_iter().collect() }
}

/// Members who have identifiers of a strength that were seen, with how many kinds of them: those with a
/// name first, then by how many, then by id.
fn ranked<'a>(seen: &[Seen], known: &'a [Known], strength: Strength) -> Vec<(&'a Known, usize)> {
    let mut ranked: Vec<(&Known, usize)> = known
        .iter()
        .filter_map(|holder| {
            let kinds: BTreeSet<IdentifierKind> = seen
                .iter()
                .filter(|it| it.0.strength() == strength && holder.has(it))
                .map(|(kind, _)| *kind)
                .collect();
            (!kinds.is_empty()).then_some((holder, kinds.len()))
        })
        .collect();
    ranked.sort_by_key(|(holder, kinds)| (!holder.named, usize::MAX - kinds, holder.member));
    ranked
}

/// Whether two members who have names are halves of one person: rule 1.
fn are_halves(one: &Known, other: &Known) -> bool {
    if differ(one, other) {
        return false;
    }
    let values = |it: &Known, kind: IdentifierKind| -> BTreeSet<Hash> {
        it.held.iter().filter(|(held, _)| *held == kind).map(|(_, hash)| *hash).collect()
    };
    let (mut different, mut comparable, mut agree) = (0, false, false);
    for kind in IdentifierKind::ALL {
        let (here, there) = (values(one, kind), values(other, kind));
        if here.is_empty() || there.is_empty() {
            continue;
        }
        let shared = !here.is_disjoint(&there);
        match kind.strength() {
            Strength::Proof | Strength::Phone => different += u32::from(!shared),
            Strength::Shared | Strength::Hint => {
                comparable = true;
                agree |= shared;
            }
        }
    }
    different == 0 || agree || different == 1 && !comparable
}

/// Whether what was seen has an account of a kind of which the holder has another.
fn differs(seen: &[Seen], holder: &Known, only_single: bool) -> bool {
    seen.iter().any(|it @ (kind, _)| {
        kind.strength() == Strength::Proof
            && (!only_single || kind.is_single())
            && holder.has_kind(*kind)
            && !holder.has(it)
    })
}

/// Whether two members have different accounts of a kind of which a person has one.
fn differ(one: &Known, other: &Known) -> bool {
    let held: Vec<Seen> = other.held.iter().copied().collect();
    differs(&held, one, true)
}

fn speaks_against(seen: &[Seen], holder: &Known) -> bool {
    differs(seen, holder, false)
}

/// Whether someone who came with the holder's phone number is somebody else.
fn is_another_person(seen: &[Seen], holder: &Known) -> bool {
    if differs(seen, holder, true) {
        return true;
    }
    let weaker = || seen.iter().filter(|(kind, _)| kind.strength() <= Strength::Shared);
    let comparable = weaker().any(|(kind, _)| holder.has_kind(*kind));
    let agrees = weaker().any(|it| holder.has(it));
    speaks_against(seen, holder) && comparable && !agrees
}

#[cfg(test)]
mod tests {
    use IdentifierKind::*;

    use super::*;

    fn id(number: u8) -> MemberId {
        MemberId::from_bytes([number; 16])
    }

    fn seen(list: &[(IdentifierKind, u8)]) -> Vec<Seen> {
        list.iter().map(|(kind, value)| (*kind, [*value; 32])).collect()
    }

    fn known(number: u8, list: &[(IdentifierKind, u8)]) -> Known {
        let named = list.iter().any(|(kind, _)| kind.is_name());
        Known { member: id(number), named, held: seen(list).into_iter().collect() }
    }

    fn decide(list: &[(IdentifierKind, u8)], members: &[Known]) -> Decision {
        resolve(&seen(list), members, false)
    }

    fn decide_and_merge(list: &[(IdentifierKind, u8)], members: &[Known]) -> Decision {
        resolve(&seen(list), members, true)
    }

    #[test]
    fn a_proof_says_who_it_is_and_brings_the_rest() {
        let decision = decide(&[(Card, 1), (Phone, 7)], &[known(1, &[(Card, 1)])]);
        assert_eq!((decision.member, decision.taken), (Some(id(1)), vec![0, 1]));
        assert!(decision.review.is_empty());
    }

    #[test]
    fn nobody_known_is_somebody_new() {
        let decision = decide(&[(Card, 1), (Device, 1)], &[]);
        assert_eq!((decision.member, decision.taken), (None, vec![0, 1]));
    }

    #[test]
    fn a_changed_card_stays_the_same_persons() {
        let before = || known(1, &[(Card, 1), (Phone, 7), (Device, 3)]);
        for came in [
            &[(Card, 2), (Phone, 7)][..],
            &[(Card, 2), (Phone, 7), (Device, 3)],
            &[(Phone, 7), (Device, 9)],
        ] {
            let decision = decide(came, &[before()]);
            assert_eq!(decision.member, Some(id(1)), "{came:?}");
            assert_eq!(decision.taken.len(), came.len());
        }
    }

    #[test]
    fn a_shared_phone_does_not_make_one_person_of_two() {
        let before = || known(1, &[(Card, 1), (Phone, 7), (Device, 3), (WechatUnionId, 1)]);
        for came in [&[(Card, 2), (Phone, 7), (Device, 9)][..], &[(Phone, 7), (WechatUnionId, 2)]] {
            let decision = decide(came, &[before()]);
            assert_eq!(decision.member, None, "{came:?}");
            assert_eq!(decision.review, [(id(1), Reason::Phone)]);
            let phone = came.iter().position(|(kind, _)| *kind == Phone).unwrap();
            assert!(!decision.taken.contains(&phone));
        }
    }

    #[test]
    fn a_mistyped_phone_of_another_leads_nobody_astray() {
        let members = [known(1, &[(Card, 1), (Phone, 7)]), known(2, &[(Card, 2), (Phone, 8)])];
        let decision = decide(&[(Card, 1), (Phone, 8)], &members);
        assert_eq!((decision.member, decision.taken), (Some(id(1)), vec![0]));
        assert_eq!(decision.review, [(id(2), Reason::Phone)]);
    }

    #[test]
    fn proofs_of_two_named_members_are_reviewed_and_nothing_is_merged() {
        let members =
            [known(1, &[(Card, 1)]), known(2, &[(Card, 2), (WechatOpenId, 2), (AppUserId, 2)])];
        let decision = decide(&[(Card, 1), (WechatOpenId, 2), (AppUserId, 2)], &members);
        assert_eq!(decision.member, Some(id(2)), "the one with more of them");
        assert_eq!(decision.review, [(id(1), Reason::Proofs)]);
        assert_eq!((decision.absorbed, decision.taken), (vec![], vec![1, 2]));
    }

    #[test]
    fn two_shared_identifiers_are_enough_and_one_is_not() {
        let before = || known(1, &[(Card, 1), (Email, 4), (LicencePlate, 5)]);
        assert_eq!(decide(&[(Email, 4), (LicencePlate, 5)], &[before()]).member, Some(id(1)));
        let one = decide(&[(Email, 4), (LicencePlate, 6)], &[before()]);
        assert_eq!((one.member, one.review), (None, vec![(id(1), Reason::Shared)]));
        let family = decide(&[(Card, 2), (Email, 4), (LicencePlate, 5)], &[before()]);
        assert_eq!((family.member, family.review), (None, vec![(id(1), Reason::Shared)]));
    }

    #[test]
    fn a_device_is_a_hint() {
        // another card on the same device is another person
        let decision = decide(&[(Card, 2), (Device, 3)], &[known(1, &[(Card, 1), (Device, 3)])]);
        assert_eq!((decision.member, decision.review), (None, vec![]));
        // among those without a name it is enough
        assert_eq!(decide(&[(Device, 3)], &[known(1, &[(Device, 3)])]).member, Some(id(1)));
        assert_eq!(decide(&[(Device, 3)], &[known(1, &[(Card, 1), (Device, 3)])]).member, None);
    }

    #[test]
    fn anonymous_history_merges_at_the_first_named_purchase() {
        let nameless = || known(9, &[(Device, 3), (WechatOpenId, 5)]);
        // who had no name gets one
        let first = decide(&[(Card, 1), (Device, 3)], &[nameless()]);
        assert_eq!((first.member, first.absorbed), (Some(id(9)), vec![]));
        // a member who was known is joined by it
        let members = [nameless(), known(1, &[(Card, 1), (Phone, 7)])];
        let joined = decide(&[(Card, 1), (Device, 3)], &members);
        assert_eq!((joined.member, joined.absorbed), (Some(id(1)), vec![id(9)]));
        // by a proof as well
        let joined = decide(&[(Card, 1), (WechatOpenId, 5)], &members);
        assert_eq!((joined.member, joined.absorbed), (Some(id(1)), vec![id(9)]));
        // not when the device is also another named member's
        let family = [nameless(), known(1, &[(Card, 1)]), known(2, &[(Card, 2), (Device, 3)])];
        assert_eq!(decide(&[(Card, 1), (Device, 3)], &family).absorbed, vec![]);
        // nor when something speaks against it
        let other = [
            known(9, &[(Device, 3), (WechatUnionId, 5)]),
            known(1, &[(Card, 1), (WechatUnionId, 6)]),
        ];
        assert_eq!(decide(&[(Card, 1), (Device, 3)], &other).absorbed, vec![]);
    }

    #[test]
    fn a_second_one_of_a_single_kind_is_not_taken() {
        let before = [known(1, &[(Card, 1), (WechatUnionId, 5)])];
        let decision = decide(&[(Card, 1), (WechatUnionId, 6)], &before);
        assert_eq!((decision.member, decision.taken), (Some(id(1)), vec![0]));
    }

    #[test]
    fn a_card_and_a_phone_that_were_never_shown_together_are_halves() {
        let halves = || {
            [known(1, &[(Card, 1), (PaymentToken, 4)]), known(2, &[(Phone, 7), (WechatOpenId, 5)])]
        };
        let came = [(Card, 1), (Phone, 7)];
        let merged = decide_and_merge(&came, &halves());
        assert_eq!((merged.member, merged.absorbed), (Some(id(1)), vec![id(2)]));
        assert!(merged.review.is_empty());
        // or a person says so
        let reviewed = decide(&came, &halves());
        assert_eq!((reviewed.absorbed, reviewed.review), (vec![], vec![(id(2), Reason::Phone)]));
        // another card, another device: another person, whose phone it is
        let family =
            [known(1, &[(Card, 1), (Device, 4)]), known(2, &[(Phone, 7), (Card, 2), (Device, 5)])];
        assert_eq!(decide_and_merge(&came, &family).absorbed, vec![]);
        // two kinds differ, and nothing agrees
        let two = [
            known(1, &[(Card, 1), (AppUserId, 1)]),
            known(2, &[(Phone, 7), (Card, 2), (AppUserId, 2)]),
        ];
        assert_eq!(decide_and_merge(&came, &two).absorbed, vec![]);
        // a changed card, paid for as before
        let changed = [
            known(1, &[(Card, 1), (PaymentToken, 4)]),
            known(2, &[(Phone, 7), (Card, 2), (PaymentToken, 4)]),
        ];
        assert_eq!(decide_and_merge(&came, &changed).absorbed, vec![id(2)]);
    }

    #[test]
    fn an_account_without_a_name_joins_the_holder_of_the_phone_it_is_bound_to() {
        let members = [known(9, &[(WechatOpenId, 5)]), known(1, &[(Card, 1), (Phone, 7)])];
        let bound = decide(&[(WechatOpenId, 5), (Phone, 7)], &members);
        assert_eq!((bound.member, bound.absorbed), (Some(id(1)), vec![id(9)]));
    }
}
