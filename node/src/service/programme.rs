//! The operations of the points programme: for the counter, for the programme's manager, for reviews.
//!
//! Views: members by masked card, no account numbers; money in fen, times in Unix milliseconds.

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use utoipa::ToSchema;

use super::{
    AdjustmentRequest, AdjustmentView, Bilingual, CampaignRequest, CampaignView, CaseKey, Command,
    CouponKey, CouponOfferView, IssuedCouponView, MonthView, Node, OpeningsRequest, OpeningsView,
    ProgrammeHistory, Reply, Rows, RulesCheckView, RulesFile, RulesFileView, SegmentRequest,
    SegmentsView, ServiceError, ServiceRequestKey, SimulationView, TriggerView,
};
use crate::vault::MemberId;

/// Points that expire together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LotView {
    /// How many.
    pub points: u64,
    /// When they expire; never without.
    pub expires_ms: Option<u64>,
}

/// A tier to come, and what is missing to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NextTierView {
    /// Its name in the rules.
    pub name: String,
    /// Its name for members.
    pub words: Bilingual,
    /// Points missing.
    pub points: u64,
    /// Purchases missing, where recency, frequency and money decide.
    pub purchases: u32,
    /// Fen missing.
    pub fen: u64,
}

/// A coupon of a member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CouponView {
    /// What it is redeemed by.
    pub code: String,
    /// Its kind in the rules.
    pub kind: String,
    /// What members read, if the rules still have the kind.
    pub words: Bilingual,
    /// What it takes off, in fen.
    pub worth_fen: u64,
    /// Of a basket of at least so much.
    pub minimum_basket_fen: u64,
    /// The first moment at which it is no longer valid.
    pub expires_ms: u64,
    /// When it was redeemed.
    pub redeemed_ms: Option<u64>,
}

/// A coupon that members may claim.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClaimView {
    /// Its kind.
    pub kind: String,
    /// What members read.
    pub words: Bilingual,
    /// What it costs.
    pub price_points: u64,
    /// What it takes off, in fen.
    pub worth_fen: u64,
}

/// A reward that is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RewardOfferView {
    /// Its name.
    pub reward: String,
    /// What members read.
    pub words: Bilingual,
    /// What it costs.
    pub price_points: u64,
    /// How many are left.
    pub left: u32,
}

/// A reward set aside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HoldView {
    /// What it is handed over by.
    pub hold: String,
    /// Which reward.
    pub reward: String,
    /// What members read, if the rules still have it; its name otherwise.
    #[serde(default)]
    pub words: Bilingual,
    /// For so many points.
    pub points: u64,
    /// Until when.
    pub until_ms: u64,
}

/// A member's request to the service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ServiceRequestView)]
pub struct RequestView {
    /// Its number.
    pub number: u64,
    /// The member's card, masked.
    pub card: String,
    /// About what.
    pub about: String,
    /// The member's words.
    pub text: String,
    /// When it was asked.
    pub asked_ms: u64,
    /// By when it is to be answered: seven days.
    pub due_ms: u64,
    /// When it was answered.
    pub answered_ms: Option<u64>,
    /// How.
    pub answer: Option<String>,
}

/// A member in the programme.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProgrammeMemberView {
    /// The card, masked.
    pub card: String,
    /// Points that can be spent.
    pub available: u64,
    /// Points set aside.
    pub held: u64,
    /// By how much the balance is below zero: points taken back that were spent already.
    pub owed: u64,
    /// Lots, the first to expire first; what is set aside is in them.
    pub lots: Vec<LotView>,
    /// Points that expire within the days of notice.
    pub expiring_soon: u64,
    /// The tier, if any.
    pub tier: Option<String>,
    /// Its name for members.
    pub tier_words: Option<Bilingual>,
    /// The next, if there is one.
    pub next_tier: Option<NextTierView>,
    /// Coupons that can be redeemed.
    pub coupons: Vec<CouponView>,
    /// Rewards that wait.
    pub holds: Vec<HoldView>,
    /// Segments the member is in now.
    pub segments: Vec<String>,
    /// Days of sign-in running.
    pub streak: u32,
    /// Stopped until a case is reviewed.
    pub stopped: bool,
    /// Held for review: points are earned, and nothing is spent or exchanged until the case is closed.
    #[serde(default)]
    pub held_for_review: bool,
    /// The member's requests.
    pub requests: Vec<RequestView>,
    /// Coupons that members may claim.
    pub claimable: Vec<ClaimView>,
    /// Rewards that are there to be asked for.
    pub rewards: Vec<RewardOfferView>,
}

/// The rules as members read them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RulesView {
    /// Version in force; 0 when there are none.
    pub version: u32,
    /// What the programme is called.
    pub title: Bilingual,
    /// The rules, sentence by sentence.
    pub rules: Vec<Bilingual>,
    /// The notice of a change to come: what it says, sentence by sentence.
    pub announced: Vec<Bilingual>,
    /// From when that change holds.
    pub announced_from_ms: Option<u64>,
}

/// Rules to be taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RulesRequest {
    /// The file, TOML.
    pub rules: String,
    /// From when they hold, Unix milliseconds; as soon as their notice allows without. The first rules
    /// hold at once.
    #[serde(default)]
    pub effective_ms: Option<u64>,
}

/// One account of the books.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SideView {
    /// `issued_purchases`, `redeemed`, `expired` and so on.
    pub account: String,
    /// What has come to it less what has left it: what issues points is negative.
    pub points: i64,
}

/// Points that expire within a time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MaturityView {
    /// In so many days or more,
    pub from_days: u32,
    /// in fewer than so many; or never.
    pub to_days: Option<u32>,
    /// so many points.
    pub points: u64,
}

/// The programme for finance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProgrammeReportView {
    /// As of when.
    pub at_ms: u64,
    /// How far the books are from balancing: 0, or something is wrong.
    pub trial_balance: i64,
    /// Members whose lots are not what their balance is: 0, or something is wrong.
    pub differences: u64,
    /// The accounts.
    pub accounts: Vec<SideView>,
    /// Points members have.
    pub liability_points: u64,
    /// What they pay for at the till, in fen, rounded up.
    pub liability_fen: u64,
    /// By how much balances are below zero.
    pub owed_points: u64,
    /// When the liability expires.
    pub maturities: Vec<MaturityView>,
    /// The same by month of the last valid day.
    pub expiring: Vec<MonthView>,
    /// Points ever issued or come in.
    pub issued_points: u64,
    /// Points that members brought from a programme of before, which are not among those.
    #[serde(default)]
    pub opening_points: u64,
    /// Points that expired.
    pub expired_points: u64,
    /// Expired of a thousand issued or brought.
    pub breakage_per_mille: Option<u64>,
}

/// A reward and how many there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StockView {
    /// Which reward.
    pub reward: String,
    /// What members read.
    pub words: Bilingual,
    /// Put in, ever.
    pub total: u32,
    /// Set aside.
    pub held: u32,
    /// Handed over, ever.
    pub handed_over: u32,
    /// Left to ask for.
    pub left: u32,
}

/// How many of a kind of coupon there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CouponKindView {
    /// The kind.
    pub kind: String,
    /// Given.
    pub given: u32,
    /// Redeemed.
    pub redeemed: u32,
}

/// How one group of a test does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupView {
    /// The test.
    pub experiment: String,
    /// The group.
    pub group: String,
    /// Members in it.
    pub members: u64,
    /// Of them, who bought in the days that are counted.
    pub buyers: u64,
    /// Their baskets.
    pub purchases: u64,
    /// What these came to.
    pub fen: u64,
}

/// What the programme's manager looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CampaignsView {
    /// Rewards and their stock.
    pub stock: Vec<StockView>,
    /// Coupons by kind.
    pub coupons: Vec<CouponKindView>,
    /// Tests of the rules by group.
    pub experiments: Vec<GroupView>,
    /// Kinds of coupons that the rules have, to be given.
    pub kinds: Vec<CouponOfferView>,
    /// Triggers of the rules whose offers take a consent.
    #[serde(default)]
    pub triggers: Vec<TriggerView>,
    /// Campaigns made by hand, the latest to begin first.
    pub campaigns: Vec<CampaignView>,
}

/// Something to be reviewed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CaseView {
    /// Its number.
    pub number: u64,
    /// What looked wrong: `device`, `address`, `virtual_rewards`, `growth`.
    pub sign: String,
    /// What is done while it is open: `stop`, `hold`, `second_step` or `watch`.
    #[serde(default)]
    pub action: String,
    /// Cards of those it is about, masked; at most twenty.
    pub cards: Vec<String>,
    /// How many they are.
    pub accounts: u64,
    /// Since when.
    pub opened_ms: u64,
    /// By when it is to be reviewed.
    pub due_ms: u64,
    /// `cleared` or `stopped`; none while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// When that was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_ms: Option<u64>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviewer: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A notice for who pushes messages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NoticeView {
    /// Its place in the sequence of all.
    pub number: u64,
    /// The member's card: whole for the brand's own app, masked for people; none when it is for staff or the member was
    /// erased.
    pub card: Option<String>,
    /// The member as this node numbers members: `~` and the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// When.
    pub at_ms: u64,
    /// What, in words.
    pub words: Bilingual,
}

/// Notices after a number, as far as they are kept: the latest ten thousand are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NoticesView {
    /// Some of what was asked for is kept no longer: notices with a lower number than this one. None when nothing is
    /// missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_before: Option<u64>,
    /// Oldest first, at most a thousand; ask again after the last.
    pub notices: Vec<NoticeView>,
}

/// What came of an action.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DoneView {
    /// `done`, `repeated`, `second_step_needed`, `held_for_review`, or `waiting` for another person; of a link or an
    /// exchange, how far it has come: `requested`, `held`.
    pub state: String,
    /// Points earned.
    pub earned: Option<u64>,
    /// Fen taken off the basket.
    pub takes_off_fen: Option<u64>,
    /// A coupon's code, or one for linking.
    pub code: Option<String>,
    /// Until when it is valid, or set aside.
    pub until_ms: Option<u64>,
    /// The id of an exchange.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange: Option<String>,
    /// What a reward is handed over by.
    pub hold: Option<String>,
    /// The number of a request, of a correction, or of the case for which a second step is needed or that holds the account.
    pub number: Option<u64>,
}

/// A code that the brand's app has sent a member, good for once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct OneTimeCode(pub String);

impl std::fmt::Debug for OneTimeCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // whoever has it takes the member's step
        f.write_str("OneTimeCode(..)")
    }
}

/// What the brand's app does for its member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum AppAction {
    /// The member joins; a device and an address are remembered as keyed hashes.
    Join {
        /// `MM-DD`.
        birthday: Option<String>,
        /// Card of who brought this member.
        referrer: Option<String>,
        /// The device's own id.
        device: Option<String>,
        /// The address the request came from.
        address: Option<String>,
    },
    /// The member did an activity of the rules.
    Activity {
        /// Its name.
        name: String,
    },
    /// The member asks for a reward.
    HoldReward {
        /// Which.
        reward: String,
        /// The one-time code, where the answer is `second_step_needed`: asked again with it, under the same key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<OneTimeCode>,
    },
}

impl From<AppAction> for MemberAction {
    fn from(action: AppAction) -> Self {
        match action {
            AppAction::Join { birthday, referrer, device, address } => {
                Self::Join { birthday, referrer, device, address }
            }
            AppAction::Activity { name } => Self::Activity { name },
            AppAction::HoldReward { reward, code } => {
                Self::HoldReward { reward, code, second_step: false }
            }
        }
    }
}

/// What is done for a member, at the counter or by the brand's app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum MemberAction {
    /// Joins; a device and an address are remembered as keyed hashes.
    Join {
        /// `MM-DD`.
        birthday: Option<String>,
        /// Card of who brought this member.
        referrer: Option<String>,
        /// The device's own id.
        device: Option<String>,
        /// The address the request came from.
        address: Option<String>,
    },
    /// Signs in for the day.
    SignIn {},
    /// Does an activity of the rules.
    Activity {
        /// Its name.
        name: String,
    },
    /// Pays with points.
    Pay {
        /// How many.
        points: u64,
        /// What the basket comes to.
        basket_fen: u64,
    },
    /// Claims a coupon.
    ClaimCoupon {
        /// Its kind.
        kind: String,
    },
    /// Asks for a reward.
    HoldReward {
        /// Which.
        reward: String,
        /// The one-time code that the brand's app has sent the member, where the answer is `second_step_needed`: asked
        /// again with it, under the same key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<OneTimeCode>,
        /// Whether the code was looked at and was right: no request says so by itself.
        #[serde(skip)]
        second_step: bool,
    },
    /// Takes a payment with points back, whole: the goods are not bought after all.
    ReversePayment {
        /// The idempotency key under which it was paid.
        payment: String,
    },
    /// Asks the service.
    Ask {
        /// About what: `complaint`, `points`, `correction`, or another name.
        about: String,
        /// At most 500 characters.
        text: String,
    },
}

/// What is done at a till, or by staff, that names no member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum TillAction {
    /// Redeems a coupon.
    RedeemCoupon {
        /// Its code.
        code: String,
        /// What the basket comes to.
        basket_fen: u64,
        /// In which shop.
        place: String,
    },
    /// Takes a redemption back: the sale was not made, and the coupon can be redeemed again.
    ReopenCoupon {
        /// Its code.
        code: String,
        /// The idempotency key under which it was redeemed.
        redemption: String,
    },
    /// Hands over what was set aside.
    HandOver {
        /// What it is handed over by.
        hold: String,
    },
    /// Gives it up.
    GiveUp {
        /// What it would have been handed over by.
        hold: String,
    },
}

/// What the programme's manager, or who reviews, does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum ManagerAction {
    /// Says how many of a reward were put in, ever.
    Stock {
        /// Which.
        reward: String,
        /// How many.
        total: u32,
    },
    /// Withdraws the rules that are announced.
    WithdrawRules {},
    /// Keeps a segment beside those of the rules, or changes one.
    KeepSegment {
        /// Its name: 1 to 40 of a-z, 0-9, _ and -.
        name: String,
        /// Who is in it.
        terms: SegmentRequest,
    },
    /// Keeps it no longer; campaigns that were made for it go on.
    DropSegment {
        /// Which.
        name: String,
    },
    /// Makes a campaign.
    MakeCampaign {
        /// Its name: 1 to 40 of a-z, 0-9, _ and -. Repeating it with the same terms is safe.
        name: String,
        /// What it is to be.
        terms: CampaignRequest,
    },
    /// Ends a campaign before its last day; what was given stays given.
    EndCampaign {
        /// Which.
        name: String,
    },
}

/// What an officer decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum ReviewAction {
    /// Closes a case.
    Review {
        /// Which.
        case: u64,
        /// Whether its accounts are stopped; otherwise they go on.
        stop: bool,
        /// Why, at most 500 characters; must be there where accounts are stopped.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Answers a member's request.
    Answer {
        /// Which.
        request: u64,
        /// At most 500 characters.
        text: String,
    },
}

/// Operations of the programme, on their way to the runtime.
#[allow(missing_docs)] // each is described at the operation of [`Node`] that sends it
pub enum ProgrammeCommand {
    Rules {
        reply: Reply<RulesView>,
    },
    TakeRules {
        request: RulesRequest,
        reply: Reply<RulesView>,
    },
    Report {
        reply: Reply<ProgrammeReportView>,
    },
    Member {
        card: String,
        reply: Reply<ProgrammeMemberView>,
    },
    History {
        member: MemberId,
        reply: Reply<ProgrammeHistory>,
    },
    ForMember {
        key: String,
        card: String,
        action: MemberAction,
        reply: Reply<DoneView>,
    },
    AtTill {
        key: String,
        action: TillAction,
        reply: Reply<DoneView>,
    },
    Manage {
        action: ManagerAction,
        by: String,
        reply: Reply<DoneView>,
    },
    Review {
        action: ReviewAction,
        by: String,
        reply: Reply<DoneView>,
    },
    Campaigns {
        reply: Reply<CampaignsView>,
    },
    Segments {
        asked: Option<SegmentRequest>,
        reply: Reply<SegmentsView>,
    },
    RulesFile {
        reply: Reply<RulesFileView>,
    },
    Check {
        file: RulesFile,
        reply: Reply<RulesCheckView>,
    },
    Simulate {
        file: RulesFile,
        reply: Reply<SimulationView>,
    },
    Adjust {
        key: String,
        card: String,
        by: String,
        request: AdjustmentRequest,
        reply: Reply<DoneView>,
    },
    Decide {
        number: u64,
        agrees: bool,
        by: String,
        reply: Reply<DoneView>,
    },
    Adjustments {
        before: Option<u64>,
        limit: u32,
        reply: Reply<Rows<AdjustmentView, u64>>,
    },
    GiveCoupon {
        key: String,
        card: String,
        kind: String,
        reply: Reply<DoneView>,
    },
    Openings {
        request: OpeningsRequest,
        by: String,
        enters: bool,
        reply: Reply<OpeningsView>,
    },
    Coupons {
        kind: Option<String>,
        before: Option<CouponKey>,
        limit: u32,
        reply: Reply<Rows<IssuedCouponView, CouponKey>>,
    },
    Cases {
        closed: bool,
        after: Option<CaseKey>,
        limit: u32,
        reply: Reply<Rows<CaseView, CaseKey>>,
    },
    Requests {
        after: Option<ServiceRequestKey>,
        limit: u32,
        reply: Reply<Rows<RequestView, ServiceRequestKey>>,
    },
    Notices {
        after: u64,
        reply: Reply<NoticesView>,
    },
}

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident ( $($argument:ident : $type:ty),* ) -> $output:ty = $command:ident);* $(;)?) => {
        impl Node {$(
            $(#[$doc])*
            ///
            /// # Errors
            /// See [`ServiceError`]; also when the node is stopping.
            pub async fn $name(&self, $($argument: $type),*) -> Result<$output, ServiceError> {
                let (reply, answer) = oneshot::channel();
                let command = ProgrammeCommand::$command { $($argument,)* reply };
                self.commands
                    .send(Command::Programme(Box::new(command)))
                    .await
                    .map_err(|_| ServiceError::stopped())?;
                answer.await.map_err(|_| ServiceError::stopped())?
            }
        )*}
    };
}

operations! {
    /// The programme's rules in plain words, and the notice of a change to come.
    programme_rules() -> RulesView = Rules;
    /// Takes the first rules, or announces others.
    take_programme_rules(request: RulesRequest) -> RulesView = TakeRules;
    /// The books: trial balance, liability, breakage.
    programme_report() -> ProgrammeReportView = Report;
    /// One member in the programme, by card number.
    programme_member(card: String) -> ProgrammeMemberView = Member;
    /// What the programme holds of a member beside that: for the member's export.
    programme_history(member: MemberId) -> ProgrammeHistory = History;
    /// Does something for a member; the key makes repeating it safe.
    programme_for_member(key: String, card: String, action: MemberAction) -> DoneView = ForMember;
    /// Does something at a till; the key makes repeating it safe.
    programme_at_till(key: String, action: TillAction) -> DoneView = AtTill;
    /// Does what the programme's manager asks for.
    manage_programme(action: ManagerAction, by: String) -> DoneView = Manage;
    /// Stock, coupons, tests of offers, campaigns.
    programme_campaigns() -> CampaignsView = Campaigns;
    /// Segments with how many members each has; and how many the one asked about would have.
    programme_segments(asked: Option<SegmentRequest>) -> SegmentsView = Segments;
    /// The rules in force and those announced, as files.
    programme_rules_file() -> RulesFileView = RulesFile;
    /// What is wrong with rules, how they read, and what would differ; nothing is taken up.
    check_programme_rules(file: RulesFile) -> RulesCheckView = Check;
    /// What rules would have come to on the purchases of the past; nothing is taken up.
    simulate_programme_rules(file: RulesFile) -> SimulationView = Simulate;
    /// Corrects a member's balance, or leaves that to another person's consent; the key makes repeating
    /// it safe.
    adjust_points(key: String, card: String, by: String, request: AdjustmentRequest) -> DoneView = Adjust;
    /// Agrees to a correction that waits, or refuses it.
    decide_adjustment(number: u64, agrees: bool, by: String) -> DoneView = Decide;
    /// Corrections before a number, the latest first: see [`Node::adjustments_page`].
    listed_adjustments(before: Option<u64>, limit: u32) -> Rows<AdjustmentView, u64> = Adjustments;
    /// Gives a member a coupon; the key makes repeating it safe.
    give_coupon(key: String, card: String, kind: String) -> DoneView = GiveCoupon;
    /// Members' balances from a programme of before, from who may enter them or agrees to what another entered.
    bring_openings(request: OpeningsRequest, by: String, enters: bool) -> OpeningsView = Openings;
    /// Coupons of a kind or of all before a key, the latest first, without their codes: see [`Node::coupons_page`].
    listed_coupons(kind: Option<String>, before: Option<CouponKey>, limit: u32) -> Rows<IssuedCouponView, CouponKey> = Coupons;
    /// Cases behind a key, open ones the most urgent first, or closed ones the latest first: see [`Node::cases_page`].
    listed_cases(closed: bool, after: Option<CaseKey>, limit: u32) -> Rows<CaseView, CaseKey> = Cases;
    /// Members' requests behind a key, open ones first: see [`Node::service_requests_page`].
    listed_service_requests(after: Option<ServiceRequestKey>, limit: u32) -> Rows<RequestView, ServiceRequestKey> = Requests;
    /// Notices after a number, for who pushes messages.
    programme_notices(after: u64) -> NoticesView = Notices;
}
