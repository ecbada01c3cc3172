//! The node's state as it is between two turns, for a thread that writes it down while the node goes on.
//!
//! What grows with members and exchanges is in maps of which a copy shares all ([`protocol::shared_map`]);
//! what is copied is bounded: what is open, a log's latest headers, what disputes and cut-offs there are.

use std::collections::BTreeMap;
use std::sync::Arc;

use minicbor::bytes::ByteVec;
use programme::state::ProgrammeCopy;
use protocol::amount::Points;
use protocol::clearing::Absent;
use protocol::ids::{BrandId, Height};
use protocol::log::tlog_witness::Cosigned;
use protocol::shared_map::SharedMap;
use protocol::time::Timestamp;
use protocol::witness::record::Record as LedgerRecord;

use super::chunked;
use crate::cleanroom::CertifiedApplication;
use crate::exchange::book::{BookCopy, Marks};
use crate::exchange::cold::Leaving;
use crate::exchange::points::{Balance, Control};
use crate::exchange::record::NodeRecord;
use crate::runtime::clearing::Cycle;
use crate::runtime::core::desk::Kept;
use crate::runtime::core::programme::programme_parts;
use crate::runtime::core::{Core, KnownHeader};
use crate::runtime::disputes::Disputes;
use crate::runtime::sealed_journal::Recorded;
use crate::runtime::state_record::StateRecord;
use crate::vault::MemberId;

/// What all records up to some moment come to.
pub struct StateCopy {
    ledger: Vec<LedgerRecord>,
    balances: SharedMap<MemberId, Balance>,
    controls: Vec<(Control, u64)>,
    beyond: Vec<(MemberId, Points)>,
    erased: Vec<(MemberId, Timestamp)>,
    /// Keys of what has earned since the last snapshot, ascending.
    pub earned: Vec<[u8; 20]>,
    programme: ProgrammeCopy,
    book: BookCopy,
    headers: BTreeMap<BrandId, SharedMap<Height, KnownHeader>>,
    cycles: Vec<(Timestamp, Cycle)>,
    absent: Absent,
    disputes: Disputes,
    kept: Kept,
    /// Entries of the clean room since the last snapshot, and how many come before them in the store.
    pub applications: Vec<Arc<CertifiedApplication>>,
    /// See there.
    pub stored_applications: u64,
    joint: Vec<Vec<u8>>,
    cosigned: Vec<Cosigned>,
    // the time of the own log's last block
    own_log: Timestamp,
}

impl Core {
    /// The state as it is now; none while a final block waits to be dealt with. To be taken between two turns:
    /// it stands for the records of all turns before, and is of use when they are on the disk.
    #[must_use]
    pub fn copy(&self) -> Option<StateCopy> {
        if !self.has_applied_all() {
            return None;
        }
        let own = self.ledger.witness(self.me()).map(|own| own.tip().time);
        Some(StateCopy {
            ledger: self.ledger.snapshot(),
            balances: self.points.balances(),
            controls: self.points.controls().collect(),
            beyond: self.points.beyond().collect(),
            erased: self.points.erased().collect(),
            earned: self.points.earned(),
            programme: self.programme.copy(),
            book: self.book.copy(),
            headers: self.headers.clone(),
            cycles: self.clearing.cycles().collect(),
            absent: self.clearing.absent().clone(),
            disputes: self.disputes.clone(),
            kept: self.kept.clone(),
            applications: self.applications.latest().to_vec(),
            stored_applications: self.applications.stored(),
            joint: self.joint.clone(),
            cosigned: self.foreign.cosigned().collect(),
            own_log: own.unwrap_or_default(),
        })
    }
}

impl StateCopy {
    /// What can leave memory with it: see [`BookCopy::leaving`].
    #[must_use]
    pub fn leaving(&self, before: Marks) -> Leaving {
        self.book.leaving(before, self.own_log)
    }

    /// Its records but for exchanges that leave memory with it, in the order in which they are to be
    /// replayed, one after the other.
    ///
    /// # Errors
    /// The first that they are taken with.
    pub fn records<E>(
        mut self,
        leaving: &Leaving,
        mut take: impl FnMut(Recorded) -> Result<(), E>,
    ) -> Result<(), E> {
        for record in std::mem::take(&mut self.ledger) {
            take(Recorded::Ledger(Box::new(record)))?;
        }
        let mut failed = None;
        self.parts(leaving, &mut |part| {
            if failed.is_none() {
                failed = take(Recorded::State(Box::new(part))).err();
            }
        });
        failed.map_or(Ok(()), Err)?;
        let joint = self.joint.iter().map(|bytes| NodeRecord::CleanRoom(bytes.clone()));
        let cosigned = self.cosigned.iter().cloned().map(NodeRecord::Cosigned);
        let waiting = self.book.waiting.iter().cloned().map(NodeRecord::Submitted);
        joint.chain(cosigned).chain(waiting).try_for_each(|record| take(Recorded::Node(record)))
    }

    fn parts(&self, leaving: &Leaving, state: &mut impl FnMut(StateRecord)) {
        let balances = self.balances.iter().map(|(member, balance)| (*member, *balance));
        chunked(balances, StateRecord::Balances, state);
        chunked(self.controls.iter().copied(), StateRecord::Controls, state);
        chunked(self.beyond.iter().copied(), StateRecord::Beyond, state);
        chunked(self.erased.iter().copied(), StateRecord::Erased, state);
        let keys = |keys: Vec<[u8; 20]>| StateRecord::EarnedKeys(keys.concat());
        chunked(self.earned.iter().copied(), keys, state);
        programme_parts(&self.programme).into_iter().for_each(&mut *state);
        let book = &self.book;
        chunked(book.exchanges(leaving).cloned(), StateRecord::Exchanges, state);
        let legs = book.legs(leaving).map(|(index, leg)| (index, leg.clone()));
        chunked(legs, StateRecord::Legs, state);
        let came_in = book.received.iter(leaving);
        let came_in = came_in.map(|((brand, leaf), known)| (brand, leaf, *known));
        chunked(came_in, StateRecord::Received, state);
        let back = book.received.all_sent_back(leaving);
        let back = back.map(|(asked, is_final)| (asked.clone(), is_final));
        chunked(back, StateRecord::SentBack, state);
        state(StateRecord::Book(Box::new(book.state(leaving))));
        for (brand, offers) in &book.offered {
            for offer in offers {
                state(StateRecord::Offered(*brand, Box::new(offer.clone())));
            }
        }
        let former = book.former_returns.iter();
        let former = former.map(|((brand, leaf), back)| (*brand, *leaf, back.clone()));
        chunked(former, StateRecord::FormerReturns, state);
        for (log, known) in &self.headers {
            let leaves = known.values().map(|(_, header)| ByteVec::from(header.to_leaf().0));
            chunked(leaves, |leaves| StateRecord::Headers(*log, leaves), state);
        }
        for (cut_off, cycle) in &self.cycles {
            state(StateRecord::Cycle(*cut_off, Box::new(cycle.clone())));
        }
        state(StateRecord::Absent(Box::new(self.absent.clone())));
        for part in self.disputes.parts() {
            state(StateRecord::Disputes(Box::new(part)));
        }
        self.kept.snapshot(state);
        state(StateRecord::StoredApplications(self.stored_applications));
        for entry in &self.applications {
            state(StateRecord::Application(Box::new(CertifiedApplication::clone(entry))));
        }
    }
}
