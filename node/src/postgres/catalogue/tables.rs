//! What `pg_catalog` and `information_schema` hold here: the contract's tables and their columns, and as
//! much of everything else as clients look for.
//!
//! Nothing in it is of a member: it is what `GET /api/v1/datasets` says.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;

use super::super::statement::{DATABASE, SCHEMA};
use crate::service::{ColumnView, DatasetView, TableView};

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    Whole(i64),
    Text(String),
    Is(bool),
}

impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Self::Whole(number)
    }
}
impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}
impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}
impl From<bool> for Cell {
    fn from(is: bool) -> Self {
        Self::Is(is)
    }
}

/// Tables and their columns: name, and `i` for a whole number, `b` for yes or no, `t` for a text. What a row
/// does not say is null.
const TABLES: &[(&str, &str, &str)] = &[
    ("pg_catalog", "pg_am", "oid:i amname:t amhandler:t amtype:t"),
    ("pg_catalog", "pg_attrdef", "oid:i adrelid:i adnum:i adbin:t"),
    (
        "pg_catalog",
        "pg_attribute",
        "attrelid:i attname:t atttypid:i attstattarget:i attlen:i attnum:i attndims:i attcacheoff:i atttypmod:i \
         attbyval:b attalign:t attstorage:t attcompression:t attnotnull:b atthasdef:b atthasmissing:b \
         attidentity:t attgenerated:t attisdropped:b attislocal:b attinhcount:i attcollation:i attacl:t \
         attoptions:t attfdwoptions:t attmissingval:t",
    ),
    ("pg_catalog", "pg_auth_members", "roleid:i member:i grantor:i admin_option:b"),
    (
        "pg_catalog",
        "pg_class",
        "oid:i relname:t relnamespace:i reltype:i reloftype:i relowner:i relam:i relfilenode:i reltablespace:i \
         relpages:i reltuples:i relallvisible:i reltoastrelid:i relhasindex:b relisshared:b relpersistence:t \
         relkind:t relnatts:i relchecks:i relhasrules:b relhastriggers:b relhassubclass:b relrowsecurity:b \
         relforcerowsecurity:b relispopulated:b relreplident:t relispartition:b relrewrite:i relfrozenxid:i \
         relminmxid:i relacl:t reloptions:t relpartbound:t",
    ),
    ("pg_catalog", "pg_collation", "oid:i collname:t collnamespace:i collowner:i collprovider:t"),
    (
        "pg_catalog",
        "pg_constraint",
        "oid:i conname:t connamespace:i contype:t condeferrable:b condeferred:b convalidated:b conrelid:i \
         contypid:i conindid:i conparentid:i confrelid:i confupdtype:t confdeltype:t confmatchtype:t \
         conislocal:b coninhcount:i connoinherit:b conkey:t confkey:t conbin:t",
    ),
    (
        "pg_catalog",
        "pg_database",
        "oid:i datname:t datdba:i encoding:i datlocprovider:t datistemplate:b datallowconn:b datconnlimit:i \
         datfrozenxid:i dattablespace:i datcollate:t datctype:t daticulocale:t datcollversion:t datacl:t",
    ),
    (
        "pg_catalog",
        "pg_depend",
        "classid:i objid:i objsubid:i refclassid:i refobjid:i refobjsubid:i deptype:t",
    ),
    ("pg_catalog", "pg_description", "objoid:i classoid:i objsubid:i description:t"),
    ("pg_catalog", "pg_enum", "oid:i enumtypid:i enumsortorder:i enumlabel:t"),
    (
        "pg_catalog",
        "pg_event_trigger",
        "oid:i evtname:t evtevent:t evtowner:i evtfoid:i evtenabled:t",
    ),
    ("pg_catalog", "pg_extension", "oid:i extname:t extowner:i extnamespace:i extversion:t"),
    ("pg_catalog", "pg_foreign_data_wrapper", "oid:i fdwname:t fdwowner:i"),
    ("pg_catalog", "pg_foreign_server", "oid:i srvname:t srvowner:i srvfdw:i"),
    ("pg_catalog", "pg_foreign_table", "ftrelid:i ftserver:i ftoptions:t"),
    (
        "pg_catalog",
        "pg_index",
        "indexrelid:i indrelid:i indnatts:i indnkeyatts:i indisunique:b indnullsnotdistinct:b indisprimary:b \
         indisexclusion:b indimmediate:b indisclustered:b indisvalid:b indisready:b indislive:b \
         indisreplident:b indkey:t indcollation:t indclass:t indoption:t indexprs:t indpred:t",
    ),
    ("pg_catalog", "pg_indexes", "schemaname:t tablename:t indexname:t tablespace:t indexdef:t"),
    ("pg_catalog", "pg_inherits", "inhrelid:i inhparent:i inhseqno:i inhdetachpending:b"),
    ("pg_catalog", "pg_language", "oid:i lanname:t lanowner:i"),
    (
        "pg_catalog",
        "pg_matviews",
        "schemaname:t matviewname:t matviewowner:t ispopulated:b definition:t",
    ),
    ("pg_catalog", "pg_namespace", "oid:i nspname:t nspowner:i nspacl:t"),
    (
        "pg_catalog",
        "pg_opclass",
        "oid:i opcmethod:i opcname:t opcnamespace:i opcowner:i opcdefault:b",
    ),
    ("pg_catalog", "pg_operator", "oid:i oprname:t oprnamespace:i oprowner:i"),
    (
        "pg_catalog",
        "pg_policy",
        "oid:i polname:t polrelid:i polcmd:t polpermissive:b polroles:t polqual:t polwithcheck:t",
    ),
    (
        "pg_catalog",
        "pg_proc",
        "oid:i proname:t pronamespace:i proowner:i prolang:i prokind:t proretset:b prorettype:i pronargs:i \
         proargtypes:t proargnames:t provolatile:t prosrc:t prosecdef:b proacl:t proallargtypes:t \
         proargmodes:t provariadic:i proisstrict:b",
    ),
    ("pg_catalog", "pg_publication", "oid:i pubname:t pubowner:i puballtables:b"),
    ("pg_catalog", "pg_publication_namespace", "oid:i pnpubid:i pnnspid:i"),
    ("pg_catalog", "pg_publication_rel", "oid:i prpubid:i prrelid:i prqual:t prattrs:t"),
    ("pg_catalog", "pg_range", "rngtypid:i rngsubtype:i rngmultitypid:i"),
    ("pg_catalog", "pg_rewrite", "oid:i rulename:t ev_class:i ev_type:t ev_enabled:t is_instead:b"),
    (
        "pg_catalog",
        "pg_roles",
        "oid:i rolname:t rolsuper:b rolinherit:b rolcreaterole:b rolcreatedb:b rolcanlogin:b rolreplication:b \
         rolconnlimit:i rolpassword:t rolvaliduntil:t rolbypassrls:b rolconfig:t",
    ),
    (
        "pg_catalog",
        "pg_sequence",
        "seqrelid:i seqtypid:i seqstart:i seqincrement:i seqmax:i seqmin:i seqcache:i seqcycle:b",
    ),
    (
        "pg_catalog",
        "pg_settings",
        "name:t setting:t unit:t category:t short_desc:t context:t vartype:t source:t",
    ),
    ("pg_catalog", "pg_shdescription", "objoid:i classoid:i description:t"),
    (
        "pg_catalog",
        "pg_statistic_ext",
        "oid:i stxrelid:i stxname:t stxnamespace:i stxowner:i stxkind:t stxstattarget:i",
    ),
    (
        "pg_catalog",
        "pg_tables",
        "schemaname:t tablename:t tableowner:t tablespace:t hasindexes:b hasrules:b hastriggers:b rowsecurity:b",
    ),
    ("pg_catalog", "pg_tablespace", "oid:i spcname:t spcowner:i spcacl:t spcoptions:t"),
    (
        "pg_catalog",
        "pg_trigger",
        "oid:i tgrelid:i tgparentid:i tgname:t tgfoid:i tgtype:i tgenabled:t tgisinternal:b tgconstraint:i",
    ),
    (
        "pg_catalog",
        "pg_type",
        "oid:i typname:t typnamespace:i typowner:i typlen:i typbyval:b typtype:t typcategory:t typispreferred:b \
         typisdefined:b typdelim:t typrelid:i typsubscript:t typelem:i typarray:i typinput:t typoutput:t \
         typreceive:t typsend:t typnotnull:b typbasetype:i typtypmod:i typndims:i typcollation:i typdefault:t \
         typacl:t",
    ),
    (
        "pg_catalog",
        "pg_user",
        "usename:t usesysid:i usecreatedb:b usesuper:b userepl:b usebypassrls:b",
    ),
    ("pg_catalog", "pg_views", "schemaname:t viewname:t viewowner:t definition:t"),
    (
        "information_schema",
        "columns",
        "table_catalog:t table_schema:t table_name:t column_name:t ordinal_position:i column_default:t \
         is_nullable:t data_type:t character_maximum_length:i character_octet_length:i numeric_precision:i \
         numeric_precision_radix:i numeric_scale:i datetime_precision:i interval_type:t collation_name:t \
         domain_name:t udt_catalog:t udt_schema:t udt_name:t is_identity:t is_generated:t is_updatable:t",
    ),
    (
        "information_schema",
        "key_column_usage",
        "constraint_catalog:t constraint_schema:t constraint_name:t table_catalog:t table_schema:t table_name:t \
         column_name:t ordinal_position:i position_in_unique_constraint:i",
    ),
    (
        "information_schema",
        "referential_constraints",
        "constraint_catalog:t constraint_schema:t constraint_name:t unique_constraint_catalog:t \
         unique_constraint_schema:t unique_constraint_name:t match_option:t update_rule:t delete_rule:t",
    ),
    (
        "information_schema",
        "routines",
        "specific_schema:t specific_name:t routine_schema:t routine_name:t routine_type:t",
    ),
    (
        "information_schema",
        "schemata",
        "catalog_name:t schema_name:t schema_owner:t default_character_set_name:t",
    ),
    (
        "information_schema",
        "table_constraints",
        "constraint_catalog:t constraint_schema:t constraint_name:t table_catalog:t table_schema:t table_name:t \
         constraint_type:t is_deferrable:t initially_deferred:t",
    ),
    (
        "information_schema",
        "tables",
        "table_catalog:t table_schema:t table_name:t table_type:t is_insertable_into:t is_typed:t",
    ),
    (
        "information_schema",
        "views",
        "table_catalog:t table_schema:t table_name:t view_definition:t check_option:t is_updatable:t",
    ),
];

/// Types: oid, name, bytes (-1 for as many as there are), category, array's oid, as SQL writes it.
const TYPES: &[(i64, &str, i64, &str, i64, &str)] = &[
    (16, "bool", 1, "B", 1000, "boolean"),
    (18, "char", 1, "Z", 1002, "\"char\""),
    (19, "name", 64, "S", 1003, "name"),
    (20, "int8", 8, "N", 1016, "bigint"),
    (21, "int2", 2, "N", 1005, "smallint"),
    (23, "int4", 4, "N", 1007, "integer"),
    (25, "text", -1, "S", 1009, "text"),
    (26, "oid", 4, "N", 1028, "oid"),
    (114, "json", -1, "U", 199, "json"),
    (700, "float4", 4, "N", 1021, "real"),
    (701, "float8", 8, "N", 1022, "double precision"),
    (705, "unknown", -2, "X", 0, "unknown"),
    (1043, "varchar", -1, "S", 1015, "character varying"),
    (1082, "date", 4, "D", 1182, "date"),
    (1083, "time", 8, "D", 1183, "time without time zone"),
    (1114, "timestamp", 8, "D", 1115, "timestamp without time zone"),
    (1184, "timestamptz", 8, "D", 1185, "timestamp with time zone"),
    (1700, "numeric", -1, "N", 1231, "numeric"),
    (2950, "uuid", 16, "U", 2951, "uuid"),
];

/// The catalogue's own tables that clients name by a cast to `regclass`.
const CLASSES: &[(&str, i64)] = &[
    ("pg_type", 1247),
    ("pg_attribute", 1249),
    ("pg_proc", 1255),
    ("pg_class", 1259),
    ("pg_database", 1262),
    ("pg_constraint", 2606),
    ("pg_description", 2609),
    ("pg_namespace", 2615),
    ("pg_extension", 3079),
];

/// The one who owns everything: the database itself.
pub const OWNER: i64 = 10;
/// Where the contract's tables begin.
const FIRST: i64 = 16_384;
const OF_CATALOGUE: i64 = 11;
const OF_INFORMATION: i64 = 13_000;
const OF_PUBLIC: i64 = 2_200;
/// What `pg_get_viewdef` says.
pub const DEFINITION: &str =
    " SELECT what the brands agreed on: rows are never shown, only noised sums over them;";

/// As SQL writes a type.
#[must_use]
pub fn type_name(oid: i64) -> Option<String> {
    let known = TYPES.iter().find(|of| of.0 == oid).map(|of| of.5.to_owned());
    known.or_else(|| TYPES.iter().find(|of| of.4 == oid).map(|of| format!("{}[]", of.5)))
}

/// A table of the catalogue, filled.
#[derive(Debug)]
pub struct Filled {
    pub schema: &'static str,
    pub name: &'static str,
    pub columns: SchemaRef,
    rows: Vec<BTreeMap<&'static str, Cell>>,
}

impl Filled {
    /// As the engine reads it.
    ///
    /// # Errors
    /// When a row has a value of another type than its column's.
    pub fn batch(&self) -> Result<RecordBatch, ArrowError> {
        let columns = self.columns.fields().iter().map(|field| {
            let cells = self.rows.iter().map(|row| row.get(field.name().as_str()));
            let array: ArrayRef = match field.data_type() {
                DataType::Int64 => Arc::new(Int64Array::from_iter(cells.map(|cell| match cell {
                    Some(Cell::Whole(number)) => Some(*number),
                    _ => None,
                }))),
                DataType::Boolean => {
                    Arc::new(BooleanArray::from_iter(cells.map(|cell| match cell {
                        Some(Cell::Is(is)) => Some(*is),
                        _ => None,
                    })))
                }
                _ => Arc::new(StringArray::from_iter(cells.map(|cell| match cell {
                    Some(Cell::Text(text)) => Some(text.as_str()),
                    _ => None,
                }))),
            };
            array
        });
        RecordBatch::try_new(Arc::clone(&self.columns), columns.collect())
    }
}

/// The whole catalogue of one moment.
#[derive(Debug)]
pub struct Tables {
    pub tables: Vec<Filled>,
    /// Oid by name.
    pub classes: BTreeMap<String, i64>,
    /// Descriptions by oid and column; 0 for the table's own.
    pub descriptions: BTreeMap<(i64, i64), String>,
}

impl Tables {
    /// Of the contract's datasets, for a user, with these settings.
    #[must_use]
    pub fn new(datasets: &[DatasetView], user: &str, settings: &[(&'static str, String)]) -> Self {
        let mut rows: BTreeMap<&'static str, Vec<BTreeMap<&'static str, Cell>>> = BTreeMap::new();
        let mut classes: BTreeMap<String, i64> =
            CLASSES.iter().map(|(name, oid)| ((*name).to_owned(), *oid)).collect();
        let mut descriptions = BTreeMap::new();
        let mut add = |table: &'static str, row: Vec<(&'static str, Cell)>| {
            rows.entry(table).or_default().push(row.into_iter().collect());
        };
        for (oid, name) in [
            (OF_CATALOGUE, "pg_catalog"),
            (OF_PUBLIC, SCHEMA),
            (OF_INFORMATION, "information_schema"),
        ] {
            add(
                "pg_namespace",
                vec![("oid", oid.into()), ("nspname", name.into()), ("nspowner", OWNER.into())],
            );
            add(
                "schemata",
                vec![
                    ("catalog_name", DATABASE.into()),
                    ("schema_name", name.into()),
                    ("schema_owner", DATABASE.into()),
                ],
            );
        }
        for (oid, name, bytes, category, array, _) in TYPES {
            add("pg_type", type_row(*oid, name, *bytes, category, *array, 0));
            if *array != 0 {
                add("pg_type", type_row(*array, &format!("_{name}"), -1, "A", 0, *oid));
            }
        }
        add("pg_am", vec![("oid", 2.into()), ("amname", "heap".into()), ("amtype", "t".into())]);
        add(
            "pg_tablespace",
            vec![
                ("oid", 1663.into()),
                ("spcname", "pg_default".into()),
                ("spcowner", OWNER.into()),
            ],
        );
        add("pg_database", database());
        for (oid, name) in [(OWNER, DATABASE), (16_000, user)] {
            add("pg_roles", role(oid, name));
        }
        add(
            "pg_user",
            vec![("usename", user.into()), ("usesysid", 16_000.into()), ("usesuper", false.into())],
        );
        for (name, value) in settings {
            add(
                "pg_settings",
                vec![
                    ("name", (*name).into()),
                    ("setting", value.as_str().into()),
                    ("vartype", "string".into()),
                ],
            );
        }
        let tables =
            datasets.iter().flat_map(|dataset| dataset.tables.iter().map(move |of| (dataset, of)));
        for ((dataset, table), oid) in tables.zip(FIRST..) {
            classes.insert(table.name.clone(), oid);
            add("pg_class", class_row(oid, table));
            add(
                "pg_views",
                vec![
                    ("schemaname", SCHEMA.into()),
                    ("viewname", table.name.as_str().into()),
                    ("viewowner", DATABASE.into()),
                    ("definition", DEFINITION.into()),
                ],
            );
            for (name, kind) in [("table_type", "VIEW"), ("view_definition", DEFINITION)] {
                let of = if name == "table_type" { "tables" } else { "views" };
                add(
                    of,
                    vec![
                        ("table_catalog", DATABASE.into()),
                        ("table_schema", SCHEMA.into()),
                        ("table_name", table.name.as_str().into()),
                        (name, kind.into()),
                        ("is_insertable_into", "NO".into()),
                        ("is_updatable", "NO".into()),
                        ("is_typed", "NO".into()),
                    ],
                );
            }
            let words = table_words(dataset, table);
            add("pg_description", description(oid, 0, &words));
            descriptions.insert((oid, 0), words);
            for (column, place) in table.columns.iter().zip(1..) {
                add("pg_attribute", attribute(oid, place, column));
                add("columns", column_row(&table.name, place, column));
                let words = column_words(column);
                add("pg_description", description(oid, place, &words));
                descriptions.insert((oid, place), words);
            }
        }
        let tables = TABLES.iter().map(|(schema, name, columns)| Filled {
            schema,
            name,
            columns: schema_of(columns),
            rows: rows.remove(name).unwrap_or_default(),
        });
        Self { tables: tables.collect(), classes, descriptions }
    }

    /// Whether a table is there and has no rows.
    #[must_use]
    pub fn is_empty(&self, schema: Option<&str>, name: &str) -> bool {
        let mut found = self
            .tables
            .iter()
            .filter(|table| table.name == name && schema.unwrap_or("pg_catalog") == table.schema);
        found.next().is_some_and(|table| table.rows.is_empty())
    }
}

fn schema_of(columns: &'static str) -> SchemaRef {
    let fields = columns.split_whitespace().filter_map(|column| {
        let (name, kind) = column.split_once(':')?;
        let kind = match kind {
            "i" => DataType::Int64,
            "b" => DataType::Boolean,
            _ => DataType::Utf8,
        };
        Some(Field::new(name, kind, true))
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn type_row(
    oid: i64,
    name: &str,
    bytes: i64,
    category: &str,
    array: i64,
    element: i64,
) -> Vec<(&'static str, Cell)> {
    vec![
        ("oid", oid.into()),
        ("typname", name.into()),
        ("typnamespace", OF_CATALOGUE.into()),
        ("typowner", OWNER.into()),
        ("typlen", bytes.into()),
        ("typbyval", (1..=8).contains(&bytes).into()),
        ("typtype", "b".into()),
        ("typcategory", category.into()),
        ("typispreferred", false.into()),
        ("typisdefined", true.into()),
        ("typdelim", ",".into()),
        ("typrelid", 0.into()),
        ("typelem", element.into()),
        ("typarray", array.into()),
        ("typinput", format!("{name}in").into()),
        ("typnotnull", false.into()),
        ("typbasetype", 0.into()),
        ("typtypmod", (-1).into()),
        ("typndims", 0.into()),
        ("typcollation", 0.into()),
    ]
}

fn database() -> Vec<(&'static str, Cell)> {
    vec![
        ("oid", 16_383.into()),
        ("datname", DATABASE.into()),
        ("datdba", OWNER.into()),
        ("encoding", 6.into()),
        ("datlocprovider", "c".into()),
        ("datistemplate", false.into()),
        ("datallowconn", true.into()),
        ("datconnlimit", (-1).into()),
        ("dattablespace", 1663.into()),
        ("datcollate", "C.UTF-8".into()),
        ("datctype", "C.UTF-8".into()),
    ]
}

fn role(oid: i64, name: &str) -> Vec<(&'static str, Cell)> {
    let mut row = vec![
        ("oid", oid.into()),
        ("rolname", name.into()),
        ("rolinherit", true.into()),
        ("rolcanlogin", (oid != OWNER).into()),
        ("rolconnlimit", (-1).into()),
    ];
    let no = ["rolsuper", "rolcreaterole", "rolcreatedb", "rolreplication", "rolbypassrls"];
    row.extend(no.map(|name| (name, false.into())));
    row
}

fn class_row(oid: i64, table: &TableView) -> Vec<(&'static str, Cell)> {
    let columns = i64::try_from(table.columns.len()).unwrap_or_default();
    let mut row = vec![
        ("oid", oid.into()),
        ("relname", table.name.as_str().into()),
        ("relnamespace", OF_PUBLIC.into()),
        ("relowner", OWNER.into()),
        ("relpersistence", "p".into()),
        ("relkind", "v".into()),
        ("relnatts", columns.into()),
        ("relhasrules", true.into()),
        ("relispopulated", true.into()),
        ("relreplident", "n".into()),
        // how many rows there are is nobody's to know
        ("reltuples", (-1).into()),
    ];
    let zero = [
        "reltype",
        "reloftype",
        "relam",
        "relfilenode",
        "reltablespace",
        "relpages",
        "relallvisible",
        "reltoastrelid",
        "relchecks",
        "relrewrite",
        "relfrozenxid",
        "relminmxid",
    ];
    row.extend(zero.map(|name| (name, 0.into())));
    let no = [
        "relhasindex",
        "relisshared",
        "relhastriggers",
        "relhassubclass",
        "relrowsecurity",
        "relforcerowsecurity",
        "relispartition",
    ];
    row.extend(no.map(|name| (name, false.into())));
    row
}

/// The type of a column as it stands in a question.
fn type_of(column: &ColumnView) -> (i64, &'static str, &'static str) {
    match column.kind.as_str() {
        "integer" => (20, "int8", "bigint"),
        "date" => (1082, "date", "date"),
        _ => (25, "text", "text"),
    }
}

fn attribute(oid: i64, place: i64, column: &ColumnView) -> Vec<(&'static str, Cell)> {
    let (of, _, _) = type_of(column);
    let bytes = TYPES.iter().find(|known| known.0 == of).map_or(-1, |known| known.2);
    let mut row = vec![
        ("attrelid", oid.into()),
        ("attname", column.name.as_str().into()),
        ("atttypid", of.into()),
        ("attlen", bytes.into()),
        ("attnum", place.into()),
        ("atttypmod", (-1).into()),
        ("attstorage", if bytes < 0 { "x" } else { "p" }.into()),
        ("attidentity", "".into()),
        ("attgenerated", "".into()),
        ("attcompression", "".into()),
        ("attislocal", true.into()),
        ("attcollation", 0.into()),
        ("attinhcount", 0.into()),
        ("attndims", 0.into()),
    ];
    let no = ["attnotnull", "atthasdef", "atthasmissing", "attisdropped", "attbyval"];
    row.extend(no.map(|name| (name, false.into())));
    row
}

fn column_row(table: &str, place: i64, column: &ColumnView) -> Vec<(&'static str, Cell)> {
    let (_, short, long) = type_of(column);
    vec![
        ("table_catalog", DATABASE.into()),
        ("table_schema", SCHEMA.into()),
        ("table_name", table.into()),
        ("column_name", column.name.as_str().into()),
        ("ordinal_position", place.into()),
        ("is_nullable", "YES".into()),
        ("data_type", long.into()),
        ("udt_catalog", DATABASE.into()),
        ("udt_schema", "pg_catalog".into()),
        ("udt_name", short.into()),
        ("is_identity", "NO".into()),
        ("is_generated", "NEVER".into()),
        ("is_updatable", "NO".into()),
    ]
}

fn description(oid: i64, place: i64, words: &str) -> Vec<(&'static str, Cell)> {
    vec![
        ("objoid", oid.into()),
        ("classoid", 1259.into()),
        ("objsubid", place.into()),
        ("description", words.into()),
    ]
}

fn table_words(dataset: &DatasetView, table: &TableView) -> String {
    if table.public {
        return "public rows, which questions may join".to_owned();
    }
    format!(
        "members' rows of the dataset {}: only noised sums over them are answered. EXPLAIN shows what a \
         question costs",
        dataset.dataset
    )
}

fn column_words(column: &ColumnView) -> String {
    let mut words = column.words.en.clone();
    if let (Some(least), Some(greatest)) = (&column.least, &column.greatest) {
        words.push_str(&format!("; from {least} to {greatest}"));
    }
    if let Some(unit) = &column.unit {
        words.push_str(&format!("; in {unit}"));
    }
    if !column.values.is_empty() {
        const SHOWN: usize = 20;
        let values: Vec<&str> =
            column.values.iter().take(SHOWN).map(|value| value.value.as_str()).collect();
        let more = if column.values.len() > SHOWN { ", .." } else { "" };
        words.push_str(&format!("; one of {}{more}", values.join(", ")));
    }
    words
}
