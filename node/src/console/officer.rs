//! The compliance officer's page: every log's certified head with its root, evidence and alerts, rule
//! changes under notice, this brand's keys, budget accounts, and how to check all of it without trusting
//! this node. As a page, and as a file that can be printed, signed and filed.

use askama::Template;

use super::partner::brand_name;
use super::text::{self, utc};
use super::{Frame, Language, Page, say};
use crate::auth::{Authorized, perm};
use crate::service::{
    AddedUpView, AgreedVersionView, AuditView, AuditedLogState, AuditedLogView, ConsentCountView,
    ConstitutionView, DisputeView, DraftView, PartnerView, RunningAuditView, SealingKeyView,
    Status,
};

/// Everything that the page is made from.
#[derive(Debug, Default)]
pub struct OfficerViews {
    /// The state of the node.
    pub status: Status,
    /// Every other brand.
    pub partners: Vec<PartnerView>,
    /// Disputes on record.
    pub disputes: Vec<DisputeView>,
    /// Constitutions after the first, and drafts.
    pub constitutions: Vec<ConstitutionView>,
    /// Drafts of the next, and what each changes in words.
    pub drafts: Vec<DraftView>,
    /// This brand's sealing keys.
    pub sealing_keys: Vec<SealingKeyView>,
    /// How far the node's own audit has come.
    pub running_audit: RunningAuditView,
    /// What the last of them found.
    pub own_audit: Option<AuditView>,
    /// A report of an audit that the officer has just brought; it is on this page and nowhere else.
    pub audit: Option<AuditView>,
    /// Why it could not be read.
    pub problem: Option<String>,
    /// How many members have decided what, if that was asked for.
    pub consents: Option<Vec<ConsentCountView>>,
}

macro_rules! reports {
    ($($path:literal $name:ident { $($field:ident: $type:ty)? })*) => {$(
        #[derive(Template)]
        #[template(path = $path)]
        struct $name<'a> {
            frame: Frame<'a>,
            views: &'a OfficerViews,
            now: String,
            language: Language,
            $($field: $type,)?
        }

        impl $name<'_> {
            fn name<'n>(&'n self, brand: &'n str) -> &'n str {
                brand_name(&self.views.status, brand, self.language)
            }
            fn time(&self, milliseconds: &u64) -> String {
                utc(*milliseconds).unwrap_or_else(|| "–".to_owned())
            }
            fn effect(&self, milliseconds: &Option<u64>) -> String {
                milliseconds.and_then(utc).unwrap_or_else(|| "–".to_owned())
            }
            /// How long something took or has lasted.
            fn lasted(&self, milliseconds: &Option<u64>) -> String {
                match *milliseconds {
                    None => "–".to_owned(),
                    Some(it @ ..=9_999) => format!("{it} ms"),
                    Some(it @ ..=119_999) => format!("{} s", it / 1_000),
                    Some(it @ ..=7_199_999) => format!("{} min", it / 60_000),
                    Some(it) => format!("{} h", it / 3_600_000),
                }
            }
            /// Joint answers that an audit added up again, of all, and what of the openings does not read.
            fn added_up(&self, openings: &AddedUpView) -> String {
                let (added, all) = (text::grouped(openings.added_up), text::grouped(openings.answers));
                let mut words = format!("{added} / {all}");
                if openings.not_added_up() > 0 {
                    words += self.say(
                        "（其余答案本节点没有全部公开值，未核验）",
                        " (of the others not all openings are here: not checked)",
                    );
                }
                if openings.unreadable > 0 {
                    let files = text::grouped(openings.unreadable);
                    words += &match self.language {
                        Language::Chinese => format!("；{files} 个公开值文件已损坏"),
                        Language::English => format!("; {files} damaged files of openings"),
                    };
                }
                words
            }
            /// The rule by which a block was refused.
            fn refused(&self, rule: &Option<u16>) -> String {
                match *rule {
                    None => "–".to_owned(),
                    Some(0) => self.say("轮次过低", "the round was too low").to_owned(),
                    Some(rule) => format!("{} {rule}", self.say("规则", "rule")),
                }
            }
        }

        say!($name, words);
    )*};
}

reports! {
    "officer.html" OfficerPage {}
    "report.html" ReportFile { style: &'static str }
}

impl OfficerPage<'_> {
    fn stands(&self, log: &AuditedLogView) -> &'static str {
        match log.state {
            AuditedLogState::Same => {
                self.say("与本节点所见一致", "the block that this node has seen certified")
            }
            AuditedLogState::Differs => {
                self.say("与本节点所见不同", "another block than this node has seen certified")
            }
            AuditedLogState::Ahead => {
                self.say("本节点尚未到达该区块", "this node has not come so far")
            }
            AuditedLogState::NotKept => self.say(
                "本节点已无该区块，无法比较",
                "this node has that block no more: not compared",
            ),
            AuditedLogState::Missing => self.say("报告中没有此日志", "not in the report"),
            AuditedLogState::Stranger => self.say("本联盟没有此日志", "no log of this alliance"),
        }
    }
    /// How long the node's own audit took.
    fn took(&self) -> String {
        self.lasted(&Some(self.views.running_audit.took_ms))
    }
    const fn mark(&self, log: &AuditedLogView) -> &'static str {
        match log.state {
            AuditedLogState::Same => "good",
            AuditedLogState::Differs | AuditedLogState::Stranger => "bad",
            AuditedLogState::Ahead | AuditedLogState::NotKept | AuditedLogState::Missing => "idle",
        }
    }
    /// To which versions of the notice members agreed, and from when to when.
    fn agreed(&self, count: &ConsentCountView) -> Vec<String> {
        let line = |it: &AgreedVersionView| {
            let (first, last) = (text::china_day(it.first_ms), text::china_day(it.last_ms));
            let days = if first == last { first } else { format!("{first} – {last}") };
            let (version, members) = (it.notice_version, text::grouped(it.members));
            match self.language {
                Language::Chinese => format!("第 {version} 版：{members}（{days}）"),
                Language::English => format!("version {version}: {members} ({days})"),
            }
        };
        count.versions.iter().map(line).collect()
    }
    /// A use of members' data.
    fn used(&self, count: &ConsentCountView) -> String {
        if let Some(receiver) = &count.receiver {
            let brand = self.name(receiver);
            return match self.language {
                Language::Chinese => format!("兑换时向「{brand}」提供信息"),
                Language::English => format!("exchanges: data to {brand}"),
            };
        }
        let (zh, en) = match count.purpose.as_str() {
            "programme" => ("参加积分计划", "points programme"),
            "exchange" => ("与其他品牌兑换积分", "exchanges with other brands"),
            "joint_analytics" => ("多品牌加噪统计", "noised statistics of several brands"),
            _ => ("接收优惠信息", "offers"),
        };
        self.say(zh, en).to_owned()
    }
    fn place(&self, number: &Option<u64>) -> String {
        number.map_or_else(|| "–".to_owned(), text::grouped)
    }
    /// Why something could not be checked.
    fn reason<'w>(&self, reason: &'w str) -> &'w str {
        match reason {
            "sealed_without_key" => self.say(
                "密封条目：没有审计方密钥，内容无法核验",
                "sealed entries: what they say is not checkable without the auditor's key",
            ),
            "judged_by_missing" => self.say(
                "依据的内容缺失或被改动的区块",
                "blocks judged by something that is altered or missing",
            ),
            "totals_unknown" => self.say(
                "前一区块未能打开，累计值无从接续的列",
                "columns whose totals continue from a block that did not open",
            ),
            "other_leg_unopened" => self
                .say("未能打开对应兑换的退回", "returns of an exchange that could not be opened"),
            "file_not_of_log" => self.say(
                "超出已认证范围或不属于任何日志的文件",
                "files beyond the last certified size, or of no log",
            ),
            "dispute_without_evidence" => self.say(
                "只有持有区块密钥者才能判定的争议",
                "disputes that only who holds the block's secret can decide",
            ),
            "not_in_checkpoint" => self.say(
                "检查点之后的区块",
                "blocks after the checkpoint's, and what they refer to beyond the copy",
            ),
            "archived" => self.say(
                "保存期满后归档的条目：只核验了散列",
                "entries that were archived after their retention: only their hashes are checked",
            ),
            "deleted" => self.say(
                "保存期满、密钥已销毁的密封条目",
                "sealed entries older than the retention, whose keys were destroyed",
            ),
            other => other,
        }
    }
}

/// The officer's page; none only if rendering fails.
#[must_use]
pub fn officer_page(
    views: &OfficerViews,
    language: Language,
    proof: &Authorized<perm::SeeOfficerPage>,
    pages: &[Page],
) -> Option<String> {
    let frame = Frame {
        user: Some(proof.user()),
        path: "/officer",
        pages: pages.to_vec(),
        ..Frame::new(&views.status, language)
    };
    let now = utc(views.status.now_ms).unwrap_or_default();
    OfficerPage { frame, views, now, language }.render().ok()
}

/// The report as a file that stands by itself, to be signed and filed: without scripts, and asking nobody for anything.
/// None only if rendering fails.
#[must_use]
pub fn report_file(
    views: &OfficerViews,
    language: Language,
    _: &Authorized<perm::SeeOfficerPage>,
) -> Option<String> {
    let frame = Frame::new(&views.status, language);
    let now = utc(views.status.now_ms).unwrap_or_default();
    ReportFile { frame, views, now, language, style: super::STYLE_SHEET }.render().ok()
}
