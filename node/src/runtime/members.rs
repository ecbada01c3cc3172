//! What goes on around members beside requests: brands and the points programme told that a member is gone, the programme
//! told that two are one, certificates and the
//! operation log's head entered into the brand's log, facts compacted, a rotation finished, clocks that have run out counted.
//!
//! Each step may be done twice and is remembered as done only once it is durable.

use std::time::Duration;

use protocol::log::block::PublicEntry;
use protocol::log::kept::{Answered, OperationLogHead};
use protocol::time::{Milliseconds, Timestamp};

use super::core::{cold_error, vault_error};
use super::{Runtime, now};
use crate::service::{ExchangeView, HoldingsView, Node, ServiceError};
use crate::vault::MemberId;

/// How often it is looked at.
const EVERY: Duration = Duration::from_secs(2);
/// How often files of facts are looked at for rows of erased members.
const COMPACT_AFTER: Milliseconds = Milliseconds::from_seconds(6 * 3600);
/// How often it is looked at which clocks have run out.
const MEASURE_AFTER: Milliseconds = Milliseconds::from_seconds(60);
/// Entries of the operation log after which its head is entered at once.
const OPERATIONS_MAX: u64 = 1_000;
/// Done at a time.
const AT_ONCE: usize = 64;

/// Runs until the node ends.
pub(super) async fn care(node: Node) {
    let (compacted, measured) = (Timestamp::default(), Timestamp::default());
    let mut care = Care { entered: (0, now()), compacted, measured };
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !node.is_stopped() {
        ticks.tick().await;
        if let Err(error) = care.look(&node).await {
            tracing::warn!(code = error.code, "members' affairs wait");
        }
    }
}

struct Care {
    // how many operations were entered last, and when
    entered: (u64, Timestamp),
    compacted: Timestamp,
    measured: Timestamp,
}

impl Care {
    async fn look(&mut self, node: &Node) -> Result<(), ServiceError> {
        let at = now();
        // before what may have to wait for others
        if at.since(self.measured) >= MEASURE_AFTER {
            node.at_desk(move |desk| desk.measure(at)).await?;
            self.measured = at;
        }
        for (brand, handle) in node.at_desk(|desk| desk.brands_to_tell(AT_ONCE)).await? {
            node.unlink(brand, handle).await?;
            node.at_desk(move |desk| desk.brand_told(brand, handle)).await?;
        }
        for member in node.at_desk(|desk| desk.members_to_forget(AT_ONCE)).await? {
            node.forget_member(member).await?;
            node.at_desk(move |desk| desk.member_forgotten(member)).await?;
        }
        for (from, into) in node.at_desk(|desk| desk.merges_to_tell(AT_ONCE)).await? {
            if node.move_member(from, into).await? {
                node.at_desk(move |desk| desk.merge_told((from, into))).await?;
            }
        }
        for certificate in node.at_desk(|desk| desk.certificates_to_enter(AT_ONCE)).await? {
            node.keep(PublicEntry::Answered(Answered { certificate })).await?;
            node.at_desk(move |desk| desk.certificate_entered(&certificate)).await?;
        }
        self.enter_head(node).await?;
        let at = now();
        if at.since(self.compacted) >= COMPACT_AFTER {
            let done = node.compact(at).await?;
            if !done.busy {
                self.compacted = at;
            }
            if done.members > 0 {
                tracing::info!(count = done.members, "facts of erased members are gone");
            }
            node.at_desk(move |desk| desk.forget_erased_long_ago(at)).await?;
        }
        if node.at_desk(|desk| desk.is_rotating()).await? {
            node.at_desk(move |desk| desk.rewrap(at)).await?;
        }
        Ok(())
    }

    async fn enter_head(&mut self, node: &Node) -> Result<(), ServiceError> {
        let (head, after) =
            node.at_desk(|desk| Ok((desk.log().head(), desk.rules().operations_after))).await?;
        let (entered, when) = self.entered;
        let (grown, at) = (head.entries.saturating_sub(entered), now());
        // the first of a run at once: what was done before a restart is then on record
        let due = entered == 0 || grown >= OPERATIONS_MAX || at.since(when) >= after;
        if grown == 0 || !due {
            return Ok(());
        }
        let (entries, head) = (head.entries, head.hash);
        node.keep(PublicEntry::OperationLogHead(OperationLogHead { entries, head })).await?;
        self.entered = (entries, at);
        Ok(())
    }
}

impl Runtime {
    /// A member's points, links and exchanges.
    pub(super) fn holdings(&self, member: MemberId) -> Result<HoldingsView, ServiceError> {
        let balance = self.core.points.balance(member);
        let book = &self.core.book;
        let exchanges = book.latest_of(member, usize::MAX).map_err(cold_error)?;
        let exchanges: Vec<ExchangeView> = exchanges.iter().map(|booked| booked.view()).collect();
        let received = book.received().latest(usize::MAX, Some(member)).map_err(cold_error)?;
        let links = self.core.vault.links(member).map_err(vault_error)?;
        Ok(HoldingsView {
            available: balance.available.get(),
            held: balance.held.get(),
            links: self.link_views(links),
            exchanges,
            received,
        })
    }

    /// Tells the desk who gained points.
    pub(super) fn watch_growth(&self, gained: &[(MemberId, u64)]) {
        let at = now();
        for (member, points) in gained {
            if let Err(error) = self.desk.gained(*member, *points, at) {
                tracing::error!(error = %error, "an alert could not be written");
            }
        }
    }
}
