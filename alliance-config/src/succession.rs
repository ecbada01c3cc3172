//! One constitution after another: the draft of the next from the one in force, what changes in words,
//! and the checks before a node takes its file.
//!
//! Whether a change is lawful and whom it touches is decided by [`protocol::epochs`]; here it is told to
//! people, in Chinese and English. A draft keeps the words of the one before, comments and all. Does not
//! know what the logs say of it: adoption is theirs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use protocol::constitution::Constitution as LedgerConstitution;
use protocol::epochs::{Change, Changes, Reach, SuccessionError};
use protocol::ids::BrandId;
use protocol::time::{Milliseconds, Timestamp};

use crate::constitution::Constitution;
use crate::cut_offs::CutOffs;
use crate::document::{Document, FileError, Source};
use crate::draft::{BRANDS_HEADER, DraftError, HEADER, Settings, write_next};
use crate::introduction::Introduction;
use crate::raw::{RawBrand, RawConstitution};
use crate::signatures::{SignatureProblems, Signatures, problems_of_joining};
use crate::text::Id;

const DAY_MS: u64 = 86_400_000;

/// Why no next constitution was drafted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NextError {
    /// The present one is wrong.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its text is not laid out as drafts are.
    #[error(
        "the text has no line that begins its brands as `coalition constitution draft` writes it; \
         copy the file and change epoch, previous and the rest by hand"
    )]
    Layout,
    /// A brand is to leave that is none.
    #[error("{0} is no brand of the present constitution, so it cannot leave")]
    Stranger(BrandId),
    /// The draft breaks a rule of constitutions.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// The draft may not follow.
    #[error(transparent)]
    Succession(#[from] SuccessionError),
}

/// Drafts the constitution after the present one: introductions of brands that join, or of brands with
/// new keys, addresses or names; ids of those that leave. Everything else stays as it is written and is
/// changed by hand.
///
/// # Errors
/// When the result would not be a constitution that may follow.
pub fn draft_next(
    present: &[u8],
    introductions: &[Introduction],
    leaving: &[BrandId],
) -> Result<String, NextError> {
    let checked = Constitution::parse(present)?;
    let source = Source::new(Document::Constitution, present)?;
    let raw: RawConstitution = source.read()?;
    let (settings, _) = source.text().split_once(BRANDS_HEADER).ok_or(NextError::Layout)?;
    let settings = settings.strip_prefix(HEADER).unwrap_or(settings);
    let settings = Settings::parse(follow_on(settings, &checked).as_bytes())?;
    let mut brands: BTreeMap<Id, RawBrand> = raw.brands.clone();
    for brand in leaving {
        brands.remove(&Id(*brand)).ok_or(NextError::Stranger(*brand))?;
    }
    for introduction in introductions {
        brands.insert(Id(introduction.id()), introduction.to_raw());
    }
    let text = write_next(brands, &settings, &raw.brands, &raw.rates)?;
    let next = Constitution::parse(text.as_bytes())?;
    Changes::between(checked.ledger(), next.ledger())?;
    Ok(text)
}

/// The settings with the next epoch, and without what was said of the present one's own place.
fn follow_on(settings: &str, present: &Constitution) -> String {
    let mut text = String::new();
    let mut section = "";
    for line in settings.trim_end().lines() {
        let key = line.split('=').next().unwrap_or_default().trim();
        if line.starts_with('[') {
            section = line.trim();
        }
        match (section, key) {
            ("[alliance]", "epoch") => {
                let next = present.ledger().epoch().get().saturating_add(1);
                // writing to a string cannot fail
                let _ = writeln!(text, "epoch = {next}\nprevious = \"{}\"", present.hash());
            }
            ("[alliance]", "previous" | "effective") => {}
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

/// What changes from one constitution to another, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// One line a change, Chinese and English.
    pub lines: Vec<String>,
    /// Who is touched.
    pub reach: Reach,
    /// How long before it takes effect it is announced to members.
    pub notice: Milliseconds,
    /// It does not take effect before this, whenever it is adopted.
    pub effective: Timestamp,
}

impl Comparison {
    /// When it takes effect, in words.
    #[must_use]
    pub fn when(&self) -> String {
        let days = self.notice.get() / DAY_MS;
        let earliest = match jiff::Timestamp::from_millisecond(
            i64::try_from(self.effective.unix_ms()).unwrap_or(i64::MAX),
        ) {
            Ok(earliest) if self.effective.unix_ms() > 0 => {
                format!(", not before {earliest} / ，且不早于 {earliest}")
            }
            _ => String::new(),
        };
        match self.reach {
            Reach::Members => format!(
                "members are touched: tell them now; it takes effect {days} days after a quorum has adopted it / \
                 涉及会员：请即告知；多数品牌通过后 {days} 日生效{earliest}"
            ),
            Reach::Brands => format!(
                "between the brands only: it takes effect when a quorum has adopted it / \
                 仅涉及品牌之间：多数品牌通过后生效{earliest}"
            ),
            Reach::Urgent => format!(
                "keys and freezes only: it takes effect at once when a quorum has adopted it / \
                 仅密钥或冻结：多数品牌通过后立即生效{earliest}"
            ),
        }
    }
}

/// Compares the present constitution with one that is to follow.
///
/// # Errors
/// When it may not follow.
pub fn compare(present: &Constitution, next: &Constitution) -> Result<Comparison, SuccessionError> {
    // by name, so that what is added must be told of as well
    let Constitution {
        name,
        is_trial,
        ledger,
        clean_room,
        profiles,
        clearing_zone,
        cut_offs,
        payload_retention_months,
    } = present;
    let changes = Changes::between(ledger, next.ledger())?;
    let mut lines = Vec::new();
    for change in changes.list() {
        // the ledger sees that there are other terms; which, these do
        if *change != Change::Terms {
            lines.push(words(change, next));
            continue;
        }
        let (before, after) = (*payload_retention_months, next.payload_retention_months);
        if before != after {
            lines.push(format!(
                "what was exchanged can be read for {after} months, so far {before} / \
                 兑换明细可解密期限 {after} 个月，原 {before} 个月"
            ));
        }
        // the contract's own words decide, also where they mean the same
        if *clean_room != next.clean_room || before == after {
            lines.push(words(change, next));
        }
    }
    if *name != next.name {
        lines.push(format!(
            "the alliance's name becomes {} / 联盟更名为{}",
            next.name.en(),
            next.name.zh()
        ));
    }
    if *is_trial && !next.is_trial {
        let words = "it is a trial no more: there are real members / 试运行结束，开始有真实会员";
        lines.push(words.to_owned());
    }
    if next.is_trial && !*is_trial {
        let words = "it is a trial, without real members, from now on / 改为试运行，没有真实会员";
        lines.push(words.to_owned());
    }
    for (brand, profile) in next.profiles() {
        if profiles.get(&brand).is_some_and(|before| before != profile) {
            lines.push(format!("{brand}: name or addresses change / 名称或地址变更"));
        }
    }
    if *clearing_zone != next.clearing_zone {
        lines.push("the clearing zone changes / 清分时区变更".to_owned());
    }
    if *cut_offs != next.cut_offs {
        let none = "none";
        let words = |it: &Option<CutOffs>| it.as_ref().map_or(none, |it| it.period().name());
        let (was, is) = (words(cut_offs), words(&next.cut_offs));
        lines.push(format!(
            "clearing cut-offs: {is}, so far {was}; look at their time as well / 清分截止周期：{is}（原 {was}），\
             并请核对截止时刻"
        ));
    }
    Ok(Comparison {
        lines,
        reach: reach(&changes, present, next),
        notice: changes.notice(),
        effective: next.ledger().succession().effective,
    })
}

/// Names, addresses, the zone and the calendar of cut-offs are no emergency either: the brands' among themselves.
fn reach(changes: &Changes, present: &Constitution, next: &Constitution) -> Reach {
    let of = |it: &Constitution| {
        (it.name.clone(), it.is_trial, it.clearing_zone.clone(), it.cut_offs.clone())
    };
    let beside = of(present) != of(next)
        || next
            .profiles()
            .any(|(brand, profile)| present.profile(brand).is_some_and(|before| before != profile));
    if beside { changes.reach().max(Reach::Brands) } else { changes.reach() }
}

fn words(change: &Change, next: &Constitution) -> String {
    let hours = |time: &Milliseconds| time.get() / 3_600_000;
    let days = |time: &Milliseconds| time.get() / DAY_MS;
    // micro-fen in a fen
    let fen = |value: &protocol::amount::Value| value.get() / 1_000_000;
    match change {
        Change::Key { brand, role } => {
            format!("{brand}: new {role} key / 更换 {role} 密钥")
        }
        Change::Freeze(brand) => format!(
            "{brand}: frozen, its log closes after one more block / 冻结：其日志再写一个区块后关闭"
        ),
        Change::WrittenOff(it) => format!(
            "{} owed {} {} micro-fen: written off, the creditor's loss where it was not paid / {} 欠 {} {} 微分：核销，未付部分为债权方损失",
            it.debtor,
            it.creditor,
            it.value.get(),
            it.debtor,
            it.creditor,
            it.value.get()
        ),
        Change::Join(brand) => {
            let name = next.profile(*brand).map(|profile| profile.name.zh()).unwrap_or_default();
            format!("{brand}: joins / 加入联盟（{name}）")
        }
        Change::Leave(brand) => format!(
            "{brand}: leaves; its members can exchange no more and its log closes / 退出：其会员不再能兑换，其日志关闭"
        ),
        Change::RateAdded { from, to, rate } => format!(
            "{from} -> {to}: exchange at {}/{} / 新增兑换，比率 {}/{}",
            rate.numerator(),
            rate.denominator(),
            rate.numerator(),
            rate.denominator()
        ),
        Change::Rate { from, to, before, after } => {
            let was = format!("{}/{}", before.numerator(), before.denominator());
            match after {
                Some(after) => {
                    let is = format!("{}/{}", after.numerator(), after.denominator());
                    format!("{from} -> {to}: rate {was} becomes {is} / 兑换比率由 {was} 改为 {is}")
                }
                None => format!("{from} -> {to}: no more exchange, rate was {was} / 停止兑换（原比率 {was}）"),
            }
        }
        Change::PointValue(brand) => {
            format!("{brand}: another settlement value of its point / 积分结算价值变更")
        }
        Change::PairLimit { brand, before, after } => format!(
            "{brand}: may owe one brand {} fen, so far {} / 对单一品牌欠款上限 {} 分，原 {} 分",
            fen(after),
            fen(before),
            fen(after),
            fen(before)
        ),
        Change::TotalLimit { brand, before, after } => format!(
            "{brand}: may owe all brands {} fen, so far {} / 对全体品牌欠款上限 {} 分，原 {} 分",
            fen(after),
            fen(before),
            fen(after),
            fen(before)
        ),
        Change::ReturnWindow { before, after } => format!(
            "an exchange may be returned for {} hours, so far {} / 兑换退回时限 {} 小时，原 {} 小时",
            hours(after),
            hours(before),
            hours(after),
            hours(before)
        ),
        Change::Notice { before, after } => format!(
            "members are told {} days before, so far {} / 提前告知会员 {} 日，原 {} 日",
            days(after),
            days(before),
            days(after),
            days(before)
        ),
        Change::Terms => {
            "the clean room's contract changes: what is asked of members' data / 数据合约变更：会员数据的使用方式"
                .to_owned()
        }
        Change::Auditors => "other standing auditors / 常任审计方变更".to_owned(),
        Change::TotalStep => "another step of public totals / 公开累计金额步长变更".to_owned(),
        Change::PayloadSize => "another size of sealed payloads / 密文载荷字节数变更".to_owned(),
        Change::ProtocolVersion { before, after } => format!(
            "blocks of protocol version {after}, so far {before}: update the nodes first / \
             区块协议版本 {after}，原 {before}：请先升级节点"
        ),
        Change::Cipher { before, after } => format!(
            "entries are sealed with {}, so far {} / 密文算法改为 {}，原为 {}",
            after.name(),
            before.name(),
            after.name(),
            before.name()
        ),
    }
}

/// Why a node does not take a file as the next constitution.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    /// One of the files is wrong.
    #[error(transparent)]
    File(#[from] FileError),
    /// It may not follow.
    #[error(transparent)]
    Succession(#[from] SuccessionError),
    /// A brand that joins has not signed, or a signature is wrong.
    #[error(transparent)]
    Signatures(#[from] SignatureProblems),
}

/// Reads a constitution that is to follow another. The brands that are there already say in their logs
/// whether they adopt it; those that join have signed it.
///
/// # Errors
/// What is wrong with the files, or why it may not follow.
pub fn load_next(
    before: &LedgerConstitution,
    constitution: &[u8],
    signatures: &[u8],
) -> Result<Constitution, FollowError> {
    let checked = Constitution::parse(constitution)?;
    let changes = Changes::between(before, checked.ledger())?;
    let joining: Vec<BrandId> = changes
        .list()
        .iter()
        .filter_map(|change| match change {
            Change::Join(brand) => Some(*brand),
            _ => None,
        })
        .collect();
    let signatures = match signatures {
        [] => Signatures::default(),
        bytes => Signatures::parse(bytes)?,
    };
    let problems = problems_of_joining(&checked, constitution, &signatures, &joining);
    if problems.is_empty() { Ok(checked) } else { Err(SignatureProblems(problems).into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{constitution, governance, introductions, keys};
    use crate::{SignatureProblem, sign};

    fn next(present: &str, joining: u8, leaving: &[&str]) -> Result<String, NextError> {
        let known = present.matches("libp2p_address").count();
        let introductions: Vec<_> =
            introductions(u8::try_from(known).unwrap() + joining).drain(known..).collect();
        let leaving: Vec<_> = leaving.iter().map(|id| BrandId::new(id).unwrap()).collect();
        draft_next(present.as_bytes(), &introductions, &leaving)
    }

    fn parsed(text: &str) -> Constitution {
        Constitution::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_next_constitution_keeps_the_words_of_the_one_before() {
        let first = constitution(4);
        let second = next(&first, 1, &[]).unwrap();
        assert!(second.contains("epoch = 2\n"));
        assert!(second.contains(&format!("previous = \"{}\"", parsed(&first).hash())));
        assert!(second.contains("# The one size of sealed payloads."));
        let third = next(&second, 0, &["b"]).unwrap();
        assert_eq!(third.matches("previous = ").count(), 1);
        let (second, third) = (parsed(&second), parsed(&third));
        assert_eq!(third.ledger().succession().previous, Some(second.hash()));
        assert_eq!(third.ledger().committee().size(), 4);

        let joined = compare(&parsed(&first), &second).unwrap();
        assert_eq!(joined.reach, Reach::Brands);
        assert!(joined.lines[0].contains("e: joins") && joined.lines[0].contains("加入联盟"));
        let left = compare(&second, &third).unwrap();
        assert_eq!((left.reach, left.notice.get()), (Reach::Members, 30 * DAY_MS));
        assert!(left.when().contains("30 days after") && left.when().contains("30 日"));
    }

    /// Rates that followed from values and were changed by hand since do not change back unseen.
    #[test]
    fn rates_that_were_changed_by_hand_stay() {
        let by_hand = constitution(3).replacen("b = \"1/2\"", "b = \"2/5\"", 1);
        let by_hand = by_hand.replacen("c = \"2/3\"\n", "", 1);
        assert_ne!(by_hand, constitution(3));
        let (present, rate) = (parsed(&by_hand), |of: &Constitution, from: &str, to: &str| {
            of.ledger().rate(BrandId::new(from).unwrap(), BrandId::new(to).unwrap())
        });
        assert_eq!(rate(&present, "b", "c"), None);
        let plain = parsed(&next(&by_hand, 0, &[]).unwrap());
        assert_eq!(compare(&present, &plain).unwrap().lines, Vec::<String>::new());
        // who joins exchanges at the values, and nobody else is touched
        let joined = parsed(&next(&by_hand, 1, &[]).unwrap());
        assert_eq!(rate(&joined, "a", "b"), rate(&present, "a", "b"));
        assert_eq!(rate(&joined, "b", "c"), None);
        assert!(rate(&joined, "d", "a").is_some());
        assert_eq!(compare(&present, &joined).unwrap().reach, Reach::Brands);
    }

    #[test]
    fn a_change_is_told_in_words_and_waits_if_it_touches_members() {
        let first = constitution(3);
        let plain = next(&first, 0, &[]).unwrap();
        assert_eq!(compare(&parsed(&first), &parsed(&plain)).unwrap().lines, Vec::<String>::new());
        let told = |from: &str, to: &str| {
            let changed = plain.replacen(from, to, 1);
            assert_ne!(changed, plain);
            let comparison = compare(&parsed(&first), &parsed(&changed)).unwrap();
            (comparison.lines.join("\n"), comparison.reach)
        };
        let (words, reach) = told("b = \"1/2\"", "b = \"2/5\"");
        assert_eq!(reach, Reach::Members);
        assert!(words.contains("a -> b: rate 1/2 becomes 2/5"), "{words}");
        let (words, reach) = told("pair_limit_fen = 5000000", "pair_limit_fen = 4000000");
        assert_eq!(reach, Reach::Brands);
        assert!(words.contains("4000000 fen, so far 5000000"), "{words}");
        let (words, reach) = told("cipher = \"aes-256-gcm\"", "cipher = \"sm4-gcm\"");
        assert_eq!(reach, Reach::Brands);
        assert!(words.contains("sm4-gcm, so far aes-256-gcm"), "{words}");
        let (words, reach) = told("_retention_months = 24", "_retention_months = 12");
        assert_eq!(reach, Reach::Members);
        assert!(words.contains("12 months, so far 24") && !words.contains("clean room"), "{words}");
        let (words, reach) = told("name_en = \"My Alliance\"", "name_en = \"Ours\"");
        assert_eq!(reach, Reach::Brands);
        assert!(words.contains("becomes Ours"), "{words}");
        let (words, reach) = told("cut_offs = \"monthly\"", "cut_offs = \"daily\"");
        assert_eq!(reach, Reach::Brands);
        assert!(words.contains("cut-offs: daily, so far monthly"), "{words}");
        let (words, _) = told("epoch = 2", "epoch = 2\nnotice_days = 10");
        assert!(words.contains("10 days before, so far 30"), "{words}");
        let (words, reach) = told("epoch = 2", "epoch = 2\nfrozen = [\"c\"]");
        assert_eq!(reach, Reach::Urgent);
        assert!(words.contains("c: frozen"), "{words}");
        let later =
            plain.replacen("epoch = 2", "epoch = 2\neffective = \"2027-01-01T00:00:00+08:00\"", 1);
        let when = compare(&parsed(&first), &parsed(&later)).unwrap();
        assert_eq!(when.effective.unix_ms(), 1_798_732_800_000);
        assert!(when.when().contains("2026-12-31T16:00:00Z"), "{}", when.when());
    }

    #[test]
    fn the_clean_rooms_contract_is_a_term_for_members() {
        let first = crate::testing::sample_constitution();
        let plain = draft_next(first.as_bytes(), &[], &[]).unwrap();
        let changed = plain.replacen("retention_years = ", "retention_years = 2 # so far ", 1);
        assert_ne!(changed, plain);
        let comparison = compare(&parsed(&first), &parsed(&changed)).unwrap();
        assert_eq!(comparison.reach, Reach::Members);
        assert!(comparison.lines[0].contains("clean room"), "{:?}", comparison.lines);
    }

    #[test]
    fn who_joins_signs_and_who_leaves_must_be_there() {
        let first = constitution(3);
        let second = next(&first, 1, &[]).unwrap();
        let before = parsed(&first);
        let load = |signatures: &[u8]| load_next(before.ledger(), second.as_bytes(), signatures);
        let newcomer = BrandId::new("d").unwrap();
        let missing = SignatureProblem::Missing { brand: newcomer };
        assert_eq!(load(b""), Err(FollowError::Signatures(SignatureProblems(vec![missing]))));
        let signed = sign(second.as_bytes(), &governance(3)).unwrap();
        assert!(load(signed.to_text().as_bytes()).is_ok());
        let over_another = sign(first.as_bytes(), &governance(0)).unwrap();
        assert!(matches!(
            load(over_another.to_text().as_bytes()),
            Err(FollowError::Signatures(SignatureProblems(problems))) if problems.len() == 2
        ));
        let stranger = BrandId::new("z").unwrap();
        assert_eq!(next(&first, 0, &["z"]), Err(NextError::Stranger(stranger)));
        // one constitution removes at most n - q
        let two = next(&constitution(4), 0, &["b", "c"]);
        let removed = SuccessionError::Removed { found: 2, most: 1 };
        assert_eq!(two, Err(NextError::Succession(removed)));
        let hand_made = first.replacen("# The brands, as they", "# They", 1);
        assert_eq!(next(&hand_made, 0, &[]), Err(NextError::Layout));
        // a rotated key is one change
        let mut rotated = keys(2);
        rotated.log = crate::testing::signing_key(99, 0).public();
        let of = &introductions(3)[2];
        let again = Introduction::new(of.id(), of.profile().clone(), of.point_value(), rotated);
        let rotated = draft_next(first.as_bytes(), &[again], &[]).unwrap();
        let comparison = compare(&before, &parsed(&rotated)).unwrap();
        assert_eq!((comparison.lines.len(), comparison.reach), (1, Reach::Urgent));
    }
}
