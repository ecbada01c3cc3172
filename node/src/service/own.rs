//! What a member sees of the own account, and does there: the same for the brand's app and the member's own
//! pages.
//!
//! A member's reading of the own account is no entry of the operation log, which is of what others do; an
//! export is, since a file of everything leaves the node.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    DoneView, ErrorKind, ExchangeView, LinkView, MemberAction, Node, ProgrammeMemberView,
    ReceivedView, ServiceError,
};
use crate::desk::{Desk, DeskError, RequestView};
use crate::runtime::now;
use crate::vault::{MemberId, Purpose};

/// What a member has decided on one use of the data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OwnConsentView {
    /// `programme`, `exchange`, `joint_analytics` or `marketing`.
    pub purpose: String,
    /// The brand that receives data for it, where this is the separate consent to that.
    pub receiver: Option<String>,
    /// Whether it is given; silence is no.
    pub granted: bool,
    /// When that was said, Unix milliseconds.
    pub at_ms: Option<u64>,
    /// Version of the notice it was said to.
    pub notice_version: Option<u32>,
}

/// A member's own account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OwnAccountView {
    /// The card, masked.
    pub card: String,
    /// Points, lots and their expiry, tier and the distance to the next, coupons with their codes, rewards,
    /// requests to the service; none while the brand has no programme.
    pub programme: Option<ProgrammeMemberView>,
    /// Links to other brands.
    pub links: Vec<LinkView>,
    /// Exchanges to other brands, newest first.
    pub exchanges: Vec<ExchangeView>,
    /// Exchanges from other brands, newest first.
    pub received: Vec<ReceivedView>,
    /// Each use of the data, and whether it is agreed to.
    pub consents: Vec<OwnConsentView>,
    /// Version of the notice on the use of data that holds now.
    pub notice_version: u32,
    /// Where it is.
    pub notice_url: Option<String>,
    /// Requests for access, correction, erasure, explanation.
    pub requests: Vec<RequestView>,
    /// Whether a law or order keeps the account from being erased.
    pub on_hold: bool,
}

/// A code with which a member opens the own pages.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct MemberCodeView {
    /// The code, shown this once: good for one sign-in.
    pub code: String,
    /// The path of this node's page where it is typed, with it filled in: for a link or a picture.
    pub path: String,
    /// Until when it can be used, Unix milliseconds.
    pub expires_ms: u64,
}

impl std::fmt::Debug for MemberCodeView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // whoever has it is the member
        f.write_str("MemberCodeView(..)")
    }
}

/// What a member does by oneself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum OwnAction {
    /// Signs in for the day.
    SignIn {},
    /// Claims a coupon.
    ClaimCoupon {
        /// Its kind.
        kind: String,
    },
    /// Asks for a reward.
    HoldReward {
        /// Which.
        reward: String,
    },
    /// Asks the service.
    Ask {
        /// About what: `complaint`, `points`, `correction`, or another name.
        about: String,
        /// At most 500 characters.
        text: String,
    },
}

impl From<OwnAction> for MemberAction {
    fn from(action: OwnAction) -> Self {
        match action {
            OwnAction::SignIn {} => Self::SignIn {},
            OwnAction::ClaimCoupon { kind } => Self::ClaimCoupon { kind },
            // the second step is what the brand's app takes, not what a request says
            OwnAction::HoldReward { reward } => Self::HoldReward { reward, second_step: false },
            OwnAction::Ask { about, text } => Self::Ask { about, text },
        }
    }
}

impl Node {
    /// A member's own account, by card number.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn own_account(&self, card: String) -> Result<OwnAccountView, ServiceError> {
        let others = self.others();
        let (named, at) = (card.clone(), now());
        let (member, view) = self
            .at_desk(move |desk| {
                let member = desk.member(&named)?;
                let view = OwnAccountView {
                    card: desk.vault().masked_card(member)?,
                    consents: desk.own_consents(member, &others)?,
                    notice_version: desk.rules().notice_version,
                    notice_url: desk.rules().notice_url.clone(),
                    requests: desk.request_views(member, at)?,
                    on_hold: desk.vault().hold(member)?.is_some(),
                    ..OwnAccountView::default()
                };
                Ok((member, view))
            })
            .await?;
        let programme = match self.programme_member(card).await {
            Ok(programme) => Some(programme),
            Err(error) if error.code == "programme_without_rules" => None,
            Err(error) => return Err(error),
        };
        let holdings = self.holdings(member).await?;
        let (links, exchanges, received) = (holdings.links, holdings.exchanges, holdings.received);
        Ok(OwnAccountView { programme, links, exchanges, received, ..view })
    }

    /// The receipt of a member's own exchange, with what opens its entry and no other.
    ///
    /// # Errors
    /// See [`ServiceError`]; others' exchanges are none of the member's.
    pub async fn own_receipt(&self, card: String, id: String) -> Result<String, ServiceError> {
        let member = self.at_desk(move |desk| desk.member(&card)).await?;
        let own = self.holdings(member).await?.exchanges;
        if own.iter().all(|exchange| exchange.id != id) {
            return Err(ServiceError::new(
                ErrorKind::NotFound,
                "exchange_unknown",
                "you have no exchange with this id",
                "look at the list of your exchanges",
            ));
        }
        self.opened_receipt(id).await
    }

    /// Does what a member asks for; the key makes repeating it safe.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn own_action(
        &self,
        key: String,
        card: String,
        action: OwnAction,
    ) -> Result<DoneView, ServiceError> {
        self.programme_for_member(key, card, action.into()).await
    }

    /// The card number of a member who is named by it, or by `~` and the id.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn card_of(&self, name: String) -> Result<zeroize::Zeroizing<String>, ServiceError> {
        self.at_desk(move |desk| desk.card_of(&name)).await
    }
}

impl Desk {
    /// Each purpose, and for exchanges each brand that would receive data, with what holds.
    fn own_consents(
        &self,
        member: MemberId,
        others: &[protocol::ids::BrandId],
    ) -> Result<Vec<OwnConsentView>, DeskError> {
        let history = self.vault().consents(member)?;
        let purposes = Purpose::ALL.map(|purpose| (purpose, None));
        let receivers = others.iter().map(|brand| (Purpose::Exchange, Some(*brand)));
        let all = purposes.into_iter().chain(receivers);
        let view = |(purpose, receiver): (Purpose, Option<protocol::ids::BrandId>)| {
            let decision = match receiver {
                None => history.in_force(purpose),
                Some(brand) => history.in_force_to(purpose, brand),
            };
            OwnConsentView {
                purpose: purpose.name().to_owned(),
                receiver: receiver.map(|brand| brand.to_string()),
                granted: decision.is_some_and(|it| it.granted),
                at_ms: decision.map(|it| it.at.unix_ms()),
                notice_version: decision.map(|it| it.notice_version),
            }
        };
        Ok(all.map(view).collect())
    }
}
