//! What people ask about the payments of a clearing statement: stating, confirming, exporting.
//!
//! Money moves outside. An entry is made once: the same request again changes nothing, another
//! reference for the same payment is refused.

use protocol::clearing::{Settlement, export};
use protocol::log::settlement::{Payment, PaymentReference};
use protocol::time::Timestamp;

use super::operations::submit_error;
use super::{Core, Submission, Turn};
use crate::runtime::clearing::PaymentStep;
use crate::service::{ErrorKind, ExportFormat, PaymentRequest, ServiceError};

impl Core {
    /// Enters what this brand says of a payment: as payer that it was made, as payee that it arrived.
    ///
    /// # Errors
    /// When the statement asks for no such payment, is not agreed, or another reference was entered.
    pub fn enter_payment(
        &mut self,
        step: PaymentStep,
        cut_off: Timestamp,
        request: &PaymentRequest,
        turn: &mut Turn,
    ) -> Result<(), ServiceError> {
        let other = self.counterparty(&request.brand)?;
        let reference: PaymentReference = request.reference.parse().map_err(
            |error: protocol::log::settlement::InvalidReference| {
                ServiceError::new(
                    ErrorKind::Invalid,
                    "reference_malformed",
                    error.to_string(),
                    "give the end-to-end id under which the bank made the payment",
                )
            },
        )?;
        let (payer, payee) = match step {
            PaymentStep::Settled => (self.me(), other),
            PaymentStep::Confirmed => (other, self.me()),
        };
        if let Some(known) = self.clearing.own_reference(cut_off, step, (payer, payee)) {
            return if *known == reference {
                Ok(())
            } else {
                Err(ServiceError::new(
                    ErrorKind::Conflict,
                    "payment_entered",
                    "this payment was entered under another reference",
                    "a certified entry stands; enter a further payment with the next statement",
                ))
            };
        }
        let settlement = self.settlement(cut_off)?;
        if !settlement.is_agreed() {
            return Err(ServiceError::new(
                ErrorKind::Refused,
                "statement_not_agreed",
                "not every brand has entered this statement",
                "wait until the statement's state is agreed; if brands differ, audit the logs first",
            ));
        }
        let asked = settlement.asked(payer, payee).copied().ok_or_else(|| {
            ServiceError::new(
                ErrorKind::Refused,
                "payment_not_asked",
                format!("the statement asks {payer} for no payment to {payee}"),
                "the statement's payments are what is to be paid",
            )
        })?;
        if step == PaymentStep::Settled && self.clearing.is_superseded(cut_off) {
            return Err(ServiceError::new(
                ErrorKind::Refused,
                "statement_superseded",
                "a later statement asks for this amount as well",
                "pay what the newest statement asks for, and nothing of this one",
            ));
        }
        let statement = settlement.hash();
        let payment = Payment { cut_off, statement, payer, payee, value: asked.value, reference };
        let submission = Submission::Public(step.entry(payment));
        self.submit(submission, turn).map_err(submit_error)
    }

    /// The statement of a cut-off in a form for banks and books.
    ///
    /// # Errors
    /// When there is no statement yet, or nothing to request.
    pub fn export(
        &self,
        cut_off: Timestamp,
        format: ExportFormat,
    ) -> Result<Vec<u8>, ServiceError> {
        let settlement = self.settlement(cut_off)?;
        Ok(match format {
            ExportFormat::Csv => export::csv(settlement),
            ExportFormat::Pacs029 => export::pacs_029(settlement).ok_or_else(|| {
                ServiceError::new(
                    ErrorKind::NotFound,
                    "nothing_to_settle",
                    "nobody pays anybody by this statement: a request to settle has at least one movement",
                    "take the statement as csv or camt053",
                )
            })?,
            ExportFormat::Camt053 => export::camt_053(settlement, self.me()),
        })
    }

    fn settlement(&self, cut_off: Timestamp) -> Result<&Settlement, ServiceError> {
        self.clearing.settlement(cut_off).ok_or_else(|| {
            ServiceError::new(
                ErrorKind::NotFound,
                "statement_missing",
                "there is no statement for this cut-off yet",
                "every brand must have closed it first",
            )
        })
    }
}
