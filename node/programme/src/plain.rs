//! The rules in plain words, Chinese and English, for members and for staff.
//!
//! Every rule is one [`Statement`] under a key that stays the same when its numbers change, so that
//! two versions can be compared sentence by sentence.

use std::collections::BTreeMap;

use protocol::amount::Rate;

use crate::ids::{Fen, Name};
use crate::marketing::is_marketing;
use crate::rules::{CouponKind, Gift, Reward, RuleChange, Rules, Tier, TierBasis, When, Words};

/// Whom a statement concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concern {
    /// Members rely on it: any change is announced.
    Terms,
    /// Something offered: it may be added at once, but is not changed or ended without notice.
    Offer,
    /// The brand's own business, not shown to members.
    Internal,
}

/// One rule in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// What it is about: `earning`, `tier/gold`, `coupon/birthday`.
    pub key: String,
    /// Whom it concerns.
    pub concern: Concern,
    /// The words.
    pub words: Words,
}

struct Statements(Vec<Statement>);

impl Statements {
    fn say(&mut self, key: &str, concern: Concern, zh: String, en: String) {
        self.0.push(Statement { key: key.to_owned(), concern, words: Words { zh, en } });
    }
    fn terms(&mut self, key: &str, zh: String, en: String) {
        self.say(key, Concern::Terms, zh, en);
    }
}

/// `5` days, or `1` day.
fn counted(number: u64, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

fn per_yuan(rate: Rate) -> (String, String) {
    let (points, yuan) = (rate.numerator(), rate.denominator());
    let english = if yuan == 1 {
        format!("{} for each yuan", counted(points.into(), "point"))
    } else {
        format!("{} for every {yuan} yuan", counted(points.into(), "point"))
    };
    (format!("每消费 {yuan} 元得 {points} 积分"), english)
}

/// A factor as people write it: 110 %, or 7/3 when that has no whole percentage.
fn factor(rate: Rate) -> String {
    let above = u64::from(rate.numerator()).saturating_mul(100);
    let below = u64::from(rate.denominator());
    match (above.checked_rem(below), above.checked_div(below)) {
        (Some(0), Some(percent)) => format!("{percent}%"),
        _ => format!("{}/{}", rate.numerator(), rate.denominator()),
    }
}

/// All rules in words, in the order in which members read them.
#[must_use]
pub fn statements(rules: &Rules) -> Vec<Statement> {
    let mut all = Statements(Vec::new());
    earning(rules, &mut all);
    activities(rules, &mut all);
    tiers(rules, &mut all);
    spending(rules, &mut all);
    for (name, kind) in &rules.coupons {
        coupon(name.as_str(), kind, &mut all);
    }
    for (name, reward) in &rules.rewards {
        reward_words(name.as_str(), reward, &mut all);
    }
    all.terms(
        "changes",
        format!(
            "影响会员的规则变更至少提前 {} 天公告，联盟章程规定更长的从其规定；公告期内旧规则继续有效。",
            rules.change_notice_days
        ),
        format!(
            "A change of these rules that affects members is announced at least {} before it takes effect, and no later than the alliance's constitution says; until then the rules stay as they are.",
            counted(rules.change_notice_days.into(), "day")
        ),
    );
    internal(rules, &mut all);
    all.0
}

fn earning(rules: &Rules, all: &mut Statements) {
    let earning = &rules.earning;
    let (zh, en) = per_yuan(earning.points_per_yuan);
    let other = !earning.channels.is_empty();
    all.terms(
        "earning",
        format!("{}{zh}，按整单计算，不足 1 分舍去。", if other { "其他渠道" } else { "" }),
        format!(
            "{}Purchases earn {en}, counted for the whole basket and rounded down to whole points.",
            if other { "Other channels: " } else { "" }
        ),
    );
    for (channel, rate) in &earning.channels {
        let (zh, en) = per_yuan(*rate);
        let (zh_name, en_name) = channel_words(channel.as_str());
        all.terms(
            &format!("earning/channel/{channel}"),
            format!("{zh_name}：{zh}。"),
            format!("{en_name}: {en}."),
        );
    }
    for (category, rate) in &earning.categories {
        all.terms(
            &format!("earning/category/{category}"),
            format!("品类 {category}：积分按 {} 计算。", factor(*rate)),
            format!("Category {category}: {} of the usual points.", factor(*rate)),
        );
    }
    let mut departments: BTreeMap<&Name, Vec<&str>> = BTreeMap::new();
    for (department, category) in &earning.departments {
        departments.entry(category).or_default().push(department);
    }
    for (category, departments) in departments {
        // what has no factor of its own is for segments alone
        let earns = earning.categories.contains_key(category);
        let concern = if earns { Concern::Terms } else { Concern::Internal };
        all.say(
            &format!("earning/department/{category}"),
            concern,
            format!("品类 {category} 包括：{}。", departments.join("、")),
            format!("Category {category} is: {}.", departments.join(", ")),
        );
    }
    if earning.birthday != Rate::ONE {
        all.terms(
            "earning/birthday",
            format!("生日当天消费，积分按 {} 计算。", factor(earning.birthday)),
            format!(
                "Purchases on your birthday earn {} of the usual points.",
                factor(earning.birthday)
            ),
        );
    }
    if earning.minimum_basket > Fen::ZERO {
        all.terms(
            "earning/minimum",
            format!("单笔不足 {} 元不积分。", earning.minimum_basket),
            format!("Baskets below {} yuan earn nothing.", earning.minimum_basket),
        );
    }
    let most = earning.most_per_basket.get();
    all.terms(
        "earning/most",
        format!("单笔最多得 {most} 积分。"),
        format!("One basket earns at most {}.", counted(most, "point")),
    );
    all.terms(
        "earning/refund",
        "退货时收回该笔所得积分；若积分已用出，账户显示负数，由以后所得补足。".to_owned(),
        "Points earned by what you return are taken back; if they are spent already, your balance shows below zero and what you earn next fills it.".to_owned(),
    );
}

fn channel_words(channel: &str) -> (String, String) {
    match channel {
        "offline" => ("门店".to_owned(), "In the shops".to_owned()),
        "online" => ("线上".to_owned(), "Online".to_owned()),
        "app" => ("App".to_owned(), "In the app".to_owned()),
        "mini_program" => ("小程序".to_owned(), "In the mini-program".to_owned()),
        "ecommerce" => ("电商平台".to_owned(), "At e-commerce platforms".to_owned()),
        other => (format!("渠道 {other}"), format!("Channel {other}")),
    }
}

fn activities(rules: &Rules, all: &mut Statements) {
    let earning = &rules.earning;
    if let Some(sign_in) = &earning.sign_in {
        let days: Vec<String> =
            sign_in.points.iter().map(|points| points.get().to_string()).collect();
        let days = days.join(", ");
        let (bonus, bonus_days) = (sign_in.bonus.get(), sign_in.bonus_days);
        let (mut zh, mut en) = (
            format!("每日签到：连续第 1 天起依次得 {days} 积分，之后每天同最后一天。"),
            format!(
                "Daily sign-in: {days} points by the day of your streak, then as on the last of these."
            ),
        );
        if bonus > 0 {
            zh.push_str(&format!("每连续签到 {bonus_days} 天另得 {bonus} 积分。"));
            en.push_str(&format!(
                " Each {bonus_days} days running give {} more.",
                counted(bonus, "point")
            ));
        }
        all.terms("earning/sign_in", zh, en);
    }
    if let Some(referral) = &earning.referral {
        let (points, most) = (referral.points.get(), referral.most);
        all.terms(
            "earning/referral",
            format!("推荐新会员：对方首次消费后得 {points} 积分，最多 {most} 人。"),
            format!(
                "Bringing a new member gives {} at that member's first purchase, for at most {most} members.",
                counted(points, "point")
            ),
        );
    }
    for (name, points) in &earning.activity {
        let points = points.get();
        all.terms(
            &format!("earning/activity/{name}"),
            format!("活动 {name}：每天一次，得 {points} 积分。"),
            format!("Activity {name}: {}, once a day.", counted(points, "point")),
        );
    }
}

fn tiers(rules: &Rules, all: &mut Statements) {
    for tier in &rules.tiers.list {
        let Tier { words, factor: rate, .. } = tier;
        let (mut zh, mut en) = match rules.tiers.basis {
            TierBasis::Points => (
                format!("{}：累计获得 {} 积分。", words.zh, tier.from_points.get()),
                format!(
                    "{}: from {} collected in all.",
                    words.en,
                    counted(tier.from_points.get(), "point")
                ),
            ),
            TierBasis::Rfm { months } => (
                format!(
                    "{}：近 {months} 个月消费至少 {} 次、满 {} 元，且最近一次在 {} 天内。",
                    words.zh, tier.purchases, tier.spent, tier.within_days
                ),
                format!(
                    "{}: at least {} and {} yuan in the last {}, the latest within {}.",
                    words.en,
                    counted(tier.purchases.into(), "purchase"),
                    tier.spent,
                    counted(months.into(), "month"),
                    counted(tier.within_days.into(), "day")
                ),
            ),
        };
        if *rate != Rate::ONE {
            zh.push_str(&format!("消费积分按 {} 计算。", factor(*rate)));
            en.push_str(&format!(" Purchases earn {} of the usual points.", factor(*rate)));
        }
        for benefit in &tier.benefits {
            zh.push_str(&format!("{}。", benefit.zh));
            en.push_str(&format!(" {}.", benefit.en));
        }
        all.terms(&format!("tier/{}", tier.name), zh, en);
    }
}

fn spending(rules: &Rules, all: &mut Statements) {
    let spending = &rules.spending;
    let (fen, points) = (spending.fen_per_point.numerator(), spending.fen_per_point.denominator());
    let worth = Fen::new(fen.into()).unwrap_or_default();
    let (minimum, step) = (spending.minimum.get(), spending.step.get());
    let (mut zh, mut en) = (
        format!("积分抵现：每 {points} 积分抵 {worth} 元，{minimum} 积分起用。"),
        format!(
            "Points pay at the till: {} for {worth} yuan, from {minimum} on.",
            counted(points.into(), "point")
        ),
    );
    if step > 1 {
        zh.push_str(&format!("须为 {step} 的整数倍。"));
        en.push_str(&format!(" In steps of {step}."));
    }
    if spending.most_of_basket != Rate::ONE {
        zh.push_str(&format!("最多抵单笔的 {}。", factor(spending.most_of_basket)));
        en.push_str(&format!(" They pay at most {} of a basket.", factor(spending.most_of_basket)));
    }
    zh.push_str("先到期的积分先用。");
    en.push_str(" Points that expire first are spent first.");
    all.terms("spending", zh, en);
    match rules.expiry.valid_days {
        Some(days) => all.terms(
            "expiry",
            format!("积分自获得之日起 {days} 天有效，到期前 {} 天提醒。", rules.expiry.notice_days),
            format!(
                "Points are valid for {} after the day you earn them; you are told {} before they expire.",
                counted(days.into(), "day"),
                counted(rules.expiry.notice_days.into(), "day")
            ),
        ),
        None => all.terms(
            "expiry",
            "积分长期有效。".to_owned(),
            "Points do not expire.".to_owned(),
        ),
    }
    all.terms(
        "exchange",
        "积分可按联盟章程公布的比率兑换为其他品牌的积分；比率变更须经联盟法定数的品牌采纳并提前公告。".to_owned(),
        "Points exchange for points of the other brands at the rates of the alliance's constitution; a change of rates has to be adopted by a quorum of the brands and is announced in advance.".to_owned(),
    );
}

fn coupon(name: &str, kind: &CouponKind, all: &mut Statements) {
    let (mut zh, mut en) = (
        format!("优惠券「{}」：抵 {} 元", kind.words.zh, kind.worth),
        format!("Coupon \"{}\": {} yuan off", kind.words.en, kind.worth),
    );
    if kind.minimum_basket > Fen::ZERO {
        zh.push_str(&format!("，满 {} 元可用", kind.minimum_basket));
        en.push_str(&format!(" a basket of {} yuan or more", kind.minimum_basket));
    }
    zh.push_str(&format!("，自领取之日起 {} 天内有效，限用一次", kind.valid_days));
    let days = match kind.valid_days {
        0 => "to the end of the day it is given".to_owned(),
        days => format!("for {} after the day it is given", counted(days.into(), "day")),
    };
    en.push_str(&format!(", valid {days}, to be used once"));
    if kind.claimable {
        let points = kind.price.get();
        if points > 0 {
            zh.push_str(&format!("，{points} 积分兑换"));
            en.push_str(&format!(", for {}", counted(points, "point")));
        } else {
            zh.push_str("，免费领取");
            en.push_str(", free to claim");
        }
    }
    if kind.most_per_member < u32::MAX {
        zh.push_str(&format!("，每人限 {} 张", kind.most_per_member));
        en.push_str(&format!(", at most {} a member", kind.most_per_member));
    }
    all.say(&format!("coupon/{name}"), Concern::Offer, format!("{zh}。"), format!("{en}."));
}

fn reward_words(name: &str, reward: &Reward, all: &mut Statements) {
    let points = reward.price.get();
    let (mut zh, mut en) = (
        format!("礼品「{}」：{points} 积分", reward.words.zh),
        format!("Reward \"{}\": {}", reward.words.en, counted(points, "point")),
    );
    if let Some(partner) = &reward.partner {
        zh.push_str(&format!("，由{}提供", partner.zh));
        en.push_str(&format!(", given by {}", partner.en));
    }
    zh.push_str(&format!("，预留 {} 分钟，数量有限", reward.hold_minutes));
    en.push_str(&format!(
        ", set aside for {}, while stock lasts",
        counted(reward.hold_minutes.into(), "minute")
    ));
    if reward.most_per_member < u32::MAX {
        zh.push_str(&format!("，每人限 {} 件", reward.most_per_member));
        en.push_str(&format!(", at most {} a member", reward.most_per_member));
    }
    all.say(&format!("reward/{name}"), Concern::Offer, format!("{zh}。"), format!("{en}."));
}

fn gift_words(gift: Option<&Gift>) -> (String, String) {
    match gift {
        Some(Gift::Coupon(name)) => (format!("优惠券 {name}"), format!("coupon {name}")),
        Some(Gift::Points(points)) => {
            (format!("{} 积分", points.get()), counted(points.get(), "point"))
        }
        Some(Gift::Experiment(name)) => (format!("实验 {name}"), format!("as test {name} assigns")),
        None => ("无".to_owned(), "nothing".to_owned()),
    }
}

fn internal(rules: &Rules, all: &mut Statements) {
    for (name, segment) in &rules.segments {
        let conditions = format!(
            "tier rank {:?}, quiet days {:?}, spent {:?}, category {:?}, channel {:?}, hours {:?}, lifecycle {:?}",
            segment.tier_at_least,
            segment.quiet_days,
            segment.spent_at_least.map(Fen::get),
            segment.category.as_ref().map(ToString::to_string),
            segment.channel.as_ref().map(ToString::to_string),
            segment.hours,
            segment.lifecycle,
        );
        all.say(
            &format!("segment/{name}"),
            Concern::Internal,
            format!("人群「{}」：{conditions}", segment.words.zh),
            format!("Segment \"{}\": {conditions}", segment.words.en),
        );
    }
    for (name, trigger) in &rules.triggers {
        let (zh_when, en_when) = match trigger.when {
            When::Segment => ("进入人群", "comes into the segment"),
            When::Joined => ("入会", "joins"),
            When::Birthday => ("生日", "has a birthday"),
            When::Purchase => ("消费", "buys"),
            When::TierReached => ("升级", "reaches a tier"),
        };
        let among = trigger.segment.as_ref().map(|it| format!(" ({it})")).unwrap_or_default();
        let (zh_gift, en_gift) = gift_words(Some(&trigger.gift));
        let days = trigger.again_after_days;
        let (zh_only, en_only) = if is_marketing(trigger) {
            ("仅限同意营销的会员，", " to who consents to marketing")
        } else {
            ("", "")
        };
        all.say(
            &format!("trigger/{name}"),
            Concern::Internal,
            format!("会员{zh_when}{among}时送{zh_gift}，{zh_only}{days} 天内一次。"),
            format!(
                "When a member {en_when}{among}: {en_gift}{en_only}, once in {}.",
                counted(days.into(), "day")
            ),
        );
    }
    for (name, experiment) in &rules.experiments {
        let groups: Vec<String> = experiment
            .groups
            .iter()
            .map(|group| {
                format!("{} {}: {}", group.name, group.share, gift_words(group.gift.as_ref()).1)
            })
            .collect();
        let groups = groups.join("; ");
        all.say(
            &format!("experiment/{name}"),
            Concern::Internal,
            format!("测试「{}」：{groups}", experiment.words.zh),
            format!("Test \"{}\": {groups}", experiment.words.en),
        );
    }
    let fraud = &rules.fraud;
    all.say(
        "fraud",
        Concern::Internal,
        format!(
            "{} 小时内复核。同一设备超过 {} 个账户：{}；同一地址 {} 分钟内超过 {} 个账户：{}；{} 分钟内超过 {} 件虚拟礼品：{}；一天获得超过 {} 积分：{}。",
            fraud.review_hours,
            fraud.accounts_per_device,
            fraud.device_action.words().0,
            fraud.address_minutes,
            fraud.accounts_per_address,
            fraud.address_action.words().0,
            fraud.virtual_minutes,
            fraud.virtual_rewards,
            fraud.virtual_action.words().0,
            fraud.points_per_day.get(),
            fraud.growth_action.words().0,
        ),
        format!(
            "Reviewed within {}: more than {} accounts on a device ({}); more than {} from an address in {} ({}); more than {} virtual rewards in {} ({}); more than {} in a day ({}).",
            counted(fraud.review_hours.into(), "hour"),
            fraud.accounts_per_device,
            fraud.device_action.words().1,
            fraud.accounts_per_address,
            counted(fraud.address_minutes.into(), "minute"),
            fraud.address_action.words().1,
            fraud.virtual_rewards,
            counted(fraud.virtual_minutes.into(), "minute"),
            fraud.virtual_action.words().1,
            counted(fraud.points_per_day.get(), "point"),
            fraud.growth_action.words().1,
        ),
    );
    let alone = rules.alone_points_a_day.get();
    all.say(
        "adjustments",
        Concern::Internal,
        format!("员工每人每天可单独更正合计 {alone} 积分；超过须由另一人同意。"),
        format!(
            "One person of the staff corrects {} a day alone, given and taken together; what goes beyond waits for another person's consent.",
            counted(alone, "point")
        ),
    );
}

/// What members read of a change to come: one paragraph, then one a difference.
#[must_use]
pub fn notice(rules: &Rules, change: &RuleChange) -> Vec<Words> {
    let effective = rules.zone.day(change.effective).date();
    let announced = rules.zone.day(change.announced).date();
    let mut all = vec![Words {
        zh: format!(
            "「{}」规则将于 {effective} 变更（{announced} 公告）。此前旧规则继续有效。",
            rules.title.zh
        ),
        en: format!(
            "The rules of \"{}\" change on {effective} (announced on {announced}). Until then they stay as they are.",
            rules.title.en
        ),
    }];
    let shown = change.differences.iter().filter(|it| it.concern != Concern::Internal);
    all.extend(shown.map(|difference| difference.words()));
    all
}
