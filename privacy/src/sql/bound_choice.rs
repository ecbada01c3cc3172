//! A question whose bound is chosen first: the two that are asked in its place.
//!
//! The first asks, for a part of the cost, how large most members' sums are: a noised quantile like any other, of one
//! sum a member, under the same conditions. The second is the question itself with `sum_within(x, C)` in place of
//! `sum(x)`, C being what was answered, brought to the grid and no more than the contract's bound. Each is planned,
//! charged and released like any other question; that C comes of a noised answer is what makes it a public number.
//! Deliberately knows no answer: what was answered is passed in.

use sqlparser::ast::{Expr as Sql, Ident, Query, SelectItem, SetExpr};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::call::{Argument, Call};
use super::clauses::unwrapped;
use super::relation::BoundsAt;
use super::scope::{Binder, Scope};
use super::{Amount, BoundQuery, DEPTH_MAX, Measure, Refusal, named_parts, parse, unsupported};
use crate::contract::Contract;
use crate::units::GridBound;

/// The quantile of members' sums that becomes the bound, in thousandths: of so many members nothing is cut off.
pub const BOUND_PERMILLE: u16 = 950;

/// A question with one sum, taken apart.
#[derive(Clone, Debug)]
pub struct BoundChoice {
    first: String,
    query: Query,
    /// Place of the sum in the SELECT list.
    item: usize,
    /// What is summed.
    argument: String,
    most: GridBound,
}

impl BoundChoice {
    /// Takes a question apart, or refuses it for reasons that never depend on data: it shows exactly one `sum(..)`, by
    /// itself, of all brands together or of one.
    pub fn of(contract: &Contract, sql: &str) -> Result<Self, Refusal> {
        let bound = super::bind(contract, sql)?;
        let query = parse(sql)?;
        let SetExpr::Select(select) = query.body.as_ref() else { return Err(no_choice()) };
        let named = query.with.as_ref().map_or(Ok(Vec::new()), named_parts)?;
        let binder = Binder::new(contract);
        let owner = Scope::new(&binder, &named, &select.from)?.qualified_owner();
        let items = (0usize..).zip(&select.projection);
        let summed: Vec<(usize, String)> =
            items.filter_map(|(at, item)| Some((at, summed(item)?))).collect();
        let [(item, argument)] = summed.as_slice() else { return Err(no_choice()) };
        let with = query.with.as_ref().map_or_else(String::new, |with| format!("{with} "));
        let from = select.from.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let filter = select.selection.as_ref();
        let filter = filter.map_or_else(String::new, |filter| format!(" WHERE {filter}"));
        let first = format!(
            "{with}SELECT quantile(member_sum, 0.{BOUND_PERMILLE}) AS bound FROM (SELECT {owner}, \
             sum({argument}) AS member_sum FROM {from}{filter} GROUP BY {owner}) AS members"
        );
        let most = largest_bound(contract, &bound).ok_or_else(no_choice)?;
        let argument = argument.clone();
        let choice = Self { first, item: *item, argument, most, query: query.clone() };
        // a sum that ORDER BY or HAVING names by itself would stay, with the contract's bound
        let within = super::bind(contract, &choice.second(most)?)?;
        if bound.by_brand || within.measures.iter().any(is_sum) {
            return Err(no_choice());
        }
        Ok(choice)
    }

    /// The question for the bound.
    pub fn first(&self) -> &str {
        &self.first
    }

    /// The question itself, within a bound.
    pub fn second(&self, bound: GridBound) -> Result<String, Refusal> {
        let text = format!("sum_within({}, {})", self.argument, bound.get());
        let expr = Parser::new(&PostgreSqlDialect {})
            .with_recursion_limit(DEPTH_MAX)
            .try_with_sql(&text)
            .and_then(|mut parser| parser.parse_expr())
            .map_err(super::syntax)?;
        let mut query = self.query.clone();
        let SetExpr::Select(select) = query.body.as_mut() else { return Err(no_choice()) };
        let item = select.projection.get_mut(self.item).ok_or_else(no_choice)?;
        // the answer's column keeps its name
        let alias = match &*item {
            SelectItem::ExprWithAlias { alias, .. } => alias.clone(),
            SelectItem::UnnamedExpr(expr) => Ident::new(super::select::default_name(expr)),
            _ => return Err(no_choice()),
        };
        *item = SelectItem::ExprWithAlias { expr, alias };
        Ok(query.to_string())
    }

    /// The largest bound that can be chosen: no sum is bounded by more under the contract.
    pub const fn most(&self) -> GridBound {
        self.most
    }

    /// The bound that follows from what the first question was answered: no more than [`Self::most`].
    pub fn bound(&self, answered: GridBound) -> GridBound {
        answered.min(self.most)
    }
}

/// What is summed, where a column of the SELECT list is one plain sum.
fn summed(item: &SelectItem) -> Option<String> {
    let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else {
        return None;
    };
    let Sql::Function(function) = unwrapped(expr) else { return None };
    let call = Call::of(function).ok()?;
    match (call.name.as_str(), call.distinct, call.arguments.as_slice()) {
        ("sum", false, [Argument::Expr(argument)]) => Some(argument.to_string()),
        _ => None,
    }
}

const fn is_sum(measure: &Measure) -> bool {
    matches!(measure, Measure::One(Amount::Sum(_)))
}

/// The smallest bound of the grid that is no less than what the contract bounds the sum by at any brand.
fn largest_bound(contract: &Contract, query: &BoundQuery) -> Option<GridBound> {
    let sum = query.measures.iter().find_map(|measure| match measure {
        Measure::One(Amount::Sum(expr)) => Some(expr),
        _ => None,
    })?;
    let tables = contract.tables();
    let bounds = contract.participants().iter().filter_map(|brand| {
        query.from.sum_bound(sum, BoundsAt::brand(tables, *brand)).map(|bound| bound.most)
    });
    let most = bounds.max()?;
    Some(GridBound::at_least(u64::try_from(most).unwrap_or(u64::MAX)))
}

fn no_choice() -> Refusal {
    let hint = [
        "show exactly one sum(..) by itself, name it in ORDER BY and HAVING by its alias, and ask all brands together or one",
        "请只选择一个单独的 sum(..)，在 ORDER BY 与 HAVING 中使用其别名，并向全体品牌联合或单一品牌提问",
    ];
    unsupported("a choice of the bound for this question", "为该问题选择上界", hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::DpPlan;
    use crate::sql::RefusalCode;
    use crate::testing::{brand, local_question, raw_contract, sample_contract, spec};

    const SPENT: &str = "SELECT half_year(purchased_on) h, count(*) n, sum(amount_fen) AS spent FROM purchases \
                         WHERE department <> 'FUEL' GROUP BY 1 ORDER BY spent DESC";

    fn bounds(contract: &Contract, sql: &str) -> Vec<u128> {
        let plan = DpPlan::new(contract, &spec(sql, 5)).unwrap();
        plan.columns().iter().map(|column| column.squared_bound()).collect()
    }

    #[test]
    fn a_question_is_taken_apart_into_one_for_its_bound_and_itself() {
        let contract = sample_contract();
        let choice = BoundChoice::of(&contract, SPENT).unwrap();
        assert_eq!(choice.most().get(), 500_000);
        assert_eq!(
            choice.first(),
            "SELECT quantile(member_sum, 0.950) AS bound FROM (SELECT purchases.member, \
             sum(amount_fen) AS member_sum FROM purchases WHERE department <> 'FUEL' \
             GROUP BY purchases.member) AS members"
        );
        // both are questions like any other, joint and local; one row a member is what the first is charged for
        let first = DpPlan::new(&contract, &spec(choice.first(), 5)).unwrap();
        assert_eq!((first.cells().len(), first.columns()[0].squared_bound()), (1, 9));
        let alone = local_question(choice.first(), 4_000_000_000);
        let alone = DpPlan::local(&contract, brand(2), &alone).unwrap();
        assert_eq!(alone.columns()[0].squared_bound(), 1);
        let second = choice.second(GridBound::new(20_000).unwrap()).unwrap();
        assert!(second.contains("sum_within(amount_fen, 20000) AS spent"), "{second}");
        assert_eq!(bounds(&contract, &second), [2_000 * 2_000, 20_000 * 20_000]);
        // within the contract's own bound it is the same bound
        let widest = choice.second(choice.most()).unwrap();
        assert_eq!(bounds(&contract, &widest), bounds(&contract, SPENT));
    }

    #[test]
    fn what_was_answered_becomes_a_bound_within_the_contract() {
        let choice = BoundChoice::of(&sample_contract(), SPENT).unwrap();
        for (answered, bound) in
            [(1, 1), (20_000, 20_000), (500_000, 500_000), (1_000_000, 500_000)]
        {
            let answered = GridBound::new(answered).unwrap();
            assert_eq!(choice.bound(answered).get(), bound);
        }
    }

    /// The chosen bound lowers the bounds that are larger, and no other: a brand's own stays where it is less.
    #[test]
    fn a_chosen_bound_is_no_more_than_each_brands_own() {
        let mut raw = raw_contract();
        let crate::contract::RawColumn::Integer { bound_by_brand, .. } =
            &mut raw.tables[0].columns[3]
        else {
            panic!()
        };
        bound_by_brand.insert("fresh_counter".into(), 10_000);
        bound_by_brand.insert("health_home".into(), 10_000_000);
        let contract = Contract::try_from(raw).unwrap();
        let sql = "SELECT sum(amount_fen) FROM purchases";
        let choice = BoundChoice::of(&contract, sql).unwrap();
        assert_eq!(choice.most().get(), 10_000_000);
        let within = |bound: u64| {
            let second = choice.second(GridBound::new(bound).unwrap()).unwrap();
            let plan = DpPlan::new(&contract, &spec(&second, 5)).unwrap();
            let squares = plan.columns()[0].squared_bounds().to_vec();
            squares.iter().map(|square| square.isqrt()).collect::<Vec<u128>>()
        };
        assert_eq!(within(50_000), [10_000, 50_000, 50_000, 50_000, 50_000]);
        assert_eq!(within(1_000_000), [10_000, 500_000, 500_000, 500_000, 1_000_000]);
        assert_eq!(within(1_000), [1_000; 5]);
    }

    #[test]
    fn what_has_no_one_sum_is_refused() {
        let contract = sample_contract();
        for sql in [
            "SELECT count(*) FROM purchases",
            "SELECT avg(amount_fen) FROM purchases",
            "SELECT sum(amount_fen), sum(2 * amount_fen) s FROM purchases",
            "SELECT sum(amount_fen) / count(*) FROM purchases",
            "SELECT half_year(purchased_on) h, sum(amount_fen) s FROM purchases GROUP BY 1 ORDER BY sum(amount_fen)",
            "SELECT brand, sum(amount_fen) FROM purchases GROUP BY brand",
        ] {
            let refusal = BoundChoice::of(&contract, sql).unwrap_err();
            assert_eq!(refusal.code(), RefusalCode::Unsupported, "{sql}: {refusal}");
        }
        for sql in [
            "SELECT sum_within(amount_fen, 30000) FROM purchases",
            "SELECT sum_within(amount_fen, 0) FROM purchases",
            "SELECT sum_within(amount_fen, -5) FROM purchases",
            "SELECT sum_within(amount_fen, quantity) FROM purchases",
        ] {
            let refusal = DpPlan::new(&contract, &spec(sql, 5)).unwrap_err();
            assert_eq!(refusal.code(), RefusalCode::OutsideDomain, "{sql}: {refusal}");
        }
        // what cannot be summed cannot be summed within a bound either
        let refusal =
            DpPlan::new(&contract, &spec("SELECT sum_within(quantity, 5) FROM purchases", 5));
        assert_eq!(refusal.unwrap_err().code(), RefusalCode::Unbounded);
    }

    /// A question without a chosen bound keeps its hash; one with it says which, to everybody who plans it.
    #[test]
    fn the_chosen_bound_is_in_the_hashes_of_question_and_plan() {
        let plan = |sql: &str| DpPlan::new(&sample_contract(), &spec(sql, 5)).unwrap();
        let one = plan("SELECT sum_within(amount_fen, 1000) s FROM purchases");
        let other = plan("SELECT sum_within(amount_fen, 2000) s FROM purchases");
        assert_ne!(one.sql_hash(), other.sql_hash());
        assert_ne!(one.hash(), other.hash());
    }
}
