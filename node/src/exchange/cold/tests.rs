//! Whoever reads finds what had left memory by then, in pages that are whole.

use super::super::book::Book;
use super::super::record::Requested;
use super::by_time::TIMES_TO;
use super::*;
use crate::store::{MemoryStore, SledStore};
use protocol::amount::{Points, Rate, Value};
use protocol::exchange::{Exchange, IncomingLeg, LegState};
use protocol::ids::{Height, MemberHandle, RequestHash};
use protocol::time::Timestamp;

struct Clear;

impl Seal for Clear {
    fn seal(&self, about: &[u8], plain: Vec<u8>) -> Option<Vec<u8>> {
        Some([about, &plain].concat())
    }
    fn open(&self, about: &[u8], sealed: Vec<u8>) -> Option<Vec<u8>> {
        sealed.strip_prefix(about).map(<[u8]>::to_vec)
    }
}

/// After a crash between the store and the snapshot, and where a journal was put back, the store knows
/// more than the reader should.
#[test]
fn who_knows_of_fewer_that_have_left_finds_what_there_was_then() {
    let cold = Cold::new(Arc::new(MemoryStore::new()), Arc::new(Clear));
    let points = |number| Points::new(number).unwrap();
    let (handle, request) = (MemberHandle::from_bytes([1; 16]), RequestId::from_bytes([2; 16]));
    let owed = Value::new(100).unwrap();
    let exchange = Exchange { handle, request, sent: points(20), received: points(10), owed };
    let until = Timestamp::from_unix_ms(1_000_000);
    let first = IncomingLeg::new(&exchange, Rate::ONE, until);
    let leaf = LeafIndex::new(7);
    let mut last = first;
    last.take_back(leaf, points(4)).unwrap();
    let place = (BrandId::new("other").unwrap(), leaf);
    let member: MemberId = minicbor::decode(&[&[0x50], &[9; 16][..]].concat()).unwrap();
    let asked = SendBack {
        id: RequestId::from_bytes([3; 16]),
        request: RequestHash::from_bytes([4; 32]),
        from: place.0,
        leaf,
        member,
        points: points(4),
        at: until,
    };
    let leaving = |number, leg, ended| Leaving {
        first_received: number,
        received: vec![(place, Received::new(Some(member), leg), ended)],
        ..Leaving::default()
    };
    // done twice it is done once
    for _ in 0..2 {
        cold.take(&leaving(0, first, None)).unwrap();
    }
    cold.take(&leaving(5, last, Some(vec![asked.clone()]))).unwrap();

    let leg = |found: Option<Received>| found.map(|received| received.leg);
    assert_eq!(leg(cold.received(place, 0).unwrap()), None);
    for left in [1, 5, 6] {
        assert_eq!(leg(cold.received(place, left).unwrap()), Some(first));
    }
    assert_eq!(leg(cold.received_last(place, 0).unwrap()), None);
    assert_eq!(leg(cold.received_last(place, 5).unwrap()), Some(first));
    assert_eq!(leg(cold.received_last(place, 6).unwrap()), Some(last));
    assert_eq!(cold.sent_back(asked.id, 5).unwrap(), None);
    assert_eq!(cold.sent_back(asked.id, 6).unwrap(), Some(asked));
    let latest = |below, whose| cold.latest_received(below, 9, whose).unwrap().len();
    assert_eq!((latest(0, None), latest(1, None), latest(6, Some(member))), (0, 1, 2));
}

/// What is not read must not be taken for absent: a key would be taken a second time.
#[test]
fn a_store_of_the_former_form_is_refused() {
    let store = Arc::new(MemoryStore::new());
    let cold = Cold::new(store.clone(), Arc::new(Clear));
    cold.check_form().unwrap();
    for keyspace in FORMER {
        store.transaction(&[Write::put(keyspace, [0; 8], [1; 16])]).unwrap();
        assert!(matches!(cold.check_form(), Err(ColdError::Former)));
        store.transaction(&[Write::delete(keyspace, [0; 8])]).unwrap();
    }
    cold.check_form().unwrap();
}

/// What leaves, what comes back and leaves again, and attempts that came to nothing between, against a
/// list of all of it.
#[test]
fn every_reader_finds_what_had_left_by_then() {
    let cold = Cold::new(Arc::new(MemoryStore::new()), Arc::new(Clear));
    let mut random = Random(7);
    let members: Vec<MemberId> = (0..3).map(member).collect();
    // what is in memory: the number of an exchange, and whether it has left before
    let mut memory: Vec<(u64, bool)> = Vec::new();
    let (mut made, mut left) = (0, 0);
    let mut known: Vec<(u64, bool)> = Vec::new();
    for round in 0..120_u64 {
        let fresh = random.below(40);
        memory.extend((made..made + fresh).map(|which| (which, false)));
        made += fresh;
        // some in any order, since some wait for an answer longer than others
        let mut going = Vec::new();
        memory.retain(|it| {
            let goes = random.below(3) > 0;
            going.extend(goes.then_some(*it));
            !goes
        });
        if random.below(2) == 0 {
            going.reverse();
        }
        let leaving = Leaving {
            first: left,
            exchanges: going.iter().map(|it| exchange(*it)).collect(),
            first_received: left,
            received: going.iter().map(|it| received(*it, &members)).collect(),
            void: Vec::new(),
        };
        cold.take(&leaving).unwrap();
        if random.below(3) == 0 {
            // a crash before the snapshot that says so
            memory.extend(going);
            continue;
        }
        left += going.len() as u64;
        known.extend(going);
        // something of a few comes back
        for _ in 0..random.below(4) {
            let which = random.below(made);
            if known.contains(&(which, false))
                && !known.contains(&(which, true))
                && !memory.contains(&(which, true))
            {
                memory.push((which, true));
            }
        }
        if round % 8 == 0 {
            for as_of in [0, random.below(left + 1), left] {
                compare(&cold, &known, made, as_of, &members);
            }
        }
    }
    assert!(left > 1_000 && known.iter().any(|(_, ended)| *ended));
}

fn compare(cold: &Cold, known: &[(u64, bool)], made: u64, as_of: u64, members: &[MemberId]) {
    let then = &known[..usize::try_from(as_of).unwrap()];
    let last = |which: u64| {
        let ended = then.contains(&(which, true));
        then.iter().any(|it| it.0 == which).then_some((which, ended))
    };
    for which in 0..made {
        let id = exchange((which, false)).0.requested.id;
        let expected = last(which).map(|it| exchange(it).0);
        assert_eq!(cold.exchange(id, as_of).unwrap(), expected);
        let open = last(which).filter(|(_, ended)| !ended).map(exchange);
        let open = open.map(|(booked, leg)| (booked, leg.unwrap().1));
        assert_eq!(cold.leg(LeafIndex::new(which * 3), as_of).unwrap(), open);
        let place = received((which, false), members).0;
        let expected = last(which).map(|it| received(it, members).1);
        assert_eq!(cold.received_last(place, as_of).unwrap(), expected);
        let first = expected.map(|_| received((which, false), members).1);
        assert_eq!(cold.received(place, as_of).unwrap(), first);
    }
    let latest = then.iter().rev().map(|it| last(it.0).unwrap());
    let expected: Vec<_> = latest.clone().take(9).map(|it| exchange(it).0).collect();
    assert_eq!(cold.latest(as_of, 9).unwrap(), expected);
    for whose in members {
        let all = latest.clone().map(|it| exchange(it).0);
        let all = all.filter(|it| it.requested.member == Some(*whose));
        let expected: Vec<_> = all.take(7).collect();
        assert_eq!(cold.latest_of(*whose, as_of, 7).unwrap(), expected);
    }
    let mut expected: Vec<_> = (0..made).filter_map(last).map(|it| exchange(it).0).collect();
    expected.sort_by_key(|it| std::cmp::Reverse(it.key()));
    assert_eq!(walk(cold, as_of), expected);
    let came = (0..made).filter_map(last).map(|it| received(it, members));
    let mut expected: Vec<_> = came.map(|(place, it, _)| (place, it)).collect();
    expected.sort_by_key(|(place, it)| std::cmp::Reverse(it.key(*place)));
    let (mut walked, mut before) = (Vec::new(), None);
    loop {
        let page = cold.received_before(before, (as_of, 11), |_| false).unwrap();
        let Some((place, end)) = page.last() else { break };
        before = Some(end.key(*place));
        walked.extend(page);
    }
    assert_eq!(walked, expected);
    for whose in members.iter().copied().map(Some).chain([None]) {
        let all = latest.clone().map(|it| received(it, members));
        let all = all.filter(|it| whose.is_none() || it.1.member == whose);
        let expected: Vec<_> = all.take(7).map(|(place, it, _)| (place, it)).collect();
        assert_eq!(cold.latest_received(as_of, 7, whose).unwrap(), expected);
    }
}

/// All in the order of time, page by page.
fn walk(cold: &Cold, as_of: u64) -> Vec<BookedExchange> {
    let (mut walked, mut before) = (Vec::new(), None);
    loop {
        let page = cold.exchanges_before(before, (as_of, 7), |_| false).unwrap();
        let Some(end) = page.last() else { return walked };
        before = Some(end.key());
        walked.extend(page);
    }
}

#[test]
fn what_an_earlier_build_has_left_is_brought_into_the_order_of_time() {
    bring_into_the_order_of_time(Arc::new(MemoryStore::new()));
    let folder = tempfile::tempdir().unwrap();
    bring_into_the_order_of_time(Arc::new(SledStore::open(folder.path()).unwrap()));
}

fn bring_into_the_order_of_time(store: Arc<dyn Store>) {
    let cold = Cold::new(store.clone(), Arc::new(Clear));
    let members: Vec<MemberId> = (0..3).map(member).collect();
    let take = |numbers: std::ops::Range<u64>| {
        let leaving = Leaving {
            first: numbers.start,
            exchanges: numbers.clone().map(|which| exchange((which, false))).collect(),
            first_received: numbers.start,
            received: numbers.map(|which| received((which, false), &members)).collect(),
            void: Vec::new(),
        };
        cold.take(&leaving).unwrap();
    };
    let ids = |left: u64| walk(&cold, left).iter().map(|it| it.requested.id).collect::<Vec<_>>();
    take(0..3_000);
    let whole = ids(3_000);
    assert_eq!(whole.len(), 3_000);
    // as that build had left it
    for keyspace in [EXCHANGE_TIMES, RECEIVED_TIMES, TIMES_TO] {
        let all = store.scan(keyspace, Bound::Unbounded, Bound::Unbounded, usize::MAX).unwrap();
        let gone: Vec<_> = all.into_iter().map(|(key, _)| Write::delete(keyspace, key)).collect();
        store.transaction(&gone).unwrap();
    }
    assert_eq!(ids(3_000), []);
    // what leaves meanwhile does not hide that there is a gap
    take(3_000..3_010);
    // with those of their page that are of one moment with one of them
    assert!((10..42).contains(&ids(3_010).len()), "{}", ids(3_010).len());
    cold.complete_times().unwrap();
    assert_eq!(ids(3_000), whole);
    assert_eq!(ids(3_010).len(), 3_010);
    let came = cold.received_before(None, (3_010, 5_000), |_| false).unwrap();
    assert_eq!(came.len(), 3_010);
    // there is nothing to do the next time
    let reach = || store.get(TIMES_TO, EXCHANGES.as_bytes()).unwrap();
    let before = reach();
    cold.complete_times().unwrap();
    assert_eq!(reach(), before);
    assert_eq!(before, Some(3_010_u64.to_be_bytes().to_vec()));
}

/// Who walks the pages sees what there was when the walk began, each once, whatever comes and leaves memory.
#[test]
fn pages_have_every_exchange_once_while_some_come_and_some_leave_memory() {
    let cold = Cold::new(Arc::new(MemoryStore::new()), Arc::new(Clear));
    let mut book = Book::with(cold.clone());
    let which_of = |booked: &BookedExchange| booked.requested.id;
    let (mut made, mut left) = (0, 0);
    let mut come = |book: &mut Book, count: u64| {
        for which in made..made + count {
            book.take_up_exchange(exchange((which, true)).0);
        }
        made += count;
    };
    let mut leave = |book: &mut Book, every: u64| {
        let hot: Vec<_> = book.exchanges().cloned().collect();
        let going = (0_u64..).zip(hot).filter(|(place, _)| place % every == 0);
        let exchanges: Vec<_> = going.map(|(_, booked)| (booked, None)).collect();
        let count = exchanges.len() as u64;
        let mut leaving = Leaving { first: left, exchanges, ..Leaving::default() };
        cold.take(&leaving).unwrap();
        book.leaves(&leaving);
        assert!(book.leave(&mut leaving, usize::MAX));
        left += count;
    };
    // more than one page looks at
    let all_of = |book: &Book| {
        let (mut all, mut place) = (Vec::new(), None);
        loop {
            let (page, next) = book.page(place, 5_000, |_| true).unwrap();
            all.extend(page);
            let Some(next) = next else { return all };
            place = Some(next);
        }
    };
    // three of one moment come together
    come(&mut book, 201);
    leave(&mut book, 3);
    let whole: Vec<_> = (0..201).rev().map(|which| exchange((which, true)).0).collect();
    let mut expected = whole.clone();
    expected.sort_by_key(|it| std::cmp::Reverse(it.key()));
    for limit in [1, 9, 200, 999] {
        let begun = all_of(&book);
        let (mut seen, mut place) = (Vec::new(), None);
        loop {
            let (page, next) = book.page(place, limit, |_| true).unwrap();
            assert!(page.len() <= limit);
            seen.extend(page.iter().map(which_of));
            come(&mut book, 3);
            leave(&mut book, 5);
            let Some(next) = next else { break };
            place = Some(next);
        }
        assert_eq!(seen, begun.iter().map(which_of).collect::<Vec<_>>(), "{limit}");
    }
    // the first of all are among them, in order
    assert!(all_of(&book).ends_with(&expected));
    // where few are wanted a page ends early and says where to go on
    come(&mut book, 2_100);
    let wanted = whole[150].requested.id;
    let is_wanted = |booked: &BookedExchange| booked.requested.id == wanted;
    let (mut found, mut place, mut pages) = (Vec::new(), None, 0);
    loop {
        let (page, next) = book.page(place, 3, is_wanted).unwrap();
        found.extend(page.iter().map(which_of));
        pages += 1;
        let Some(next) = next else { break };
        place = Some(next);
    }
    assert_eq!(found, [wanted]);
    assert!(pages > 1);
}

/// Exchange number so and so, as it leaves first or, ended, for the second time.
fn exchange((which, ended): (u64, bool)) -> (BookedExchange, Option<(LeafIndex, OutgoingLeg)>) {
    let mut id = [0; 16];
    // ids are in no order
    id[..8].copy_from_slice(&which.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    let points = Points::new(1 + u64::from(ended)).unwrap();
    // some in one moment
    let at = Timestamp::from_unix_ms(which / 3 * 300);
    let (to, owed) = (BrandId::new("other").unwrap(), Value::new(9).unwrap());
    let handle = MemberHandle::from_bytes([1; 16]);
    let requested = Requested {
        id: RequestId::from_bytes(id),
        request: None,
        member: Some(member(u8::try_from(which % 3).unwrap())),
        to,
        sent: points,
        received: points,
        owed,
        at,
        handle,
    };
    let leaf = LeafIndex::new(which * 3);
    let leg = OutgoingLeg {
        to,
        height: Height::new(1),
        until: at,
        payload: requested.payload(),
        state: LegState::Final,
        points_back: Points::ZERO,
    };
    (BookedExchange::held(requested), (!ended).then_some((leaf, leg)))
}

fn received(
    (which, ended): (u64, bool),
    members: &[MemberId],
) -> (Place, Received, Option<Vec<SendBack>>) {
    let points = Points::new(1 + u64::from(ended)).unwrap();
    let until = Timestamp::from_unix_ms(which * 700);
    let exchange = Exchange {
        handle: MemberHandle::from_bytes([1; 16]),
        request: RequestId::from_bytes([2; 16]),
        sent: points,
        received: points,
        owed: Value::new(100).unwrap(),
    };
    let leg = IncomingLeg::new(&exchange, Rate::ONE, until);
    let brand = BrandId::new(if which.is_multiple_of(2) { "even" } else { "odd" }).unwrap();
    let member = members[usize::try_from(which % 3).unwrap()];
    let place = (brand, LeafIndex::new(which * 5));
    (place, Received::new(Some(member), leg), ended.then(Vec::new))
}

fn member(which: u8) -> MemberId {
    minicbor::decode(&[&[0x50], &[which; 16][..]].concat()).unwrap()
}

/// A generator of numbers that are the same each time (xorshift, Marsaglia 2003).
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most.max(1)
    }
}
