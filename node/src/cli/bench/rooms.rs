//! Clean rooms of several brands in one process, over logs that certify at once: planner, clipping, noise,
//! masks, accounts and all seven steps are the real ones; network, disk and agreement are not there.
//!
//! For measurements that ask thousands of questions, or that time the masked sum alone.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use privacy::ids::Attempt;
use privacy::steps::LocalCharge;
use privacy::{
    AttemptId, BoundedVector, CalendarYear, CertifiedEntry, CleanRoom, CleanRoomEntry, Clock,
    Contract, DpPlan, Effect, Ledger, LocalRelease, MaskingSecret, Message, NoiseShare,
    OpendpNoise, ParticipantId, PicoRho, ProposeRequest, QueryId, QuerySpec, Release, SnapshotId,
    UtcMillis,
};
use ring::rand::{SecureRandom, SystemRandom};

use super::super::CliError;
use super::input;

const YEAR: CalendarYear = CalendarYear(2026);
const BEGAN: UtcMillis = UtcMillis(1_790_000_000_000);
const LIFETIME_MILLIS: u64 = 600_000;

/// What a question took, all brands together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// Bytes of all openings that were sent.
    pub opening_bytes: u64,
    /// Drawing noise.
    pub noise: Duration,
    /// Masking, and certifying the hash.
    pub masking: Duration,
    /// Checking and adding openings up.
    pub opening: Duration,
}

struct Entry {
    writer: ParticipantId,
    index: u64,
    bytes: Vec<u8>,
}

impl CertifiedEntry for Entry {
    fn writer(&self) -> ParticipantId {
        self.writer
    }
    fn index(&self) -> u64 {
        self.index
    }
    fn time(&self) -> UtcMillis {
        BEGAN
    }
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A brand's bounded figures for a plan.
pub type Read<'a> = dyn FnMut(ParticipantId, &DpPlan) -> Result<BoundedVector, CliError> + 'a;

/// Asks one joint question of an alliance without a past, and gives what the proposer releases.
pub fn ask(
    contract: &Contract,
    spec: &QuerySpec,
    read: &mut Read<'_>,
) -> Result<(Release, Spent), CliError> {
    Rooms::new(contract, &spec.participants).ask(spec, read)
}

struct Rooms {
    rooms: Vec<(ParticipantId, CleanRoom, u64)>,
    random: SystemRandom,
    spent: Spent,
}

impl Rooms {
    fn new(contract: &Contract, brands: &[ParticipantId]) -> Self {
        let room = |brand: &ParticipantId| (*brand, CleanRoom::new(*brand, contract.clone()), 0);
        let rooms = brands.iter().map(room).collect();
        Self { rooms, random: SystemRandom::new(), spent: Spent::default() }
    }

    fn ask(mut self, spec: &QuerySpec, read: &mut Read<'_>) -> Result<(Release, Spent), CliError> {
        let request = ProposeRequest {
            query: QueryId([1; 16]),
            attempt: Attempt::FIRST,
            spec: spec.clone(),
            secret: self.secret()?,
            snapshot: SnapshotId([0; 32]),
            analyst_quota: PicoRho::new(u64::MAX),
            lifetime_millis: LIFETIME_MILLIS,
            opening_millis: LIFETIME_MILLIS,
        };
        let (_, proposer, _) = self.rooms.first_mut().ok_or_else(|| input("no brand is asked"))?;
        let effects = proposer.propose(request, CLOCK).map_err(input)?;
        let mut due: VecDeque<(usize, Effect)> = effects.into_iter().map(|it| (0, it)).collect();
        let mut released = None;
        while let Some((who, effect)) = due.pop_front() {
            match effect {
                Effect::Released(release) if who == 0 => released = Some(*release),
                effect => due.extend(self.carry_out(who, effect, read)?),
            }
        }
        let release = released.ok_or_else(|| input("the question came to no release"))?;
        Ok((release, self.spent))
    }

    fn carry_out(
        &mut self,
        who: usize,
        effect: Effect,
        read: &mut Read<'_>,
    ) -> Result<Vec<(usize, Effect)>, CliError> {
        let secret = self.secret()?;
        let mut nonce = [0; 32];
        self.random.fill(&mut nonce).map_err(input)?;
        let Some((brand, room, length)) = self.rooms.get_mut(who) else { return Ok(Vec::new()) };
        let brand = *brand;
        let own = |effects: Vec<Effect>| effects.into_iter().map(|it| (who, it)).collect();
        match effect {
            Effect::Append(entry) => {
                let entry = Entry { writer: brand, index: *length, bytes: entry.to_bytes() };
                *length += 1;
                let mut due = Vec::new();
                for (reader, (_, room, _)) in self.rooms.iter_mut().enumerate() {
                    let effects = room.certified(&entry, CLOCK).map_err(input)?;
                    due.extend(effects.into_iter().map(|it| (reader, it)));
                }
                Ok(due)
            }
            Effect::Send { to, message } => {
                let bytes = message.to_bytes();
                let began = Instant::now();
                let place = self.rooms.iter().position(|(known, _, _)| *known == to);
                let Some((reader, (_, room, _))) =
                    place.and_then(|place| Some((place, self.rooms.get_mut(place)?)))
                else {
                    return Ok(Vec::new());
                };
                let effects = room.message(brand, &bytes, CLOCK).map_err(input)?;
                if let Message::Opening(_) = message {
                    self.spent.opening_bytes += bytes.len() as u64;
                    self.spent.opening += began.elapsed();
                }
                Ok(effects.into_iter().map(|it| (reader, it)).collect())
            }
            Effect::Decide { id, .. } => {
                Ok(own(room.accept(id, secret, SnapshotId([0; 32]), CLOCK).map_err(input)?))
            }
            Effect::Read { id, plan } => {
                let began = Instant::now();
                let mut source = OpendpNoise::from_system_entropy();
                let noise = NoiseShare::draw(&plan, &mut source).map_err(input)?;
                self.spent.noise += began.elapsed();
                let vector = read(brand, &plan)?;
                let began = Instant::now();
                let effects = room.commit(id, noise, vector, nonce, CLOCK).map_err(input)?;
                self.spent.masking += began.elapsed();
                Ok(own(effects))
            }
            _ => Ok(Vec::new()),
        }
    }

    fn secret(&self) -> Result<MaskingSecret, CliError> {
        let mut secret = [0; 32];
        self.random.fill(&mut secret).map_err(input)?;
        Ok(MaskingSecret::from_bytes(secret))
    }
}

const CLOCK: Clock = Clock { now: BEGAN, year: YEAR };

/// One brand's answer about its own members, charged in a log that certifies at once.
pub fn ask_locally(
    plan: &DpPlan,
    brand: ParticipantId,
    analyst: privacy::AnalystId,
    vector: BoundedVector,
) -> Result<LocalRelease, CliError> {
    let id = AttemptId { proposer: brand, query: QueryId([1; 16]), attempt: Attempt::FIRST };
    let charge = LocalCharge {
        id,
        plan: plan.hash(),
        sql: plan.sql_hash(),
        contract: plan.contract_hash(),
        rho: plan.rho(),
        delta: plan.delta(),
        year: YEAR,
        analyst,
        snapshot: SnapshotId([0; 32]),
    };
    let bytes = CleanRoomEntry::LocalCharge(charge).to_bytes();
    let mut ledger = Ledger::new();
    ledger.enter(&Entry { writer: brand, index: 0, bytes }).map_err(input)?;
    let charged = ledger.facts(&id).and_then(|facts| facts.local_charge());
    let charged = charged.ok_or_else(|| input("the charge is not in the log"))?;
    let noise = NoiseShare::draw(plan, &mut OpendpNoise::from_system_entropy()).map_err(input)?;
    LocalRelease::new(&charged, plan, vector, noise).map_err(input)
}
