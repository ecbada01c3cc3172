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
//!    a kind of which a person has one, or, when no address, device, car or way of paying that came is
//!    the holder's, another account of the brand's own app, or a new card or account together with
//!    others of these. Then it is another person on a shared or reassigned number, who is entered
//!    without it, and a person reviews the pair.
//! 3. Without either, a card or phone number that nobody has and that is one slip of the hand from one
//!    of a member's says who it is, if an address, device, car or way of paying that came is the same
//!    member's, no other member is as near, and nothing speaks against it. A card by itself does when
//!    it is one slip from one card alone and the brand's numbers are far from each other, so that it is
//!    no new card. The mistyped number itself is not kept.
//! 4. Two shared identifiers of different kinds (address, plate, payment token) say who it is, unless
//!    something speaks against it. One is a pair to review.
//! 5. A device alone says who it is only among members without a name. It is a hint.
//! 6. A member without a name is merged into one with a name when they meet in an identifier that no
//!    other named member has: at the first named purchase.
//!
//! A number that the vault gave to a member without a card is found like a card, and speaks against
//! nothing: another card beside it is the member's first. Whom a person has parted, or found to be two
//! people, no rule joins.
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
    /// Of those, numbers that the vault gave where there was no card.
    pub(super) assigned: BTreeSet<Seen>,
    /// What was seen and is one slip of the hand from a card or phone number of the member's.
    pub(super) slips: BTreeSet<Seen>,
}

impl Known {
    fn has(&self, seen: &Seen) -> bool {
        self.held.contains(seen)
    }

    /// What the member came with, or was given by who issues such.
    fn own(&self) -> impl Iterator<Item = &Seen> {
        self.held.iter().filter(move |held| !self.assigned.contains(*held))
    }

    fn has_kind(&self, kind: IdentifierKind) -> bool {
        self.own().any(|(held, _)| *held == kind)
    }

    fn has_account(&self) -> bool {
        self.own().any(|(held, _)| held.strength() == Strength::Proof)
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

/// Decides by the rules above. `known` has every member who has one of `seen`, or, when nobody has, the
/// one whose card is one slip from the one that came; members with names who are halves of one person
/// are merged, or only proposed for review. Pairs in `apart` are two people by a person's word.
pub(super) fn resolve(
    seen: &[Seen],
    known: &[Known],
    merge_halves: bool,
    apart: &BTreeSet<(MemberId, MemberId)>,
) -> Decision {
    let are_apart = |one: MemberId, other: MemberId| {
        apart.contains(&(one, other)) || apart.contains(&(other, one))
    };
    let mut review = BTreeMap::new();
    let mut absorbed = BTreeSet::new();
    let mut leave_phone = false;
    let mut leave_slips = false;

    let by_proof = ranked(seen, known, Strength::Proof);
    let mut main: Option<&Known> = None;
    if let Some((first, _)) = by_proof.first() {
        let by_phone = ranked(seen, known, Strength::Phone).first().map(|(holder, _)| *holder);
        // an account that nobody had a name for, and now a phone number that somebody has
        let names = by_phone.filter(|holder| {
            !first.named
                && holder.named
                && !is_another_person(seen, holder)
                && by_proof
                    .iter()
                    .all(|(it, _)| !differ(it, holder) && !are_apart(it.member, holder.member))
        });
        let chosen = names.unwrap_or(first);
        main = Some(chosen);
        let others = by_proof.iter().map(|(other, _)| (*other, Reason::Proofs));
        let others = others.chain(by_phone.map(|other| (other, Reason::Phone)));
        for (other, reason) in others.filter(|(other, _)| other.member != chosen.member) {
            let one_person = !other.named && !differ(other, chosen)
                || merge_halves && other.named && chosen.named && are_halves(other, chosen);
            if one_person && !are_apart(other.member, chosen.member) {
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
    } else if let Some(holder) = mistyped(seen, known) {
        leave_slips = true;
        main = Some(holder);
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
            let nameless: Vec<&Known> =
                holders.iter().filter(|it| !it.named && !is_main(it)).copied().collect();
            // two with accounts may be two people; whoever has none is nobody else
            let accounts = nameless.iter().filter(|it| it.has_account()).count();
            if others_named || accounts > 1 {
                continue;
            }
            let joining = nameless.iter().filter(|it| {
                !speaks_against(seen, it) && main.is_none_or(|main| !differ(main, it))
            });
            absorbed.extend(joining.map(|it| it.member));
        }
    }
    let mut member = main.map(|main| main.member);
    if member.is_none() {
        // whoever had no name gets one now
        member = absorbed.pop_first();
    }
    let main = known.iter().find(|it| Some(it.member) == member);
    absorbed.retain(|it| {
        let other = known.iter().find(|known| known.member == *it);
        main.zip(other).is_some_and(|(main, other)| {
            main.member != *it && !are_apart(main.member, *it) && !differ(main, other)
        })
    });
    review.retain(|it, _| Some(*it) != member && !absorbed.contains(it));

    let mut taken = Vec::new();
    for (place, it @ (kind, _)) in seen.iter().enumerate() {
        let elsewhere = known.iter().find(|k| k.has(it) && Some(k.member) != member);
        // what a merged member has comes with the merge, and goes with its undoing
        if known.iter().any(|k| absorbed.contains(&k.member) && k.has(it)) {
            continue;
        }
        // what was mistyped may be somebody else's number
        if leave_slips && main.is_some_and(|main| main.slips.contains(it)) {
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
        it.own().filter(|(held, _)| *held == kind).map(|(_, hash)| *hash).collect()
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

/// The one member among whose cards or phone numbers is what somebody meant who mistyped it: rule 3.
fn mistyped<'a>(seen: &[Seen], known: &'a [Known]) -> Option<&'a Known> {
    let weaker = || seen.iter().filter(|(kind, _)| kind.strength() <= Strength::Shared);
    let mut fitting = known.iter().filter(|holder| {
        let agrees = weaker().any(|it| holder.has(it));
        let comparable = weaker().any(|(kind, _)| holder.has_kind(*kind));
        // whoever has nothing of what was seen is known by the card alone
        holder.named
            && !holder.slips.is_empty()
            && (agrees || !comparable)
            && !speaks_against(seen, holder)
    });
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}

/// Whether what was seen has an account of a kind of which the holder has another.
fn differs(seen: &[Seen], holder: &Known, only_single: bool) -> bool {
    seen.iter().any(|it @ (kind, _)| {
        kind.strength() == Strength::Proof
            && (!only_single || kind.is_single())
            && holder.has_kind(*kind)
            && !holder.has(it)
            && !holder.slips.contains(it)
    })
}

/// Whether two members have different accounts of a kind of which a person has one.
fn differ(one: &Known, other: &Known) -> bool {
    let own: Vec<Seen> = other.own().copied().collect();
    differs(&own, one, true)
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
    // the app's accounts are opened with the phone number: two on one are seldom one person's
    let other_app = seen
        .iter()
        .any(|it| it.0 == IdentifierKind::AppUserId && holder.has_kind(it.0) && !holder.has(it));
    !agrees && (other_app || comparable && speaks_against(seen, holder))
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
        let held = seen(list).into_iter().collect();
        let (assigned, slips) = (BTreeSet::new(), BTreeSet::new());
        Known { member: id(number), named, held, assigned, slips }
    }

    fn decide(list: &[(IdentifierKind, u8)], members: &[Known]) -> Decision {
        resolve(&seen(list), members, false, &BTreeSet::new())
    }

    fn decide_and_merge(list: &[(IdentifierKind, u8)], members: &[Known]) -> Decision {
        resolve(&seen(list), members, true, &BTreeSet::new())
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

    /// A member without a name, or with none but the number that the vault gave.
    fn assigned(number: u8, list: &[(IdentifierKind, u8)], card: u8) -> Known {
        let named = list.iter().any(|(kind, _)| kind.is_name());
        let number_given = (Card, [card; 32]);
        let mut member = known(number, list);
        member.held.insert(number_given);
        member.assigned.insert(number_given);
        Known { named, ..member }
    }

    fn with_slip(member: Known, kind: IdentifierKind, value: u8) -> Known {
        Known { slips: [(kind, [value; 32])].into(), ..member }
    }

    #[test]
    fn an_assigned_number_is_found_and_speaks_against_nothing() {
        let before = || assigned(1, &[(Phone, 7), (AppUserId, 3), (PaymentToken, 4)], 90);
        assert_eq!(decide(&[(Card, 90)], &[before()]).member, Some(id(1)));
        // the first card, paid for by another in the family
        let first = decide(&[(Card, 1), (Phone, 7), (PaymentToken, 5)], &[before()]);
        assert_eq!((first.member, first.taken), (Some(id(1)), vec![0, 1, 2]));
        // a card that came before, paid for by another in the family
        let halves = [before(), known(2, &[(Card, 1), (PaymentToken, 5)])];
        let joined = decide_and_merge(&[(Card, 1), (Phone, 7)], &halves);
        assert_eq!((joined.member, joined.absorbed), (Some(id(2)), vec![id(1)]));
        // two real cards still differ
        let two = [
            known(1, &[(Phone, 7), (Card, 8), (PaymentToken, 4)]),
            known(2, &[(Card, 1), (PaymentToken, 5)]),
        ];
        assert_eq!(decide_and_merge(&[(Card, 1), (Phone, 7)], &two).absorbed, vec![]);
    }

    #[test]
    fn another_account_of_the_app_on_one_phone_is_another_person_unless_something_agrees() {
        let before = || known(1, &[(Card, 1), (Phone, 7), (AppUserId, 3), (Device, 4)]);
        let other = decide(&[(AppUserId, 5), (Phone, 7)], &[before()]);
        assert_eq!((other.member, other.review), (None, vec![(id(1), Reason::Phone)]));
        let anew = decide(&[(AppUserId, 5), (Phone, 7), (Device, 4)], &[before()]);
        assert_eq!(anew.member, Some(id(1)));
    }

    #[test]
    fn a_mistyped_number_is_its_holders_when_something_else_is_too() {
        let member = || known(1, &[(Card, 1), (Phone, 7), (Device, 3), (WechatUnionId, 4)]);
        let near = |kind, value| with_slip(member(), kind, value);
        let phone = decide(&[(Phone, 70), (Device, 3)], &[near(Phone, 70)]);
        assert_eq!((phone.member, phone.taken), (Some(id(1)), vec![1]));
        let account = [(AlipayUserId, 9), (Phone, 70), (Device, 3)];
        assert_eq!(decide(&account, &[near(Phone, 70)]).member, Some(id(1)));
        assert_eq!(decide(&[(Card, 10), (Device, 3)], &[near(Card, 10)]).member, Some(id(1)));
        // a phone number that is only near is another's
        let card = decide(&[(Card, 10), (Device, 3)], &[member()]);
        assert_eq!(card.member, None);
        // what differs speaks against it, and so does a second one as near
        let other = decide(&[(Phone, 70), (Device, 3), (WechatUnionId, 5)], &[near(Phone, 70)]);
        assert_eq!(other.member, None);
        let twin = with_slip(known(2, &[(Phone, 8), (Device, 3)]), Phone, 70);
        assert_eq!(decide(&[(Phone, 70), (Device, 3)], &[near(Phone, 70), twin]).member, None);
        // by the card alone, where the vault found no other as near; not with another device
        let alone = known(1, &[(Card, 1), (Device, 3)]);
        let alone = with_slip(alone, Card, 10);
        let lone = decide(&[(Card, 10)], std::slice::from_ref(&alone));
        assert_eq!((lone.member, lone.taken), (Some(id(1)), vec![]));
        assert_eq!(decide(&[(Card, 10), (Device, 5)], &[alone]).member, None);
        // a known card or phone number says more than one that is near
        let known_card = [near(Phone, 8), known(2, &[(Card, 2), (Phone, 8)])];
        let decision = decide(&[(Phone, 8), (Device, 3)], &known_card);
        assert_eq!(decision.member, Some(id(2)));
    }

    #[test]
    fn twins_at_one_address_with_one_phone_stay_two() {
        // one house, car, tablet and bank account, numbers given out one after another
        let shared = [(Phone, 7), (Email, 3), (LicencePlate, 4), (PaymentToken, 5), (Device, 6)];
        let one = || {
            let mut all = vec![(Card, 1), (WechatUnionId, 11)];
            all.extend(shared);
            known(1, &all)
        };
        let mut came = vec![(WechatUnionId, 12)];
        came.extend(shared);
        let other = decide_and_merge(&came, &[one()]);
        assert_eq!((other.member, other.absorbed), (None, vec![]));
        assert_eq!(other.review, [(id(1), Reason::Phone)]);
        let without_phone: Vec<_> = came.iter().copied().filter(|it| it.0 != Phone).collect();
        let other = decide_and_merge(&without_phone, &[one()]);
        assert_eq!((other.member, other.absorbed), (None, vec![]));
        // both are known by now: each stays who that is
        let two = [one(), known(2, &without_phone)];
        let again = decide_and_merge(&came, &two);
        assert_eq!((again.member, again.absorbed), (Some(id(2)), vec![]));
    }

    #[test]
    fn whom_a_person_has_parted_no_rule_joins_again() {
        let members = [known(9, &[(Device, 3), (WechatOpenId, 5)]), known(1, &[(Card, 1)])];
        let apart = BTreeSet::from([(id(1), id(9))]);
        let decide = |list: &[(IdentifierKind, u8)]| resolve(&seen(list), &members, true, &apart);
        let proof = decide(&[(Card, 1), (WechatOpenId, 5)]);
        assert_eq!((proof.member, proof.absorbed), (Some(id(1)), vec![]));
        assert_eq!((proof.taken, proof.review), (vec![0], vec![(id(9), Reason::Proofs)]));
        let device = decide(&[(Card, 1), (Device, 3)]);
        assert_eq!((device.member, device.absorbed), (Some(id(1)), vec![]));
    }

    #[test]
    fn visits_without_an_account_join_whoever_gets_a_name() {
        let visit = |number| known(number, &[(Device, 3), (PaymentToken, number)]);
        let came = [(Card, 1), (Device, 3)];
        let all = [visit(8), visit(9), known(7, &[(Device, 3), (WechatOpenId, 5)])];
        let named = decide(&came, &all);
        assert_eq!((named.member, named.absorbed), (Some(id(7)), vec![id(8), id(9)]));
        // two accounts may be two people
        let account = |number, kind| known(number, &[(Device, 3), (kind, 5)]);
        let two = [account(6, AppUserId), account(7, WechatOpenId), visit(8)];
        let named = decide(&came, &two);
        assert_eq!((named.member, named.absorbed), (None, vec![]));
    }

    /// Identifiers by number: three values of each kind.
    fn numbered(number: usize) -> Seen {
        let value = u8::try_from(number % 3 + 1).unwrap();
        (IdentifierKind::ALL[number / 3], [value; 32])
    }

    proptest::proptest! {
        #[test]
        fn the_order_of_identifiers_and_members_decides_nothing(
            holders in proptest::collection::vec(proptest::option::of(0_u8..4), 39),
            came in proptest::collection::btree_set(0_usize..39, 1..7),
            merge_halves in proptest::bool::ANY,
        ) {
            let came: Vec<Seen> = came.into_iter().map(numbered).collect();
            let all: Vec<Known> = (0_u8..4)
                .map(|holder| {
                    let held: BTreeSet<Seen> = (0..39)
                        .filter(|number| holders[*number] == Some(holder))
                        .map(numbered)
                        .collect();
                    let named = held.iter().any(|(kind, _)| kind.is_name());
                    let (assigned, slips) = (BTreeSet::new(), BTreeSet::new());
                    Known { member: id(holder), named, held, assigned, slips }
                })
                .filter(|member| came.iter().any(|it| member.has(it)))
                .collect();
            let apart = BTreeSet::new();
            let decision = resolve(&came, &all, merge_halves, &apart);
            let backwards: Vec<Seen> = came.iter().rev().copied().collect();
            let reversed: Vec<Known> = all.into_iter().rev().collect();
            let again = resolve(&backwards, &reversed, merge_halves, &apart);
            proptest::prop_assert_eq!(
                (decision.member, &decision.absorbed, &decision.review),
                (again.member, &again.absorbed, &again.review)
            );
            let taken: BTreeSet<Seen> = decision.taken.iter().map(|place| came[*place]).collect();
            let retaken: BTreeSet<Seen> =
                again.taken.iter().map(|place| backwards[*place]).collect();
            proptest::prop_assert_eq!(taken, retaken);
            // whom the identifiers of one kind of which a person has one tell apart are not one
            let of = |it: MemberId| reversed.iter().find(|known| known.member == it).unwrap();
            if let Some(member) = decision.member {
                for absorbed in &decision.absorbed {
                    proptest::prop_assert!(!differ(of(member), of(*absorbed)));
                }
            }
        }
    }
}
