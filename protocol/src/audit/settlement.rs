//! Payments and what they discharge, over all logs together: every payment is one that a statement
//! asks for, confirmed once; and nothing is granted as discharged before everyone has agreed to its
//! statement and every payee has confirmed.

use std::collections::BTreeMap;

use super::report::{Place, Recorder, Rule, count};
use crate::clearing::Settlement;
use crate::ids::BrandId;
use crate::log::block::Header;
use crate::log::settlement::{Discharge, Payment};
use crate::time::Timestamp;
use crate::witness::rules::Tip;

/// What one log says of payments, while it is walked.
#[derive(Debug, Default)]
pub(super) struct Payments {
    settled: Vec<(Place, Payment)>,
    confirmed: Vec<(Place, Payment)>,
    granted: Vec<(Place, BrandId, Discharge)>,
}

impl Payments {
    /// The payer says that it paid.
    pub(super) fn settled(&mut self, place: Place, payment: Payment) {
        self.settled.push((place, payment));
    }

    /// The payee says that it was paid.
    pub(super) fn confirmed(&mut self, place: Place, payment: Payment) {
        self.confirmed.push((place, payment));
    }

    /// What a header grants that the one before did not.
    pub(super) fn header(&mut self, place: Place, tip: &Tip, header: &Header) {
        for column in &header.columns {
            let before = tip.column(column.counterparty).map(|column| column.discharged);
            if before.unwrap_or_default() != column.discharged {
                self.granted.push((place, column.counterparty, column.discharged));
            }
        }
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.settled.extend(other.settled);
        self.confirmed.extend(other.confirmed);
        self.granted.extend(other.granted);
    }

    /// Judges all of it by the statements that follow from the closings. `excused` says of a place and
    /// cut-off whether what is missing there has a finding or note of its own, and makes it.
    pub(super) fn judge(
        self,
        mut settlements: BTreeMap<Timestamp, Settlement>,
        excused: impl Fn(Place, Timestamp, &mut Recorder) -> bool,
        recorder: &mut Recorder,
    ) {
        let confirmed = self.confirmed.into_iter().map(|it| (it, true));
        for ((place, payment), confirms) in
            self.settled.into_iter().map(|it| (it, false)).chain(confirmed)
        {
            let Some(settlement) = settlements.get_mut(&payment.cut_off) else {
                if !excused(place, payment.cut_off, recorder) {
                    let message = "a payment of a statement that does not follow from the closings";
                    recorder.find(place, Rule::ClearingPayment, message);
                }
                continue;
            };
            let entered =
                if confirms { settlement.confirm(&payment) } else { settlement.settle(&payment) };
            match entered {
                Ok(()) => count(&mut recorder.counts.payments, 1),
                Err(error) => recorder.find(place, Rule::ClearingPayment, error),
            }
        }
        for (place, counterparty, granted) in self.granted {
            let settlement = settlements.get(&granted.cut_off);
            let right = settlement.filter(|it| it.is_discharged()).is_some_and(|settlement| {
                settlement.discharges(place.log).get(&counterparty) == Some(&granted)
            });
            if !right && !excused(place, granted.cut_off, recorder) {
                let message = format_args!(
                    "it grants {counterparty} as discharged what no statement, agreed by all and confirmed by every payee, discharges"
                );
                recorder.find(place, Rule::ClearingDischarge, message);
            }
        }
    }
}
