//! From what is written to what is believed: every check a contract must pass.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    BrandBound, CARRIERS_MIN, Column, Contract, ContractError, Domain, GROUPS_MAX, OTHER,
    PARTICIPANTS_MAX, PUBLIC_ROWS_MAX, PublicRow, PublicTable, RawColumn, RawContract,
    RawPublicTable, RawTable, RawValue, Table, TextValue, VALUE_MAX_BYTES, VALUES_MAX,
};
use crate::civil::CivilDate;
use crate::ids::ParticipantId;
use crate::units::GridBound;

const TABLES_MAX: usize = 32;
const COLUMNS_MAX: usize = 64;
const IDENTIFIER_MAX_BYTES: usize = 63;
const MEMBERS_MAX: u64 = 10_000_000_000;
/// What the column that names a row's member is usually called; a column of that name is that and no other.
const OWNER: &str = "member";
/// Names that no column has: `brand` in questions, the others in what is written for the engine of a brand.
const RESERVED: [&str; 8] =
    ["brand", "cell", "coded", "consenting", "fact", OWNER, "person", "replaced"];
/// With a number after it, each of these names a step of what is written for the engine.
const NUMBERED: &str = "acgrsx";

impl TryFrom<RawContract> for Contract {
    type Error = ContractError;

    fn try_from(raw: RawContract) -> Result<Self, ContractError> {
        let dataset = name("dataset", &raw.dataset)?;
        count("purposes", raw.purposes.len(), 1, 32)?;
        let purposes = names("purposes", &raw.purposes)?;
        count("participants", raw.participants.len(), CARRIERS_MIN, PARTICIPANTS_MAX)?;
        let mut participants: Vec<ParticipantId> = names("participants", &raw.participants)?;
        participants.sort_unstable();
        count(
            "minimum_participants",
            usize::from(raw.minimum_participants),
            CARRIERS_MIN,
            participants.len(),
        )?;
        if !(1..=MEMBERS_MAX).contains(&raw.members_at_most) {
            return Err(ContractError::Count {
                at: "members_at_most".into(),
                found: raw.members_at_most,
                least: 1,
                most: MEMBERS_MAX,
            });
        }
        count("tables", raw.tables.len(), 1, TABLES_MAX)?;
        let mut seen = BTreeSet::new();
        let mut tables = Vec::with_capacity(raw.tables.len());
        for table in raw.tables {
            let table = validated_table(table, &participants)?;
            unique("tables", &mut seen, table.name.clone())?;
            tables.push(table);
        }
        count("public_tables", raw.public_tables.len(), 0, TABLES_MAX)?;
        let mut public_tables = Vec::with_capacity(raw.public_tables.len());
        for table in raw.public_tables {
            let table = validated_public_table(table)?;
            unique("tables", &mut seen, table.name().to_owned())?;
            public_tables.push(table);
        }
        Ok(Self {
            version: 0,
            dataset,
            purposes,
            participants,
            minimum_participants: raw.minimum_participants,
            profile: raw.profile.parse()?,
            members_at_most: raw.members_at_most,
            tables,
            public_tables: (!public_tables.is_empty()).then_some(public_tables),
        })
    }
}

fn validated_public_table(raw: RawPublicTable) -> Result<PublicTable, ContractError> {
    identifier("public_tables.name", &raw.name)?;
    let at = format!("public_tables.{}", raw.name);
    identifier(&format!("{at}.key"), &raw.key)?;
    unreserved(&format!("{at}.key"), &raw.key)?;
    count(&format!("{at}.columns"), raw.columns.len(), 1, COLUMNS_MAX)?;
    let mut seen = BTreeSet::from([raw.key.clone()]);
    for column in &raw.columns {
        identifier(&at, column)?;
        unreserved(&at, column)?;
        unique(&at, &mut seen, column.clone())?;
    }
    let rows_at = format!("{at}.rows");
    count(&rows_at, raw.rows.len(), 1, PUBLIC_ROWS_MAX)?;
    let width = raw.columns.len().saturating_add(1);
    let mut keys = BTreeSet::new();
    let mut rows = Vec::with_capacity(raw.rows.len());
    for row in raw.rows {
        count(&rows_at, row.len(), width, width)?;
        for text in &row {
            printable(&rows_at, text)?;
        }
        let mut texts = row.into_iter();
        let key = texts.next().unwrap_or_default();
        unique(&rows_at, &mut keys, key.clone())?;
        rows.push(PublicRow::new(key, texts.collect()));
    }
    Ok(PublicTable::new(raw.name, raw.key, raw.columns, rows))
}

fn validated_table(raw: RawTable, all: &[ParticipantId]) -> Result<Table, ContractError> {
    identifier("tables.name", &raw.name)?;
    let at = format!("tables.{}", raw.name);
    let owner_at = format!("{at}.owner");
    identifier(&owner_at, &raw.owner)?;
    if raw.owner != OWNER {
        unreserved(&owner_at, &raw.owner)?;
    }
    let rows_bound = bound(&format!("{at}.rows_bound"), raw.rows_bound)?;
    let own_at = format!("{at}.rows_bound_by_brand");
    let own_rows_bounds = own_bounds(&own_at, &raw.rows_bound_by_brand, rows_bound, all)?;
    count(&format!("{at}.columns"), raw.columns.len(), 1, COLUMNS_MAX)?;
    let mut seen = BTreeSet::from([raw.owner.clone()]);
    let mut columns = Vec::with_capacity(raw.columns.len());
    for column in raw.columns {
        let column = validated_column(&at, column, all)?;
        unreserved(&at, &column.name)?;
        if let Domain::Private { column: source, .. } = &column.domain {
            unreserved(&format!("{at}.{}.column", column.name), source)?;
        }
        unique(&at, &mut seen, column.name.clone())?;
        columns.push(column);
    }
    let table = Table { name: raw.name, owner: raw.owner, rows_bound, columns, own_rows_bounds };
    reachable(&at, &table, all)?;
    Ok(table)
}

/// Bounds of brands' own, in the order of the brands. One that is no other than that of all says nothing, and would
/// make another contract of the same rules.
fn own_bounds(
    at: &str,
    raw: &BTreeMap<String, u64>,
    of_all: GridBound,
    all: &[ParticipantId],
) -> Result<Option<Vec<BrandBound>>, ContractError> {
    let mut own = Vec::with_capacity(raw.len());
    for (text, value) in raw {
        let at = format!("{at}.{text}");
        let brand: ParticipantId = name(&at, text)?;
        if !all.contains(&brand) {
            return Err(ContractError::UnknownCarrier { at, name: text.clone() });
        }
        let bound = bound(&at, *value)?;
        if bound == of_all {
            let reason = "this is the bound of all brands: leave it out, or write another";
            return Err(ContractError::Range { at, reason });
        }
        own.push(BrandBound { brand, bound });
    }
    own.sort_unstable_by_key(BrandBound::brand);
    Ok((!own.is_empty()).then_some(own))
}

/// A bound of a column that no member's rows can add up to is a slip: nothing would be clipped to it, and noise would
/// be added for what cannot be. That of all brands is held against the brand with the most rows.
fn reachable(at: &str, table: &Table, all: &[ParticipantId]) -> Result<(), ContractError> {
    let rows_at = |brand: &ParticipantId| table.rows_bound_at(*brand).get();
    let most_rows = all.iter().map(rows_at).max().unwrap_or_else(|| table.rows_bound.get());
    for column in &table.columns {
        let Domain::Integer { minimum, maximum, .. } = &column.domain else { continue };
        let largest = minimum.unsigned_abs().max(maximum.unsigned_abs());
        let of_all = column.bound().map(|bound| (bound, most_rows, String::new()));
        let own = column
            .own_bounds()
            .iter()
            .map(|own| (own.bound, rows_at(&own.brand), format!("_by_brand.{}", own.brand)));
        for (bound, rows, whose) in of_all.into_iter().chain(own) {
            let (found, most) = (bound.get(), largest.saturating_mul(rows));
            if found > most {
                let at = format!("{at}.{}.bound{whose}", column.name);
                return Err(ContractError::Unreachable { at, found, most });
            }
        }
    }
    Ok(())
}

fn validated_column(
    table: &str,
    raw: RawColumn,
    all: &[ParticipantId],
) -> Result<Column, ContractError> {
    match raw {
        RawColumn::Text { name, values, other_carriers } => {
            identifier(table, &name)?;
            let at = format!("{table}.{name}");
            let domain = text_domain(&at, values, other_carriers, all)?;
            Ok(Column { name, domain })
        }
        RawColumn::Private { name, column, member_groups, groups_at_most } => {
            identifier(table, &name)?;
            let at = format!("{table}.{name}");
            let column = column.unwrap_or_else(|| name.clone());
            identifier(&format!("{at}.column"), &column)?;
            let most = usize::from(groups_at_most);
            count(&format!("{at}.groups_at_most"), most, 1, GROUPS_MAX)?;
            count(&format!("{at}.member_groups"), usize::from(member_groups), 1, most)?;
            let domain = Domain::Private { column, member_groups, groups_at_most };
            Ok(Column { name, domain })
        }
        RawColumn::Date { name, first, last } => {
            identifier(table, &name)?;
            let at = format!("{table}.{name}");
            let reason = "first and last are days written YYYY-MM-DD, first not after last";
            match (first.parse::<CivilDate>(), last.parse::<CivilDate>()) {
                (Ok(first), Ok(last)) if first <= last => {
                    Ok(Column { name, domain: Domain::Date { first, last } })
                }
                _ => Err(ContractError::Range { at, reason }),
            }
        }
        RawColumn::Integer {
            name,
            unit,
            minimum,
            maximum,
            bound: raw_bound,
            carriers: tell,
            bound_by_brand,
        } => {
            identifier(table, &name)?;
            let at = format!("{table}.{name}");
            identifier(&format!("{at}.unit"), &unit)?;
            let narrow = |end: i64| end.unsigned_abs() <= GridBound::MAX;
            // 0 stands for an absent value, so it has to be a value.
            if !(minimum <= 0 && maximum >= 0 && narrow(minimum) && narrow(maximum)) {
                let reason = "minimum and maximum must enclose 0 and stay within 1e15 of it";
                return Err(ContractError::Range { at, reason });
            }
            let bound = raw_bound.map(|c| bound(&format!("{at}.bound"), c)).transpose()?;
            let carriers = match tell {
                None => None,
                Some(tell) => {
                    count(&format!("{at}.carriers"), tell.len(), 1, all.len())?;
                    Some(carriers(&at, Some(tell), all)?)
                }
            };
            let own_at = format!("{at}.bound_by_brand");
            let own_bounds = match bound {
                Some(bound) => own_bounds(&own_at, &bound_by_brand, bound, all)?,
                None if bound_by_brand.is_empty() => None,
                None => {
                    let reason = "a brand's own bound needs `bound` for all others beside it";
                    return Err(ContractError::Range { at: own_at, reason });
                }
            };
            let domain = Domain::Integer { unit, minimum, maximum, bound, carriers, own_bounds };
            Ok(Column { name, domain })
        }
    }
}

fn text_domain(
    at: &str,
    raw: Vec<RawValue>,
    other: Option<Vec<String>>,
    all: &[ParticipantId],
) -> Result<Domain, ContractError> {
    count(&format!("{at}.values"), raw.len(), 1, VALUES_MAX)?;
    let mut seen = BTreeSet::from([OTHER.to_owned()]);
    let mut values = Vec::with_capacity(raw.len());
    for value in raw {
        printable(&format!("{at}.values"), &value.value)?;
        unique(at, &mut seen, value.value.clone())?;
        let carriers = carriers(at, value.carriers, all)?;
        values.push(TextValue { text: value.value, carriers });
    }
    Ok(Domain::Text { values, other_carriers: carriers(at, other, all)? })
}

/// Texts that are shown and written into SQL: short, without control characters.
fn printable(at: &str, text: &str) -> Result<(), ContractError> {
    count(&format!("{at}: bytes of a value"), text.len(), 1, VALUE_MAX_BYTES)?;
    if text.chars().any(char::is_control) {
        let reason = "a value holds no control characters".to_owned();
        return Err(ContractError::Name { at: at.to_owned(), reason });
    }
    Ok(())
}

fn carriers(
    at: &str,
    raw: Option<Vec<String>>,
    all: &[ParticipantId],
) -> Result<BTreeSet<ParticipantId>, ContractError> {
    let Some(raw) = raw else {
        return Ok(all.iter().copied().collect());
    };
    let named: Vec<ParticipantId> = names(at, &raw)?;
    match named.iter().find(|name| !all.contains(name)) {
        Some(unknown) => {
            Err(ContractError::UnknownCarrier { at: at.to_owned(), name: unknown.to_string() })
        }
        None => Ok(named.into_iter().collect()),
    }
}

fn name<T>(at: &str, text: &str) -> Result<T, ContractError>
where
    T: core::str::FromStr<Err = crate::ids::IdError>,
{
    text.parse().map_err(|error: crate::ids::IdError| ContractError::Name {
        at: at.to_owned(),
        reason: error.to_string(),
    })
}

fn names<T>(at: &str, texts: &[String]) -> Result<Vec<T>, ContractError>
where
    T: core::str::FromStr<Err = crate::ids::IdError> + Ord + Copy,
{
    let mut seen = BTreeSet::new();
    let mut all = Vec::with_capacity(texts.len());
    for text in texts {
        let parsed: T = name(at, text)?;
        if !seen.insert(parsed) {
            return Err(ContractError::Duplicate { at: at.to_owned(), name: text.clone() });
        }
        all.push(parsed);
    }
    Ok(all)
}

/// SQL identifiers of the schema: lower case, so that quoting changes nothing in any engine.
fn identifier(at: &str, text: &str) -> Result<(), ContractError> {
    let first = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    let rest = text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    if first && rest && text.len() <= IDENTIFIER_MAX_BYTES {
        return Ok(());
    }
    let reason = format!(
        "{text:?} is no name here: a-z first, then a-z, 0-9 or '_', at most {IDENTIFIER_MAX_BYTES}"
    );
    Err(ContractError::Name { at: at.to_owned(), reason })
}

/// Columns whose names mean something else already: by `brand` a question asks every brand for itself, and the others
/// are in the queries that are written for the engine, where a column of the same name would be read in their place.
fn unreserved(at: &str, column: &str) -> Result<(), ContractError> {
    let mut rest = column.chars();
    let lettered = rest.next().is_some_and(|first| NUMBERED.contains(first));
    let numbered = lettered && column.len() > 1 && rest.all(|rest| rest.is_ascii_digit());
    if !numbered && !RESERVED.contains(&column) {
        return Ok(());
    }
    let reason = format!(
        "{column:?} has a meaning of its own in questions: call the column otherwise; reserved are {}, and one of the \
         letters {NUMBERED} with a number",
        RESERVED.join(", ")
    );
    Err(ContractError::Name { at: at.to_owned(), reason })
}

fn bound(at: &str, value: u64) -> Result<GridBound, ContractError> {
    GridBound::new(value).ok_or_else(|| ContractError::Bound { at: at.to_owned(), found: value })
}

fn unique(at: &str, seen: &mut BTreeSet<String>, name: String) -> Result<(), ContractError> {
    match seen.replace(name) {
        Some(name) => Err(ContractError::Duplicate { at: at.to_owned(), name }),
        None => Ok(()),
    }
}

fn count(at: &str, found: usize, least: usize, most: usize) -> Result<(), ContractError> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    let wide = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
    Err(ContractError::Count {
        at: at.to_owned(),
        found: wide(found),
        least: wide(least),
        most: wide(most),
    })
}
