//! Logs that were certified by everyone and break one rule.

use super::fixture::{Alliance, Content, Draft, application_leaf, brand};
use super::places;
use crate::amount::{Points, Value};
use crate::audit::{OpeningKey, Reason};
use crate::constitution::Constitution;
use crate::crypto::sealed::{BlockSecret, Cipher, SealingContext, SealingSecret, Wrapped};
use crate::exchange::{Payload, Return, ReturnReason, Unlink};
use crate::ids::{
    Commitment, Epoch, FragmentsRoot, HeaderHash, Height, LeafIndex, MemberHandle, RootHash,
    StatementHash,
};
use crate::log::block::{
    APPLICATION_MAX, ApplicationEntry, Closing, Entry, PublicEntry, Recognised, StatementEntry,
};
use crate::log::kept::{Answered, OperationLogHead};
use crate::time::{Milliseconds, Timestamp};
use crate::witness::rules::Tip;

/// Two blocks of `a`, the second spoilt; what a reader without keys finds.
fn spoilt(spoil: impl FnOnce(&mut Draft, &Constitution, &Tip)) -> Vec<String> {
    let mut it = Alliance::new(4);
    let sealed = vec![it.exchange("a", "b", 3)];
    it.block("a", Content { sealed: sealed.clone(), ..Content::default() });
    it.spoilt_block("a", Content { sealed, ..Content::default() }, spoil);
    places(&it.audit(&[]))
}

#[test]
pub(super) fn headers_that_do_not_follow() {
    assert!(spoilt(|_, _, _| {}).is_empty());
    assert_eq!(spoilt(|it, _, _| it.header.version = 1), ["a 2 - block/2"]);
    assert_eq!(spoilt(|it, _, _| it.header.epoch = Epoch::new(2)), ["a 2 - block/3"]);
    let height = spoilt(|it, _, _| it.header.height = Height::new(3));
    assert_eq!(height, ["a 2 15 block/header", "a 2 - block/4"]);
    let previous = spoilt(|it, _, _| it.header.previous = HeaderHash::GENESIS);
    assert_eq!(previous, ["a 2 - block/5"]);
    let root = spoilt(|it, _, _| it.header.previous_root = RootHash::from_bytes([1; 32]));
    assert_eq!(root, ["a 2 - block/5"]);
    let first = spoilt(|it, _, _| {
        it.header.first = crate::ids::LeafIndex::new(it.header.first.get() + 1);
    });
    assert_eq!(first, ["a 2 - block/header", "a 2 - block/6"]);
    let time =
        spoilt(|it, _, tip| it.header.time = Timestamp::from_unix_ms(tip.time.unix_ms() - 1));
    assert_eq!(time, ["a 2 - block/8"]);
    let body_root = spoilt(|it, _, _| it.header.body_root = RootHash::from_bytes([1; 32]));
    assert_eq!(body_root, ["a 2 - block/header"]);
}

#[test]
pub(super) fn blocks_of_another_shape() {
    let fewer = spoilt(|it, constitution, tip| {
        it.body.truncate(6);
        it.refit(constitution, &tip.frontier);
    });
    assert_eq!(fewer, ["a 2 - block/7"]);
    assert_eq!(spoilt(|it, _, _| it.header.columns.reverse()), ["a 2 - block/10"]);
    assert_eq!(spoilt(|it, _, _| drop(it.header.secrets.pop())), ["a 2 - block/10"]);
    let fragments = spoilt(|it, _, _| it.header.fragments = FragmentsRoot::from_bytes([1; 32]));
    assert_eq!(fragments, ["a 2 - block/16"]);
    assert_eq!(spoilt(|it, _, _| it.header.body_bytes += 1), ["a 2 - block/16"]);
    assert_eq!(spoilt(|it, _, _| it.header.public_leaves = 1), ["a 2 8 block/17"]);
    let replaced = |entry: Vec<u8>| {
        spoilt(move |it, constitution, tip| {
            it.body[4] = entry;
            it.refit(constitution, &tip.frontier);
        })
    };
    assert_eq!(replaced(application_leaf()), ["a 2 12 block/17"]);
    assert_eq!(replaced(vec![0xff; 9]), ["a 2 12 entry/unreadable"]);
    let short = Entry::Sealed(crate::crypto::sealed::SealedEntry {
        commitment: Commitment::from_bytes([1; 32]),
        ciphertext: vec![0; 20],
    });
    assert_eq!(replaced(short.to_bytes()), ["a 2 12 entry/size"]);
}

#[test]
pub(super) fn totals_and_limits() {
    let falls = spoilt(|it, _, _| it.header.columns[0].sent = Value::ZERO);
    assert_eq!(falls, ["a 2 - block/11"]);
    let no_step = spoilt(|it, _, _| it.header.columns[0].sent = Value::new(10_000_001).unwrap());
    assert_eq!(no_step, ["a 2 - block/11"]);
    // nobody has a block at that height
    let beyond = spoilt(|it, _, _| {
        it.header.columns[0].recognised =
            Recognised { height: Height::new(1), ..Recognised::NOTHING };
    });
    assert_eq!(beyond, ["a 2 - recognised/beyond"]);

    let recognises = |spoil: fn(&mut Recognised)| {
        let mut it = Alliance::new(4);
        let sealed = vec![it.exchange("b", "a", 3)];
        it.block("b", Content { sealed, ..Content::default() });
        let content = Content { recognised: vec![brand("b")], ..Content::default() };
        it.spoilt_block("a", content, |it, _, _| spoil(&mut it.header.columns[0].recognised));
        places(&it.audit(&[]))
    };
    assert!(recognises(|_| {}).is_empty());
    let more = recognises(|it| it.sent = Value::new(20_000_000).unwrap());
    assert_eq!(more, ["a 1 - block/12"]);
    assert_eq!(recognises(|it| it.block = HeaderHash::GENESIS), ["a 1 - block/12"]);

    let owes = |to: &[(&str, u64)]| {
        let mut it = Alliance::new(4);
        let sealed = to.iter().map(|(to, points)| it.exchange("a", to, *points)).collect();
        it.block("a", Content { sealed, ..Content::default() });
        places(&it.audit(&[Alliance::auditor_key()]))
    };
    assert!(owes(&[("b", 1_000), ("c", 1_000)]).is_empty());
    assert_eq!(owes(&[("b", 1_001)]), ["a 1 - block/13"]);
    assert_eq!(owes(&[("b", 800), ("c", 800), ("d", 800)]), ["a 1 - block/14"]);

    // to each as much as its limits allow, and together more than an amount can be
    let most = Value::new(Value::MAX.get() / 10_000_000 * 10_000_000).unwrap();
    let mut it = Alliance::with(4, |draft| {
        for brand in draft.brands.values_mut() {
            (brand.pair_limit, brand.total_limit) = (most, most);
        }
    });
    it.spoilt_block("a", Content::default(), |it, _, _| {
        it.header.columns.iter_mut().for_each(|column| column.sent = most);
    });
    assert_eq!(places(&it.audit(&[])), ["a 1 - block/22"]);
}

#[test]
pub(super) fn a_certificate_of_another_block_than_the_one_that_is_there() {
    let mut it = Alliance::sound(1);
    it.certify_as("d", |block| block.header = HeaderHash::GENESIS);
    assert_eq!(places(&it.audit(&[])), ["d 3 23 block/header"]);
    let mut it = Alliance::sound(1);
    it.certify_as("d", |block| block.root = RootHash::from_bytes([3; 32]));
    assert_eq!(places(&it.audit(&[])), ["d 3 - checkpoint/root", "d 3 - tree/root"]);
    let mut it = Alliance::sound(1);
    it.certify_as("d", |block| block.height = Height::new(9));
    assert_eq!(places(&it.audit(&[]))[0], "d 3 - certificate/order");
}

/// One block of `a` with an exchange to `b` and one to `c`, spoilt; what the auditor finds.
fn spoilt_inside(spoil: impl FnOnce(&mut Draft, &Constitution, &Tip)) -> Vec<String> {
    let mut it = Alliance::new(4);
    let sealed = vec![it.exchange("a", "b", 3), it.exchange("a", "c", 4)];
    it.spoilt_block("a", Content { sealed, ..Content::default() }, spoil);
    assert!(places(&it.audit(&[])).is_empty(), "third parties see nothing of it");
    places(&it.audit(&[Alliance::auditor_key()]))
}

/// What an encapsulation is derived from: the first block's secret, or something else.
struct Derivation([u8; 32]);
const SECRET_1: Derivation = Derivation([1; 32]);
const OTHER: Derivation = Derivation([9; 32]);

impl Derivation {
    fn wrap_again(
        &self,
        context: SealingContext,
        reader: &str,
        instead_of: &Wrapped,
        plaintext: &[u8],
    ) -> Wrapped {
        context.wrap(reader, &instead_of.key(), &self.0, plaintext).unwrap()
    }
}

#[test]
pub(super) fn what_was_sealed_otherwise_than_committed() {
    assert!(spoilt_inside(|_, _, _| {}).is_empty());
    let key = spoilt_inside(|it, _, _| it.header.columns[1].key = Commitment::from_bytes([1; 32]));
    assert_eq!(key, ["a 1 - block/18"]);
    let content =
        spoilt_inside(|it, _, _| it.header.columns[1].content = Commitment::from_bytes([1; 32]));
    assert_eq!(content, ["a 1 - block/21"]);
    // wrapped to the right key, and another thing; or the right thing, and not as it follows from the
    // block secret
    let opening = spoilt_inside(|it, _, _| {
        let context = it.header.context();
        let opened = &mut it.header.columns[1].opening;
        *opened = SECRET_1.wrap_again(context, "c", opened, &[7; 88]);
    });
    assert_eq!(opening, ["a 1 - sealed/opening"]);
    for (reader, name) in [(0, "recovery"), (1, "a"), (2, "regulator")] {
        let other = spoilt_inside(|it, _, _| {
            let context = it.header.context();
            let secret = &mut it.header.secrets[reader];
            *secret = SECRET_1.wrap_again(context, name, secret, &[7; 32]);
        });
        assert_eq!(other, ["a 1 - sealed/secret"]);
        let own_way = spoilt_inside(|it, _, _| {
            let context = it.header.context();
            let secret = &mut it.header.secrets[reader];
            *secret = OTHER.wrap_again(context, name, secret, &[1; 32]);
        });
        assert_eq!(own_way, ["a 1 - sealed/secret"]);
    }
    let words = spoilt_inside(|it, constitution, tip| {
        let (secret, size) = (BlockSecret::from_bytes([99; 32]), constitution.payload_size());
        let index = crate::ids::LeafIndex::new(5);
        let padding = it.header.context().padding(&secret, index, size);
        it.body[5] = Entry::Sealed(padding).to_bytes();
        it.refit(constitution, &tip.frontier);
    });
    assert_eq!(words, ["a 1 5 sealed/padding"]);
    // the public ceiling is one step too high: no rule for third parties, one for who knows the total
    let ceiling =
        spoilt_inside(|it, _, _| it.header.columns[1].sent = Value::new(20_000_000).unwrap());
    assert_eq!(ceiling, ["a 1 - block/21"]);
}

#[test]
pub(super) fn sealed_with_another_cipher_than_the_constitutions() {
    assert_eq!(spoilt(|it, _, _| it.header.sealing.cipher = Cipher::Sm4Gcm), ["a 2 - block/55"]);
}

#[test]
pub(super) fn a_sealing_key_is_stated_once_and_not_for_longer_than_a_month() {
    let since = |ms| Timestamp::from_unix_ms(ms);
    let dated = spoilt(|it, _, _| it.header.sealing.since = since(it.header.time.unix_ms()));
    assert_eq!(dated, ["a 2 - block/56"]);
    // another key is stated from the block on that states it
    let key = SealingSecret::derive(&[50; 32]).1;
    let earlier = spoilt(|it, _, _| it.header.sealing.key = key);
    assert_eq!(earlier, ["a 2 - block/56"]);

    let after = |days: u64, turn: bool| {
        let mut it = Alliance::new(4);
        it.block("a", Content::default());
        it.pass(days * 24 * 3_600_000);
        if turn {
            it.turn_key("a", 50);
        }
        it.block("a", Content::default());
        places(&it.audit(&[Alliance::auditor_key()]))
    };
    assert!(after(34, false).is_empty());
    assert_eq!(after(36, false), ["a 2 - block/56"]);
    assert!(after(36, true).is_empty());
}

#[test]
pub(super) fn everyone_seals_to_the_key_that_was_recognised_and_to_no_other() {
    // b turns its key in its second block, which a does not recognise at first
    let world = |recognise: bool, spoil: &dyn Fn(&mut Draft)| {
        let mut it = Alliance::new(4);
        it.block("b", Content::default());
        it.block("a", Content { recognised: vec![brand("b")], ..Content::default() });
        it.turn_key("b", 50);
        it.block("b", Content::default());
        let recognised = if recognise { vec![brand("b")] } else { Vec::new() };
        let sealed = vec![it.exchange("a", "b", 3)];
        let content = Content { sealed, recognised, ..Content::default() };
        let header = it.spoilt_block("a", content, |it, _, _| spoil(it));
        // and stays with it
        it.block("a", Content::default());
        let found = places(&it.audit(&[Alliance::auditor_key()]));
        (header.column(brand("b")).unwrap().opening.key(), found)
    };
    let old = SealingSecret::derive(&crate::constitution::tests::seed(1, 6)).1;
    let new = SealingSecret::derive(&[50; 32]).1;
    assert_eq!(world(false, &|_| {}), (old, Vec::new()));
    assert_eq!(world(true, &|_| {}), (new, Vec::new()));

    // the other one of the two keys, each time with all that it takes to open it
    let to = |key| {
        move |it: &mut Draft| {
            let at = it.header.columns.iter_mut().find(|at| at.counterparty == brand("b"));
            let context = SealingContext {
                log: it.header.log,
                nonce: it.header.nonce,
                cipher: it.header.sealing.cipher,
            };
            at.unwrap().opening = context.wrap("b", &key, &[4; 32], &[7; 88]).unwrap();
        }
    };
    assert_eq!(world(true, &to(old)).1[0], "a 2 - block/57");
    assert_eq!(world(false, &to(new)).1[0], "a 2 - block/57");

    for (reader, name) in [(0, "recovery"), (1, "a"), (2, "regulator")] {
        let moved = spoilt(|it, _, _| {
            let key = SealingSecret::derive(&[60; 32]).1;
            it.header.secrets[reader] =
                it.header.context().wrap(name, &key, &[2; 32], &[2; 32]).unwrap();
        });
        assert_eq!(moved, ["a 2 - block/57"]);
    }
}

#[test]
fn an_auditors_later_key_counts_from_its_time() {
    let mut it = Alliance::with(4, |draft| {
        let later = SealingSecret::derive(&[78; 32]).1;
        draft.auditors[0].later = vec![(Timestamp::from_unix_ms(1_015), later)];
    });
    for _ in 0..2 {
        let sealed = vec![it.exchange("a", "b", 3)];
        it.block("a", Content { sealed, ..Content::default() });
    }
    let [first, second] = [77, 78].map(|seed| OpeningKey {
        secret: SealingSecret::derive(&[seed; 32]).0,
        ..Alliance::auditor_key()
    });
    let both = it.audit(&[first.clone(), second.clone()]);
    assert!(both.is_clean() && both.counts.payloads == 2);
    assert_eq!(places(&it.audit(&[second]))[0], "a 1 - sealed/secret");
    assert_eq!(places(&it.audit(&[first])), ["a 2 - sealed/secret"]);
}

/// The key of the first block was destroyed after its retention: what it said is not checkable, which is no
/// fault of who wrote it and never means that it was sound.
#[test]
fn what_was_sealed_to_a_destroyed_key_is_not_checkable() {
    let mut it = Alliance::with(4, |draft| {
        let later = SealingSecret::derive(&[78; 32]).1;
        draft.auditors[0].later = vec![(Timestamp::from_unix_ms(1_015), later)];
    });
    for _ in 0..2 {
        let sealed = vec![it.exchange("a", "b", 3)];
        it.block("a", Content { sealed, ..Content::default() });
    }
    let kept =
        [OpeningKey { secret: SealingSecret::derive(&[78; 32]).0, ..Alliance::auditor_key() }];
    assert_eq!(places(&it.audit(&kept))[0], "a 1 - sealed/secret");
    it.retention = Some(Milliseconds::new(5));
    let report = it.audit(&kept);
    assert_eq!(places(&report), Vec::<String>::new());
    let of = |reason| report.not_checked.iter().find(|it| it.reason == reason).map(|it| it.count);
    assert_eq!((of(Reason::Deleted), report.counts.payloads), (Some(7), 1));
    assert!(of(Reason::TotalsUnknown).is_some());
    // what is not so old, or was sealed otherwise than with a key that is gone, stays a finding
    let lost = [Alliance::auditor_key()];
    assert_eq!(places(&it.audit(&lost)), ["a 2 - sealed/secret"]);
    let mut it = Alliance::new(4);
    it.retention = Some(Milliseconds::new(5));
    it.spoilt_block("a", Content::default(), |it, _, _| {
        let context = it.header.context();
        let secret = &mut it.header.secrets[2];
        *secret = SECRET_1.wrap_again(context, "regulator", secret, &[7; 32]);
    });
    it.wait(60);
    it.block("b", Content::default());
    assert_eq!(places(&it.audit(&lost)), ["a 1 - sealed/secret"]);
}

#[test]
fn an_alliance_that_seals_with_sm4_is_audited_alike() {
    let mut it = Alliance::with(4, |draft| draft.cipher = Cipher::Sm4Gcm);
    let sealed = vec![it.exchange("a", "b", 3), it.exchange("a", "c", 4)];
    it.block("a", Content { sealed, ..Content::default() });
    let report = it.audit(&[Alliance::auditor_key()]);
    assert!(report.is_clean() && report.counts.payloads == 2, "{report:?}");
}

#[test]
pub(super) fn an_exchange_at_another_price() {
    let mut it = Alliance::new(4);
    let (to, mut payload) = it.exchange("a", "b", 3);
    if let Payload::Exchange(exchange) = &mut payload {
        exchange.received = Points::new(4).unwrap();
    }
    let sealed = vec![it.exchange("a", "b", 3), (to, payload)];
    it.block("a", Content { sealed, ..Content::default() });
    assert_eq!(places(&it.audit(&[Alliance::auditor_key()])), ["a 1 1 block/20"]);
}

#[test]
pub(super) fn returns_of_what_was_not_sent_or_came_back_before() {
    let returns = |backs: &[(u64, u64)]| {
        let mut it = Alliance::new(4);
        let sealed = vec![it.exchange("a", "b", 3), it.exchange("a", "c", 4)];
        it.block("a", Content { sealed, ..Content::default() });
        for (original, value) in backs {
            let sealed = vec![(brand("a"), it.back(*original, *value))];
            it.block("b", Content { sealed, recognised: vec![brand("a")], ..Content::default() });
        }
        places(&it.audit(&[Alliance::auditor_key()]))
    };
    let right = (0, 3_000_000);
    assert!(returns(&[right]).is_empty());
    assert_eq!(returns(&[right, right]), ["b 2 8 exchange/return"]);
    assert_eq!(returns(&[(0, 3_000_001)]), ["b 1 0 exchange/return"]);
    assert_eq!(returns(&[(0, 2_000_000)]), ["b 1 0 exchange/return"]);
    // to another brand; padding; not there
    for elsewhere in [1, 3, 900] {
        assert_eq!(returns(&[(elsewhere, 4_000_000)]), ["b 1 0 exchange/return"]);
    }
}

/// What a block acknowledges it has applied: what could not be goes back with that block or before it.
#[test]
fn a_return_of_what_was_acknowledged_by_an_earlier_block() {
    let returns = |acknowledged_first, reason| {
        let mut it = Alliance::new(4);
        let sealed = vec![it.exchange("a", "b", 9)];
        it.block("a", Content { sealed, ..Content::default() });
        if acknowledged_first {
            it.block("b", Content { recognised: vec![brand("a")], ..Content::default() });
        }
        let sealed = vec![(brand("a"), it.back_as(reason, 0, 9, 9_000_000))];
        let recognised = if acknowledged_first { Vec::new() } else { vec![brand("a")] };
        it.block("b", Content { sealed, recognised, ..Content::default() });
        places(&it.audit(&[Alliance::auditor_key()]))
    };
    assert!(returns(false, ReturnReason::NotLinked).is_empty());
    assert_eq!(returns(true, ReturnReason::NotLinked), ["b 2 8 exchange/return"]);
    assert!(returns(true, ReturnReason::Member).is_empty());
}

#[test]
fn parts_that_members_send_back() {
    let returns = |backs: &[(u64, u64)], wait| {
        let mut it = Alliance::new(4);
        let sealed = vec![it.exchange("a", "b", 9)];
        it.block("a", Content { sealed, ..Content::default() });
        it.wait(wait);
        for (points, value) in backs {
            let back = it.back_as(ReturnReason::Member, 0, *points, *value);
            let sealed = vec![(brand("a"), back)];
            it.block("b", Content { sealed, recognised: vec![brand("a")], ..Content::default() });
        }
        places(&it.audit(&[Alliance::auditor_key()]))
    };
    // the window is a day, and blocks are 10 ms apart
    let day = 86_400_000 - 10;
    assert!(returns(&[(4, 4_000_000), (5, 5_000_000)], day - 10).is_empty());
    assert_eq!(returns(&[(4, 4_000_000), (6, 6_000_000)], 0), ["b 2 8 exchange/return"]);
    assert_eq!(returns(&[(4, 4_000_001)], 0), ["b 1 0 exchange/return"]);
    assert_eq!(returns(&[(4, 4_000_000)], day + 1), ["b 1 0 exchange/return"]);
}

#[test]
pub(super) fn closings_and_statements_that_do_not_follow() {
    let closes = |spoil: &dyn Fn(&mut Closing), after_cut_off: bool| {
        let mut it = Alliance::new(4);
        let sealed = vec![it.exchange("a", "b", 3)];
        it.block("a", Content { sealed: sealed.clone(), ..Content::default() });
        it.block("a", Content { sealed, ..Content::default() });
        let mut closing = it.closing(brand("a"));
        spoil(&mut closing);
        if after_cut_off {
            it.pass_cut_off();
        }
        let public = vec![PublicEntry::Closing(closing)];
        it.block("a", Content { public, ..Content::default() });
        places(&it.audit(&[]))
    };
    assert!(closes(&|_| {}, true).is_empty());
    assert_eq!(closes(&|_| {}, false), ["a 3 16 clearing/closing"]);
    let lower = |it: &mut Closing| it.columns[0].content.sent = Value::ZERO;
    assert_eq!(closes(&lower, true), ["a 3 16 clearing/closing"]);
    let earlier = |it: &mut Closing| it.height = Height::new(1);
    assert_eq!(closes(&earlier, true), ["a 3 16 clearing/closing"]);
    let later = |it: &mut Closing| it.height = Height::new(3);
    assert_eq!(closes(&later, true), ["a 3 16 clearing/closing"]);

    let states = |statement: Option<StatementHash>, all: bool| {
        let mut it = Alliance::new(4);
        let sealed = vec![it.exchange("a", "b", 3)];
        it.block("a", Content { sealed, ..Content::default() });
        let mut right = StatementHash::from_bytes([1; 32]);
        if all {
            right = it.close_all().hash();
        }
        let cut_off = Timestamp::from_unix_ms(super::fixture::CUT_OFF);
        let statement = statement.unwrap_or(right);
        let public = vec![PublicEntry::Statement(StatementEntry { cut_off, statement })];
        it.block("c", Content { public, ..Content::default() });
        places(&it.audit(&[]))
    };
    assert!(states(None, true).is_empty());
    let other = states(Some(StatementHash::from_bytes([7; 32])), true);
    assert_eq!(other, ["c 2 8 clearing/statement"]);
    assert_eq!(states(None, false), ["c 1 0 clearing/incomplete"]);
}

/// A brand that has said how long its operation log is cannot say less, or the same again, later.
#[test]
pub(super) fn an_operation_log_does_not_grow_shorter() {
    let mut it = Alliance::new(4);
    for (entries, head) in [(3, 1), (5, 2), (5, 3), (4, 4), (6, 5)] {
        let public = vec![
            PublicEntry::OperationLogHead(OperationLogHead { entries, head: [head; 32] }),
            PublicEntry::Answered(Answered { certificate: [head; 32] }),
        ];
        it.block("a", Content { public, ..Content::default() });
    }
    let found = places(&it.audit(&[]));
    assert_eq!(found, ["a 3 16 operations/head", "a 4 24 operations/head"]);
}

/// Everyone reads public entries: of each kind a block has no more than it can need, and no application's is larger
/// than one may be.
#[test]
pub(super) fn more_public_entries_of_a_kind_than_a_block_may_have() {
    let enters = |public: Vec<PublicEntry>| {
        let mut it = Alliance::new(4);
        it.block("a", Content { public, ..Content::default() });
        places(&it.audit(&[]))
    };
    let heads = |most: u64| {
        let head =
            |entries| PublicEntry::OperationLogHead(OperationLogHead { entries, head: [1; 32] });
        enters((1..=most).map(head).collect())
    };
    assert!(heads(16).is_empty());
    assert_eq!(heads(17), ["a 1 16 block/59"]);
    let application = |bytes| {
        let body = vec![0; bytes];
        PublicEntry::Application(ApplicationEntry { application: 9, body })
    };
    assert!(enters(vec![application(APPLICATION_MAX)]).is_empty());
    assert_eq!(enters(vec![application(APPLICATION_MAX + 1)]), ["a 1 0 block/59"]);
}

/// That a member's link ends is worth nothing and comes back never.
#[test]
fn the_end_of_a_link_moves_no_value() {
    let mut it = Alliance::new(4);
    let handle = MemberHandle::from_bytes([7; 16]);
    let unlink = Payload::Unlink(Unlink { handle });
    assert_eq!(unlink.value(), Value::ZERO);
    assert_eq!(Return::whole(LeafIndex::new(1), ReturnReason::NotLinked, &unlink), None);
    let sealed = vec![(brand("b"), unlink)];
    it.block("a", Content { sealed, ..Content::default() });
    assert_eq!(places(&it.audit(&[])), Vec::<String>::new());
}
