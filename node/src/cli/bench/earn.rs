//! `coalition bench earn`: purchases a second that a programme counts, durable, with all its rules.
//!
//! In it: the shipped rules (channel, category, tier, birthday, triggers, fraud) with a coupon for who reaches a tier, the programme's books and
//! the brand's balances, records encrypted and fdatasynced before the next batch, as in a node's turn. Not in
//! it: reading files, the vault, HTTP. Afterwards the journal is read again: it must give the same state,
//! and the books must balance. Twice:
//!
//! - **purchases** alone, of no category. Beside it the least bookkeeping in PostgreSQL: a key that is taken once, the member's
//!   counts, a lot by day of expiry, the balance; no tiers' rules, categories, triggers or fraud there;
//! - a **mixed** day: eight of ten events are purchases, a third of each in a category with a rate of its own, one is a
//!   sign-in, one another activity. Beside it the same logic as a set-based program of PostgreSQL (`earn/rules.sql`): channel,
//!   category, tier, birthday, cap, streaks, once a day, triggers with coupons and notices, the watch for growth, double entry.
//!   Over the first events of the day both have to come to the same points, coupons, tiers and cases.

use std::time::Instant;

use ::programme::earn::Basket;
use ::programme::state::{Change, Event, Purchase};
use ::programme::{Account, BasketPart, Fen, Name, Programme, Refusal, Rules};
use alliance_config::sample;
use protocol::codec;
use protocol::time::Timestamp;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::Serialize;

use super::super::{CliError, Io};
use super::input;
use super::postgres::{self, Reckoned};
use crate::exchange::points::PointsLedger;
use crate::exchange::record::NodeRecord;
use crate::journal::{Journal, RECORD_MAX};
use crate::runtime::sealed_journal::{RecordCipher, Recorded};

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;
/// When the purchases begin.
const START_MS: u64 = 20_000 * DAY_MS;
/// Events over which the programme and PostgreSQL are compared.
const COMPARED: u32 = 65_536;

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
    /// Seconds of each of the two runs in PostgreSQL.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub postgres_seconds: u32,
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
    /// Whether what is read again is the same, of both days.
    pub replay_is_the_same: bool,
    /// How far the books are from balancing, those of the day that is further.
    pub trial_balance: i64,
    /// Members whose lots are not what their balance is, of both days.
    pub differences: u64,
    /// The least bookkeeping of purchases in PostgreSQL, a second; none when no server is installed.
    pub postgres_per_second: Option<f64>,
    /// How many times as many `earned_per_second` is.
    pub times_postgres: Option<f64>,
    /// Events of the mixed day a second, durable: as many events as there are purchases in the other.
    pub mixed_per_second: f64,
    /// Of them, those that gave nothing, since the member had done the same on that day.
    pub mixed_refused: u64,
    /// Events of the mixed day a second in PostgreSQL by the same logic; none when no server is installed.
    pub postgres_mixed_per_second: Option<f64>,
    /// How many times as many `mixed_per_second` is; none unless both agree.
    pub times_postgres_mixed: Option<f64>,
    /// Whether points, coupons, tiers and cases of the first events are the same there.
    pub postgres_agrees: Option<bool>,
}

impl EarnFigures {
    /// Whether nothing was lost, the books balance, and PostgreSQL, where it is, has come to the same.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.replay_is_the_same
            && self.trial_balance == 0
            && self.differences == 0
            && !matches!(self.postgres_agrees, Some(false))
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
            io.say(&format!(
                "PostgreSQL, the least bookkeeping: {rate:.0} a second; {times:.2} times as many here"
            ));
        }
        io.say(&format!("{:.0} events of a mixed day a second", self.mixed_per_second));
        match (self.postgres_mixed_per_second, self.times_postgres_mixed) {
            (Some(rate), Some(times)) => io.say(&format!(
                "PostgreSQL, the same logic: {rate:.0} a second; {times:.2} times as many here"
            )),
            (Some(_), None) => io.say("PostgreSQL came to something else: there is no ratio"),
            (None, _) => {}
        }
    }
}

/// What happens on a day, and by which rules.
struct Day {
    mixed: bool,
    members: u32,
    rules: Rules,
    channels: [Name; 2],
    fresh: Name,
    survey: Name,
}

impl Day {
    fn new(mixed: bool, members: u32) -> Result<Self, CliError> {
        let name = |text| Name::new(text).map_err(input);
        let channels = [name("offline")?, name("online")?];
        let (fresh, survey) = (name("fresh")?, name("survey")?);
        Ok(Self { mixed, members, rules: rules(mixed)?, channels, fresh, survey })
    }

    fn event(&self, number: u32) -> Result<(Event, Timestamp), CliError> {
        let now = Timestamp::from_unix_ms(START_MS + u64::from(number) * 20);
        let event = if self.mixed { self.any(number, now) } else { self.plain(number, now) };
        Ok((event?, now))
    }

    fn plain(&self, number: u32, now: Timestamp) -> Result<Event, CliError> {
        // members in no order, amounts from 1 to 300 yuan: a multiplicative walk, the same every time
        let mixed = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let whose = u128::from(mixed >> 20) % u128::from(self.members);
        let total = Fen::new(100 + (mixed >> 32) % 29_900).map_err(input)?;
        let account = Account::from_bytes(whose.to_be_bytes());
        Ok(self.purchase(number, (account, now), mixed & 1 == 1, Basket::of(total)))
    }

    /// An event of the mixed day; `earn/rules.sql` makes the same.
    fn any(&self, number: u32, now: Timestamp) -> Result<Event, CliError> {
        let n = u64::from(number);
        let whose = u128::from(n * 2_654_435_761 % u64::from(self.members));
        let account = Account::from_bytes(whose.to_be_bytes());
        Ok(match n * 40_503 / 65_536 % 10 {
            9 => Event::SignedIn { account },
            8 => Event::Did { account, activity: self.survey.clone() },
            _ => {
                let fen = 100 + n * 7_919 % 29_900;
                let fresh = Fen::new(fen / 3).map_err(input)?;
                let total = Fen::new(fen).map_err(input)?;
                let basket = Basket { total, categories: vec![(self.fresh.clone(), fresh)] };
                self.purchase(number, (account, now), n * 40_503 % 65_536 >= 32_768, basket)
            }
        })
    }

    fn purchase(
        &self,
        number: u32,
        (account, at): (Account, Timestamp),
        is_online: bool,
        after: Basket,
    ) -> Event {
        let mut part = [0; 20];
        part.iter_mut().zip(number.to_be_bytes()).for_each(|(to, from)| *to = from);
        let [offline, online] = &self.channels;
        Event::Purchased(Purchase {
            account,
            part: BasketPart::from_bytes(part),
            at,
            hour: None,
            channel: if is_online { online.clone() } else { offline.clone() },
            first_part: true,
            before: Basket::default(),
            after,
        })
    }
}

/// The shipped rules have no trigger that a day of purchases sets off: to them comes one on a tier that is reached. On a
/// mixed day the category that they show as an example has its rate.
fn rules(mixed: bool) -> Result<Rules, CliError> {
    let trigger =
        "[[trigger]]\nname = \"risen\"\nwhen = \"tier_reached\"\ncoupon = \"welcome_back\"\n";
    let mut text = format!("{}\n{trigger}", sample::PROGRAMME_TEMPLATE);
    if mixed {
        let (example, rate) = ("# fresh = [2, 1]", "fresh = [2, 1]");
        if !text.contains(example) {
            return Err(input("the shipped rules do not show the category that the bench takes"));
        }
        text = text.replacen(example, rate, 1);
    }
    Rules::from_toml(&text).map_err(input)
}

fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let place = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(place).copied().unwrap_or_default()
}

/// A day as it ran.
struct Ran {
    per_second: f64,
    // of batches, in milliseconds, ascending
    latencies: Vec<f64>,
    of_triggers: Vec<f64>,
    fired: u64,
    refused: u64,
    journal_bytes: u64,
    state_bytes: usize,
    replayed_per_second: f64,
    replay_is_the_same: bool,
    trial_balance: i64,
    differences: u64,
}

/// A programme under a day's rules, and what drives it.
struct Driven<'d> {
    day: &'d Day,
    programme: Programme,
    changes: Vec<Change>,
    refused: u64,
}

impl<'d> Driven<'d> {
    fn new(day: &'d Day) -> Result<Self, CliError> {
        let (mut programme, mut changes) = (Programme::new(&[7; 32]), Vec::new());
        let opened = Timestamp::from_unix_ms(START_MS);
        programme.open(&day.rules, opened, &mut changes).map_err(input)?;
        Ok(Self { day, programme, changes, refused: 0 })
    }

    fn handle(&mut self, number: u32) -> Result<(), CliError> {
        let mut random = |bytes: &mut [u8]| assert!(fill(bytes), "the system's generator failed");
        // the most that triggers give: every member has agreed
        let consents = |_: Account| true;
        let (event, now) = self.day.event(number)?;
        match self.programme.handle(event, now, &mut random, &consents, &mut self.changes) {
            Ok(_) => Ok(()),
            Err(Refusal::Today) => {
                self.refused += 1;
                Ok(())
            }
            Err(error) => Err(input(error)),
        }
    }
}

fn fill(bytes: &mut [u8]) -> bool {
    SystemRandom::new().fill(bytes).is_ok()
}

/// Measures.
///
/// # Errors
/// When the disk or the database fails.
pub fn measure(arguments: &EarnArguments, io: &Io) -> Result<EarnFigures, CliError> {
    let compared = arguments.purchases.min(COMPARED);
    let postgres = if arguments.no_postgres {
        None
    } else {
        io.say("the same in PostgreSQL, if a server is installed");
        postgres::earned_per_second(arguments.postgres_seconds, arguments.members, compared)?
    };
    io.say(&format!("{} purchases of {} members", arguments.purchases, arguments.members));
    let plain = run(arguments, &Day::new(false, arguments.members)?)?;
    io.say(&format!("as many events of a mixed day of {} members", arguments.members));
    let day = Day::new(true, arguments.members)?;
    let mixed = run(arguments, &day)?;
    let compare =
        |there: &postgres::Earning| reckon(&day, compared).map(|own| own == there.reckoned);
    let agrees = postgres.as_ref().map(compare).transpose()?;
    let lean = postgres.as_ref().map(|it| it.lean);
    let same = postgres.as_ref().map(|it| it.same);
    let further = |of: &Ran| of.trial_balance.unsigned_abs();
    let worst = if further(&mixed) > further(&plain) { &mixed } else { &plain };
    Ok(EarnFigures {
        members: arguments.members,
        purchases: arguments.purchases,
        earned_per_second: plain.per_second,
        batch_p50_ms: percentile(&plain.latencies, 50),
        batch_p99_ms: percentile(&plain.latencies, 99),
        triggers_fired: plain.fired,
        trigger_p99_ms: (!plain.of_triggers.is_empty()).then(|| percentile(&plain.of_triggers, 99)),
        journal_bytes_per_purchase: plain.journal_bytes as f64 / f64::from(arguments.purchases),
        state_bytes_per_member: plain.state_bytes as f64 / f64::from(arguments.members),
        replayed_per_second: plain.replayed_per_second,
        replay_is_the_same: plain.replay_is_the_same && mixed.replay_is_the_same,
        trial_balance: worst.trial_balance,
        differences: plain.differences.saturating_add(mixed.differences),
        postgres_per_second: lean,
        times_postgres: lean.map(|lean| plain.per_second / lean),
        mixed_per_second: mixed.per_second,
        mixed_refused: mixed.refused,
        postgres_mixed_per_second: same,
        times_postgres_mixed: same
            .filter(|_| agrees == Some(true))
            .map(|same| mixed.per_second / same),
        postgres_agrees: agrees,
    })
}

/// What the first events of a day come to.
fn reckon(day: &Day, events: u32) -> Result<Reckoned, CliError> {
    let (mut driven, mut reckoned) = (Driven::new(day)?, Reckoned::default());
    for number in 0..events {
        driven.handle(number)?;
        for change in driven.changes.drain(..) {
            match change {
                Change::Fired { .. } => reckoned.coupons += 1,
                Change::Ranked { .. } => reckoned.tiers += 1,
                Change::CaseOpened { .. } => reckoned.cases += 1,
                _ => {}
            }
        }
    }
    let balances = driven.programme.accounts().iter();
    reckoned.points = balances.map(|(_, balance)| balance.available().get()).sum();
    Ok(reckoned)
}

/// Runs a day, every batch durable before the next.
fn run(arguments: &EarnArguments, day: &Day) -> Result<Ran, CliError> {
    let folder = match &arguments.directory {
        Some(path) => tempfile::tempdir_in(path),
        None => tempfile::tempdir(),
    };
    let folder = folder.map_err(input)?;
    let cipher = RecordCipher::new(&[7; 32]).map_err(input)?;
    let mut journal =
        Journal::open(folder.path()).and_then(|replay| replay.into_journal()).map_err(input)?;
    let mut points = PointsLedger::default();
    let mut driven = Driven::new(day)?;
    let (mut latencies, mut fired) = (Vec::new(), 0_u64);
    let mut of_triggers = Vec::new();
    let began = Instant::now();
    let mut number = 0;
    while number < arguments.purchases {
        let arrived = Instant::now();
        let end = number.saturating_add(arguments.batch).min(arguments.purchases);
        for number in number..end {
            driven.handle(number)?;
        }
        number = end;
        let before = fired;
        for change in &driven.changes {
            fired += u64::from(matches!(change, Change::Fired { .. }));
            for movement in change.movements().iter().flatten() {
                points.follow(movement).map_err(input)?;
            }
        }
        let record = Recorded::Node(NodeRecord::Programme(codec::encode(&driven.changes)));
        driven.changes.clear();
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
    let journal_bytes: u64 = std::fs::read_dir(folder.path())
        .map_err(input)?
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .map(|metadata| metadata.len())
        .sum();
    let (again, replayed_per_second) = replay(folder.path(), &cipher)?;
    let programme = &driven.programme;
    let snapshot = programme.snapshot();
    Ok(Ran {
        per_second: f64::from(arguments.purchases) / elapsed,
        latencies,
        of_triggers,
        fired,
        refused: driven.refused,
        journal_bytes,
        state_bytes: snapshot.len(),
        replayed_per_second,
        replay_is_the_same: again.snapshot() == snapshot,
        trial_balance: i64::try_from(programme.accounts().trial_balance()).unwrap_or(i64::MAX),
        differences: u64::try_from(points.differences(programme)).unwrap_or(u64::MAX),
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
