//! Logs that go from one constitution to the next, rightly and against one rule each.

use super::fixture::{Alliance, Content, NOTICE, brand, sign};
use super::places;
use crate::amount::Rate;
use crate::audit::CHECKPOINT_FILE;
use crate::constitution::tests::draft;
use crate::crypto::SigningKey;
use crate::epochs::{CertifiedEntry, Constitutions, DraftReference};
use crate::ids::{ConstitutionHash, Epoch};
use crate::log::block::PublicEntry;
use crate::log::checkpoint::SignedCheckpoint;
use crate::time::Milliseconds;

fn says(public: Vec<PublicEntry>) -> Content {
    Content { public, ..Content::default() }
}

/// `a`, `b` and `c` of four brands, a quorum, adopt another rate from `a` to `b`.
struct Changing {
    it: Alliance,
    draft: DraftReference,
    ballots: Vec<CertifiedEntry>,
}

fn changing() -> Changing {
    let mut it = Alliance::new(4);
    let draft = it.follow(|next| {
        next.rates.insert((brand("a"), brand("b")), Rate::new(9, 10).unwrap());
    });
    let adopted = PublicEntry::Adopted(draft);
    let ballots = ["a", "b", "c"].map(|log| {
        it.block(log, says(vec![adopted.clone()]));
        it.shown(log, 0, &adopted)
    });
    Changing { it, draft, ballots: ballots.to_vec() }
}

impl Changing {
    fn entries(&self) -> Vec<PublicEntry> {
        let ballots = self.ballots.iter().map(|it| PublicEntry::Ballot(Box::new(it.clone())));
        ballots.chain([PublicEntry::Switch(self.draft)]).collect()
    }

    /// The fourth log takes it up, spoilt.
    fn found(mut self, public: Vec<PublicEntry>) -> Vec<String> {
        self.it.block("d", says(public));
        places(&self.it.audit(&[]))
    }
}

#[test]
pub(super) fn logs_that_take_up_a_constitution_after_its_notice_are_sound() {
    let mut of = changing();
    of.it.wait(NOTICE.get());
    for log in ["a", "b", "c", "d"] {
        of.it.block(log, says(of.entries()));
    }
    let sealed = vec![of.it.exchange("a", "b", 100)];
    of.it.block("a", Content { sealed, ..Content::default() });
    of.it.block("b", Content { recognised: vec![brand("a")], ..Content::default() });
    let report = of.it.audit(&[Alliance::auditor_key()]);
    assert_eq!((places(&report), report.counts.payloads), (Vec::new(), 1));
    assert_eq!(report.epoch, Epoch::new(2));

    // the same logs under the first constitution alone
    of.it.constitutions = Constitutions::from(of.it.constitution.clone());
    let without = places(&of.it.audit(&[]));
    assert!(without.contains(&"a 2 - block/37".to_owned()), "{without:?}");
}

#[test]
pub(super) fn too_few_adoptions_or_too_early() {
    let mut of = changing();
    assert_eq!(changing().found(of.entries()), ["d 1 - block/36"]);
    of.it.wait(NOTICE.get());
    of.ballots.pop();
    let public = of.entries();
    assert_eq!(of.found(public), ["d 1 - block/35"]);
    // one adoption shown twice is one
    let mut of = changing();
    of.it.wait(NOTICE.get());
    of.ballots[2] = of.ballots[0].clone();
    let public = of.entries();
    assert_eq!(of.found(public), ["d 1 - block/31"]);
}

#[test]
pub(super) fn statements_that_count_for_nothing() {
    let mut of = changing();
    of.it.wait(NOTICE.get());
    let (draft, entries) = (of.draft, of.entries());
    let found = |public| {
        let mut of = changing();
        of.it.wait(NOTICE.get());
        of.found(public)
    };
    let later = DraftReference { epoch: Epoch::new(3), ..draft };
    assert_eq!(found(vec![PublicEntry::Adopted(later)]), ["d 1 - block/30"]);
    let declined = PublicEntry::Declined(draft);
    assert_eq!(found(vec![PublicEntry::Adopted(draft), declined]), ["d 1 - block/31"]);
    // shown for nothing
    assert_eq!(found(entries[..1].to_vec()), ["d 1 - block/32"]);

    let spoilt = |spoil: fn(&mut CertifiedEntry)| {
        let mut of = changing();
        of.it.wait(NOTICE.get());
        spoil(&mut of.ballots[1]);
        let public = of.entries();
        of.found(public)
    };
    assert_eq!(spoilt(|it| it.certificate.commits.truncate(2)), ["d 1 - block/33"]);
    assert_eq!(spoilt(|it| it.index = crate::ids::LeafIndex::new(3)), ["d 1 - block/33"]);
    let other = DraftReference { constitution: ConstitutionHash::from_bytes([7; 32]), ..draft };
    let another = PublicEntry::Adopted(other);
    let mut forged = changing();
    forged.it.wait(NOTICE.get());
    forged.ballots[1].entry = crate::log::block::Entry::Public(another.clone()).to_bytes();
    let public = forged.entries();
    assert_eq!(forged.found(public), ["d 1 - block/33"]);

    // `a` adopted the draft; another one needs the proof that it is out
    let mut of = changing();
    of.it.block("a", says(vec![another.clone()]));
    assert_eq!(places(&of.it.audit(&[])), ["a 2 - block/34"]);
    // which two refusals of four brands are
    let mut it = Alliance::new(4);
    let declined = PublicEntry::Declined(draft);
    it.block("a", says(vec![PublicEntry::Adopted(draft)]));
    let mut public: Vec<PublicEntry> = ["b", "c"]
        .map(|log| {
            it.block(log, says(vec![declined.clone()]));
            PublicEntry::Ballot(Box::new(it.shown(log, 0, &declined)))
        })
        .to_vec();
    public.push(another);
    it.block("a", says(public.clone()));
    assert_eq!(places(&it.audit(&[])), Vec::<String>::new());
    public.remove(0);
    let mut fewer = Alliance::new(4);
    fewer.block("a", says(vec![PublicEntry::Adopted(draft)]));
    for log in ["b", "c"] {
        fewer.block(log, says(vec![declined.clone()]));
    }
    fewer.block("a", says(public));
    assert_eq!(places(&fewer.audit(&[])), ["a 2 - block/34"]);
}

#[test]
pub(super) fn a_log_that_took_up_a_constitution_is_under_it() {
    let mut of = changing();
    of.it.wait(NOTICE.get());
    of.it.block("d", says(of.entries()));
    // its next block says the old epoch, and is certified as such
    let spoil = |it: &mut super::fixture::Draft| it.header.epoch = Epoch::new(1);
    of.it.spoilt_block("d", Content::default(), |it, _, _| spoil(it));
    assert_eq!(places(&of.it.audit(&[])), ["d 2 - block/3"]);
}

/// The key that a constitution replaced signs the log's checkpoints beside the new one; by itself it does
/// not count any more, and no third key is let pass.
#[test]
pub(super) fn a_rotated_checkpoint_key_and_the_one_before_it_both_sign() {
    let mut it = Alliance::new(4);
    let new = SigningKey::from_seed(&[77; 32]).unwrap();
    let draft = it.follow(|next| {
        next.brands.get_mut(&brand("d")).unwrap().keys.checkpoint = new.public();
    });
    let adopted = PublicEntry::Adopted(draft);
    let ballots = ["a", "b", "c"].map(|log| {
        it.block(log, says(vec![adopted.clone()]));
        PublicEntry::Ballot(Box::new(it.shown(log, 0, &adopted)))
    });
    let switch = ballots.into_iter().chain([PublicEntry::Switch(draft)]).collect();
    // the block by which it takes it up is under the old one, and so is the checkpoint of that tree
    it.block("d", says(switch));
    assert_eq!(places(&it.audit(&[])), Vec::<String>::new());
    let behind = it.file("d", CHECKPOINT_FILE).clone();
    it.block("d", Content::default());
    assert_eq!(places(&it.audit(&[])), ["d - - checkpoint/signature"]);
    let of = SignedCheckpoint::parse(it.file("d", CHECKPOINT_FILE)).unwrap();
    let mut found = |note: String| {
        *it.file("d", CHECKPOINT_FILE) = note.into_bytes();
        places(&it.audit(&[]))
    };
    let mut signed = SignedCheckpoint::sign(of.unverified().clone(), &new).unwrap();
    assert_eq!(found(signed.to_string()), Vec::<String>::new());
    signed.sign_also(&sign(brand("d"), 2)).unwrap();
    assert_eq!(found(signed.to_string()), Vec::<String>::new());
    signed.sign_also(&SigningKey::from_seed(&[78; 32]).unwrap()).unwrap();
    assert_eq!(found(signed.to_string()), ["d - - checkpoint/stranger"]);
    // a copy between the certificate and the checkpoint of a block
    assert_eq!(found(String::from_utf8(behind).unwrap()), Vec::<String>::new());
}

#[test]
pub(super) fn an_adoption_that_is_not_in_the_log_it_is_shown_from() {
    let mut of = changing();
    let mut fork = Alliance::new(4);
    fork.wait(5);
    let adopted = PublicEntry::Adopted(of.draft);
    fork.block("c", says(vec![adopted.clone()]));
    of.ballots[2] = fork.shown("c", 0, &adopted);
    of.it.wait(NOTICE.get());
    let public = of.entries();
    assert_eq!(of.found(public), ["d 1 - epoch/ballot"]);
}

#[test]
pub(super) fn a_log_begins_when_its_constitution_is_adopted_and_in_effect() {
    let join = |late: bool, adopt: usize| {
        let mut it = Alliance::new(4);
        let newcomer = brand("e");
        let draft = it.follow(|next| {
            let five = draft(5);
            next.brands.insert(newcomer, five.brands[&newcomer].clone());
            // told of with the rates that members had
            next.return_window = Milliseconds::new(1);
        });
        for log in ["a", "b", "c", "d"].into_iter().take(adopt) {
            it.block(log, says(vec![PublicEntry::Adopted(draft)]));
        }
        if late {
            it.wait(NOTICE.get());
        }
        it.block("e", Content::default());
        places(&it.audit(&[]))
    };
    assert!(join(true, 3).is_empty());
    assert_eq!(join(false, 3), ["e 1 - epoch/began"]);
    assert_eq!(join(true, 2), ["e 1 - epoch/began"]);
}
