//! Who is suspended from joint questions, for people; and this brand's agreement to readmit.
//!
//! The rule is `privacy`'s ([`privacy::accounting`]); here are the words. A question is planned for the
//! brands that are not suspended, as long as enough are left.

use privacy::ParticipantId;
use privacy::steps::ReadmitError;
use protocol::ids::BrandId;

use super::{Action, Room};
use crate::service::{Bilingual, ErrorKind, PartnerView, ServiceError};

impl Room {
    /// The brands that are not suspended: those that a question goes to.
    pub(super) fn askable(&self) -> Vec<ParticipantId> {
        let (ledger, contract) = (self.inner.ledger(), self.inner.contract());
        let mut brands = self.names.participants();
        brands.retain(|brand| ledger.suspended(contract, *brand).is_none());
        brands
    }

    /// Says in a partner's view for which question it is suspended, and who agreed to readmit it.
    pub fn tell_suspension(&self, view: &mut PartnerView) {
        let (ledger, contract) = (self.inner.ledger(), self.inner.contract());
        let Some(brand) = self.participant(&view.brand) else { return };
        let Some(id) = ledger.suspended(contract, brand) else { return };
        let agreed = ledger.facts(&id).into_iter().flat_map(|facts| facts.readmitted_by(brand));
        view.readmission_agreed_by = agreed.map(|by| by.to_string()).collect();
        view.suspended_for = Some(id.query.to_string());
        if view.state == "running" {
            view.next = words(&view.brand);
        }
    }

    /// Brands that are suspended, for the status.
    #[must_use]
    pub fn suspension_alerts(&self) -> Vec<String> {
        let (ledger, contract) = (self.inner.ledger(), self.inner.contract());
        let brands = contract.participants().iter();
        let suspended = brands.filter(|brand| ledger.suspended(contract, **brand).is_some());
        let words = suspended.map(|brand| words(brand.as_str()));
        words.map(|words| format!("{} / {}", words.en, words.zh)).collect()
    }

    /// Agrees that a suspended brand may be asked again.
    ///
    /// # Errors
    /// When it is not suspended, is this brand, or this brand has agreed.
    pub fn readmit(&self, brand: &str) -> Result<Vec<Action>, ServiceError> {
        let participant = self.participant(brand).ok_or_else(|| unknown(brand))?;
        let effects = self.inner.readmit(participant).map_err(refused)?;
        Ok(effects
            .into_iter()
            .filter_map(|effect| match effect {
                privacy::Effect::Append(entry) => Some(Action::Append(entry.to_bytes())),
                _ => None,
            })
            .collect())
    }

    fn participant(&self, brand: &str) -> Option<ParticipantId> {
        let brand: BrandId = brand.parse().ok()?;
        self.names.participant(brand)
    }
}

fn words(brand: &str) -> Bilingual {
    Bilingual {
        zh: format!(
            "{brand} 未在联合查询中公开其已承诺的份额，已被暂停参与联合查询；查明原因后，由其他品牌的法定多数重新接纳（coalition partner readmit）"
        ),
        en: format!(
            "{brand} did not open what it had certified in a joint question and takes part in none until a quorum of the other brands readmits it: find out why, then `coalition partner readmit`"
        ),
    }
}

fn unknown(brand: &str) -> ServiceError {
    ServiceError::new(
        ErrorKind::NotFound,
        "brand_unknown",
        format!("{brand} takes no part in joint questions / {brand} 不参与联合查询"),
        "see `coalition partner list` for the brands / 品牌见 coalition partner list",
    )
}

fn refused(error: ReadmitError) -> ServiceError {
    let remedy = match error {
        ReadmitError::NotSuspended(_) => "nothing is to be done / 无需操作",
        ReadmitError::Itself => {
            "ask the operators of the other brands to look into it / 请其他品牌的运维人员处理"
        }
        ReadmitError::Agreed => {
            "see `coalition partner list` for who has agreed / 已同意的品牌见 coalition partner list"
        }
    };
    ServiceError::new(ErrorKind::Conflict, "not_readmitted", error.to_string(), remedy)
}
