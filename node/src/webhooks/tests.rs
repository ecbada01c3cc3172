//! Webhooks against receivers on this machine.

use std::sync::atomic::{AtomicU16, Ordering};

use protocol::ids::{BrandId, RequestId};
use protocol::time::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;
use crate::service::{EXCHANGE_STATE, EventSource, Events, Happened, QUERY_STEP};

/// A hook for which these deliveries wait.
pub(super) fn hook(waiting: &[&str]) -> Hook {
    let pending = waiting.iter().map(|id| Pending {
        id: (*id).to_owned(),
        kind: EXCHANGE_STATE.to_owned(),
        body: "{}".to_owned(),
        since_ms: 24 * 3600 * 1000,
        attempts: 0,
        next_ms: 0,
    });
    Hook {
        url: "https://hooks.example/".to_owned(),
        events: vec![EXCHANGE_STATE.to_owned()],
        created_ms: 0,
        secrets: Vec::new(),
        failing_since_ms: None,
        failures: 0,
        next_ms: 0,
        disabled: false,
        pending: pending.collect(),
        log: VecDeque::new(),
    }
}

/// A request as it came.
struct Got {
    headers: BTreeMap<String, String>,
    body: String,
}

impl Got {
    fn view(&self) -> EventView {
        serde_json::from_str(&self.body).unwrap()
    }

    /// As a receiver does with the secret that it was shown.
    fn is_signed_with(&self, secret: &str) -> bool {
        let secret = Secret::try_from(secret.to_owned()).unwrap();
        let at = self.headers["webhook-timestamp"].parse().unwrap();
        assert!(now_ms() / 1000 - at < 60, "a time of long ago");
        let (id, all) = (&self.headers["webhook-id"], &self.headers["webhook-signature"]);
        let right = signature::signatures([&secret].into_iter(), id, at, &self.body);
        all.split(' ').any(|signature| signature == right)
    }
}

/// A receiver that answers with the status that is set.
async fn receiver(status: Arc<AtomicU16>) -> (String, mpsc::UnboundedReceiver<Got>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook?a=b", listener.local_addr().unwrap());
    let (got, received) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = Vec::new();
            let got_it = loop {
                let mut part = [0; 4096];
                let read = stream.read(&mut part).await.unwrap();
                bytes.extend_from_slice(&part[..read]);
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let mut lines = head.lines();
                assert_eq!(lines.next(), Some("POST /hook?a=b HTTP/1.1"));
                let headers: BTreeMap<String, String> = lines
                    .filter_map(|line| line.split_once(": "))
                    .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                    .collect();
                if body.len() >= headers["content-length"].parse().unwrap() {
                    break Got { headers, body: body.to_owned() };
                }
            };
            let status = status.load(Ordering::SeqCst);
            let answer = format!(
                "HTTP/1.1 {status} x\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"
            );
            let _ = stream.write_all(answer.as_bytes()).await;
            if got.send(got_it).is_err() {
                return;
            }
        }
    });
    (url, received)
}

fn exchange(number: u8, state: &'static str) -> Vec<Happened> {
    let (id, to) = (RequestId::from_bytes([number; 16]), BrandId::new("kids").unwrap());
    vec![Happened::Exchange { id, to, state }]
}

fn query(step: &str) -> Vec<Happened> {
    vec![Happened::Query { id: "q".into(), scope: "joint".into(), step: step.into() }]
}

async fn next(received: &mut mpsc::UnboundedReceiver<Got>) -> Got {
    let got = tokio::time::timeout(Duration::from_secs(180), received.recv());
    got.await.expect("a delivery").unwrap()
}

fn inside() -> WebhookSettings {
    WebhookSettings { allow_private: true, ..WebhookSettings::default() }
}

#[tokio::test]
async fn what_happens_is_delivered_signed_tried_again_and_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("webhooks.json");
    let status = Arc::new(AtomicU16::new(204));
    let (url, mut received) = receiver(Arc::clone(&status)).await;
    let metrics = Metrics::default();
    let webhooks = Webhooks::open(&path, inside(), metrics.clone()).unwrap();
    let events = vec![EXCHANGE_STATE.to_owned()];
    let made = webhooks.register(&WebhookRequest { url, events }).unwrap();
    let secret = made.secret.clone().unwrap();
    assert!(!format!("{made:?}").contains(&secret));
    assert_eq!((made.state.as_str(), made.id.len()), ("active", 16));
    assert_eq!(webhooks.one(&made.id).unwrap(), WebhookView { secret: None, ..made.clone() });

    let at = Timestamp::from_unix_ms(1_764_406_800_000);
    let source = EventSource(Events::new(at));
    let running = tokio::spawn(webhooks.clone().run(source.0.clone()));
    // whoever comes from a restart looks at the states
    let hello = next(&mut received).await;
    assert_eq!(
        (hello.view().kind.as_str(), hello.view().data.state.as_str()),
        ("stream.reset", "node_started")
    );

    source.0.tell(exchange(1, "final"), at);
    source.0.tell(query("opening"), at);
    source.0.tell(exchange(2, "held"), at);
    let mut got = [next(&mut received).await, next(&mut received).await];
    got.sort_by_key(|got| got.view().data.id);
    let states: Vec<String> = got.iter().map(|got| got.view().data.state).collect();
    assert_eq!(states, ["final", "held"], "of the kinds that were asked for");
    for got in &got {
        assert!(got.is_signed_with(&secret), "{:?}", got.headers);
        assert_eq!(got.headers["content-type"], "application/json");
    }
    assert_ne!(got[0].headers["webhook-id"], got[1].headers["webhook-id"]);

    // both secrets sign while receivers take up the new one
    let rotated = webhooks.rotate(&made.id).unwrap();
    assert!(rotated.former_secret_until_ms.unwrap() > now_ms() + 23 * 3600 * 1000);
    let fresh = rotated.secret.unwrap();
    source.0.tell(exchange(3, "held"), at);
    let both = next(&mut received).await;
    assert!(fresh != secret && both.is_signed_with(&fresh) && both.is_signed_with(&secret));
    // the one before those does not
    let newest = webhooks.rotate(&made.id).unwrap().secret.unwrap();
    source.0.tell(exchange(4, "held"), at);
    let got = next(&mut received).await;
    assert!(got.is_signed_with(&newest) && got.is_signed_with(&fresh));
    assert!(!got.is_signed_with(&secret));

    // what fails waits, over a restart too, under its id; a redirect is no success
    status.store(302, Ordering::SeqCst);
    source.0.tell(exchange(5, "acknowledged"), at);
    let failed = next(&mut received).await;
    let begun = std::time::Instant::now();
    while !webhooks.deliveries(&made.id).unwrap().iter().any(|it| it.outcome == "failed") {
        assert!(begun.elapsed() < Duration::from_secs(180));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(source);
    running.await.unwrap();
    drop(webhooks);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(&failed.headers["webhook-id"]));
    use std::os::unix::fs::MetadataExt as _;
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600, "it has the secrets");

    status.store(200, Ordering::SeqCst);
    let webhooks = Webhooks::open(&path, inside(), metrics.clone()).unwrap();
    let view = webhooks.one(&made.id).unwrap();
    assert!(view.waiting >= 1);
    // as an operator who does not want to wait
    webhooks.enable(&made.id).unwrap();
    let source = EventSource(Events::new(at));
    let running = tokio::spawn(webhooks.clone().run(source.0.clone()));
    let mut ids = vec![next(&mut received).await, next(&mut received).await];
    ids.retain(|got| got.headers["webhook-id"] == failed.headers["webhook-id"]);
    assert_eq!(ids.len(), 1, "the same delivery under the same id");
    assert_eq!(ids[0].body, failed.body);
    assert!(ids[0].is_signed_with(&newest));

    drop(source);
    running.await.unwrap();
    let log = webhooks.deliveries(&made.id).unwrap();
    assert!(log.iter().any(|it| it.outcome == "failed" && it.status == Some(302)));
    let shown = serde_json::to_string(&log).unwrap() + &format!("{webhooks:?}");
    assert!(!shown.contains("kids") && !shown.contains("whsec_"), "{shown}");
    assert!(metrics.render().contains("coalition_webhook_deliveries_total{outcome=\"delivered\"}"));
    webhooks.remove(&made.id).unwrap();
    assert!(matches!(webhooks.one(&made.id), Err(WebhookError::Unknown)));
}

#[tokio::test]
async fn a_receiver_that_does_not_want_any_more_is_disabled_and_shown() {
    let directory = tempfile::tempdir().unwrap();
    let status = Arc::new(AtomicU16::new(410));
    let (url, mut received) = receiver(Arc::clone(&status)).await;
    let metrics = Metrics::default();
    let path = directory.path().join("webhooks.json");
    let webhooks = Webhooks::open(&path, inside(), metrics.clone()).unwrap();
    let made = webhooks.register(&WebhookRequest { url, events: vec![QUERY_STEP.into()] }).unwrap();
    let source = EventSource(Events::new(Timestamp::from_unix_ms(1)));
    let running = tokio::spawn(webhooks.clone().run(source.0.clone()));
    next(&mut received).await;
    let begun = std::time::Instant::now();
    while !metrics.render().contains("coalition_webhooks_disabled 1") {
        assert!(begun.elapsed() < Duration::from_secs(180), "{}", metrics.render());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(webhooks.one(&made.id).unwrap().state, "disabled");
    status.store(200, Ordering::SeqCst);
    assert_eq!(webhooks.enable(&made.id).unwrap().state, "active");
    next(&mut received).await;
    drop(source);
    running.await.unwrap();
}

#[test]
fn webhooks_are_bounded_and_wrong_ones_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("webhooks.json");
    let webhooks = Webhooks::open(&path, WebhookSettings::default(), Metrics::default()).unwrap();
    let register = |url: &str, events: &[&str]| {
        let events = events.iter().map(|kind| (*kind).to_owned()).collect();
        webhooks.register(&WebhookRequest { url: url.to_owned(), events })
    };
    let url = "https://hooks.example/";
    for events in [&[][..], &["exchange"], &[EXCHANGE_STATE, EXCHANGE_STATE], &["stream.reset"]] {
        assert!(matches!(register(url, events), Err(WebhookError::Kinds)), "{events:?}");
    }
    let inside = register("https://192.168.0.1/", &[EXCHANGE_STATE]);
    assert!(matches!(inside, Err(WebhookError::Target(TargetError::Private))));
    assert!(!path.exists(), "nothing was written");
    for _ in 0..WEBHOOKS_MAX {
        register(url, &[EXCHANGE_STATE, QUERY_STEP]).unwrap();
    }
    assert!(matches!(register(url, &[QUERY_STEP]), Err(WebhookError::TooMany)));

    // a receiver that is away for long costs bounded memory
    let view = EventView { kind: QUERY_STEP.to_owned(), ..EventView::reset("") };
    for _ in 0..PENDING_MAX + 7 {
        webhooks.enqueue(&view);
    }
    assert!(webhooks.all().iter().all(|hook| hook.waiting == PENDING_MAX as u64));
    let state = webhooks.state();
    let last: Vec<&str> =
        state.hooks.values().map(|hook| hook.pending.back().unwrap().kind.as_str()).collect();
    assert_eq!(last, [crate::service::RESET; WEBHOOKS_MAX], "each is told that it missed some");
    drop(state);

    // what cannot be written has not happened
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let first = webhooks.all()[0].id.clone();
    assert!(matches!(webhooks.remove(&first), Err(WebhookError::File { action: "written", .. })));
    assert_eq!(webhooks.all().len(), WEBHOOKS_MAX);
    std::fs::remove_dir(&path).unwrap();
    std::fs::write(&path, "{\"hooks\":").unwrap();
    let damaged = Webhooks::open(&path, WebhookSettings::default(), Metrics::default());
    assert!(matches!(damaged, Err(WebhookError::File { action: "read", .. })));
}

#[test]
fn wrong_settings_are_named() {
    let settings = |text: &str| toml::from_str::<WebhookSettings>(text);
    assert_eq!(settings("").unwrap(), WebhookSettings::default());
    assert!(settings("disable_after_days = 30").unwrap().check().is_ok());
    let wrong = settings("disable_after_days = 0").unwrap().check().unwrap_err();
    assert!(wrong.starts_with("webhooks.disable_after_days: 0"), "{wrong}");
    assert!(settings("allow_privat = true").is_err());
}
