//! What this node sees of the agreement on each log: a span for each open height, and in it an event for
//! each message that is sent or comes, at the level `debug`; and how long the others take to vote on this node's
//! blocks, and what they last refused.
//!
//! To be read with `COALITION_LOG=warn,node::runtime::trace=debug` (docs/observing.md). Looks on, and
//! decides nothing: without it all goes the same way.

use std::collections::BTreeMap;
use std::time::Instant;

use protocol::ids::{BrandId, Height, Round};
use protocol::ledger::Ledger;
use protocol::witness::message::Message;
use protocol::witness::statement::Pledge;
use tracing::Span;

use super::now;
use crate::metrics::Metrics;
use crate::service::WitnessView;

/// The open heights of all logs.
#[derive(Default)]
pub(super) struct Traces {
    open: BTreeMap<BrandId, Agreement>,
    /// What the others last said to blocks of this brand's.
    heard: BTreeMap<BrandId, WitnessView>,
}

/// One open height.
struct Agreement {
    height: Height,
    begun: Instant,
    span: Span,
}

/// What a message of the agreement is about.
struct About {
    kind: &'static str,
    log: BrandId,
    height: Height,
    round: Round,
    // of a refusal
    rule: Option<u16>,
}

impl About {
    fn of(message: &Message) -> Option<Self> {
        let pledged = |kind, Pledge { block, round }: Pledge| {
            let (log, height) = (block.log, block.height);
            Some(Self { kind, log, height, round, rule: None })
        };
        match message {
            Message::Proposal(it) => pledged("proposal", it.proposal.body.0),
            Message::LastProposal(it) => pledged("last proposal", it.proposal.body.0),
            Message::Vote(it) => pledged("vote", it.body.0),
            Message::Lock(it) => pledged("lock", it.pledge),
            Message::Commit(it) => pledged("commit", it.body.0),
            Message::Certified(it) => pledged("certificate", it.pledge),
            Message::Open(it) => {
                let (log, height, round) = (it.body.log, it.body.height, it.body.round);
                Some(Self { kind: "opening", log, height, round, rule: None })
            }
            Message::Promise(it) => {
                let open = &it.promise.body.open;
                let (log, height, round) = (open.log, open.height, open.round);
                Some(Self { kind: "promise", log, height, round, rule: None })
            }
            Message::Refusal(it) => {
                let (log, height, round) = (it.log, it.height, it.round);
                Some(Self { kind: "refusal", log, height, round, rule: Some(it.rule) })
            }
            _ => None,
        }
    }
}

impl Traces {
    /// A message that came, before it is handled.
    pub(super) fn received(
        &mut self,
        ledger: &Ledger,
        from: BrandId,
        message: &Message,
        metrics: &Metrics,
    ) {
        let Some((about, at)) = self.note(ledger, message) else { return };
        let milliseconds = elapsed(at.begun);
        at.span.in_scope(|| tell(&about, from, milliseconds, "received"));
        if about.log != ledger.me() {
            return;
        }
        let heard = self.heard.entry(from).or_default();
        if about.kind == "vote" {
            metrics.set("vote_milliseconds", "brand", from, milliseconds);
            heard.vote_milliseconds = Some(milliseconds);
            heard.voted_at_ms = Some(now().unix_ms());
        } else if about.rule.is_some() {
            heard.refused_rule = about.rule;
            heard.refused_at_ms = Some(now().unix_ms());
        }
    }

    /// What a brand last said to blocks of this brand's, since this node started.
    pub(super) fn heard(&self, brand: BrandId) -> WitnessView {
        self.heard.get(&brand).copied().unwrap_or_default()
    }

    /// A message that is sent.
    pub(super) fn sent(&mut self, ledger: &Ledger, to: BrandId, message: &Message) {
        let Some((about, at)) = self.note(ledger, message) else { return };
        at.span.in_scope(|| tell(&about, to, elapsed(at.begun), "sent"));
    }

    /// Ends the spans of the heights that are final by now.
    pub(super) fn settled(&mut self, ledger: &Ledger) {
        self.open.retain(|log, at| {
            let is_open = ledger.witness(*log).is_some_and(|it| it.tip().height < at.height);
            if !is_open {
                let milliseconds = elapsed(at.begun);
                at.span.in_scope(|| tracing::debug!(milliseconds, "final"));
            }
            is_open
        });
    }

    /// The open height that a message is about; none for what is past, or cannot be yet.
    fn note(&mut self, ledger: &Ledger, message: &Message) -> Option<(About, &Agreement)> {
        let about = About::of(message)?;
        let tip = ledger.witness(about.log)?.tip().height;
        if tip.next() != Some(about.height) {
            return None;
        }
        let (log, height) = (about.log, about.height);
        let at = self.open.entry(log).or_insert_with(|| Agreement::begin(log, height));
        if at.height != height {
            *at = Agreement::begin(log, height);
        }
        Some((about, &*at))
    }
}

impl Agreement {
    fn begin(log: BrandId, height: Height) -> Self {
        let span = tracing::debug_span!(parent: None, "agreement", %log, height = height.get());
        Self { height, begun: Instant::now(), span }
    }
}

fn tell(about: &About, brand: BrandId, milliseconds: u64, way: &'static str) {
    let (kind, round) = (about.kind, about.round.get());
    match (way, about.rule) {
        ("sent", Some(rule)) => tracing::debug!(kind, %brand, round, rule, milliseconds, "sent"),
        (_, Some(rule)) => tracing::debug!(kind, %brand, round, rule, milliseconds, "received"),
        ("sent", None) => tracing::debug!(kind, %brand, round, milliseconds, "sent"),
        (_, None) => tracing::debug!(kind, %brand, round, milliseconds, "received"),
    }
}

fn elapsed(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}
