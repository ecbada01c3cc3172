//! The alliance's one rule of Ed25519 against public test vectors (Wycheproof's, and the twelve cases
//! of speccheck on which verifiers disagree). They are where `COALITION_SHARED` says, and not part of
//! the project; without it these tests say that they are skipped.

use std::fs;

use serde_json::Value;

use super::{PublicKey, Signature};
use crate::log::vectors::vectors;

fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// A key or signature of another length cannot even be said in our types.
fn is_accepted(key: &Value, message: &Value, signature: &Value) -> bool {
    let (Ok(key), Ok(signature)) = (bytes(key).try_into(), bytes(signature).try_into()) else {
        return false;
    };
    let signature = Signature::from_bytes(signature);
    PublicKey::from_bytes(key).verify(&bytes(message), &signature).is_ok()
}

fn read(name: &str) -> Option<Value> {
    let text = fs::read(vectors("ed25519")?.join(name)).unwrap();
    Some(serde_json::from_slice(&text).unwrap())
}

#[test]
fn signatures_are_accepted_and_refused_as_in_wycheproof() {
    let Some(file) = read("ed25519_test.json") else { return };
    let (mut accepted, mut refused) = (0, 0);
    for group in file["testGroups"].as_array().unwrap() {
        for case in group["tests"].as_array().unwrap() {
            let is_valid = case["result"] == "valid";
            let found = is_accepted(&group["publicKey"]["pk"], &case["msg"], &case["sig"]);
            assert_eq!(found, is_valid, "tcId {}: {}", case["tcId"], case["comment"]);
            *if is_valid { &mut accepted } else { &mut refused } += 1;
        }
    }
    assert_eq!((accepted, refused), (88, 63));
}

/// Which of the twelve the alliance accepts, by their numbers in speccheck's table. Another verifier
/// that takes the place of ring's must agree on every one, or brands will disagree on a certificate.
const SPECCHECK: [bool; 12] =
    [true, true, true, true, false, false, false, false, false, false, false, true];

#[test]
fn the_twelve_cases_on_which_verifiers_disagree_have_these_outcomes() {
    let Some(cases) = read("cases.json") else { return };
    let found = cases
        .as_array()
        .unwrap()
        .iter()
        .map(|case| is_accepted(&case["pub_key"], &case["message"], &case["signature"]));
    assert_eq!(found.collect::<Vec<_>>(), SPECCHECK);
}
