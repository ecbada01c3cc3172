//! A brand that joins after another has left: closings that say again what was closed out before.
//!
//! It goes on from `endings`, where `c` has closed out `a`. By the second constitution `a` leaves and `e` joins. `c`
//! closes its last block under the first one, which has a column for `a`, and then its first under the second, which
//! has none.

use super::endings::Endings;
use super::*;
use crate::clearing::ClosingError;
use crate::epochs::Constitutions;
use crate::log::block::Closing;
use crate::world::following;

struct Joined {
    chain: Constitutions,
    // what those know who were there when `a` was closed out
    member: Absent,
    // blocks of `c`: with the partner closed out, and the two with the closings
    closed: OwnBlock,
    first: OwnBlock,
    second: OwnBlock,
    closings: [Closing; 2],
}

impl Joined {
    fn new(alliance: &Alliance) -> Self {
        let (a, c) = (brand("a"), brand("c"));
        let Endings { sent, closed, partner, .. } = Endings::new(alliance);
        let five = draft(5);
        let next = following(alliance.constitution.draft(), |it| {
            (it.brands, it.rates) = (five.brands, five.rates);
            it.brands.remove(&a);
            it.rates.retain(|(from, to), _| *from != a && *to != a);
        });
        let mut chain = Constitutions::from(alliance.constitution.clone());
        chain.follow(Constitution::new(next).unwrap()).unwrap();
        let mut member = Absent::under(&chain);
        member.header(&header_of(&sent));
        member.header(&header_of(&closed));
        assert!(member.entered((c, closed.reference().height), &partner, &chain));

        let say = |own: &OwnBlock, at: u64| {
            let (header, id) = (header_of(own), own.reference().header);
            let cut_off = Timestamp::from_unix_ms(1_700_000_000_000 + at);
            let closing = close(cut_off, Some((&header, id)), &ring(c), own.contents()).unwrap();
            Closing { closed_out: member.say_again(c, Some(&header), &chain), ..closing }
        };
        let enter = |before: &OwnBlock, closing: &Closing, number: u8| {
            let header = header_of(before);
            let counterparties = header.columns.iter().map(|column| column.counterparty);
            let contents = counterparties.zip(before.contents().iter().copied()).collect();
            let plan = Plan {
                sealing: ring(c).current(),
                public: vec![PublicEntry::Closing(closing.clone())],
                sealed: BTreeMap::new(),
                recognised: BTreeMap::new(),
                discharged: BTreeMap::new(),
                time: Timestamp::from_unix_ms(1_700_000_000_000 + u64::from(number)),
                secret: BlockSecret::from_bytes([number; 32]),
                nonce: BlockNonce::from_bytes([number; 16]),
            };
            OwnBlock::build(chain.newest(), c, &tip_after(before), &contents, plan).unwrap()
        };
        let with_column = say(&closed, 27);
        let first = enter(&closed, &with_column, 30);
        let without_column = say(&first, 31);
        let second = enter(&first, &without_column, 40);
        let closings = [with_column, without_column];
        Self { chain, member, closed, first, second, closings }
    }
}

fn entry(closing: &Closing) -> String {
    hex(Entry::Public(PublicEntry::Closing(closing.clone())).to_bytes())
}

pub(super) fn made(alliance: &Alliance) -> Json {
    let it = Joined::new(alliance);
    let second = it.chain.newest();
    let without = Closing { closed_out: None, ..it.closings[0].clone() };
    let closings = it.closings.iter().map(|closing| json!({ "log": "c", "entry": entry(closing) }));
    json!({
        "epoch": second.epoch().get(), "brands": brands(second),
        "closings": closings.collect::<Vec<_>>(), "without": entry(&without),
        "blocks": [block(&it.first, 30), block(&it.second, 40)],
    })
}

fn closing(entry: &Json) -> Closing {
    match Entry::from_bytes(&unhex(entry)).unwrap() {
        Entry::Public(PublicEntry::Closing(closing)) => closing,
        other => panic!("{other:?} is no closing"),
    }
}

#[test]
fn closings_in_the_vectors_say_again_what_was_closed_out_before_somebody_joined() {
    let alliance = Alliance::new();
    let it = Joined::new(&alliance);
    let (a, b, c, e) = (brand("a"), brand("b"), brand("c"), brand("e"));
    let files = read("joined.json");
    let entries = files["closings"].as_array().unwrap().iter();
    let closings: Vec<Closing> = entries.map(|one| closing(&one["entry"])).collect();
    assert_eq!(closings, it.closings);

    let (mut member, mut joiner) = (it.member.clone(), Absent::under(&it.chain));
    joiner.begins(&header_of(&it.closed));
    let blocks = [(&it.closed, &it.first), (&it.first, &it.second)];
    for (closing, (own, next)) in closings.iter().zip(blocks) {
        let header = header_of(own);
        let closed = Some((&header, own.reference().header));
        let checked = check_closing(closing, closed, &header_of(next)).unwrap();
        // what was paid is said where the closed block has no column that says it
        let said = &closing.closed_out.as_ref().unwrap()[0];
        assert_eq!((said.log, said.paid.is_none()), (a, header.column(a).is_some()));
        for (me, absent) in [(b, &mut member), (e, &mut joiner)] {
            let from = absent.follows(me, c, &it.chain);
            absent.said_again((closing, &checked), from, &it.chain).unwrap();
            assert!(absent.brands().contains(&a), "{me}");
        }
        // whoever was there knows better
        let mut lie = closing.clone();
        lie.closed_out.as_mut().unwrap()[0].total = Value::new(1).unwrap();
        let found = member.said_again((&lie, &checked), Height::new(1), &it.chain);
        assert_eq!(found, Err(ClosingError::ClosedOut(a)));
    }
}

#[test]
fn closings_in_the_vectors_without_the_field_are_the_bytes_of_before_there_was_one() {
    let mut without = vec![closing(&read("joined.json")["without"])];
    let cleared = read("clearing.json");
    let entries = cleared["closings"].as_array().unwrap().iter();
    without.extend(entries.map(|one| closing(&one["entry"])));
    assert_eq!(without.len(), 5);
    for it in without {
        assert_eq!(it.closed_out, None);
        let before = codec::encode(&(it.cut_off, it.height, it.block, it.columns.clone()));
        assert_eq!(codec::encode(&it), before);
    }
}
