//! Webhooks: what happens at the node, sent to who asked for it (Standard Webhooks).
//!
//! Knows who gets which kinds of events, the secrets their deliveries are signed with, what waits to be
//! delivered, and how deliveries went. All of it is one file, written whole, so that nothing that waits is
//! lost with a restart. Events are those of [`crate::service::Events`]: numbers and states, nobody in them.
//! Does not decide who may register one (`http` does), and knows no member.
//!
//! Events of the last second before a crash are not in the file: after each start every receiver gets
//! `stream.reset`, and looks at the states themselves. Deliveries come at least once and in no certain order.

mod delivery;
mod signature;
mod target;

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use utoipa::ToSchema;

use self::signature::Secret;
use self::target::Target;
pub use self::target::TargetError;
use self::target::Way;
use crate::metrics::Metrics;
use crate::service::{EVENT_KINDS, EventView, RESET};
use crate::tls::{OutgoingCertificate, TlsError};

/// Most webhooks of a node.
pub const WEBHOOKS_MAX: usize = 16;
/// Deliveries that wait for one receiver; in place of more it is told that it missed some.
const PENDING_MAX: usize = 2000;
/// Deliveries that are remembered of each receiver.
const LOG_MAX: usize = 200;
/// For how long a secret that was replaced still signs.
const OVERLAP: Duration = Duration::from_secs(24 * 3600);

/// The operator's settings, in `node.toml` under `[webhooks]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookSettings {
    /// Whether deliveries may go to addresses of private networks, and in the clear to this machine itself:
    /// for receivers inside, and for development.
    pub allow_private: bool,
    /// PEM file of the authorities that receivers' certificates may come from; without it, those the system
    /// trusts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trusted: Option<PathBuf>,
    /// Days without one success after which a webhook is disabled, 1 to 30.
    pub disable_after_days: u16,
    /// What deliveries show to a receiver that asks for a client's certificate; without it, nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<OutgoingCertificate>,
}

impl Default for WebhookSettings {
    fn default() -> Self {
        Self {
            allow_private: false,
            trusted: None,
            disable_after_days: 5,
            client_certificate: None,
        }
    }
}

impl WebhookSettings {
    /// Whether nothing was set.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The same with the certificate's paths from a directory.
    #[must_use]
    pub fn under(&self, directory: &Path) -> Self {
        let own = self.client_certificate.as_ref();
        Self { client_certificate: own.map(|own| own.under(directory)), ..self.clone() }
    }

    /// Whether the figures can be used.
    ///
    /// # Errors
    /// A sentence that says which setting is wrong and what would be right.
    pub fn check(&self) -> Result<(), String> {
        let days = self.disable_after_days;
        if (1..=30).contains(&days) {
            return Ok(());
        }
        Err(format!("webhooks.disable_after_days: {days} is not 1 to 30"))
    }
}

/// A webhook as it is asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookRequest {
    /// Where deliveries go: `https://`, a host of the public internet (see `[webhooks]` in node.toml).
    #[schema(example = "https://hooks.example/coalition")]
    pub url: String,
    /// Kinds of events: `exchange.state`, `query.step`, `clearing.statement`, `clearing.payment`, `programme.notice`.
    #[schema(example = json!(["exchange.state"]))]
    pub events: Vec<String>,
}

/// A webhook.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WebhookView {
    /// Its number: 16 hex digits.
    #[schema(example = "0123456789abcdef")]
    pub id: String,
    /// Where deliveries go.
    pub url: String,
    /// Kinds of events.
    pub events: Vec<String>,
    /// When it was registered, Unix milliseconds.
    pub created_ms: u64,
    /// `active`, or `disabled` after days without success or when the receiver answered 410.
    #[schema(example = "active")]
    pub state: String,
    /// Since when no delivery has succeeded, if the last one failed, Unix milliseconds.
    pub failing_since_ms: Option<u64>,
    /// Deliveries that wait.
    pub waiting: u64,
    /// Until when the former secret signs too, Unix milliseconds.
    pub former_secret_until_ms: Option<u64>,
    /// The secret, in the answer that makes it and no other: `whsec_` and base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// Without the secret, and without the URL, which may have one in it.
impl std::fmt::Debug for WebhookView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { id, state, .. } = self;
        f.debug_struct("WebhookView").field("id", id).field("state", state).finish_non_exhaustive()
    }
}

/// One attempt to deliver something. Without what was delivered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeliveryView {
    /// The delivery's id, as in the header `webhook-id`: the same for each attempt.
    #[schema(example = "msg_0123456789abcdef0123456789abcdef")]
    pub id: String,
    /// What kind of event.
    #[serde(rename = "type")]
    #[schema(example = "exchange.state")]
    pub kind: String,
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// The first, second, ... attempt.
    pub attempt: u32,
    /// `delivered`, `failed` (it is tried again) or `given_up`.
    #[schema(example = "delivered")]
    pub outcome: String,
    /// The receiver's status, if it answered.
    pub status: Option<u16>,
    /// Why there was no answer, a stable code.
    pub reason: Option<String>,
}

/// Why a webhook is not as asked.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The URL.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// No kinds, or others than there are.
    #[error("the kinds of events are some of {}, each once", EVENT_KINDS.join(", "))]
    Kinds,
    /// Too many.
    #[error("there are {WEBHOOKS_MAX} webhooks already")]
    TooMany,
    /// None of this number.
    #[error("there is no webhook of this number")]
    Unknown,
    /// The system gives no random numbers.
    #[error("this node cannot make a secret now")]
    NoRandom,
    /// The file.
    #[error("the file of the webhooks cannot be {action}: {source}")]
    File {
        /// `read` or `written`.
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The authorities, or the certificate that is shown.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A secret and until when it signs.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Signs {
    secret: Secret,
    until_ms: Option<u64>,
}

/// Something that waits to be delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Pending {
    id: String,
    kind: String,
    body: String,
    since_ms: u64,
    attempts: u32,
    next_ms: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Hook {
    url: String,
    events: Vec<String>,
    created_ms: u64,
    // the newest first
    secrets: Vec<Signs>,
    failing_since_ms: Option<u64>,
    // failures of the receiver since its last success
    failures: u32,
    // not before: the receiver does not answer
    next_ms: u64,
    disabled: bool,
    pending: VecDeque<Pending>,
    log: VecDeque<DeliveryView>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    hooks: BTreeMap<String, Hook>,
}

/// The webhooks of a node. Clones share them.
#[derive(Clone)]
pub struct Webhooks(Arc<Inner>);

struct Inner {
    path: PathBuf,
    settings: WebhookSettings,
    way: Mutex<Option<Arc<Way>>>,
    state: Mutex<State>,
    // held while the file is written, and taken before the state is
    writing: Mutex<()>,
    // something waits that did not
    woken: Notify,
    metrics: Metrics,
}

impl std::fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Webhooks(..)")
    }
}

/// Unix milliseconds.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn random_hex(bytes: usize) -> Result<String, WebhookError> {
    let mut random = vec![0; bytes];
    SystemRandom::new().fill(&mut random).map_err(|_| WebhookError::NoRandom)?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn not_written(source: std::io::Error) -> WebhookError {
    WebhookError::File { action: "written", source }
}

fn encoded(state: &State) -> Result<Vec<u8>, WebhookError> {
    serde_json::to_vec(state).map_err(|error| not_written(error.into()))
}

impl Webhooks {
    /// Reads the file; one that is not there has none.
    ///
    /// # Errors
    /// When the file cannot be read, or a certificate is to be shown that cannot be used.
    pub fn open(
        path: &Path,
        settings: WebhookSettings,
        metrics: Metrics,
    ) -> Result<Self, WebhookError> {
        let failed = |source| WebhookError::File { action: "read", source };
        let state = match fs::read(path) {
            Ok(bytes) => {
                let damaged = |_| std::io::Error::from(std::io::ErrorKind::InvalidData);
                serde_json::from_slice(&bytes).map_err(damaged).map_err(failed)?
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => State::default(),
            Err(error) => return Err(failed(error)),
        };
        // said at the start rather than with each delivery
        let way = match &settings.client_certificate {
            Some(_) => Some(Arc::new(Way::new(&settings)?)),
            None => None,
        };
        Ok(Self(Arc::new(Inner {
            path: path.to_owned(),
            settings,
            way: Mutex::new(way),
            state: Mutex::new(state),
            writing: Mutex::default(),
            woken: Notify::new(),
            metrics,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How deliveries leave; made when the first one does.
    fn way(&self) -> Result<Arc<Way>, TlsError> {
        let mut way = self.0.way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(way) = way.as_ref() {
            return Ok(Arc::clone(way));
        }
        let made = Arc::new(Way::new(&self.0.settings)?);
        *way = Some(Arc::clone(&made));
        Ok(made)
    }

    /// Registers one; its secret is in the answer, and in no other.
    ///
    /// # Errors
    /// See [`WebhookError`]; nothing has then changed.
    pub fn register(&self, request: &WebhookRequest) -> Result<WebhookView, WebhookError> {
        Target::parse(&request.url, self.0.settings.allow_private)?;
        let mut events = request.events.clone();
        events.sort_unstable();
        let known = |kind: &String| EVENT_KINDS.contains(&kind.as_str());
        let twice = events.windows(2).any(|pair| matches!(pair, [one, other] if one == other));
        if events.is_empty() || twice || !events.iter().all(known) {
            return Err(WebhookError::Kinds);
        }
        let secret = Secret::generate().ok_or(WebhookError::NoRandom)?;
        let id = random_hex(8)?;
        let hook = Hook {
            url: request.url.clone(),
            events,
            created_ms: now_ms(),
            secrets: vec![Signs { secret: secret.clone(), until_ms: None }],
            failing_since_ms: None,
            failures: 0,
            next_ms: 0,
            disabled: false,
            pending: VecDeque::new(),
            log: VecDeque::new(),
        };
        self.change(|state| {
            if state.hooks.len() >= WEBHOOKS_MAX {
                return Err(WebhookError::TooMany);
            }
            let view = WebhookView { secret: Some(secret.shown()), ..view(&id, &hook) };
            state.hooks.insert(id.clone(), hook);
            Ok(view)
        })
    }

    /// All of them, by number.
    #[must_use]
    pub fn all(&self) -> Vec<WebhookView> {
        self.state().hooks.iter().map(|(id, hook)| view(id, hook)).collect()
    }

    /// One.
    ///
    /// # Errors
    /// [`WebhookError::Unknown`].
    pub fn one(&self, id: &str) -> Result<WebhookView, WebhookError> {
        self.state().hooks.get(id).map(|hook| view(id, hook)).ok_or(WebhookError::Unknown)
    }

    /// The latest attempts to deliver to one, newest first.
    ///
    /// # Errors
    /// [`WebhookError::Unknown`].
    pub fn deliveries(&self, id: &str) -> Result<Vec<DeliveryView>, WebhookError> {
        let state = self.state();
        let hook = state.hooks.get(id).ok_or(WebhookError::Unknown)?;
        Ok(hook.log.iter().rev().cloned().collect())
    }

    /// Takes one away, with what waits for it.
    ///
    /// # Errors
    /// See [`WebhookError`]; nothing has then changed.
    pub fn remove(&self, id: &str) -> Result<(), WebhookError> {
        self.change(|state| state.hooks.remove(id).map(drop).ok_or(WebhookError::Unknown))
    }

    /// Makes another secret, which is in the answer; the former one signs too for a day.
    ///
    /// # Errors
    /// See [`WebhookError`]; nothing has then changed.
    pub fn rotate(&self, id: &str) -> Result<WebhookView, WebhookError> {
        let secret = Secret::generate().ok_or(WebhookError::NoRandom)?;
        self.change_one(id, |hook| {
            let until_ms = Some(now_ms().saturating_add(milliseconds(OVERLAP)));
            // of those before only the one that was good until now
            hook.secrets.truncate(1);
            hook.secrets.iter_mut().for_each(|signs| signs.until_ms = until_ms);
            hook.secrets.insert(0, Signs { secret: secret.clone(), until_ms: None });
            WebhookView { secret: Some(secret.shown()), ..view(id, hook) }
        })
    }

    /// Delivers again to one that was disabled, what waits at once.
    ///
    /// # Errors
    /// See [`WebhookError`]; nothing has then changed.
    pub fn enable(&self, id: &str) -> Result<WebhookView, WebhookError> {
        let view = self.change_one(id, |hook| {
            (hook.disabled, hook.failing_since_ms) = (false, None);
            (hook.failures, hook.next_ms) = (0, 0);
            hook.pending.iter_mut().for_each(|pending| pending.next_ms = 0);
            view(id, hook)
        })?;
        self.0.woken.notify_one();
        Ok(view)
    }

    fn change_one<T>(
        &self,
        id: &str,
        change: impl FnOnce(&mut Hook) -> T,
    ) -> Result<T, WebhookError> {
        self.change(|state| state.hooks.get_mut(id).map(change).ok_or(WebhookError::Unknown))
    }

    /// Changes the state and writes it; what is not written has not changed.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut State) -> Result<T, WebhookError>,
    ) -> Result<T, WebhookError> {
        let _alone = self.0.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.state();
        let mut changed = State { hooks: state.hooks.clone() };
        let done = change(&mut changed)?;
        self.write(&encoded(&changed)?)?;
        *state = changed;
        drop(state);
        self.measure();
        Ok(done)
    }

    /// Writes the state as it is, while others may go on with it.
    fn write_now(&self) -> Result<(), WebhookError> {
        let _alone = self.0.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = encoded(&self.state())?;
        self.write(&bytes)
    }

    fn write(&self, bytes: &[u8]) -> Result<(), WebhookError> {
        let part = self.0.path.with_extension("part");
        let written = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            // it has the secrets
            .mode(0o600)
            .open(&part)
            .and_then(|mut file| {
                file.write_all(bytes)?;
                file.sync_all()?;
                fs::rename(&part, &self.0.path)
            });
        written.map_err(not_written)
    }

    /// Sets the figures that are states.
    fn measure(&self) {
        let state = self.state();
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let disabled = state.hooks.values().filter(|hook| hook.disabled).count();
        let waiting = state.hooks.values().map(|hook| hook.pending.len()).sum();
        let metrics = &self.0.metrics;
        metrics.set("webhooks_disabled", "", "", count(disabled));
        metrics.set("webhook_deliveries_waiting", "", "", count(waiting));
    }

    /// Has something wait for those who asked for its kind; `stream.reset` is for everyone. True if it does for
    /// anyone.
    fn enqueue(&self, view: &EventView) -> bool {
        let (at, mut any) = (now_ms(), false);
        let is_reset = view.kind == RESET;
        let mut state = self.state();
        for hook in state.hooks.values_mut() {
            if hook.disabled || !is_reset && !hook.events.contains(&view.kind) {
                continue;
            }
            let full = hook.pending.len() >= PENDING_MAX;
            if full && hook.pending.back().is_some_and(|last| last.kind == RESET) {
                continue;
            }
            let waits = if full {
                // in place of the last, and of all that come while so many wait
                hook.pending.pop_back();
                self.0.metrics.count("webhook_deliveries", "outcome", "given_up");
                pending(&EventView::reset("too_many_waited"), at)
            } else {
                pending(view, at)
            };
            hook.pending.extend(waits);
            any = true;
        }
        any
    }
}

/// Something to be delivered; none when the system gives no random numbers.
fn pending(view: &EventView, at: u64) -> Option<Pending> {
    Some(Pending {
        id: format!("msg_{}", random_hex(16).ok()?),
        kind: view.kind.clone(),
        body: serde_json::to_string(view).ok()?,
        since_ms: at,
        attempts: 0,
        next_ms: 0,
    })
}

fn view(id: &str, hook: &Hook) -> WebhookView {
    let now = now_ms();
    let former = hook.secrets.iter().skip(1).filter_map(|signs| signs.until_ms);
    WebhookView {
        id: id.to_owned(),
        url: hook.url.clone(),
        events: hook.events.clone(),
        created_ms: hook.created_ms,
        state: if hook.disabled { "disabled" } else { "active" }.to_owned(),
        failing_since_ms: hook.failing_since_ms,
        waiting: u64::try_from(hook.pending.len()).unwrap_or(u64::MAX),
        former_secret_until_ms: former.filter(|until| *until > now).max(),
        secret: None,
    }
}

#[cfg(test)]
mod tests;
