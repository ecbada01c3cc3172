//! The published budget profiles.
//!
//! Knows the figures of the guarantee as integers. Deliberately knows nothing of who spends them.

use core::str::FromStr;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::ContractError;
use crate::units::{PicoDelta, PicoRho};

/// How much an alliance spends in a calendar year, and by default in one query.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(index_only)]
#[serde(rename_all = "lowercase")]
pub enum BudgetProfile {
    /// Two million people or more. Advantage of one who knows everything else: 0.30 % a year.
    #[n(0)]
    Large,
    /// Advantage 5.6 % a year.
    #[n(1)]
    Standard,
    /// Under 50,000 people, or a demonstration. Advantage 21.6 % a year.
    #[n(2)]
    Trial,
}

impl BudgetProfile {
    /// What all brands and analysts together may spend in a calendar year.
    pub const fn rho_per_year(self) -> PicoRho {
        PicoRho::new(match self {
            Self::Large => 28_000_000,
            Self::Standard => 10_000_000_000,
            Self::Trial => 150_000_000_000,
        })
    }

    /// With which probability all local questions of a calendar year together may show a group that
    /// only one member is in.
    pub const fn delta_per_year(self) -> PicoDelta {
        match self {
            Self::Large | Self::Standard | Self::Trial => PicoDelta::new(1_000_000),
        }
    }

    /// What one query costs unless its analyst chooses less or more.
    pub const fn rho_per_query(self) -> PicoRho {
        PicoRho::new(match self {
            Self::Large => 900_000,
            Self::Standard => 300_000_000,
            Self::Trial => 5_000_000_000,
        })
    }

    /// Its name in a contract.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Large => "large",
            Self::Standard => "standard",
            Self::Trial => "trial",
        }
    }
}

impl FromStr for BudgetProfile {
    type Err = ContractError;
    fn from_str(text: &str) -> Result<Self, ContractError> {
        [Self::Large, Self::Standard, Self::Trial]
            .into_iter()
            .find(|profile| profile.name() == text)
            .ok_or(ContractError::Profile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_thirty_queries_a_year() {
        for profile in [BudgetProfile::Large, BudgetProfile::Standard, BudgetProfile::Trial] {
            let queries = profile.rho_per_year().get() / profile.rho_per_query().get();
            assert!((30..=33).contains(&queries), "{profile:?}: {queries}");
            assert_eq!(profile.name().parse::<BudgetProfile>().unwrap(), profile);
        }
    }
}
