//! The functions of `pg_catalog` that clients call, row by row over texts; and which of the engine's own
//! may be called at all.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Array as _, ArrayRef, AsArray as _, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::super::statement::DATABASE;
use super::tables::{DEFINITION, Tables, type_name};

type Row<'a> = [Option<&'a str>];
type Body = Arc<dyn Fn(&Row<'_>) -> Option<String> + Send + Sync>;

/// The engine's functions that a client may call: none whose result can be much longer than what it is given.
pub const ALLOWED: &[&str] = &[
    "count",
    "min",
    "max",
    "sum",
    "avg",
    "bool_and",
    "bool_or",
    "coalesce",
    "nullif",
    "lower",
    "upper",
    "length",
    "char_length",
    "character_length",
    "substr",
    "substring",
    "left",
    "right",
    "trim",
    "btrim",
    "ltrim",
    "rtrim",
    "strpos",
    "position",
    "starts_with",
    "split_part",
    "abs",
    "row_number",
    "greatest",
    "least",
];

/// A function over texts.
struct Function {
    name: &'static str,
    signature: Signature,
    gives: DataType,
    body: Body,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}
impl Eq for Function {}
impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.gives.clone())
    }
    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let texts = arguments.args.iter().map(|argument| -> Result<ArrayRef> {
            Ok(cast(&argument.to_array(rows)?, &DataType::Utf8)?)
        });
        let texts = texts.collect::<Result<Vec<ArrayRef>>>()?;
        let columns: Vec<&StringArray> = texts.iter().map(|array| array.as_string()).collect();
        let given = (0..rows).map(|row| {
            let values: Vec<Option<&str>> = columns
                .iter()
                .map(|column| {
                    (row < column.len() && column.is_valid(row)).then(|| column.value(row))
                })
                .collect();
            (self.body)(&values)
        });
        let given: ArrayRef = Arc::new(StringArray::from_iter(given));
        Ok(ColumnarValue::Array(cast(&given, &self.gives)?))
    }
}

/// All of them.
#[must_use]
pub fn all(tables: &Arc<Tables>) -> Vec<ScalarUDF> {
    let mut all = Vec::new();
    let mut add = |name: &'static str, gives: DataType, body: Body| {
        let signature = Signature::one_of(
            vec![
                datafusion::logical_expr::TypeSignature::Nullary,
                datafusion::logical_expr::TypeSignature::VariadicAny,
            ],
            Volatility::Stable,
        );
        all.push(ScalarUDF::new_from_impl(Function { name, signature, gives, body }));
    };
    let fixed = |text: &'static str| -> Body { Arc::new(move |_| Some(text.to_owned())) };
    let nothing = || -> Body { Arc::new(|_| None) };
    let first = || -> Body { Arc::new(|row| row.first().copied().flatten().map(str::to_owned)) };

    for name in [
        "pg_get_expr",
        "pg_get_constraintdef",
        "pg_get_indexdef",
        "pg_get_ruledef",
        "pg_get_triggerdef",
        "pg_get_functiondef",
        "pg_get_function_result",
        "pg_get_function_arguments",
        "pg_get_function_identity_arguments",
        "pg_get_serial_sequence",
        "pg_get_statisticsobjdef_columns",
        "pg_get_partkeydef",
        "pg_tablespace_location",
        "shobj_description",
        "pg_typeof",
    ] {
        add(name, DataType::Utf8, nothing());
    }
    for name in ["to_regtype", "to_regproc", "to_regnamespace"] {
        add(name, DataType::Int64, nothing());
    }
    for name in [
        "pg_table_is_visible",
        "pg_type_is_visible",
        "pg_function_is_visible",
        "pg_operator_is_visible",
        "pg_collation_is_visible",
        "pg_opclass_is_visible",
        "has_table_privilege",
        "has_any_column_privilege",
        "has_column_privilege",
        "has_schema_privilege",
        "has_database_privilege",
        "has_function_privilege",
    ] {
        add(name, DataType::Boolean, fixed("true"));
    }
    for name in ["pg_relation_is_publishable", "pg_is_other_temp_schema", "pg_has_role"] {
        add(name, DataType::Boolean, fixed("false"));
    }
    for name in [
        "pg_relation_size",
        "pg_table_size",
        "pg_total_relation_size",
        "pg_database_size",
        "pg_my_temp_schema",
    ] {
        add(name, DataType::Int64, fixed("0"));
    }
    add("pg_size_pretty", DataType::Utf8, fixed("0 bytes"));
    add("pg_encoding_to_char", DataType::Utf8, fixed("UTF8"));
    add("pg_get_userbyid", DataType::Utf8, fixed(DATABASE));
    add("pg_get_viewdef", DataType::Utf8, fixed(DEFINITION));
    add("array_to_string", DataType::Utf8, first());
    add(
        "quote_ident",
        DataType::Utf8,
        Arc::new(|row| {
            let name = row.first().copied().flatten()?;
            let plain =
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            Some(if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) })
        }),
    );
    add(
        "format_type",
        DataType::Utf8,
        Arc::new(|row| {
            let oid = row.first().copied().flatten()?;
            Some(oid.parse().ok().and_then(type_name).unwrap_or_else(|| "???".to_owned()))
        }),
    );
    let known = Arc::clone(tables);
    add(
        "to_regclass",
        DataType::Int64,
        Arc::new(move |row| {
            let name = row.first().copied().flatten()?;
            let name = name.rsplit('.').next().unwrap_or(name).trim_matches('"');
            known.classes.get(name).map(ToString::to_string)
        }),
    );
    let known = Arc::clone(tables);
    add(
        REGCLASS,
        DataType::Utf8,
        Arc::new(move |row| {
            let oid = row.first().copied().flatten()?;
            let number: Option<i64> = oid.parse().ok();
            let named = known.classes.iter().find(|(_, known)| Some(**known) == number);
            Some(named.map_or_else(|| oid.to_owned(), |(name, _)| name.clone()))
        }),
    );
    for name in ["obj_description", "col_description"] {
        let known = Arc::clone(tables);
        add(
            name,
            DataType::Utf8,
            Arc::new(move |row| {
                let number = |place: usize| row.get(place).copied().flatten()?.parse::<i64>().ok();
                let column = if name == "col_description" { number(1)? } else { 0 };
                known.descriptions.get(&(number(0)?, column)).cloned()
            }),
        );
    }
    all
}

/// The name of a relation by its oid: what a cast to `regclass` shows.
pub const REGCLASS: &str = "pg_regclass_name";

/// Whether a client may call this one.
#[must_use]
pub fn is_allowed(name: &str, functions: &[ScalarUDF]) -> bool {
    ALLOWED.contains(&name) || functions.iter().any(|function| function.name() == name)
}

/// What the engine says when it cannot.
#[must_use]
pub fn is_unknown_function(error: &DataFusionError) -> bool {
    error.to_string().contains("Invalid function")
}
