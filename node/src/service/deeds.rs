//! What staff does in the points programme, and with files and purchases: each is in the operation log before it is
//! done (who, when, whose account, what it was and will be), and what was refused then is said there too.
//!
//! Surfaces for people and programs do such things through [`Staff`] alone; a test asks every route for its entry.
//! Words that somebody typed are in no entry: names as rules have them are, and the ends of long secrets.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    AdjustmentRequest, BatchKind, DoneView, ImportBatch, ImportSource, ImportView, ManagerAction,
    MemberAction, Node, NoticesView, OpeningsRequest, OpeningsView, PurchaseRequest, PurchaseView,
    RulesRequest, RulesView, ServiceError, TillAction,
};
use crate::auth::{MemberField, Role, Sight};
use crate::desk::{Deed, Desk, DeskError, Note, member_name};
use crate::runtime::now;
use crate::vault::masked;

/// Letters, digits, `-` and `_` of a name as rules and mappings have them, at most so many.
const NAME_MAX: usize = 64;
/// What a secret has at least of which the end may be shown.
const SECRET_MIN: usize = 12;

/// A member of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ListedMember {
    /// The member as this node numbers members, `~` and the id: what other operations take as a card; empty when the
    /// member was erased meanwhile.
    pub member: String,
    /// The card number, masked for people.
    pub card: String,
}

/// Somebody of the staff at the node.
#[derive(Clone, Copy)]
pub struct Staff<'n> {
    node: &'n Node,
    by: &'n str,
}

/// What somebody is about to do.
struct Intent {
    deed: Deed,
    what: String,
    card: Option<String>,
    before: Option<String>,
    after: Option<String>,
}

impl Intent {
    fn new(what: impl Into<String>) -> Self {
        let (card, before, after) = (None, None, None);
        Self { deed: Deed::Programme, what: what.into(), card, before, after }
    }
    fn of_data(what: impl Into<String>) -> Self {
        Self { deed: Deed::Intake, ..Self::new(what) }
    }
    fn about(mut self, card: &str) -> Self {
        self.card = Some(card.to_owned());
        self
    }
    fn changes(mut self, before: Option<String>, after: Option<String>) -> Self {
        self.before = before;
        self.after = after;
        self
    }
}

/// A name as rules and mappings have them; anything else is what somebody typed, and may be anything.
fn named(text: &str) -> &str {
    let fits =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    let is_name = !text.is_empty() && text.len() <= NAME_MAX && text.bytes().all(fits);
    if is_name { text } else { "****" }
}

/// The name of a mapping: of the node's own folder, where its operator wrote it, or of one that is shipped. A file's name
/// has capitals where its writer likes them, and is no personal data; what is sent in a name's place, and whatever could
/// be a person's number, is not shown.
fn mapping_named(text: &str) -> &str {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    let has_letter = text.bytes().any(|byte| byte.is_ascii_alphabetic());
    let is_name = text.len() <= NAME_MAX && text.bytes().all(fits) && has_letter;
    if is_name { text } else { "****" }
}

/// The end of a code or key: who reads the log tells one from another, and can use none.
fn ending(secret: &str) -> String {
    let letters: Vec<char> = secret.chars().filter(char::is_ascii_alphanumeric).collect();
    match letters.last_chunk::<4>() {
        Some(end) if letters.len() >= SECRET_MIN => {
            format!("****{}", end.iter().collect::<String>())
        }
        _ => "****".to_owned(),
    }
}

const fn kind_of(batch: BatchKind) -> &'static str {
    match batch {
        BatchKind::Members => "members",
        BatchKind::Purchases => "purchases",
    }
}

fn in_words(action: &MemberAction) -> String {
    match action {
        MemberAction::Join { .. } => "joined".to_owned(),
        MemberAction::SignIn {} => "signed in".to_owned(),
        MemberAction::Activity { name } => format!("activity {}", named(name)),
        MemberAction::Pay { points, basket_fen } => {
            format!("{points} points paid for a basket of {basket_fen} fen")
        }
        MemberAction::ClaimCoupon { kind } => format!("coupon {} claimed", named(kind)),
        MemberAction::HoldReward { reward, .. } => format!("reward {} asked for", named(reward)),
        MemberAction::ReversePayment { .. } => "a payment with points taken back".to_owned(),
        MemberAction::Ask { about, .. } => {
            format!("a request to the service about {}", named(about))
        }
    }
}

fn at_till(action: &TillAction) -> String {
    match action {
        TillAction::RedeemCoupon { code, basket_fen, .. } => {
            format!("coupon {} redeemed for a basket of {basket_fen} fen", ending(code))
        }
        TillAction::ReopenCoupon { code, .. } => format!("coupon {} open again", ending(code)),
        TillAction::HandOver { hold } => format!("reward {} handed over", ending(hold)),
        TillAction::GiveUp { hold } => format!("reward {} given up", ending(hold)),
    }
}

fn managed(action: &ManagerAction) -> String {
    match action {
        ManagerAction::Stock { reward, .. } => format!("stock of reward {}", named(reward)),
        ManagerAction::WithdrawRules {} => "announced rules withdrawn".to_owned(),
        ManagerAction::KeepSegment { name, .. } => format!("segment {} kept", named(name)),
        ManagerAction::DropSegment { name } => format!("segment {} dropped", named(name)),
        ManagerAction::MakeCampaign { name, terms } => {
            format!("campaign {} made for segment {}", named(name), named(&terms.segment))
        }
        ManagerAction::EndCampaign { name } => format!("campaign {} ended", named(name)),
    }
}

/// How many members, and how much in all: nobody's.
fn openings_in_words(request: &OpeningsRequest) -> String {
    let (mut points, mut tier_points) = (0_u64, 0_u64);
    for member in &request.members {
        points = member.lots.iter().fold(points, |sum, lot| sum.saturating_add(lot.points));
        tier_points = tier_points.saturating_add(member.tier_points);
    }
    format!(
        "opening balances of {} members, {points} points, {tier_points} towards tiers{}{}",
        request.members.len(),
        if request.replace { ", in the place of what waits" } else { "" },
        if request.dry_run { ", a dry run" } else { "" },
    )
}

fn name_of(desk: &Desk, card: &str) -> Result<Option<String>, DeskError> {
    match desk.member(card) {
        Ok(member) => Ok(Some(member_name(member))),
        Err(DeskError::UnknownMember | DeskError::Vault(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Node {
    /// Somebody of the staff at this node.
    #[must_use]
    pub const fn staff<'n>(&'n self, by: &'n str) -> Staff<'n> {
        Staff { node: self, by }
    }

    /// The names by which this node knows the members who have these cards; none of who was erased meanwhile.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn names_of(&self, cards: Vec<String>) -> Result<Vec<Option<String>>, ServiceError> {
        self.at_desk(move |desk| cards.iter().map(|card| name_of(desk, card)).collect()).await
    }
}

impl Staff<'_> {
    /// Enters what is about to be done, does it, and enters that it was refused.
    async fn recorded<T>(
        &self,
        intent: Intent,
        work: impl Future<Output = Result<T, ServiceError>> + Send,
    ) -> Result<T, ServiceError> {
        let Intent { deed, what, card, before, after } = intent;
        let (by, at, subject) = (self.by.to_owned(), now(), what.clone());
        self.node
            .at_desk(move |desk| {
                let note = Note::new(&by, deed, what).changed(before, after);
                let note = match card.map(|card| desk.member(&card)) {
                    Some(Ok(member)) => note.about(member),
                    // who names nobody is refused next; that somebody tried is an entry all the same
                    None | Some(Err(DeskError::UnknownMember | DeskError::Vault(_))) => note,
                    Some(Err(error)) => return Err(error),
                };
                desk.note(note, at).map(drop)
            })
            .await?;
        let done = work.await;
        if let Err(error) = &done {
            self.node.note_refused(self.by, deed, &subject, error).await;
        }
        done
    }

    async fn balance(&self, card: &str) -> Option<u64> {
        // without one the entry says less, and what is asked for is refused
        self.node.member(card.to_owned()).await.ok().map(|member| member.available)
    }

    /// Takes the first rules, or announces others.
    ///
    /// # Errors
    /// See [`ServiceError`]; also when it cannot be entered in the operation log: then it is not done. So each of these.
    pub async fn take_rules(&self, request: RulesRequest) -> Result<RulesView, ServiceError> {
        let in_force = self.node.programme_rules().await?.version;
        let hash = protocol::crypto::sha256(&[request.rules.as_bytes()]);
        let file: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let intent = Intent::new("rules taken or announced").changes(
            Some(format!("version {in_force}")),
            Some(format!("the file with SHA-256 {file}...")),
        );
        self.recorded(intent, self.node.take_programme_rules(request)).await
    }

    /// Does what the programme's manager asks for.
    ///
    /// # Errors
    /// As of [`Self::take_rules`].
    pub async fn manage(&self, action: ManagerAction) -> Result<DoneView, ServiceError> {
        let mut intent = Intent::new(managed(&action));
        if let ManagerAction::Stock { reward, total } = &action {
            let stock = self.node.programme_campaigns().await?.stock;
            let known = stock.iter().find(|it| it.reward == *reward).map(|it| it.total.to_string());
            intent = intent.changes(known, Some(total.to_string()));
        }
        self.recorded(intent, self.node.manage_programme(action, self.by.to_owned())).await
    }

    /// Corrects a member's balance. The reason is free text, which nobody can mask: it stays with the correction.
    ///
    /// # Errors
    /// As of [`Self::take_rules`].
    pub async fn adjust_points(
        &self,
        key: String,
        card: String,
        request: AdjustmentRequest,
    ) -> Result<DoneView, ServiceError> {
        let before = self.balance(&card).await;
        let after = before.map(|before| before.saturating_add_signed(request.points));
        let intent = Intent::new(format!("a correction by {:+} points", request.points))
            .about(&card)
            .changes(before.map(|it| it.to_string()), after.map(|it| it.to_string()));
        let work = self.node.adjust_points(key, card, self.by.to_owned(), request);
        self.recorded(intent, work).await
    }

    /// Decides on a correction that waits.
    ///
    /// # Errors
    /// As of [`Self::take_rules`].
    pub async fn decide_adjustment(
        &self,
        number: u64,
        agrees: bool,
    ) -> Result<DoneView, ServiceError> {
        let (latest, _) = self.node.listed_adjustments(number.checked_add(1), 1).await?;
        let known = latest.into_iter().find(|it| it.number == number);
        let what = known.as_ref().map_or_else(
            || format!("correction {number}"),
            |it| format!("correction {number} of {} by {:+} points", it.card, it.points),
        );
        let verdict = if agrees { "agreed" } else { "refused" };
        let intent = Intent::new(what).changes(known.map(|it| it.state), Some(verdict.to_owned()));
        self.recorded(intent, self.node.decide_adjustment(number, agrees, self.by.to_owned())).await
    }

    /// Brings members' balances from a programme of before: how many and how much is entered before, what became of
    /// it behind.
    ///
    /// # Errors
    /// As of [`Self::take_rules`].
    pub async fn bring_openings(
        &self,
        request: OpeningsRequest,
        enters: bool,
    ) -> Result<OpeningsView, ServiceError> {
        let intent = Intent::new(openings_in_words(&request));
        let dry_run = request.dry_run;
        let work = self.node.bring_openings(request, self.by.to_owned(), enters);
        let view = self.recorded(intent, work).await?;
        if !dry_run {
            let OpeningsView {
                given, waiting, already_there, points_given, points_waiting, ..
            } = &view;
            let came_of_it = format!(
                "opening balances: {given} given with {points_given} points, {waiting} with {points_waiting} points \
                 wait for another person, {already_there} given before, {} refused",
                view.refused.len()
            );
            let (note, at) = (Note::new(self.by, Deed::Programme, came_of_it), now());
            self.node.at_desk(move |desk| desk.note(note, at).map(drop)).await?;
        }
        Ok(view)
    }

    /// Gives a member a coupon.
    ///
    /// # Errors
    /// As of [`Self::take_rules`].
    pub async fn give_coupon(
        &self,
        key: String,
        card: String,
        kind: String,
    ) -> Result<DoneView, ServiceError> {
        let intent = Intent::new(format!("coupon {} given", named(&kind))).about(&card);
        self.recorded(intent, self.node.give_coupon(key, card, kind)).await
    }

    /// Does something for a member.
    ///
    /// # Errors
    /// As of [`Self::take_rules`].
    pub async fn for_member(
        &self,
        key: String,
        card: String,
        action: MemberAction,
    ) -> Result<DoneView, ServiceError> {
        let mut intent = Intent::new(in_words(&action)).about(&card);
        if let MemberAction::Pay { points, .. } = &action {
            let before = self.balance(&card).await;
            let after = before.and_then(|before| before.checked_sub(*points));
            intent =
                intent.changes(before.map(|it| it.to_string()), after.map(|it| it.to_string()));
        }
        self.recorded(intent, self.node.programme_for_member(key, card, action)).await
    }

    /// Does something at a till.
    ///
    /// # Errors
    /// As of [`Self::take_rules`].
    pub async fn at_till(&self, key: String, action: TillAction) -> Result<DoneView, ServiceError> {
        self.recorded(Intent::new(at_till(&action)), self.node.programme_at_till(key, action)).await
    }

    /// Enters a purchase at the counter.
    ///
    /// # Errors
    /// As of [`Self::take_rules`].
    pub async fn enter_purchase(
        &self,
        key: String,
        request: PurchaseRequest,
    ) -> Result<PurchaseView, ServiceError> {
        let fen = request.lines.iter().fold(0_i64, |sum, it| sum.saturating_add(it.amount_fen));
        let what = format!("a purchase of {} lines, {fen} fen", request.lines.len());
        let intent = Intent::of_data(what).about(&request.card);
        self.recorded(intent, self.node.enter_purchase(key, request)).await
    }

    /// Imports rows that were sent.
    ///
    /// # Errors
    /// As of [`Self::take_rules`].
    pub async fn import_batch(
        &self,
        key: String,
        batch: ImportBatch,
    ) -> Result<ImportView, ServiceError> {
        let what = format!(
            "a batch of {}, {} bytes, by the mapping {}{}",
            kind_of(batch.kind),
            batch.bytes.len(),
            mapping_named(&batch.mapping),
            if batch.dry_run { ", a dry run" } else { "" },
        );
        self.recorded(Intent::of_data(what), self.node.import_batch(key, batch)).await
    }

    /// Starts an import.
    ///
    /// # Errors
    /// As of [`Self::take_rules`].
    pub async fn start_import(
        &self,
        source: ImportSource,
        dry_run: bool,
    ) -> Result<(), ServiceError> {
        let from = match &source {
            ImportSource::Sample => "the sample".to_owned(),
            ImportSource::Folder { mapping, .. } => {
                format!("a folder by the mapping {}", mapping_named(mapping))
            }
        };
        let what = format!("an import of {from}{}", if dry_run { ", a dry run" } else { "" });
        self.recorded(Intent::of_data(what), self.node.start_import(source, dry_run)).await
    }

    /// Members with at least so many points, a page of them, with their cards as the table of fields shows them: one entry
    /// about as many members.
    ///
    /// # Errors
    /// As of [`Self::take_rules`].
    pub async fn members(
        &self,
        least_points: u64,
        after: Option<String>,
        limit: u32,
        roles: &[Role],
    ) -> Result<Vec<ListedMember>, ServiceError> {
        let after = match after {
            Some(name) if name.starts_with('~') => {
                Some(self.node.card_of(name).await?.as_str().to_owned())
            }
            after => after,
        };
        let cards = self.node.cards(least_points, after, limit).await?;
        self.note_read("a list of members", cards.len()).await?;
        let names = self.node.names_of(cards.clone()).await?;
        let is_whole = MemberField::Card.seen_by_any(roles) == Sight::Whole;
        let listed = |(name, card): (Option<String>, String)| ListedMember {
            member: name.unwrap_or_default(),
            card: if is_whole { card } else { masked(&card) },
        };
        Ok(names.into_iter().zip(cards).map(listed).collect())
    }

    async fn note_read(&self, what: &'static str, members: usize) -> Result<(), ServiceError> {
        let at = now();
        let members = u32::try_from(members).unwrap_or(u32::MAX);
        let note = Note::new(self.by, Deed::Read, what).about_many(members);
        self.node.at_desk(move |desk| desk.note(note, at).map(drop)).await
    }

    /// Notices for who pushes messages: one entry about as many members, so that an alert sees who reads them all. The
    /// cards are whole for whom the table of fields says so, and masked for others, with the name by which this node
    /// knows the member.
    ///
    /// # Errors
    /// As of [`Self::take_rules`].
    pub async fn notices(&self, after: u64, roles: &[Role]) -> Result<NoticesView, ServiceError> {
        let NoticesView { lost_before, mut notices } = self.node.programme_notices(after).await?;
        let members = notices.iter().filter(|it| it.card.is_some()).count();
        let is_whole = MemberField::AddressedCard.seen_by_any(roles) == Sight::Whole;
        self.note_read("notices to members", members).await?;
        let cards = notices.iter().map(|it| it.card.clone().unwrap_or_default()).collect();
        let names = self.node.names_of(cards).await?;
        for (notice, name) in notices.iter_mut().zip(names) {
            notice.member = name;
            if !is_whole {
                notice.card = notice.card.as_deref().map(masked);
            }
        }
        Ok(NoticesView { lost_before, notices })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_names_of_rules_and_the_ends_of_codes_and_nothing_that_was_typed() {
        assert_eq!(named("five_off-2"), "five_off-2");
        for typed in ["", "Li Lei", "13812345678\n", "format = 1", "李雷", &"a".repeat(65)] {
            assert_eq!(named(typed), "****", "{typed}");
        }
        for mapping in ["till", "Till_2", "Kassen-SB", "ERP2026", &"A".repeat(64)] {
            assert_eq!(mapping_named(mapping), mapping);
        }
        let sent = "name = \"Till\"\nformat = 1\n";
        for typed in ["", "Li Lei", "13812345678", sent, "李雷", "../Till", &"A".repeat(65)] {
            assert_eq!(mapping_named(typed), "****", "{typed}");
        }
        // names of rules are small letters: with capitals it is something else that was typed
        assert_eq!(named("Till_2"), "****");
        assert_eq!(ending("ABCD-EFGH-JKLM-NPQR"), "****NPQR");
        for short in ["", "ABCD-EFGH", "李雷李雷李雷李雷李雷李雷李雷"] {
            assert_eq!(ending(short), "****", "{short}");
        }
        let ask = MemberAction::Ask { about: "points".to_owned(), text: "Li Lei asks".to_owned() };
        assert_eq!(in_words(&ask), "a request to the service about points");
        let code = "ABCDEFGHJKLMNPQR".to_owned();
        let place = "Li Lei's shop".to_owned();
        let redeem = TillAction::RedeemCoupon { code, basket_fen: 900, place };
        assert_eq!(at_till(&redeem), "coupon ****NPQR redeemed for a basket of 900 fen");
    }
}
