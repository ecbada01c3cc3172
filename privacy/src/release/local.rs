//! The answer of one brand about its own members, and packs of such answers.
//!
//! Nobody masks anything here: the brand adds its own noise and shows the sum. Who protects its
//! members is the brand alone, with all the noise of the plan; the brand's own totals are shown up to
//! that noise, which is why it takes the brand's consent. The one constructor needs the certified
//! charge, and uses vector and noise up.
//!
//! A pack is what `GROUP BY brand` means: one release of each brand that agreed, each paid for on its
//! own account. One person in a brands costs at most what the a releases cost together.

use std::collections::BTreeMap;

use serde::Serialize;

use super::answer::ReleasedCell;
use super::{PrivacyStatement, ReleaseError, Stable, noised, private};
use crate::accounting::CertifiedLocalCharge;
use crate::bounded::BoundedVector;
use crate::hash;
use crate::ids::{ParticipantId, PlanHash, ReleaseHash, SnapshotId, SqlHash};
use crate::mechanism::NoiseShare;
use crate::plan::DpPlan;
use crate::steps::AttemptId;
use crate::units::PicoRho;

/// The unit of privacy of a brand's own answer, in words.
pub const PROTECTED_ALONE: &str =
    "one account of this brand, added or removed; counts are of the brand's own members";

/// A noised answer about one brand's own members.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalRelease {
    stable: Stable<SnapshotId>,
    cells: Vec<ReleasedCell>,
    statement: PrivacyStatement,
    private: bool,
}

/// Noised values of cells with these labels, a column's cells together.
pub(super) struct Noised {
    pub(super) labels: Vec<Vec<String>>,
    pub(super) values: Vec<i64>,
}

impl LocalRelease {
    /// Adds the noise to the bounded figures, if the charge pays for the plan. Drawn before the data
    /// was read, like a share of a joint answer. A caller that fails before it has stored the release
    /// may draw and read again: nobody has seen the first noise.
    pub fn new(
        charge: &CertifiedLocalCharge,
        plan: &DpPlan,
        vector: BoundedVector,
        noise: NoiseShare,
    ) -> Result<Self, ReleaseError> {
        if !charge.pays_for(plan) {
            return Err(ReleaseError::Unpaid);
        }
        if vector.plan() != plan.hash() || noise.plan() != plan.hash() {
            return Err(ReleaseError::Plan);
        }
        let noised = match plan.private() {
            Some(groups) => private::noised(plan, groups, &vector, &noise)?,
            None => {
                let values = noised::noised(plan, &vector, &noise, |_| true)?;
                Noised { labels: super::public_labels(plan), values }
            }
        };
        Self::of_noised(charge, plan, noised)
    }

    /// A release again from its noised values: read back from the own disk, or sent by the brand that
    /// made it. What is not what that brand's log certifies is none.
    pub fn again(
        charge: &CertifiedLocalCharge,
        plan: &DpPlan,
        noised: &[u8],
        logged: ReleaseHash,
    ) -> Result<Self, ReleaseError> {
        let release = Self::unlogged(charge, plan, noised)?;
        if release.hash() == logged { Ok(release) } else { Err(ReleaseError::NotLogged) }
    }

    /// As [`Self::again`], for the brand itself, whose log has yet to take the hash.
    pub(crate) fn unlogged(
        charge: &CertifiedLocalCharge,
        plan: &DpPlan,
        noised: &[u8],
    ) -> Result<Self, ReleaseError> {
        if !charge.pays_for(plan) {
            return Err(ReleaseError::Unpaid);
        }
        let noised = match plan.private() {
            Some(groups) => private::read(plan, groups, noised)?,
            None => {
                let (values, rest) = noised.as_chunks::<8>();
                if !rest.is_empty() {
                    return Err(ReleaseError::Plan);
                }
                let values = values.iter().map(|value| i64::from_be_bytes(*value)).collect();
                Noised { labels: super::public_labels(plan), values }
            }
        };
        Self::of_noised(charge, plan, noised)
    }

    fn of_noised(
        charge: &CertifiedLocalCharge,
        plan: &DpPlan,
        noised: Noised,
    ) -> Result<Self, ReleaseError> {
        let Noised { labels, values } = noised;
        if values.len() != plan.column_start(plan.columns().len(), labels.len()) {
            return Err(ReleaseError::Plan);
        }
        let charged = charge.entry();
        let stable = Stable::new(charged.id, plan, charged.snapshot, labels, values);
        let cells = stable.cells(plan);
        let statement =
            PrivacyStatement::new(PROTECTED_ALONE, charged.id.proposer, charged.year, plan);
        Ok(Self { stable, cells, statement, private: plan.private().is_some() })
    }

    /// Every noised value, eight bytes each, big-endian, in the plan's order; of private groups those that are
    /// shown, with their names: what [`Self::again`] reads.
    pub fn noised(&self) -> Vec<u8> {
        if self.private {
            return private::written(&self.stable.labels, &self.stable.values);
        }
        self.stable.values.iter().flat_map(|value| value.to_be_bytes()).collect()
    }

    /// The question it answers.
    pub const fn id(&self) -> AttemptId {
        self.stable.id
    }

    /// The brand it is about.
    pub const fn brand(&self) -> ParticipantId {
        self.stable.id.proposer
    }

    /// The plan it answers.
    pub const fn plan(&self) -> PlanHash {
        self.stable.plan
    }

    /// The data it answers from.
    pub const fn snapshot(&self) -> SnapshotId {
        self.stable.source
    }

    /// Hash of the normalised question.
    pub const fn sql_hash(&self) -> SqlHash {
        self.stable.sql
    }

    /// What it cost.
    pub const fn rho(&self) -> PicoRho {
        self.stable.rho
    }

    /// Names of the columns: group keys, then the others.
    pub fn columns(&self) -> &[String] {
        &self.stable.columns
    }

    /// The cells.
    pub fn cells(&self) -> &[ReleasedCell] {
        &self.cells
    }

    /// What it promises.
    pub const fn statement(&self) -> &PrivacyStatement {
        &self.statement
    }

    /// The hash the brand logs: deterministic CBOR, integers and texts only.
    pub fn hash(&self) -> ReleaseHash {
        ReleaseHash(hash::tagged("coalition/privacy/local-release/v0", &[&self.stable.bytes()]))
    }
}

/// As JSON for people and programs.
impl Serialize for LocalRelease {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut json = serializer.serialize_struct("LocalRelease", 6)?;
        json.serialize_field("query", &self.stable.id.query)?;
        json.serialize_field("brand", &self.brand())?;
        json.serialize_field("hash", &self.hash())?;
        json.serialize_field("columns", &self.stable.columns)?;
        json.serialize_field("cells", &self.cells)?;
        json.serialize_field("privacy", &self.statement)?;
        json.end()
    }
}

/// Why releases make no pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// Nobody agreed.
    #[error("no brand has answered")]
    Empty,
    /// A release of another question.
    #[error("the release of {0} answers another question")]
    OtherQuestion(ParticipantId),
    /// Two releases of one brand.
    #[error("{0} has answered twice")]
    Twice(ParticipantId),
}

/// The answers of several brands, each about its own members, to one question.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct BrandPack(BTreeMap<ParticipantId, LocalRelease>);

impl BrandPack {
    /// Of the releases of those who agreed, in any order.
    pub fn new(releases: impl IntoIterator<Item = LocalRelease>) -> Result<Self, PackError> {
        let mut pack: BTreeMap<ParticipantId, LocalRelease> = BTreeMap::new();
        for release in releases {
            let brand = release.brand();
            if pack.values().next().is_some_and(|first| first.sql_hash() != release.sql_hash()) {
                return Err(PackError::OtherQuestion(brand));
            }
            if pack.insert(brand, release).is_some() {
                return Err(PackError::Twice(brand));
            }
        }
        if pack.is_empty() { Err(PackError::Empty) } else { Ok(Self(pack)) }
    }

    /// The release of each brand.
    pub const fn releases(&self) -> &BTreeMap<ParticipantId, LocalRelease> {
        &self.0
    }

    /// All cells with their brand.
    pub fn cells(&self) -> impl Iterator<Item = (ParticipantId, &ReleasedCell)> {
        self.0
            .iter()
            .flat_map(|(brand, release)| release.cells().iter().map(move |cell| (*brand, cell)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounting::Ledger;
    use crate::bounded::Collector;
    use crate::exact;
    use crate::mechanism::OpendpNoise;
    use crate::plan::LocalQuestion;
    use crate::steps::{CleanRoomEntry, LocalCharge, LocalReleased};
    use crate::testing::{
        Logged, brand, certified_local, local_charge, local_question, sample_contract,
    };
    use crate::units::{CalendarYear, PicoDelta};

    fn question(sql: &str) -> LocalQuestion {
        local_question(sql, 4_000_000_000)
    }

    fn charge(plan: &DpPlan, of: usize, query: u8) -> LocalCharge {
        local_charge(plan, brand(of), query)
    }

    const BY_BRAND: &str = "SELECT brand, department, count(distinct member) AS m FROM purchases \
                            WHERE department IN ('GROCERY', 'OTHER') GROUP BY brand, department";

    fn release(of: usize, members: u16) -> LocalRelease {
        let plan = DpPlan::local(&sample_contract(), brand(of), &question(BY_BRAND)).unwrap();
        let mut collector = Collector::new(&plan, plan.participants()[0]);
        for member in 0..members {
            collector.push(Some(&member.to_be_bytes()), 0, &[Some(1)]).unwrap();
        }
        let noise = NoiseShare::draw(&plan, &mut OpendpNoise::from_system_entropy()).unwrap();
        let charge = certified_local(charge(&plan, of, 1));
        LocalRelease::new(&charge, &plan, collector.finish().unwrap(), noise).unwrap()
    }

    #[test]
    fn one_brand_adds_all_the_noise_of_its_own_answer() {
        let plan = DpPlan::local(&sample_contract(), brand(2), &question(BY_BRAND)).unwrap();
        assert_eq!((plan.participants(), plan.tolerated_colluders()), (&[brand(2)][..], 0));
        // C^2 = 2 cells: sigma^2 = 2 / (2 * 0.004) = 250
        let column = &plan.columns()[0];
        assert!(exact::squared(column.share_deviation()) >= exact::integer(250));
        let cost = PicoRho::of_gaussian(
            &exact::integer(column.scaled_squared_bound()),
            &exact::squared(column.share_deviation()),
        );
        assert!(cost.unwrap() <= plan.rho());
        // a value that this brand alone may carry can be asked of it
        let fuel = question("SELECT count(*) FROM purchases WHERE department = 'FUEL'");
        assert!(DpPlan::local(&sample_contract(), brand(1), &fuel).is_ok());
        // and not of one that may not carry it: there is no such row
        assert!(DpPlan::local(&sample_contract(), brand(2), &fuel).is_err());
    }

    #[test]
    fn group_by_brand_is_a_pack_of_local_answers() {
        let joint = crate::testing::spec(BY_BRAND, 5);
        let refusal = DpPlan::new(&sample_contract(), &joint).unwrap_err();
        assert!(refusal.hint().en.contains("pack of local answers"), "{refusal}");
        let pack = BrandPack::new([release(2, 900), release(3, 400)]).unwrap();
        let cells: Vec<(String, String, f64)> = pack
            .cells()
            .map(|(brand, cell)| (brand.to_string(), cell.keys[0].clone(), cell.values[0].value))
            .collect();
        assert_eq!(cells.len(), 4);
        for ((brand, key, value), (expected, label, truth)) in cells.iter().zip([
            ("grocer_one", "GROCERY", 900.0),
            ("grocer_one", "OTHER", 0.0),
            ("grocer_two", "GROCERY", 400.0),
            ("grocer_two", "OTHER", 0.0),
        ]) {
            assert_eq!((brand.as_str(), key.as_str()), (expected, label));
            // eight deviations of 15.8
            assert!((value - truth).abs() < 130.0, "{value} {truth}");
        }
        assert_eq!(BrandPack::new([]), Err(PackError::Empty));
        let twice = BrandPack::new([release(2, 1), release(2, 1)]);
        assert_eq!(twice, Err(PackError::Twice(brand(2))));
    }

    #[test]
    fn a_local_release_needs_its_own_charge() {
        let plan = DpPlan::local(&sample_contract(), brand(2), &question(BY_BRAND)).unwrap();
        let other = question("SELECT count(distinct member) FROM purchases");
        let other = DpPlan::local(&sample_contract(), brand(2), &other).unwrap();
        let attempt = |charge: LocalCharge, noise_of: &DpPlan| {
            let vector = Collector::new(&plan, plan.participants()[0]).finish().unwrap();
            let noise =
                NoiseShare::draw(noise_of, &mut OpendpNoise::from_system_entropy()).unwrap();
            let charge = certified_local(charge);
            LocalRelease::new(&charge, &plan, vector, noise).map(|release| release.rho())
        };
        assert_eq!(attempt(charge(&plan, 2, 1), &plan), Ok(plan.rho()));
        assert_eq!(attempt(charge(&other, 2, 1), &plan), Err(ReleaseError::Unpaid));
        assert_eq!(attempt(charge(&plan, 3, 1), &plan), Err(ReleaseError::Unpaid));
        let cheaper = LocalCharge { rho: PicoRho::new(1), ..charge(&plan, 2, 1) };
        assert_eq!(attempt(cheaper, &plan), Err(ReleaseError::Unpaid));
        assert_eq!(attempt(charge(&plan, 2, 1), &other), Err(ReleaseError::Plan));
    }

    #[test]
    fn local_accounts_refuse_cleanly_and_are_added_up_from_the_log() {
        let contract = sample_contract();
        let plan = DpPlan::local(&contract, brand(2), &question(BY_BRAND)).unwrap();
        let mut ledger = Ledger::new();
        let year = CalendarYear(2026);
        let everything = contract.local_quota();
        // a local quota of 12e9 holds three of 4e9
        for query in 1..=4u8 {
            let charge = charge(&plan, 2, query);
            let admitted = ledger.admit_local(&contract, &charge, everything, &[]);
            assert_eq!(admitted.is_ok(), query <= 3, "{query}");
            let entry = CleanRoomEntry::LocalCharge(charge);
            let id = ledger.enter(&Logged::of(&entry, u64::from(query), brand(2))).unwrap();
            assert_eq!(ledger.was_within_local_quota(&contract, &id), query <= 3);
        }
        assert_eq!(ledger.local_spent(brand(2), year).get(), 16_000_000_000);
        assert_eq!(ledger.local_left(&contract, brand(2), year), PicoRho::ZERO);
        // other years, brands and the joint account are untouched
        assert_eq!(ledger.local_left(&contract, brand(2), CalendarYear(2027)), everything);
        assert_eq!(ledger.local_left(&contract, brand(3), year), everything);
        assert_eq!(ledger.joint_spent(brand(2), year), PicoRho::ZERO);
        // an analyst's share, and what is still on its way into the log
        let fresh = Ledger::new();
        let one = charge(&plan, 2, 9);
        assert!(fresh.admit_local(&contract, &one, PicoRho::new(1), &[]).is_err());
        assert!(fresh.admit_local(&contract, &one, everything, &[charge(&plan, 2, 8); 3]).is_err());
        let risky = LocalCharge { delta: PicoDelta::new(200_001), ..one };
        assert!(fresh.admit_local(&contract, &risky, everything, &[]).is_err());
        let entry = CleanRoomEntry::LocalCharge(one);
        let other = Logged::of(&entry, 1, brand(3));
        assert!(Ledger::new().enter(&other).is_err(), "another brand's log");
    }

    #[test]
    fn the_audit_finds_local_charges_above_the_quota_and_unpaid_releases() {
        use crate::accounting::{AuditEntry, InForce, Kept, Rule, audit};
        let contract = sample_contract();
        let plan = DpPlan::local(&contract, brand(2), &question(BY_BRAND)).unwrap();
        let released = |query: u8| {
            let id = charge(&plan, 2, query).id;
            CleanRoomEntry::LocalRelease(LocalReleased { id, release: ReleaseHash([1; 32]) })
        };
        let charged = |query: u8| CleanRoomEntry::LocalCharge(charge(&plan, 2, query));
        let findings = |entries: Vec<CleanRoomEntry>, year: u16| -> Vec<Rule> {
            let logged: Vec<Logged> = (0..)
                .zip(entries)
                .map(|(index, entry)| Logged::of(&entry, index, brand(2)))
                .collect();
            let (year, under) = (CalendarYear(year), Some(contract.hash()));
            let entries = logged.iter().map(|entry| AuditEntry { entry, year, under });
            let contracts = [InForce::always(&contract)];
            audit(&contracts, entries, &Kept::default()).1.iter().map(|f| f.rule).collect()
        };
        assert_eq!(findings(vec![charged(1), released(1)], 2026), Vec::<Rule>::new());
        assert_eq!(findings(vec![released(1), charged(1)], 2026), [Rule::ReleaseWithoutCharge]);
        assert_eq!(findings(vec![released(1)], 2026), [Rule::ReleaseWithoutCharge]);
        assert_eq!(findings(vec![charged(1)], 2027), [Rule::WrongYear]);
        let four = (1..=4).map(charged).collect();
        assert_eq!(findings(four, 2026), [Rule::OverLocalQuota]);
    }
}
