//! The sample alliance: the settings its constitution is drafted from, and what its five brands say
//! of themselves.
//!
//! Knows no keys and no addresses, which every run of the demonstration makes for itself; the files
//! of purchases are [`crate::sample`]'s.

use protocol::amount::Rate;
use protocol::ids::BrandId;

use crate::Name;

/// The settings file, as text.
pub const SETTINGS: &str = include_str!("../sample/alliance.toml");

/// What a pilot may put at the end of [`SETTINGS`], as text: tables and columns that the sample itself has not, so that its
/// contract stays what it was.
pub const PILOT_TABLES: &str = include_str!("../sample/pilot-tables.toml");

/// Id, names, and the settlement value of one point in micro-fen.
const BRANDS: [(&str, &str, &str, u32); 5] = [
    ("fresh_counter", "鲜食柜台", "Fresh Counter", 1_250_000),
    ("fuel_stop", "加油驿站", "Fuel Stop", 800_000),
    ("grocer_one", "一号超市", "Grocer One", 1_000_000),
    ("grocer_two", "二号超市", "Grocer Two", 500_000),
    ("health_home", "康家生活馆", "Health & Home", 2_000_000),
];

/// What a brand of the sample says of itself.
#[derive(Debug, Clone)]
pub struct Description {
    /// Its name.
    pub name: Name,
    /// Settlement value of one of its points, in micro-fen.
    pub point_value: Rate,
}

/// What a brand of the sample says of itself; none when the sample has no such brand.
#[must_use]
pub fn describe(id: BrandId) -> Option<Description> {
    let (_, zh, en, value) = BRANDS.into_iter().find(|(known, ..)| *known == id.as_str())?;
    let (name, point_value) = (Name::new(zh, en).ok()?, Rate::new(value, 1).ok()?);
    Some(Description { name, point_value })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use privacy::contract::{BudgetProfile, Domain};
    use privacy::plan::{DpPlan, QuerySpec};
    use protocol::ids::BrandId;

    use crate::testing::sample_constitution;
    use crate::{Constitution, sample};

    #[test]
    fn the_sample_has_the_brands_of_its_data_and_a_trial_budget() {
        let constitution = Constitution::parse(sample_constitution().as_bytes()).unwrap();
        let brands: Vec<_> = constitution.profiles().map(|(id, _)| id.to_string()).collect();
        assert_eq!(brands, sample::BRANDS.map(|brand| brand.id));
        let clean_room = constitution.clean_room().unwrap();
        assert_eq!(clean_room.retention_years(), 20);
        let contract = clean_room.contract();
        assert_eq!(contract.profile(), BudgetProfile::Trial);
        let table = &contract.tables()[0];
        assert_eq!((table.name(), table.owner()), ("purchases", "member"));
        let department = table.columns().iter().find(|column| column.name() == "department");
        let Domain::Text { values, .. } = department.unwrap().domain() else { panic!() };
        let carriers: BTreeSet<_> =
            values.iter().flat_map(|value| value.carriers()).map(|id| id.to_string()).collect();
        assert_eq!((values.len(), carriers.len()), (26, 5));
    }

    /// Every pair exchanges, and the largest exchange of the demonstration stays far below a limit.
    #[test]
    fn the_limits_have_room_for_the_demonstration() {
        let constitution = Constitution::parse(sample_constitution().as_bytes()).unwrap();
        let ledger = constitution.ledger();
        for (from, to) in
            ledger.brands().flat_map(|(from, _)| ledger.brands().map(move |(to, _)| (from, to)))
        {
            assert_eq!(ledger.rate(from, to).is_some(), from != to);
        }
        let points = protocol::amount::Points::new(500).unwrap();
        let id = |text| BrandId::new(text).unwrap();
        let (from, to) = (id("health_home"), id("grocer_two"));
        let owed = protocol::amount::quote(
            points,
            ledger.rate(from, to).unwrap(),
            ledger.brand(to).unwrap().point_value,
        );
        let all_on_one_pair = 2_000 * owed.unwrap().owed.get();
        assert!(all_on_one_pair <= ledger.brand(from).unwrap().pair_limit.get());
    }

    /// Active memberships per half-year over all brands, at the profile's cost of a question: the
    /// sample's 1,253 members are enough for cells that mean something.
    #[test]
    fn the_demonstrations_question_can_be_asked() {
        let constitution = Constitution::parse(sample_constitution().as_bytes()).unwrap();
        let contract = constitution.clean_room().unwrap().contract();
        let spec = QuerySpec {
            sql: "SELECT half_year(purchased_on), count(distinct member) FROM purchases \
                  GROUP BY half_year(purchased_on)"
                .into(),
            purpose: contract.purposes()[0],
            analyst: "analyst".parse().unwrap(),
            participants: contract.participants().to_vec(),
            rho: contract.profile().rho_per_query(),
        };
        let plan = DpPlan::new(contract, &spec).unwrap();
        assert_eq!(plan.cells().len(), 2);
        let members: u64 = sample::BRANDS.iter().map(|brand| brand.member_rows).sum();
        let smallest = plan.summary().aggregates[0].smallest_cell;
        assert!(smallest < members as f64, "{smallest} of {members}");
        assert!(spec.rho <= contract.joint_quota());
    }
}
