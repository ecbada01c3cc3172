//! The page of one draft of the next constitution: what it changes in one language, who has signed and what the logs
//! say, and the forms with which this brand signs it and decides.

use askama::Template;

use super::{Frame, Language, Page, say};
use crate::auth::{Authorized, perm};
use crate::service::{Bilingual, DraftBrandView, DraftView, Status};

/// Everything that the page is made from.
#[derive(Debug, Default)]
pub struct DraftViews {
    /// The state of the node.
    pub status: Status,
    /// The draft.
    pub draft: DraftView,
    /// Whether the user is asked for a code beside the password.
    pub has_second_factor: bool,
    /// What a form of the page did.
    pub done: Option<DraftDone>,
    /// Why it did not, in the node's words.
    pub problem: Option<String>,
}

/// What a form of the page did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DraftDone {
    /// The draft is kept.
    Kept,
    /// Signatures were put under it.
    SignaturesAdded,
    /// This brand has signed it.
    Signed,
    /// This brand adopts it.
    Adopted,
    /// This brand does not.
    Declined,
}

/// The changes of one topic.
struct Group<'a> {
    title: &'static str,
    lines: Vec<&'a str>,
}

#[derive(Template)]
#[template(path = "draft.html")]
struct DraftPage<'a> {
    frame: Frame<'a>,
    views: &'a DraftViews,
    groups: Vec<Group<'a>>,
    language: Language,
}

say!(DraftPage, words);

impl DraftPage<'_> {
    fn own(&self) -> Option<&DraftBrandView> {
        self.views.draft.brand(&self.views.status.brand)
    }
    fn has_signed(&self) -> bool {
        self.own().is_some_and(|own| own.signed)
    }
    fn may_sign(&self) -> bool {
        self.views.draft.has_own_keys && !self.has_signed()
    }
    fn has_decided(&self) -> bool {
        self.own().is_some_and(|own| own.stance.is_some())
    }
    fn may_decide(&self) -> bool {
        ["ready", "taken"].contains(&self.views.draft.state.as_str()) && !self.has_decided()
    }
    fn is_passed(&self) -> bool {
        self.views.draft.state == "passed"
    }
    fn is_taken(&self) -> bool {
        self.views.draft.state == "taken"
    }
    fn state(&self) -> &'static str {
        match self.views.draft.state.as_str() {
            "unsigned" => self.say("等待加入品牌签名", "brands that join have to sign first"),
            "ready" => self.say("可以表态", "can be adopted"),
            "taken" => self.say("已接收", "taken"),
            "passed" => self.say("该期章程已生效", "another of this number is in force"),
            _ => "–",
        }
    }
    fn place(&self, brand: &DraftBrandView) -> &'static str {
        match brand.place.as_str() {
            "joins" => self.say("加入", "joins"),
            "leaves" => self.say("退出", "leaves"),
            _ => self.say("成员", "member"),
        }
    }
    fn stance(&self, brand: &DraftBrandView) -> &'static str {
        match brand.stance.as_deref() {
            Some("adopted") => self.say("通过", "adopts it"),
            Some("declined") => self.say("不通过", "declines it"),
            _ => "–",
        }
    }
    fn done(&self, done: &DraftDone) -> &'static str {
        match done {
            DraftDone::Kept => {
                self.say("草案已保存，尚未约束任何品牌。", "The draft is kept. It binds nobody yet.")
            }
            DraftDone::SignaturesAdded => {
                self.say("签名已核验并保存。", "The signatures were verified, and are kept.")
            }
            DraftDone::Signed => self.say(
                "已用本品牌治理密钥签名：请下载签名并转交。",
                "Signed with this brand's governance key: download the signatures and hand them on.",
            ),
            DraftDone::Adopted => self.say(
                "本品牌通过该草案，将写入本品牌日志。",
                "This brand adopts the draft; its log is to say so.",
            ),
            DraftDone::Declined => self.say(
                "本品牌不通过该草案，将写入本品牌日志。",
                "This brand declines the draft; its log is to say so.",
            ),
        }
    }
}

/// Topics in the order in which a draft's changes come, with their titles: Chinese, English.
const TITLES: [(&str, &str, &str); 10] = [
    ("brands", "品牌", "Brands"),
    ("keys", "密钥", "Keys"),
    ("rates", "兑换比率与积分价值", "Rates and the value of points"),
    ("limits", "欠款上限", "Credit limits"),
    ("budget", "隐私预算", "Privacy budget"),
    ("contract", "数据合约", "Contract of the clean room"),
    ("notice", "告知与退回时限", "Notice to members, time for returns"),
    ("auditors", "审计方与解密期限", "Auditors, and how long entries can be opened"),
    ("names", "名称、地址与清分", "Names, addresses, clearing"),
    ("ledger", "账本", "Ledger"),
];

fn said(words: &Bilingual, language: Language) -> &str {
    match language {
        Language::Chinese => words.zh.as_str(),
        Language::English => words.en.as_str(),
    }
}

fn groups(draft: &DraftView, language: Language) -> Vec<Group<'_>> {
    let group = |(topic, zh, en): (&str, &'static str, &'static str)| {
        let of_topic = draft.changes.iter().filter(|change| change.topic == topic);
        let lines: Vec<&str> = of_topic.map(|change| said(&change.words, language)).collect();
        let title = match language {
            Language::Chinese => zh,
            Language::English => en,
        };
        (!lines.is_empty()).then_some(Group { title, lines })
    };
    TITLES.into_iter().filter_map(group).collect()
}

/// The page of a draft; none only if rendering fails.
#[must_use]
pub fn draft_page(
    views: &DraftViews,
    language: Language,
    proof: &Authorized<perm::UseAdministrationPage>,
    pages: &[Page],
) -> Option<String> {
    let path = format!("/administration/drafts/{}", views.draft.hash);
    let frame = Frame {
        user: Some(proof.user()),
        path: &path,
        pages: pages.to_vec(),
        ..Frame::new(&views.status, language)
    };
    let groups = groups(&views.draft, language);
    DraftPage { frame, views, groups, language }.render().ok()
}
