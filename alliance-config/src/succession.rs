//! One constitution after another: the draft of the next from the one in force, what changes in words,
//! and the checks before a node takes its file.
//!
//! Whether a change is lawful and whom it touches is decided by [`protocol::epochs`]; here it is told to
//! people, in Chinese and English. A draft keeps the words of the one before, comments and all. Does not
//! know what the logs say of it: adoption is theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use privacy::contract::CARRIERS_MIN;
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
use crate::words::{self, Line, Sentence, Topic};

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
    /// A brand is to be frozen that is none.
    #[error("{0} is no brand of the next constitution, so it cannot be frozen")]
    FrozenStranger(BrandId),
    /// Fewer brands are left than a clean room needs.
    #[error(
        "{left} brands are left, and a clean room needs {CARRIERS_MIN}, or one learns the other's share: end it in the same constitution (`constitution next --without-clean-room`), or bring in another brand's introduction"
    )]
    CleanRoom {
        /// How many there are then.
        left: usize,
    },
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
    draft_parting(present, introductions, &Parting { leaving, ..Parting::default() })
}

/// The same with brands whose logs are closed although they still are brands: those that failed, or whose keys
/// are stolen. Who is frozen already stays so until it leaves.
///
/// # Errors
/// When the result would not be a constitution that may follow.
pub fn draft_freezing(
    present: &[u8],
    introductions: &[Introduction],
    leaving: &[BrandId],
    freezing: &[BrandId],
) -> Result<String, NextError> {
    draft_parting(present, introductions, &Parting { leaving, freezing, ..Parting::default() })
}

/// What ends with the next constitution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parting<'a> {
    /// Brands that leave.
    pub leaving: &'a [BrandId],
    /// Brands whose logs are closed although they still are brands.
    pub freezing: &'a [BrandId],
    /// There is no clean room any more: its section is left out, whole.
    pub ends_clean_room: bool,
}

/// Drafts the constitution after the present one, with what ends with it; see [`draft_next`].
///
/// # Errors
/// When the result would not be a constitution that may follow.
pub fn draft_parting(
    present: &[u8],
    introductions: &[Introduction],
    parting: &Parting<'_>,
) -> Result<String, NextError> {
    let Parting { leaving, freezing, ends_clean_room } = *parting;
    let checked = Constitution::parse(present)?;
    let source = Source::new(Document::Constitution, present)?;
    let raw: RawConstitution = source.read()?;
    let (settings, _) = source.text().split_once(BRANDS_HEADER).ok_or(NextError::Layout)?;
    let settings = settings.strip_prefix(HEADER).unwrap_or(settings);
    let mut brands: BTreeMap<Id, RawBrand> = raw.brands.clone();
    for brand in leaving {
        brands.remove(&Id(*brand)).ok_or(NextError::Stranger(*brand))?;
    }
    for introduction in introductions {
        brands.insert(Id(introduction.id()), introduction.to_raw());
    }
    if let Some(stranger) = freezing.iter().find(|brand| !brands.contains_key(&Id(**brand))) {
        return Err(NextError::FrozenStranger(*stranger));
    }
    if raw.clean_room.is_some() && !ends_clean_room && brands.len() < CARRIERS_MIN {
        return Err(NextError::CleanRoom { left: brands.len() });
    }
    let before: BTreeSet<BrandId> = raw.alliance.frozen.iter().map(|id| id.0).collect();
    let stay = before.iter().filter(|brand| !leaving.contains(brand));
    let frozen: BTreeSet<BrandId> = stay.chain(freezing).copied().collect();
    // as it is written, when it is the same
    let frozen = (frozen != before).then_some(&frozen);
    let mut settings = follow_on(settings, &checked, frozen);
    if ends_clean_room {
        settings = without_clean_room(&settings);
    }
    let settings = Settings::parse(settings.as_bytes())?;
    let text = write_next(brands, &settings, &raw.brands, &raw.rates)?;
    let next = Constitution::parse(text.as_bytes())?;
    Changes::between(checked.ledger(), next.ledger())?;
    Ok(text)
}

/// The settings with the next epoch, and without what was said of the present one's own place; with other frozen
/// brands, if they are given.
fn follow_on(settings: &str, present: &Constitution, frozen: Option<&BTreeSet<BrandId>>) -> String {
    let mut text = String::new();
    let mut section = "";
    // within a list of several lines that is left out
    let mut within = false;
    let ends = |line: &str| line.split('#').next().unwrap_or_default().contains(']');
    for line in settings.trim_end().lines() {
        if within {
            within = !ends(line);
            continue;
        }
        let key = line.split('=').next().unwrap_or_default().trim();
        if line.starts_with('[') {
            section = line.trim();
        }
        match (section, key) {
            ("[alliance]", "epoch") => {
                let next = present.ledger().epoch().get().saturating_add(1);
                // writing to a string cannot fail
                let _ = writeln!(text, "epoch = {next}\nprevious = \"{}\"", present.hash());
                if let Some(frozen) = frozen.filter(|frozen| !frozen.is_empty()) {
                    let ids: Vec<String> = frozen.iter().map(|id| format!("\"{id}\"")).collect();
                    let _ = writeln!(text, "frozen = [{}]", ids.join(", "));
                }
            }
            ("[alliance]", "frozen") if frozen.is_some() => within = !ends(line),
            ("[alliance]", "previous" | "effective") => {}
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

/// The settings without their clean room: its tables, and the comments that stand right before them.
fn without_clean_room(settings: &str) -> String {
    let mut text = String::new();
    // blank lines and comments, until it is known to what they belong
    let mut before = String::new();
    let mut within = false;
    for line in settings.lines() {
        let name = line.trim_start_matches('[');
        // a list's own line may begin with a bracket as well
        if name.len() < line.len() && name.starts_with(|first: char| first.is_ascii_alphabetic()) {
            within = name.split(['.', ']']).next().is_some_and(|it| it.trim() == "clean_room");
        }
        if line.trim().is_empty() || line.starts_with('#') {
            before.push_str(line);
            before.push('\n');
            continue;
        }
        let said = std::mem::take(&mut before);
        if !within {
            text.push_str(&said);
            text.push_str(line);
            text.push('\n');
        }
    }
    if !within {
        text.push_str(&before);
    }
    text
}

/// What changes from one constitution to another, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// One line a change.
    pub lines: Vec<Line>,
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
    pub fn when(&self) -> Sentence {
        let days = self.notice.get() / DAY_MS;
        let earliest = jiff::Timestamp::from_millisecond(
            i64::try_from(self.effective.unix_ms()).unwrap_or(i64::MAX),
        );
        let (not_before_zh, not_before_en) = match earliest {
            Ok(earliest) if self.effective.unix_ms() > 0 => {
                (format!("，且不早于 {earliest}"), format!(", not before {earliest}"))
            }
            _ => Default::default(),
        };
        let (zh, en) = match self.reach {
            Reach::Members => (
                format!("涉及会员：请即告知；多数品牌通过后 {days} 日生效"),
                format!(
                    "members are touched: tell them now; it takes effect {days} days after a quorum has adopted it"
                ),
            ),
            Reach::Brands => (
                "仅涉及品牌之间：多数品牌通过后生效".to_owned(),
                "between the brands only: it takes effect when a quorum has adopted it".to_owned(),
            ),
            Reach::Urgent => (
                "仅密钥或冻结：多数品牌通过后立即生效".to_owned(),
                "keys and freezes only: it takes effect at once when a quorum has adopted it"
                    .to_owned(),
            ),
        };
        Sentence::new(zh + &not_before_zh, en + &not_before_en)
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
            lines.extend(words::change(change, present, next));
            continue;
        }
        let (before, after) = (*payload_retention_months, next.payload_retention_months);
        if before != after {
            lines.push(Line::new(
                Topic::Auditors,
                format!("兑换明细可解密期限 {after} 个月，原 {before} 个月"),
                format!("what was exchanged can be read for {after} months, so far {before}"),
            ));
        }
        // the contract's own words decide, also where they mean the same
        if *clean_room != next.clean_room || before == after {
            lines.extend(words::change(change, present, next));
        }
    }
    // also where the words are the same: who joins shares the budget
    lines.extend(words::clean_room(clean_room.as_ref(), next.clean_room.as_ref()));
    if *name != next.name {
        lines.push(Line::new(
            Topic::Names,
            format!("联盟更名为{}", next.name.zh()),
            format!("the alliance's name becomes {}", next.name.en()),
        ));
    }
    if *is_trial && !next.is_trial {
        let (zh, en) =
            ("试运行结束，开始有真实会员", "it is a trial no more: there are real members");
        lines.push(Line::new(Topic::Names, zh, en));
    }
    if next.is_trial && !*is_trial {
        let (zh, en) =
            ("改为试运行，没有真实会员", "it is a trial, without real members, from now on");
        lines.push(Line::new(Topic::Names, zh, en));
    }
    for (brand, profile) in next.profiles() {
        if let Some(before) = profiles.get(&brand) {
            lines.extend(words::profile(brand.as_str(), before, profile));
        }
    }
    if *clearing_zone != next.clearing_zone {
        let zone = |it: &jiff::tz::TimeZone| it.iana_name().unwrap_or_default().to_owned();
        let (was, is) = (zone(clearing_zone), zone(&next.clearing_zone));
        lines.push(Line::new(
            Topic::Names,
            format!("清分时区 {is}，原 {was}"),
            format!("the clearing zone is {is}, so far {was}"),
        ));
    }
    if *cut_offs != next.cut_offs {
        let none = "none";
        let words = |it: &Option<CutOffs>| it.as_ref().map_or(none, |it| it.period().name());
        let (was, is) = (words(cut_offs), words(&next.cut_offs));
        lines.push(Line::new(
            Topic::Names,
            format!("清分截止周期：{is}（原 {was}），并请核对截止时刻"),
            format!("clearing cut-offs: {is}, so far {was}; look at their time as well"),
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
        assert!(
            joined.lines[0].words.en.contains("e: joins")
                && joined.lines[0].words.zh.contains("加入联盟")
        );
        let left = compare(&second, &third).unwrap();
        assert_eq!((left.reach, left.notice.get()), (Reach::Members, 30 * DAY_MS));
        assert!(left.when().en.contains("30 days after") && left.when().zh.contains("30 日"));
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
        assert_eq!(compare(&present, &plain).unwrap().lines, Vec::<Line>::new());
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
        assert_eq!(compare(&parsed(&first), &parsed(&plain)).unwrap().lines, Vec::<Line>::new());
        let told = |from: &str, to: &str| {
            let changed = plain.replacen(from, to, 1);
            assert_ne!(changed, plain);
            let comparison = compare(&parsed(&first), &parsed(&changed)).unwrap();
            let lines: Vec<String> = comparison.lines.iter().map(Line::to_string).collect();
            (lines.join("\n"), comparison.reach)
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
        for told in [when.when().zh, when.when().en] {
            assert!(told.contains("2026-12-31T16:00:00Z"), "{told}");
        }
    }

    /// An emergency is one command: nothing but the freeze is in it, and those frozen before stay so.
    #[test]
    fn a_brand_is_frozen_by_a_draft_that_needs_no_notice() {
        let id = |id: &str| BrandId::new(id).unwrap();
        let first = constitution(4);
        let freeze = |present: &str, leaving: &[&str], freezing: &[&str]| {
            let ids = |of: &[&str]| of.iter().map(|it| id(it)).collect::<Vec<_>>();
            draft_freezing(present.as_bytes(), &[], &ids(leaving), &ids(freezing))
        };
        let frozen = |text: &str| {
            parsed(text).ledger().succession().frozen.iter().copied().collect::<Vec<_>>()
        };
        let second = freeze(&first, &[], &["c"]).unwrap();
        assert_eq!(frozen(&second), [id("c")]);
        assert_eq!(compare(&parsed(&first), &parsed(&second)).unwrap().reach, Reach::Urgent);
        // what is commented stays, and there is one list
        let third = freeze(&second, &[], &["b", "c"]).unwrap();
        assert_eq!(frozen(&third), [id("b"), id("c")]);
        assert_eq!(third.lines().filter(|line| line.starts_with("frozen = ")).count(), 1);
        // a list that somebody has written over several lines
        let wide = second.replacen(
            "frozen = [\"c\"]",
            "frozen = [ # as was agreed [by all]\n  \"c\", # keys ]\n]",
            1,
        );
        assert_eq!(frozen(&wide), [id("c")]);
        assert_eq!(frozen(&freeze(&wide, &[], &["b"]).unwrap()), [id("b"), id("c")]);
        assert_eq!(frozen(&freeze(&wide, &[], &[]).unwrap()), [id("c")]);
        // who leaves is frozen no more
        let left = freeze(&wide, &["c"], &[]).unwrap();
        assert_eq!((frozen(&left), parsed(&left).ledger().committee().size()), (Vec::new(), 3));
        let refused = |leaving: &[&str], freezing: &[&str]| {
            freeze(&first, leaving, freezing).unwrap_err().to_string()
        };
        assert!(refused(&[], &["z"]).starts_with("z is no brand of the next constitution"));
        assert!(refused(&["c"], &["c"]).starts_with("c is no brand of the next constitution"));
    }

    /// Of three brands one leaves: two cannot ask joint questions, and what is to be done is said.
    #[test]
    fn an_alliance_of_three_lets_one_go_when_its_clean_room_ends_with_it() {
        let mut settings = crate::sample_alliance::SETTINGS.to_owned();
        let carriers = ["grocer_one", "grocer_two", "fuel_stop", "fresh_counter", "health_home"];
        for (name, id) in carriers.into_iter().zip(["a", "b", "c", "a", "c"]) {
            settings = settings.replace(&format!("\"{name}\""), &format!("\"{id}\""));
        }
        let settings = Settings::parse(settings.as_bytes()).unwrap();
        let first = crate::draft(&introductions(3), &settings).unwrap();
        assert!(parsed(&first).clean_room().is_some());
        let leaving = [BrandId::new("b").unwrap()];
        let refused = draft_next(first.as_bytes(), &[], &leaving).unwrap_err();
        assert_eq!(refused, NextError::CleanRoom { left: 2 });
        let words = refused.to_string();
        assert!(words.contains("--without-clean-room") && words.contains("2 brands"), "{words}");
        let parting = Parting { leaving: &leaving, ends_clean_room: true, ..Parting::default() };
        let second = draft_parting(first.as_bytes(), &[], &parting).unwrap();
        let (before, after) = (parsed(&first), parsed(&second));
        assert!(after.clean_room().is_none() && !second.contains("[clean_room"), "{second}");
        assert_eq!(after.ledger().committee().size(), 2);
        let told = compare(&before, &after).unwrap();
        assert_eq!(told.reach, Reach::Members);
        // what is no part of it stays as it is written
        let kept = constitution(4);
        let none = Parting { ends_clean_room: true, ..Parting::default() };
        let same = draft_parting(kept.as_bytes(), &[], &none).unwrap();
        assert_eq!(same, next(&kept, 0, &[]).unwrap());
    }

    #[test]
    fn the_clean_rooms_contract_is_a_term_for_members() {
        let first = crate::testing::sample_constitution();
        let plain = draft_next(first.as_bytes(), &[], &[]).unwrap();
        let changed = plain.replacen("retention_years = ", "retention_years = 2 # so far ", 1);
        assert_ne!(changed, plain);
        let comparison = compare(&parsed(&first), &parsed(&changed)).unwrap();
        assert_eq!(comparison.reach, Reach::Members);
        assert!(comparison.lines[0].to_string().contains("clean room"), "{:?}", comparison.lines);
        let told = |topic: Topic| {
            let lines = comparison.lines.iter().filter(|line| line.topic == topic);
            lines.map(Line::to_string).collect::<Vec<_>>().join("\n")
        };
        assert!(told(Topic::Contract).contains("rows of 2 years"), "{}", told(Topic::Contract));
        assert!(told(Topic::Contract).contains("读取 2 年内的数据"), "{}", told(Topic::Contract));
        assert_eq!(told(Topic::Budget), "");
    }

    /// Each is told with what it was and what it becomes, in both languages.
    #[test]
    fn the_budget_and_the_contract_are_told_by_what_they_mean() {
        let first = crate::testing::sample_constitution();
        let plain = draft_next(first.as_bytes(), &[], &[]).unwrap();
        let told = |changes: &[(&str, &str)]| {
            let changed = changes.iter().fold(plain.clone(), |text, (from, to)| {
                assert!(text.contains(from), "{from:?} is not in the text");
                text.replacen(from, to, 1)
            });
            compare(&parsed(&first), &parsed(&changed)).unwrap().lines
        };
        let lines = told(&[("profile = \"trial\"", "profile = \"standard\"")]);
        let budget: Vec<&Line> = lines.iter().filter(|it| it.topic == Topic::Budget).collect();
        let [year, joint, local, question] = budget[..] else { panic!("{lines:?}") };
        assert_eq!(
            year.words.en,
            "the privacy budget of a year is rho 0.01 for all (profile standard), so far 0.15 (trial)"
        );
        assert_eq!(year.words.zh, "全联盟每年隐私预算 rho 0.01（档位 standard），原 0.15（trial）");
        // five brands share it, sixty percent of a share for joint questions
        assert!(joint.words.en.ends_with("joint questions is rho 0.0012, so far 0.018"), "{joint}");
        assert!(local.words.zh.ends_with("rho 0.0008，原 0.012"), "{local}");
        assert!(question.words.en.starts_with("a question usually costs rho"), "{question}");
        let lines = told(&[
            ("minimum_participants = 3", "minimum_participants = 4"),
            ("rows_bound = 1000", "rows_bound = 2000"),
            ("bound = 500000", "bound = 1000000"),
            ("bound = 5000\n", "bound = 5000\ncarriers = [\"grocer_one\", \"fuel_stop\"]\n"),
        ]);
        let all = lines.iter().map(Line::to_string).collect::<Vec<_>>().join("\n");
        for part in [
            "at least 4 brands, so far 3",
            "at most 2000 rows, so far 1000",
            "purchases.amount_fen",
            "bounded by 1000000",
            "每会员合计界 500000",
            "bounded by 5000, told by fuel_stop, grocer_one)",
            "每会员合计界 5000，由 fuel_stop, grocer_one 提供）",
        ] {
            assert!(all.contains(part), "{part:?} in {all}");
        }
        // a bound of a brand's own is told as such, and nothing of the others changes
        let lines = told(&[
            ("rows_bound = 1000", "rows_bound = 1000\nrows_bound_by_brand = { fuel_stop = 200 }"),
            ("bound = 500000", "bound = 500000\nbound_by_brand = { health_home = 1000000 }"),
        ]);
        let contract: Vec<&str> = lines
            .iter()
            .filter(|line| line.topic == Topic::Contract)
            .map(|line| line.words.en.as_str())
            .collect();
        assert_eq!(
            contract,
            [
                "the clean room's contract changes: what is asked of members' data",
                "a member's rows in purchases count at fuel_stop up to 200, so far that of all brands",
                "a member's sums of purchases.amount_fen count at health_home up to 1000000, so far that of all brands",
            ]
        );
        assert!(
            lines
                .iter()
                .any(|line| line.words.zh.contains("在 health_home：1000000，原 与各品牌同"))
        );
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
