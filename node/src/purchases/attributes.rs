//! The table `members` of a question: one row a member, with what an import keeps of the person as values from a
//! public list.
//!
//! Read from the vault page by page while the engine asks for rows, and written nowhere: in memory in clear is a
//! page at a time, and what the engine makes of it (which does not wipe it). Names, addresses and dates of birth
//! are no columns, so that no question can name them. Guests are no members, and have no row.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Date32Array, Int64Array, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::SessionContext;
use futures::stream::try_unfold;

use super::campaigns::{self, CampaignMembers};
use super::catalogue::Snapshot;
use super::facts::FactsError;
use super::streamed::{Rows, Streamed};
use super::times::day_of;
use crate::vault::{Attribute, AttributesRow, Consenting, MemberId, Purpose, Revision, Vault};

/// The table's name in contracts.
pub const MEMBERS_TABLE: &str = "members";
/// The column that joins it to purchases.
const MEMBER: &str = "member";
/// What may be asked of a member: values that many people share.
const ATTRIBUTES: [Attribute; 8] = [
    Attribute::FirstPurchase,
    Attribute::AgeBand,
    Attribute::IncomeBand,
    Attribute::HomeOwnership,
    Attribute::MaritalStatus,
    Attribute::HouseholdSize,
    Attribute::HouseholdComposition,
    Attribute::KidsCount,
];

/// A column of the table beside the member, for who checks a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MemberColumn {
    /// Its name.
    pub name: &'static str,
    /// Whether it holds days; all others hold texts.
    pub is_day: bool,
}

/// The columns beside the member.
pub(super) fn member_columns() -> impl Iterator<Item = MemberColumn> {
    ATTRIBUTES.into_iter().map(|attribute| MemberColumn {
        name: attribute.column(),
        is_day: attribute == Attribute::FirstPurchase,
    })
}

/// Registers the table in a session, for joint analytics: the members of a snapshot who are among the
/// consenting. Columns: `member` (as in purchases), `first_purchase_date` (date), and the other attributes
/// (text; null where the brand knows none).
///
/// # Errors
/// When the consent is to another purpose, or the snapshot is of purchases alone.
pub fn register_members(
    session: &SessionContext,
    vault: &Arc<Vault>,
    snapshot: &Snapshot,
    members: &Arc<Consenting>,
) -> Result<(), FactsError> {
    register(session, vault, snapshot, members, Purpose::JointAnalytics)
}

/// The same for exact figures, which only this brand's own staff sees: members who allow the programme.
///
/// # Errors
/// When the consent is to another purpose, or the snapshot is of purchases alone.
pub fn register_members_for_staff(
    session: &SessionContext,
    vault: &Arc<Vault>,
    snapshot: &Snapshot,
    members: &Arc<Consenting>,
) -> Result<(), FactsError> {
    register(session, vault, snapshot, members, Purpose::Programme)
}

fn register(
    session: &SessionContext,
    vault: &Arc<Vault>,
    snapshot: &Snapshot,
    members: &Arc<Consenting>,
    purpose: Purpose,
) -> Result<(), FactsError> {
    if members.purpose() != purpose {
        return Err(FactsError::OtherPurpose);
    }
    let as_of = snapshot.members().ok_or(FactsError::NoMembers)?;
    let member = Field::new(MEMBER, DataType::Int64, true);
    let attributes = member_columns().map(|column| {
        let kind = if column.is_day { DataType::Date32 } else { DataType::Utf8 };
        Field::new(column.name, kind, true)
    });
    let fields: Vec<Field> = std::iter::once(member).chain(attributes).collect();
    let (vault, members) = (Arc::clone(vault), Arc::clone(members));
    let rows = VaultRows { vault, members, as_of: Some(as_of), shows: Shows::Attributes };
    session
        .register_table(MEMBERS_TABLE, Streamed::table(rows, Arc::new(Schema::new(fields))))
        .map_err(|error| FactsError::Engine(Box::new(error)))?;
    Ok(())
}

/// What is shown of the members.
#[derive(Clone)]
pub(super) enum Shows {
    /// A row each, with attributes.
    Attributes,
    /// A row for each campaign that a member is in.
    Campaigns(Arc<dyn CampaignMembers>),
}

/// Members who allow a purpose, page by page from the vault.
#[derive(Clone)]
pub(super) struct VaultRows {
    pub(super) vault: Arc<Vault>,
    pub(super) members: Arc<Consenting>,
    /// Those of whom nothing has changed since; none for all.
    pub(super) as_of: Option<Revision>,
    pub(super) shows: Shows,
}

impl Rows for VaultRows {
    fn read(&self, columns: &SchemaRef, _context: &TaskContext) -> SendableRecordBatchStream {
        let pages = Pages { of: self.clone(), schema: Arc::clone(columns), after: None };
        let batches = try_unfold(pages, |pages: Pages| std::future::ready(pages.next()));
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(columns), batches))
    }
}

/// One reading of the table.
struct Pages {
    of: VaultRows,
    schema: SchemaRef,
    after: Option<MemberId>,
}

impl Pages {
    fn next(mut self) -> Result<Option<(RecordBatch, Self)>, DataFusionError> {
        let (VaultRows { vault, members, as_of, shows }, schema) = (&self.of, &self.schema);
        let names = schema.fields().iter().map(|field| field.name().as_str());
        let asked: Vec<Attribute> = match shows {
            Shows::Attributes => names.filter_map(Attribute::from_column).collect(),
            Shows::Campaigns(_) => Vec::new(),
        };
        // why it failed is about a record, and not told
        let unreadable = |_| DataFusionError::Execution("members could not be read".to_owned());
        let page = vault.attributes_page(members, *as_of, &asked, self.after);
        let Some(page) = page.map_err(unreadable)? else { return Ok(None) };
        let batch = match shows {
            Shows::Attributes => {
                let columns = schema.fields().iter().map(|it| column(it.name(), &page.rows));
                batch(schema, columns.collect(), page.rows.len())?
            }
            Shows::Campaigns(campaigns) => {
                let places = campaigns::places(&**campaigns, &page.rows);
                let columns = schema.fields().iter();
                let columns = columns.map(|it| campaigns::column(it.name(), &places));
                batch(schema, columns.collect(), places.len())?
            }
        };
        self.after = Some(page.last);
        Ok(Some((batch, self)))
    }
}

fn batch(
    schema: &SchemaRef,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch, DataFusionError> {
    // a question may ask for no column at all
    let rows = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &rows)?)
}

/// A column of a page; of a name that is no attribute's, the members.
fn column(name: &str, rows: &[AttributesRow]) -> ArrayRef {
    let Some(attribute) = Attribute::from_column(name) else {
        return Arc::new(rows.iter().map(|row| Some(row.subject.get())).collect::<Int64Array>());
    };
    let texts = rows.iter().map(|row| row.values.get(&attribute).map(|text| text.as_str()));
    if attribute == Attribute::FirstPurchase {
        Arc::new(texts.map(|text| text.and_then(day_of)).collect::<Date32Array>())
    } else {
        Arc::new(texts.collect::<StringArray>())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use datafusion::arrow::util::pretty::pretty_format_batches;

    use super::*;
    use crate::purchases::Refunds;
    use crate::purchases::tests::{Shop, now};
    use crate::vault::{CardNumber, Consent, NewMember, sample_rule};

    fn person(card: &str, age: Option<&str>, first: &str) -> NewMember {
        let mut attributes = BTreeMap::from([
            (Attribute::FirstPurchase, first.to_owned()),
            (Attribute::Name, "Zhang San".to_owned()),
        ]);
        attributes.extend(age.map(|age| (Attribute::AgeBand, age.to_owned())));
        NewMember { card: CardNumber::new(card).unwrap(), match_key: None, attributes }
    }

    /// A session's answer over the members and purchases of a snapshot, a row a text; none when it is refused.
    fn asked(shop: &Shop, snapshot: &Snapshot, sql: &str) -> Option<Vec<String>> {
        let vault = Arc::new(shop.vault.over(Arc::clone(&shop.store)));
        let members = Arc::new(vault.consenting(Purpose::JointAnalytics).unwrap());
        let engine = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        engine.block_on(async {
            let session = SessionContext::new();
            register_members(&session, &vault, snapshot, &members).unwrap();
            let facts = &shop.facts;
            facts
                .register(&session, "purchases", snapshot, &members, 0, Refunds::Apart)
                .await
                .unwrap();
            let batches = session.sql(sql).await.ok()?.collect().await.unwrap();
            let table = pretty_format_batches(&batches).unwrap().to_string();
            let rows = table.lines().filter(|line| line.starts_with('|')).skip(1);
            Some(rows.map(|row| row.split_whitespace().collect::<String>()).collect())
        })
    }

    #[test]
    fn members_are_asked_about_with_their_purchases_and_without() {
        let shop = Shop::open();
        let people = [
            person("C1", Some("25-34"), "2017-01-01"),
            person("C2", Some("25-34"), "2017-03-01"),
            person("C3", Some("65+"), "2017-03-01"),
            person("C4", None, "in March"),
        ];
        shop.vault.enrol(&people, &sample_rule(now())).unwrap();
        shop.import(&shop.lines(
            "day.parquet",
            &[
                (1, 1, Some("C1"), Some("DELI"), 1, "1.50"),
                (1, 2, Some("C1"), Some("FUEL"), 1, "2.00"),
                (2, 1, Some("C3"), Some("DELI"), 1, "7.00"),
                (3, 1, Some("C4"), Some("DELI"), 1, "0.30"),
                (4, 1, None, Some("DELI"), 1, "90.00"),
            ],
        ));
        let snapshot = shop.facts.snapshot_with_members().unwrap();
        let ask = |sql: &str| asked(&shop, &snapshot, sql);
        let rows = |texts: &[&str]| -> Option<Vec<String>> {
            Some(texts.iter().map(|it| (*it).to_owned()).collect())
        };
        // guests are nobody's row, and a member without purchases has one
        assert_eq!(ask("SELECT count(*), count(DISTINCT member) FROM members"), rows(&["|4|4|"]));
        let by_age = "SELECT age_band, count(DISTINCT member) FROM members \
                      WHERE age_band IS NOT NULL GROUP BY age_band ORDER BY age_band";
        assert_eq!(ask(by_age), rows(&["|25-34|2|", "|65+|1|"]));
        // what is no day is none
        let march = "SELECT count(*), count(first_purchase_date) FROM members \
                     WHERE first_purchase_date >= DATE '2017-02-01'";
        assert_eq!(ask(march), rows(&["|2|2|"]));
        let spent = "SELECT m.age_band, sum(p.amount_fen) FROM purchases AS p JOIN members AS m \
                     ON p.member = m.member WHERE m.age_band IS NOT NULL GROUP BY 1 ORDER BY 1";
        assert_eq!(ask(spent), rows(&["|25-34|350|", "|65+|700|"]));
        for unnamed in ["name", "address", "birth_date", "card", "fact"] {
            assert_eq!(ask(&format!("SELECT {unnamed} FROM members")), None, "{unnamed}");
        }

        // who comes later makes another snapshot and is not in the one of before; who withdraws is out of both
        shop.vault.enrol(&[person("C5", Some("65+"), "2017-04-01")], &sample_rule(now())).unwrap();
        let later = shop.facts.snapshot_with_members().unwrap();
        assert_ne!(later.id(), snapshot.id());
        assert_eq!(ask("SELECT count(*) FROM members"), rows(&["|4|"]));
        let all = "SELECT count(*) FROM members";
        assert_eq!(asked(&shop, &later, all), rows(&["|5|"]));
        let first = CardNumber::new("C1").unwrap();
        let first = shop.vault.by_card(&first).unwrap().unwrap();
        let no = Consent { granted: false, ..sample_rule(now())[2] };
        shop.vault.decide(first, no).unwrap();
        assert_eq!(asked(&shop, &later, all), rows(&["|4|"]));
        assert_eq!(ask(spent), rows(&["|65+|700|"]));
        let unmoved = shop.facts.snapshot_with_members().unwrap();
        assert_eq!(unmoved.id(), later.id());
    }

    #[test]
    fn members_are_shown_for_the_purpose_and_by_the_snapshot_that_has_them() {
        let shop = Shop::open();
        shop.vault.enrol(&[person("C1", None, "2017-01-01")], &sample_rule(now())).unwrap();
        let vault = Arc::new(shop.vault.over(Arc::clone(&shop.store)));
        let of = |purpose| Arc::new(vault.consenting(purpose).unwrap());
        let (joint, staff) = (of(Purpose::JointAnalytics), of(Purpose::Programme));
        let session = SessionContext::new();
        let (whole, purchases) =
            (shop.facts.snapshot_with_members().unwrap(), shop.facts.snapshot().unwrap());
        // of purchases alone it is what it was before there was the table
        assert_ne!(whole.id(), purchases.id());
        let refused = register_members(&session, &vault, &whole, &staff);
        assert!(matches!(refused, Err(FactsError::OtherPurpose)));
        let refused = register_members_for_staff(&session, &vault, &whole, &joint);
        assert!(matches!(refused, Err(FactsError::OtherPurpose)));
        let refused = register_members(&session, &vault, &purchases, &joint);
        assert!(matches!(refused, Err(FactsError::NoMembers)));
        assert!(register_members_for_staff(&session, &vault, &whole, &staff).is_ok());
        let columns: Vec<MemberColumn> = member_columns().collect();
        assert_eq!(columns[0], MemberColumn { name: "first_purchase_date", is_day: true });
        assert!(columns[1..].iter().all(|column| !column.is_day));
    }
}
