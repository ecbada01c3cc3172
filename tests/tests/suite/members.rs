//! Members' affairs over a whole alliance: what lies on the disks, and what an erasure leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use node::auth::Role;
use node::cli::{members, operation_log};
use node::desk::{Certificate, MEMBER};
use node::service::*;
use node::vault::{CardNumber, Identifier, IdentifierKind};

use super::alliance::{Alliance, eventually, first_of};

const HERE: &str = "fuel_stop";
const THERE: &str = "fresh_counter";

/// Words that no file may have.
const NAME: &str = "Han Meimei of the Fourth Ring";
const WORDS: &str = "please forget that I ever bought fuel";

fn identifiers() -> Vec<(IdentifierKind, &'static str)> {
    use IdentifierKind::*;
    vec![
        (Phone, "13812345678"),
        (WechatOpenId, "oABCDEFGHIJKLMNOPQRSTUVWX"),
        (WechatUnionId, "uABCDEFGHIJKLMNOPQRSTUVWX"),
        (AlipayUserId, "2088123456789012"),
        (AppUserId, "app.user.of.hers"),
        (Email, "han.meimei@example.com"),
        (Device, "device0of0hers0and0no0others"),
        (FaceToken, "face-token-of-a-camera-0001"),
        (EcommerceAccount, "tmall:han.meimei.buys"),
        (LicencePlate, "粤B12345"),
        (PaymentToken, "token-of-the-bank-00042"),
    ]
}

fn asker() -> Asker {
    Asker { user: "olga".to_owned(), roles: Role::ALL.to_vec() }
}

/// Members of both brands, linked and exchanging, with everything that a member can have; their cards.
pub(super) async fn live(alliance: &Alliance) -> (String, String, String) {
    alliance.import(HERE).await;
    alliance.import(THERE).await;
    let (here, there) = (alliance.node(HERE), alliance.node(THERE));
    let card = here.cards(100, None, 1).await.unwrap().remove(0);
    let other = there.cards(50, None, 1).await.unwrap().remove(0);
    let correction = CorrectionRequest {
        attributes: BTreeMap::from([
            ("name".to_owned(), Some(NAME.to_owned())),
            ("birth_date".to_owned(), Some("1990-05-06".to_owned())),
        ]),
        add: identifiers()
            .into_iter()
            .map(|(kind, value)| IdentifierRequest {
                kind: kind.name().to_owned(),
                value: value.to_owned(),
            })
            .collect(),
        remove: Vec::new(),
    };
    here.correct_member("ann", card.clone(), correction).await.unwrap();
    let code = there.link_code(other.clone(), HERE.to_owned()).await.unwrap().code;
    here.link(card.clone(), THERE.to_owned(), code.clone()).await.unwrap();
    eventually("the link is answered", async || {
        let links = here.member(card.clone()).await.unwrap().links;
        links.iter().any(|link| link.state == "linked")
    })
    .await;
    let request = ExchangeRequest { card: card.clone(), to: THERE.to_owned(), points: 20 };
    let sent = here.exchange("one".to_owned(), request).await.unwrap();
    eventually("the exchange is acknowledged", async || {
        here.exchange_by_id(sent.id.clone()).await.unwrap().state == "acknowledged"
    })
    .await;
    let words = Some(WORDS.to_owned());
    let asked = RequestRequest { kind: "explanation".to_owned(), words };
    here.open_request(MEMBER, card.clone(), asked).await.unwrap();
    here.member_record(&asker(), card.clone()).await.unwrap();
    (card, other, code)
}

/// Whether any file under a folder has some bytes; the published log and keys too.
pub(super) fn found_in(
    folder: &Path,
    needles: &[(String, Vec<u8>)],
    found: &mut Vec<String>,
) -> u64 {
    // how any of them begins: so a file is gone through once for all
    let mut begins = vec![false; 1 << 16];
    for (_, needle) in needles {
        begins[pair(needle)] = true;
    }
    search(folder, needles, &begins, found)
}

fn pair(bytes: &[u8]) -> usize {
    usize::from(u16::from_be_bytes([bytes[0], bytes[1]]))
}

fn search(
    folder: &Path,
    needles: &[(String, Vec<u8>)],
    begins: &[bool],
    found: &mut Vec<String>,
) -> u64 {
    let mut bytes_read = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            bytes_read += search(&path, needles, begins, found);
            continue;
        }
        // a socket has none
        if !path.is_file() {
            continue;
        }
        let bytes = match fs::read(&path) {
            // a server that runs takes files away
            Err(gone) if gone.kind() == std::io::ErrorKind::NotFound => continue,
            read => read.unwrap(),
        };
        bytes_read += bytes.len() as u64;
        let mut hits = BTreeSet::new();
        for (at, _) in bytes.windows(2).enumerate().filter(|(_, two)| begins[pair(two)]) {
            for (place, (_, needle)) in needles.iter().enumerate() {
                if bytes[at..].starts_with(needle) {
                    hits.insert(place);
                }
            }
        }
        let told = |place: usize| format!("{} in {}", needles[place].0, path.display());
        found.extend(hits.into_iter().map(told));
    }
    bytes_read
}

/// What no file may have in clear of a brand's members, and of what one who lives there has.
pub(super) async fn needles(
    alliance: &Alliance,
    (card, other, code): &(String, String, String),
) -> Vec<(String, Vec<u8>)> {
    let here = alliance.node(HERE);
    let export = here.export_member(MEMBER, card.clone()).await.unwrap();
    assert!(!export.purchases.is_empty() && !export.exchanges.is_empty());
    let mut needles: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |what: &str, text: &str| {
        needles.push((what.to_owned(), text.as_bytes().to_vec()));
    };
    for identifier in &export.identifiers {
        if let Some(value) = &identifier.value {
            add(&identifier.kind, value);
        }
    }
    for (kind, value) in identifiers() {
        add(kind.name(), value);
        add(kind.name(), Identifier::parse(kind, value).unwrap().expose());
    }
    // a member may have bought first on a day that the contract names
    let public = fs::read_to_string(alliance.folder.path().join("c.toml")).unwrap();
    for (name, value) in &export.attributes {
        // words of four letters may be anywhere
        if value.len() >= 8 && !public.contains(value) {
            add(name, value);
        }
    }
    add("a name", NAME);
    add("the member's words", WORDS);
    add("a link code", code);
    add("a link code", &code.replace('-', ""));
    add("a card there", other);
    // every card of the import
    let mut after = None;
    loop {
        let page = here.cards(0, after.clone(), 1000).await.unwrap();
        page.iter().for_each(|card| add("a card", card));
        let Some(last) = page.last() else { break };
        after = Some(last.clone());
    }
    assert!(needles.len() > 100);
    needles
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_nodes_data_is_encrypted_at_rest() {
    let mut alliance = Alliance::of_the_sample().await;
    let lived = live(&alliance).await;
    // a balance from a programme of before is among it
    for by in ["ann", "olga"] {
        let lots = vec![OpeningLotRequest { points: 70, expires_on: None }];
        let brought = OpeningRequest { card: lived.0.clone(), lots, tier_points: 5 };
        let request = OpeningsRequest { members: vec![brought], ..OpeningsRequest::default() };
        alliance.node(HERE).staff(by).bring_openings(request, true).await.unwrap();
    }
    let needles = needles(&alliance, &lived).await;
    // all of them: a node that runs takes files away while they are read
    for brand in alliance.brands.clone() {
        alliance.stop(brand.as_str()).await;
    }
    let mut found = Vec::new();
    let folder = alliance.data(alliance.brands[1]);
    // a marker shows that the search finds what is there in clear
    fs::write(folder.path().join("marker"), b"some words, token-of-the-bank-00042, and more")
        .unwrap();
    found_in(folder.path(), &needles, &mut found);
    assert_eq!(found.len(), 2, "{found:?}");
    fs::remove_file(folder.path().join("marker")).unwrap();
    found.clear();
    for brand in &alliance.brands {
        let bytes = found_in(alliance.data(*brand).path(), &needles, &mut found);
        assert!(bytes > 10_000);
    }
    assert!(found.is_empty(), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_erasure_the_other_brand_drops_the_link_and_every_proof_still_verifies() {
    let mut alliance = Alliance::of_the_sample().await;
    let (card, other, _) = live(&alliance).await;
    let (here, there) = (alliance.node(HERE), alliance.node(THERE));
    let page = here.exchanges_page(first_of(1), ExchangeFilter::default()).await.unwrap();
    let exchange = page.items.into_iter().next().unwrap();
    let receipt = here.receipt(exchange.id.clone()).await.unwrap();
    let linked = async || {
        let other = other.clone();
        let links = there.at_desk(move |desk| {
            let member = desk.vault().by_card(&CardNumber::new(&other).unwrap())?.unwrap();
            Ok(desk.vault().links(member)?.incoming)
        });
        !links.await.unwrap().is_empty()
    };
    assert!(linked().await);

    let asked =
        MemberAction::Ask { about: "other".to_owned(), text: "where are my points?".to_owned() };
    here.programme_for_member("asked".to_owned(), card.clone(), asked).await.unwrap();
    assert_eq!(here.programme_requests().await.unwrap().len(), 1);

    let asked = RequestRequest { kind: "erasure".to_owned(), words: None };
    let opened = here.open_request(MEMBER, card.clone(), asked).await.unwrap();
    let done = AnswerRequest { outcome: "done".to_owned(), why: None };
    let closed = here.answer_request("olga", opened.id, done).await.unwrap();
    assert_eq!(closed.state, "done");
    // gone at once, here
    let gone = here.member(card.clone()).await.unwrap_err();
    assert_eq!(gone.code, "member_unknown");
    // in the points programme
    eventually("the programme forgets", async || {
        here.programme_requests().await.unwrap().is_empty()
    })
    .await;
    // and soon there
    eventually("the other brand drops the link", async || !linked().await).await;

    // the certificate is in the log, and anyone can tell
    let hash = closed.certificate.unwrap();
    let mut kept = CertificateView::default();
    eventually("the certificate is certified", async || {
        kept = here.certificate(hash.clone()).await.unwrap();
        kept.receipt.is_some()
    })
    .await;
    let folder = alliance.folder.path().to_owned();
    let path = |name: &str| folder.join(name);
    let toml = fs::read(path("c.toml")).unwrap();
    let constitution = alliance_config::Constitution::parse(&toml).unwrap();
    let known = constitution.ledger().clone().into();
    let said = members::verify(&kept, &known, Some(&card)).unwrap();
    assert!(said.contains("of the holder of that card"), "{said}");
    assert!(members::verify(&kept, &known, Some("ANOTHER")).is_err());
    let mut forged: Certificate = serde_json::from_str(&kept.certificate).unwrap();
    forged.erased_ms += 1;
    let forged =
        CertificateView { certificate: serde_json::to_string(&forged).unwrap(), ..kept.clone() };
    let refused = members::verify(&forged, &known, None).unwrap_err().to_string();
    assert!(refused.contains("another certificate"), "{refused}");

    // the receipt of before is the one of after
    let again = here.receipt(exchange.id).await.unwrap();
    let leaf = |receipt: &str| receipt.lines().nth(1).map(str::to_owned);
    assert_eq!(leaf(&receipt), leaf(&again));
    let operations = here.operations(0, 1000).await.unwrap();
    let operations: Vec<_> = operations.iter().map(|it| it.to_operation().unwrap()).collect();
    assert!(operations.iter().any(|it| it.deed == node::desk::Deed::Erase));
    drop((here, there));

    let brand = *alliance.brands.iter().find(|brand| brand.as_str() == HERE).unwrap();
    eventually("the log says where the operation log is", async || {
        let report = alliance.audit(Vec::new());
        report.is_ok_and(|report| report.operations.get(&brand).is_some_and(|it| !it.is_empty()))
    })
    .await;
    let report = alliance.audited(Vec::new()).await;
    assert!(report.is_clean(), "{:?}", report.ledger.findings);
    // and the log vouches for the operation log
    let heads = &report.operations[&brand];
    assert!(!heads.is_empty());
    let verified = operation_log::verify(&operations, heads);
    assert!(verified.findings.is_empty() && verified.vouched_for > 0, "{verified:?}");
    let mut altered = operations;
    altered[0].by = "nobody".to_owned();
    assert!(!operation_log::verify(&altered, heads).findings.is_empty());
}
