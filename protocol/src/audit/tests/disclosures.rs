//! What a brand discloses to an auditor on request: it opens that and nothing else, and a disclosure
//! that is not what it says is found.

use super::fixture::{Alliance, Content, brand};
use super::places;
use crate::audit::{KeyHolder, OpeningKey, Reason, Report};
use crate::constitution::{Access, Auditor};
use crate::crypto::sealed::{BlockSecret, SealingSecret, Wrapped};
use crate::disclosure::{Disclosure, disclose};
use crate::ids::{BrandId, Height};
use crate::log::block::{ColumnContent, Header, PublicEntry};
use crate::time::Timestamp;

const SEED: [u8; 32] = [79; 32];

fn tax_office() -> Auditor {
    let (name, access) = ("tax_office".to_owned(), Access::OnRequest);
    Auditor { name, access, sealing: SealingSecret::derive(&SEED).1, later: Vec::new() }
}

fn key() -> OpeningKey {
    let holder = KeyHolder::Auditor("tax_office".to_owned());
    OpeningKey { holder, secret: SealingSecret::derive(&SEED).0 }
}

/// Three blocks of `a` with an exchange each, of which the second and third are disclosed in the
/// fourth.
struct World {
    it: Alliance,
    headers: Vec<Header>,
    // what the columns held before the second block
    before: Vec<(BrandId, ColumnContent)>,
}

impl World {
    fn new() -> Self {
        let mut it = Alliance::with(4, |draft| draft.auditors.push(tax_office()));
        let mut world = Vec::new();
        let mut before = Vec::new();
        for number in 0..3 {
            let sealed = vec![it.exchange("a", "b", 3 + number), it.exchange("a", "c", 4)];
            world.push(it.block("a", Content { sealed, ..Content::default() }));
            if number == 0 {
                before = it.contents("a");
            }
        }
        Self { it, headers: world, before }
    }

    fn disclosure(&self) -> Disclosure {
        let before = self.before.iter().copied().collect();
        let (now, keys) = (Timestamp::from_unix_ms(1_000), &self.it.keys[&brand("a")]);
        disclose(&tax_office(), now, keys, &before, &self.headers[1..]).unwrap()
    }

    /// Wraps something else instead of the secret of the second block.
    fn instead(&self, derived_from: [u8; 32], plaintext: &[u8]) -> Wrapped {
        let key = tax_office().sealing;
        self.headers[1].context().wrap("tax_office", &key, &derived_from, plaintext).unwrap()
    }

    fn with(mut self, disclosure: Disclosure) -> Alliance {
        let public = vec![PublicEntry::Disclosure(disclosure)];
        self.it.block("a", Content { public, ..Content::default() });
        self.it
    }
}

fn count(report: &Report, reason: Reason) -> u64 {
    let of_reason = report.not_checked.iter().filter(|missing| missing.reason == reason);
    of_reason.map(|missing| missing.count).sum()
}

#[test]
fn an_auditor_on_request_opens_what_it_was_disclosed_and_nothing_else() {
    let world = World::new();
    let disclosure = world.disclosure();
    let it = world.with(disclosure);
    let report = it.audit(&[key()]);
    assert!(report.is_clean(), "{:?}", report.findings);
    assert_eq!(report.counts.payloads, 4);
    // the first and the fourth block stay shut; exact totals are checked from the disclosed ones on
    assert_eq!(count(&report, Reason::SealedWithoutKey), 7 + 6);
    assert_eq!(count(&report, Reason::TotalsUnknown), 0);
    // everyone sees who was given what
    let nobody = it.audit(&[]);
    assert_eq!((nobody.counts.payloads, nobody.disclosures.len()), (0, 1));
    let shown = &nobody.disclosures[0];
    assert_eq!((shown.log, shown.auditor.as_str()), (brand("a"), "tax_office"));
    assert_eq!((shown.first, shown.last), (Height::new(2), Height::new(3)));
    // a standing auditor runs the wrapping again
    assert!(it.audit(&[Alliance::auditor_key()]).is_clean());
}

#[test]
pub(super) fn a_disclosure_names_an_auditor_its_key_and_blocks_before_it() {
    let found = |change: &dyn Fn(&mut Disclosure)| {
        let world = World::new();
        let mut disclosure = world.disclosure();
        change(&mut disclosure);
        let it = world.with(disclosure);
        let everyone = places(&it.audit(&[]));
        assert_eq!(everyone, places(&it.audit(&[Alliance::auditor_key()])));
        everyone
    };
    assert!(found(&|_| {}).is_empty());
    let wrong = ["a 4 24 block/58"];
    assert_eq!(found(&|it| it.auditor = "a_friend".to_owned()), wrong);
    assert_eq!(found(&|it| it.first = Height::new(3)), wrong);
    assert_eq!(found(&|it| it.first = Height::new(0)), wrong);
    assert_eq!(found(&|it| it.secrets.clear()), wrong);
    assert_eq!(found(&|it| it.secrets = vec![it.secrets[0].clone(); 101]), wrong);
    let regulator = World::new().headers[1].secrets[2].clone();
    assert_eq!(found(&|it| it.secrets[0] = regulator.clone()), wrong);
}

#[test]
pub(super) fn a_disclosure_of_anything_but_the_secret_is_found_by_whom_it_deceives_and_by_whoever_knows()
 {
    let found = |wrapped: &dyn Fn(&World) -> Wrapped| {
        let world = World::new();
        let mut disclosure = world.disclosure();
        disclosure.secrets[0] = wrapped(&world);
        let it = world.with(disclosure);
        let regulators = it.audit(&[Alliance::auditor_key()]);
        assert_eq!(places(&regulators), places(&it.audit(&[key()])));
        assert!(places(&it.audit(&[])).is_empty(), "third parties see nothing of it");
        places(&regulators)
    };
    // the second block's secret is 2
    let wrong = ["a 4 24 sealed/disclosure"];
    assert!(found(&|world| world.instead([2; 32], &[2; 32])).is_empty());
    assert_eq!(found(&|world| world.instead([2; 32], &[9; 32])), wrong);
    assert_eq!(found(&|world| world.instead([9; 32], &[2; 32])), wrong);
    assert_eq!(found(&|world| world.instead([2; 32], &[2; 31])), wrong);
    assert_eq!(found(&|world| world.instead([2; 32], &[2; 33])), wrong);
}

#[test]
fn totals_that_were_disclosed_wrongly_are_found_at_the_block() {
    let mut world = World::new();
    world.before[0].1.entries += 1;
    let disclosure = world.disclosure();
    let it = world.with(disclosure);
    assert_eq!(places(&it.audit(&[key()])), ["a 2 - block/21"]);
    // without them only the totals are left unchecked
    let world = World::new();
    let mut disclosure = world.disclosure();
    let secret = BlockSecret::from_bytes([2; 32]);
    disclosure.secrets[0] = world.instead(*secret.expose(), secret.expose());
    let report = world.with(disclosure).audit(&[key()]);
    assert!(report.is_clean() && count(&report, Reason::TotalsUnknown) == 2 * 3);
}

#[test]
fn what_was_sealed_to_a_destroyed_key_is_not_disclosed() {
    let mut world = World::new();
    let old = world.it.keys[&brand("a")].current();
    world.it.turn_key("a", 50);
    assert!(world.it.keys.get_mut(&brand("a")).unwrap().forget(&old));
    let now = Timestamp::from_unix_ms(1_000);
    let keys = &world.it.keys[&brand("a")];
    let before = world.before.iter().copied().collect();
    let refused = disclose(&tax_office(), now, keys, &before, &world.headers).unwrap_err();
    assert!(refused.to_string().contains("block 1 cannot be opened here any more"), "{refused}");
}
