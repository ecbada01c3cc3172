//! A dispute that is resolved, and a partner closed out, in the alliance of the other vectors.
//!
//! `a` sends `b` in one block an exchange at a wrong price and one at the right price; `b` disputes the
//! block, `a` offers terms by which the second counts, `b` agrees. Then the log of `a` is closed in a last
//! round, and `c`, who had sent it what it never recognised, closes it out.

use super::*;
use crate::epochs::Constitutions;
use crate::log::closed_out::{ClosedOut, OpenedColumn};
use crate::log::dispute::{DisputeEvidence, DisputeOpened};
use crate::log::resolution::{DisputeResolved, runs};
use crate::witness::allowed::Allowed;
use crate::witness::closing;
use crate::witness::ending::LogEnd;
use crate::witness::rules::Violation;

pub(super) struct Endings {
    // of `a`: with what is in dispute, with the offer
    disputed: OwnBlock,
    offered: OwnBlock,
    // of `b`: with the dispute, with the agreement
    accusing: OwnBlock,
    agreed: OwnBlock,
    // of `c`: sent in vain, and with the partner closed out
    pub(super) sent: OwnBlock,
    pub(super) closed: OwnBlock,
    opened: DisputeOpened,
    terms: DisputeResolved,
    pub(super) partner: ClosedOut,
}

/// A column of a block, opened with the block's secret.
fn open(own: &OwnBlock, secret: u8, to: BrandId) -> (ColumnContent, [u8; 32], Vec<u8>) {
    let header = header_of(own);
    let place = header.columns.iter().position(|column| column.counterparty == to).unwrap();
    let context = header.context();
    let key = context.column_key(&BlockSecret::from_bytes([secret; 32]), to);
    let content = own.contents()[place];
    let opening = crate::log::block::ColumnOpening { key, content };
    (content, context.totals_salt(&opening.key), opening.to_bytes().to_vec())
}

impl Endings {
    pub(super) fn new(alliance: &Alliance) -> Self {
        let constitution = &alliance.constitution;
        let (a, b, c) = (brand("a"), brand("b"), brand("c"));
        let handle = MemberHandle::from_bytes([1; 16]);
        let exchange = |pair, request: u8, points| {
            let (request, points) =
                (RequestId::from_bytes([request; 16]), Points::new(points).unwrap());
            Exchange::price(constitution, pair, handle, request, points).unwrap()
        };
        let plan = |log, number: u8| Plan {
            sealing: ring(log).current(),
            public: Vec::new(),
            sealed: BTreeMap::new(),
            recognised: BTreeMap::new(),
            discharged: BTreeMap::new(),
            time: Timestamp::from_unix_ms(1_700_000_000_000 + u64::from(number)),
            secret: BlockSecret::from_bytes([number; 32]),
            nonce: BlockNonce::from_bytes([number; 16]),
        };
        let build = |log, before: Option<&OwnBlock>, plan| {
            let tip = before.map_or_else(Tip::genesis, tip_after);
            let contents = before.map_or(&[][..], OwnBlock::contents).iter().copied();
            let contents = constitution.committee().witnesses(log).zip(contents).collect();
            OwnBlock::build(constitution, log, &tip, &contents, plan).unwrap()
        };
        let wrong = Exchange { received: Points::new(700).unwrap(), ..exchange((a, b), 11, 7) };
        let right = exchange((a, b), 12, 9);
        let (wrong, counts) = (Payload::Exchange(wrong), right.owed);
        let sealed = [(b, vec![wrong, Payload::Exchange(right)])].into();
        let disputed = build(a, Some(&alliance.first), Plan { sealed, ..plan(a, 21) });

        let (before, salt, _) = open(&alliance.first, 1, b);
        let (content, _, opening) = open(&disputed, 21, b);
        let header = header_of(&disputed);
        let opened = DisputeOpened {
            log: a,
            height: header.height,
            block: disputed.reference().header,
            first: LeafIndex::new(header.first.get() + u64::from(content.first)),
            count: content.count,
            rule: 20,
            evidence: Some(DisputeEvidence { opening: opening.try_into().unwrap(), before, salt }),
        };
        let entry = PublicEntry::DisputeOpened(Box::new(opened.clone()));
        let accusing =
            build(b, Some(&alliance.answer), Plan { public: vec![entry], ..plan(b, 22) });

        let stands = runs([LeafIndex::new(opened.first.get() + 1)]);
        let claimed = content.sent.minus(before.sent).unwrap();
        let terms = DisputeResolved {
            accused: a,
            accuser: b,
            began: header.height,
            last: header.height,
            block: disputed.reference().header,
            before,
            salt,
            stands,
            counted: counts,
            void: claimed.minus(counts).unwrap(),
            entries: content.entries,
        };
        let entry = || vec![PublicEntry::DisputeResolved(Box::new(terms.clone()))];
        let offered = build(a, Some(&disputed), Plan { public: entry(), ..plan(a, 23) });
        let recognised = [(a, recognise(constitution, &offered, b))].into();
        let agreed = build(b, Some(&accusing), Plan { public: entry(), recognised, ..plan(b, 24) });

        let sealed = [(a, vec![Payload::Exchange(exchange((c, a), 13, 5))])].into();
        let sent = build(c, None, Plan { sealed, ..plan(c, 25) });
        let pledge = Pledge { block: offered.reference(), round: closing::FIRST };
        let leader = closing::leader(constitution.committee(), a, closing::FIRST);
        let commits = ["b", "c", "d"].map(|signer| endorse(signer, &Commit(pledge))).to_vec();
        let proposal = key(leader, LOG_KEY).sign_bytes(&Proposal(pledge).signed_bytes());
        let certificate = UnverifiedCertificate { pledge, proposal, commits };
        let last = CertifiedHeader {
            header: offered.header_leaf().to_vec(),
            certificate: certify(constitution, &offered),
        };
        let (content, salt, _) = open(&offered, 23, c);
        let (to_a, ..) = open(&sent, 25, a);
        let partner = ClosedOut {
            log: a,
            end: Box::new(LogEnd::LastRound(Some(Box::new(last)), Box::new(certificate))),
            received: OpenedColumn { height: offered.reference().height, content, salt },
            sent: OpenedColumn::nothing(),
            void: to_a.sent,
            total: Value::ZERO,
        };
        let entry = PublicEntry::ClosedOut(Box::new(partner.clone()));
        let closed = build(c, Some(&sent), Plan { public: vec![entry], ..plan(c, 26) });
        Self { disputed, offered, accusing, agreed, sent, closed, opened, terms, partner }
    }

    fn entry(entry: PublicEntry) -> String {
        hex(Entry::Public(entry).to_bytes())
    }
}

pub(super) fn made(alliance: &Alliance) -> Json {
    let it = Endings::new(alliance);
    json!({
        "dispute": Endings::entry(PublicEntry::DisputeOpened(Box::new(it.opened))),
        "resolution": Endings::entry(PublicEntry::DisputeResolved(Box::new(it.terms.clone()))),
        "counted": it.terms.counted.get(), "void": it.terms.void.get(),
        "agreed_total": it.terms.total().unwrap().get(),
        "closed_out": Endings::entry(PublicEntry::ClosedOut(Box::new(it.partner.clone()))),
        "end": hex(codec::encode(&it.partner.end)),
        "taken_back": it.partner.void.get(),
        "blocks": [
            block(&it.disputed, 21), block(&it.offered, 23), block(&it.accusing, 22),
            block(&it.agreed, 24), block(&it.sent, 25), block(&it.closed, 26),
        ],
    })
}

/// What the entries of a block allow, as every witness judges them.
fn judged(alliance: &Alliance, before: &OwnBlock, own: &OwnBlock) -> Result<Allowed, Violation> {
    let constitution = &alliance.constitution;
    let constitutions = Constitutions::from(constitution.clone());
    let (tip, header) = (tip_after(before), header_of(own));
    Allowed::by::<Upheld>((constitution, &constitutions), &tip, &header, &own.public())
}

#[test]
fn endings_in_the_vectors_stand_and_add_up() {
    let alliance = Alliance::new();
    let it = Endings::new(&alliance);
    let (a, b, c) = (brand("a"), brand("b"), brand("c"));
    let files = read("endings.json");
    for (name, entry) in [
        ("dispute", PublicEntry::DisputeOpened(Box::new(it.opened.clone()))),
        ("resolution", PublicEntry::DisputeResolved(Box::new(it.terms.clone()))),
        ("closed_out", PublicEntry::ClosedOut(Box::new(it.partner.clone()))),
    ] {
        let read = Entry::from_bytes(&unhex(&files[name])).unwrap();
        assert_eq!(read, Entry::Public(entry), "{name}");
    }
    judged(&alliance, &it.disputed, &it.offered).unwrap();
    judged(&alliance, &it.accusing, &it.agreed).unwrap();
    let allowed = judged(&alliance, &it.sent, &it.closed).unwrap();
    let shown = header_of(&it.sent).column(a).unwrap().sent;
    assert_eq!(allowed.least(a, shown), Value::ZERO);
    // `a` continues from what was agreed; `b` gives back what is void; `c` takes back what was not read
    let total = it.terms.total().unwrap();
    assert_eq!(open(&it.offered, 23, b).0.sent, total);
    let (given, _, _) = open(&it.agreed, 24, a);
    assert_eq!(given.sent, open(&it.accusing, 22, a).0.sent.plus(it.terms.void).unwrap());
    assert_eq!(open(&it.closed, 26, a).0.sent, Value::ZERO);
    assert_eq!(open(&it.offered, 23, c).0, it.partner.received.content);
    // the same entries one block later, or by a log that goes on, do not stand
    let late = judged(&alliance, &it.offered, &it.offered);
    assert!(matches!(late, Err(Violation::Resolution { .. })), "{late:?}");
    let again = judged(&alliance, &it.agreed, &it.agreed);
    assert!(matches!(again, Err(Violation::Resolution { .. })), "{again:?}");
}
