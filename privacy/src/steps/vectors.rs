//! The wire format, frozen: `vectors/clean-room-v0.txt` must be what this build writes and reads.
//!
//! Each line is a name and hexadecimal bytes; `spec/clean-room.md` says what they are.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::alone::{PackDecline, PackMessage, PackQuestion};
use crate::bounded::Collector;
use crate::exact::Rational;
use crate::ids::{
    Attempt, ContractHash, MaskingKey, PlanHash, QueryId, ReleaseHash, SetHash, SnapshotId,
    SqlHash, VectorHash,
};
use crate::masked_sum::{MaskedVector, MaskingSecret, ParticipantSet, SetMember, mask};
use crate::mechanism::{NoiseError, NoiseShare, NoiseSource};
use crate::testing::{brand, sample_contract, spec};
use crate::units::{PicoDelta, PicoRho};

const VECTORS: &str = include_str!("../../vectors/clean-room-v0.txt");

struct Zero;
impl NoiseSource for Zero {
    fn discrete_gaussian(&mut self, _: &Rational) -> Result<i64, NoiseError> {
        Ok(0)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn id() -> AttemptId {
    AttemptId { proposer: brand(0), query: QueryId([1; 16]), attempt: Attempt(2) }
}

fn reserve() -> Reserve {
    Reserve {
        id: id(),
        plan: PlanHash([2; 32]),
        sql: SqlHash([3; 32]),
        contract: ContractHash([4; 32]),
        participants: (0..3).map(brand).collect(),
        rho: PicoRho::new(5_000_000_000),
        year: CalendarYear(2026),
        analyst: "desk".parse().unwrap(),
        expires_at: UtcMillis(1_800_000_000_000),
        open_by: UtcMillis(1_800_000_060_000),
    }
}

fn entries() -> Vec<(&'static str, CleanRoomEntry)> {
    let id = id();
    let participate = Participate {
        id,
        plan: PlanHash([2; 32]),
        key: MaskingKey([5; 32]),
        snapshot: SnapshotId([6; 32]),
    };
    let commit = Commit { id, set: SetHash([7; 32]), vector: VectorHash([8; 32]) };
    let failed =
        FailedAfterReading { id, rho: PicoRho::new(5_000_000_000), year: CalendarYear(2026) };
    let missing = MissingOpening { id, accused: brand(2) };
    let release = ReleaseLogged { id, set: SetHash([7; 32]), release: ReleaseHash([9; 32]) };
    let local = LocalCharge {
        id,
        plan: PlanHash([2; 32]),
        sql: SqlHash([3; 32]),
        contract: ContractHash([4; 32]),
        rho: PicoRho::new(4_000_000_000),
        delta: PicoDelta::new(10_000),
        year: CalendarYear(2026),
        analyst: "desk".parse().unwrap(),
        snapshot: SnapshotId([6; 32]),
    };
    let period = PeriodReleased { id, period: 3, release: ReleaseHash([9; 32]) };
    let local_release = LocalReleased { id, release: ReleaseHash([9; 32]) };
    vec![
        ("entry-reserve", CleanRoomEntry::Reserve(reserve())),
        ("entry-participate", CleanRoomEntry::Participate(participate)),
        ("entry-commit", CleanRoomEntry::Commit(commit)),
        ("entry-not-opened", CleanRoomEntry::NotOpened(id)),
        ("entry-returned", CleanRoomEntry::Returned(id)),
        ("entry-failed-after-reading", CleanRoomEntry::FailedAfterReading(failed)),
        ("entry-missing-opening", CleanRoomEntry::MissingOpening(missing)),
        ("entry-release", CleanRoomEntry::Release(release)),
        ("entry-local-charge", CleanRoomEntry::LocalCharge(local)),
        ("entry-local-release", CleanRoomEntry::LocalRelease(local_release)),
        ("entry-period-release", CleanRoomEntry::PeriodRelease(period)),
        ("entry-readmit", CleanRoomEntry::Readmit(Readmit { id, brand: brand(2) })),
    ]
}

fn messages() -> Vec<(&'static str, Message)> {
    let spec = QuerySpec { sql: "SELECT count(*) FROM purchases".into(), ..spec("", 3) };
    let opening = Opening {
        id: id(),
        set: SetHash([7; 32]),
        vector: vec![0, 0, 0, 0, 0, 0, 1, 0],
        nonce: [9; 32],
    };
    vec![
        ("message-proposal", Message::Proposal(Proposal { id: id(), spec })),
        ("message-declined", Message::Declined(id(), DeclineReason::Budget)),
        ("message-opening", Message::Opening(opening.clone())),
        ("message-wanted", Message::Wanted(id(), VectorHash([8; 32]))),
        ("message-attached", Message::Attached(brand(2), opening)),
    ]
}

fn pack_messages() -> Vec<(&'static str, PackMessage)> {
    let query = id().query;
    let question = PackQuestion {
        sql: "SELECT brand, count(*) FROM purchases GROUP BY brand".into(),
        purpose: "joint_statistics".parse().unwrap(),
        rho: PicoRho::new(4_000_000_000),
    };
    let noised = vec![0, 0, 0, 0, 0, 0, 1, 0];
    vec![
        ("message-pack-ask", PackMessage::Ask(query, question)),
        ("message-pack-declined", PackMessage::Declined(query, PackDecline::Policy)),
        ("message-pack-answer", PackMessage::Answer(query, id(), noised)),
    ]
}

/// Hashes, the masked vector of a brand with one member and no noise, and what it commits to.
fn derived() -> Vec<(&'static str, Vec<u8>)> {
    let sql = "SELECT half_year(purchased_on) AS half, count(distinct member) AS m \
               FROM purchases GROUP BY 1";
    let plan = DpPlan::new(&sample_contract(), &spec(sql, 3)).unwrap();
    let secret = |index: u8| MaskingSecret::from_bytes([index + 1; 32]);
    let members = (0..3u8)
        .map(|index| {
            let key = secret(index).public_key();
            (brand(index.into()), SetMember { key, snapshot: SnapshotId([index; 32]) })
        })
        .collect();
    let set = ParticipantSet::new(id(), plan.hash(), members);
    let mut collector = Collector::new(&plan, plan.participants()[0]);
    collector.push(Some(b"m"), 0, &[Some(1)]).unwrap();
    let noise = NoiseShare::draw(&plan, &mut Zero).unwrap();
    let masked = mask(collector.finish().unwrap(), noise, brand(1), &secret(1), &set).unwrap();
    let commitment = masked.commitment(brand(1), set.hash(), &[3; 32]);
    assert_eq!(MaskedVector::from_bytes(&masked.to_bytes()), Some(masked.clone()));
    vec![
        ("contract-hash", sample_contract().hash().0.to_vec()),
        ("question-hash", plan.sql_hash().0.to_vec()),
        ("plan-hash", plan.hash().0.to_vec()),
        ("public-key", secret(1).public_key().0.to_vec()),
        ("set-hash", set.hash().0.to_vec()),
        ("masked-vector", masked.to_bytes()),
        ("commitment", commitment.0.to_vec()),
    ]
}

#[test]
fn the_wire_format_is_frozen() {
    let mut written: BTreeMap<&str, Vec<u8>> = derived().into_iter().collect();
    written.extend(entries().iter().map(|(name, entry)| (*name, entry.to_bytes())));
    written.extend(messages().iter().map(|(name, message)| (*name, message.to_bytes())));
    written.extend(pack_messages().iter().map(|(name, message)| (*name, message.to_bytes())));
    let mut used = BTreeSet::new();
    for line in VECTORS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, expected) = line.split_once(' ').unwrap();
        let bytes = written.get(name).unwrap_or_else(|| panic!("{name} is not written"));
        if hex(bytes) == expected {
            used.insert(name);
        }
    }
    let missing: Vec<String> = written
        .iter()
        .filter(|(name, _)| !used.contains(*name))
        .map(|(name, bytes)| format!("{name} {}", hex(bytes)))
        .collect();
    assert!(missing.is_empty(), "not frozen, or frozen differently:\n{}", missing.join("\n"));
}

#[test]
fn frozen_entries_and_messages_read_back() {
    for (name, entry) in entries() {
        assert_eq!(CleanRoomEntry::from_bytes(&entry.to_bytes()), Ok(entry), "{name}");
    }
    for (name, message) in messages() {
        assert_eq!(Message::from_bytes(&message.to_bytes()), Ok(message), "{name}");
    }
    for (name, message) in pack_messages() {
        assert_eq!(PackMessage::from_bytes(&message.to_bytes()), Ok(message), "{name}");
    }
}
