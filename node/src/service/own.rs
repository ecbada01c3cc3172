//! What a member sees of the own account, and does there: the same for the brand's app and the member's own
//! pages.
//!
//! A member's reading of the own account is no entry of the operation log, which is of what others do; an
//! export is, since a file of everything leaves the node.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Asker, DoneView, ErrorKind, ExchangeRequest, ExchangeView, LinkView, MemberAction, Node,
    OneTimeCode, ProgrammeMemberView, ReceivedView, SendBackRequest, ServiceError,
};
use crate::desk::{Deed, Desk, DeskError, MEMBER, RequestView};
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

/// A code with which a member takes a second step.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct SecondStepView {
    /// The code, shown this once: good for one step of this member's.
    pub code: String,
    /// Until when it can be used, Unix milliseconds.
    pub expires_ms: u64,
}

impl std::fmt::Debug for SecondStepView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // whoever has it takes the member's step
        f.write_str("SecondStepView(..)")
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
        /// The one-time code that the brand's app has sent, where the answer is `second_step_needed`: asked again with
        /// it, under the same key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<OneTimeCode>,
    },
    /// Asks the service.
    Ask {
        /// About what: `complaint`, `points`, `correction`, or another name.
        about: String,
        /// At most 500 characters.
        text: String,
    },
    /// Makes a one-time code with which the own account at another brand is linked to this one. Repeated,
    /// it makes another.
    LinkCode {
        /// The brand where it will be given.
        brand: String,
    },
    /// Links the account to another brand's.
    Link {
        /// The brand that gave the code.
        brand: String,
        /// The code.
        code: String,
    },
    /// Exchanges points for another brand's.
    Exchange {
        /// The brand whose points the member wants.
        to: String,
        /// How many of this brand's points to give.
        points: u64,
    },
    /// Sends points that came from another brand back to it.
    SendBack {
        /// The brand they came from.
        from: String,
        /// The exchange: its leaf in that brand's log.
        leaf: u64,
        /// How many of this brand's points to send back.
        points: u64,
    },
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
        let action = match action {
            OwnAction::SignIn {} => MemberAction::SignIn {},
            OwnAction::ClaimCoupon { kind } => MemberAction::ClaimCoupon { kind },
            // whether the code is right, who knows the codes says
            OwnAction::HoldReward { reward, code } => {
                MemberAction::HoldReward { reward, code, second_step: false }
            }
            OwnAction::Ask { about, text } => MemberAction::Ask { about, text },
            OwnAction::LinkCode { brand } => {
                self.own_note(Deed::Link, "a code for another brand", &card).await?;
                let made = self.link_code(card, brand).await?;
                let (code, until_ms) = (Some(made.code), Some(made.expires_ms));
                return Ok(DoneView { code, until_ms, ..done("done") });
            }
            OwnAction::Link { brand, code } => {
                self.own_note(Deed::Link, "a link to another brand", &card).await?;
                let link = self.link(card, brand, code).await?;
                return Ok(done(&link.state));
            }
            OwnAction::Exchange { to, points } => {
                self.own_note(Deed::Exchange, "points to another brand", &card).await?;
                let view = self.exchange(key, ExchangeRequest { card, to, points }).await?;
                return Ok(DoneView { exchange: Some(view.id), ..done(&view.state) });
            }
            OwnAction::SendBack { from, leaf, points } => {
                self.own_note(Deed::Exchange, "points back to another brand", &card).await?;
                self.send_back(key, SendBackRequest { card, from, leaf, points }).await?;
                return Ok(done("done"));
            }
        };
        self.programme_for_member(key, card, action).await
    }

    /// Enters in the operation log what a member does that reaches other brands.
    async fn own_note(
        &self,
        deed: Deed,
        what: &'static str,
        card: &str,
    ) -> Result<(), ServiceError> {
        let member = Asker { user: MEMBER.to_owned(), roles: Vec::new() };
        self.note(&member, deed, what, card).await
    }

    /// Asks for a reward for a member who has taken the second step: the caller has seen the code.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn own_reward(
        &self,
        key: String,
        card: String,
        reward: String,
    ) -> Result<DoneView, ServiceError> {
        let action = MemberAction::HoldReward { reward, code: None, second_step: true };
        self.programme_for_member(key, card, action).await
    }

    /// The card number of a member who is named by it, or by `~` and the id.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn card_of(&self, name: String) -> Result<zeroize::Zeroizing<String>, ServiceError> {
        self.at_desk(move |desk| desk.card_of(&name)).await
    }
}

fn done(state: &str) -> DoneView {
    DoneView { state: state.to_owned(), ..DoneView::default() }
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
