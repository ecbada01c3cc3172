//! Every word of the console, in both languages: a word that one of them lacks does not compile.

use super::Language;

macro_rules! words {
    ($($name:ident: $zh:literal, $en:literal;)*) => {
        /// The words of one language.
        #[derive(Debug)]
        pub(super) struct Words {
            $(pub(super) $name: &'static str,)*
        }
        static CHINESE: Words = Words { $($name: $zh,)* };
        static ENGLISH: Words = Words { $($name: $en,)* };
    };
}

/// The words of a state's stable code; a code that is not known is shown as it is.
macro_rules! states {
    ($($(#[$doc:meta])* $name:ident { $($code:literal: $zh:literal, $en:literal;)* })*) => {
        impl Words {$(
            $(#[$doc])*
            pub(super) fn $name<'a>(&self, code: &'a str) -> &'a str {
                match (code, std::ptr::eq(self, &CHINESE)) {
                    $(($code, true) => $zh, ($code, false) => $en,)*
                    _ => code,
                }
            }
        )*}
    };
}

states! {
    /// Of an exchange.
    exchange_state {
        "held": "已冻结", "held";
        "final": "已生效", "final";
        "acknowledged": "已确认", "acknowledged";
        "returned": "已退回", "returned";
        "withdrawn": "已撤回", "withdrawn";
        "void": "已作废", "void";
        "refused": "已拒绝", "refused";
    }
    /// Of a partner.
    partner_state {
        "running": "正常", "running";
        "disputed": "有争议", "disputed";
        "frozen": "已冻结", "frozen";
        "removed": "将被移除", "removed";
        "closing": "关闭中", "closing";
        "closed": "已关闭", "closed";
        "closed_out": "已了结", "closed out";
    }
    /// Of a statement.
    statement_state {
        "waiting": "等待各品牌关账", "waiting for every brand's closing";
        "derived": "已生成，等待一致确认", "derived, not yet agreed";
        "agreed": "各方一致", "agreed by all";
        "discharged": "已清偿", "discharged";
        "mismatch": "不一致", "mismatch";
    }
    /// Of a payment.
    payment_state {
        "asked": "待付款", "asked for";
        "settled": "付款方称已付", "paid, says the payer";
        "confirmed": "收款方已确认", "confirmed";
    }
    /// Of a dispute.
    dispute_state {
        "open": "待提出条款", "open";
        "offered": "待同意", "offered";
        "resolved": "已解决", "resolved";
    }
}

impl Words {
    pub(super) fn of(language: Language) -> &'static Self {
        match language {
            Language::Chinese => &CHINESE,
            Language::English => &ENGLISH,
        }
    }
}

words! {
    product: "积分联盟节点", "Coalition node";
    skip: "跳到正文", "Skip to content";
    other_language: "English", "中文";
    page: "页面", "Page";
    sign_in: "登录", "Sign in";
    sign_out: "退出登录", "Sign out";
    signed_in_as: "当前用户：", "Signed in as";
    user: "用户名", "User name";
    password: "密码", "Password";
    code: "动态码", "Code of the second factor";
    code_if_any: "动态码或恢复码（如已设置第二因素）", "Code of the second factor, if you have one";
    code_needed: "此账号已启用第二因素：请再次输入密码，并输入验证器显示的动态码。",
        "This user has a second factor: enter the password again, and the code that the authenticator shows.";
    code_wrong: "动态码不正确、已过期或已用过：请等待下一个动态码。",
        "The code is wrong, too old, or was used already: wait for the next one.";
    sign_in_for_more: "会员、兑换、隐私预算与查询结果需登录后查看。",
        "Sign in to see members, exchanges, the privacy budget and released answers.";
    sign_in_note: "账号由本节点管理员创建。登录状态保持 30 分钟。",
        "An administrator of this node creates accounts. A session lasts 30 minutes.";
    refused: "用户名或密码不正确。请检查后重试。",
        "The name or the password is wrong. Check both and try again.";
    throttled: "此用户名登录失败次数过多。请等待（秒）：",
        "Too many failed sign-ins under this name. Wait, in seconds:";
    session_over: "登录已过期，请重新登录。", "Your session is over. Sign in again.";

    alerts: "需要处理", "Needs attention";
    no_alerts: "一切正常，没有需要处理的事项。", "All is well: nothing needs attention.";
    overview: "概况", "Overview";
    members: "会员", "Members";
    purchases: "消费明细", "Purchase lines";
    final_exchanges: "已生效兑换", "Final exchanges";
    epoch: "章程版本", "Constitution epoch";
    committee_numbers: "品牌数 n、可容忍故障数 f、法定票数 q",
        "brands n, faults tolerated f, quorum q";
    no_fault_tolerated: "联盟不超过三个品牌：不能容忍任何作恶者，分叉只能被发现，不能被阻止。",
        "With three brands or fewer no liar is tolerated: a fork is detected, not prevented.";
    faults_tolerated: "最多 f 个品牌出错或作恶时，不会出现两个相互矛盾的已认证账本。",
        "While at most f brands fail or lie, no two certified logs contradict each other.";

    heads: "各品牌账本的认证头", "Certified heads of all logs";
    heads_caption: "本节点已验证的、各品牌账本最新认证区块",
        "The latest certified block of each brand's log, as this node has verified it";
    brand: "品牌", "Brand";
    height: "高度", "Height";
    leaves: "叶数", "Leaves";
    certified_at: "认证时间", "Certified at";
    root: "默克尔根", "Merkle root";
    connection: "状态", "State";
    connected: "已连接", "Connected";
    disconnected: "未连接", "Not connected";
    disputed: "有争议", "Disputed";
    frozen: "已冻结投票", "Frozen";
    closed: "账本已终止", "Closed";
    this_brand: "本品牌", "this brand";
    never: "尚无区块", "no block yet";

    exchanges: "积分兑换", "Exchanges of points";
    exchanges_caption: "按状态统计的兑换笔数", "Number of exchanges by state";
    state: "状态", "State";
    count: "笔数", "Count";
    meaning: "含义", "Meaning";
    ours: "本品牌会员发起", "From this brand's members";
    theirs: "其他品牌会员转入", "From other brands' members";
    held: "已冻结", "Held";
    held_means: "积分已冻结，等待区块认证", "points held, waiting for a block to be certified";
    final_: "已生效", "Final";
    final_means: "区块已认证，等待对方确认", "certified, not yet acknowledged";
    acknowledged: "已确认", "Acknowledged";
    acknowledged_means: "对方品牌已确认", "acknowledged by the other brand";
    returned: "已退回", "Returned";
    returned_means: "对方退回，积分已返还", "sent back by the other brand, points given back";
    void: "已作废", "Void";
    void_means: "争议处理或对方账本终止后作废，积分已返还", "void after a dispute or the other log's end, points given back";
    refused_state: "已拒绝", "Refused";
    refused_means: "本品牌在入块前拒绝", "refused by this brand before any block";
    credited: "已入账", "Credited";
    credited_means: "已计入本品牌会员账户", "credited to members of this brand";
    sent_back: "已退还", "Sent back";
    sent_back_means: "由本品牌退回", "sent back by this brand";

    budget: "隐私预算", "Privacy budget";
    budget_year: "年度", "Calendar year";
    budget_profile: "档位", "Profile";
    budget_left_of: "隐私预算剩余", "Privacy budget left";
    budget_left: "剩余", "Left";
    budget_spent: "已用", "Spent";
    budget_reserved: "查询预留", "Reserved by queries under way";
    budget_quota: "本品牌年度额度", "This brand's quota of the year";
    budget_everyone: "全联盟本年已用", "Spent by all brands together this year";
    budget_bar: "预算使用情况：", "Budget use:";
    budget_page: "各品牌、各分析账户的预算", "Every brand's and analyst account's budget";
    budget_of_all: "全联盟一个自然年的总预算", "All brands together in a calendar year:";
    budget_kind: "账户", "Account";
    budget_joint: "联合", "joint";
    budget_local: "本地", "local";
    budget_analyst: "分析账户", "Analyst account";
    budget_whole: "全部", "all";
    budget_share: "额度", "Quota";
    budget_more: "更多分析账户", "More analysts";
    budget_from_logs: "全部由已认证账本逐条加总得出，任何人都可以重新核算；其他品牌分析账户的额度只有该品牌知道。",
        "Added up from the certified logs, entry by entry, as anyone can; shares of another brand's analysts are known there alone.";
    budget_none: "本节点没有隐私预算账户。", "This node has no privacy budget account.";
    budget_unit: "以 ρ（零集中差分隐私，zCDP）计。", "In ρ of zero-concentrated differential privacy (zCDP).";

    release: "最近一次联合查询结果", "Latest joint answer";
    release_none: "还没有发布过联合查询结果。", "No joint answer has been released yet.";
    release_chart: "点为加噪结果，横线或色带为 95% 区间", "Dots are noised values, lines or the band their 95 % intervals";
    release_table: "数值表", "Table of values";
    release_caption: "加噪结果与 95% 区间", "Noised values with 95 % intervals";
    interval: "95% 区间", "95 % interval";
    release_cost: "代价", "Cost";
    release_participants: "参与品牌", "Participants";
    release_statement: "隐私声明", "Privacy statement";
    release_hash: "结果哈希", "Hash of the release";
    release_cut: "仅显示前 60 行；全部结果可在该问题的页面下载，或经接口 /api/v1/queries/{id} 分页获取。",
        "The first 60 rows are shown; the question's page has them all as a file, the API in pages under /api/v1/queries/{id}.";

    nav_status: "状态", "State of the node";
    nav_partner: "合作方", "Partner";
    nav_questions: "提问", "Questions";
    nav_figures: "数据", "Figures";
    nav_programme: "积分计划", "Points programme";
    nav_rules: "规则", "Rules";
    nav_segments: "人群", "Segments";
    nav_campaigns: "活动", "Campaigns";
    nav_reviews: "复核", "Reviews";
    nav_staff: "柜台", "Counter";
    nav_officer: "合规", "Compliance";
    nav_administration: "运维", "Administration";
    nav_records: "个人信息台账", "Records";
    not_for_you: "无权查看", "Not for your roles";
    forbidden: "当前账号没有查看此页的角色，需要以下之一：", "Your account has none of the roles that see this page:";

    partner_page: "兑换、额度与清算", "Exchanges, limits and clearing";
    positions: "与各品牌的往来", "Positions with each brand";
    positions_caption: "各品牌之间尚未清偿的金额与信用额度", "What is owed and not yet discharged, and the credit limit";
    net_chart: "净额：由应付方流向应收方，宽度即金额；本品牌应付的为红色", "Net: from who owes to who is owed, as wide as the amount; what this brand owes is red";
    no_partners: "联盟中没有其他品牌。", "There are no other brands.";
    they_owe: "对方应付", "They owe";
    we_owe: "本品牌应付", "We owe";
    limit_used: "额度使用", "Of the limit";
    next_step: "下一步", "Next step";
    yuan_note: "金额单位为元，按微分精确记账；此处四舍五入到分。付款在联盟之外、经持牌机构完成。",
        "In yuan, booked exactly to the micro-fen and rounded to the fen here. Payments are made outside, through a licensed institution.";
    latest_exchanges: "兑换", "Exchanges";
    latest_caption: "本品牌会员发起，最新的在前，每页 25 笔", "Of this brand's members, the newest first, 25 a page";
    no_exchanges: "还没有兑换。", "There are no exchanges yet.";
    no_such_exchanges: "这里没有符合条件的兑换。", "There are no such exchanges here.";
    any_brand: "全部品牌", "every brand";
    any_state: "全部状态", "every state";
    filter_list: "筛选", "Filter";
    older_exchanges: "更早的兑换", "Older exchanges";
    newer_exchanges: "较新的兑换", "Newer exchanges";
    live_on: "列表自动更新。", "The list updates by itself.";
    live_away: "节点暂时无法连接，正在重试。", "The node cannot be reached; trying again.";
    live_over: "已停止自动更新：请重新加载本页。", "The list updates no longer: load the page again.";
    requested_at: "申请时间", "Requested at";
    to_brand: "转往", "To";
    from_brand: "来自", "From";
    points_sent: "转出积分", "Points given";
    points_received: "转入积分", "Points received";
    points_back: "已退回积分", "Points sent back";
    receipt: "凭证", "Receipt";
    download: "下载", "Download";
    for_the_member: "交会员", "For the member";
    verify_receipt: "核验回执", "Verify a receipt";
    latest_received: "最近转入的兑换", "Latest exchanges that came in";
    received_caption: "其他品牌会员转入的最近 20 笔", "The latest 20 from other brands' members";
    clearing: "清算", "Clearing";
    cut_off: "清算截止时间（UTC）", "Cut-off (UTC)";
    clearings_caption: "本节点所知的清算截止，最新在前", "The cut-offs that this node knows, the newest first";
    no_clearings: "还没有任何品牌关账。", "No brand has closed a cut-off yet.";
    to_pay: "待本品牌付款", "To pay";
    to_confirm: "待本品牌确认到账", "To confirm";
    superseded: "由后一期清算单涵盖", "in a later statement";
    earlier_cut_offs: "更早的清算截止", "Earlier cut-offs";
    silent: "超过24小时未确认", "silent for over 24 h";
    show: "查看", "Show";
    statement_hash: "对账单哈希", "Hash of the statement";
    closed_brands: "已关账品牌", "Brands closed:";
    agreed_brands: "已确认品牌", "brands agreed:";
    net_positions: "各品牌净头寸", "Net positions";
    net: "净额（元）", "Net (yuan)";
    payments: "应完成的付款", "Payments that settle it";
    payer: "付款方", "Payer";
    payee: "收款方", "Payee";
    amount: "金额（元）", "Amount (yuan)";
    disputes: "争议", "Disputes";
    disputes_caption: "已入日志的争议", "Disputes on record";
    no_disputes: "没有争议。", "There are no disputes.";
    accuser: "提出方", "Accuser";
    accused: "被指方", "Accused";
    rule: "规则", "Rule";

    officer_page: "合规报告", "Compliance report";
    report_of: "出具方", "Of";
    heads_check: "默克尔根应与各品牌 /checkpoint 公布的以及您自行下载审计的一致。",
        "Each root should be the one that the brand's own /checkpoint publishes, and the one that your own audit of its log arrives at.";
    evidence: "证据与终止", "Evidence and endings";
    evidence_caption: "本节点对其他品牌日志的判定", "What this node holds of the other brands' logs";
    proved: "已被证明", "Proved";
    nothing: "无", "nothing";
    recognised: "已确认本品牌区块", "Own blocks recognised";
    rule_changes: "公示中的规则变更", "Rule changes under notice";
    rule_changes_caption: "后续章程与草案及其采纳情况", "Later constitutions and drafts, and who has adopted them";
    no_rule_changes: "没有后续章程或草案。", "There is no later constitution and no draft.";
    hash: "哈希", "Hash";
    adopted_by: "已采纳", "Adopted by";
    needed: "所需", "Needed";
    takes_effect: "生效时间", "Takes effect";
    keys: "封装密钥", "Sealing keys";
    keys_caption: "每月轮换，保留期后销毁", "Turned monthly, destroyed after retention";
    key: "公钥", "Public key";
    made_at: "生成时间", "Made at";
    key_current: "当前", "current";
    key_in_use: "仍在使用", "still in use";
    key_old: "已停用", "out of use";
    verify: "不依赖本节点的核验", "Check it without trusting this node";
    verify_words: "下载各品牌公布的日志（/checkpoint、/certificates、/tile/），在另一台机器上离线审计：",
        "Download the published logs (/checkpoint, /certificates, /tile/) and audit them offline on another machine:";
    signature_line: "合规负责人签名", "Compliance officer";
    date_line: "日期", "Date";
    report_file: "下载报告文件", "Download the report as a file";
    report_file_hint: "单个 HTML 文件，可打印；电子签名与核验：", "One HTML file that can be printed; to sign and verify it:";

    node_time: "节点时间", "Node time";
    refresh_off: "停止自动刷新", "Stop refreshing";
    refresh_on: "每 5 秒自动刷新", "Refresh every 5 seconds";
    unverified_hint: "任何人都可以下载并验证本品牌的账本：", "Anyone may download and verify this brand's log:";
}
