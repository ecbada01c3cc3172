//! Every decoder of what comes from outside, on stable: the bodies of `fuzz/` over seeds and
//! deterministic mutations of them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

#[path = "../../../fuzz/bodies.rs"]
mod bodies;
#[path = "../../../fuzz/node/bodies.rs"]
mod node_bodies;

/// Mutations of each seed by each body.
const ROUNDS: usize = 100;
/// Bodies that write files.
const OF_FILES: [&str; 5] =
    ["journal", "kept_fragments", "operators_files", "own_blocks", "snapshot"];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every byte string and every text of the project's vectors.
fn gather(value: &Value, seeds: &mut Vec<Vec<u8>>) {
    match value {
        Value::Object(map) => map.values().for_each(|value| gather(value, seeds)),
        Value::Array(list) => list.iter().for_each(|value| gather(value, seeds)),
        Value::String(text) if text.len() >= 16 => {
            let digits = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
            let bytes: Option<Vec<u8>> = (0..text.len()).step_by(2).map(digits).collect();
            seeds.push(bytes.unwrap_or_else(|| text.clone().into_bytes()));
        }
        _ => {}
    }
}

const LINE: &str = "\u{2014} example.com/log/testdata M9e0lgGGMA==\n";
const CHECKPOINT: &str =
    "example.com/log/testdata\n1\nKgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";

/// Questions that are bound, one for each part of the grammar, and some that are not.
const QUESTIONS: [&str; 6] = [
    "SELECT count(*) FROM purchases",
    "SELECT department, count(distinct member), sum(amount_fen) AS spent FROM purchases p GROUP BY department",
    "SELECT half_year(purchased_on) AS half, sum(amount_fen) FROM purchases GROUP BY 1",
    "SELECT count(*) FROM purchases WHERE department IN ('GROCERY', 'MISCELLANEOUS') AND NOT (quantity BETWEEN 1 AND 9)",
    "SELECT count(*) FROM purchases WHERE purchased_on >= DATE '2017-02-28' OR amount_fen <> -1",
    "SELECT avg(amount_fen) FROM purchases HAVING 1 = 1; DROP TABLE purchases -- x",
];

/// Bodies of requests.
const BODIES: [&str; 7] = [
    r#"{"card":"FS0SE5S4Z7EN","to":"grocer_one","points":100}"#,
    r#"{"user":"operator","password":"correct horse battery"}"#,
    r#"{"brand":"grocer_one","code":"00000-00000"}"#,
    r#"{"sql":"SELECT count(*) FROM purchases","plan":"00"}"#,
    r#"{"source":"folder","path":"/srv/data"}"#,
    r#"{"auditor":"regulator","from":1,"to":18446744073709551615}"#,
    r#"{"purpose":"exchange","granted":true,"points":1e400,"a":[[[[{}]]]]}"#,
];

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for file in fs::read_dir(workspace().join("protocol/vectors")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            gather(&serde_json::from_slice(&fs::read(path).unwrap()).unwrap(), &mut seeds);
        }
    }
    let note = format!("{CHECKPOINT}\n{LINE}");
    let hash = "KgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let texts = [
        LINE.trim_end().to_owned(),
        CHECKPOINT.to_owned(),
        note.clone(),
        format!("old 1\n{hash}\n\n{note}"),
        format!("c2sp.org/tlog-proof@v1\nextra AQ==\nindex 0\n{hash}\n\n{note}"),
        format!("\0\u{1}{note}"),
        "tile/entries/x001/234.p/5".to_owned(),
        "tile/0/000".to_owned(),
        "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx".to_owned(),
        "\u{1}\0\u{5}hello".to_owned(),
        "\u{1}\0\0\0\0\u{1}journal of records that a snapshot stands for".to_owned(),
        alliance_config::sample_alliance::SETTINGS.to_owned(),
        include_str!("../../../alliance-config/formats/v0/constitution.toml").to_owned(),
        include_str!("../../../alliance-config/sample/programme.toml").to_owned(),
        include_str!("../../../alliance-config/sample/mappings/complete-journey.toml").to_owned(),
    ];
    seeds.extend(texts.map(String::into_bytes));
    seeds.push(protocol::wire::Negotiation::default().hello());
    seeds.extend(QUESTIONS.iter().chain(&BODIES).map(|text| text.as_bytes().to_vec()));
    seeds.sort();
    seeds.dedup();
    seeds
}

/// Xorshift: the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (most.max(1) as u64)).unwrap()
    }
}

/// Heads of CBOR that promise more than there is: strings, arrays, maps of 2^32 and 2^64 - 1.
const PROMISES: [&[u8]; 5] = [
    &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x9a, 0xff, 0xff, 0xff, 0xff],
    &[0xbb, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00],
    &[0x9f, 0x9f, 0x9f, 0x9f, 0x9f, 0x9f, 0x9f, 0x9f],
];

fn mutate(seed: &[u8], others: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        match random.below(7) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            1 if !bytes.is_empty() => bytes[at] = [0, 0x7f, 0xff, b'\n', b' '][random.below(5)],
            2 => bytes.truncate(at),
            3 => bytes.insert(at, u8::try_from(random.below(256)).unwrap()),
            4 => {
                let promise = PROMISES[random.below(PROMISES.len())];
                bytes.splice(at..at, promise.iter().copied());
            }
            5 => {
                let other = &others[random.below(others.len())];
                let from = random.below(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => bytes.extend_from_within(at..),
        }
        bytes.truncate(1 << 16);
    }
    bytes
}

#[test]
fn every_decoder_withstands_mutations() {
    let seeds = seeds();
    assert!(seeds.len() > 100, "{}", seeds.len());
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let node = node_bodies::BODIES.iter().map(|of| (of, "fuzz/node/corpus"));
    for ((name, body), corpus) in bodies::BODIES.iter().map(|of| (of, "fuzz/corpus")).chain(node) {
        let rounds = if OF_FILES.contains(name) { ROUNDS / 20 } else { ROUNDS };
        for seed in &seeds {
            body(seed);
            for _ in 0..rounds {
                body(&mutate(seed, &seeds, &mut random));
            }
        }
        if std::env::var_os("COALITION_WRITE_CORPUS").is_some() {
            let folder = workspace().join(corpus).join(name);
            fs::create_dir_all(&folder).unwrap();
            for (number, seed) in seeds.iter().enumerate() {
                fs::write(folder.join(format!("seed{number}")), seed).unwrap();
            }
        }
    }
}

/// The seeds reach past the first check of each decoder: some of them are accepted.
#[test]
fn the_seeds_are_what_the_decoders_read() {
    use protocol::exchange::Payload;
    use protocol::log::block::Entry;
    use protocol::log::tlog_proof::TlogProof;
    use protocol::log::tlog_witness::AddCheckpoint;
    use protocol::witness::message::Message;
    let seeds = seeds();
    let accepted = |reads: &dyn Fn(&[u8]) -> bool| seeds.iter().filter(|it| reads(it)).count();
    assert!(accepted(&|it| Message::from_bytes(it).is_ok()) >= 10);
    assert!(accepted(&|it| Entry::from_bytes(it).is_ok()) >= 10);
    assert!(accepted(&|it| AddCheckpoint::parse(it).is_ok()) >= 1);
    assert!(accepted(&|it| TlogProof::parse(it).is_ok()) >= 1);
    assert!(accepted(&|it| TlogProof::parse(it).is_ok_and(|it| it.extra().is_some())) >= 1);
    assert!(accepted(&|it| Payload::decode(it).is_ok()) >= 4);
    let read = |it: &[u8]| protocol::wire::Negotiation::default().receive(it).is_ok();
    assert!(accepted(&read) >= 11);
    let rules = |it: &[u8]| node::programme::Rules::from_toml(str::from_utf8(it).unwrap_or(""));
    assert!(accepted(&|it| rules(it).is_ok()) >= 1);
    let mapping = |it: &[u8]| node::purchases::Mapping::from_toml(str::from_utf8(it).unwrap_or(""));
    assert!(accepted(&|it| mapping(it).is_ok()) >= 1);
    assert!(accepted(&|it| alliance_config::Constitution::parse(it).is_ok()) >= 1);
    assert!(
        accepted(&|it| serde_json::from_slice::<node::service::ExchangeRequest>(it).is_ok()) >= 1
    );
    let constitution = alliance_config::Constitution::parse(include_bytes!(
        "../../../alliance-config/formats/v0/constitution.toml"
    ));
    let constitution = constitution.unwrap();
    let contract = constitution.clean_room().unwrap().contract();
    let bound = |sql: &&str| privacy::sql::bind(contract, sql).is_ok();
    assert_eq!(QUESTIONS.iter().filter(|sql| bound(sql)).count(), 5);
}

#[test]
fn every_body_has_a_target() {
    let node = node_bodies::BODIES.iter().map(|(name, _)| (name, "fuzz/node"));
    for (name, folder) in bodies::BODIES.iter().map(|(name, _)| (name, "fuzz")).chain(node) {
        let folder = workspace().join(folder);
        let path = folder.join(format!("fuzz_targets/{name}.rs"));
        let target = fs::read_to_string(&path).unwrap();
        assert!(target.contains(&format!("bodies::{name}(bytes)")), "{}", path.display());
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
}
