//! That every rule of the audit is broken by some test: one that nothing breaks may find nothing.

use super::*;
use crate::witness::rules::Violation;

/// What tests say that the audit finds.
const TESTS: [&str; 14] = [
    include_str!("archived.rs"),
    include_str!("disclosures.rs"),
    include_str!("disputes.rs"),
    include_str!("ends.rs"),
    include_str!("epochs.rs"),
    include_str!("live.rs"),
    include_str!("mod.rs"),
    include_str!("rules.rs"),
    include_str!("settlement.rs"),
    include_str!("tampering.rs"),
    include_str!("../../ledger/tests/disputes.rs"),
    include_str!("../../ledger/tests/ends.rs"),
    include_str!("../../ledger/tests/lagging.rs"),
    include_str!("../../ledger/tests/returns.rs"),
];

/// Rules of a block that no audit finds, and why.
const NOT_OF_THE_AUDIT: [(u16, &str); 8] = [
    (9, "asked of the clock of whoever votes"),
    (15, "the audit hashes every entry and says tree/root"),
    (19, "that the leaves are in no other order than committed shows as block/21 to who opens all"),
    (23, "what was brought to a witness is not in a folder"),
    (24, "blocks that were not certified are not in a folder"),
    (25, "what was brought to a witness is not in a folder"),
    (38, "what is known to the audit follows"),
    (39, "asked of what a witness knows when it votes"),
];

fn is_named(rule: Rule) -> bool {
    let code = format!("{rule}\"");
    TESTS.iter().any(|test| test.contains(&code))
}

#[test]
fn every_rule_is_broken_by_some_test() {
    let unbroken: Vec<String> =
        Rule::NAMED.iter().filter(|rule| !is_named(**rule)).map(ToString::to_string).collect();
    assert_eq!(unbroken, Vec::<String>::new());
}

#[test]
fn every_rule_of_a_block_is_broken_by_some_test_or_is_not_the_audits() {
    let excepted = |number: u16| NOT_OF_THE_AUDIT.iter().any(|(other, _)| *other == number);
    for number in Violation::NUMBERS {
        let named = is_named(Rule::Block(*number));
        assert!(named != excepted(*number), "block/{number} is named {named}");
    }
    // codes and numbers stay apart
    let codes: std::collections::BTreeSet<String> =
        Rule::NAMED.iter().map(ToString::to_string).collect();
    assert_eq!(codes.len(), Rule::NAMED.len());
    assert_eq!(Violation::NUMBERS.iter().filter(|number| **number == 37).count(), 1);
}
