use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::codec::{decode, encode};
use crate::crypto::{PublicKey, SigningKey};
use crate::ids::LeafHash;
use crate::log::checkpoint::tests::{log_key, signed};
use crate::log::merkle::tests::Naive;
use crate::log::note::{KeyName, SignatureType};
use crate::log::vectors::vectors;
use crate::time::{Milliseconds, Timestamp};

const NOW: Timestamp = Timestamp::from_unix_ms(1_700_000_000_000);

fn witness() -> (SigningKey, VerifierKey) {
    let key = SigningKey::from_seed(&[2; 32]).unwrap();
    let name = KeyName::new("example.com/witness").unwrap();
    let verifier = VerifierKey::new(name, SignatureType::CosignatureV1, key.public());
    (key, verifier)
}

/// What a node does with a request: considers it, enters it, then tells the line.
fn add(logs: &mut ForeignLogs, body: &str) -> Result<String, Refusal> {
    let (key, verifier) = witness();
    let request = AddCheckpoint::parse(body.as_bytes())?;
    let mut signed = logs.consider(&request, NOW)?.checkpoint().clone();
    let line = signed.cosign(verifier.name().clone(), &key, NOW);
    signed.add_cosignature(&verifier, line.clone()).unwrap();
    let cosigned = encode(&Cosigned::new(&signed));
    let cosigned = decode("what was cosigned", &cosigned, ADD_CHECKPOINT_MAX).unwrap();
    logs.enter(&cosigned).unwrap();
    Ok(format!("{line}\n"))
}

fn tree(size: u64) -> (Naive, SignedCheckpoint) {
    let tree = Naive::of_size(size);
    let root = tree.root(size);
    (tree, signed(size, root))
}

fn request(old: u64, size: u64) -> AddCheckpoint {
    let (tree, signed) = tree(size);
    let (from, to) = (TreeSize::new(old), TreeSize::new(size));
    let proof = match old {
        0 => ConsistencyProof::none(),
        _ => ConsistencyProof::prove(&tree, from, to).unwrap(),
    };
    AddCheckpoint::new(from, proof, &signed)
}

/// `body` and `status` of every exchange of the script, and the text its answer must contain.
fn script(text: &str) -> Vec<(String, u16, String)> {
    let mut exchanges = Vec::new();
    for part in text.split("POST http://").skip(1) {
        let mut fences = part.split("```\n");
        let (_, body, rest) = (fences.next(), fences.next().unwrap(), fences.next().unwrap());
        let status = rest.strip_prefix("HTTP ").unwrap()[..3].parse().unwrap();
        let asserted = rest.split('"').nth(1).unwrap().replace("\\n", "\n");
        exchanges.push((body.to_owned(), status, asserted));
    }
    exchanges
}

#[test]
fn a_foreign_witness_s_script_is_answered_as_written() {
    let Some(file) = vectors("tlog-witness") else { return };
    let text = fs::read_to_string(file.join("litewitness.txt")).unwrap();
    let name =
        "sigsum.org/v1/tree/4d6d8825a6bb689d459628312889dfbb0bcd41b5211d9e1ce768b0ff0309e562";
    let key = "/9wtTZjkEk0/6veIwML5q/15YIPR8ElUN/MC7HnPEA8=";
    let key = PublicKey::from_bytes(STANDARD.decode(key).unwrap().try_into().unwrap());
    let key = VerifierKey::new(KeyName::new(name).unwrap(), SignatureType::Ed25519, key);
    let mut logs = ForeignLogs::new([key]);
    let exchanges = script(&text);
    assert_eq!(exchanges.len(), 9);
    for (number, (body, status, asserted)) in exchanges.into_iter().enumerate() {
        let answer = add(&mut logs, &body);
        // the script is older than the specification, which has since given this case its own number
        let status = if asserted == "unknown log" { 404 } else { status };
        match answer {
            Ok(line) => {
                assert_eq!(status, 200, "{number}");
                assert!(line.contains(&asserted), "{number}: {line}");
            }
            Err(refusal) => {
                assert_eq!(refusal.status(), status, "{number}: {refusal}");
                let told = match &refusal {
                    Refusal::Conflict { latest } => format!("{}\n", latest.get()),
                    other => other.to_string(),
                };
                assert!(told.contains(&asserted), "{number}: {told}");
            }
        }
    }
    let latest = logs.latest(&hash_of(name)).unwrap();
    assert!(latest.contains("\n5\n") && latest.matches('\u{2014}').count() == 2, "{latest}");
}

#[test]
fn a_request_is_read_as_it_was_written() {
    for (old, size) in [(0, 1), (0, 300), (3, 5), (256, 300), (7, 7)] {
        let request = request(old, size);
        assert_eq!(AddCheckpoint::parse(request.to_string().as_bytes()), Ok(request));
    }
}

#[test]
fn another_form_is_refused() {
    let good = request(3, 7).to_string();
    let hash = good.lines().nth(1).unwrap().to_owned();
    let many = vec![hash.as_str(); PROOF_LINES_MAX + 1].join("\n");
    for bad in [
        String::new(),
        good.replace("old 3", "old 03"),
        good.replace("old 3", "old -3"),
        good.replace("old 3", "old  3"),
        good.replace("old 3\n", ""),
        good.replacen(&hash, "AAAA", 1),
        good.replacen(&hash, &many, 1),
        good.replacen("\n\n", "\n", 1),
        good.replace('\n', "\r\n"),
        good.replace("example.com/log\n7\n", "example.com/log\n07\n"),
        format!("{good}{}", "x".repeat(ADD_CHECKPOINT_MAX)),
    ] {
        assert_eq!(AddCheckpoint::parse(bad.as_bytes()), Err(Refusal::Malformed), "{bad}");
    }
    assert_eq!(AddCheckpoint::parse(b"old 0\n\n\xff\n\n"), Err(Refusal::Malformed));
    let something = good.replace("example.com/log\n7\n", "example.com/log\n0\n");
    assert_eq!(AddCheckpoint::parse(something.as_bytes()), Err(Refusal::Inconsistent));
}

#[test]
fn a_foreign_log_is_cosigned_once_a_size_and_never_backwards() {
    let mut logs = ForeignLogs::new([log_key().1]);
    let conflict = |size| Err(Refusal::Conflict { latest: TreeSize::new(size) });
    assert_eq!(add(&mut logs, &request(3, 5).to_string()), conflict(0));
    add(&mut logs, &request(0, 3).to_string()).unwrap();
    add(&mut logs, &request(3, 7).to_string()).unwrap();
    // the same again, with the size that is known now
    add(&mut logs, &request(7, 7).to_string()).unwrap();
    assert_eq!(add(&mut logs, &request(3, 7).to_string()), conflict(7));
    assert_eq!(add(&mut logs, &request(3, 5).to_string()), conflict(7));
    let above = request(7, 7).to_string().replace("old 7", "old 8");
    assert_eq!(add(&mut logs, &above), Err(Refusal::OldAboveNew));
    // another tree of the same size, and a larger one that does not continue ours
    let other = signed(7, RootHash::from_bytes([9; 32]));
    let same_size = AddCheckpoint::new(TreeSize::new(7), ConsistencyProof::none(), &other);
    assert_eq!(add(&mut logs, &same_size.to_string()), Err(Refusal::Inconsistent));
    let mut fork = Naive::of_size(9);
    fork.0[2] = LeafHash::from_bytes([9; 32]);
    let proof = ConsistencyProof::prove(&fork, TreeSize::new(7), TreeSize::new(9)).unwrap();
    let fork = AddCheckpoint::new(TreeSize::new(7), proof, &signed(9, fork.root(9)));
    assert_eq!(add(&mut logs, &fork.to_string()), Err(Refusal::Inconsistent));
    assert_eq!(ForeignLogs::default().consider(&fork, NOW), Err(Refusal::UnknownOrigin));
}

#[test]
fn a_foreign_log_does_not_fill_the_disk() {
    let mut logs = ForeignLogs::new([log_key().1]);
    let at = |seconds| NOW.plus(Milliseconds::from_seconds(seconds));
    let mut grow = |old: u64, new: u64, now| {
        let request = request(old, new);
        let continuing = logs.consider(&request, now)?;
        logs.enter(&Cosigned::new(continuing.checkpoint())).unwrap();
        Ok(continuing.is_news())
    };
    for size in 0..BURST {
        assert_eq!(grow(size, size + 1, NOW), Ok(true));
    }
    assert_eq!(grow(BURST, BURST + 1, NOW), Err(Refusal::TooOften));
    assert_eq!(grow(BURST, BURST, NOW), Ok(false), "a repetition writes nothing");
    assert_eq!(grow(BURST, BURST + 1, at(1)), Ok(true));
    assert_eq!(grow(BURST + 1, BURST + 2, at(1)), Err(Refusal::TooOften));
}

#[test]
fn lines_by_others_do_not_matter_and_are_not_kept() {
    let mut logs = ForeignLogs::new([log_key().1]);
    let (tree, mut signed) = tree(4);
    for seed in 20..25 {
        let key = SigningKey::from_seed(&[seed; 32]).unwrap();
        let name = KeyName::new("example.com/other").unwrap();
        let other = VerifierKey::new(name.clone(), SignatureType::CosignatureV1, key.public());
        let line = signed.cosign(name, &key, NOW);
        signed.add_cosignature(&other, line).unwrap();
    }
    let from_none = AddCheckpoint::new(TreeSize::new(0), ConsistencyProof::none(), &signed);
    add(&mut logs, &from_none.to_string()).unwrap();
    let kept = logs.latest(&hash_of("example.com/log")).unwrap();
    assert_eq!(kept.matches('\u{2014}').count(), 2, "the log's and ours: {kept}");
    // only others: not signed
    let mut stranger = ForeignLogs::new([VerifierKey::new(
        log_key().1.name().clone(),
        SignatureType::Ed25519,
        PublicKey::from_bytes([3; 32]),
    )]);
    assert_eq!(stranger.consider(&from_none, NOW), Err(Refusal::NotSigned));
    drop(tree);
}

// --- the other way

/// A foreign witness that answers as this project's own would.
struct Foreign(ForeignLogs);

impl Foreign {
    fn answer(&mut self, request: &AddCheckpoint) -> (u16, Vec<u8>) {
        match add(&mut self.0, &request.to_string()) {
            Ok(line) => (200, line.into_bytes()),
            Err(Refusal::Conflict { latest }) => (409, format!("{}\n", latest.get()).into_bytes()),
            Err(refusal) => (refusal.status(), refusal.to_string().into_bytes()),
        }
    }
}

fn ask(
    ours: &mut OutsideWitness,
    foreign: &mut Foreign,
    size: u64,
    now: Timestamp,
) -> Result<Option<NoteSignature>, OutsideError> {
    let (tree, signed) = tree(size);
    let request = ours.request(&signed, &tree).unwrap();
    let (status, body) = foreign.answer(&request);
    ours.answered(&signed, Answer { status, body: &body }, now)
}

#[test]
fn a_foreign_witness_is_asked_with_the_size_it_tells() {
    let mut foreign = Foreign(ForeignLogs::new([log_key().1]));
    let mut ours = OutsideWitness::new(witness().1);
    let line = ask(&mut ours, &mut foreign, 3, NOW).unwrap().unwrap();
    let (_, mut signed) = tree(3);
    assert!(ours.is_due(&signed, NOW.plus(Milliseconds::from_seconds(1))));
    signed.add_cosignature(&witness().1, line).unwrap();
    assert!(!ours.is_due(&signed, NOW.plus(Milliseconds::from_seconds(9))), "it has signed");
    assert!(ask(&mut ours, &mut foreign, 8, NOW).unwrap().is_some());
    // after a restart nothing is known: one answer tells the size, and it is asked again at once
    let mut ours = OutsideWitness::new(witness().1);
    let (_, signed) = tree(11);
    assert_eq!(ask(&mut ours, &mut foreign, 11, NOW), Ok(None));
    assert!(ours.is_due(&signed, NOW));
    assert!(ask(&mut ours, &mut foreign, 11, NOW).unwrap().is_some());
    // and a log that has been set back hears that it was
    let mut ours = OutsideWitness::new(witness().1);
    let (theirs, six) = (TreeSize::new(11), TreeSize::new(6));
    let refused = ask(&mut ours, &mut foreign, 6, NOW);
    assert_eq!(refused, Err(OutsideError::AheadOfUs { theirs, ours: six }));
}

#[test]
fn what_does_not_answer_well_is_asked_less_and_less() {
    let (_, signed) = tree(3);
    let mut ours = OutsideWitness::new(witness().1);
    let (mut now, mut pauses) = (NOW, Vec::new());
    for _ in 0..9 {
        ours.failed(now);
        let mut seconds = 0;
        while !ours.is_due(&signed, now) {
            now = now.plus(Milliseconds::from_seconds(1));
            seconds += 1;
        }
        pauses.push(seconds);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    for (status, body) in [
        (200, "".as_bytes()),
        (200, b"\xff"),
        (200, "\u{2014} example.com/witness AAAAAAAA\n".as_bytes()),
        (409, b"many\n"),
        (409, b"3"),
        (503, b""),
        (301, b""),
    ] {
        let refused = ours.answered(&signed, Answer { status, body }, now);
        assert!(refused.is_err(), "{status}");
        assert!(!ours.is_due(&signed, now));
    }
    // a line over another checkpoint is none over ours
    let (key, verifier) = witness();
    let line = tree(4).1.cosign(verifier.name().clone(), &key, NOW);
    let refused =
        ours.answered(&signed, Answer { status: 200, body: format!("{line}\n").as_bytes() }, now);
    assert!(matches!(refused, Err(OutsideError::Cosignature(_))));
    // one that tells the same size for ever is not asked for ever
    let mut liar = OutsideWitness::new(verifier);
    let told = Answer { status: 409, body: b"2\n" };
    assert_eq!(liar.answered(&signed, told, now), Ok(None));
    assert!(liar.is_due(&signed, now));
    assert_eq!(liar.answered(&signed, told, now), Ok(None));
    assert!(!liar.is_due(&signed, now));
}
