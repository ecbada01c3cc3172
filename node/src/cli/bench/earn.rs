//! `coalition bench earn`: purchases a second that a programme counts, durable, with all its rules.
//!
//! In it: the shipped rules (channel, category, tier, birthday, triggers, fraud) with a coupon for who reaches a tier, the programme's books and
//! the brand's balances, records encrypted and fdatasynced before the next batch, as in a node's turn. Not in
//! it: reading files, the vault, HTTP. Afterwards the journal is read again: it must give the same state,
//! and the books must balance. Beside it the same bookkeeping in PostgreSQL: a key that is taken once, the
//! member's counts, a lot by day of expiry, the balance; no tiers' rules, categories, triggers or fraud there.

use std::time::Instant;

use ::programme::earn::Basket;
use ::programme::state::{Change, Event, Purchase};
use ::programme::{Account, BasketPart, Fen, Name, Programme, Rules};
use alliance_config::sample;
use protocol::codec;
use protocol::time::Timestamp;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::Serialize;

use super::super::{CliError, Io};
use super::{input, postgres};
use crate::exchange::points::PointsLedger;
use crate::exchange::record::NodeRecord;
use crate::journal::{Journal, RECORD_MAX};
use crate::runtime::sealed_journal::{RecordCipher, Recorded};

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;
/// When the purchases begin.
const START_MS: u64 = 20_000 * DAY_MS;

/// How much is measured.
#[derive(Debug, Clone, clap::Args)]
pub struct EarnArguments {
    /// Members.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub members: u32,
    /// Purchases.
    #[arg(long, default_value_t = 500_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub purchases: u32,
    /// Purchases of one append of the journal.
    #[arg(long, default_value_t = 2_048, value_parser = clap::value_parser!(u32).range(1..=16_384))]
    pub batch: u32,
    /// Where the journal is written; a temporary directory without.
    #[arg(long)]
    pub directory: Option<std::path::PathBuf>,
    /// Leave out PostgreSQL.
    #[arg(long)]
    pub no_postgres: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct EarnFigures {
    /// Members.
    pub members: u32,
    /// Purchases.
    pub purchases: u32,
    /// Purchases a second, durable.
    pub earned_per_second: f64,
    /// From the arrival of a batch to its being durable, with what its triggers gave.
    pub batch_p50_ms: f64,
    /// The same, of the slowest hundredth.
    pub batch_p99_ms: f64,
    /// Coupons and points that triggers gave.
    pub triggers_fired: u64,
    /// From the arrival of a batch with a purchase that set off a trigger to what it gave being durable, of the slowest
    /// hundredth of such batches; none when no trigger was set off.
    pub trigger_p99_ms: Option<f64>,
    /// Bytes of the journal for a purchase.
    pub journal_bytes_per_purchase: f64,
    /// Bytes of the state for a member, as a snapshot has it.
    pub state_bytes_per_member: f64,
    /// Changes a second when the journal is read again.
    pub replayed_per_second: f64,
    /// Whether what is read again is the same.
    pub replay_is_the_same: bool,
    /// How far the books are from balancing.
    pub trial_balance: i64,
    /// Members whose lots are not what their balance is.
    pub differences: u64,
    /// The same bookkeeping in PostgreSQL, a second; none when no server is installed.
    pub postgres_per_second: Option<f64>,
    /// How many times as many.
    pub times_postgres: Option<f64>,
}

impl EarnFigures {
    /// Whether nothing was lost and the books balance.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.replay_is_the_same && self.trial_balance == 0 && self.differences == 0
    }

    pub(super) fn tell(&self, io: &Io) {
        io.say(&format!(
            "{:.0} purchases a second, durable; a batch takes {:.1} ms (p99 {:.1} ms); {:.0} bytes of journal each",
            self.earned_per_second,
            self.batch_p50_ms,
            self.batch_p99_ms,
            self.journal_bytes_per_purchase
        ));
        if let Some(took) = self.trigger_p99_ms {
            io.say(&format!(
                "triggers gave {} coupons or points, within {took:.1} ms of the purchase (p99)",
                self.triggers_fired
            ));
        }
        if let (Some(rate), Some(times)) = (self.postgres_per_second, self.times_postgres) {
            io.say(&format!("PostgreSQL: {rate:.0} a second; {times:.1} times as many here"));
        }
    }
}

fn purchase(number: u32, members: u32, channels: &[Name; 2]) -> Result<Purchase, CliError> {
    // members in no order, amounts from 1 to 300 yuan: a multiplicative walk, the same every time
    let mixed = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let whose = u128::from(mixed >> 20) % u128::from(members);
    let total = Fen::new(100 + (mixed >> 32) % 29_900).map_err(input)?;
    let mut part = [0; 20];
    part.iter_mut().zip(number.to_be_bytes()).for_each(|(to, from)| *to = from);
    let [offline, online] = channels;
    Ok(Purchase {
        account: Account::from_bytes(whose.to_be_bytes()),
        part: BasketPart::from_bytes(part),
        at: Timestamp::from_unix_ms(START_MS + u64::from(number) * 20),
        hour: None,
        channel: if mixed & 1 == 0 { offline.clone() } else { online.clone() },
        first_part: true,
        before: Basket::default(),
        after: Basket::of(total),
    })
}

/// The shipped rules have no trigger that a day of purchases sets off: to them comes one on a tier that is reached.
fn rules() -> Result<Rules, CliError> {
    let trigger =
        "[[trigger]]\nname = \"risen\"\nwhen = \"tier_reached\"\ncoupon = \"welcome_back\"\n";
    Rules::from_toml(&format!("{}\n{trigger}", sample::PROGRAMME_TEMPLATE)).map_err(input)
}

fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let place = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(place).copied().unwrap_or_default()
}

/// Measures.
///
/// # Errors
/// When the disk or the database fails.
pub fn measure(arguments: &EarnArguments, io: &Io) -> Result<EarnFigures, CliError> {
    let postgres = if arguments.no_postgres {
        None
    } else {
        io.say("the same bookkeeping in PostgreSQL, if a server is installed");
        postgres::earned_per_second(5, arguments.members)?
    };
    let folder = match &arguments.directory {
        Some(path) => tempfile::tempdir_in(path),
        None => tempfile::tempdir(),
    };
    let folder = folder.map_err(input)?;
    let cipher = RecordCipher::new(&[7; 32]).map_err(input)?;
    let mut journal =
        Journal::open(folder.path()).and_then(|replay| replay.into_journal()).map_err(input)?;
    let rules = rules()?;
    let channels = [Name::new("offline").map_err(input)?, Name::new("online").map_err(input)?];
    let system = SystemRandom::new();
    let mut random =
        |bytes: &mut [u8]| assert!(system.fill(bytes).is_ok(), "the system's generator failed");
    // the most that triggers give: every member has agreed
    let consents = |_: Account| true;
    let (mut programme, mut points) = (Programme::new(&[7; 32]), PointsLedger::default());
    let mut changes = Vec::new();
    programme.open(&rules, Timestamp::from_unix_ms(START_MS), &mut changes).map_err(input)?;

    io.say(&format!("{} purchases of {} members", arguments.purchases, arguments.members));
    let (mut latencies, mut fired) = (Vec::new(), 0_u64);
    let mut of_triggers = Vec::new();
    let began = Instant::now();
    let mut number = 0;
    while number < arguments.purchases {
        let arrived = Instant::now();
        let end = number.saturating_add(arguments.batch).min(arguments.purchases);
        for number in number..end {
            let purchase = purchase(number, arguments.members, &channels)?;
            let now = purchase.at;
            let event = Event::Purchased(purchase);
            programme.handle(event, now, &mut random, &consents, &mut changes).map_err(input)?;
        }
        number = end;
        let before = fired;
        for change in &changes {
            fired += u64::from(matches!(change, Change::Fired { .. }));
            for movement in change.movements().iter().flatten() {
                points.follow(movement).map_err(input)?;
            }
        }
        let record = Recorded::Node(NodeRecord::Programme(codec::encode(&changes)));
        changes.clear();
        let record = cipher.seal(&record).map_err(input)?;
        journal.append_batch(&[record]).map_err(input)?;
        let took = arrived.elapsed().as_secs_f64() * 1e3;
        latencies.push(took);
        if fired > before {
            of_triggers.push(took);
        }
    }
    let elapsed = began.elapsed().as_secs_f64();
    latencies.sort_by(f64::total_cmp);
    of_triggers.sort_by(f64::total_cmp);
    drop(journal);
    let bytes: u64 = std::fs::read_dir(folder.path())
        .map_err(input)?
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .map(|metadata| metadata.len())
        .sum();
    let (again, replayed_per_second) = replay(folder.path(), &cipher)?;
    let snapshot = programme.snapshot();
    let rate = f64::from(arguments.purchases) / elapsed;
    Ok(EarnFigures {
        members: arguments.members,
        purchases: arguments.purchases,
        earned_per_second: rate,
        batch_p50_ms: percentile(&latencies, 50),
        batch_p99_ms: percentile(&latencies, 99),
        triggers_fired: fired,
        trigger_p99_ms: (!of_triggers.is_empty()).then(|| percentile(&of_triggers, 99)),
        journal_bytes_per_purchase: bytes as f64 / f64::from(arguments.purchases),
        state_bytes_per_member: snapshot.len() as f64 / f64::from(arguments.members),
        replayed_per_second,
        replay_is_the_same: again.snapshot() == snapshot,
        trial_balance: i64::try_from(programme.accounts().trial_balance()).unwrap_or(i64::MAX),
        differences: u64::try_from(points.differences(&programme)).unwrap_or(u64::MAX),
        postgres_per_second: postgres,
        times_postgres: postgres.map(|postgres| rate / postgres),
    })
}

fn replay(folder: &std::path::Path, cipher: &RecordCipher) -> Result<(Programme, f64), CliError> {
    let mut programme = Programme::new(&[7; 32]);
    let (began, mut count) = (Instant::now(), 0_u64);
    for record in Journal::open(folder).map_err(input)? {
        let record = cipher.open(record.map_err(input)?).map_err(input)?;
        let Recorded::Node(NodeRecord::Programme(bytes)) = record else { continue };
        let changes: Vec<Change> =
            codec::decode("changes of the programme", &bytes, RECORD_MAX).map_err(input)?;
        for change in &changes {
            programme.replay(change).map_err(input)?;
            count += 1;
        }
    }
    Ok((programme, count as f64 / began.elapsed().as_secs_f64()))
}
