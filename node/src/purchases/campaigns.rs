//! The table `campaigns` of a question: one row for each campaign that a member is in, with the group, control groups too, and
//! what the member bought in the days that the campaign counts.
//!
//! Who is in which group is told by whoever runs campaigns ([`CampaignMembers`]), as of the snapshot. What was bought
//! is the snapshot's purchases: sales, before refunds, from the day on which the member came into the campaign.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Date32Array, Int64Array, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;

use super::attributes::{Shows, VaultRows};
use super::catalogue::Snapshot;
use super::facts::FactsError;
use super::import::Facts;
use super::netting::Refunds;
use super::streamed::Streamed;
use crate::vault::{AttributesRow, Consenting, FactsSubject, MemberId, Vault};

/// The table's name in contracts.
pub const CAMPAIGNS_TABLE: &str = "campaigns";
/// Under these names its parts are in the session for a moment; no table of a contract begins so.
const PLACES: &str = "_campaign_places";
pub(super) const LINES: &str = "_campaign_lines";

/// What a question sees.
const SQL: &str = "\
SELECT p.member AS member, p.campaign AS campaign, p.experiment_group AS experiment_group, \
CASE WHEN count(l.amount_fen) > 0 THEN 1 ELSE 0 END AS bought_after, \
coalesce(sum(l.amount_fen), 0) AS spent_fen \
FROM _campaign_places AS p LEFT JOIN _campaign_lines AS l \
ON l.member = p.member AND l.purchased_on >= p.first_day AND l.purchased_on <= p.last_day \
GROUP BY p.member, p.campaign, p.experiment_group";

/// A member's place in a campaign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InCampaign {
    /// The campaign.
    pub campaign: String,
    /// The group.
    pub group: String,
    /// The day on which the member came into it, in days since 1970-01-01.
    pub first_day: i32,
    /// The last day of which purchases count.
    pub last_day: i32,
}

/// Who is in which campaign, as of a moment.
pub trait CampaignMembers: Send + Sync {
    /// The campaigns that a member is in, each once.
    fn of(&self, member: MemberId) -> Vec<InCampaign>;
    /// Another one when others are in them.
    fn revision(&self) -> [u8; 32];
}

/// Nobody is in any: of a brand whose programme has no rules.
#[derive(Clone, Copy, Debug)]
pub struct NoCampaigns;

impl CampaignMembers for NoCampaigns {
    fn of(&self, _: MemberId) -> Vec<InCampaign> {
        Vec::new()
    }

    fn revision(&self) -> [u8; 32] {
        [0; 32]
    }
}

/// A row of the places.
pub(super) type Place = (FactsSubject, InCampaign);

/// The places of a page of members.
pub(super) fn places(campaigns: &dyn CampaignMembers, rows: &[AttributesRow]) -> Vec<Place> {
    let of = |row: &AttributesRow| {
        let subject = row.subject;
        campaigns.of(row.member).into_iter().map(move |place| (subject, place))
    };
    rows.iter().flat_map(of).collect()
}

/// A column of them.
pub(super) fn column(name: &str, places: &[Place]) -> ArrayRef {
    let days = |of: fn(&InCampaign) -> i32| -> ArrayRef {
        Arc::new(places.iter().map(|(_, place)| Some(of(place))).collect::<Date32Array>())
    };
    let texts = |of: fn(&InCampaign) -> &str| -> ArrayRef {
        Arc::new(places.iter().map(|(_, place)| Some(of(place))).collect::<StringArray>())
    };
    match name {
        "campaign" => texts(|place| place.campaign.as_str()),
        "experiment_group" => texts(|place| place.group.as_str()),
        "first_day" => days(|place| place.first_day),
        "last_day" => days(|place| place.last_day),
        _ => {
            Arc::new(places.iter().map(|(subject, _)| Some(subject.get())).collect::<Int64Array>())
        }
    }
}

impl Facts {
    /// Registers the table in a session, for joint analytics. Columns: `member` (as in purchases), `campaign`,
    /// `experiment_group` (text), `bought_after` (1 for who bought in the days that count, else 0), `spent_fen` (for
    /// how much). Members who are in no campaign have no row.
    ///
    /// # Errors
    /// When the consent is to another purpose, the snapshot is without campaigns, or a file cannot be opened.
    pub async fn register_campaigns(
        &self,
        session: &SessionContext,
        vault: &Arc<Vault>,
        snapshot: &Snapshot,
        members: &Arc<Consenting>,
        not_before: i32,
    ) -> Result<(), FactsError> {
        self.register(session, LINES, snapshot, members, not_before, Refunds::Apart).await?;
        register(session, vault, snapshot, members).await
    }

    /// The same for exact figures, which only this brand's own staff sees: members who allow the programme.
    ///
    /// # Errors
    /// When the consent is to another purpose, the snapshot is without campaigns, or a file cannot be opened.
    pub async fn register_campaigns_for_staff(
        &self,
        session: &SessionContext,
        vault: &Arc<Vault>,
        snapshot: &Snapshot,
        members: &Arc<Consenting>,
        not_before: i32,
    ) -> Result<(), FactsError> {
        let refunds = Refunds::Apart;
        self.register_for_staff(session, LINES, snapshot, members, not_before, refunds).await?;
        register(session, vault, snapshot, members).await
    }
}

async fn register(
    session: &SessionContext,
    vault: &Arc<Vault>,
    snapshot: &Snapshot,
    members: &Arc<Consenting>,
) -> Result<(), FactsError> {
    let campaigns = snapshot.campaigns().ok_or(FactsError::NoCampaigns)?;
    let field = |name: &str, kind: DataType| Field::new(name, kind, true);
    let schema = Schema::new(vec![
        field("member", DataType::Int64),
        field("campaign", DataType::Utf8),
        field("experiment_group", DataType::Utf8),
        field("first_day", DataType::Date32),
        field("last_day", DataType::Date32),
    ]);
    let places = VaultRows {
        vault: Arc::clone(vault),
        members: Arc::clone(members),
        as_of: None,
        shows: Shows::Campaigns(campaigns),
    };
    let places = Streamed::table(places, Arc::new(schema));
    let wrong = |error: DataFusionError| FactsError::Engine(Box::new(error));
    session.register_table(PLACES, places).map_err(wrong)?;
    let told = session.sql(SQL).await.map_err(wrong)?;
    for part in [PLACES, LINES] {
        session.deregister_table(part).map_err(wrong)?;
    }
    session.register_table(CAMPAIGNS_TABLE, told.into_view()).map_err(wrong)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use datafusion::arrow::util::pretty::pretty_format_batches;

    use super::*;
    use crate::purchases::tests::{Shop, now};
    use crate::vault::{CardNumber, Consent, NewMember, Purpose, sample_rule};

    /// Members of campaigns by hand.
    struct Listed(Vec<(MemberId, InCampaign)>);

    impl CampaignMembers for Listed {
        fn of(&self, member: MemberId) -> Vec<InCampaign> {
            let theirs = self.0.iter().filter(|(of, _)| *of == member);
            theirs.map(|(_, place)| place.clone()).collect()
        }
        fn revision(&self) -> [u8; 32] {
            [u8::try_from(self.0.len()).unwrap(); 32]
        }
    }

    fn asked(shop: &Shop, snapshot: &Snapshot, sql: &str) -> Option<Vec<String>> {
        let vault = Arc::new(shop.vault.over(Arc::clone(&shop.store)));
        let members = Arc::new(vault.consenting(Purpose::JointAnalytics).unwrap());
        let engine = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        engine.block_on(async {
            let session = SessionContext::new();
            shop.facts.register_campaigns(&session, &vault, snapshot, &members, 0).await.unwrap();
            let batches = session.sql(sql).await.ok()?.collect().await.unwrap();
            let table = pretty_format_batches(&batches).unwrap().to_string();
            let rows = table.lines().filter(|line| line.starts_with('|')).skip(1);
            Some(rows.map(|row| row.split_whitespace().collect::<String>()).collect())
        })
    }

    #[test]
    fn what_members_of_a_campaign_bought_in_its_days_is_told_by_group() {
        let shop = Shop::open();
        let cards = ["C1", "C2", "C3", "C4", "C5"];
        let people = cards.map(|card| NewMember {
            card: CardNumber::new(card).unwrap(),
            match_key: None,
            attributes: BTreeMap::new(),
        });
        shop.vault.enrol(&people, &sample_rule(now())).unwrap();
        // all on 2017-01-01
        shop.import(&shop.lines(
            "day.parquet",
            &[
                (1, 1, Some("C1"), Some("DELI"), 1, "1.50"),
                (1, 2, Some("C1"), Some("FUEL"), 1, "2.00"),
                (2, 1, Some("C2"), Some("DELI"), 1, "7.00"),
                (3, 1, Some("C4"), Some("DELI"), 1, "0.30"),
                (4, 1, None, Some("DELI"), 1, "90.00"),
            ],
        ));
        let first = 17_167; // 2017-01-01
        let id = |card: &str| shop.vault.by_card(&CardNumber::new(card).unwrap()).unwrap().unwrap();
        let place = |card: &str, campaign: &str, group: &str, first_day: i32| {
            let (campaign, group) = (campaign.to_owned(), group.to_owned());
            (id(card), InCampaign { campaign, group, first_day, last_day: first_day + 10 })
        };
        let listed = vec![
            place("C1", "spring", "offer", first),
            // the last day still counts, and the day after it does not
            place("C2", "spring", "control", first - 10),
            place("C3", "spring", "control", first),
            place("C4", "spring", "offer", first - 11),
            place("C1", "autumn", "offer", first + 1),
        ];
        let purchases = shop.facts.snapshot().unwrap();
        let snapshot = purchases.clone().with_campaigns(Arc::new(Listed(listed.clone())));
        assert_ne!(snapshot.id(), purchases.id());
        let ask = |sql: &str| asked(&shop, &snapshot, sql);
        let rows = |texts: &[&str]| -> Option<Vec<String>> {
            Some(texts.iter().map(|it| (*it).to_owned()).collect())
        };
        let by_group = "SELECT campaign, experiment_group, count(*), sum(bought_after), \
                        sum(spent_fen) FROM campaigns GROUP BY 1, 2 ORDER BY 1, 2";
        let told =
            rows(&["|autumn|offer|1|0|0|", "|spring|control|2|1|700|", "|spring|offer|2|1|350|"]);
        assert_eq!(ask(by_group), told);
        for part in [LINES, PLACES, "purchases"] {
            assert_eq!(ask(&format!("SELECT count(*) FROM {part}")), None, "{part}");
        }
        // who comes into one later is in another snapshot; who withdraws is out of all
        let mut more = listed;
        more.push(place("C5", "spring", "offer", first));
        let later = purchases.clone().with_campaigns(Arc::new(Listed(more)));
        assert_ne!(later.id(), snapshot.id());
        let all = "SELECT count(*), count(DISTINCT member) FROM campaigns";
        assert_eq!((ask(all), asked(&shop, &later, all)), (rows(&["|5|4|"]), rows(&["|6|5|"])));
        let no = Consent { granted: false, ..sample_rule(now())[2] };
        shop.vault.decide(id("C1"), no).unwrap();
        assert_eq!(ask(all), rows(&["|3|3|"]));

        // a snapshot without campaigns tells of none
        let vault = Arc::new(shop.vault.over(Arc::clone(&shop.store)));
        let members = Arc::new(vault.consenting(Purpose::JointAnalytics).unwrap());
        let engine = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let session = SessionContext::new();
        let refused = shop.facts.register_campaigns(&session, &vault, &purchases, &members, 0);
        assert!(matches!(engine.block_on(refused), Err(FactsError::NoCampaigns)));
    }
}
