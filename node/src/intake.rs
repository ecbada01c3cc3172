//! Intake: a brand's files become members, facts and earned points.
//!
//! Ties the rooms together and decides nothing itself: `purchases` reads and cleans, `vault` knows
//! the people, `programme` says what is earned, the caller makes that durable.

use alliance_config::sample::{self, SampleBrand};
use protocol::ids::BrandId;
use protocol::time::Timestamp;

use crate::programme::{EarnRule, Earned, RuleError};
use crate::purchases::{
    Cleaning, Facts, ImportError, ImportReport, MembersReport, Progress, SinkError, Source,
    import_members,
};
use crate::vault::{Consent, Vault, sample_rule, sample_rule_to};

/// The files of one brand.
#[derive(Clone, Debug)]
pub struct BrandFiles {
    /// One row a member.
    pub members: Source,
    /// One row a line of a receipt.
    pub purchases: Source,
}

impl BrandFiles {
    /// The files of a brand of the sample.
    #[must_use]
    pub const fn of_sample(brand: &SampleBrand) -> Self {
        Self {
            members: Source::Embedded { name: "members.parquet", bytes: brand.members },
            purchases: Source::Embedded { name: "purchases.parquet", bytes: brand.purchases },
        }
    }
}

/// What is being imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The people.
    Members,
    /// Their receipts.
    Purchases,
}

/// The rules an import goes by.
#[derive(Clone, Debug)]
pub struct IntakeRules {
    /// Consents recorded for every new member.
    pub consents: Vec<Consent>,
    /// How rows are cleaned.
    pub cleaning: Cleaning,
    /// What baskets earn.
    pub earn: EarnRule,
}

impl IntakeRules {
    /// The rules of the sample: consents by its stated rule, recorded as of `at`, to these brands
    /// receiving what an exchange tells them as well.
    ///
    /// # Errors
    /// When the sample's earning rule is not one, which a test rules out.
    pub fn of_sample(at: Timestamp, receivers: &[BrandId]) -> Result<Self, RuleError> {
        Ok(Self {
            consents: sample_rule(at)
                .into_iter()
                .chain(receivers.iter().map(|brand| sample_rule_to(*brand, at)))
                .collect(),
            cleaning: Cleaning::of_sample(),
            earn: EarnRule::from_toml(sample::EARN_RULE)?,
        })
    }
}

/// What an import of one brand did.
#[derive(Debug, Clone)]
pub struct BrandImport {
    /// The people.
    pub members: MembersReport,
    /// Their receipts.
    pub purchases: ImportReport,
    /// Movements given to `enter`.
    pub movements: u64,
    /// Points of those movements together.
    pub points: u64,
}

/// Imports a brand's members, then its purchases. Blocks; may be repeated after anything.
///
/// `enter` gets the points earned, in batches, and must have made them durable when it returns; it
/// must enter a movement whose [`Earned::key`] it has already entered no second time.
///
/// # Errors
/// As of [`import_members`] and [`Facts::import`].
pub fn import_brand(
    vault: &Vault,
    facts: &Facts,
    files: &BrandFiles,
    rules: &IntakeRules,
    enter: &mut dyn FnMut(&[Earned]) -> Result<(), SinkError>,
    progress: &mut dyn FnMut(Stage, Progress),
) -> Result<BrandImport, ImportError> {
    // nobody receives from itself
    let consents: Vec<Consent> =
        rules.consents.iter().filter(|it| it.receiver != Some(vault.brand())).copied().collect();
    let members = import_members(vault, &files.members, &consents, &mut |done| {
        progress(Stage::Members, done);
    })?;
    let (mut movements, mut points) = (0u64, 0u64);
    let purchases = facts.import(
        vault,
        &files.purchases,
        &rules.cleaning,
        &mut |changes| {
            let earned: Vec<Earned> =
                changes.iter().filter_map(|change| rules.earn.earn(change)).collect();
            for earned in &earned {
                movements = movements.saturating_add(1);
                points = points.saturating_add(earned.points.get());
            }
            if earned.is_empty() { Ok(()) } else { enter(&earned) }
        },
        &mut |done| progress(Stage::Purchases, done),
    )?;
    Ok(BrandImport { members, purchases, movements, points })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use ring::rand::SystemRandom;

    use super::*;
    use crate::purchases::DropReason;
    use crate::store::SledStore;
    use crate::vault::{HeldBrandKey, KEY_BYTES, Purpose};

    struct Brand {
        _folder: tempfile::TempDir,
        vault: Vault,
        facts: Facts,
        files: BrandFiles,
        rules: IntakeRules,
    }

    fn brand(name: &str) -> Brand {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SledStore::open(folder.path().join("store")).unwrap());
        let key = Arc::new(HeldBrandKey::from_bytes(&mut [7; KEY_BYTES]));
        let id = BrandId::new(name).unwrap();
        let vault = Vault::new(id, store.clone(), key, Arc::new(SystemRandom::new()));
        let facts = Facts::open(folder.path().join("facts"), store, &vault).unwrap();
        let rules = IntakeRules::of_sample(Timestamp::from_unix_ms(1), &[]).unwrap();
        let files = BrandFiles::of_sample(alliance_config::sample::brand(name).unwrap());
        Brand { _folder: folder, vault, facts, files, rules }
    }

    #[test]
    fn a_brand_of_the_sample_is_imported_once_however_often_it_is_run() {
        let brand = brand("fuel_stop");
        let mut entered = BTreeMap::new();
        let mut run = || {
            let mut enter = |earned: &[Earned]| {
                for earned in earned {
                    assert!(entered.insert(earned.key(), earned.points).is_none());
                }
                Ok(())
            };
            let Brand { vault, facts, files, rules, .. } = &brand;
            import_brand(vault, facts, files, rules, &mut enter, &mut |_, _| {}).unwrap()
        };
        let first = run();
        assert_eq!((first.members.rows_read, first.members.enrolled), (160, 160));
        // the exact figures of the data: 2,094 lines in 2,092 baskets, 54,042.00 yuan
        assert_eq!((first.purchases.rows_read, first.purchases.rows_kept), (2_094, 2_094));
        assert_eq!((first.purchases.baskets, first.purchases.amount_fen), (2_092, 5_404_200));
        // each basket is rounded down by less than a yuan, and a few earn nothing at all
        assert!(first.points <= 54_042 && first.points > 54_042 - 2_092, "{}", first.points);
        assert!(first.movements <= 2_092 && first.movements > 2_000, "{}", first.movements);
        let again = run();
        assert_eq!((again.members.known, again.movements), (160, 0));
        assert!(again.purchases.already_imported);
        let entered: u64 = entered.values().map(|points| points.get()).sum();
        assert_eq!(entered, first.points);
    }

    #[test]
    fn lines_without_a_sale_are_dropped_and_no_fen_is_lost() {
        let brand = brand("health_home");
        let mut last = None;
        let mut progress = |stage, done| last = Some((stage, done));
        let Brand { vault, facts, files, rules, .. } = &brand;
        let done = import_brand(vault, facts, files, rules, &mut |_| Ok(()), &mut progress);
        let done = done.unwrap();
        // of the 117 lines of quantity 0, three have an amount; the total is that of all lines
        assert_eq!(done.purchases.dropped, BTreeMap::from([(DropReason::NothingSold, 114)]));
        assert_eq!(
            (done.purchases.rows_kept, done.purchases.amount_fen),
            (23_463 - 114, 8_907_111)
        );
        let end = Progress { rows_done: 23_463, rows: 23_463 };
        assert_eq!(last, Some((Stage::Purchases, end)));
        let consenting = vault.consenting(Purpose::JointAnalytics).unwrap();
        assert_eq!(consenting.subjects().len(), 294);
    }
}
