//! The harness: rooms, logs, disks and a wire, driven by one seed.

use std::collections::{BTreeMap, BTreeSet};

use super::super::*;
use crate::accounting::{AuditEntry, Evidence, Finding, InForce, Kept, Rule, audit};
use crate::bounded::{BoundedVector, Collector};
use crate::contract::Contract;
use crate::exact::Rational;
use crate::ids::{Attempt, ParticipantId, QueryId, ReleaseHash, SetHash, SnapshotId};
use crate::masked_sum::MaskingSecret;
use crate::mechanism::{NoiseError, NoiseShare, NoiseSource};
use crate::plan::DpPlan;
use crate::testing::{brand, sample_contract, spec};
use crate::units::{CalendarYear, PicoRho, UtcMillis};

pub const HALVES: &str = "SELECT half_year(purchased_on) AS half, count(distinct member) AS \
                          active_memberships FROM purchases GROUP BY half_year(purchased_on)";
/// As many cells, and figures in them, as a joint question may have.
pub const LARGEST: &str = "SELECT least(greatest(quantity, 0), 99) AS q, least(greatest(amount_fen, 0), 999) AS a, \
                           count(*) AS n, count(distinct member) AS m FROM purchases GROUP BY 1, 2";
/// Milliseconds to the expiry, and as many again to the last opening.
pub const LIFETIME: u64 = 24_000;
const YEAR: CalendarYear = CalendarYear(2026);

/// What one brand does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Declines,
    NoHash,
    OtherSet,
    NoOpening,
    /// Its opening reaches the first brand alone.
    OpensToFirst,
    Dead,
    /// Its reading never comes back.
    Slow,
}

/// What happens to a brand between two effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    Restarts,
    IsGone,
}

/// An entry as certified.
#[derive(Clone, Debug)]
pub struct Certified {
    writer: ParticipantId,
    index: u64,
    time: UtcMillis,
    bytes: Vec<u8>,
}

impl CertifiedEntry for Certified {
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

struct Fixed(i64);
impl NoiseSource for Fixed {
    fn discrete_gaussian(&mut self, _: &Rational) -> Result<i64, NoiseError> {
        Ok(self.0)
    }
}

enum Event {
    Message { from: usize, to: usize, bytes: Vec<u8> },
    Read { brand: usize, id: AttemptId, plan: std::sync::Arc<DpPlan> },
    Decide { brand: usize, id: AttemptId },
}

pub struct Alliance {
    n: usize,
    /// What all of them agreed on, and what their logs are audited under.
    pub contract: Contract,
    pub rooms: Vec<CleanRoom>,
    pub disks: Vec<Vec<Vec<u8>>>,
    logs: Vec<Vec<Certified>>,
    /// What the next questions cost; the usual if none.
    pub rho: Option<PicoRho>,
    /// How many entries of each log each brand has seen.
    seen: Vec<Vec<usize>>,
    events: Vec<Event>,
    random: u64,
    millis: u64,
    secrets: u8,
    pub fault: Option<(usize, Fault)>,
    /// Logs that do not reach a reader: (reader, writer).
    pub hidden: BTreeSet<(usize, usize)>,
    pub loss_percent: u8,
    pub crash_percent: u8,
    /// A brand restarts once, or is gone for good, before the effect of this number.
    pub cut: Option<(usize, usize, Cut)>,
    /// Effects of each brand so far.
    pub carried: Vec<usize>,
    pub reads: Vec<usize>,
    pub releases: Vec<BTreeMap<AttemptId, Release>>,
    pub kept: Kept,
    /// What each brand has kept of what it has released.
    evidence: Vec<BTreeMap<AttemptId, Evidence>>,
    pub declined: Vec<(AttemptId, ParticipantId, DeclineReason)>,
    declines: Vec<(AttemptId, DeclineReason)>,
}

impl Alliance {
    pub fn new(n: usize, seed: u64) -> Self {
        Self::under(sample_contract(), n, seed)
    }

    pub fn under(contract: Contract, n: usize, seed: u64) -> Self {
        Self {
            n,
            rooms: (0..n).map(|i| CleanRoom::new(brand(i), contract.clone())).collect(),
            contract,
            disks: vec![Vec::new(); n],
            logs: vec![Vec::new(); n],
            rho: None,
            seen: vec![vec![0; n]; n],
            events: Vec::new(),
            random: seed | 1,
            millis: 1_700_000_000_000,
            secrets: 0,
            fault: None,
            hidden: BTreeSet::new(),
            loss_percent: 0,
            crash_percent: 0,
            cut: None,
            carried: vec![0; n],
            reads: vec![0; n],
            releases: vec![BTreeMap::new(); n],
            kept: Kept::default(),
            evidence: vec![BTreeMap::new(); n],
            declined: Vec::new(),
            declines: Vec::new(),
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % bound as u64) as usize
    }

    fn percent(&mut self, percent: u8) -> bool {
        self.below(100) < usize::from(percent)
    }

    pub fn year(&self) -> CalendarYear {
        YEAR
    }

    pub fn now(&self) -> UtcMillis {
        UtcMillis(self.millis)
    }

    pub fn clock(&self) -> Clock {
        Clock { now: self.now(), year: YEAR }
    }

    fn is(&self, who: usize, fault: Fault) -> bool {
        self.fault == Some((who, fault))
    }

    fn secret(&mut self) -> MaskingSecret {
        self.secrets += 1;
        MaskingSecret::from_bytes([self.secrets; 32])
    }

    pub fn propose(&mut self, who: usize, query: u8, sql: &str) -> Result<AttemptId, ProposeError> {
        self.propose_attempt(who, query, 1, sql)
    }

    /// Asks the first so many brands.
    pub fn propose_to(
        &mut self,
        who: usize,
        query: u8,
        brands: usize,
        sql: &str,
    ) -> Result<AttemptId, ProposeError> {
        let n = std::mem::replace(&mut self.n, brands);
        let proposed = self.propose(who, query, sql);
        self.n = n;
        proposed
    }

    pub fn propose_attempt(
        &mut self,
        who: usize,
        query: u8,
        attempt: u32,
        sql: &str,
    ) -> Result<AttemptId, ProposeError> {
        let mut spec = spec(sql, self.n);
        spec.rho = self.rho.unwrap_or(spec.rho);
        let request = ProposeRequest {
            query: QueryId([query; 16]),
            attempt: Attempt(attempt),
            spec,
            secret: self.secret(),
            snapshot: SnapshotId([1; 32]),
            analyst_quota: PicoRho::new(u64::MAX),
            lifetime_millis: LIFETIME,
            opening_millis: LIFETIME,
        };
        let id = AttemptId { proposer: brand(who), query: request.query, attempt: request.attempt };
        let clock = self.clock();
        let asked = request.spec.clone();
        let effects = self.rooms[who].propose(request, clock)?;
        self.kept.questions.insert(id, asked);
        self.carry_out(who, effects);
        Ok(id)
    }

    /// A reservation that the proposer's own room would not have made, and its proposal.
    pub fn forge_reserve(
        &mut self,
        who: usize,
        query: u8,
        spec: &QuerySpec,
        year: CalendarYear,
    ) -> AttemptId {
        let plan = DpPlan::new(&self.contract, spec).unwrap();
        let id = AttemptId {
            proposer: brand(who),
            query: QueryId([query; 16]),
            attempt: Attempt::FIRST,
        };
        let reserve = Reserve {
            id,
            plan: plan.hash(),
            sql: plan.sql_hash(),
            contract: plan.contract_hash(),
            participants: plan.participants().to_vec(),
            rho: plan.rho(),
            year,
            analyst: spec.analyst,
            expires_at: self.now().plus(LIFETIME),
            open_by: self.now().plus(2 * LIFETIME),
        };
        let proposal = Message::Proposal(Proposal { id, spec: spec.clone() });
        let mut effects = vec![Effect::Append(CleanRoomEntry::Reserve(reserve))];
        effects.extend(
            (0..self.n)
                .filter(|to| *to != who)
                .map(|to| Effect::Send { to: brand(to), message: proposal.clone() }),
        );
        self.carry_out(who, effects);
        id
    }

    pub fn declines_sent(&self, id: AttemptId) -> Vec<DeclineReason> {
        self.declines.iter().filter(|(of, _)| *of == id).map(|(_, reason)| *reason).collect()
    }

    pub fn released_by(&self, id: AttemptId) -> usize {
        self.releases.iter().filter(|releases| releases.contains_key(&id)).count()
    }

    pub fn joint_spent(&self, who: usize) -> PicoRho {
        self.rooms[0].ledger().joint_spent(brand(who), YEAR)
    }

    /// Carries effects out in order; a crash may come between any two.
    fn carry_out(&mut self, who: usize, effects: Vec<Effect>) {
        for effect in effects {
            if self.crash_percent > 0 && self.percent(self.crash_percent) {
                self.restart(who);
                return;
            }
            if let Some((brand, before, cut)) = self.cut
                && (brand, before) == (who, self.carried[who])
            {
                self.cut = None;
                match cut {
                    Cut::Restarts => self.restart(who),
                    Cut::IsGone => self.fault = Some((who, Fault::Dead)),
                }
                return;
            }
            if self.is(who, Fault::Dead) {
                return;
            }
            self.carried[who] += 1;
            match effect {
                Effect::Persist(record) => self.disks[who].push(record.to_bytes()),
                Effect::Append(entry) => self.append(who, entry),
                Effect::Send { to, message } => self.send(who, to, &message),
                Effect::Decide { id, .. } => self.events.push(Event::Decide { brand: who, id }),
                Effect::Read { id, plan } => {
                    self.events.push(Event::Read { brand: who, id, plan });
                }
                Effect::Released(release) => {
                    let id = release.id();
                    self.releases[who].insert(id, *release);
                    self.evidence[who].extend(self.rooms[who].evidence(&id).map(|it| (id, it)));
                }
                Effect::Give { to, id, vector } => {
                    let kept = self.evidence[who].get(&id);
                    if let Some(message) = kept.and_then(|kept| kept.attached(vector)) {
                        self.send(who, to, &message);
                    }
                }
                Effect::Declined { id, by, reason } => self.declined.push((id, by, reason)),
                Effect::Void(_) | Effect::Forget(_) => {}
            }
        }
    }

    pub fn append(&mut self, who: usize, mut entry: CleanRoomEntry) {
        if self.is(who, Fault::Dead) {
            return;
        }
        if let CleanRoomEntry::Commit(commit) = &mut entry
            && self.is(who, Fault::OtherSet)
        {
            commit.set = SetHash([0; 32]);
        }
        let certified = Certified {
            writer: brand(who),
            index: self.logs[who].len() as u64,
            time: self.now(),
            bytes: entry.to_bytes(),
        };
        self.logs[who].push(certified);
    }

    fn send(&mut self, from: usize, to: ParticipantId, message: &Message) {
        let to = (0..self.n).find(|i| brand(*i) == to).unwrap();
        match message {
            Message::Opening(_) if self.is(from, Fault::NoOpening) => return,
            Message::Opening(_) if self.is(from, Fault::OpensToFirst) && to != 0 => return,
            Message::Opening(opening) => self.keep(from, opening),
            Message::Declined(id, reason) => self.declines.push((*id, *reason)),
            Message::Proposal(_) | Message::Wanted(..) | Message::Attached(..) => {}
        }
        if !self.is(from, Fault::Dead) && !self.percent(self.loss_percent) {
            self.events.push(Event::Message { from, to, bytes: message.to_bytes() });
        }
    }

    fn keep(&mut self, from: usize, opening: &Opening) {
        let kept = (brand(from), opening.clone());
        if !self.kept.openings.contains(&kept) {
            self.kept.openings.push(kept);
        }
    }

    /// The process ends and begins again from disk and logs.
    pub fn restart(&mut self, who: usize) {
        self.events.retain(|event| match event {
            Event::Message { to, .. } => *to != who,
            Event::Read { brand, .. } | Event::Decide { brand, .. } => *brand != who,
        });
        let contract = self.contract.clone();
        let mut room = CleanRoom::restore(brand(who), contract, &self.disks[who]).unwrap();
        for (writer, log) in self.logs.iter().enumerate() {
            // The own log is on the own disk; of others', what had been seen.
            let known = if writer == who { log.len() } else { self.seen[who][writer] };
            self.seen[who][writer] = known;
            for entry in &log[..known] {
                room.replay(entry).unwrap();
            }
        }
        self.rooms[who] = room;
        let clock = self.clock();
        let effects = self.rooms[who].resume(clock);
        self.carry_out(who, effects);
    }

    /// A restart that finds every log complete, as if all had been fetched while it was down.
    pub fn restart_with_all_logs(&mut self, who: usize) {
        for writer in 0..self.n {
            self.seen[who][writer] = self.logs[writer].len();
        }
        self.restart(who);
    }

    /// The figures of one brand: known members per half, clipped and bounded as always.
    pub fn input(&self, who: usize) -> (NoiseShare, BoundedVector) {
        let plan = DpPlan::new(&self.contract, &spec(HALVES, self.n)).unwrap();
        self.input_for(who, &plan)
    }

    fn input_for(&self, who: usize, plan: &DpPlan) -> (NoiseShare, BoundedVector) {
        let noise = NoiseShare::draw(plan, &mut Fixed(noise_of(who))).unwrap();
        let mut collector = Collector::new(plan, brand(who));
        for (position, cell) in plan.cells().iter().enumerate() {
            for member in 0..members_of(who, position) {
                let code = i64::try_from(cell.code).unwrap();
                collector.push(Some(&[member]), code, &[Some(1)]).unwrap();
            }
        }
        (noise, collector.finish().unwrap())
    }

    pub fn truth_plus_noise(&self) -> Vec<f64> {
        let cell = |cell| {
            (0..self.n).map(|who| i64::from(members_of(who, cell)) + noise_of(who)).sum::<i64>()
        };
        vec![cell(0) as f64, cell(1) as f64]
    }

    /// One random thing happens, or time passes. Returns whether something did.
    fn step(&mut self) -> bool {
        let mut deliveries: Vec<(usize, usize)> = Vec::new();
        for reader in 0..self.n {
            for writer in 0..self.n {
                let news = self.seen[reader][writer] < self.logs[writer].len();
                if news && !self.hidden.contains(&(reader, writer)) {
                    deliveries.push((reader, writer));
                }
            }
        }
        let choices = deliveries.len() + self.events.len();
        if choices == 0 {
            return false;
        }
        let choice = self.below(choices);
        self.millis += 1;
        if let Some((reader, writer)) = deliveries.get(choice).copied() {
            let entry = self.logs[writer][self.seen[reader][writer]].clone();
            self.seen[reader][writer] += 1;
            let clock = self.clock();
            let effects = self.rooms[reader].certified(&entry, clock).unwrap();
            self.carry_out(reader, effects);
        } else {
            let event = self.events.swap_remove(choice - deliveries.len());
            self.handle(event);
        }
        true
    }

    fn handle(&mut self, event: Event) {
        let clock = self.clock();
        match event {
            Event::Message { from, to, bytes } => {
                // Early openings are refused and sent again by a tick.
                if let Ok(effects) = self.rooms[to].message(brand(from), &bytes, clock) {
                    self.carry_out(to, effects);
                }
            }
            Event::Decide { brand: who, id } => {
                if self.is(who, Fault::Declines) {
                    let effects = self.rooms[who].decline(id);
                    return self.carry_out(who, effects);
                }
                let secret = self.secret();
                let snapshot = SnapshotId([who as u8; 32]);
                if let Ok(effects) = self.rooms[who].accept(id, secret, snapshot, clock) {
                    self.carry_out(who, effects);
                }
            }
            Event::Read { brand: who, id, plan } => {
                self.reads[who] += 1;
                if self.is(who, Fault::Slow) {
                    return;
                }
                let effects = if self.is(who, Fault::NoHash) {
                    self.rooms[who].fail(id, clock)
                } else {
                    let (noise, vector) = self.input_for(who, &plan);
                    let nonce = [who as u8; 32];
                    self.rooms[who].commit(id, noise, vector, nonce, clock).unwrap_or_default()
                };
                self.carry_out(who, effects);
            }
        }
    }

    /// The length of each opening that is on its way, in bytes.
    pub fn openings_under_way(&self) -> Vec<usize> {
        let openings = self.events.iter().filter_map(|event| match event {
            Event::Message { bytes, .. } => match Message::from_bytes(bytes) {
                Ok(Message::Opening(_)) => Some(bytes.len()),
                _ => None,
            },
            _ => None,
        });
        openings.collect()
    }

    /// Everything under way arrives.
    pub fn settle(&mut self) {
        while self.step() {}
    }

    /// A second passes; logs that live are certified up to now; everybody ticks.
    fn second(&mut self) {
        self.millis += 1_000;
        let clock = self.clock();
        for reader in 0..self.n {
            for writer in 0..self.n {
                let up_to_date = !self.hidden.contains(&(reader, writer))
                    && self.seen[reader][writer] == self.logs[writer].len();
                if up_to_date && !self.is(writer, Fault::Dead) {
                    let effects = self.rooms[reader].head(brand(writer), clock.now, clock);
                    self.carry_out(reader, effects);
                }
            }
            let effects = self.rooms[reader].tick(clock);
            self.carry_out(reader, effects);
        }
    }

    pub fn run_until(&mut self, done: impl Fn(&Self) -> bool) {
        for _ in 0..600 {
            while !done(self) && self.step() {}
            if done(self) {
                return;
            }
            self.second();
        }
        panic!("ten minutes passed");
    }

    pub fn run_for(&mut self, millis: u64) {
        let end = self.millis + millis;
        while self.millis < end {
            self.settle();
            self.second();
        }
        self.settle();
    }

    /// A restart from a disk with only the first so many records, and with all logs.
    pub fn restore(&mut self, who: usize, records: usize) {
        self.disks[who].truncate(records);
        self.restart_with_all_logs(who);
    }

    /// Agrees to a readmission.
    pub fn readmit(&mut self, who: usize, accused: usize) -> Result<(), ReadmitError> {
        let effects = self.rooms[who].readmit(brand(accused))?;
        self.carry_out(who, effects);
        Ok(())
    }

    /// Audits all logs with all openings and questions that were kept.
    pub fn audit(&self) -> Vec<Finding> {
        self.audited(self.logs.iter().flatten())
    }

    fn audited<'a>(&self, entries: impl Iterator<Item = &'a Certified>) -> Vec<Finding> {
        let under = Some(self.contract.hash());
        let entries = entries.map(|entry| AuditEntry { entry, year: YEAR, under });
        audit(&[InForce::always(&self.contract)], entries, &self.kept).1
    }

    /// A brand's logged release with another hash, in place of the one it logged.
    pub fn forge_release(&self, who: usize, id: AttemptId) -> Certified {
        let logged = self.logs[who].iter().find_map(|entry| {
            match CleanRoomEntry::from_bytes(&entry.bytes).unwrap() {
                CleanRoomEntry::Release(release) if release.id == id => Some((entry, release)),
                _ => None,
            }
        });
        let (entry, mut release) = logged.unwrap();
        release.release = ReleaseHash([0; 32]);
        Certified { bytes: CleanRoomEntry::Release(release).to_bytes(), ..entry.clone() }
    }

    /// The rules broken when one entry stands in place of the one at its index.
    pub fn audit_with(&self, forged: Certified) -> Vec<Rule> {
        let mut entries: Vec<Certified> = self.logs.iter().flatten().cloned().collect();
        for entry in &mut entries {
            if (entry.writer, entry.index) == (forged.writer, forged.index) {
                *entry = forged.clone();
            }
        }
        self.audited(entries.iter()).iter().map(|finding| finding.rule).collect()
    }

    /// What must hold whatever happened.
    pub fn check_invariants(&self) {
        for who in 0..self.n {
            let mut drawn = BTreeSet::new();
            let mut renounced = BTreeSet::new();
            let mut opened = BTreeSet::new();
            for record in self.disks[who].iter().map(|bytes| Record::from_bytes(bytes).unwrap()) {
                match record {
                    Record::Drawn(vector) => assert!(drawn.insert(vector.id), "second vector"),
                    Record::NotOpened(id) => assert!(renounced.insert(id)),
                    Record::Opened(id) => assert!(opened.insert(id)),
                    Record::Begun(_) | Record::ReadStarted(_) | Record::Failed(_) => {}
                }
            }
            assert!(opened.is_disjoint(&renounced), "opened what was renounced");
            for (from, opening) in &self.kept.openings {
                assert!(*from != brand(who) || opened.contains(&opening.id));
            }
        }
        for (id, facts) in self.rooms[0].ledger().attempts() {
            let released = self.releases.iter().any(|releases| releases.contains_key(id));
            assert!(!released || facts.charge().is_some(), "released without a charge");
            assert!(!(released && facts.is_returned()), "released and returned");
            let openings: BTreeSet<Vec<u8>> = self
                .kept
                .openings
                .iter()
                .filter(|(from, opening)| opening.id == *id && *from == brand(0))
                .map(|(_, opening)| opening.vector.clone())
                .collect();
            assert!(openings.len() <= 1, "two openings of one attempt");
        }
    }
}

fn members_of(who: usize, cell: usize) -> u8 {
    [[120, 90], [7, 30], [200, 199], [0, 1], [50, 60]][who].get(cell).copied().unwrap_or(0)
}

fn noise_of(who: usize) -> i64 {
    [13, -4, 250, -90, 1][who]
}
