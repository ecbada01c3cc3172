//! That every rule of the audit is broken by some test, and found by it: one that nothing breaks may find
//! nothing. What counts is what the audit has really said, not what a test is written to expect.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::*;
use crate::witness::rules::Violation;

/// Tests of which each breaks some rule. They are run once more here, one after another on this thread:
/// whoever runs the tests may give each its own process.
const TESTS: [fn(); 43] = [
    archived::archived_entries_are_not_checked_and_never_sound,
    archived::the_tree_is_checked_over_the_hashes_of_archived_entries,
    disclosures::a_disclosure_names_an_auditor_its_key_and_blocks_before_it,
    disclosures::a_disclosure_of_anything_but_the_secret_is_found_by_whom_it_deceives_and_by_whoever_knows,
    disputes::evidence_shows_everyone_what_only_the_counterparty_could_see,
    disputes::an_accusation_that_its_evidence_does_not_bear_out_falls_on_the_accuser,
    disputes::a_resolution_that_cannot_stand_is_found,
    disputes::a_brand_that_does_not_answer_for_a_day_is_named,
    ends::a_partner_is_closed_out_with_the_totals_that_the_logs_have,
    ends::a_closing_says_again_of_ended_logs_what_its_own_log_entered,
    ends::a_log_that_goes_on_after_its_end_is_found_by_whatever_shows_the_end,
    ends::evidence_is_checked_again_by_whoever_audits,
    ends::entries_that_end_in_no_header_are_in_no_block,
    ends::payments_that_leave_the_range_of_amounts,
    epochs::logs_that_take_up_a_constitution_after_its_notice_are_sound,
    epochs::too_few_adoptions_or_too_early,
    epochs::statements_that_count_for_nothing,
    epochs::a_log_that_took_up_a_constitution_is_under_it,
    epochs::a_rotated_checkpoint_key_and_the_one_before_it_both_sign,
    epochs::an_adoption_that_is_not_in_the_log_it_is_shown_from,
    epochs::a_log_begins_when_its_constitution_is_adopted_and_in_effect,
    rules::headers_that_do_not_follow,
    rules::blocks_of_another_shape,
    rules::totals_and_limits,
    rules::a_certificate_of_another_block_than_the_one_that_is_there,
    rules::what_was_sealed_otherwise_than_committed,
    rules::sealed_with_another_cipher_than_the_constitutions,
    rules::a_sealing_key_is_stated_once_and_not_for_longer_than_a_month,
    rules::everyone_seals_to_the_key_that_was_recognised_and_to_no_other,
    rules::an_exchange_at_another_price,
    rules::returns_of_what_was_not_sent_or_came_back_before,
    rules::closings_and_statements_that_do_not_follow,
    rules::an_operation_log_does_not_grow_shorter,
    rules::more_public_entries_of_a_kind_than_a_block_may_have,
    settlement::payments_that_no_statement_asks_for,
    settlement::payments_that_a_witness_refuses,
    settlement::what_is_granted_is_what_was_sent_by_the_cut_off_and_never_goes_back,
    tampering::an_altered_entry_is_named_by_its_index,
    tampering::an_altered_length_and_an_altered_header_are_named_too,
    tampering::an_entry_altered_with_its_tile_is_found_by_the_root,
    tampering::files_that_are_gone_or_left_over,
    tampering::certificates_that_do_not_stand,
    tampering::checkpoints_that_do_not_stand,
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

/// Rules that no test's logs break without breaking another as well, and why. All others are broken alone by some.
const WITH_OTHERS: [(&str, &str); 9] = [
    ("block/4", "a header of another height is not the certified block's: block/header"),
    ("block/6", "a header that counts from another leaf has another size: block/header"),
    ("block/37", "whatever comes under a constitution that is not at hand cannot be judged"),
    ("block/46", "what goes beyond what was sent is discharged by nothing: clearing/discharge"),
    ("block/65", "what was in dispute stays a finding"),
    (
        "certificate/missing",
        "the checkpoint names a size that is not certified, or it was unreadable",
    ),
    ("certificate/unreadable", "none is read after it: certificate/missing"),
    ("dispute/resolution", "what was in dispute stays a finding"),
    ("dispute/unagreed", "what was in dispute stays a finding"),
];

thread_local! {
    static FOUND: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
    static ALONE: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
}

/// Takes note of the rules that an audit has found to be broken: every audit of a fixture comes here.
pub(super) fn note(report: &Report) {
    let rules = report.findings.iter().map(|finding| finding.rule.to_string());
    let rules: BTreeSet<String> = rules.collect();
    if rules.len() == 1 {
        ALONE.with_borrow_mut(|alone| alone.extend(rules.iter().cloned()));
    }
    FOUND.with_borrow_mut(|found| found.extend(rules));
}

#[test]
fn every_rule_of_the_audit_and_of_a_block_is_found_by_some_test_or_is_not_the_audits() {
    drop((FOUND.take(), ALONE.take()));
    for test in TESTS {
        test();
    }
    let (found, alone) = (FOUND.take(), ALONE.take());
    let excepted = |number: &u16| NOT_OF_THE_AUDIT.iter().any(|(other, _)| other == number);
    let numbers = Violation::NUMBERS.iter().copied().filter(|number| !excepted(number));
    let named = Rule::NAMED.iter().map(ToString::to_string);
    let expected: BTreeSet<String> =
        named.chain(numbers.map(|number| Rule::Block(number).to_string())).collect();
    let unbroken: Vec<&String> = expected.difference(&found).collect();
    assert!(unbroken.is_empty(), "found by no test that is run here: {unbroken:?}");
    // each by itself, so that what is found is what was broken
    let with_others = |rule: &str| WITH_OTHERS.iter().any(|(other, _)| *other == rule);
    let never_alone = expected.difference(&alone).filter(|rule| !with_others(rule));
    let never_alone: Vec<&String> = never_alone.collect();
    assert!(never_alone.is_empty(), "found only beside other rules: {never_alone:?}");
    assert!(WITH_OTHERS.iter().all(|(rule, _)| expected.contains(*rule)));
    // what is excepted is found nowhere, or the reason is wrong
    let unforeseen: Vec<&String> = found.difference(&expected).collect();
    assert!(unforeseen.is_empty(), "found, and said to be none of the audit's: {unforeseen:?}");
    // codes and numbers stay apart
    let codes: BTreeSet<String> = Rule::NAMED.iter().map(ToString::to_string).collect();
    assert_eq!(codes.len(), Rule::NAMED.len());
    assert_eq!(Violation::NUMBERS.iter().filter(|number| **number == 37).count(), 1);
}
