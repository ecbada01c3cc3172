//! The audit against logs that are sound, tampered with, or written against the rules.

mod archived;
mod covered;
mod disclosures;
mod disputes;
mod ends;
mod epochs;
pub(crate) mod fixture;
mod live;
mod rules;
mod settlement;
mod statements;
mod tampering;

use super::*;
use crate::log::block::ApplicationEntry;
use fixture::{Alliance, brand};

/// Every finding as log, height, leaf and rule.
fn places(report: &Report) -> Vec<String> {
    let number = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
    let place = |it: &Finding| {
        let (height, leaf) =
            (number(it.height.map(Height::get)), number(it.leaf.map(LeafIndex::get)));
        format!("{} {height} {leaf} {}", it.log, it.rule)
    };
    report.findings.iter().map(place).collect()
}

#[derive(Default)]
struct Seen {
    applications: Vec<(EntryPlace, u16)>,
    done: BTreeMap<BrandId, (u64, u64)>,
}

impl Observer for Seen {
    fn progress(&mut self, log: BrandId, done: u64, all: u64) {
        self.done.insert(log, (done, all));
    }
    fn application(&mut self, at: &EntryPlace, entry: &ApplicationEntry) {
        self.applications.push((*at, entry.application));
    }
}

#[test]
fn a_sound_folder_has_no_findings_and_says_what_it_could_not_open() {
    let alliance = Alliance::sound(300);
    let mut seen = Seen::default();
    let report = alliance.audit_with(&[Alliance::auditor_key()], &mut seen);
    assert_eq!(report.findings, []);
    assert_eq!(report.not_checked, []);
    assert!(report.is_clean());
    let counts = report.counts;
    assert_eq!((counts.logs, counts.blocks, counts.certificates), (4, 13, 13));
    assert_eq!((counts.payloads, counts.returns, counts.statements), (306, 1, 4));
    // proposal and 3 commits a block; log and 2 witnesses a checkpoint
    assert_eq!(counts.signatures, 13 * 4 + 4 * 3);
    assert_eq!(counts.applications, 1);
    assert_eq!((seen.applications[0].0.log, seen.applications[0].0.index.get()), (brand("a"), 0));
    assert_eq!(counts.entries, seen.done.values().map(|(done, _)| done).sum::<u64>());
    assert!(seen.done.values().all(|(done, all)| done == all));

    let blind = alliance.audit(&[]);
    assert!(blind.is_clean());
    assert!(blind.not_checked.iter().all(|it| it.reason == Reason::SealedWithoutKey));
    assert_eq!(blind.not_checked.len(), 4);
    // the recovery key of one brand opens that brand's log
    let one = alliance.audit(&[Alliance::recovery_key("b")]);
    assert!(one.is_clean());
    assert_eq!((one.counts.payloads, one.not_checked.len()), (1, 4), "{:?}", one.not_checked);
    assert!(serde_json::to_string(&one).unwrap().contains("\"reason\":\"other_leg_unopened\""));
}
