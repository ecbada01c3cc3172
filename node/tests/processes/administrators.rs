//! The way back of an administrator who has lost password and second factor, as the operator's guide has it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use node::cli::bench::{Alliance, Plan};
use node::cli::process::{NodeProcess, Program};
use node::client::{Client, ClientError};
use node::http::{CodeRequest, OwnPasswordRequest, SecondFactorView};
use node::service::{OperationView, RotationView};
use ring::hmac;

use super::{coalition, eventually, password_of};

const LOST: &str = "wei.chen";

/// RFC 6238 with what every authenticator does: SHA-1, six digits, thirty seconds.
fn code_now(secret: &str) -> String {
    const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0, 0_u32);
    for letter in secret.chars() {
        held = held << 5 | u32::try_from(LETTERS.find(letter).unwrap()).unwrap();
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).unwrap());
        }
    }
    let step = jiff::Timestamp::now().as_second() / 30;
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &bytes);
    let mac = hmac::sign(&key, &step.to_be_bytes());
    let at = usize::from(mac.as_ref()[19] & 15);
    let word = u32::from_be_bytes(mac.as_ref()[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", word % 1_000_000)
}

/// A client of the node in nobody's session.
fn anyone(node: &NodeProcess) -> Client {
    let certificate = node.data().tls().join(node::tls::CERTIFICATE_FILE);
    let address = node.client().unwrap().address();
    Client::connect(address, &std::fs::read(certificate).unwrap()).unwrap()
}

fn code_of<T>(result: Result<T, ClientError>) -> String {
    match result {
        Err(ClientError::Refused { problem, .. }) => problem.code.into_owned(),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was let in"),
    }
}

/// Sets an own password with one that was made, and signs in with it.
async fn own_password(client: &Client, made: &str, own: &str) {
    client.login(LOST, made).await.unwrap();
    assert_eq!(code_of(administers(client).await), "password_one_use");
    let request = OwnPasswordRequest { password: made.to_owned(), new_password: own.to_owned() };
    let () = client.post("/api/v1/password", &[], &request).await.unwrap();
    client.login(LOST, own).await.unwrap();
}

/// What an administrator, and nobody else, is told.
async fn administers(client: &Client) -> Result<RotationView, ClientError> {
    client.get("/api/v1/vault/rotation").await
}

/// What the operation log tells of users since an entry.
async fn told(officer: &Client) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut after = 0;
    loop {
        let path = format!("/api/v1/operations?after={after}&limit=100");
        let page: Vec<OperationView> = officer.get(&path).await.unwrap();
        let Some(last) = page.last() else { return found };
        after = last.number;
        found.extend(page.into_iter().filter(|it| it.deed == "user").map(|it| it.what));
    }
}

/// While the node serves: sessions begun before end, the old password opens nothing, the new one with nothing beside it
/// does, and the officer reads of both steps. The same for a change while the node does not run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_administrator_comes_back_by_the_command_line_and_it_is_on_record() {
    let plan = Plan { brands: 4, members: 1, snapshot_mib: 64, served: true };
    let alliance = Alliance::make(plan).unwrap();
    let mut node = alliance.processes(&Program::at(super::super::BINARY.into())).remove(0);
    node.start().unwrap();
    node.answers().await.unwrap();
    let data = node.data().path().display().to_string();
    let user = |command: &str, more: &[&str]| {
        let whole = [&["user", command, "--data", &data, "--name", LOST], more].concat();
        coalition(&whole)
    };

    let officer = node.client().unwrap();
    // how often the log has each; what is changed between two looks of the node's is told together
    let is_told = async |what: &str, times: usize| {
        eventually(&format!("the operation log has {what}"), async || {
            told(&officer).await.iter().filter(|it| *it == what).count() == times
        })
        .await;
    };
    let (factor, password) =
        (format!("second factor of user {LOST}"), format!("another password of user {LOST}"));

    let made = password_of(&user("add", &["--role", "administrator"]), "password");
    is_told(&format!("user {LOST} may sign in"), 1).await;
    let before = anyone(&node);
    let first = "the first of my own choice";
    own_password(&before, &made, first).await;
    is_told(&password, 1).await;
    let setup: SecondFactorView = before.post("/api/v1/second-factor", &[], &()).await.unwrap();
    let code = CodeRequest { code: code_now(&setup.secret) };
    let () = before.post("/api/v1/second-factor/confirmation", &[], &code).await.unwrap();
    // the sessions of before the second factor ended with its first code
    before.login_with(LOST, first, Some(setup.recovery_codes[0].clone())).await.unwrap();
    administers(&before).await.unwrap();
    is_told(&factor, 1).await;

    let second = password_of(&user("password", &[]), "password");
    assert_eq!(code_of(administers(&before).await), "token_unknown");
    let after = anyone(&node);
    assert_eq!(code_of(after.login(LOST, first).await), "login_refused");
    assert_eq!(code_of(after.login(LOST, &second).await), "code_needed");
    is_told(&password, 2).await;
    user("second-factor", &[]);
    own_password(&after, &second, "the second of my own choice").await;
    administers(&after).await.unwrap();
    // the session of somebody else went on all the time, and reads of both
    is_told(&password, 3).await;
    is_told(&factor, 2).await;

    node.tell_to_stop();
    node.stopped().await;
    let third = password_of(&user("password", &[]), "password");
    node.start().unwrap();
    node.answers().await.unwrap();
    let back = anyone(&node);
    assert_eq!(code_of(back.login(LOST, &second).await), "login_refused");
    // and of what was done while the node was away
    is_told(&password, 4).await;
    own_password(&back, &third, "the third of my own choice").await;
    administers(&back).await.unwrap();
    is_told(&password, 5).await;
    // with no password in it
    let log = officer.get_bytes("/api/v1/operations?limit=1000").await.unwrap();
    let log = String::from_utf8(log.to_vec()).unwrap();
    for secret in [first, &second, &third, &setup.secret] {
        assert!(!log.contains(secret) && !log.contains(&STANDARD.encode(secret)), "{log}");
    }
    node.kill().await.unwrap();
}
