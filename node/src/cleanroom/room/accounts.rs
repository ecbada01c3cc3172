//! Accounts, datasets and the policy, as people see them.

use std::collections::{BTreeMap, BTreeSet};

use privacy::contract::{CARRIERS_MIN, Column, Contract, Domain, OTHER, Table};
use privacy::{AnalystId, CalendarYear, ParticipantId, PicoRho};
use protocol::time::Timestamp;

use super::super::policy::{Policy, PolicyFile};
use super::super::views;
use super::Room;
use crate::service::*;
use crate::vault::Purpose;

impl Room {
    /// Every brand's accounts of a year, added up from the certified logs.
    #[must_use]
    pub fn budgets(&self, year: Option<u16>, now: Timestamp) -> BudgetsView {
        let present = self.clock(now).year;
        let year = year.map_or(present, CalendarYear);
        let mut analysts: BTreeMap<ParticipantId, BTreeSet<AnalystId>> = BTreeMap::new();
        let mut years = BTreeSet::from([present.0]);
        for (id, facts) in self.inner.ledger().attempts() {
            let joint = facts.reserve().map(|reserve| (reserve.year, reserve.analyst));
            let local = facts.local_charge();
            let local = local.map(|charge| (charge.entry().year, charge.entry().analyst));
            for (of, analyst) in joint.into_iter().chain(local) {
                years.insert(of.0);
                if of == year {
                    analysts.entry(id.proposer).or_default().insert(analyst);
                }
            }
        }
        let own = analysts.entry(self.me).or_default();
        own.extend(self.policy.accounts().iter().map(|account| account.name));
        own.extend(self.policy.packs().keys().filter_map(|brand| analyst_of(*brand)));
        let contract = self.inner.contract();
        let brands = contract.participants().iter().map(|brand| {
            let analysts = analysts.remove(brand).unwrap_or_default();
            self.brand_budget(*brand, year, &analysts, now)
        });
        BudgetsView {
            year: year.0,
            years: years.into_iter().collect(),
            profile: contract.profile().name().to_owned(),
            rho_per_year: self.inner.ledger().promise(contract, year).get(),
            brands: brands.collect(),
        }
    }

    fn brand_budget(
        &self,
        brand: ParticipantId,
        year: CalendarYear,
        analysts: &BTreeSet<AnalystId>,
        now: Timestamp,
    ) -> BrandBudgetView {
        let (ledger, contract) = (self.inner.ledger(), self.inner.contract());
        let mine = brand == self.me;
        let present = mine && year == self.clock(now).year;
        let pending = if mine { self.local.pending(ledger) } else { Vec::new() };
        let waiting = |of: Option<AnalystId>| {
            let of = pending.iter().filter(|charge| {
                charge.year == year && of.is_none_or(|analyst| analyst == charge.analyst)
            });
            super::sum(of.map(|charge| charge.rho))
        };
        // a reservation that may still end is in the ledger's sum already
        let joint = |spent: PicoRho, analyst: Option<AnalystId>, quota: Option<PicoRho>| {
            let open = self.reserved_by(brand, year, analyst, now);
            let on_its_way =
                if present && analyst.is_none() { self.uncertified(now) } else { PicoRho::ZERO };
            let charged = spent.checked_sub(open).unwrap_or(PicoRho::ZERO);
            account(quota, add(open, on_its_way), charged)
        };
        let shares = |analyst: AnalystId| {
            let own = self.policy.accounts().iter().find(|account| account.name == analyst);
            let partner =
                self.policy.packs().iter().find(|(brand, _)| analyst_of(**brand) == Some(analyst));
            match (mine, own, partner) {
                (true, Some(own), _) => (Some(own.joint), Some(own.local)),
                (true, None, Some((_, share))) => (Some(PicoRho::ZERO), Some(*share)),
                // an account that the policy has no more
                (true, None, None) => (Some(PicoRho::ZERO), Some(PicoRho::ZERO)),
                (false, ..) => (None, None),
            }
        };
        let analysts = analysts.iter().map(|analyst| {
            let (joint_share, local_share) = shares(*analyst);
            let local_spent = ledger.local_analyst_spent(brand, *analyst, year);
            AnalystBudgetView {
                analyst: analyst.to_string(),
                joint: joint(
                    ledger.analyst_spent(brand, *analyst, year),
                    Some(*analyst),
                    joint_share,
                ),
                local: account(local_share, waiting(Some(*analyst)), local_spent),
            }
        });
        BrandBudgetView {
            brand: brand.to_string(),
            joint: joint(
                ledger.joint_spent(brand, year),
                None,
                Some(self.joint_quota(brand, year)),
            ),
            local: account(
                Some(self.local_quota(brand, year)),
                waiting(None),
                ledger.local_spent(brand, year),
            ),
            delta_quota: contract.delta_quota().get(),
            delta_charged: ledger.delta_spent(brand, year).get(),
            analysts: analysts.collect(),
        }
    }

    /// What a brand may be charged on its joint account in a year, all in all: its share, or less where a contract of
    /// before has promised less or others were charged more under it.
    pub(super) fn joint_quota(&self, brand: ParticipantId, year: CalendarYear) -> PicoRho {
        let (ledger, contract) = (self.inner.ledger(), self.inner.contract());
        let spent = ledger.joint_spent(brand, year);
        let left = ledger.joint_left(contract, brand, year);
        ledger.quotas(contract, year).0.min(add(spent, left))
    }

    /// The same on its local account.
    fn local_quota(&self, brand: ParticipantId, year: CalendarYear) -> PicoRho {
        let (ledger, contract) = (self.inner.ledger(), self.inner.contract());
        let spent = ledger.local_spent(brand, year);
        let left = ledger.local_left(contract, brand, year);
        ledger.quotas(contract, year).1.min(add(spent, left))
    }

    /// What may be asked.
    #[must_use]
    pub fn datasets(&self) -> Vec<DatasetView> {
        vec![dataset(self.inner.contract(), self.retention_years)]
    }

    /// The contract in force.
    #[must_use]
    pub const fn contract(&self) -> &Contract {
        self.inner.contract()
    }

    /// The policy in force.
    #[must_use]
    pub fn policy_view(&self) -> PolicyView {
        PolicyView {
            file: self.policy_file.is_some(),
            packs: self.policy.packs().keys().map(ToString::to_string).collect(),
            accounts: self.policy.accounts().iter().map(|a| a.name.to_string()).collect(),
        }
    }

    /// Goes by another policy from the next question on.
    ///
    /// # Errors
    /// What in it is not right; the one before holds on.
    pub fn set_policy(&mut self, file: Option<PolicyFile>) -> Result<PolicyView, ServiceError> {
        let read = super::policy(file.as_ref(), self.inner.contract(), self.me);
        let policy: Policy = read.map_err(|error| views::policy_error(&error))?;
        (self.policy, self.policy_file) = (policy, file);
        Ok(self.policy_view())
    }
}

fn analyst_of(brand: ParticipantId) -> Option<AnalystId> {
    brand.as_str().parse().ok()
}

/// A sum that does not fit counts as everything.
fn add(one: PicoRho, two: PicoRho) -> PicoRho {
    one.checked_add(two).unwrap_or(PicoRho::new(u64::MAX))
}

fn account(quota: Option<PicoRho>, reserved: PicoRho, charged: PicoRho) -> AccountView {
    let left = |quota: PicoRho| quota.get().saturating_sub(add(reserved, charged).get());
    AccountView {
        quota_pico_rho: quota.map(PicoRho::get),
        reserved_pico_rho: reserved.get(),
        charged_pico_rho: charged.get(),
        left_pico_rho: quota.map(left),
    }
}

fn dataset(contract: &Contract, retention_years: u8) -> DatasetView {
    let purposes = contract.purposes().iter().map(|purpose| {
        let known = Purpose::from_name(purpose.as_str());
        PurposeView {
            name: purpose.to_string(),
            served: known == Some(Purpose::JointAnalytics),
            consent: consent_words(known, purpose.as_str()),
        }
    });
    let tables = contract.tables().iter().map(table_view);
    let public = contract.public_tables().iter().map(|table| TableView {
        name: table.name().to_owned(),
        public: true,
        rows_bound: None,
        columns: std::iter::once(table.key())
            .chain(table.columns().iter().map(String::as_str))
            .map(|name| ColumnView {
                name: name.to_owned(),
                kind: "text".to_owned(),
                words: Bilingual { zh: "公开文本".to_owned(), en: "a public text".to_owned() },
                ..ColumnView::default()
            })
            .collect(),
    });
    DatasetView {
        dataset: contract.dataset().to_owned(),
        contract: contract.hash().to_string(),
        purposes: purposes.collect(),
        participants: contract.participants().iter().map(ToString::to_string).collect(),
        minimum_participants: u32::try_from(contract.minimum_participants()).unwrap_or(u32::MAX),
        members_at_most: contract.members_at_most(),
        retention_years,
        profile: contract.profile().name().to_owned(),
        rho_per_query: contract.rho_per_question().get(),
        tables: tables.chain(public).collect(),
    }
}

fn consent_words(purpose: Option<Purpose>, name: &str) -> Bilingual {
    let (zh, en) = match purpose {
        Some(Purpose::JointAnalytics) => (
            "会员须在其品牌同意「联合统计」（joint_analytics）；未同意或已撤回者，自下一次查询起不再计入。".to_owned(),
            "a member must have consented to joint analytics (joint_analytics) at its brand; who has not, or has withdrawn, is out from the next question on".to_owned(),
        ),
        _ => (
            format!("会员库未记录对用途 {name} 的同意：任何会员都不会被计入，该用途的问题不予回答。"),
            format!("the vault keeps no consent to {name}: nobody is counted for it, and questions for it are not answered"),
        ),
    };
    Bilingual { zh, en }
}

fn table_view(table: &Table) -> TableView {
    let member = ColumnView {
        name: table.owner().to_owned(),
        kind: "member".to_owned(),
        words: Bilingual {
            zh: "会员：只能计数与连接，不能显示".to_owned(),
            en: "the member: to be counted and joined on, never shown".to_owned(),
        },
        ..ColumnView::default()
    };
    TableView {
        name: table.name().to_owned(),
        public: false,
        rows_bound: Some(table.rows_bound().get()),
        columns: std::iter::once(member).chain(table.columns().iter().map(column_view)).collect(),
    }
}

fn column_view(column: &Column) -> ColumnView {
    let name = column.name().to_owned();
    match column.domain() {
        Domain::Text { values, other_carriers } => {
            let value = |text: &str, carriers: &BTreeSet<ParticipantId>| ValueView {
                value: text.to_owned(),
                carriers: carriers.iter().map(ToString::to_string).collect(),
                joint: carriers.len() >= CARRIERS_MIN,
            };
            let declared = values.iter().map(|known| value(known.text(), known.carriers()));
            let declared: Vec<ValueView> = declared.chain([value(OTHER, other_carriers)]).collect();
            let words = Bilingual {
                zh: format!("文本，{} 个公开取值，其余归入 {OTHER}", values.len()),
                en: format!(
                    "a text with {} public values, all others count as {OTHER}",
                    values.len()
                ),
            };
            ColumnView {
                name,
                kind: "text".to_owned(),
                values: declared,
                words,
                ..ColumnView::default()
            }
        }
        Domain::Private { member_groups, groups_at_most, .. } => ColumnView {
            name,
            kind: "private".to_owned(),
            bound: Some(u64::from(*member_groups)),
            words: Bilingual {
                zh: format!(
                    "取值不公开的文本：只能在本地查询中以它分组；一位会员至多计入其记录最多的 {member_groups} 组，一个品牌至多 {groups_at_most} 组，人数达到阈值的组才显示"
                ),
                en: format!(
                    "a text whose values are not public: to be grouped by alone, locally; a member counts in the {member_groups} groups at most in which it has most rows, a brand has {groups_at_most} at most, and a group is shown when enough members are in it"
                ),
            },
            ..ColumnView::default()
        },
        Domain::Date { first, last } => ColumnView {
            name,
            kind: "date".to_owned(),
            least: Some(first.to_string()),
            greatest: Some(last.to_string()),
            words: Bilingual {
                zh: format!("日期，{first} 至 {last}"),
                en: format!("a day from {first} to {last}"),
            },
            ..ColumnView::default()
        },
        Domain::Integer { unit, minimum, maximum, bound } => {
            let (zh, en) = match bound {
                Some(bound) => (
                    format!("一位会员在一个品牌的合计上限 {} {unit}", bound.get()),
                    format!("one member's sums at one brand count up to {} {unit}", bound.get()),
                ),
                None => (
                    "未设合计上限，不能求和".to_owned(),
                    "no bound, so that it cannot be summed".to_owned(),
                ),
            };
            ColumnView {
                name,
                kind: "integer".to_owned(),
                unit: Some(unit.clone()),
                least: Some(minimum.to_string()),
                greatest: Some(maximum.to_string()),
                bound: bound.map(|bound| bound.get()),
                words: Bilingual {
                    zh: format!("整数（{unit}），{minimum} 至 {maximum}；{zh}"),
                    en: format!("a whole number of {unit} from {minimum} to {maximum}; {en}"),
                },
                ..ColumnView::default()
            }
        }
    }
}
