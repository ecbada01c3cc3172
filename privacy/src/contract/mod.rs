//! The dataset contract: what may be asked of whom, and every public bound.
//!
//! Knows the shared schema, the public domain of each column, which brands may carry which value and tell which
//! number, the bounds on a member's contribution and the budget. All of it is public and agreed on before
//! any data is looked at. Deliberately knows no data, no keys and no file format.
//!
//! A bound on a member's contribution holds at every brand that has none of its own: members of a jeweller buy less
//! often and for more than those of a discounter.
//!
//! Not here yet: public tables of more than [`PUBLIC_ROWS_MAX`] rows, other splits of a year's budget among the brands
//! than equal ones.

mod profile;
mod public;
mod raw;
mod validate;

use std::collections::BTreeSet;

use minicbor::Encode;

pub use profile::BudgetProfile;
pub use public::{PublicRow, PublicTable};
pub use raw::{RawColumn, RawContract, RawPublicTable, RawTable, RawValue};

use crate::civil::CivilDate;
use crate::hash;
use crate::ids::{ContractHash, ParticipantId, Purpose};
use crate::units::{GridBound, PicoDelta, PicoRho};

/// Most participants of an alliance.
pub const PARTICIPANTS_MAX: usize = 64;
/// Fewest brands behind a joint cell: with two, either learns the other's share up to its noise.
pub const CARRIERS_MIN: usize = 3;
/// Most public values of one text column, `OTHER` not counted.
pub const VALUES_MAX: usize = 1_000;
/// Longest text that is shown as a value, in bytes.
pub const VALUE_MAX_BYTES: usize = 128;
/// Most rows of one public table.
pub const PUBLIC_ROWS_MAX: usize = 1_000;
/// Most groups of a column whose values are not public.
pub const GROUPS_MAX: usize = 1_000;
/// Into how many questions with private groups a brand's yearly delta is divided.
pub const PRIVATE_QUESTIONS: usize = 10;
/// A question costs at least the usual divided by this: what it asks of every brand and every log is not a thousand
/// times less when its answer is a thousand times less exact, and accounts grow with every one.
pub const CHEAPEST: u64 = 1_000;
/// Label of the cell for values outside the declared ones.
pub const OTHER: &str = "OTHER";
/// Part of a brand's yearly budget for joint questions, in percent; the rest is for local ones.
pub const JOINT_PERCENT: u8 = 60;
/// Part of a brand's local quota, in percent, that readings which failed may take of it for one other brand's
/// questions.
pub const FAILURES_PERCENT: u8 = 50;

/// Why a contract is refused. `at` is the place in the contract, such as `tables.purchases.owner`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContractError {
    /// A name outside its grammar.
    #[error("{at}: {reason}")]
    Name {
        /// Place in the contract.
        at: String,
        /// What a name looks like.
        reason: String,
    },
    /// The same name or value twice.
    #[error("{at}: {name:?} is there twice")]
    Duplicate {
        /// Place in the contract.
        at: String,
        /// The repeated name.
        name: String,
    },
    /// Too few or too many of something.
    #[error("{at}: {found} given, {least} to {most} allowed")]
    Count {
        /// Place in the contract.
        at: String,
        /// How many there are.
        found: u64,
        /// Fewest allowed.
        least: u64,
        /// Most allowed.
        most: u64,
    },
    /// A carrier that is no participant.
    #[error("{at}: {name:?} is not among the participants")]
    UnknownCarrier {
        /// Place in the contract.
        at: String,
        /// The unknown brand.
        name: String,
    },
    /// A bound off the grid.
    #[error("{at}: {found} is not 1, 2 or 5 times a power of ten (at most {})", GridBound::MAX)]
    Bound {
        /// Place in the contract.
        at: String,
        /// The bound given.
        found: u64,
    },
    /// A bound that no member comes to.
    #[error(
        "{at}: no member's sums come to {found}: rows_bound times the largest value of a row is {most}; write that or less, \
         1, 2 or 5 times a power of ten"
    )]
    Unreachable {
        /// Place in the contract.
        at: String,
        /// The bound given.
        found: u64,
        /// The most that a member's rows add up to.
        most: u64,
    },
    /// A range whose ends are wrong.
    #[error("{at}: {reason}")]
    Range {
        /// Place in the contract.
        at: String,
        /// What a range must be.
        reason: &'static str,
    },
    /// No such profile.
    #[error("profile: must be \"large\", \"standard\" or \"trial\"")]
    Profile,
}

/// A validated dataset contract.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
#[cbor(array)]
pub struct Contract {
    #[n(0)]
    version: u8,
    #[n(1)]
    dataset: DatasetName,
    #[n(2)]
    purposes: Vec<Purpose>,
    #[n(3)]
    participants: Vec<ParticipantId>,
    #[n(4)]
    minimum_participants: u8,
    #[n(5)]
    profile: BudgetProfile,
    #[n(6)]
    members_at_most: u64,
    #[n(7)]
    tables: Vec<Table>,
    /// `None` for none: then the encoding, and with it the hash, is that of a contract without.
    #[n(8)]
    public_tables: Option<Vec<PublicTable>>,
}

/// The dataset's name has the grammar of a purpose.
type DatasetName = Purpose;

/// A table of the shared schema.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
#[cbor(array)]
pub struct Table {
    #[n(0)]
    name: String,
    #[n(1)]
    owner: String,
    #[n(2)]
    rows_bound: GridBound,
    #[n(3)]
    columns: Vec<Column>,
    /// `None` for none: then the encoding, and with it the hash, is that of a table without.
    #[n(4)]
    own_rows_bounds: Option<Vec<BrandBound>>,
}

/// A bound of one brand's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode)]
#[cbor(array)]
pub struct BrandBound {
    #[n(0)]
    brand: ParticipantId,
    #[n(1)]
    bound: GridBound,
}

impl BrandBound {
    /// Whose it is.
    pub const fn brand(&self) -> ParticipantId {
        self.brand
    }

    /// The bound.
    pub const fn bound(&self) -> GridBound {
        self.bound
    }

    /// The brand's own among these, or else what holds for all.
    fn at(own: Option<&[Self]>, brand: ParticipantId, all: GridBound) -> GridBound {
        let of_brand = own.unwrap_or_default().iter().find(|own| own.brand == brand);
        of_brand.map_or(all, |own| own.bound)
    }
}

/// A column beside the owner.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
#[cbor(array)]
pub struct Column {
    #[n(0)]
    name: String,
    #[n(1)]
    domain: Domain,
}

/// The declared domain of a column.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
pub enum Domain {
    /// Public texts, in the contract's order. Index `values.len()` stands for `OTHER`.
    #[n(0)]
    #[cbor(array)]
    Text {
        /// The values with their carriers.
        #[n(0)]
        values: Vec<TextValue>,
        /// Who may hold other values.
        #[n(1)]
        other_carriers: BTreeSet<ParticipantId>,
    },
    /// Days from first to last, both inclusive.
    #[n(1)]
    #[cbor(array)]
    Date {
        /// First day.
        #[n(0)]
        first: CivilDate,
        /// Last day.
        #[n(1)]
        last: CivilDate,
    },
    /// Whole numbers.
    #[n(2)]
    #[cbor(array)]
    Integer {
        /// `fen`, `pieces`, ...
        #[n(0)]
        unit: String,
        /// Least value of a row.
        #[n(1)]
        minimum: i64,
        /// Greatest value of a row.
        #[n(2)]
        maximum: i64,
        /// L2 bound of a member's sums, if the column can be summed.
        #[n(3)]
        bound: Option<GridBound>,
        /// Brands whose rows tell it; every other's are 0. `None` for every brand: then the encoding, and with it the
        /// hash, is that of a column without.
        #[n(4)]
        carriers: Option<BTreeSet<ParticipantId>>,
        /// The same at brands that have one of their own, by brand; `None` for none.
        #[n(5)]
        own_bounds: Option<Vec<BrandBound>>,
    },
    /// Texts that are not public.
    #[n(3)]
    #[cbor(array)]
    Private {
        /// The brands' column.
        #[n(0)]
        column: String,
        /// In at most how many groups one member counts.
        #[n(1)]
        member_groups: u16,
        /// Public cap on the groups of one brand.
        #[n(2)]
        groups_at_most: u16,
    },
}

/// A public value of a text column.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
#[cbor(array)]
pub struct TextValue {
    #[n(0)]
    text: String,
    #[n(1)]
    carriers: BTreeSet<ParticipantId>,
}

impl TextValue {
    /// The value.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Brands whose rows may hold it.
    pub const fn carriers(&self) -> &BTreeSet<ParticipantId> {
        &self.carriers
    }
}

impl Contract {
    /// Name of the dataset.
    pub fn dataset(&self) -> &str {
        self.dataset.as_str()
    }

    /// The brands, in order.
    pub fn participants(&self) -> &[ParticipantId] {
        &self.participants
    }

    /// Fewest brands in a joint query.
    pub fn minimum_participants(&self) -> usize {
        usize::from(self.minimum_participants)
    }

    /// Whether members were asked for this purpose.
    pub fn serves(&self, purpose: Purpose) -> bool {
        self.purposes.contains(&purpose)
    }

    /// The purposes.
    pub fn purposes(&self) -> &[Purpose] {
        &self.purposes
    }

    /// The budget profile.
    pub const fn profile(&self) -> BudgetProfile {
        self.profile
    }

    /// Public cap on one brand's members.
    pub const fn members_at_most(&self) -> u64 {
        self.members_at_most
    }

    /// The tables.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// Whether some brand has a bound of its own.
    pub fn has_own_bounds(&self) -> bool {
        self.participants
            .iter()
            .any(|brand| self.tables.iter().any(|table| table.has_own_bounds(*brand)))
    }

    /// The public tables.
    pub fn public_tables(&self) -> &[PublicTable] {
        self.public_tables.as_deref().unwrap_or_default()
    }

    /// What one brand may spend on joint questions it proposes in a calendar year: 60 % of an
    /// equal share of the profile's rho, rounded down.
    pub fn joint_quota(&self) -> PicoRho {
        self.quotas_of(self.profile.rho_per_year()).0
    }

    /// What one brand may spend on questions about its own members only: the rest of its share.
    pub fn local_quota(&self) -> PicoRho {
        self.quotas_of(self.profile.rho_per_year()).1
    }

    /// One brand's quotas, joint and local, where all brands together have so much in a year.
    pub(crate) fn quotas_of(&self, rho_per_year: PicoRho) -> (PicoRho, PicoRho) {
        let share = rho_per_year.divided(self.participants.len()).unwrap_or(PicoRho::ZERO);
        let joint = share.percent(JOINT_PERCENT).unwrap_or(PicoRho::ZERO);
        (joint, share.checked_sub(joint).unwrap_or(PicoRho::ZERO))
    }

    /// The failure probabilities that one brand's local questions may take in a calendar year.
    pub fn delta_quota(&self) -> PicoDelta {
        let share = self.profile.delta_per_year().divided(self.participants.len());
        share.unwrap_or(PicoDelta::ZERO)
    }

    /// What a question costs unless its analyst chooses otherwise: the profile's cost of a query, or what a joint
    /// question may cost at most where that is less.
    pub fn rho_per_question(&self) -> PicoRho {
        self.profile.rho_per_query().min(self.rho_per_question_at_most())
    }

    /// What a joint question costs at most: no more than its proposer may make fail at another brand.
    pub fn rho_per_question_at_most(&self) -> PicoRho {
        self.joint_quota().min(self.failure_quota())
    }

    /// What a question costs at least.
    pub fn rho_per_question_at_least(&self) -> PicoRho {
        PicoRho::new(self.rho_per_question().get().div_ceil(CHEAPEST).max(1))
    }

    /// What the failed readings of one other brand's questions may take of a brand's local quota in a year. The proposer's
    /// own quota comes back when a reading fails: without a share of its own, it could have each other brand's local
    /// account emptied for nothing.
    pub fn failure_quota(&self) -> PicoRho {
        self.local_quota().percent(FAILURES_PERCENT).unwrap_or(PicoRho::ZERO)
    }

    /// The failure probability that one question with private groups takes: a tenth of the brand's year.
    pub fn delta_per_question(&self) -> PicoDelta {
        self.delta_quota().divided(PRIVATE_QUESTIONS).unwrap_or(PicoDelta::ZERO)
    }

    /// Hash of the whole contract: two nodes plan alike only under the same one.
    pub fn hash(&self) -> ContractHash {
        let mut bytes = Vec::new();
        // Writing to a vector cannot fail.
        let _ = minicbor::encode(self, &mut bytes);
        ContractHash(hash::tagged("coalition/privacy/contract/v0", &[&bytes]))
    }
}

impl Table {
    /// Its name in SQL.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The column that names a row's member.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// L2 bound of a member's row counts, at brands that have none of their own.
    pub const fn rows_bound(&self) -> GridBound {
        self.rows_bound
    }

    /// The brands' own bounds of a member's row counts, by brand.
    pub fn own_rows_bounds(&self) -> &[BrandBound] {
        self.own_rows_bounds.as_deref().unwrap_or_default()
    }

    /// Whether a brand has some bound of its own here.
    pub(crate) fn has_own_bounds(&self, brand: ParticipantId) -> bool {
        let of_columns = self.columns.iter().flat_map(Column::own_bounds);
        self.own_rows_bounds().iter().chain(of_columns).any(|own| own.brand == brand)
    }

    /// L2 bound of a member's row counts at one brand.
    pub fn rows_bound_at(&self, brand: ParticipantId) -> GridBound {
        BrandBound::at(self.own_rows_bounds.as_deref(), brand, self.rows_bound)
    }

    /// The columns beside the owner.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }
}

impl Column {
    /// Its name in SQL.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its declared domain.
    pub const fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Whether a brand's rows tell it: of a whole number that others tell, they are 0.
    pub fn is_told_by(&self, brand: ParticipantId) -> bool {
        match &self.domain {
            Domain::Integer { carriers: Some(carriers), .. } => carriers.contains(&brand),
            _ => true,
        }
    }

    /// L2 bound of a member's sums of it at brands that have none of their own; `None` where it cannot be summed.
    pub const fn bound(&self) -> Option<GridBound> {
        match &self.domain {
            Domain::Integer { bound, .. } => *bound,
            _ => None,
        }
    }

    /// The brands' own bounds of a member's sums of it, by brand.
    pub fn own_bounds(&self) -> &[BrandBound] {
        match &self.domain {
            Domain::Integer { own_bounds, .. } => own_bounds.as_deref().unwrap_or_default(),
            _ => &[],
        }
    }

    /// L2 bound of a member's sums of it at one brand; `None` where it cannot be summed.
    pub fn bound_at(&self, brand: ParticipantId) -> Option<GridBound> {
        self.bound().map(|all| BrandBound::at(Some(self.own_bounds()), brand, all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{brand, raw_contract, sample_contract};

    #[test]
    fn quotas_of_the_brands_stay_within_the_year() {
        let contract = sample_contract();
        let spent = (contract.joint_quota().get() + contract.local_quota().get()) * 5;
        assert!(spent <= contract.profile().rho_per_year().get());
        assert_eq!(contract.joint_quota(), PicoRho::new(18_000_000_000));
    }

    /// With many brands a brand's share of the year is less than the profile's cost of a query: the usual cost
    /// falls to what can be paid, at every profile.
    #[test]
    fn the_usual_cost_is_one_that_a_brand_has() {
        for profile in ["large", "standard", "trial"] {
            for number in [3usize, 5, 10, 20, 64] {
                let mut raw = raw_contract();
                raw.profile = profile.into();
                raw.participants = (0..number).map(|at| format!("b{at:02}")).collect();
                raw.tables.truncate(1);
                raw.public_tables.clear();
                let RawColumn::Text { values, .. } = &mut raw.tables[0].columns[1] else {
                    panic!()
                };
                values.iter_mut().for_each(|value| value.carriers = None);
                let contract = Contract::try_from(raw).unwrap();
                let usual = contract.rho_per_question();
                assert!(usual > PicoRho::ZERO && usual <= contract.joint_quota());
                assert!(
                    usual <= contract.local_quota() && usual <= contract.profile().rho_per_query()
                );
                assert!(usual <= contract.failure_quota());
                assert_eq!(usual == contract.profile().rho_per_query(), number <= 5, "{number}");
            }
        }
    }

    #[test]
    fn the_hash_covers_bounds_and_carriers() {
        let before = sample_contract().hash();
        let mut raw = raw_contract();
        raw.tables[0].rows_bound = 5_000;
        assert_ne!(Contract::try_from(raw).unwrap().hash(), before);
        let mut raw = raw_contract();
        let RawColumn::Text { values, .. } = &mut raw.tables[0].columns[1] else { panic!() };
        values[0].carriers = Some(vec!["grocer_one".into()]);
        assert_ne!(Contract::try_from(raw).unwrap().hash(), before);
        assert_eq!(sample_contract().hash(), before);
    }

    #[test]
    fn a_number_that_every_brand_tells_is_hashed_as_ever_and_who_tells_it_is_covered() {
        let of = |carriers: Option<Vec<String>>| {
            let mut raw = raw_contract();
            let RawColumn::Integer { carriers: named, .. } = &mut raw.tables[0].columns[3] else {
                panic!()
            };
            *named = carriers;
            Contract::try_from(raw).unwrap()
        };
        let last = |contract: &Contract| {
            let column = contract.tables()[0].columns()[3].clone();
            minicbor::to_vec(column.domain()).unwrap()
        };
        let (all, some) = (of(None), of(Some(vec!["fuel_stop".into(), "grocer_one".into()])));
        // the variant, and arrays of 4 and of 5
        assert_eq!((last(&all)[2], last(&some)[2]), (0x84, 0x85));
        assert_ne!(all.hash(), some.hash());
        let told = |contract: &Contract, brand| {
            contract.tables()[0].columns()[3].is_told_by(crate::testing::brand(brand))
        };
        assert!(told(&all, 0) && !told(&some, 0) && told(&some, 1));
    }

    #[test]
    fn a_brand_has_a_bound_of_its_own_or_that_of_all() {
        let before = sample_contract();
        let mut raw = raw_contract();
        raw.tables[0].rows_bound_by_brand.insert("health_home".into(), 50);
        let RawColumn::Integer { bound_by_brand, .. } = &mut raw.tables[0].columns[3] else {
            panic!()
        };
        bound_by_brand.insert("health_home".into(), 2_000_000);
        bound_by_brand.insert("fuel_stop".into(), 100_000);
        let contract = Contract::try_from(raw).unwrap();
        assert_ne!(contract.hash(), before.hash());
        let (own, all) = (brand(4), brand(0));
        let (table, amount) = (&contract.tables()[0], &contract.tables()[0].columns()[3]);
        assert_eq!((table.rows_bound_at(own).get(), table.rows_bound_at(all).get()), (50, 2_000));
        assert_eq!(amount.bound_at(own).map(GridBound::get), Some(2_000_000));
        assert_eq!(amount.bound_at(all).map(GridBound::get), Some(500_000));
        // in the order of the brands, whatever the file's
        let named = amount.own_bounds().iter().map(|own| own.brand().to_string());
        assert_eq!(named.collect::<Vec<_>>(), ["fuel_stop", "health_home"]);
        assert_eq!(table.columns()[2].bound_at(own), None);
        // without any, a contract is encoded as ever: a table is an array of 4, a column's numbers one of 4;
        // its own bounds are the sixth of them
        let table = |contract: &Contract| minicbor::to_vec(&contract.tables()[0]).unwrap();
        assert_eq!((table(&before)[0], table(&contract)[0]), (0x84, 0x85));
        let column = |contract: &Contract| {
            let domain = contract.tables()[0].columns()[3].domain();
            minicbor::to_vec(domain).unwrap()
        };
        // the carriers before it are none
        assert_eq!((column(&before)[2], column(&contract)[2]), (0x84, 0x86));
    }

    #[test]
    fn a_bound_of_ones_own_must_say_something() {
        let refused = |change: fn(&mut RawContract)| {
            let mut raw = raw_contract();
            change(&mut raw);
            Contract::try_from(raw).unwrap_err().to_string()
        };
        let own = |raw: &mut RawContract, column: usize, brand: &str, value: u64| {
            let RawColumn::Integer { bound_by_brand, .. } = &mut raw.tables[0].columns[column]
            else {
                panic!()
            };
            bound_by_brand.insert(brand.to_owned(), value);
        };
        let amount = "tables.purchases.amount_fen.bound_by_brand";
        for (said, starts, contains) in [
            (
                refused(|raw| {
                    raw.tables[0].rows_bound_by_brand.insert("fuel_stop".into(), 30);
                }),
                "tables.purchases.rows_bound_by_brand.fuel_stop: 30 is not".to_owned(),
                "1, 2 or 5",
            ),
            (
                refused(|raw| {
                    raw.tables[0].rows_bound_by_brand.insert("nobody".into(), 50);
                }),
                "tables.purchases.rows_bound_by_brand.nobody: ".to_owned(),
                "not among the participants",
            ),
            (
                refused(|raw| {
                    raw.tables[0].rows_bound_by_brand.insert("fuel_stop".into(), 2_000);
                }),
                "tables.purchases.rows_bound_by_brand.fuel_stop: ".to_owned(),
                "the bound of all",
            ),
            // no sum of 2,000 rows of at most 1,000,000 comes so far
            (
                refused(|raw| {
                    let RawColumn::Integer { bound_by_brand, .. } = &mut raw.tables[0].columns[3]
                    else {
                        panic!()
                    };
                    bound_by_brand.insert("fuel_stop".into(), 5_000_000_000);
                }),
                format!("{amount}.fuel_stop: "),
                "no member's sums",
            ),
            // quantity has no bound at all
            (
                refused(|raw| {
                    let RawColumn::Integer { bound_by_brand, .. } = &mut raw.tables[0].columns[2]
                    else {
                        panic!()
                    };
                    bound_by_brand.insert("fuel_stop".into(), 50);
                }),
                "tables.purchases.quantity.bound_by_brand: ".to_owned(),
                "needs `bound`",
            ),
        ] {
            assert!(said.starts_with(&starts) && said.contains(contains), "{said}");
        }
        // the largest that can be reached is accepted
        let mut raw = raw_contract();
        own(&mut raw, 3, "fuel_stop", 2_000_000_000);
        assert!(Contract::try_from(raw).is_ok());
    }

    #[test]
    fn a_contract_without_public_tables_is_hashed_as_ever() {
        let mut raw = raw_contract();
        raw.public_tables.clear();
        let without = minicbor::to_vec(Contract::try_from(raw).unwrap()).unwrap();
        let with = minicbor::to_vec(sample_contract()).unwrap();
        // arrays of 8 and of 9
        assert_eq!((without[0], with[0]), (0x88, 0x89));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let refused = |change: fn(&mut RawContract)| {
            let mut raw = raw_contract();
            change(&mut raw);
            Contract::try_from(raw).unwrap_err().to_string()
        };
        let two = refused(|raw| raw.participants.truncate(2));
        assert_eq!(two, "participants: 2 given, 3 to 64 allowed");
        let off_grid = refused(|raw| raw.tables[0].rows_bound = 30);
        assert!(off_grid.starts_with("tables.purchases.rows_bound: 30 is not"), "{off_grid}");
        let never = |maximum: i64, own_rows: Option<u64>| {
            let mut raw = raw_contract();
            raw.tables[0]
                .rows_bound_by_brand
                .extend(own_rows.map(|rows| ("fuel_stop".to_owned(), rows)));
            let RawColumn::Integer { minimum, maximum: most, bound, .. } =
                &mut raw.tables[0].columns[2]
            else {
                panic!()
            };
            (*minimum, *most, *bound) = (0, maximum, Some(500_000));
            Contract::try_from(raw).map(drop).map_err(|error| error.to_string())
        };
        // 2,000 rows of at most 100; with 5,000 rows at one brand the same bound is of use there
        let absurd = never(100, None).unwrap_err();
        assert!(
            absurd.starts_with("tables.purchases.quantity.bound: no member's sums"),
            "{absurd}"
        );
        assert!(absurd.contains("largest value of a row is 200000; write that"), "{absurd}");
        assert!(never(100, Some(5_000)).is_ok() && never(250, None).is_ok());
        let widest = refused(|raw| {
            let RawColumn::Integer { bound, .. } = &mut raw.tables[0].columns[3] else { panic!() };
            *bound = Some(GridBound::MAX);
        });
        assert!(widest.contains("no member's sums come to 1000000000000000"), "{widest}");
        let twice = refused(|raw| raw.participants[1] = "grocer_one".into());
        assert_eq!(twice, "participants: \"grocer_one\" is there twice");
        let profile = refused(|raw| raw.profile = "huge".into());
        assert!(profile.contains("trial"));
        let stranger = refused(|raw| {
            let RawColumn::Text { other_carriers, .. } = &mut raw.tables[0].columns[1] else {
                panic!()
            };
            *other_carriers = Some(vec!["nobody".into()]);
        });
        assert!(stranger.contains("not among the participants"), "{stranger}");
        let told = |carriers: &[&str]| {
            let mut raw = raw_contract();
            let RawColumn::Integer { carriers: named, .. } = &mut raw.tables[0].columns[3] else {
                panic!()
            };
            *named = Some(carriers.iter().map(|name| (*name).to_owned()).collect());
            Contract::try_from(raw).unwrap_err().to_string()
        };
        let at = "tables.purchases.amount_fen";
        assert_eq!(told(&[]), format!("{at}.carriers: 0 given, 1 to 5 allowed"));
        assert_eq!(told(&["nobody"]), format!("{at}: \"nobody\" is not among the participants"));
        let twice = told(&["fuel_stop", "fuel_stop"]);
        assert_eq!(twice, format!("{at}: \"fuel_stop\" is there twice"));
        let taken = refused(|raw| {
            let RawColumn::Text { name, .. } = &mut raw.tables[0].columns[1] else { panic!() };
            *name = "brand".into();
        });
        let says = "tables.purchases: \"brand\" has a meaning of its own in questions";
        assert!(taken.starts_with(says), "{taken}");
        for name in ["cell", "coded", "consenting", "fact", "member", "person", "replaced", "c12"] {
            let mut raw = raw_contract();
            raw.public_tables[0].columns[0] = name.into();
            let taken = Contract::try_from(raw).unwrap_err().to_string();
            assert!(taken.contains(&format!("{name:?} has a meaning of its own")), "{taken}");
        }
        let owner = refused(|raw| raw.tables[0].owner = "person".into());
        assert!(owner.starts_with("tables.purchases.owner: \"person\" has"), "{owner}");
        for name in ["c", "cells", "c1x", "brand_name", "z9"] {
            let mut raw = raw_contract();
            raw.public_tables[0].columns[0] = name.into();
            assert!(Contract::try_from(raw).is_ok(), "{name}");
        }
        let short = refused(|raw| raw.public_tables[0].rows[1].truncate(1));
        assert!(short.starts_with("public_tables.aisles.rows"), "{short}");
        let twice = refused(|raw| raw.public_tables[0].rows[1][0] = "GROCERY".into());
        assert!(twice.contains("\"GROCERY\" is there twice"), "{twice}");
        let lone = refused(|raw| raw.minimum_participants = 2);
        assert!(lone.starts_with("minimum_participants"), "{lone}");
    }
}
