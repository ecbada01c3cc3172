//! An alliance of clean rooms to be attacked: the real planner, collector, noise, accounts and steps.
//!
//! Certification, transport and disks are perfect here; what an attacker may see is kept.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use privacy::contract::{Contract, RawColumn, RawContract, RawTable, RawValue};
use privacy::exact::Rational;
use privacy::ids::{Attempt, PlanHash, QueryId, SetHash, SnapshotId, VectorHash};
use privacy::mechanism::{NoiseError, NoiseSource};
use privacy::steps::{Participate, ProposeError};
use privacy::{
    BoundedVector, CalendarYear, CertifiedEntry, CleanRoom, CleanRoomEntry, Clock, Collector,
    DpPlan, Effect, MaskingSecret, Message, NoiseShare, OpendpNoise, ParticipantId, PicoRho,
    ProposeRequest, QuerySpec, Release, UtcMillis,
};

/// How many brands.
pub const BRANDS: usize = 4;
/// Departments of the data, all of which every brand carries.
pub const DEPARTMENTS: usize = 8;
/// L2 bound of a member's spending in fen.
pub const SPENDING_BOUND: i64 = 1_000;
pub(super) const YEAR: CalendarYear = CalendarYear(2026);
const LIFETIME_MILLIS: u64 = 60_000;
/// Rounds of effects after which a question is given up.
const ROUNDS_MAX: usize = 64;

/// What an attacked alliance does without, to see that the attacks notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Everything is as it should be.
    None,
    /// No noise is drawn.
    WithoutNoise,
    /// Noise of a quarter of the planned deviation.
    WeakNoise,
    /// Noise of half the planned variance.
    HalfVariance,
    /// Each brand's noise is planned as if no brand colluded: a variance of sigma^2 / n in place of
    /// sigma^2 / (n - t).
    SharedByAll,
    /// Every row counts as a member of its own.
    WithoutClipping,
    /// Accounts forget what was charged.
    WithoutCharges,
    /// Local accounts forget what was charged.
    WithoutLocalCharges,
    /// Each period of a standing question is clipped as if there were no other.
    WithoutEarlierPeriods,
    /// Secrets for masks can be guessed.
    PredictableSecrets,
    /// Every private group that is there is shown, as often as its noise is not below zero.
    WithoutThreshold,
}

/// A brand's name.
#[must_use]
pub fn brand(index: usize) -> ParticipantId {
    ["brand_a", "brand_b", "brand_c", "brand_d"][index].parse().expect("a name")
}

/// What one brand does other than it should, at one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deviation {
    /// It does not reserve.
    NoReservation,
    /// It reserves for another plan.
    OtherPlan,
    /// It shows one key to some brands and another to the rest: a fork of its log, which the agreement
    /// rules out.
    TwoViews,
    /// It reads and certifies no hash.
    NoHash,
    /// Its hash is for another set.
    OtherSet,
    /// Its hash is of no vector it has.
    OtherVector,
    /// It keeps its opening to itself, having all others.
    NoOpening,
    /// It sends another opening than it certified.
    OtherOpening,
    /// Having all openings, it certifies that it has not opened, and takes the quota back.
    FalseRenouncement,
}

impl Deviation {
    /// All of them, in the order of the steps.
    pub const ALL: [Self; 9] = [
        Self::NoReservation,
        Self::OtherPlan,
        Self::TwoViews,
        Self::NoHash,
        Self::OtherSet,
        Self::OtherVector,
        Self::NoOpening,
        Self::OtherOpening,
        Self::FalseRenouncement,
    ];
}

/// Members, and shops, that a brand may have.
pub(super) const MEMBERS_MAX: u64 = 1_000;
pub(super) const SHOPS_MAX: u16 = 8;

static CONTRACT: LazyLock<Contract> = LazyLock::new(made_contract);

/// The contract under attack: `trial`, where the bound is largest.
#[must_use]
pub fn contract() -> Contract {
    CONTRACT.clone()
}

fn made_contract() -> Contract {
    let departments =
        (0..DEPARTMENTS).map(|index| RawValue { value: format!("D{index}"), carriers: None });
    let raw = RawContract {
        dataset: "purchases".into(),
        purposes: vec!["joint_analytics".into()],
        participants: (0..BRANDS).map(|index| brand(index).to_string()).collect(),
        minimum_participants: 3,
        profile: "trial".into(),
        members_at_most: MEMBERS_MAX,
        public_tables: Vec::new(),
        tables: vec![RawTable {
            name: "purchases".into(),
            owner: "member".into(),
            rows_bound: 100,
            rows_bound_by_brand: BTreeMap::new(),
            columns: vec![
                RawColumn::Text {
                    name: "department".into(),
                    values: departments.collect(),
                    other_carriers: None,
                },
                RawColumn::Private {
                    name: "shop".into(),
                    column: None,
                    member_groups: 2,
                    groups_at_most: SHOPS_MAX,
                },
                RawColumn::Date {
                    name: "purchased_on".into(),
                    first: "2025-01-01".into(),
                    last: "2025-12-31".into(),
                },
                RawColumn::Integer {
                    name: "amount_fen".into(),
                    unit: "fen".into(),
                    minimum: 0,
                    maximum: 100_000,
                    bound: Some(SPENDING_BOUND as u64),
                    carriers: None,
                    bound_by_brand: BTreeMap::new(),
                },
            ],
        }],
    };
    raw.try_into().expect("a valid contract")
}

/// A question at a cost, to some brands.
#[must_use]
pub fn question(sql: &str, analyst: &str, participants: &[usize], rho: PicoRho) -> QuerySpec {
    QuerySpec {
        sql: sql.into(),
        purpose: "joint_analytics".parse().expect("a name"),
        analyst: analyst.parse().expect("a name"),
        participants: participants.iter().map(|index| brand(*index)).collect(),
        rho,
    }
}

/// Noise from the production source, kept for those who drew it.
pub(super) struct Kept {
    source: OpendpNoise,
    mutant: Mutant,
    drawn: Vec<i64>,
}

impl Kept {
    pub(super) const fn new(mutant: Mutant) -> Self {
        Self { source: OpendpNoise::from_system_entropy(), mutant, drawn: Vec::new() }
    }

    /// Forgets what was drawn.
    pub(super) fn forget(&mut self) {
        self.drawn.clear();
    }

    /// A draw of so many ten thousandths of a deviation.
    fn narrowed(&mut self, deviation: &Rational, parts: u32) -> Result<i64, NoiseError> {
        let narrowed = deviation * Rational::from(parts) / Rational::from(10_000u32);
        self.source.discrete_gaussian(&narrowed)
    }
}

impl NoiseSource for Kept {
    fn discrete_gaussian(&mut self, deviation: &Rational) -> Result<i64, NoiseError> {
        let draw = match self.mutant {
            Mutant::WithoutNoise => 0,
            Mutant::WeakNoise => self.source.discrete_gaussian(deviation)? / 4,
            // the root of 1/2, and of 3/4
            Mutant::HalfVariance => self.narrowed(deviation, 7_071)?,
            Mutant::SharedByAll => self.narrowed(deviation, 8_660)?,
            _ => self.source.discrete_gaussian(deviation)?,
        };
        self.drawn.push(draw);
        Ok(draw)
    }

    fn bits(&mut self) -> Result<[u8; 32], NoiseError> {
        self.source.bits()
    }
}

/// A line of a bounded query: member, cell, sums.
pub type Line<'a> = (&'a str, i64, &'a [i64]);

/// A brand's noise share with what is in it, and its clipped sums; none when the reading fails.
pub fn contribution(
    plan: &DpPlan,
    of: ParticipantId,
    lines: &[Line<'_>],
    mutant: Mutant,
) -> Option<(NoiseShare, Vec<i64>, BoundedVector)> {
    let mut kept = Kept::new(mutant);
    let noise = NoiseShare::draw(plan, &mut kept).ok()?;
    let mut collector = Collector::new(plan, of);
    for (number, (member, cell, added)) in lines.iter().enumerate() {
        let own = format!("{member}{number}");
        let member = if mutant == Mutant::WithoutClipping { own.as_str() } else { *member };
        let added: Vec<Option<i64>> = added.iter().copied().map(Some).collect();
        collector.push(Some(member.as_bytes()), *cell, &added).ok()?;
    }
    Some((noise, kept.drawn, collector.finish().ok()?))
}

pub(super) struct Entry {
    pub(super) writer: ParticipantId,
    pub(super) index: u64,
    pub(super) time: UtcMillis,
    pub(super) bytes: Vec<u8>,
}

impl CertifiedEntry for Entry {
    fn writer(&self) -> ParticipantId {
        self.writer
    }
    fn index(&self) -> u64 {
        self.index
    }
    fn time(&self) -> UtcMillis {
        self.time
    }
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// What was seen of a question.
#[derive(Default)]
pub struct Seen {
    /// The release, if there was one.
    pub release: Option<Release>,
    /// Noise by brand: each brand knows its own.
    pub noise: BTreeMap<usize, Vec<i64>>,
    /// Openings by brand: those that went over the wire, and that which a liar kept.
    pub openings: BTreeMap<usize, Vec<u8>>,
    /// The cost, as reserved.
    pub rho: PicoRho,
    /// Who sent or certified how many bytes, in order: what an eavesdropper sees.
    pub traffic: Vec<(usize, usize)>,
    /// Who could not read.
    pub failed: usize,
}

impl Seen {
    /// The sum of all openings by coordinate, once they are all there: what a liar who has them all
    /// can work out without a release.
    #[must_use]
    pub fn sum(&self) -> Option<Vec<i64>> {
        let all = (0..BRANDS).map(|who| self.openings.get(&who)).collect::<Option<Vec<_>>>()?;
        let mut sum = vec![0i64; all.first()?.len() / 8];
        for opening in all {
            for (to, bytes) in sum.iter_mut().zip(opening.as_chunks::<8>().0) {
                *to = to.wrapping_add(i64::from_be_bytes(*bytes));
            }
        }
        Some(sum)
    }
}

/// All clean rooms with their certified logs.
pub struct Alliance {
    rooms: Vec<CleanRoom>,
    lengths: [u64; BRANDS],
    millis: u64,
    queries: u32,
    mutant: Mutant,
    liar: Option<(usize, Deviation)>,
}

impl Alliance {
    /// Without a past.
    #[must_use]
    pub fn new(mutant: Mutant) -> Self {
        let rooms = (0..BRANDS).map(|index| CleanRoom::new(brand(index), contract())).collect();
        Self {
            rooms,
            lengths: [0; BRANDS],
            millis: 1_790_000_000_000,
            queries: 0,
            mutant,
            liar: None,
        }
    }

    /// One brand deviates from now on.
    #[must_use]
    pub const fn with_liar(mut self, who: usize, deviation: Deviation) -> Self {
        self.liar = Some((who, deviation));
        self
    }

    /// The plan of a question, as every room makes it.
    #[must_use]
    pub fn plan(&self, spec: &QuerySpec) -> Option<DpPlan> {
        DpPlan::new(&CONTRACT, spec).ok()
    }

    const fn lies(&self, who: usize) -> Option<Deviation> {
        match self.liar {
            Some((liar, deviation)) if liar == who => Some(deviation),
            _ => None,
        }
    }

    /// Lets time pass, so that what is drawn next is other than in another alliance.
    pub const fn lead(&mut self, millis: u64) {
        self.millis += millis;
    }

    /// What a brand has been charged, as its log adds up.
    #[must_use]
    pub fn charged(&self, who: usize) -> PicoRho {
        self.rooms[who].ledger().joint_spent(brand(who), YEAR)
    }

    /// Asks through all seven steps. `lines` gives each brand's lines.
    ///
    /// # Errors
    ///
    /// When planner or account refuse.
    pub fn ask(
        &mut self,
        proposer: usize,
        spec: &QuerySpec,
        lines: &[Vec<Line<'_>>],
    ) -> Result<Seen, ProposeError> {
        if self.mutant == Mutant::WithoutCharges {
            let (queries, liar) = (self.queries, self.liar);
            *self = Self { queries, liar, ..Self::new(self.mutant) };
        }
        self.queries += 1;
        let mut query = [0u8; 16];
        query[..4].copy_from_slice(&self.queries.to_be_bytes());
        let request = ProposeRequest {
            query: QueryId(query),
            attempt: Attempt::FIRST,
            spec: spec.clone(),
            secret: self.secret(proposer),
            snapshot: SnapshotId([1; 32]),
            analyst_quota: PicoRho::new(u64::MAX),
            lifetime_millis: LIFETIME_MILLIS,
            opening_millis: LIFETIME_MILLIS,
        };
        let clock = self.clock();
        let effects = self.rooms[proposer].propose(request, clock)?;
        let mut seen = Seen { rho: spec.rho, ..Seen::default() };
        let mut waiting: Vec<(usize, Effect)> =
            effects.into_iter().map(|effect| (proposer, effect)).collect();
        let quiet_after = self.millis + LIFETIME_MILLIS / 2;
        for _ in 0..ROUNDS_MAX {
            let mut next = Vec::new();
            for (who, effect) in waiting {
                self.carry_out(who, effect, lines, &mut seen, &mut next);
            }
            waiting = next;
            if waiting.is_empty() {
                if seen.release.is_some() || self.millis > quiet_after {
                    break;
                }
                // openings that came before the last hash are sent again
                self.millis += 5_000;
                let clock = self.clock();
                for who in 0..BRANDS {
                    waiting.extend(self.rooms[who].tick(clock).into_iter().map(|e| (who, e)));
                }
            }
        }
        if seen.release.is_none() {
            self.expire(&mut seen);
        }
        Ok(seen)
    }

    /// Time passes the expiry in every log.
    fn expire(&mut self, seen: &mut Seen) {
        self.millis += 4 * LIFETIME_MILLIS;
        for _ in 0..3 {
            let clock = self.clock();
            let mut waiting = Vec::new();
            for who in 0..BRANDS {
                for log in 0..BRANDS {
                    let effects = self.rooms[who].head(brand(log), clock.now, clock);
                    waiting.extend(effects.into_iter().map(|effect| (who, effect)));
                }
                let effects = self.rooms[who].tick(clock);
                waiting.extend(effects.into_iter().map(|effect| (who, effect)));
            }
            let mut next = Vec::new();
            for (who, effect) in waiting {
                self.carry_out(who, effect, &[], seen, &mut next);
            }
            self.millis += 1_000;
        }
    }

    fn carry_out(
        &mut self,
        who: usize,
        effect: Effect,
        lines: &[Vec<Line<'_>>],
        seen: &mut Seen,
        next: &mut Vec<(usize, Effect)>,
    ) {
        self.millis += 1;
        let clock = self.clock();
        match effect {
            Effect::Append(entry) => {
                if let Some(entry) = self.as_certified(who, entry) {
                    self.certify(who, &entry, seen, next);
                }
            }
            Effect::Send { to, message } => {
                let Some(message) = self.as_sent(who, message, seen, next) else { return };
                let to = (0..BRANDS).find(|index| brand(*index) == to).unwrap_or(who);
                let bytes = message.to_bytes();
                seen.traffic.push((who, bytes.len()));
                let sent = self.rooms[to].message(brand(who), &bytes, clock);
                next.extend(sent.unwrap_or_default().into_iter().map(|effect| (to, effect)));
            }
            Effect::Decide { id, .. } => {
                let secret = self.secret(who);
                let accepted = self.rooms[who].accept(id, secret, SnapshotId([1; 32]), clock);
                next.extend(accepted.unwrap_or_default().into_iter().map(|effect| (who, effect)));
            }
            Effect::Read { id, plan } => {
                let lines = lines.get(who).map_or(&[][..], Vec::as_slice);
                let effects = match contribution(&plan, brand(who), lines, self.mutant) {
                    Some((noise, drawn, vector)) => {
                        seen.noise.insert(who, drawn);
                        let nonce = [who as u8; 32];
                        self.rooms[who].commit(id, noise, vector, nonce, clock).unwrap_or_default()
                    }
                    None => {
                        seen.failed += 1;
                        self.rooms[who].fail(id, clock)
                    }
                };
                next.extend(effects.into_iter().map(|effect| (who, effect)));
            }
            Effect::Released(release) => seen.release = Some(*release),
            // nobody starts anew here
            Effect::Give { .. }
            | Effect::Persist(_)
            | Effect::Declined { .. }
            | Effect::Void(_)
            | Effect::Forget(_) => {}
        }
    }

    /// What a brand's log gets in place of what its room says.
    fn as_certified(&self, who: usize, mut entry: CleanRoomEntry) -> Option<CleanRoomEntry> {
        match (&mut entry, self.lies(who)) {
            (CleanRoomEntry::Participate(_), Some(Deviation::NoReservation))
            | (CleanRoomEntry::Commit(_), Some(Deviation::NoHash)) => return None,
            (CleanRoomEntry::Participate(entry), Some(Deviation::OtherPlan)) => {
                entry.plan = PlanHash([0; 32]);
            }
            (CleanRoomEntry::Commit(entry), Some(Deviation::OtherSet)) => {
                entry.set = SetHash([0; 32]);
            }
            (CleanRoomEntry::Commit(entry), Some(Deviation::OtherVector)) => {
                entry.vector = VectorHash([0; 32]);
            }
            _ => {}
        }
        Some(entry)
    }

    fn certify(
        &mut self,
        who: usize,
        entry: &CleanRoomEntry,
        seen: &mut Seen,
        next: &mut Vec<(usize, Effect)>,
    ) {
        let clock = self.clock();
        let other = match (entry, self.lies(who)) {
            (CleanRoomEntry::Participate(entry), Some(Deviation::TwoViews)) => {
                let key = self.secret(BRANDS).public_key();
                Some(CleanRoomEntry::Participate(Participate { key, ..*entry }))
            }
            _ => None,
        };
        let placed = |entry: &CleanRoomEntry| Entry {
            writer: brand(who),
            index: self.lengths[who],
            time: clock.now,
            bytes: entry.to_bytes(),
        };
        let (to_some, to_others) = (placed(entry), placed(other.as_ref().unwrap_or(entry)));
        self.lengths[who] += 1;
        seen.traffic.push((who, to_some.bytes.len()));
        for reader in 0..BRANDS {
            let entry = if reader < 2 { &to_others } else { &to_some };
            let effects = self.rooms[reader].certified(entry, clock).unwrap_or_default();
            next.extend(effects.into_iter().map(|effect| (reader, effect)));
        }
    }

    /// What goes over the wire in place of what a brand's room says. A liar keeps its true opening.
    fn as_sent(
        &self,
        who: usize,
        mut message: Message,
        seen: &mut Seen,
        next: &mut Vec<(usize, Effect)>,
    ) -> Option<Message> {
        let Message::Opening(opening) = &mut message else { return Some(message) };
        let first = seen.openings.insert(who, opening.vector.clone()).is_none();
        match self.lies(who) {
            Some(Deviation::NoOpening) => None,
            Some(Deviation::FalseRenouncement) => {
                if first {
                    let entry = CleanRoomEntry::NotOpened(opening.id);
                    next.push((who, Effect::Append(entry)));
                    let entry = CleanRoomEntry::Returned(opening.id);
                    next.push((who, Effect::Append(entry)));
                }
                None
            }
            Some(Deviation::OtherOpening) => {
                opening.vector.iter_mut().take(1).for_each(|byte| *byte ^= 1);
                Some(message)
            }
            _ => Some(message),
        }
    }

    fn secret(&self, who: usize) -> MaskingSecret {
        let mut bytes = [who as u8 + 1; 32];
        bytes[..4].copy_from_slice(&self.queries.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.millis.to_be_bytes());
        MaskingSecret::from_bytes(bytes)
    }

    const fn clock(&self) -> Clock {
        Clock { now: UtcMillis(self.millis), year: YEAR }
    }
}
