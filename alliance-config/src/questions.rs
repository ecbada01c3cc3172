//! Saved questions with parameters: the shipped ones, and those that a brand keeps as files.
//!
//! A template is SQL with parameters in braces. What is filled in is checked by kind first: a value that
//! the contract declares, a day, a whole number within limits; nothing else reaches the text. A filled
//! template is a question like any other: it is planned, charged and refused as such. Does not know who
//! asks, and decides nothing about cost beyond the part of the profile's that a template suggests.

use std::collections::BTreeMap;

use jiff::civil::Date;
use privacy::Contract;
use privacy::contract::{Column, Domain, OTHER};
use serde::Deserialize;

use crate::problem::FORMAT;

/// Longest file of a template, in bytes.
pub const TEMPLATE_MAX_BYTES: usize = 16 * 1024;
/// Most parameters.
const PARAMETERS_MAX: usize = 16;
/// The days that a contract has purchases of.
const DAYS: &str = "purchases.purchased_on";

/// What a template is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TemplateKind {
    /// A figure of everyday work, also to be had exactly by the brand's own staff.
    Dashboard,
    /// The own figure beside the alliance's.
    Comparison,
    /// A campaign and who bought in it.
    Campaign,
    /// A treated group beside a control.
    Experiment,
    /// What there is.
    Overview,
}

impl TemplateKind {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dashboard => "dashboard",
            Self::Comparison => "comparison",
            Self::Campaign => "campaign",
            Self::Experiment => "experiment",
            Self::Overview => "overview",
        }
    }
}

/// Who can answer a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TemplateScope {
    /// All brands together.
    Joint,
    /// The own brand alone.
    Local,
    /// Every brand for itself: `brand` is put among the group keys.
    Pack,
}

/// A text in both languages.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Words {
    /// Chinese.
    pub zh: String,
    /// English.
    pub en: String,
}

/// What a parameter may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParameterKind {
    /// A declared value of `table.column`.
    Value {
        /// `table.column`.
        column: String,
    },
    /// A day.
    Day,
    /// A whole number.
    Number {
        /// Least.
        least: i64,
        /// Greatest.
        greatest: i64,
    },
}

/// A parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in the braces.
    pub name: String,
    /// What it may be.
    pub kind: ParameterKind,
    /// What is taken without it.
    pub default: String,
    /// What it is.
    pub words: Words,
}

/// A saved question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Its name: that of its file.
    pub id: String,
    /// What it is for.
    pub kind: TemplateKind,
    /// Who can answer it, the usual first.
    pub scopes: Vec<TemplateScope>,
    /// The part of the profile's cost of a query that it takes, in percent.
    pub cost_percent: u8,
    /// Columns without which it cannot be asked and which not every contract has, each `table.column`.
    pub needs: Vec<String>,
    /// The text.
    pub sql: String,
    /// Title.
    pub title: Words,
    /// What the answer says and what not.
    pub note: Words,
    /// Parameters.
    pub parameters: Vec<Parameter>,
}

/// What is wrong with a template, or with what is filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("template {id}: {problem}")]
pub struct TemplateError {
    /// Which template.
    pub id: String,
    /// What was wrong and what would be right.
    pub problem: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTemplate {
    format: u64,
    kind: TemplateKind,
    scopes: Vec<TemplateScope>,
    cost_percent: u8,
    #[serde(default)]
    needs: Vec<String>,
    sql: String,
    title: Words,
    note: Words,
    #[serde(default)]
    parameters: Vec<RawParameter>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawParameter {
    name: String,
    kind: RawKind,
    column: Option<String>,
    least: Option<i64>,
    greatest: Option<i64>,
    default: String,
    zh: String,
    en: String,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawKind {
    Value,
    Day,
    Number,
}

macro_rules! shipped {
    ($($id:literal),* $(,)?) => {
        const SHIPPED: &[(&str, &str)] =
            &[$(($id, include_str!(concat!("../questions/", $id, ".toml")))),*];
    };
}

shipped!(
    "members",
    "active-members",
    "sales",
    "active-rate",
    "member-total",
    "repurchase-rate",
    "average-basket",
    "retention",
    "conversion",
    "new-member-conversion",
    "brand-comparison",
    "spending-comparison",
    "monthly-active-comparison",
    "electronic-card-comparison",
    "redemption-comparison",
    "basket-comparison",
    "acquisition-comparison",
    "redemption-by-month",
    "net-sales",
    "campaign-before-and-during",
    "campaign-attribution",
    "experiment-groups",
    "departments",
    "members-by-age",
    "sales-by-age",
    "sales-by-region",
    "stores-of-region",
);

/// The templates that ship with the project, over the sample's dataset.
///
/// # Errors
/// None: a test reads them all.
pub fn shipped() -> Result<Vec<Template>, TemplateError> {
    SHIPPED.iter().map(|(id, text)| Template::parse(id, text)).collect()
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with the text, and where.
    pub fn parse(id: &str, text: &str) -> Result<Self, TemplateError> {
        let wrong = |problem: String| TemplateError { id: id.to_owned(), problem };
        let legal = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if id.is_empty() || id.len() > 64 || !id.bytes().all(legal) {
            return Err(wrong("a name is 1 to 64 of a-z, 0-9 and -".into()));
        }
        if text.len() > TEMPLATE_MAX_BYTES {
            return Err(wrong(format!("more than {TEMPLATE_MAX_BYTES} bytes")));
        }
        let raw: RawTemplate = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        if raw.format != FORMAT {
            return Err(wrong(format!("format {} is unknown, this reads {FORMAT}", raw.format)));
        }
        if raw.scopes.is_empty() || raw.cost_percent == 0 {
            return Err(wrong("scopes must not be empty, and cost_percent is at least 1".into()));
        }
        if raw.parameters.len() > PARAMETERS_MAX {
            return Err(wrong(format!("at most {PARAMETERS_MAX} parameters")));
        }
        let parameters = raw.parameters.into_iter().map(|raw| parameter(raw).map_err(wrong));
        let parameters = parameters.collect::<Result<Vec<_>, _>>()?;
        let (kind, scopes, cost_percent) = (raw.kind, raw.scopes, raw.cost_percent);
        let (needs, sql, title, note) = (raw.needs, raw.sql, raw.title, raw.note);
        if let Some(needed) = needs.iter().find(|needed| !needed.contains('.')) {
            return Err(wrong(format!("needs {needed:?}: a column is written table.column")));
        }
        let id = id.to_owned();
        let template = Self { id, kind, scopes, cost_percent, needs, sql, title, note, parameters };
        template.check_parameters()?;
        Ok(template)
    }

    /// Every brace is a parameter's, and every parameter is used.
    fn check_parameters(&self) -> Result<(), TemplateError> {
        let mut rest = self.sql.clone();
        for parameter in &self.parameters {
            let place = format!("{{{}}}", parameter.name);
            if !rest.contains(&place) {
                return Err(self.wrong(format!("{place} is not in the SQL")));
            }
            rest = rest.replace(&place, "");
        }
        if rest.contains(['{', '}']) {
            return Err(self.wrong("the SQL has a brace that is no parameter's".into()));
        }
        Ok(())
    }

    /// The question with these parameters, the others by default, under a contract.
    ///
    /// # Errors
    /// A parameter that is unknown, or not what it may be; a column that the contract does not have.
    pub fn fill(
        &self,
        contract: &Contract,
        given: &BTreeMap<String, String>,
    ) -> Result<String, TemplateError> {
        if let Some(unknown) = given.keys().find(|name| !self.has(name)) {
            let known: Vec<&str> = self.parameters.iter().map(|p| p.name.as_str()).collect();
            return Err(self.wrong(format!(
                "{unknown:?} is no parameter; its parameters: {}",
                known.join(", ")
            )));
        }
        if let Some(absent) = self.absent(contract).first() {
            return Err(self.wrong(format!(
                "the contract has no column {absent}, which this asks about: a later constitution may bring it"
            )));
        }
        let mut sql = self.sql.clone();
        for parameter in &self.parameters {
            let text = given.get(&parameter.name).cloned();
            let text = text.unwrap_or_else(|| parameter.default_under(contract));
            let checked = parameter
                .checked(contract, &text)
                .map_err(|problem| self.wrong(format!("{}: {problem}", parameter.name)))?;
            sql = sql.replace(&format!("{{{}}}", parameter.name), &checked);
        }
        Ok(sql)
    }

    /// Columns that it needs and the contract does not have: with any it cannot be asked.
    #[must_use]
    pub fn absent(&self, contract: &Contract) -> Vec<&str> {
        let absent = self
            .needs
            .iter()
            .filter(|needed| column(contract, needed).is_none() && !is_owner(contract, needed));
        absent.map(String::as_str).collect()
    }

    fn has(&self, name: &str) -> bool {
        self.parameters.iter().any(|parameter| parameter.name == name)
    }

    fn wrong(&self, problem: String) -> TemplateError {
        TemplateError { id: self.id.clone(), problem }
    }
}

/// The question as a pack: `brand` put among its group keys. A text without GROUP BY gets one.
#[must_use]
pub fn by_brand(sql: &str) -> String {
    let lower = sql.to_ascii_lowercase();
    let selected = match lower.find("select") {
        Some(0) => format!("SELECT brand, {}", sql.get("select ".len()..).unwrap_or_default()),
        _ => return sql.to_owned(),
    };
    // the outermost GROUP BY is the last one that no parenthesis closes after
    let outer = selected.to_ascii_lowercase().rfind(" group by ").filter(|at| {
        let after = selected.get(*at..).unwrap_or_default();
        after.matches('(').count() == after.matches(')').count()
    });
    match outer {
        Some(at) => {
            let (before, after) = selected.split_at(at);
            let keys = after.get(" group by ".len()..).unwrap_or_default();
            format!("{before} GROUP BY brand, {keys}")
        }
        None => format!("{selected} GROUP BY brand"),
    }
}

impl Parameter {
    /// Values that it may have, where that is a list.
    #[must_use]
    pub fn choices(&self, contract: &Contract) -> Vec<String> {
        match &self.kind {
            ParameterKind::Value { column } => declared(contract, column).unwrap_or_default(),
            ParameterKind::Day | ParameterKind::Number { .. } => Vec::new(),
        }
    }

    /// What is taken without it under a contract. Shipped templates have the sample's days and values: under another
    /// contract a day is that of the last year that there are purchases of, brought within the contract's days, and a
    /// value the first that it declares.
    #[must_use]
    pub fn default_under(&self, contract: &Contract) -> String {
        let other = match &self.kind {
            ParameterKind::Value { column } => {
                let values = declared(contract, column).unwrap_or_default();
                let known = values.contains(&self.default);
                values.into_iter().next().filter(|_| !known)
            }
            ParameterKind::Day => day_within(contract, &self.default),
            ParameterKind::Number { .. } => None,
        };
        other.unwrap_or_else(|| self.default.clone())
    }

    fn checked(&self, contract: &Contract, text: &str) -> Result<String, String> {
        match &self.kind {
            ParameterKind::Value { column } => {
                let values = declared(contract, column)
                    .ok_or_else(|| format!("the contract has no text column {column}"))?;
                if !values.iter().any(|value| value == text) {
                    return Err(format!("{text:?} is not declared; one of: {}", values.join(", ")));
                }
                Ok(text.replace('\'', "''"))
            }
            ParameterKind::Day => {
                let day: Date =
                    text.parse().map_err(|_| format!("{text:?} is no day such as 2017-04-01"))?;
                Ok(day.to_string())
            }
            ParameterKind::Number { least, greatest } => match text.parse::<i64>() {
                Ok(number) if (*least..=*greatest).contains(&number) => Ok(number.to_string()),
                _ => Err(format!("{text:?} is no whole number from {least} to {greatest}")),
            },
        }
    }
}

/// The column that is written `table.column`.
fn column<'c>(contract: &'c Contract, name: &str) -> Option<&'c Column> {
    let (table, column) = name.split_once('.')?;
    let table = contract.tables().iter().find(|known| known.name() == table)?;
    table.columns().iter().find(|known| known.name() == column)
}

/// Whether `table.column` is how a table names the member of a row.
fn is_owner(contract: &Contract, name: &str) -> bool {
    name.split_once('.').is_some_and(|(named, column)| {
        let mut tables = contract.tables().iter();
        tables.any(|table| table.name() == named && table.owner() == column)
    })
}

/// A day that lies outside a contract's days of purchases, brought into them.
fn day_within(contract: &Contract, day: &str) -> Option<String> {
    let Domain::Date { first, last } = column(contract, DAYS)?.domain() else { return None };
    let of = |day: &str| day.parse::<Date>().ok();
    let (first, last) = (of(&first.to_string())?, of(&last.to_string())?);
    let day = of(day)?;
    if (first..=last).contains(&day) {
        return None;
    }
    // 29 February has no counterpart in most years
    let moved = day.with().year(last.year()).build().unwrap_or(last);
    Some(moved.max(first).min(last).to_string())
}

fn declared(contract: &Contract, name: &str) -> Option<Vec<String>> {
    match column(contract, name)?.domain() {
        Domain::Text { values, .. } => {
            let values = values.iter().map(|value| value.text().to_owned());
            Some(values.chain([OTHER.to_owned()]).collect())
        }
        Domain::Date { .. } | Domain::Integer { .. } | Domain::Private { .. } => None,
    }
}

fn parameter(raw: RawParameter) -> Result<Parameter, String> {
    let RawParameter { name, kind, column, least, greatest, default, zh, en } = raw;
    let legal = |byte: u8| matches!(byte, b'a'..=b'z' | b'_');
    if name.is_empty() || !name.bytes().all(legal) {
        return Err(format!("{name:?}: a parameter's name is made of a-z and _"));
    }
    let kind = match (kind, column, least, greatest) {
        (RawKind::Value, Some(column), None, None) => ParameterKind::Value { column },
        (RawKind::Day, None, None, None) => ParameterKind::Day,
        (RawKind::Number, None, Some(least), Some(greatest)) if least <= greatest => {
            ParameterKind::Number { least, greatest }
        }
        _ => {
            return Err(format!(
                "{name}: a value has a column, a number least and greatest, a day neither"
            ));
        }
    };
    Ok(Parameter { name, kind, default, words: Words { zh, en } })
}

#[cfg(test)]
mod tests {
    use privacy::plan::{LocalQuestion, QuerySpec};
    use privacy::{DpPlan, PicoRho};

    use super::*;
    use crate::Constitution;

    /// The sample's, with what a pilot may add to it and with the column that its data do not have.
    fn contract() -> Contract {
        let card = "[[clean_room.tables.columns]]\nkind = \"integer\"\nname = \"electronic_card\"\n\
                    unit = \"cards\"\nminimum = 0\nmaximum = 1\n";
        let settings = format!(
            "{}\n{card}{}",
            crate::sample_alliance::SETTINGS,
            crate::sample_alliance::PILOT_TABLES
        );
        let text = crate::testing::constitution_of(&settings);
        Constitution::parse(text.as_bytes()).unwrap().clean_room().unwrap().contract().clone()
    }

    fn contract_with(columns: &str) -> Contract {
        let first = "[[clean_room.tables.columns]]\nkind = \"date\"";
        let text = crate::testing::sample_constitution();
        assert!(text.contains(first));
        let text = text.replacen(first, &format!("{columns}{first}"), 1);
        Constitution::parse(text.as_bytes()).unwrap().clean_room().unwrap().contract().clone()
    }

    fn template(id: &str) -> Template {
        shipped().unwrap().into_iter().find(|template| template.id == id).unwrap()
    }

    /// Every shipped template, filled by default, is planned in each scope that it names, at its cost,
    /// under the sample's constitution.
    #[test]
    fn every_shipped_template_can_be_asked_of_the_sample() {
        let contract = contract();
        let mut planned = 0;
        for template in shipped().unwrap() {
            let sql = template.fill(&contract, &BTreeMap::new()).unwrap();
            let per_query = contract.profile().rho_per_query();
            let rho = per_query.get() * u64::from(template.cost_percent) / 100;
            for scope in &template.scopes {
                let (purpose, analyst) = (contract.purposes()[0], "analyst".parse().unwrap());
                let local = |sql: &str| LocalQuestion {
                    sql: sql.into(),
                    purpose,
                    analyst,
                    rho: PicoRho::new(rho),
                };
                let plan = match scope {
                    TemplateScope::Joint => DpPlan::new(
                        &contract,
                        &QuerySpec {
                            sql: sql.clone(),
                            purpose,
                            analyst,
                            participants: contract.participants().to_vec(),
                            rho: PicoRho::new(rho),
                        },
                    ),
                    TemplateScope::Local => {
                        DpPlan::local(&contract, contract.participants()[2], &local(&sql))
                    }
                    TemplateScope::Pack => DpPlan::local(
                        &contract,
                        contract.participants()[2],
                        &local(&by_brand(&sql)),
                    ),
                };
                let plan = plan.unwrap_or_else(|refusal| {
                    panic!("{} as {scope:?}: {refusal}\n{sql}", template.id)
                });
                assert_eq!(
                    plan.query().is_by_brand(),
                    *scope == TemplateScope::Pack,
                    "{}",
                    template.id
                );
                planned += 1;
            }
        }
        assert!(planned >= 59, "{planned}");
    }

    /// Members, active rate, repurchase, basket, redemption, retention and conversion are dashboards: exact for a
    /// brand's own staff, and noised for whoever else asks.
    #[test]
    fn the_seven_figures_of_everyday_work_are_dashboards() {
        for (id, figure) in [
            ("members", "members"),
            ("member-total", "FROM members"),
            ("active-rate", "active_rate"),
            ("repurchase-rate", "repurchase_rate"),
            ("average-basket", "average_basket_fen"),
            ("redemption-by-month", "redeemed"),
            ("retention", "retention"),
            ("conversion", "conversion"),
            ("new-member-conversion", "conversion"),
        ] {
            let template = template(id);
            assert_eq!(template.kind, TemplateKind::Dashboard, "{id}");
            assert!(template.sql.contains(figure), "{id}");
            assert!(template.scopes.contains(&TemplateScope::Local), "{id}");
        }
    }

    /// A pilot's days and values are not the sample's: every template can be asked as it comes all the same, and what
    /// is grouped by months or quarters is of one year.
    #[test]
    fn what_a_contract_does_not_have_by_default_is_brought_into_it() {
        let settings = format!(
            "{}\n{}",
            crate::sample_alliance::SETTINGS,
            crate::sample_alliance::PILOT_TABLES.replace("\"NORTH\"", "\"UPTOWN\"")
        );
        let days = "first = \"2017-01-01\"\nlast = \"2017-12-31\"";
        assert_eq!(settings.matches(days).count(), 1);
        let settings = settings.replace(days, "first = \"2026-03-01\"\nlast = \"2028-10-31\"");
        let text = crate::testing::constitution_of(&settings);
        let constitution = Constitution::parse(text.as_bytes()).unwrap();
        let contract = constitution.clean_room().unwrap().contract();
        let (mut asked, mut of_one_year) = (0, 0);
        for template in shipped().unwrap() {
            if !template.absent(contract).is_empty() {
                assert_eq!(template.id, "electronic-card-comparison");
                continue;
            }
            let sql = template.fill(contract, &BTreeMap::new()).unwrap();
            let question = LocalQuestion {
                sql: sql.clone(),
                purpose: contract.purposes()[0],
                analyst: "analyst".parse().unwrap(),
                rho: contract.profile().rho_per_query(),
            };
            let plan = DpPlan::local(contract, contract.participants()[2], &question);
            if let Err(refusal) = plan {
                panic!("{}: {refusal}\n{sql}", template.id);
            }
            asked += 1;
            if sql.contains("extract(") {
                let year = sql.contains("DATE '2028-01-01' AND DATE '2028-10-31'");
                assert!(year, "{}: {sql}", template.id);
                of_one_year += 1;
            }
        }
        assert!(asked >= 26 && of_one_year >= 10, "{asked} {of_one_year}");
        let default = |id: &str, name: &str| {
            let template = template(id);
            let parameter = template.parameters.iter().find(|it| it.name == name).unwrap();
            parameter.default_under(contract)
        };
        assert_eq!(default("retention", "split"), "2028-07-01");
        assert_eq!(default("stores-of-region", "region"), "UPTOWN");
        assert_eq!(default("active-rate", "months"), "6");
        // those of the sample stay as they are
        let sample = self::contract();
        let all = shipped().unwrap();
        let parameters = all.iter().flat_map(|template| &template.parameters);
        for parameter in parameters {
            assert_eq!(parameter.default_under(&sample), parameter.default, "{}", parameter.name);
        }
    }

    #[test]
    fn what_is_filled_in_is_checked_by_kind() {
        let contract = contract();
        let fill = |id: &str, name: &str, value: &str| {
            let given = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            template(id).fill(&contract, &given).map_err(|error| error.problem)
        };
        let sql = fill("campaign-before-and-during", "department", "CNTRL/STORE SUP").unwrap();
        assert!(sql.contains("department = 'CNTRL/STORE SUP'"), "{sql}");
        let injected = "GROCERY' OR department = 'FUEL";
        let refused = fill("campaign-before-and-during", "department", injected).unwrap_err();
        assert!(refused.contains("is not declared; one of: AUTOMOTIVE"), "{refused}");
        for day in ["2017-13-01", "2017-04-01' OR '1'='1", ""] {
            assert!(fill("retention", "split", day).is_err(), "{day}");
        }
        assert!(fill("active-rate", "months", "13").unwrap_err().contains("from 1 to 12"));
        assert!(fill("active-rate", "month", "3").unwrap_err().contains("its parameters: months"));
    }

    /// Each measure of the brand comparison is there, is asked of the own brand and of all, and has both
    /// languages.
    #[test]
    fn the_brand_comparison_is_whole() {
        let comparisons: Vec<Template> = shipped()
            .unwrap()
            .into_iter()
            .filter(|template| template.kind == TemplateKind::Comparison)
            .collect();
        for (id, measure) in [
            ("monthly-active-comparison", "active_members"),
            ("electronic-card-comparison", "electronic_card_share"),
            ("redemption-comparison", "monthly_redemption_rate"),
            ("basket-comparison", "average_basket_fen"),
            ("acquisition-comparison", "coupon_fen_per_new_member"),
        ] {
            let found = comparisons.iter().find(|template| template.id == id);
            assert!(found.is_some_and(|found| found.sql.contains(measure)), "{id}");
        }
        let chinese = |text: &str| text.chars().any(|letter| ('一'..='龥').contains(&letter));
        for template in &comparisons {
            assert_eq!(template.scopes, [TemplateScope::Local, TemplateScope::Joint]);
            for words in [&template.title, &template.note] {
                assert!(chinese(&words.zh) && !chinese(&words.en), "{}", template.id);
            }
        }
    }

    /// A year of one of five brands at `trial` pays for the five measures of the comparison, of its own members and of
    /// all: a brand's share holds 2.4 local questions at the usual cost.
    #[test]
    fn a_year_of_five_brands_pays_for_the_whole_comparison() {
        let contract = contract();
        assert_eq!((contract.participants().len(), contract.profile().name()), (5, "trial"));
        let (purpose, analyst) = (contract.purposes()[0], "analyst".parse().unwrap());
        let usual = contract.rho_per_question().get();
        let (mut local, mut joint) = (0, 0);
        for measure in ["monthly-active", "electronic-card", "redemption", "basket", "acquisition"]
        {
            let template = template(&format!("{measure}-comparison"));
            let sql = template.fill(&contract, &BTreeMap::new()).unwrap();
            let rho = PicoRho::new(usual * u64::from(template.cost_percent) / 100);
            let participants = contract.participants().to_vec();
            let asked = QuerySpec { sql: sql.clone(), purpose, analyst, participants, rho };
            joint += DpPlan::new(&contract, &asked).unwrap().rho().get();
            let alone = LocalQuestion { sql, purpose, analyst, rho };
            let brand = contract.participants()[2];
            local += DpPlan::local(&contract, brand, &alone).unwrap().rho().get();
        }
        assert!(local <= contract.local_quota().get(), "{local}");
        assert!(joint <= contract.joint_quota().get(), "{joint}");
    }

    #[test]
    fn what_the_contract_has_no_column_for_is_refused_by_its_name() {
        let sample = contract_with("");
        let cards = template("electronic-card-comparison");
        assert_eq!(cards.absent(&sample), ["purchases.electronic_card"]);
        let refused = cards.fill(&sample, &BTreeMap::new()).unwrap_err();
        assert!(
            refused.problem.starts_with("the contract has no column purchases.electronic_card"),
            "{refused}"
        );
        assert!(cards.fill(&contract(), &BTreeMap::new()).is_ok());
        assert_eq!(template("members-by-age").absent(&sample), ["members.age_band"]);
        let stores = template("stores-of-region");
        assert_eq!(stores.absent(&sample), ["purchases.region", "purchases.store"]);
        let others = ["redemption-comparison", "basket-comparison", "acquisition-comparison"];
        assert!(others.iter().all(|id| template(id).fill(&sample, &BTreeMap::new()).is_ok()));
    }

    #[test]
    fn a_template_that_cannot_be_right_is_refused_with_the_reason() {
        let good = SHIPPED[3].1;
        assert!(Template::parse("x", good).is_ok());
        for (from, to, words) in [
            ("format = 0", "format = 9", "format 9 is unknown"),
            ("{months}", "{weeks}", "{months} is not in the SQL"),
            ("least = 1\n", "", "a number least and greatest"),
            (
                "scopes = [\"pack\", \"local\", \"joint\"]",
                "scopes = []",
                "scopes must not be empty",
            ),
            ("kind = \"dashboard\"", "kind = \"chart\"", "unknown variant `chart`"),
            ("format = 0", "format = 0\nneeds = [\"receipt\"]", "a column is written table.column"),
        ] {
            let refused = Template::parse("x", &good.replace(from, to)).unwrap_err();
            assert!(refused.problem.contains(words), "{refused}");
        }
        assert!(Template::parse("../x", good).is_err());
    }

    #[test]
    fn a_pack_groups_by_brand_outside() {
        assert_eq!(
            by_brand("SELECT count(*) FROM t"),
            "SELECT brand, count(*) FROM t GROUP BY brand"
        );
        assert_eq!(
            by_brand("SELECT a, count(*) FROM t GROUP BY a"),
            "SELECT brand, a, count(*) FROM t GROUP BY brand, a"
        );
        assert_eq!(
            by_brand("SELECT avg(x) FROM (SELECT m, x FROM t GROUP BY m) AS s"),
            "SELECT brand, avg(x) FROM (SELECT m, x FROM t GROUP BY m) AS s GROUP BY brand"
        );
    }
}
