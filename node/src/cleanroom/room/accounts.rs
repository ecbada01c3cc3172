//! Accounts, datasets and the policy, as people see them.

use std::collections::{BTreeMap, BTreeSet};

use privacy::contract::{BrandBound, CARRIERS_MIN, Column, Contract, Domain, OTHER, Table};
use privacy::{AnalystId, CalendarYear, ParticipantId, PicoRho};
use protocol::time::Timestamp;

use super::super::policy::{Policy, PolicyFile};
use super::super::views;
use super::Room;
use crate::service::*;
use crate::vault::Purpose;

/// Analysts shown at a time.
const ANALYSTS_AT_ONCE: usize = 100;

impl Room {
    /// Every brand's accounts of a year, added up from the certified logs, with a page of its analysts: the first
    /// by name after one.
    ///
    /// # Errors
    /// When that one is no analyst's name.
    pub fn budgets(
        &self,
        year: Option<u16>,
        after: Option<&str>,
        now: Timestamp,
    ) -> Result<BudgetsView, ServiceError> {
        let after: Option<AnalystId> =
            after.map(str::parse).transpose().map_err(|_| views::no_analyst())?;
        let present = self.clock(now).year;
        let year = year.map_or(present, CalendarYear);
        let (ledger, contract) = (self.inner.ledger(), self.inner.contract());
        let years: BTreeSet<u16> = ledger.years().map(|it| it.0).chain([present.0]).collect();
        let own = self.policy.accounts().iter().map(|account| account.name);
        let own = own.chain(self.policy.packs().keys().filter_map(|brand| analyst_of(*brand)));
        let own = own.filter(|name| after.is_none_or(|after| *name > after));
        let mut analysts = BTreeMap::from([(self.me, own.collect::<BTreeSet<_>>())]);
        // what was charged by who has left since is of the year's sum too
        let gone = ledger.brands(year).filter(|brand| !contract.participants().contains(brand));
        let brands: Vec<ParticipantId> =
            contract.participants().iter().copied().chain(gone).collect();
        for brand in &brands {
            // one more tells whether there are more
            let charged = ledger.analysts(*brand, year, after).take(ANALYSTS_AT_ONCE + 1);
            analysts.entry(*brand).or_default().extend(charged);
        }
        let next = cut(&mut analysts);
        let brands = brands.iter().map(|brand| {
            let of_page = analysts.remove(brand).unwrap_or_default();
            self.brand_budget(*brand, year, &of_page, now)
        });
        Ok(BudgetsView {
            year: year.0,
            years: years.into_iter().collect(),
            profile: contract.profile().name().to_owned(),
            rho_per_year: ledger.promise(contract, year).get(),
            brands: brands.collect(),
            next: next.map(|name| name.to_string()),
        })
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
        let delta_charged = ledger.delta_spent(brand, year);
        let is_gone = !contract.participants().contains(&brand);
        let delta_quota = if is_gone { delta_charged } else { contract.delta_quota() };
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
            delta_quota: delta_quota.get(),
            delta_charged: delta_charged.get(),
            analysts: analysts.collect(),
        }
    }

    /// What a brand may be charged on its joint account in a year, all in all: its share, or less where a contract of
    /// before has promised less or others were charged more under it. Who has left is charged no more.
    pub(super) fn joint_quota(&self, brand: ParticipantId, year: CalendarYear) -> PicoRho {
        let (ledger, contract) = (self.inner.ledger(), self.inner.contract());
        let spent = ledger.joint_spent(brand, year);
        if !contract.participants().contains(&brand) {
            return spent;
        }
        let left = ledger.joint_left(contract, brand, year);
        ledger.quotas(contract, year).0.min(add(spent, left))
    }

    /// The same on its local account.
    fn local_quota(&self, brand: ParticipantId, year: CalendarYear) -> PicoRho {
        let (ledger, contract) = (self.inner.ledger(), self.inner.contract());
        let spent = ledger.local_spent(brand, year);
        if !contract.participants().contains(&brand) {
            return spent;
        }
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

/// Leaves a page of analysts, the same names of all brands, so that one name says where the next page begins: the
/// last on this one, where there are more.
fn cut(analysts: &mut BTreeMap<ParticipantId, BTreeSet<AnalystId>>) -> Option<AnalystId> {
    let names: BTreeSet<AnalystId> = analysts.values().flatten().copied().collect();
    if names.len() <= ANALYSTS_AT_ONCE {
        return None;
    }
    let last = *names.iter().nth(ANALYSTS_AT_ONCE - 1)?;
    analysts.values_mut().for_each(|of| of.retain(|name| *name <= last));
    Some(last)
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
        rows_bound_by_brand: Vec::new(),
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
        rows_bound_by_brand: own_bounds(table.own_rows_bounds()),
        columns: std::iter::once(member).chain(table.columns().iter().map(column_view)).collect(),
    }
}

/// Which brands tell a whole number, of those that do not all.
fn told_words(carriers: &BTreeSet<ParticipantId>) -> Bilingual {
    let brands: Vec<String> = carriers.iter().map(ToString::to_string).collect();
    let brands = brands.join(", ");
    let (zh, en) = if carriers.len() >= CARRIERS_MIN {
        ("", "")
    } else {
        ("，不足以用于联合查询", ", which are too few for joint questions")
    };
    Bilingual {
        zh: format!("；仅由 {brands} 提供，其余品牌按 0 计{zh}"),
        en: format!("; told by {brands} alone{en}, and 0 at other brands"),
    }
}

fn own_bounds(bounds: &[BrandBound]) -> Vec<BrandBoundView> {
    let view = |own: &BrandBound| BrandBoundView {
        brand: own.brand().to_string(),
        bound: own.bound().get(),
    };
    bounds.iter().map(view).collect()
}

/// The bounds of brands' own, in words that go on behind those of all; nothing where there are none.
fn own_words(bounds: &[BrandBound], unit: &str) -> Bilingual {
    if bounds.is_empty() {
        return Bilingual::default();
    }
    let each = |own: &BrandBound| format!("{} {} {unit}", own.brand(), own.bound().get());
    let listed = bounds.iter().map(each).collect::<Vec<_>>().join(", ");
    Bilingual {
        zh: format!("（各品牌另定：{listed}）"),
        en: format!(" (but at these brands: {listed})"),
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
        Domain::Integer { unit, minimum, maximum, bound, carriers, .. } => {
            let own = own_words(column.own_bounds(), unit);
            let (zh, en) = match bound {
                Some(bound) => (
                    format!("一位会员在一个品牌的合计上限 {} {unit}{}", bound.get(), own.zh),
                    format!(
                        "one member's sums at one brand count up to {} {unit}{}",
                        bound.get(),
                        own.en
                    ),
                ),
                None => (
                    "未设合计上限，不能求和".to_owned(),
                    "no bound, so that it cannot be summed".to_owned(),
                ),
            };
            let told = carriers.as_ref().map(told_words).unwrap_or_default();
            let carriers = carriers.iter().flatten().map(ToString::to_string).collect();
            ColumnView {
                name,
                kind: "integer".to_owned(),
                carriers,
                unit: Some(unit.clone()),
                least: Some(minimum.to_string()),
                greatest: Some(maximum.to_string()),
                bound: bound.map(|bound| bound.get()),
                bound_by_brand: own_bounds(column.own_bounds()),
                words: Bilingual {
                    zh: format!("整数（{unit}），{minimum} 至 {maximum}；{zh}{}", told.zh),
                    en: format!(
                        "a whole number of {unit} from {minimum} to {maximum}; {en}{}",
                        told.en
                    ),
                },
                ..ColumnView::default()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_analysts_show_each_once_at_each_brand() {
        let brand = |name: &str| name.parse::<ParticipantId>().unwrap();
        let named = |numbers: std::ops::Range<usize>| -> BTreeSet<AnalystId> {
            numbers.map(|it| format!("desk_{it:04}").parse().unwrap()).collect()
        };
        let all = BTreeMap::from([
            (brand("grocer"), named(0..250)),
            (brand("fuel_stop"), named(90..130)),
            (brand("bakery"), named(0..0)),
        ]);
        let (mut after, mut pages): (Option<AnalystId>, usize) = (None, 0);
        let mut seen: BTreeMap<ParticipantId, Vec<AnalystId>> = BTreeMap::new();
        loop {
            let mut page = all.clone();
            for of in page.values_mut() {
                of.retain(|name| after.is_none_or(|after| *name > after));
                *of = of.iter().copied().take(ANALYSTS_AT_ONCE + 1).collect();
            }
            let next = cut(&mut page);
            pages += 1;
            for (of, names) in page {
                assert!(names.len() <= ANALYSTS_AT_ONCE);
                seen.entry(of).or_default().extend(names);
            }
            let Some(last) = next else { break };
            after = Some(last);
        }
        assert_eq!(pages, 3);
        for (of, names) in all {
            assert_eq!(seen[&of], names.into_iter().collect::<Vec<_>>());
        }
    }
}
