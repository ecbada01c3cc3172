//! A brand that lies in a joint question, or drops out of it, among running nodes.
//!
//! It is a peer made by hand, under the brand's keys and at its address, from what honest nodes are made of: the ledger,
//! the steps of the clean room, the network. Where it lies is in what it lets out of its clean room ([`Lie`]); nodes have
//! no such place. It keeps nothing on a disk, reads nothing and adds its noise to nothing.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, SystemTime};

use alliance_config::Constitution;
use jiff::tz::TimeZone;
use node::cleanroom::{APPLICATION, Certified, CertifiedApplication, Names, QueryTimes};
use node::keys::OwnKeys;
use node::net::{Inbound, Inbox, NetworkHandle};
use node::service::{PartnerView, QueryView};
use privacy::exact::Rational;
use privacy::ids::SetHash;
use privacy::mechanism::{NoiseError, NoiseSource};
use privacy::steps::Commit;
use privacy::{
    AttemptId, CalendarYear, CleanRoom, CleanRoomEntry, Clock, Collector, Effect, MaskingSecret,
    NoiseShare, OpendpNoise, ParticipantId, SnapshotId, UtcMillis,
};
use protocol::ids::{BrandId, Height};
use protocol::ledger::{Archive, Context, Ledger};
use protocol::log::block::{ApplicationEntry, PublicEntry};
use protocol::time::{Milliseconds, Timestamp};
use protocol::wire::{Frame, Negotiation};
use protocol::witness::build::OwnBlock;
use protocol::witness::message::{ApplicationMessage, Message};
use protocol::witness::state::Outbox;
use protocol::witness::statement::UnverifiedCertificate;
use protocol::witness::writer::Entropy;
use tokio::sync::watch;

use super::alliance::{Alliance, eventually};
use super::attacks::ended;
use super::flood::network_of;

const LIAR: &str = "health_home";
const OTHERS: [&str; 4] = ["fresh_counter", "fuel_stop", "grocer_one", "grocer_two"];
/// The others' hashes come in time on a busy machine as well.
const TIMES: QueryTimes = QueryTimes {
    reservation: Milliseconds::from_seconds(40),
    opening: Milliseconds::from_seconds(2),
};

/// What it does otherwise than an honest brand, in the questions that it is asked from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    /// Reserves, and certifies no hash.
    NoHash,
    /// Certifies a hash for another set of participants than the one that reserved.
    OtherSet,
    /// Certifies its hash, and opens to nobody.
    NoOpening,
    /// Certifies its hash, and opens something else.
    WrongOpening,
}

/// What its clean room has seen.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// Questions that it takes part in, in order.
    taken: Vec<AttemptId>,
    /// Whether it is suspended.
    suspended: bool,
    /// What noise it has added to the last question's first column, in the column's unit.
    noise: Vec<f64>,
}

/// The noise of honest brands, by one who remembers it.
struct Remembered {
    source: OpendpNoise,
    drawn: Vec<i64>,
}

impl NoiseSource for Remembered {
    fn discrete_gaussian(&mut self, deviation: &Rational) -> Result<i64, NoiseError> {
        let drawn = self.source.discrete_gaussian(deviation)?;
        self.drawn.push(drawn);
        Ok(drawn)
    }
}

/// What it draws need not be secret, but each time something else.
#[derive(Default)]
struct Numbers(u64);

impl Numbers {
    fn drawn<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }
}

impl Entropy for Numbers {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0 += 1;
        let number = self.0.to_be_bytes();
        for (byte, number) in bytes.iter_mut().zip(number.into_iter().cycle()) {
            *byte = number;
        }
    }
}

/// Its own log.
#[derive(Default)]
struct OwnLog(BTreeMap<Height, (OwnBlock, UnverifiedCertificate)>);

impl Archive for OwnLog {
    fn block(&self, height: Height) -> Option<(OwnBlock, UnverifiedCertificate)> {
        self.0.get(&height).cloned()
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp::from_unix_ms(u64::try_from(since.as_millis()).unwrap())
}

struct Liar {
    me: BrandId,
    participant: ParticipantId,
    names: Names,
    zone: TimeZone,
    ledger: Ledger,
    log: OwnLog,
    room: CleanRoom,
    numbers: Numbers,
    network: NetworkHandle,
    wires: BTreeMap<BrandId, Negotiation>,
    /// What it will do in the next question, and what it does in those that it takes part in.
    lie: watch::Receiver<Option<Lie>>,
    lies: BTreeMap<AttemptId, Lie>,
    seen: watch::Sender<Seen>,
}

impl Liar {
    async fn run(mut self, mut inbox: Inbox) {
        self.with_ledger(|ledger, context, out| ledger.resume(context, out));
        let mut ticks = tokio::time::interval(Duration::from_millis(250));
        let mut number = 0_u64;
        loop {
            tokio::select! {
                inbound = inbox.recv() => match inbound {
                    Some(inbound) => self.hear(inbound),
                    None => return,
                },
                _ = ticks.tick() => {
                    self.with_ledger(|ledger, context, out| ledger.tick(context, out));
                    number += 1;
                    if number.is_multiple_of(8) {
                        let clock = self.clock();
                        let effects = self.room.tick(clock);
                        self.carry_out(effects);
                    }
                }
            }
        }
    }

    fn clock(&self) -> Clock {
        let now = now().unix_ms();
        let instant = jiff::Timestamp::from_millisecond(i64::try_from(now).unwrap()).unwrap();
        let year = instant.to_zoned(self.zone.clone()).year();
        Clock { now: UtcMillis(now), year: CalendarYear(u16::try_from(year).unwrap()) }
    }

    fn hear(&mut self, inbound: Inbound) {
        match inbound {
            Inbound::Connected(brand) => {
                let hello = self.wires.entry(brand).or_default().hello();
                // who is away again is greeted when it comes back
                let _ = self.network.send(brand, hello);
                self.with_ledger(|ledger, _, out| ledger.ask(brand, out));
            }
            Inbound::Disconnected(_) => {}
            Inbound::Message { from, bytes } => {
                match self.wires.entry(from).or_default().receive(&bytes).unwrap() {
                    Frame::Hello(_) => {}
                    Frame::Message(Message::Application(message)) => self.told(from, &message),
                    Frame::Message(message) => self.with_ledger(|ledger, context, out| {
                        ledger.handle(from, message, context, out).unwrap();
                    }),
                }
            }
        }
    }

    fn told(&mut self, from: BrandId, message: &ApplicationMessage) {
        if message.application != APPLICATION {
            return;
        }
        let (from, clock) = (self.names.participant(from).unwrap(), self.clock());
        // what comes too early comes again
        let effects = self.room.message(from, &message.body, clock).unwrap_or_default();
        self.carry_out(effects);
    }

    fn send(&mut self, to: BrandId, message: Message) {
        if let Some(bytes) = self.wires.entry(to).or_default().send(message) {
            // what is lost is said again
            let _ = self.network.send(to, bytes);
        }
    }

    /// Calls the ledger, and does with what comes of it what a node does.
    fn with_ledger(&mut self, act: impl FnOnce(&mut Ledger, &mut Context<'_>, &mut Outbox)) {
        let mut out = Outbox::default();
        let mut context = Context { now: now(), entropy: &mut self.numbers, archive: &self.log };
        act(&mut self.ledger, &mut context, &mut out);
        self.ledger.poll(&mut context, &mut out);
        let clock = self.clock();
        let (mut written, mut effects) = (out.written.into_iter(), Vec::new());
        for done in &out.finals {
            let log = done.block.log;
            if log == self.me {
                let certificate = done.certificate.as_unverified().clone();
                let own = (written.next().unwrap(), certificate);
                self.log.0.insert(done.block.height, own);
            } else if self.ledger.may_apply() {
                self.ledger.applied(log, Vec::new(), false).unwrap();
            }
            for entry in CertifiedApplication::of(done) {
                if let Some(certified) = Certified::of(&entry, &self.names) {
                    effects.extend(self.room.certified(&certified, clock).unwrap_or_default());
                }
            }
            let (log, time) = (self.names.participant(log).unwrap(), done.header.time.unix_ms());
            effects.extend(self.room.head(log, UtcMillis(time), clock));
        }
        for (to, message) in out.messages {
            self.send(to, message);
        }
        self.carry_out(effects);
    }

    /// Does what its clean room wants done, or what it does instead.
    fn carry_out(&mut self, effects: Vec<Effect>) {
        let clock = self.clock();
        let (mut effects, mut entries) = (VecDeque::from(effects), Vec::new());
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Append(entry) => entries.extend(self.certifies(entry)),
                Effect::Send { to, message } => {
                    if let Some(message) = self.says(message) {
                        let (application, body) = (APPLICATION, message.to_bytes());
                        let message = ApplicationMessage { application, body };
                        let to = self.names.brand(to).unwrap();
                        self.send(to, Message::Application(message));
                    }
                }
                Effect::Decide { id, .. } => {
                    let lie = *self.lie.borrow();
                    self.lies.extend(lie.map(|lie| (id, lie)));
                    self.seen.send_modify(|seen| seen.taken.push(id));
                    let secret = MaskingSecret::from_bytes(self.numbers.drawn());
                    let taken = self.room.accept(id, secret, SnapshotId([9; 32]), clock);
                    effects.extend(taken.unwrap());
                }
                Effect::Read { id, plan } => {
                    let source = OpendpNoise::from_system_entropy();
                    let mut source = Remembered { source, drawn: Vec::new() };
                    let noise = NoiseShare::draw(&plan, &mut source).unwrap();
                    let scale = plan.columns()[0].scale() as f64;
                    let drawn = source.drawn.iter().take(plan.cells().len());
                    let drawn: Vec<f64> = drawn.map(|drawn| *drawn as f64 / scale).collect();
                    self.seen.send_modify(|seen| seen.noise = drawn);
                    let nothing = Collector::new(&plan, self.participant).finish().unwrap();
                    let nonce = self.numbers.drawn();
                    let drawn = self.room.commit(id, noise, nothing, nonce, clock);
                    effects.extend(drawn.unwrap());
                }
                Effect::Persist(_)
                | Effect::Give { .. }
                | Effect::Released(_)
                | Effect::Declined { .. }
                | Effect::Void(_)
                | Effect::Forget(_) => {}
            }
        }
        let suspended = self.room.ledger().suspended(self.room.contract(), self.participant);
        self.seen.send_modify(|seen| seen.suspended = suspended.is_some());
        if entries.is_empty() {
            return;
        }
        self.with_ledger(|ledger, _, _| {
            for entry in entries {
                let body = CleanRoomEntry::to_bytes(&entry);
                let entry = ApplicationEntry { application: APPLICATION, body };
                ledger.submit_public(PublicEntry::Application(entry)).unwrap();
            }
        });
    }

    /// What comes into its log of an entry that an honest brand would certify.
    fn certifies(&self, entry: CleanRoomEntry) -> Option<CleanRoomEntry> {
        match (self.lies.get(&entry.id()), entry) {
            (Some(Lie::NoHash), CleanRoomEntry::Commit(_)) => None,
            (Some(Lie::OtherSet), CleanRoomEntry::Commit(commit)) => {
                Some(CleanRoomEntry::Commit(Commit { set: SetHash([7; 32]), ..commit }))
            }
            (_, entry) => Some(entry),
        }
    }

    /// What it says in place of what an honest brand would.
    fn says(&self, message: privacy::Message) -> Option<privacy::Message> {
        match (self.lies.get(&message.id()), message) {
            (Some(Lie::NoOpening), privacy::Message::Opening(_)) => None,
            (Some(Lie::WrongOpening), privacy::Message::Opening(mut opening)) => {
                opening.vector[0] ^= 1;
                Some(privacy::Message::Opening(opening))
            }
            (_, message) => Some(message),
        }
    }
}

/// Four nodes, and the peer that plays the fifth brand's part.
struct Among {
    alliance: Alliance,
    lie: watch::Sender<Option<Lie>>,
    seen: watch::Receiver<Seen>,
}

impl Among {
    async fn begin() -> Self {
        let alliance = Alliance::of_the_sample_without(LIAR, TIMES).await;
        let toml = std::fs::read(alliance.folder.path().join("c.toml")).unwrap();
        let constitution = Constitution::parse(&toml).unwrap();
        let me = BrandId::new(LIAR).unwrap();
        let own = OwnKeys::read(&alliance.data(me).keys()).unwrap();
        let keys = own.secrets.ledger(own.sealing.ring().unwrap()).unwrap();
        let (network, inbox) = network_of(&alliance, &constitution, me).await;
        let names = Names::of(&alliance.brands);
        let participant = names.participant(me).unwrap();
        let contract = constitution.clean_room().unwrap().contract().clone();
        let ((lie, chosen), (seen, shown)) =
            (watch::channel(None), watch::channel(Seen::default()));
        let liar = Liar {
            me,
            participant,
            names,
            zone: constitution.clearing_zone().clone(),
            ledger: Ledger::new(me, constitution.ledger().clone(), keys),
            log: OwnLog::default(),
            room: CleanRoom::new(participant, contract),
            numbers: Numbers::default(),
            network: network.clone(),
            wires: BTreeMap::new(),
            lie: chosen,
            lies: BTreeMap::new(),
            seen,
        };
        tokio::spawn(liar.run(inbox));
        eventually("it is let in", async || network.connected().len() == OTHERS.len()).await;
        let among = Self { alliance, lie, seen: shown };
        for brand in OTHERS {
            eventually("all have started", async || {
                let alerts = among.alliance.node(brand).status().alerts;
                !alerts.iter().any(|alert| alert.starts_with("starting: "))
            })
            .await;
        }
        among
    }

    /// Plans and asks.
    async fn ask(&self, asker: &str, sql: &str) -> (QueryView, Vec<String>) {
        let node = self.alliance.node(asker);
        let plan = node.plan(sql.into()).await.unwrap();
        let participants = plan.participants.clone();
        (node.query(sql.into(), plan.plan).await.unwrap(), participants)
    }

    /// The brand takes part in so many questions by now, under what was chosen for each.
    async fn takes_part(&self, questions: usize) {
        eventually("it takes part", async || self.seen.borrow().taken.len() == questions).await;
    }

    /// The partner's view of the brand at another.
    async fn partner(&self, brand: &str) -> PartnerView {
        let views = self.alliance.node(brand).partners().await.unwrap();
        views.into_iter().find(|view| view.brand == LIAR).unwrap()
    }

    /// Every brand, the one itself too, has it suspended for this question, or for none.
    async fn is_suspended_for(&self, question: Option<&str>) {
        for brand in OTHERS {
            eventually("everyone sees whether it is suspended", async || {
                self.partner(brand).await.suspended_for.as_deref() == question
            })
            .await;
        }
        eventually("it sees it too", async || self.seen.borrow().suspended == question.is_some())
            .await;
    }

    /// The question is answered, at all nodes alike.
    async fn is_answered(&self, asker: &str, id: &str) {
        let release = ended(&self.alliance, asker, id).await.release.expect("a release");
        for brand in OTHERS {
            let theirs = ended(&self.alliance, brand, id).await;
            assert_eq!(theirs.release.as_ref(), Some(&release), "{brand}");
        }
    }
}

fn counting(number: u32) -> String {
    format!("SELECT count(distinct member) AS members FROM purchases WHERE amount_fen > -{number}")
}

/// Step 5: without a hash for the set that reserved there is no answer, at nobody; the words name who owes it, nobody is
/// suspended, and the cost comes back when all have said that they never open.
#[tokio::test(flavor = "multi_thread")]
async fn a_hash_that_is_missing_or_for_another_set_voids_the_question_and_is_laid_to_its_brand() {
    let among = Among::begin().await;
    let mut asked = Vec::new();
    for (asker, lie) in [("grocer_one", Lie::NoHash), ("fuel_stop", Lie::OtherSet)] {
        among.lie.send_replace(Some(lie));
        let (view, participants) = among.ask(asker, &counting(1)).await;
        assert_eq!(participants.len(), 5);
        asked.push((asker, view.id));
        among.takes_part(asked.len()).await;
    }
    for (asker, id) in &asked {
        let view = ended(&among.alliance, asker, id).await;
        assert_eq!((view.step.as_str(), &view.release), ("void", &None), "{asker}");
        let reason = view.reason.unwrap();
        assert!(reason.starts_with("no hash in time from: health_home; "), "{reason}");
        for brand in OTHERS {
            let theirs = ended(&among.alliance, brand, id).await;
            assert_eq!((theirs.step.as_str(), theirs.release), ("void", None), "{brand}");
        }
    }
    for (asker, id) in &asked {
        let node = among.alliance.node(asker);
        eventually("the cost is back", async || {
            node.query_by_id(id.clone()).await.unwrap().charged_pico_rho == 0
        })
        .await;
        let void = node.query_by_id(id.clone()).await.unwrap();
        assert_eq!((void.step.as_str(), void.release), ("void", None));
        assert!(void.reason.unwrap().contains("; its cost was returned / "));
    }
    among.is_suspended_for(None).await;
    // with an honest brand the same question is another one, and answered
    among.lie.send_replace(None);
    let (view, _) = among.ask("grocer_one", &counting(1)).await;
    assert_ne!(view.id, asked[0].1);
    among.is_answered("grocer_one", &view.id).await;
}

/// Step 6: whoever certifies a hash and opens something else, or nothing, is suspended by the others' evidence. There is
/// no answer and the charge stands; the others go on without the brand, and with it again once three of them readmit it.
#[tokio::test(flavor = "multi_thread")]
async fn an_opening_that_is_wrong_or_missing_suspends_its_brand_until_the_others_readmit_it() {
    let among = Among::begin().await;
    among.lie.send_replace(Some(Lie::WrongOpening));
    let (wrong, participants) = among.ask("grocer_one", &counting(1)).await;
    assert_eq!(participants.len(), 5);
    among.is_suspended_for(Some(&wrong.id)).await;
    for brand in OTHERS {
        let node = among.alliance.node(brand);
        let view = node.query_by_id(wrong.id.clone()).await.unwrap();
        assert_eq!((view.step.as_str(), view.release), ("opening", None), "{brand}");
        let accused = |alert: &String| {
            alert.starts_with("health_home did not open what it had certified in a joint question")
        };
        eventually("the operator is told", async || node.status().alerts.iter().any(accused)).await;
        // the brand that lied, and no other
        let views = node.partners().await.unwrap();
        let suspended = views.iter().filter(|view| view.suspended_for.is_some());
        assert_eq!(suspended.map(|view| view.brand.as_str()).collect::<Vec<_>>(), [LIAR]);
    }
    let asker = among.alliance.node("grocer_one");
    let charged = asker.query_by_id(wrong.id.clone()).await.unwrap().charged_pico_rho;
    assert!(charged > 0 && charged == asker.status().budget.unwrap().spent_pico_rho);

    // questions without it go on
    let (without, participants) = among.ask("fuel_stop", &counting(2)).await;
    assert_eq!(participants, OTHERS);
    among.is_answered("fuel_stop", &without.id).await;
    assert_eq!(among.seen.borrow().taken.len(), 1);

    // two are too few to readmit it, three are enough
    for (number, brand) in (1..).zip(["grocer_one", "fuel_stop", "grocer_two"]) {
        among.is_suspended_for(Some(&wrong.id)).await;
        among.alliance.node(brand).readmit_partner(LIAR.into()).await.unwrap();
        if number < 3 {
            for other in OTHERS {
                eventually("everyone sees who agrees", async || {
                    among.partner(other).await.readmission_agreed_by.len() == number
                })
                .await;
            }
        }
    }
    among.is_suspended_for(None).await;
    among.lie.send_replace(None);
    let (with, participants) = among.ask("fresh_counter", &counting(3)).await;
    assert_eq!(participants.len(), 5);
    among.is_answered("fresh_counter", &with.id).await;

    // it opens to nobody this time, and what was agreed for the first time does not excuse it
    among.lie.send_replace(Some(Lie::NoOpening));
    let (silent, _) = among.ask("grocer_two", &counting(4)).await;
    among.is_suspended_for(Some(&silent.id)).await;
    let view = among.alliance.node("grocer_two").query_by_id(silent.id.clone()).await.unwrap();
    assert_eq!((view.step.as_str(), view.release), ("opening", None));
}

/// The root of the mean square.
fn deviation(noise: impl ExactSizeIterator<Item = f64>) -> f64 {
    let number = noise.len() as f64;
    (noise.map(|it| it * it).sum::<f64>() / number).sqrt()
}

/// A brand takes off an answer the noise that it has added itself. What the others have added is what theory needs for
/// the charge: nobody has any data here, so that all of the answer is noise.
///
/// Fails when brands plan their noise as if nobody colluded: shares of sigma^2/n leave a tenth less.
#[tokio::test(flavor = "multi_thread")]
async fn a_colluder_that_takes_off_its_noise_is_left_with_all_that_was_charged_for() {
    const DAYS: &str = "SELECT date_trunc('day', purchased_on) AS d, least(greatest(quantity, 0), 7) AS q, \
                        count(distinct member) AS members FROM purchases GROUP BY 1, 2";
    let cells = 365 * 8;
    let among = Among::begin().await;
    let (asked, participants) = among.ask("grocer_one", DAYS).await;
    assert_eq!(participants.len(), 5);
    let release = ended(&among.alliance, "grocer_one", &asked.id).await.release.expect("a release");
    let own = among.seen.borrow().noise.clone();
    assert_eq!((release.rows.len(), own.len()), (cells, cells));
    let values: Vec<f64> = release.rows.iter().map(|row| row.values[0]).collect();

    // a person may be in each cell at each of five brands; four of them do not collude, and suffice
    let rho = release.cost_pico_rho as f64 / 1e12;
    let needed = 5.0 * (cells as f64).sqrt() / (2.0 * rho).sqrt();
    // six standard errors of a deviation that is estimated from so many draws
    let error = 6.2 / (2.0 * cells as f64).sqrt();
    let left = deviation(values.iter().zip(&own).map(|(value, own)| value - own));
    assert!((left / needed - 1.0).abs() < error, "{left}, where {needed} is needed");
    // its own was in the answer: a fourth of what the others have added, as a variance
    let (added, whole) = (deviation(own.into_iter()), deviation(values.into_iter()));
    assert!((added / needed - 0.5).abs() < error, "{added} {needed}");
    assert!((whole / needed - 1.25_f64.sqrt()).abs() < 2.0 * error, "{whole} {needed}");
}
