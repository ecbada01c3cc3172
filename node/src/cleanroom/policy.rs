//! What this brand asks, takes part in and answers: its own say, beside the contract.
//!
//! Decided from the question and public facts alone, never from data. What the contract rules out is
//! refused before it gets here. An operator writes `policy.toml` into the data directory; without one
//! the brand takes part in all that the contract allows, its analysts share one account, and it answers
//! no other brand about its own members: member noise does not hide a brand's totals, so that showing
//! them takes an explicit yes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use privacy::plan::{DpPlan, QuerySpec};
use privacy::{AnalystId, Contract, ParticipantId, PicoRho, Purpose};
use serde::{Deserialize, Serialize};

use crate::vault;

/// The account of all analysts unless the policy has others.
pub const ANALYST: &str = "analyst";
/// Version of the file.
const FORMAT: u32 = 0;
/// Longest file.
const FILE_MAX: u64 = 64 * 1024;
/// Most accounts, and most users of one.
const LIST_MAX: usize = 100;

/// A policy as it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyFile {
    /// 0.
    pub format: u32,
    /// Questions of all brands together.
    #[serde(default)]
    pub joint: JointSection,
    /// Questions of the own analysts about the own members.
    #[serde(default)]
    pub local: LocalSection,
    /// Answers about the own members to other brands; none without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packs: Option<PacksSection>,
    /// Who of the own people shares the quotas how; one account for all without it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub analysts: Vec<AnalystSection>,
}

/// `[joint]`: what is taken part in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JointSection {
    /// For which purposes; all of the contract's without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purposes: Option<Vec<String>>,
    /// About which datasets; the contract's without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datasets: Option<Vec<String>>,
    /// Fewest brands that must answer together; without it the contract's, of questions to all brands that are not
    /// suspended: one that leaves some out is taken part in where this is written alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_participants: Option<usize>,
    /// Whose questions: `brand`, or `brand/account` for one analyst account there; everyone's without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Vec<String>>,
    /// Highest cost of one question, pico-rho; the quota without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_pico_rho: Option<u64>,
}

/// `[local]`: what the own analysts may ask about the own members.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalSection {
    /// For which purposes; all of the contract's without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purposes: Option<Vec<String>>,
    /// About which datasets; the contract's without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datasets: Option<Vec<String>>,
}

/// `[packs]`: which brands get this brand's own answer to a question with `brand` among its group keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PacksSection {
    /// Which brands.
    pub from: Vec<String>,
    /// Each one's share of this brand's local quota of a year, in percent.
    pub percent: u8,
}

/// `[[analysts]]`: one account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnalystSection {
    /// Its name in the log, which everybody sees: a desk's, never a person's.
    pub account: String,
    /// Users who spend from it; everyone who is in no other account without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<Vec<String>>,
    /// Its share of the brand's quota for joint questions, in percent.
    pub joint_percent: u8,
    /// Its share of the brand's quota for local questions, in percent.
    pub local_percent: u8,
}

/// Why a policy cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The file.
    #[error("{}: {problem}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What was wrong, with its line where it has one.
        problem: String,
    },
    /// A rule.
    #[error("{at}: {problem}")]
    Rule {
        /// Place in the file, such as `packs.from`.
        at: String,
        /// What was wrong and what would be right.
        problem: String,
    },
}

fn rule<T>(at: impl Into<String>, problem: impl Into<String>) -> Result<T, PolicyError> {
    Err(PolicyError::Rule { at: at.into(), problem: problem.into() })
}

impl PolicyFile {
    /// Reads the file of a data directory; none when there is none.
    ///
    /// # Errors
    /// When it cannot be read, or is no policy.
    pub fn read(path: &Path) -> Result<Option<Self>, PolicyError> {
        let wrong = |problem: String| PolicyError::File { path: path.into(), problem };
        match std::fs::metadata(path) {
            Ok(found) if found.len() > FILE_MAX => {
                return Err(wrong(format!("more than {FILE_MAX} bytes")));
            }
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(wrong(error.to_string())),
        }
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        toml::from_str(&text).map(Some).map_err(|error| wrong(error.to_string()))
    }
}

/// An account of analysts at this brand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name in the log.
    pub name: AnalystId,
    /// What it may spend on joint questions in a year.
    pub joint: PicoRho,
    /// What it may spend on local questions in a year.
    pub local: PicoRho,
    users: Option<BTreeSet<String>>,
}

/// A validated policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    joint_purposes: BTreeSet<Purpose>,
    joint_datasets: BTreeSet<String>,
    minimum_participants: usize,
    takes_chosen_sets: bool,
    joint_from: Option<Vec<(ParticipantId, Option<AnalystId>)>>,
    joint_most: PicoRho,
    local_purposes: BTreeSet<Purpose>,
    local_datasets: BTreeSet<String>,
    packs: BTreeMap<ParticipantId, PicoRho>,
    accounts: Vec<Account>,
}

impl Policy {
    /// Without a file: all that the contract allows, one account, and no answers to other brands.
    #[must_use]
    pub fn of_contract(contract: &Contract) -> Self {
        let purposes: BTreeSet<Purpose> = served(contract).collect();
        let datasets = BTreeSet::from([contract.dataset().to_owned()]);
        let (joint, local) = (contract.joint_quota(), contract.local_quota());
        let everyone = ANALYST.parse().ok().map(|name| Account { name, joint, local, users: None });
        Self {
            joint_purposes: purposes.clone(),
            joint_datasets: datasets.clone(),
            minimum_participants: contract.minimum_participants(),
            takes_chosen_sets: false,
            joint_from: None,
            joint_most: joint,
            local_purposes: purposes,
            local_datasets: datasets,
            packs: BTreeMap::new(),
            accounts: everyone.into_iter().collect(),
        }
    }

    /// Nothing at all: where a file does not fit the contract in force.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            joint_purposes: BTreeSet::new(),
            joint_datasets: BTreeSet::new(),
            minimum_participants: usize::MAX,
            takes_chosen_sets: false,
            joint_from: None,
            joint_most: PicoRho::ZERO,
            local_purposes: BTreeSet::new(),
            local_datasets: BTreeSet::new(),
            packs: BTreeMap::new(),
            accounts: Vec::new(),
        }
    }

    /// Of a file, under a contract.
    ///
    /// # Errors
    /// What in the file is not right, and where.
    pub fn new(
        file: &PolicyFile,
        contract: &Contract,
        me: ParticipantId,
    ) -> Result<Self, PolicyError> {
        if file.format != FORMAT {
            return rule("format", format!("is {}; this version reads {FORMAT}", file.format));
        }
        let mut policy = Self::of_contract(contract);
        let JointSection { purposes, datasets, minimum_participants, from, most_pico_rho } =
            &file.joint;
        if let Some(names) = purposes {
            policy.joint_purposes = known_purposes(names, contract, "joint.purposes")?;
        }
        if let Some(names) = datasets {
            policy.joint_datasets = known_datasets(names, contract, "joint.datasets")?;
        }
        if let Some(minimum) = minimum_participants {
            let (least, most) = (contract.minimum_participants(), contract.participants().len());
            if !(least..=most).contains(minimum) {
                return rule(
                    "joint.minimum_participants",
                    format!("is {minimum}; the contract allows {least} to {most}"),
                );
            }
            policy.minimum_participants = *minimum;
            policy.takes_chosen_sets = true;
        }
        if let Some(from) = from {
            policy.joint_from = Some(askers(from, contract)?);
        }
        if let Some(most) = most_pico_rho {
            policy.joint_most = PicoRho::new(*most).min(contract.joint_quota());
        }
        if let Some(names) = &file.local.purposes {
            policy.local_purposes = known_purposes(names, contract, "local.purposes")?;
        }
        if let Some(names) = &file.local.datasets {
            policy.local_datasets = known_datasets(names, contract, "local.datasets")?;
        }
        if let Some(packs) = &file.packs {
            policy.packs = packs_of(packs, contract, me)?;
        }
        if !file.analysts.is_empty() {
            policy.accounts = accounts(&file.analysts, contract)?;
        }
        shares(file, &policy)?;
        Ok(policy)
    }

    /// The account a user spends from; `None` for the user is a program without one.
    #[must_use]
    pub fn account(&self, user: Option<&str>) -> Option<&Account> {
        let named = user.and_then(|user| {
            self.accounts
                .iter()
                .find(|account| account.users.as_ref().is_some_and(|users| users.contains(user)))
        });
        named.or_else(|| self.accounts.iter().find(|account| account.users.is_none()))
    }

    /// All accounts of this brand's analysts.
    #[must_use]
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// The brands that get answers about this brand's members, with what each may spend here.
    #[must_use]
    pub const fn packs(&self) -> &BTreeMap<ParticipantId, PicoRho> {
        &self.packs
    }

    /// Whether to take part in joint questions that leave out brands which are not suspended.
    #[must_use]
    pub const fn takes_chosen_sets(&self) -> bool {
        self.takes_chosen_sets
    }

    /// Whether to take part in a joint question of another brand, or, without one, of an own analyst.
    #[must_use]
    pub fn accepts(
        &self,
        contract: &Contract,
        proposer: Option<ParticipantId>,
        spec: &QuerySpec,
        plan: &DpPlan,
    ) -> bool {
        let asked_by = |(brand, analyst): &(ParticipantId, Option<AnalystId>)| {
            proposer == Some(*brand) && analyst.is_none_or(|analyst| analyst == spec.analyst)
        };
        let welcome = |from: &Vec<_>| proposer.is_none() || from.iter().any(asked_by);
        shown_under(spec.purpose)
            && self.joint_purposes.contains(&spec.purpose)
            && self.joint_datasets.contains(contract.dataset())
            && plan.participants().len() >= self.minimum_participants
            && spec.rho <= self.joint_most
            && self.joint_from.as_ref().is_none_or(welcome)
    }

    /// Whether a question about the own members is answered, to own analysts or to another brand.
    #[must_use]
    pub fn answers(&self, contract: &Contract, purpose: Purpose) -> bool {
        shown_under(purpose)
            && self.local_purposes.contains(&purpose)
            && self.local_datasets.contains(contract.dataset())
    }
}

/// The vault shows facts under this consent alone.
fn shown_under(purpose: Purpose) -> bool {
    purpose.as_str() == vault::Purpose::JointAnalytics.name()
}

fn served(contract: &Contract) -> impl Iterator<Item = Purpose> {
    contract.purposes().iter().copied()
}

fn known_purposes(
    names: &[String],
    contract: &Contract,
    at: &str,
) -> Result<BTreeSet<Purpose>, PolicyError> {
    let known: Vec<&str> = contract.purposes().iter().map(Purpose::as_str).collect();
    let of = |name: &String| match name.parse::<Purpose>() {
        Ok(purpose) if contract.serves(purpose) => Ok(purpose),
        _ => rule(
            at,
            format!("{name:?} is no purpose of the contract; its purposes: {}", known.join(", ")),
        ),
    };
    names.iter().map(of).collect()
}

fn known_datasets(
    names: &[String],
    contract: &Contract,
    at: &str,
) -> Result<BTreeSet<String>, PolicyError> {
    for name in names {
        if name != contract.dataset() {
            return rule(
                at,
                format!("{name:?} is no dataset of the contract; it has {}", contract.dataset()),
            );
        }
    }
    Ok(names.iter().cloned().collect())
}

fn known_brand(name: &str, contract: &Contract, at: &str) -> Result<ParticipantId, PolicyError> {
    let known = contract.participants();
    let found = known.iter().copied().find(|brand| brand.as_str() == name);
    found.map_or_else(
        || {
            let known: Vec<&str> = known.iter().map(ParticipantId::as_str).collect();
            rule(
                at,
                format!("{name:?} is no brand of the contract; its brands: {}", known.join(", ")),
            )
        },
        Ok,
    )
}

fn askers(
    from: &[String],
    contract: &Contract,
) -> Result<Vec<(ParticipantId, Option<AnalystId>)>, PolicyError> {
    let of = |text: &String| {
        let (brand, analyst) = match text.split_once('/') {
            None => (text.as_str(), None),
            Some((brand, analyst)) => match analyst.parse() {
                Ok(analyst) => (brand, Some(analyst)),
                Err(error) => return rule("joint.from", format!("{text:?}: {error}")),
            },
        };
        Ok((known_brand(brand, contract, "joint.from")?, analyst))
    };
    from.iter().map(of).collect()
}

fn packs_of(
    packs: &PacksSection,
    contract: &Contract,
    me: ParticipantId,
) -> Result<BTreeMap<ParticipantId, PicoRho>, PolicyError> {
    let share = contract.local_quota().percent(packs.percent).filter(|_| packs.percent > 0);
    let Some(share) = share else {
        return rule("packs.percent", format!("is {}; a share is 1 to 100", packs.percent));
    };
    let mut shares = BTreeMap::new();
    for name in &packs.from {
        let brand = known_brand(name, contract, "packs.from")?;
        if brand == me {
            return rule("packs.from", "names this brand itself; its analysts have accounts");
        }
        if shares.insert(brand, share).is_some() {
            return rule("packs.from", format!("{name:?} is there twice"));
        }
    }
    Ok(shares)
}

fn accounts(sections: &[AnalystSection], contract: &Contract) -> Result<Vec<Account>, PolicyError> {
    if sections.len() > LIST_MAX {
        return rule("analysts", format!("{} accounts, at most {LIST_MAX}", sections.len()));
    }
    let (mut accounts, mut seen): (Vec<Account>, BTreeSet<&str>) = (Vec::new(), BTreeSet::new());
    for (place, section) in sections.iter().enumerate() {
        let at = |field: &str| format!("analysts[{place}].{field}");
        let name: AnalystId = match section.account.parse() {
            Ok(name) => name,
            Err(error) => return rule(at("account"), format!("{:?}: {error}", section.account)),
        };
        if accounts.iter().any(|known| known.name == name) {
            return rule(at("account"), format!("{name} is there twice"));
        }
        if contract.participants().iter().any(|brand| brand.as_str() == name.as_str()) {
            return rule(
                at("account"),
                format!("{name} is a brand; brands have their own account, see [packs]"),
            );
        }
        if section.users.is_none() && accounts.iter().any(|known| known.users.is_none()) {
            return rule(
                at("users"),
                "is missing, as in another account; only one can be everyone else's",
            );
        }
        let users = section.users.iter().flatten();
        if users.clone().count() > LIST_MAX {
            return rule(at("users"), format!("more than {LIST_MAX} users"));
        }
        for user in users {
            if !seen.insert(user) {
                return rule(at("users"), format!("{user:?} is in two accounts"));
            }
        }
        let joint = contract.joint_quota().percent(section.joint_percent);
        let local = contract.local_quota().percent(section.local_percent);
        let (Some(joint), Some(local)) = (joint, local) else {
            return rule(at("joint_percent"), "a share is 0 to 100 percent");
        };
        let users = section.users.as_ref().map(|users| users.iter().cloned().collect());
        accounts.push(Account { name, joint, local, users });
    }
    Ok(accounts)
}

/// Shares divide the brand's quotas: together they are no more than all of it.
fn shares(file: &PolicyFile, policy: &Policy) -> Result<(), PolicyError> {
    let whole = AnalystSection { joint_percent: 100, local_percent: 100, ..Default::default() };
    let defaults = [whole];
    let explicit = !file.analysts.is_empty();
    let sections = if explicit { &file.analysts[..] } else { &defaults[..] };
    let joint: u32 = sections.iter().map(|section| u32::from(section.joint_percent)).sum();
    if joint > 100 {
        return rule("analysts", format!("joint_percent add up to {joint}, at most 100"));
    }
    let own: u32 = sections.iter().map(|section| u32::from(section.local_percent)).sum();
    let each = file.packs.as_ref().map_or(0, |packs| u32::from(packs.percent));
    let brands = u32::try_from(policy.packs.len()).unwrap_or(u32::MAX);
    let all = own.saturating_add(each.saturating_mul(brands));
    // without accounts of its own a brand's people and the others draw on the same quota
    if explicit && all > 100 {
        return rule(
            "analysts",
            format!("local_percent and the brands' shares add up to {all}, at most 100"),
        );
    }
    if !explicit && each.saturating_mul(brands) > 100 {
        return rule("packs.percent", format!("{brands} brands with {each} each, at most 100"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use privacy::contract::{RawColumn, RawContract, RawTable};

    use super::*;

    fn contract() -> Contract {
        let column = RawColumn::Date {
            name: "purchased_on".into(),
            first: "2017-01-01".into(),
            last: "2017-12-31".into(),
        };
        let raw = RawContract {
            dataset: "purchases".into(),
            purposes: vec!["joint_analytics".into(), "research".into()],
            participants: ["a", "b", "c", "d"].map(Into::into).to_vec(),
            minimum_participants: 3,
            profile: "trial".into(),
            members_at_most: 1_000,
            public_tables: Vec::new(),
            tables: vec![RawTable {
                name: "purchases".into(),
                owner: "member".into(),
                rows_bound: 1_000,
                rows_bound_by_brand: BTreeMap::new(),
                columns: vec![column],
            }],
        };
        raw.try_into().unwrap()
    }

    fn me() -> ParticipantId {
        "a".parse().unwrap()
    }

    fn policy(text: &str) -> Result<Policy, String> {
        let file: PolicyFile = toml::from_str(text).map_err(|error| error.to_string())?;
        Policy::new(&file, &contract(), me()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_the_brand_did_not_agree_to_is_turned_down() {
        let contract = contract();
        let spec = QuerySpec {
            sql: "SELECT count(distinct member) FROM purchases".into(),
            purpose: vault::Purpose::JointAnalytics.name().parse().unwrap(),
            analyst: "desk".parse().unwrap(),
            participants: contract.participants()[..3].to_vec(),
            rho: contract.profile().rho_per_query(),
        };
        let plan = DpPlan::new(&contract, &spec).unwrap();
        let accepts = |text: &str, by: &str, spec: &QuerySpec| {
            policy(text).unwrap().accepts(&contract, by.parse().ok(), spec, &plan)
        };
        assert!(accepts("format = 0", "b", &spec));
        let from = "format = 0\n[joint]\nfrom = [\"b/desk\", \"c\"]";
        assert!(
            accepts(from, "b", &spec) && accepts(from, "c", &spec) && !accepts(from, "a", &spec)
        );
        let stranger = QuerySpec { analyst: "somebody".parse().unwrap(), ..spec.clone() };
        assert!(!accepts(from, "b", &stranger) && accepts(from, "c", &stranger));
        // the contract serves it, but the vault knows no consent to it
        let research = QuerySpec { purpose: "research".parse().unwrap(), ..spec.clone() };
        assert!(!accepts("format = 0", "b", &research));
        let four = "format = 0\n[joint]\nminimum_participants = 4";
        assert!(!accepts(four, "b", &spec));
        // that brands are left out is agreed to by writing how many there must be, and not by itself
        assert!(policy(four).unwrap().takes_chosen_sets());
        assert!(!policy("format = 0").unwrap().takes_chosen_sets());
        assert!(!accepts("format = 0\n[joint]\npurposes = [\"research\"]", "b", &spec));
        assert!(!accepts("format = 0\n[joint]\ndatasets = []", "b", &spec));
        assert!(!accepts("format = 0\n[joint]\nmost_pico_rho = 4999999999", "b", &spec));
    }

    #[test]
    fn own_members_are_shown_to_other_brands_only_when_the_policy_says_so() {
        let joint = vault::Purpose::JointAnalytics.name().parse().unwrap();
        let silent = policy("format = 0").unwrap();
        assert!(silent.packs().is_empty() && silent.answers(&contract(), joint));
        let open = policy("format = 0\n[packs]\nfrom = [\"b\", \"c\"]\npercent = 10").unwrap();
        let tenth = contract().local_quota().percent(10).unwrap();
        assert_eq!(open.packs().values().copied().collect::<Vec<_>>(), [tenth, tenth]);
        let closed = policy("format = 0\n[local]\npurposes = []").unwrap();
        assert!(!closed.answers(&contract(), joint));
    }

    #[test]
    fn analysts_share_the_quota() {
        let text = "format = 0\n[[analysts]]\naccount = \"desk\"\nusers = [\"ann\"]\n\
                    joint_percent = 60\nlocal_percent = 30\n\
                    [[analysts]]\naccount = \"others\"\njoint_percent = 40\nlocal_percent = 50";
        let divided = policy(text).unwrap();
        let name = |user| divided.account(user).map(|account| account.name.to_string());
        assert_eq!(name(Some("ann")).as_deref(), Some("desk"));
        assert_eq!(name(Some("bo")).as_deref(), Some("others"));
        assert_eq!(name(None).as_deref(), Some("others"));
        let joint: u64 = divided.accounts().iter().map(|account| account.joint.get()).sum();
        assert!(joint <= contract().joint_quota().get());
        let named = policy(&text[..text.rfind("[[").unwrap()]).unwrap();
        assert!(named.account(Some("bo")).is_none() && named.account(None).is_none());
    }

    #[test]
    fn what_is_wrong_in_the_file_is_said_with_its_place() {
        for (text, words) in [
            ("format = 1", "format: is 1; this version reads 0"),
            ("format = 0\nfoo = 1", "unknown field `foo`"),
            ("format = 0\n[joint]\npurposes = [\"x\"]", "joint.purposes: \"x\" is no purpose"),
            ("format = 0\n[local]\ndatasets = [\"x\"]", "local.datasets: \"x\" is no dataset"),
            ("format = 0\n[joint]\nminimum_participants = 2", "the contract allows 3 to 4"),
            ("format = 0\n[joint]\nfrom = [\"z\"]", "joint.from: \"z\" is no brand"),
            ("format = 0\n[packs]\nfrom = [\"a\"]\npercent = 5", "names this brand itself"),
            ("format = 0\n[packs]\nfrom = [\"b\"]\npercent = 0", "packs.percent: is 0"),
            ("format = 0\n[packs]\nfrom = [\"b\", \"c\"]\npercent = 60", "2 brands with 60 each"),
            (
                "format = 0\n[[analysts]]\naccount = \"b\"\njoint_percent = 1\nlocal_percent = 1",
                "b is a brand",
            ),
            (
                "format = 0\n[[analysts]]\naccount = \"x\"\njoint_percent = 101\nlocal_percent = 1",
                "a share is 0 to 100",
            ),
            (
                "format = 0\n[packs]\nfrom = [\"b\"]\npercent = 5\n[[analysts]]\naccount = \"x\"\n\
                 joint_percent = 1\nlocal_percent = 96",
                "add up to 101",
            ),
        ] {
            let refused = policy(text).unwrap_err();
            assert!(refused.contains(words), "{text}: {refused}");
        }
    }
}
