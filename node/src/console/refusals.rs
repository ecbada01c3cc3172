//! Refusals in the language of the page.
//!
//! What names figures, fields or things is in Chinese where it is made ([`Chinese`], or words that have both
//! languages); what a code says by itself to staff is in a table here. Of every other code the list of the API's codes
//! says in Chinese what it means and what to do, so that no refusal is read in English alone.

use super::Language;
use super::language::halves;
use crate::service::Chinese;

/// What the list of codes says of one in Chinese: what it means, and what to do.
pub type Listed = (&'static str, &'static str);

/// What a code says by itself: what is wrong, and what to do.
fn known(code: &str) -> Option<(&'static str, &'static str)> {
    Some(match code {
        "number_malformed" => ("不是整数", "只写数字"),
        "amount_malformed" => ("金额格式不正确", "例如 128.50"),
        "points_range" | "points_out_of_range" | "amount_range" => ("数值超出范围", "改为较小的数"),
        "member_unknown" => ("没有这样的会员", "核对号码；已删除的会员不能再查到"),
        "card_malformed" => ("卡号格式不正确", "按卡面所印填写"),
        "balance_too_low" => ("积分不足", "不超过可用积分"),
        "brand_unknown" => ("没有这个品牌", "从列表中选择"),
        "brand_ended" => ("该品牌的日志已终止", "不能再向其发送；其他品牌仍可兑换"),
        "credit_limit" => ("已达到与该品牌的授信限额", "清算付款后再试；积分没有变动"),
        "exchange_unknown" => ("该会员没有这笔兑换", "查看列表"),
        "guardian_unknown" | "purpose_unknown" | "request_kind" => {
            ("没有这样的选项", "从列表中选择")
        }
        "link_code_malformed" => {
            ("这不是关联码", "关联码为十位字母和数字；请会员在对方品牌重新领取")
        }
        "log_disputed" => ("对方品牌对本品牌的日志有争议，暂不入账", "由双方先解决争议"),
        "no_price" => ("按联盟章程的比率，这一数量不能兑换", "换一个数量或品牌"),
        "not_linked" => ("会员未关联该品牌的账户", "先用对方品牌的关联码关联"),
        "not_so_much_left" => ("可退回的积分没有这么多", "不超过剩余的数量"),
        "notice_changed" => ("个人信息告知书已更新", "请重新阅读后再录入"),
        "queue_full" => ("等待入块的兑换过多", "稍后再试"),
        "key_service" => ("密钥服务没有响应，什么都没有改动", "待密钥服务恢复后再试，并告知管理员"),
        "rate_changed" => ("兑换比率刚刚变更", "重新打开本页后再试"),
        "return_too_late" => ("已过可退回的期限", "该笔兑换不再退回"),
        "too_few_points" => ("积分太少", "一次退回更多"),
        "coupon_code_malformed" => ("券码格式不正确", "按券上所示重新输入"),
        "identifier_kind" => ("没有这种标识", "从列表中选择"),
        "identifier_card" => ("卡号不在其他标识之列", "填在卡号一栏"),
        "identifier_twice" => ("同一种标识给了两个", "每种只给一个"),
        "identifiers_too_many" => ("标识过多", "其余的在会员档案中录入"),
        "purchase_nobodys" => ("看不出是谁的消费", "给出卡号、手机号或账号"),
        "enrolment_nobodys" => ("看不出登记的是谁", "填写卡号，或填写手机号"),
        "card_taken" => ("该卡属于另一会员", "按卡号查会员，并为此人另发一张卡"),
        "card_invalid" => ("卡号格式不正确", "按卡面所印填写"),
        "notice_version" => ("告知书版本不是数字", "填写告知书上的版本号"),
        "consent_missing" => ("会员尚未同意这一用途", "先录入会员的同意"),
        "guardian_needed" => ("会员未满 14 周岁，须由监护人同意", "录入监护人的同意"),
        "account_stopped" => ("账户已停用，待复核", "复核后再办理"),
        "held_for_review" => ("账户待复核，结案前不能支出", "复核后再办理"),
        "legal_hold" => ("依法保全中，不能删除", "由合规负责人解除"),
        "too_many_requests" => ("未办结的请求过多", "先答复已有的请求"),
        "request_unknown" | "record_unknown" => ("没有这一项", "查看列表"),
        "request_closed" => ("该请求已办结", "如有需要，新建请求"),
        "reason_missing" => ("缺少理由", "填写理由"),
        "text_invalid" => ("文字过长或为空", "按要求填写"),
        "import_running" => ("正在导入", "稍后再试"),
        "simulation_running" => ("正在试算其他规则", "等其结束后再试"),
        "idempotency_key_reused" => ("这一操作编号已用于其他内容", "重新打开本页后再试"),
        "node_stopped" => ("节点正在停止", "节点恢复后再试；重复提交是安全的"),
        "user_name_invalid" => ("用户名不合要求", "1 至 64 个字符：a-z、0-9、.、_、-"),
        "user_without_role" => ("至少要有一个角色", "勾选角色后再提交"),
        "user_exists" => ("已有同名用户", "换一个名字，或更改该用户"),
        "user_unknown" => ("没有这个用户", "查看用户列表"),
        "last_administrator" => ("这是最后一位管理员", "先设另一位管理员"),
        "password_same" => ("新口令与现有口令相同", "另选一个口令"),
        "password_length" => ("口令须为 12 至 256 个字节", "改用较长或较短的口令"),
        "audit_running" => ("正在审计", "等其结束后再试"),
        "role_missing" => ("当前账号没有所需角色", "以具有该角色的账号登录"),
        "internal" => ("节点未能完成", "查看节点日志，并告知管理员"),
        _ => return None,
    })
}

/// Whether the node's own words, where they are in English alone, say which value or thing is wrong: they are read
/// behind what the list says.
fn names_something(code: &str) -> bool {
    matches!(
        code,
        "attribute_invalid"
            | "attribute_unknown"
            | "identifier_invalid"
            | "identifier_refused"
            | "member_data_invalid"
            | "merge_refused"
            | "policy_invalid"
            | "purchase_unreadable"
            | "simulation_failed"
            | "template_invalid"
    )
}

/// What is wrong, in Chinese.
pub(super) fn message(
    code: &str,
    chinese: Option<&Chinese>,
    listed: Option<Listed>,
    words: &str,
) -> String {
    match (chinese, known(code), halves(words), listed) {
        (Some(it), ..) => it.message.clone(),
        (None, Some((what, _)), ..) => what.to_owned(),
        (None, None, Some((_, half)), _) => half.to_owned(),
        (None, None, None, Some((what, _))) if names_something(code) => {
            format!("{what}（{words}）")
        }
        (None, None, None, Some((what, _))) => what.to_owned(),
        (None, None, None, None) => words.to_owned(),
    }
}

/// A refusal as staff reads it: what is wrong and what to do, from the node's own words of both.
#[must_use]
pub fn refusal(
    language: Language,
    code: &str,
    chinese: Option<&Chinese>,
    listed: Option<Listed>,
    [detail, remedy]: [&str; 2],
) -> String {
    if language == Language::English {
        // what comes in both languages comes so in each of its parts
        return format!("{}: {}", language.part(detail), language.part(remedy));
    }
    let what = message(code, chinese, listed, detail);
    match (chinese, known(code), listed) {
        (Some(it), ..) => format!("{what}：{}", it.remedy),
        (None, Some((_, remedy)), _) => format!("{what}：{remedy}"),
        (None, None, listed) => {
            let half = halves(remedy).map(|(_, half)| half);
            let next = half.or(listed.map(|(_, next)| next)).unwrap_or(remedy);
            // words that the list begins say by themselves that nothing was done
            let begun =
                if halves(detail).is_some() || listed.is_none() { "未能完成：" } else { "" };
            format!("{begun}{what}：{next}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_in_the_language_of_the_page() {
        let (english, own) = ("points: 1 to 500: correct it", ["points: 1 to 500", "correct it"]);
        let of = |language, code, chinese: Option<&Chinese>| {
            refusal(language, code, chinese, Some(("已达上限", "先删除一些")), own)
        };
        let chinese =
            Chinese { message: "积分为 1 至 500".into(), remedy: "更正后再提交".into() };
        let whole = Some(&chinese);
        for code in ["terms_invalid", "number_malformed", "purchase_refused", "other"] {
            assert_eq!(of(Language::English, code, whole), english, "{code}");
            assert_eq!(of(Language::Chinese, code, whole), "积分为 1 至 500：更正后再提交");
        }
        let chinese = |code| of(Language::Chinese, code, None);
        assert_eq!(chinese("number_malformed"), "不是整数：只写数字");
        assert_eq!(chinese("other"), "已达上限：先删除一些");
        assert_eq!(chinese("merge_refused"), "已达上限（points: 1 to 500）：先删除一些");
        let both = ["too many / 过多", "ask again / 再问一次"];
        let listed = Some(("已达上限", "先删除一些"));
        let said = |words| refusal(Language::Chinese, "other", None, listed, words);
        assert_eq!(said(both), "未能完成：过多：再问一次");
        assert_eq!(said(["too many / 过多", "ask again"]), "未能完成：过多：先删除一些");
        assert_eq!(said(["too many", "ask again / 再问一次"]), "已达上限：再问一次");
        let nowhere = refusal(Language::Chinese, "other", None, None, own);
        assert_eq!(nowhere, "未能完成：points: 1 to 500：correct it");
    }
}
