//! Whether this brand takes part in a question that another proposes.
//!
//! Decided from the question and public facts alone, never from data. What the contract rules out is
//! refused before it gets here; this is the brand's own say.

use std::collections::BTreeSet;

use privacy::plan::{DpPlan, QuerySpec};
use privacy::{AnalystId, Contract};

use crate::vault::Purpose;

/// The one analyst role of this version, at every brand.
pub const ANALYST: &str = "analyst";

/// What this brand takes part in.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Roles whose questions are answered.
    pub analysts: BTreeSet<AnalystId>,
    /// Datasets that may be asked.
    pub datasets: BTreeSet<String>,
    /// Fewest brands that must answer together.
    pub minimum_participants: usize,
}

impl Policy {
    /// What is accepted unless the brand says otherwise: all that the contract allows.
    #[must_use]
    pub fn of_contract(contract: &Contract) -> Self {
        Self {
            analysts: ANALYST.parse().into_iter().collect(),
            datasets: BTreeSet::from([contract.dataset().to_owned()]),
            minimum_participants: contract.minimum_participants(),
        }
    }

    /// Whether to take part.
    #[must_use]
    pub fn accepts(&self, contract: &Contract, spec: &QuerySpec, plan: &DpPlan) -> bool {
        // the vault shows facts under this consent alone
        spec.purpose.as_str() == Purpose::JointAnalytics.name()
            && self.analysts.contains(&spec.analyst)
            && self.datasets.contains(contract.dataset())
            && plan.participants().len() >= self.minimum_participants
    }
}

#[cfg(test)]
mod tests {
    use privacy::contract::{RawColumn, RawContract, RawTable};

    use super::*;

    fn contract() -> Contract {
        let day = |day: &str| day.to_owned();
        let column = RawColumn::Date {
            name: "purchased_on".into(),
            first: day("2017-01-01"),
            last: day("2017-12-31"),
        };
        let raw = RawContract {
            dataset: "purchases".into(),
            purposes: vec!["joint_analytics".into(), "research".into()],
            participants: ["a", "b", "c"].map(Into::into).to_vec(),
            minimum_participants: 3,
            profile: "trial".into(),
            members_at_most: 1_000,
            public_tables: Vec::new(),
            tables: vec![RawTable {
                name: "purchases".into(),
                owner: "member".into(),
                rows_bound: 1_000,
                columns: vec![column],
            }],
        };
        raw.try_into().unwrap()
    }

    #[test]
    fn what_the_brand_did_not_agree_to_is_turned_down() {
        let contract = contract();
        let spec = QuerySpec {
            sql: "SELECT count(distinct member) FROM purchases".into(),
            purpose: Purpose::JointAnalytics.name().parse().unwrap(),
            analyst: ANALYST.parse().unwrap(),
            participants: contract.participants().to_vec(),
            rho: contract.profile().rho_per_query(),
        };
        let plan = DpPlan::new(&contract, &spec).unwrap();
        let policy = Policy::of_contract(&contract);
        assert!(policy.accepts(&contract, &spec, &plan));
        let stranger = QuerySpec { analyst: "somebody".parse().unwrap(), ..spec.clone() };
        assert!(!policy.accepts(&contract, &stranger, &plan));
        // the contract serves it, but the vault knows no consent to it
        let research = QuerySpec { purpose: "research".parse().unwrap(), ..spec.clone() };
        assert!(!policy.accepts(&contract, &research, &plan));
        let alone = Policy { minimum_participants: 4, ..policy.clone() };
        assert!(!alone.accepts(&contract, &spec, &plan));
        let closed = Policy { datasets: BTreeSet::new(), ..policy };
        assert!(!closed.accepts(&contract, &spec, &plan));
    }
}
