//! Refusals as people read them, in both languages.

use super::Refusal;
use crate::accounts::MoveError;
use crate::coupons::CouponError;
use crate::rules::{RuleChangeError, Words};

/// Fen in yuan.
fn yuan(fen: u64) -> String {
    let whole = fen.checked_div(100).unwrap_or_default();
    format!("{whole}.{:02}", fen.checked_rem(100).unwrap_or_default())
}

/// A thing that a refusal names, in Chinese.
fn thing(what: &str) -> &str {
    match what {
        "segment" => "人群",
        "segment of the rules" => "规则中的人群",
        "kept segment" | "segments" => "自建人群",
        "campaign" | "campaigns" => "活动",
        "open campaigns" => "未结束的活动",
        "test of the rules" => "规则中的试验",
        "activity" => "行为",
        "coupon" => "优惠券",
        "reward" => "礼品",
        "case" => "复核事项",
        "request" => "服务请求",
        "correction" => "更正",
        other => other,
    }
}

fn of_change(error: &RuleChangeError) -> String {
    match error {
        RuleChangeError::Version { in_force, found } => {
            format!("version 须高于现行版本 {in_force}（所给为 {found}）")
        }
        RuleChangeError::Zone { in_force, found } => {
            format!("zone_offset_minutes 须与现行规则相同：{in_force}（所给为 {found}）")
        }
        RuleChangeError::Notice { days, by, touches, .. } => {
            let by = by.words().0;
            format!("按{by}须提前 {days} 天告知会员；影响会员的条款：{touches}")
        }
        RuleChangeError::Pending { version } => {
            format!("第 {version} 版已公告、尚未生效：请先撤回或等待")
        }
    }
}

fn of_coupon(error: &CouponError) -> String {
    match error {
        CouponError::Unknown => "没有此券码，请再核对".to_owned(),
        CouponError::Redeemed { .. } => "此优惠券已使用".to_owned(),
        CouponError::Expired { .. } => "此优惠券已过期".to_owned(),
        CouponError::Basket { minimum, found } => {
            format!("本单须满 {} 元（现为 {} 元）", yuan(*minimum), yuan(*found))
        }
    }
}

impl Refusal {
    /// What is wrong, in both languages.
    #[must_use]
    pub fn words(&self) -> Words {
        Words { zh: self.chinese(), en: self.to_string() }
    }

    fn chinese(&self) -> String {
        match self {
            Self::NoRules => "积分计划还没有规则".to_owned(),
            Self::Rules(wrong) => format!("规则有误：{}", wrong.zh),
            Self::Change(error) => of_change(error),
            Self::NothingAnnounced => "没有公告中的规则".to_owned(),
            Self::Stopped => "账户已停用，待复核".to_owned(),
            Self::HeldForReview { case } => {
                format!("待复核：复核事项 {case} 结案前，账户的积分与优惠券不能使用")
            }
            Self::Points(MoveError::TooFew { available, wanted }) => {
                format!("会员可用 {available} 积分，少于 {wanted}")
            }
            Self::Points(MoveError::Range) => "余额将超出范围".to_owned(),
            Self::Threshold { minimum, step, found } => {
                format!("积分从 {minimum} 起用，须为 {step} 的整数倍（现为 {found}）")
            }
            Self::BasketShare { worth, basket, most } => {
                let (worth, basket, most) = (yuan(*worth), yuan(*basket), yuan(*most));
                format!("本单 {basket} 元最多用积分抵 {most} 元（现为 {worth} 元）")
            }
            Self::KeyTaken => "此编号已用于其他操作".to_owned(),
            Self::Unknown { what, name } => format!("没有名为「{name}」的{}", thing(what)),
            Self::NotClaimable => "此优惠券不能领取，由规则发放".to_owned(),
            Self::Exhausted { name, most } => format!("「{name}」已发完：最多 {most}"),
            Self::EnoughForOne { name, most } => format!("每名会员最多 {most} 份「{name}」"),
            Self::Coupon(error) => of_coupon(error),
            Self::NotHeld => "没有这样的预留，或已不再预留".to_owned(),
            Self::StockTaken { name, taken } => {
                format!("「{name}」的库存不能少于已预留和已发放的 {taken} 件")
            }
            Self::NotOpen { what, number } => format!("{} {number} 不在待办中", thing(what)),
            Self::Text { most, found } => format!("文字为 1 至 {most} 字（现为 {found} 字）"),
            Self::NotPaid => "该会员没有这一笔积分支付".to_owned(),
            Self::OwnAdjustment => "更正不能由录入人自己决定，须由另一人决定".to_owned(),
            Self::NothingToAdjust => "更正至少 1 积分".to_owned(),
            Self::OpeningTaken => "会员已带入期初余额，且内容不同".to_owned(),
            Self::OpeningWaits => "会员另有一笔期初余额待另一人确认".to_owned(),
            Self::OpeningNotEntered => "没有待确认的期初余额：须先由积分计划负责人录入".to_owned(),
            Self::OpeningEmpty => "期初余额须有积分或等级积分".to_owned(),
            Self::OpeningLots { most } => format!("期初余额最多 {most} 个批次"),
            Self::OpeningExpired { last_day } => format!("积分已于 {last_day} 到期"),
            Self::Terms(wrong) => format!("{}：{}", wrong.field, wrong.problem.zh),
            Self::NameTaken { what, name } => format!("已有名为「{name}」的{}", thing(what)),
            Self::TooMany { what, most } => format!("{}已达 {most} 个的上限", thing(what)),
            Self::ReasonMissing => "停用账户须写明理由".to_owned(),
            Self::Joined => "会员已入会".to_owned(),
            Self::Today => "今天的积分已经给过".to_owned(),
            Self::OwnReferrer => "不能推荐自己".to_owned(),
            Self::Broken(_) => "节点内部错误".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaigns::ranged;
    use crate::rules::NoticeBy;

    fn says_the_same(refusal: Refusal, figures: &[&str]) {
        let Words { zh, en } = refusal.words();
        assert!(!zh.is_ascii() && en.is_ascii(), "{zh} / {en}");
        for figure in figures {
            assert!(zh.contains(figure) && en.contains(figure), "{zh} / {en}: {figure}");
        }
    }

    #[test]
    fn a_refusal_says_the_same_in_both_languages_with_its_figures() {
        let name = || "spring".to_owned();
        says_the_same(Refusal::NoRules, &[]);
        says_the_same(Refusal::Stopped, &[]);
        let rules =
            crate::rules::Rules::from_toml("format = \"coalition programme 1\"\nversion = -7");
        says_the_same(rules.unwrap_err().into(), &["2", "version", "1000000", "-7"]);
        says_the_same(Refusal::HeldForReview { case: 78 }, &["78"]);
        says_the_same(MoveError::TooFew { available: 41, wanted: 97 }.into(), &["41", "97"]);
        let threshold = Refusal::Threshold { minimum: 500, step: 50, found: 70 };
        says_the_same(threshold, &["500", "50", "70"]);
        says_the_same(Refusal::Unknown { what: "campaign", name: name() }, &["spring"]);
        says_the_same(Refusal::Exhausted { name: name(), most: 33 }, &["spring", "33"]);
        says_the_same(Refusal::NotOpen { what: "case", number: 12 }, &["12"]);
        says_the_same(Refusal::Text { most: 500, found: 612 }, &["500", "612"]);
        says_the_same(ranged("share", 10_000, 0).into(), &["share", "10000", "0"]);
        says_the_same(Refusal::OpeningTaken, &[]);
        says_the_same(Refusal::OpeningWaits, &[]);
        says_the_same(Refusal::OpeningNotEntered, &[]);
        says_the_same(Refusal::OpeningEmpty, &[]);
        says_the_same(Refusal::OpeningLots { most: 64 }, &["64"]);
        let last_day = crate::calendar::Day::new(20_785).date();
        says_the_same(Refusal::OpeningExpired { last_day }, &["2026-11-28"]);
        says_the_same(Refusal::NameTaken { what: "campaign", name: name() }, &["spring"]);
        says_the_same(Refusal::TooMany { what: "campaigns", most: 1_000 }, &["1000"]);
        says_the_same(RuleChangeError::Pending { version: 7 }.into(), &["7"]);
        for by in [NoticeBy::Rules, NoticeBy::Constitution] {
            let touches = "expiry".to_owned();
            let early =
                RuleChangeError::Notice { days: 45, by, earliest_ms: 9, found_ms: 8, touches };
            let words = Refusal::from(early.clone()).words();
            assert!(words.zh.contains(by.words().0) && words.en.contains(by.words().1));
            says_the_same(early.into(), &["45", "expiry"]);
        }
        // money as people write it
        let found = Refusal::from(CouponError::Basket { minimum: 5_000, found: 4_905 }).words().zh;
        assert_eq!(found, "本单须满 50.00 元（现为 49.05 元）");
    }
}
