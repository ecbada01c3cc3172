//! Binds the outer SELECT: group keys, noised columns and what is computed from them.

use std::collections::BTreeSet;

use sqlparser::ast::{
    BinaryOperator, Expr as Sql, Function, GroupByExpr, Query, SelectItem, Spanned, Value,
};

use super::after::{bind_having, bind_order};
use super::call::{Argument, Call, is_aggregate};
use super::clauses::{Clauses, limit, plain_select, unwrapped};
use super::expr::{Expr, Operator};
use super::member::{ordinal, row_filter};
use super::query::{Amount, Bins, BoundQuery, Key, Measure, Output, OutputOf, PrivateKey};
use super::refusal::{too_complex, unsupported};
use super::relation::{BoundsAt, SumBound};
use super::scalar::{bind_number, bind_scalar};
use super::scope::{Binder, Kind, Named, Names, Scope, Typed, folded, name_parts};
use super::{AGGREGATES_MAX, KEY_POINTS_MAX, KEYS_MAX, Refusal, RefusalCode};
use crate::units::GridBound;

/// Longest output name in bytes.
const NAME_MAX_BYTES: usize = 63;
/// Bins of a histogram of which quantiles are read: 2 to this.
const HISTOGRAM_DEPTH: u8 = 9;

/// What is bound so far of a question.
pub(crate) struct Question<'s, 'b, 'c> {
    pub(crate) scope: &'s Scope<'b, 'c>,
    keys: Vec<Key>,
    measures: Vec<Measure>,
    pub(crate) outputs: Vec<Output>,
    by_brand: bool,
    private: Option<PrivateKey>,
}

/// Binds a whole question.
pub(crate) fn bind_question(
    binder: &Binder<'_>,
    named: &Named<'_>,
    query: &Query,
) -> Result<BoundQuery, Refusal> {
    let Clauses { select, order_by, .. } = plain_select(query)?;
    if select.distinct.is_some() {
        let hint = ["group by the keys instead", "请改用 GROUP BY"];
        return Err(unsupported("SELECT DISTINCT", " SELECT DISTINCT", hint));
    }
    let scope = Scope::new(binder, named, &select.from)?;
    let filter = row_filter(&scope, select)?;
    let mut question = Question {
        scope: &scope,
        keys: Vec::new(),
        measures: Vec::new(),
        outputs: Vec::new(),
        by_brand: false,
        private: None,
    };
    let mut names = BTreeSet::new();
    for item in &select.projection {
        let (expr, alias) = match item {
            SelectItem::UnnamedExpr(expr) => (expr, None),
            SelectItem::ExprWithAlias { expr, alias } => (expr, Some(folded(alias))),
            _ => {
                let hint = ["name each group key and aggregate", "请逐一写出分组键与聚合"];
                return Err(unsupported("'*' in the SELECT list", " SELECT 列表中的 *", hint)
                    .at(item.span()));
            }
        };
        if question.is_brand(expr) {
            question.by_brand = true;
            continue;
        }
        let of = question.item(expr).map_err(|refusal| refusal.at(expr.span()))?;
        let name = alias.unwrap_or_else(|| default_name(expr));
        output_name(&name, &mut names).map_err(|refusal| refusal.at(item.span()))?;
        question.outputs.push(Output { name, shown: true, of });
    }
    if question.measures.is_empty() {
        return Err(Refusal::new(
            RefusalCode::Unsupported,
            ["a question without an aggregate would show rows", "没有聚合的查询会暴露明细行"],
            ["count or sum something", "请使用 count 或 sum"],
        ));
    }
    question.grouped_as_selected(&select.group_by)?;
    let having =
        select.having.as_ref().map(|having| bind_having(&mut question, having)).transpose()?;
    let order = order_by.map_or(Ok(Vec::new()), |order| bind_order(&mut question, order))?;
    let limit = limit(query)?;
    question.count_private_groups()?;
    let Question { keys, measures, outputs, by_brand, private, .. } = question;
    if measures.len() > AGGREGATES_MAX {
        return Err(too_complex("aggregates", "聚合", AGGREGATES_MAX));
    }
    Ok(BoundQuery {
        from: scope.relation,
        filter,
        keys,
        measures,
        outputs,
        having,
        order,
        limit,
        by_brand,
        private,
    })
}

impl Question<'_, '_, '_> {
    /// Whether this is the key that every brand answers for itself: `brand`, unless a column is
    /// called so.
    fn is_brand(&self, expr: &Sql) -> bool {
        let named = matches!(expr, Sql::Identifier(name) if folded(name) == "brand");
        named && !matches!(self.scope.resolve(expr), Some(Ok(_)))
    }

    fn item(&mut self, expr: &Sql) -> Result<OutputOf, Refusal> {
        if measures(expr) {
            return self.measure(expr);
        }
        if let Some(key) = self.private_key(expr) {
            if self.private.is_some() || !self.keys.is_empty() {
                return Err(private_alone());
            }
            self.private = Some(key);
            return Ok(OutputOf::Key(0));
        }
        if self.private.is_some() {
            return Err(private_alone());
        }
        let key = self.key(expr)?;
        if self.keys.contains(&key) {
            let hint = ["select each group key once", "每个分组键只选择一次"];
            return Err(unsupported("one group key twice", "重复的分组键", hint));
        }
        self.keys.push(key);
        if self.keys.len() > KEYS_MAX {
            return Err(too_complex("group keys", "分组键", KEYS_MAX));
        }
        Ok(OutputOf::Key(position(self.keys.len().saturating_sub(1))))
    }

    /// The key of a column whose values are not public.
    fn private_key(&self, expr: &Sql) -> Option<PrivateKey> {
        match self.scope.resolve(expr)?.ok()? {
            Typed {
                expr: Expr::Column(column),
                kind: Kind::Private { member_groups, groups_at_most },
            } => Some(PrivateKey { column, members: 0, member_groups, groups_at_most }),
            _ => None,
        }
    }

    /// Whether a private group is shown is decided by a count of its members, which is charged like any
    /// other column.
    fn count_private_groups(&mut self) -> Result<(), Refusal> {
        if self.private.is_none() {
            return Ok(());
        }
        if self.measures.iter().any(|measure| matches!(measure, Measure::Histogram(_))) {
            let hint = [
                "ask for the quantile by public keys, or for avg(..)",
                "请按公开键查询分位数，或改用 avg(..)",
            ];
            return Err(unsupported("a quantile in private groups", "私有分组内的分位数", hint));
        }
        let members = self.intern(Measure::One(Amount::Members));
        self.output(OutputOf::Measure(members));
        self.private = self.private.map(|key| PrivateKey { members, ..key });
        Ok(())
    }

    fn key(&self, expr: &Sql) -> Result<Key, Refusal> {
        let Typed { expr: bound, kind } = bind_scalar(self.scope, expr)?;
        if matches!(bound, Expr::Literal(_)) {
            let hint = ["select group keys and aggregates only", "只能选择分组键与聚合"];
            return Err(unsupported("a constant in the SELECT list", " SELECT 列表中的常量", hint));
        }
        match kind {
            Kind::Text(labels) => Ok(Key { expr: bound, base: 0, labels: labels.to_vec() }),
            Kind::Day(..) => {
                let hint = [
                    "use date_trunc('day', ..), 'week' or 'month', half_year(..) or extract(month from ..)",
                    "请使用 date_trunc('day', ..)、'week'、'month'、half_year(..) 或 extract(month from ..)",
                ];
                Err(unsupported("grouping by a date itself", "直接按日期列分组", hint))
            }
            Kind::Private { .. } => Err(private_alone()),
            Kind::Number => {
                let (least, greatest) =
                    self.scope.range(&bound).integers().unwrap_or((0, i128::MAX));
                let points = greatest.saturating_sub(least).saturating_add(1);
                let base = i64::try_from(least).ok();
                let (Some(base), true) = (base, points <= KEY_POINTS_MAX) else {
                    let hint = [
                        "bin it: case when x < 100 then '0-99' .. else .. end, or least(greatest(x, 0), 50)",
                        "请分箱：case when x < 100 then '0-99' .. else .. end，或 least(greatest(x, 0), 50)",
                    ];
                    return Err(unsupported(
                        "a number of so many values as a group key",
                        "以取值过多的数值分组",
                        hint,
                    ));
                };
                let labels = (least..=greatest).map(|value| value.to_string()).collect();
                Ok(Key { expr: bound, base, labels })
            }
        }
    }

    /// Binds an aggregate or a quotient of two.
    pub(crate) fn measure(&mut self, expr: &Sql) -> Result<OutputOf, Refusal> {
        match unwrapped(expr) {
            Sql::BinaryOp { left, op: BinaryOperator::Divide, right } => {
                let numerator = self.amount(left)?;
                let denominator = self.amount(right)?;
                let measure = match (numerator, denominator) {
                    (Amount::Sum(expr), Amount::Rows) => self.average(expr)?,
                    (numerator, denominator) => {
                        Measure::Ratio { numerator, denominator, offset: 0 }
                    }
                };
                Ok(OutputOf::Measure(self.intern(measure)))
            }
            Sql::Function(function) if is_aggregate(unwrapped(expr)) => {
                self.aggregate(function).map_err(|refusal| refusal.at(expr.span()))
            }
            _ => {
                let hint = [
                    "select aggregates and quotients of two aggregates; compute more from the answer",
                    "请只选择聚合或两个聚合之商，其余计算请在得到结果后进行",
                ];
                Err(unsupported("this arithmetic of aggregates", "该聚合运算", hint))
            }
        }
    }

    fn intern(&mut self, measure: Measure) -> u16 {
        let at = self.measures.iter().position(|known| *known == measure);
        position(at.unwrap_or_else(|| {
            self.measures.push(measure);
            self.measures.len().saturating_sub(1)
        }))
    }

    fn aggregate(&mut self, function: &Function) -> Result<OutputOf, Refusal> {
        let call = Call::of(function)?;
        let measure = match (call.name.as_str(), call.distinct, call.arguments.as_slice()) {
            ("avg", false, [Argument::Expr(expr)]) => {
                let expr = bind_number(self.scope, expr)?;
                self.average(expr)?
            }
            ("median", false, [Argument::Expr(expr)]) => return self.quantile(expr, 500),
            ("quantile", false, [Argument::Expr(expr), Argument::Expr(fraction)]) => {
                return self.quantile(expr, permille(fraction)?);
            }
            ("percentile_cont" | "percentile_disc", false, [Argument::Expr(fraction)]) => {
                let Some(expr) = call.within else {
                    let hint = [
                        "write percentile_cont(0.9) WITHIN GROUP (ORDER BY x), or quantile(x, 0.9)",
                        "请写作 percentile_cont(0.9) WITHIN GROUP (ORDER BY x) 或 quantile(x, 0.9)",
                    ];
                    return Err(unsupported("a percentile of nothing", "缺少对象的分位数", hint));
                };
                return self.quantile(expr, permille(fraction)?);
            }
            _ => Measure::One(self.call_amount(&call)?),
        };
        Ok(OutputOf::Measure(self.intern(measure)))
    }

    fn amount(&self, expr: &Sql) -> Result<Amount, Refusal> {
        match unwrapped(expr) {
            // `1.0 * sum(x) / count(*)`, an idiom against whole-number division
            Sql::BinaryOp { left, op: BinaryOperator::Multiply, right } if is_one(left) => {
                self.amount(right)
            }
            Sql::BinaryOp { left, op: BinaryOperator::Multiply, right } if is_one(right) => {
                self.amount(left)
            }
            Sql::Function(function) => {
                let call = Call::of(function)?;
                match (call.name.as_str(), call.arguments.as_slice()) {
                    // a quotient whose noised denominator is too small is withheld anyway
                    ("nullif", [Argument::Expr(inner), Argument::Expr(_)]) => self.amount(inner),
                    (name, _)
                        if is_aggregate(unwrapped(expr)) && !["count", "sum"].contains(&name) =>
                    {
                        Err(wrong_part().at(expr.span()))
                    }
                    _ => self.call_amount(&call).map_err(|refusal| refusal.at(expr.span())),
                }
            }
            _ => Err(wrong_part().at(expr.span())),
        }
    }

    fn call_amount(&self, call: &Call<'_>) -> Result<Amount, Refusal> {
        match (call.name.as_str(), call.distinct, call.arguments.as_slice()) {
            ("count", false, [Argument::Star]) => Ok(Amount::Rows),
            ("count", true, [Argument::Expr(expr)]) if self.scope.is_owner(name_parts(expr)) => {
                Ok(Amount::Members)
            }
            ("count", _, _) => {
                let owner = self.scope.owner();
                let hint = [
                    format!(
                        "use count(*) or count(distinct {owner}); count other things per member in a subquery"
                    ),
                    format!(
                        "请使用 count(*) 或 count(distinct {owner})；其他去重计数请在按会员的子查询中进行"
                    ),
                ];
                let message = ["this count has no bound", "该计数没有界"].map(str::to_owned);
                Err(Refusal::new(RefusalCode::Unsupported, message, hint))
            }
            ("sum", false, [Argument::Expr(expr)]) => Ok(Amount::Sum(self.summed(expr)?)),
            ("sum_within", false, [Argument::Expr(expr), Argument::Expr(bound)]) => {
                let expr = self.summed(expr)?;
                let grid = super::scalar::integer_literal(bound)
                    .and_then(|number| u64::try_from(number).ok())
                    .and_then(GridBound::new);
                Ok(Amount::SumWithin(expr, grid.ok_or_else(|| off_grid().at(bound.span()))?))
            }
            ("min" | "max", _, _) => {
                let hint = [
                    "one member decides a minimum or maximum; use quantile(x, 0.05) or quantile(x, 0.95)",
                    "最小、最大值由单个会员决定；请使用 quantile(x, 0.05) 或 quantile(x, 0.95)",
                ];
                Err(unsupported("min and max over members", "跨会员的 min 与 max", hint))
            }
            _ => Err(super::call::unknown_function(&call.name)),
        }
    }

    /// What can be summed.
    fn summed(&self, expr: &Sql) -> Result<Expr, Refusal> {
        let Typed { expr, kind: Kind::Number } = bind_scalar(self.scope, expr)? else {
            return Err(unbounded());
        };
        self.bounded(&expr)?;
        Ok(expr)
    }

    /// Refuses to sum what the contract has no bound for.
    fn bounded(&self, expr: &Expr) -> Result<SumBound, Refusal> {
        let tables = self.scope.binder().contract.tables();
        // whether there is a bound does not hang on the brand, nor does how a question is understood
        self.scope.relation.sum_bound(expr, BoundsAt::others(tables)).ok_or_else(unbounded)
    }

    /// The largest bound of an expression at any brand: bins are the same for all of them.
    fn widest(&self, expr: &Expr, others: u128) -> u128 {
        let contract = self.scope.binder().contract;
        let tables = contract.tables();
        let own = |brand| tables.iter().any(|table| table.has_own_bounds(brand));
        let brands = contract.participants().iter().copied().filter(|brand| own(*brand));
        let bounds = brands.filter_map(|brand| {
            let at = BoundsAt::brand(tables, brand);
            self.scope.relation.sum_bound(expr, at).map(|bound| bound.most)
        });
        bounds.fold(others, u128::max)
    }

    /// `avg(e)`. A 0-or-1 expression is a rate. Otherwise the numerator is e less a public middle,
    /// where that makes its bound smaller; a member's numerator and count are scaled *together*,
    /// so that clipping moves no member's own mean.
    fn average(&self, expr: Expr) -> Result<Measure, Refusal> {
        let (least, greatest) = self.scope.range(&expr).integers().unwrap_or((0, 0));
        if least >= 0 && greatest <= 1 {
            return Ok(Measure::Rate(expr));
        }
        let plain = self.bounded(&expr)?;
        let middle = least.saturating_add(greatest).div_euclid(2);
        let Ok(offset) = i64::try_from(middle) else { return Err(unbounded()) };
        let centred = Expr::Arithmetic {
            op: Operator::Subtract,
            left: Box::new(expr.clone()),
            right: Box::new(Expr::Literal(offset)),
        };
        let (numerator, offset) = match self.bounded(&centred) {
            Ok(bound) if offset != 0 && bound.most < plain.most => (centred, offset),
            _ => (expr, 0),
        };
        Ok(Measure::Ratio { numerator: Amount::Sum(numerator), denominator: Amount::Rows, offset })
    }

    fn quantile(&mut self, expr: &Sql, permille: u16) -> Result<OutputOf, Refusal> {
        let expr = bind_number(self.scope, expr)?;
        let bound = self.bounded(&expr)?;
        let (least, greatest) = self.scope.range(&expr).integers().unwrap_or((0, 0));
        // what a member's sums are bounded by, where that is most, is where its values lie too
        let most = i128::try_from(self.widest(&expr, bound.most)).unwrap_or(i128::MAX);
        let (least, greatest) = (least.max(most.saturating_neg()), greatest.min(most));
        let span = greatest.saturating_sub(least).saturating_add(1);
        let leaves = 1i128 << HISTOGRAM_DEPTH;
        let width = span.saturating_add(leaves.saturating_sub(1)).div_euclid(leaves).max(1);
        let (Ok(least), Ok(width)) = (i64::try_from(least), u64::try_from(width)) else {
            return Err(unbounded());
        };
        let unit = bound.unit.unwrap_or_else(|| "units".to_owned());
        let bins = Bins { expr, least, width, depth: HISTOGRAM_DEPTH, unit };
        let other = self.measures.iter().any(|measure| match measure {
            Measure::Histogram(known) => *known != bins,
            _ => false,
        });
        if other {
            let hint = ["ask for them one after the other", "请分别提问"];
            return Err(unsupported("quantiles of two expressions", "两个表达式的分位数", hint));
        }
        let measure = self.intern(Measure::Histogram(bins));
        Ok(OutputOf::Quantile { measure, permille })
    }

    /// GROUP BY must list exactly the selected keys: by expression, by output name or by ordinal.
    fn grouped_as_selected(&self, group_by: &GroupByExpr) -> Result<(), Refusal> {
        let GroupByExpr::Expressions(expressions, modifiers) = group_by else {
            let hint = ["name the group keys", "请写出分组键"];
            return Err(unsupported("GROUP BY ALL", " GROUP BY ALL", hint));
        };
        if !modifiers.is_empty() {
            let hint = ["group by plain keys", "请使用普通分组键"];
            return Err(unsupported("a modifier of GROUP BY", " GROUP BY 修饰符", hint));
        }
        let mut grouped = BTreeSet::new();
        let mut brand = false;
        for expr in expressions {
            if self.by_brand && self.is_brand(expr) {
                brand = true;
                continue;
            }
            let found = self.output_of(expr).map_err(|refusal| refusal.at(expr.span()))?;
            match found.and_then(|at| self.outputs.get(at)).map(|output| output.of) {
                Some(OutputOf::Key(key)) => grouped.insert(usize::from(key)),
                _ => {
                    return Err(Refusal::new(
                        RefusalCode::Unsupported,
                        ["GROUP BY names no selected key", "GROUP BY 未对应任何所选分组键"],
                        ["select the key too", "请同时在 SELECT 中写出该键"],
                    )
                    .at(expr.span()));
                }
            };
        }
        let keys = self.keys.len().saturating_add(usize::from(self.private.is_some()));
        if grouped.len() == keys && brand == self.by_brand {
            return Ok(());
        }
        Err(Refusal::new(
            RefusalCode::Unsupported,
            ["GROUP BY and the selected keys differ", "GROUP BY 与所选分组键不一致"],
            [
                "select every key you group by, and group by every key you select",
                "请让 SELECT 的键与 GROUP BY 的键完全一致",
            ],
        ))
    }

    /// The output that an expression means by ordinal, by name or, for a key, by what it is.
    pub(crate) fn output_of(&self, expr: &Sql) -> Result<Option<usize>, Refusal> {
        if let Some(at) = ordinal(expr) {
            return Ok((at < self.outputs.len()).then_some(at));
        }
        if let Sql::Identifier(name) = expr {
            let name = folded(name);
            let named = self.outputs.iter().position(|output| output.name == name);
            if named.is_some() {
                return Ok(named);
            }
        }
        if measures(expr) {
            return Ok(None);
        }
        if let (Some(named), Some(key)) = (self.private_key(expr), self.private) {
            let of = OutputOf::Key(0);
            let place = self.outputs.iter().position(|output| output.of == of);
            return Ok(place.filter(|_| named.column == key.column));
        }
        let key = self.key(expr)?;
        let Some(at) = self.keys.iter().position(|known| *known == key) else { return Ok(None) };
        let of = OutputOf::Key(position(at));
        Ok(self.outputs.iter().position(|output| output.of == of))
    }

    /// The output that shows this, added without being shown where there is none.
    pub(crate) fn output(&mut self, of: OutputOf) -> u16 {
        let at = self.outputs.iter().position(|output| output.of == of);
        position(at.unwrap_or_else(|| {
            self.outputs.push(Output { name: String::new(), shown: false, of });
            self.outputs.len().saturating_sub(1)
        }))
    }
}

fn private_alone() -> Refusal {
    let hint = [
        "group by the private column alone (beside brand), and put conditions on others into WHERE",
        "请只以该私有列分组（brand 除外），其他条件写入 WHERE",
    ];
    unsupported("a private column beside other group keys", "私有列与其他分组键并用", hint)
}

/// Whether an expression has an aggregate in it where values after noise may stand.
pub(crate) fn measures(expr: &Sql) -> bool {
    match unwrapped(expr) {
        Sql::BinaryOp { left, right, .. } => measures(left) || measures(right),
        Sql::UnaryOp { expr, .. } => measures(expr),
        other => is_aggregate(other),
    }
}

/// A fraction between 0 and 1 in thousandths.
fn permille(expr: &Sql) -> Result<u16, Refusal> {
    let micros = super::after::decimal_micros(expr);
    let permille = micros.filter(|micros| micros % 1_000 == 0).and_then(|micros| {
        u16::try_from(micros.checked_div(1_000)?).ok().filter(|p| (1..1_000).contains(p))
    });
    permille.ok_or_else(|| {
        Refusal::new(
            RefusalCode::OutsideDomain,
            ["this is not a quantile", "该值不是分位数"],
            [
                "give a fraction from 0.001 to 0.999 with three digits at most",
                "请给出 0.001 至 0.999 之间、至多三位小数的分数",
            ],
        )
        .at(expr.span())
    })
}

fn off_grid() -> Refusal {
    Refusal::new(
        RefusalCode::OutsideDomain,
        ["this is no bound", "该值不是上界"],
        [
            "give a bound of 1, 2 or 5 times a power of ten, as a whole number",
            "请给出 1、2 或 5 乘以 10 的幂的整数上界",
        ],
    )
}

fn wrong_part() -> Refusal {
    let hint = [
        "divide count(*), count(distinct ..) or sum(..) by one of them",
        "请以 count(*)、count(distinct ..) 或 sum(..) 相除",
    ];
    unsupported("this part of a quotient", "商中的该部分", hint)
}

fn is_one(expr: &Sql) -> bool {
    match unwrapped(expr) {
        Sql::Value(value) => match &value.value {
            Value::Number(digits, false) => digits == "1" || digits == "1.0",
            _ => false,
        },
        _ => false,
    }
}

fn unbounded() -> Refusal {
    Refusal::new(
        RefusalCode::Unbounded,
        ["the contract has no bound for sums of this", "契约未声明其求和上界"],
        [
            "sum columns with a declared bound, or have one agreed on",
            "请选择声明了上界的列，或先约定上界",
        ],
    )
}

/// The name SQL users expect: a column's own, a function's, with its column where it has one.
pub(super) fn default_name(expr: &Sql) -> String {
    match unwrapped(expr) {
        Sql::Function(function) => {
            let name = super::scope::single_name(&function.name).unwrap_or_default();
            let call = Call::of(function).ok();
            let column = call.as_ref().and_then(|call| match call.arguments.first() {
                Some(Argument::Expr(expr)) => name_parts(expr).last().map(folded),
                _ => None,
            });
            match (name.as_str(), column, call.is_some_and(|call| call.distinct)) {
                ("count", _, true) => "count_members".to_owned(),
                ("half_year", _, _) => name,
                ("date_trunc", _, _) => "bucket".to_owned(),
                (_, Some(column), _) => format!("{name}_{column}"),
                (_, None, _) => name,
            }
        }
        Sql::Extract { field, .. } => field.to_string().to_lowercase(),
        Sql::BinaryOp { op: BinaryOperator::Divide, .. } => "ratio".to_owned(),
        Sql::Case { .. } => "case".to_owned(),
        other => name_parts(other).last().map_or_else(|| "value".to_owned(), folded),
    }
}

fn output_name(name: &str, names: &mut BTreeSet<String>) -> Result<(), Refusal> {
    let legal =
        !name.is_empty() && name.len() <= NAME_MAX_BYTES && !name.chars().any(char::is_control);
    if legal && names.insert(name.to_owned()) {
        return Ok(());
    }
    Err(Refusal::new(
        RefusalCode::Unsupported,
        ["two output columns have one name, or a name is too long", "输出列重名，或名称过长"],
        ["give each its own short alias with AS", "请用 AS 为每列取不同的短别名"],
    ))
}

fn position(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}
