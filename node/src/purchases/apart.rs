//! Tests of an import's promise about members: what is stored of one hangs on no other member's rows.

use std::collections::BTreeMap;

use proptest::prelude::*;
use protocol::codec;

use super::basket::StoredBasket;
use super::cases::{import, sent, shop, till, till_text};
use super::catalogue::delete_basket;
use super::facts::{FactColumns, read};
use super::tests::{Shop, now, terms};
use super::*;
use crate::vault::{BlindIndex, CardNumber, MemberId, Vault};

const CARDS: [&str; 5] = ["C1", "C2", "C3", "", "C9"];
/// The place of guests among the cards, and of a card that no member has.
const GUEST: usize = 3;
const UNKNOWN: usize = 4;

/// A line as a file has it.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) who: usize,
    pub(super) receipt: u8,
    pub(super) line: u8,
    day: u8,
    second: u8,
    department: &'static str,
    yuan: i8,
    original: Option<u8>,
}

impl Told {
    pub(super) fn text(&self) -> String {
        let Self { receipt, line, day, second, department, yuan, .. } = self;
        let (card, pieces) = (CARDS[self.who], yuan.signum());
        let original = self.original.map(|number| format!("R{number}")).unwrap_or_default();
        format!(
            "R{receipt},{line},{card},2025-03-{day:02} 12:00:{second:02},{department},{pieces},\
             {yuan}.00,{original},\n"
        )
    }
}

pub(super) fn told() -> impl Strategy<Value = Told> {
    let original = prop::option::of(0..4_u8);
    let departments = prop_oneof![Just("DELI"), Just("WINE")];
    let place = (0..CARDS.len(), 0..4_u8, 1..4_u8, 1..3_u8, 0..60_u8);
    (place, departments, -2..4_i8, original).prop_map(|(place, department, yuan, original)| {
        let (who, receipt, line, day, second) = place;
        Told { who, receipt, line, day, second, department, yuan, original }
    })
}

/// What is stored of somebody: rows in their order, but not at which places of which files they are; and baskets, with
/// their keys.
#[derive(Default, PartialEq, Debug)]
pub(super) struct Stored {
    rows: Vec<String>,
    baskets: Vec<Vec<u8>>,
}

pub(super) fn stored(
    of: &Facts,
    vault: &Vault,
    people: &[(MemberId, i64)],
) -> BTreeMap<Option<usize>, Stored> {
    let mut all = BTreeMap::<Option<usize>, Stored>::new();
    let catalogue = of.catalogue();
    let incomplete = catalogue.incomplete().unwrap();
    let removed = catalogue.removed(incomplete).unwrap();
    let mut files = Vec::new();
    catalogue.each_file(incomplete, |at, chunk| files.push(chunk.file(at).name())).unwrap();
    let key = vault.file_key("facts").unwrap();
    for file in files {
        for batch in read(&of.folder.join(file), &key).unwrap() {
            let batch = batch.unwrap();
            let columns = FactColumns::of(&batch).unwrap();
            for row in (0..batch.num_rows()).map(|at| columns.row(at)) {
                if row.fact.is_some_and(|fact| removed.contains(&fact)) {
                    continue;
                }
                let whose = row.member.map(|member| {
                    people.iter().position(|(_, subject)| *subject == member).unwrap()
                });
                let text = format!(
                    "{} {} {} {} {} {:?}",
                    row.day, row.department, row.basket, row.quantity, row.amount_fen, row.channel
                );
                all.entry(whose).or_default().rows.push(text);
            }
        }
    }
    catalogue
        .each_basket(|key, mut basket| {
            let whose = basket
                .member
                .map(|member| people.iter().position(|(id, _)| *id == member).unwrap());
            basket.lines.iter_mut().for_each(|line| line.fact = 0);
            let bytes = [key.as_bytes().as_slice(), &codec::encode(&basket)].concat();
            all.entry(whose).or_default().baskets.push(bytes);
        })
        .unwrap();
    all
}

pub(super) fn people(shop: &Shop) -> Vec<(MemberId, i64)> {
    let person = |card: &&str| {
        let id = shop.vault.by_card(&CardNumber::new(card).unwrap()).unwrap().unwrap();
        (id, shop.vault.subject(id).unwrap().get())
    };
    CARDS[..GUEST].iter().map(person).collect()
}

/// What is stored after all files were read, in an order in which some come again, without the rows of some. The
/// members, their keys and numbers are the same every time.
fn world(
    shop: &Shop,
    mapping: &Mapping,
    (files, order): (&[Vec<Told>], &[usize]),
    gone: &[usize],
    merged_at: Option<usize>,
) -> BTreeMap<Option<usize>, Stored> {
    let people = people(shop);
    let folder = tempfile::tempdir().unwrap();
    let (vault, facts) = shop.facts.aside(&shop.vault, folder.path()).unwrap();
    for (step, file) in order.iter().map(|at| at % files.len()).enumerate() {
        if merged_at == Some(step) {
            vault.merge(people[0].0, people[1].0, "ann", now()).unwrap();
        }
        let kept = files[file].iter().filter(|row| !gone.contains(&row.who));
        let rows: String = kept.map(Told::text).collect();
        // a column that nobody reads: files with the same rows left are different files still
        let text = format!("{HEAD},file{file}\n{rows}");
        let mut sink = |_: &[BasketChange]| Ok(());
        let source = sent("p.csv", &text);
        facts.import(&vault, &source, terms(mapping), &mut sink, &mut |_| {}).unwrap();
    }
    stored(&facts, &vault, &people)
}

pub(super) const TERMS: &str =
    "channel = \"store\"\n[purchases.guests]\n[purchases.refunds]\noriginal = \"of\"\n";

fn mappings() -> [Mapping; 2] {
    let numbered = till_text(TERMS);
    let placed = numbered.replace("line = \"no\"", "line_is_place_in_basket = true");
    assert_ne!(numbered, placed);
    [numbered, placed].map(|text| Mapping::from_toml(&text).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Numbers of baskets are shared, lines stand in any order, are sent again, corrected and contradicted, refunds
    /// name baskets of others, a card is unknown, so that its files are read again: whoever's rows are left out,
    /// everybody else's are stored to the byte as with them.
    #[test]
    fn what_is_stored_of_a_member_hangs_on_no_other_members_rows(
        files in prop::collection::vec(prop::collection::vec(told(), 1..24), 1..4),
        order in prop::collection::vec(0..3_usize, 1..5),
        placed in any::<bool>(),
    ) {
        let mapping = &mappings()[usize::from(placed)];
        let shop = shop(mapping);
        let of = (files.as_slice(), order.as_slice());
        let whole = world(&shop, mapping, of, &[], None);
        for gone in 0..CARDS.len() {
            let without = world(&shop, mapping, of, &[gone], None);
            let whose = if gone == GUEST { None } else { Some(gone) };
            for other in [Some(0), Some(1), Some(2), None].into_iter().filter(|it| *it != whose) {
                prop_assert_eq!(whole.get(&other), without.get(&other), "{:?} without {}", other, gone);
            }
        }
    }

    /// Two cards are merged in between: they are one member's, who hangs on no other's rows, nor another on theirs.
    #[test]
    fn members_who_were_merged_are_one_and_hang_on_no_others(
        files in prop::collection::vec(prop::collection::vec(told(), 1..24), 2..4),
        order in prop::collection::vec(0..3_usize, 2..5),
        merged_at in 0..4_usize,
    ) {
        let mapping = &mappings()[0];
        let shop = shop(mapping);
        let of = (files.as_slice(), order.as_slice());
        // every row's card is known, so that a file that comes again is the same and nothing
        let whole = world(&shop, mapping, of, &[UNKNOWN], Some(merged_at));
        for (gone, others) in [
            (vec![2, UNKNOWN], vec![Some(0), Some(1), None]),
            (vec![GUEST, UNKNOWN], vec![Some(0), Some(1), Some(2)]),
            (vec![0, 1, UNKNOWN], vec![Some(2), None]),
        ] {
            let without = world(&shop, mapping, of, &gone, Some(merged_at));
            for other in others {
                prop_assert_eq!(whole.get(&other), without.get(&other), "{:?} without {:?}", other, gone);
            }
        }
    }
}

pub(super) const HEAD: &str = "receipt,no,card,at,dept,pieces,yuan,of";

#[test]
fn a_number_that_members_share_is_a_basket_of_each_and_merged_members_find_both() {
    let mapping = till(TERMS);
    let shop = shop(&mapping);
    let first = format!(
        "{HEAD}\nR1,1,C1,2025-03-01,DELI,1,5.00,\nR1,1,C2,2025-03-01,DELI,1,7.00,\n\
         R1,1,,2025-03-01,DELI,1,9.00,\n"
    );
    let (report, changes) = import(&shop, &mapping, &sent("p.csv", &first));
    assert_eq!((report.rows_kept, report.guest_rows, report.dropped.len()), (3, 1, 0));
    let mut keys: Vec<BasketKey> = changes.iter().map(|change| change.basket).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 3);
    let people = people(&shop);
    let [(one, _), (other, _), _] = people[..] else { panic!("{}", people.len()) };
    shop.vault.merge(one, other, "ann", now()).unwrap();
    // each line is known in the basket where it is; a new one goes to the basket of who stays
    let again = first + "R1,2,C2,2025-03-01,WINE,1,1.00,\n";
    let (report, changes) = import(&shop, &mapping, &sent("p.csv", &again));
    assert_eq!((report.rows_kept, report.dropped[&DropReason::Duplicate]), (1, 3));
    assert_eq!((changes[0].member, changes[0].after.get()), (Some(one), 600));
    // a refund of a basket that only the other had goes back with it
    let theirs = format!("{HEAD}\nR2,1,C2,2025-03-02,DELI,1,4.00,\n");
    shop.vault.part(one, other, "ann", now()).unwrap();
    import(&shop, &mapping, &sent("p.csv", &theirs));
    shop.vault.merge(one, other, "ann", now()).unwrap();
    let back = format!("{HEAD}\nB1,1,C1,2025-03-03,DELI,-1,-3.00,R2\n");
    let (report, changes) = import(&shop, &mapping, &sent("p.csv", &back));
    assert_eq!(
        (report.rows_kept, report.adjusted.contains_key(&Adjustment::RefundAlone)),
        (1, false)
    );
    assert_eq!((changes[0].member, changes[0].after.get()), (Some(other), 100));
    shop.vault.part(one, other, "ann", now()).unwrap();
    let fen = |member| {
        let lines = shop.facts.lines_of(&shop.vault.subjects(member).unwrap()).unwrap();
        lines.iter().map(|line| line.amount_fen).sum::<i64>()
    };
    assert_eq!((fen(one), fen(other)), (600, 800));
}

/// As a version wrote it that had one basket for a number, whoever bought.
#[test]
fn a_basket_of_an_earlier_version_keeps_its_key_and_nobody_else_gets_into_it() {
    let mapping = till(TERMS);
    let shop = shop(&mapping);
    let first = format!("{HEAD}\nR1,1,C1,2025-03-01,DELI,1,5.00,\n");
    import(&shop, &mapping, &sent("p.csv", &first));
    let catalogue = shop.facts.catalogue();
    let mut all = Vec::new();
    catalogue.each_basket(|key, basket| all.push((key, basket))).unwrap();
    let (own, basket) = all.remove(0);
    let mut former = [0; 16];
    former.copy_from_slice(&shop.vault.blind(BlindIndex::Basket, b"R1").unwrap()[..16]);
    let former = BasketKey::from_bytes(former);
    assert_ne!(own, former);
    let kept = StoredBasket { import: 0, now: basket, before: None };
    let mut writes = Vec::from(delete_basket(own));
    writes.push(catalogue.sealer.put(former, &kept).unwrap());
    shop.store.transaction(&writes).unwrap();

    let more = format!(
        "{HEAD}\nR1,1,C1,2025-03-01,DELI,1,5.00,\nR1,2,C1,2025-03-01,WINE,1,2.00,\n\
         R1,1,C2,2025-03-01,DELI,1,7.00,\nB1,1,C2,2025-03-02,DELI,-1,-7.00,R1\n"
    );
    let (report, changes) = import(&shop, &mapping, &sent("p.csv", &more));
    assert_eq!((report.rows_kept, report.dropped[&DropReason::Duplicate]), (3, 1));
    let late = changes.iter().find(|change| change.basket == former).unwrap();
    assert_eq!((late.part, late.before.get(), late.after.get()), (1, 500, 700));
    let others: Vec<i64> = changes
        .iter()
        .filter(|change| change.basket != former)
        .map(|change| change.after.get())
        .collect();
    assert_eq!(others, [700, 0]);
}

/// Read again for a member who was unknown, a file does not bring back what was corrected since.
#[test]
fn a_file_that_is_read_again_for_one_member_corrects_nothing_of_anothers() {
    let mapping = till(TERMS);
    let shop = shop(&mapping);
    let old = format!(
        "{HEAD}\nR1,1,C1,2025-03-01,DELI,1,5.00,\nR1,1,C1,2025-03-01,DELI,1,6.00,\n\
         R2,1,C9,2025-03-01,DELI,1,5.00,\n"
    );
    let source = sent("p.csv", &old);
    let (report, _) = import(&shop, &mapping, &source);
    assert_eq!(report.dropped[&DropReason::Contradiction], 1);
    let corrected = format!("{HEAD}\nR1,1,C1,2025-03-01,DELI,1,4.00,\n");
    import(&shop, &mapping, &sent("p.csv", &corrected));
    let member = sent("m.csv", "card,key,points,sums\nC9,person-nine,yes,yes\n");
    import_members(&shop.vault, &member, terms(&mapping), now(), &mut |_| {}).unwrap();
    let (report, changes) = import(&shop, &mapping, &source);
    assert!(!report.already_imported);
    assert_eq!((report.rows_kept, report.dropped[&DropReason::Duplicate]), (1, 2));
    assert_eq!((changes.len(), report.adjusted.len()), (1, 0));
    let snapshot = shop.facts.snapshot().unwrap();
    let sum = "SELECT count(*), sum(amount_fen) FROM purchases";
    assert_eq!(shop.ask(&snapshot, sum), ["|2|900|"]);
}
