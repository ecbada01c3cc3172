//! Intake: a brand's files become members, facts and earned points.
//!
//! Ties the rooms together and decides nothing itself: `purchases` reads and cleans, `vault` knows
//! the people; the caller hands what baskets have become to the programme, and makes that durable.

use std::path::Path;

use alliance_config::sample::SampleBrand;
use protocol::ids::BrandId;
use protocol::time::Timestamp;

use crate::programme::Earned;
use crate::purchases::{
    BasketChange, Facts, FileProblem, ImportError, ImportReport, ImportTerms, Mapping,
    MembersReport, Pace, Progress, SinkError, Source, Turn, import_members,
};
use crate::vault::Vault;

/// What is imported of one brand: either, or members first and then their purchases.
#[derive(Clone, Debug)]
pub struct BrandFiles {
    /// One row a member.
    pub members: Option<Source>,
    /// One row a line of a receipt.
    pub purchases: Option<Source>,
}

impl BrandFiles {
    /// The files of a brand of the sample.
    #[must_use]
    pub const fn of_sample(brand: &SampleBrand) -> Self {
        Self {
            members: Some(Source::Embedded { name: "members.parquet", bytes: brand.members }),
            purchases: Some(Source::Embedded { name: "purchases.parquet", bytes: brand.purchases }),
        }
    }

    /// The files of a folder, under the names that a mapping has for them.
    ///
    /// # Errors
    /// When none of them is there.
    pub fn of_folder(folder: &Path, mapping: &Mapping) -> Result<Self, FileProblem> {
        let find = |names: &[String]| {
            let paths = names.iter().map(|name| folder.join(name));
            paths.into_iter().find(|path| path.is_file()).map(Source::File)
        };
        let members = mapping.members.as_ref().map_or(&[][..], |members| &members.files);
        let purchases = mapping.purchases.as_ref().map_or(&[][..], |purchases| &purchases.files);
        let files = Self { members: find(members), purchases: find(purchases) };
        if files.members.is_some() || files.purchases.is_some() {
            return Ok(files);
        }
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
        Err(FileProblem::NoFile {
            folder: name.unwrap_or_default(),
            names: [members, purchases].concat().join(", "),
        })
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
    /// What the files mean: columns, units, consent, cleaning.
    pub mapping: Mapping,
    /// The brands of the alliance.
    pub brands: Vec<BrandId>,
    /// As of when consents are recorded; no purchase is later than the day after.
    pub at: Timestamp,
    /// How fast.
    pub pace: Pace,
}

impl IntakeRules {
    /// A mapping, for a brand of an alliance, beside the node's other work.
    #[must_use]
    pub const fn new(mapping: Mapping, brands: Vec<BrandId>, at: Timestamp) -> Self {
        Self { mapping, brands, at, pace: Pace::BESIDE }
    }

    /// Today at the brand, about: a day too late costs nothing, since tomorrow is allowed.
    fn today(&self) -> i32 {
        i32::try_from(self.at.unix_ms() / 86_400_000).unwrap_or(i32::MAX)
    }
}

/// What an import of one brand did.
#[derive(Debug, Clone)]
pub struct BrandImport {
    /// The people.
    pub members: Option<MembersReport>,
    /// Their receipts.
    pub purchases: Option<ImportReport>,
    /// What these came to in the programme.
    pub earned: Earned,
}

/// Has changed baskets counted; gives what came of it.
pub type Counting<'a> = dyn FnMut(&[BasketChange]) -> Result<Earned, SinkError> + 'a;

/// Imports a brand's members, then its purchases, in this turn; a long import of members gives its turns between parts
/// of the list. Blocks; may be repeated after anything.
///
/// `sink` gets the changed baskets, in batches, and says what they earned; what
/// they earned must be durable when it returns, and entered no second time for a basket and part that it
/// has had.
///
/// # Errors
/// As of [`import_members`] and [`Facts::import_in_turn`].
pub fn import_brand(
    vault: &Vault,
    facts: &Facts,
    files: &BrandFiles,
    rules: &IntakeRules,
    turn: Turn<'_>,
    sink: &mut Counting<'_>,
    progress: &mut dyn FnMut(Stage, Progress),
) -> Result<BrandImport, ImportError> {
    let terms = ImportTerms {
        mapping: &rules.mapping,
        brands: &rules.brands,
        today: rules.today(),
        pace: rules.pace,
    };
    let mut done = BrandImport { members: None, purchases: None, earned: Earned::default() };
    if let Some(source) = &files.members {
        let mut told = |done| {
            progress(Stage::Members, done);
            turn.pause();
        };
        done.members = Some(import_members(vault, source, terms, rules.at, &mut told)?);
    }
    if let Some(source) = &files.purchases {
        let mut earned = Earned::default();
        let mut sink = |changes: &[BasketChange]| {
            earned = earned.and(sink(changes)?);
            Ok(())
        };
        let mut told = |done| progress(Stage::Purchases, done);
        let imported = facts.import_in_turn(vault, source, terms, turn, &mut sink, &mut told);
        done.purchases = Some(imported?);
        done.earned = earned;
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    use ::programme::Rules;
    use ring::rand::SystemRandom;

    use super::*;
    use crate::programme::would_earn;
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

    fn sample_rules() -> IntakeRules {
        let mapping = Mapping::shipped("complete-journey").unwrap();
        let at = Timestamp::from_unix_ms(1_764_000_000_000);
        let brands = ["fuel_stop", "health_home"].map(|name| BrandId::new(name).unwrap()).to_vec();
        IntakeRules { pace: Pace::FULL, ..IntakeRules::new(mapping, brands, at) }
    }

    fn brand(name: &str) -> Brand {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SledStore::open(folder.path().join("store")).unwrap());
        let key = Arc::new(HeldBrandKey::from_bytes(&mut [7; KEY_BYTES]));
        let id = BrandId::new(name).unwrap();
        let vault = Vault::new(id, store.clone(), key, Arc::new(SystemRandom::new()));
        let facts = Facts::open(folder.path().join("facts"), store, &vault).unwrap();
        let rules = sample_rules();
        let files = BrandFiles::of_sample(alliance_config::sample::brand(name).unwrap());
        Brand { _folder: folder, vault, facts, files, rules }
    }

    #[test]
    fn a_brand_of_the_sample_is_imported_once_however_often_it_is_run() {
        let brand = brand("fuel_stop");
        let earn = Rules::from_toml(alliance_config::sample::FIRST_RULES).unwrap();
        let mut told = BTreeSet::new();
        let mut run = || {
            let Brand { vault, facts, files, rules, .. } = &brand;
            let mut sink = |changes: &[BasketChange]| {
                for change in changes {
                    assert!(told.insert((*change.basket.as_bytes(), change.part)));
                }
                let agreed = |member| {
                    vault.consents(member).map(|consents| consents.allows(Purpose::Programme))
                };
                Ok(would_earn(&earn, changes, agreed).unwrap())
            };
            import_brand(vault, facts, files, rules, Turn::Long, &mut sink, &mut |_, _| {}).unwrap()
        };
        let first = run();
        let (members, purchases) = (first.members.unwrap(), first.purchases.unwrap());
        assert_eq!((members.rows_read, members.enrolled), (160, 160));
        // the exact figures of the data: 2,094 lines in 2,092 baskets, 54,042.00 yuan
        assert_eq!((purchases.rows_read, purchases.rows_kept), (2_094, 2_094));
        assert_eq!((purchases.baskets, purchases.amount_fen), (2_092, 5_404_200));
        // each basket is rounded down by less than a yuan, and a few earn nothing at all
        let Earned { movements, points, without_consent } = first.earned;
        assert!(points <= 54_042 && points > 54_042 - 2_092, "{points}");
        assert!(movements <= 2_092 && movements > 2_000, "{movements}");
        assert_eq!(without_consent, 0, "the sample's rule states their consent");
        let again = run();
        let again_members = again.members.unwrap();
        assert_eq!((again_members.known, again.earned.movements), (160, 0));
        assert!(again.purchases.unwrap().already_imported);
        assert_eq!(told.len(), 2_092);
    }

    #[test]
    fn lines_without_a_sale_are_dropped_and_no_fen_is_lost() {
        let brand = brand("health_home");
        let mut last = None;
        let mut progress = |stage, done| last = Some((stage, done));
        let Brand { vault, facts, files, rules, .. } = &brand;
        let mut sink = |_: &[BasketChange]| Ok(Earned::default());
        let done = import_brand(vault, facts, files, rules, Turn::Long, &mut sink, &mut progress);
        let purchases = done.unwrap().purchases.unwrap();
        // of the 117 lines of quantity 0, three have an amount; the total is that of all lines
        assert_eq!(purchases.dropped, BTreeMap::from([(DropReason::NothingSold, 114)]));
        assert_eq!((purchases.rows_kept, purchases.amount_fen), (23_463 - 114, 8_907_111));
        let end = Progress { rows_done: 23_463, rows: Some(23_463), permille: 1000 };
        assert_eq!(last, Some((Stage::Purchases, end)));
        let consenting = vault.consenting(Purpose::JointAnalytics).unwrap();
        assert_eq!(consenting.subjects().len(), 294);
        // the sample's rule names every other brand as a receiver, and itself none
        let member = vault.members(None, 1).unwrap()[0];
        let fuel_stop = BrandId::new("fuel_stop").unwrap();
        let receivers = vault.consents(member).unwrap().receivers(Purpose::Exchange);
        assert_eq!(receivers, [fuel_stop]);
    }
}
