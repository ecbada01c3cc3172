//! A plausible state of a node, for tests of what is made from it.

use super::{
    AdministrationViews, Asking, ExchangeListing, OfficerViews, PartnerViews, QuestionsViews,
    RecordsViews,
};
use crate::auth::{Person, Role};
use crate::desk::RequestView;
use crate::service::*;

const YUAN: u64 = 100_000_000;

pub(crate) fn partner() -> PartnerViews {
    let exposure = |brand: &str, micro_fen| ExposureView {
        brand: brand.to_owned(),
        owed_micro_fen: micro_fen,
        public_micro_fen: micro_fen,
        limit_micro_fen: 8 * YUAN,
    };
    let exposures = vec![exposure("drug", 5 * YUAN), exposure("kids", 0)];
    let exchange = |id: u8, state: &str, final_ms| ExchangeView {
        id: format!("{id:02x}").repeat(16),
        to: "drug".to_owned(),
        state: state.to_owned(),
        points_sent: 1_200,
        points_received: 600,
        requested_ms: 1_795_291_100_000,
        final_ms,
        ..ExchangeView::default()
    };
    let position =
        |brand: &str, net_micro_fen| PositionView { brand: brand.to_owned(), net_micro_fen };
    let statement = StatementView {
        cut_off_ms: 1_795_219_200_000,
        state: "agreed".to_owned(),
        hash: Some("7e".repeat(32)),
        positions: vec![position("grocer", 850_000_000), position("drug", -850_000_000)],
        payments: vec![PaymentView {
            payer: "drug".to_owned(),
            payee: "grocer".to_owned(),
            micro_fen: 850_000_000,
            cny: "8.50".to_owned(),
            state: "asked".to_owned(),
            reference: None,
        }],
        closed: vec!["grocer".to_owned(), "drug".to_owned()],
        agreed: vec!["grocer".to_owned(), "drug".to_owned()],
        ..StatementView::default()
    };
    PartnerViews {
        status: Status { exposures, ..status() },
        partners: partners(),
        exchanges: vec![
            exchange(1, "acknowledged", Some(1_795_291_100_100)),
            exchange(2, "held", None),
        ],
        listing: ExchangeListing::default(),
        received: vec![ReceivedView {
            from: "kids".to_owned(),
            leaf: 5_321,
            points_received: 40,
            ..ReceivedView::default()
        }],
        disputes: disputes(),
        clearings: clearings(),
        statement: Some(statement),
        statement_problem: None,
        cut_off: "2026-11-21T00:00:00.000".to_owned(),
    }
}

pub(crate) fn officer() -> OfficerViews {
    let key = |byte: u8, current| SealingKeyView {
        key: format!("{byte:02x}").repeat(32),
        made_ms: 1_793_500_000_000,
        current,
        in_use: true,
        ..SealingKeyView::default()
    };
    OfficerViews {
        status: status(),
        partners: partners(),
        disputes: disputes(),
        constitutions: vec![ConstitutionView {
            hash: "a1".repeat(32),
            epoch: 2,
            is_here: true,
            adopted: vec!["grocer".to_owned(), "drug".to_owned()],
            needed: 4,
            effect_ms: Some(1_798_416_000_000),
            ..ConstitutionView::default()
        }],
        drafts: vec![draft()],
        sealing_keys: vec![key(0x11, false), key(0x22, true)],
        ..OfficerViews::default()
    }
}

fn partners() -> Vec<PartnerView> {
    let partner = |brand: &str, state: &str, they: u64, we: u64| PartnerView {
        brand: brand.to_owned(),
        state: state.to_owned(),
        they_owe_micro_fen: they,
        we_owe_micro_fen: we,
        next: Bilingual { zh: "无需处理".to_owned(), en: "nothing is to be done".to_owned() },
        ..PartnerView::default()
    };
    let evidence = Some("two headers at height 9".to_owned());
    vec![
        partner("drug", "running", 15 * YUAN, 3 * YUAN),
        PartnerView {
            evidence,
            suspended_for: Some("9b".repeat(16)),
            readmission_agreed_by: vec!["drug".to_owned()],
            ..partner("kids", "frozen", 0, 350_000_000)
        },
    ]
}

/// A statement to be paid, the one before it, and a cut-off that is not closed by all yet.
fn clearings() -> ClearingPage {
    let clearing = |cut_off_ms: u64, state: &str| ClearingView {
        cut_off_ms,
        cut_off: cut_off_text(cut_off_ms),
        state: state.to_owned(),
        ..ClearingView::default()
    };
    let net = Some(850_000_000);
    let agreed = ClearingView {
        net_micro_fen: net,
        payments: 1,
        to_confirm: 1,
        ..clearing(1_795_219_200_000, "agreed")
    };
    let earlier = ClearingView {
        superseded: true,
        net_micro_fen: net,
        ..clearing(1_793_462_399_999, "derived")
    };
    let clearings = vec![clearing(1_796_054_399_999, "waiting"), agreed, earlier];
    ClearingPage { clearings, next: Some(1_793_462_399_999) }
}

fn disputes() -> Vec<DisputeView> {
    vec![DisputeView {
        accuser: "grocer".to_owned(),
        accused: "kids".to_owned(),
        began: 377,
        rule: 20,
        state: "open".to_owned(),
        ..DisputeView::default()
    }]
}

pub(crate) fn status() -> Status {
    let now_ms = 1_795_291_200_000;
    let brands = [
        ("grocer", "鲜品超市", "Fresh Grocer", 412, 52_736),
        ("drug", "康宁药房", "Corning Drugstore", 398, 50_944),
        ("kids", "童趣", "Kids & Toys", 377, 48_256),
        ("home", "宜家居", "Home Goods", 401, 51_328),
        ("fuel", "驿站加油", "Station Fuel", 0, 0),
    ];
    let heads = brands.iter().enumerate().map(|(index, (brand, zh, en, height, size))| LogHead {
        brand: (*brand).to_owned(),
        name_zh: (*zh).to_owned(),
        name_en: (*en).to_owned(),
        height: *height,
        size: *size,
        root: format!("{:02x}", 0x3a + index * 17).repeat(32),
        header: "c4".repeat(32),
        time_ms: if *size == 0 { 0 } else { now_ms - 900 * (index as u64 + 1) },
        connected: index != 3,
        disputed: index == 2,
        frozen: false,
        closed: index == 4,
        witness: (index > 0).then(|| WitnessView {
            vote_milliseconds: (index != 3).then_some(37),
            voted_at_ms: (index != 3).then_some(now_ms - 900),
            refused_rule: (index == 2).then_some(20),
            refused_at_ms: (index == 2).then_some(now_ms - 3_600_000),
            unacknowledged_ms: (index == 3).then_some(93_600_000),
        }),
    });
    Status {
        alliance: "示例积分联盟 Sample Alliance".to_owned(),
        brand: "grocer".to_owned(),
        epoch: 1,
        committee: CommitteeView { brands: 5, faults_tolerated: 1, quorum: 4 },
        heads: heads.collect(),
        exposures: Vec::new(),
        residues: Vec::new(),
        suspense_points: 0,
        exchanges: ExchangeCounts {
            held: 3,
            r#final: 12,
            acknowledged: 1_204,
            returned: 2,
            void: 0,
            refused: 1,
            credited: 987,
            sent_back: 4,
        },
        members: Some(2_469),
        purchases: Some(1_469_307),
        budget: Some(BudgetView {
            year: 2026,
            profile: "trial".to_owned(),
            quota_pico_rho: 500_000_000_000,
            spent_pico_rho: 62_500_000_000,
            reserved_pico_rho: 31_250_000_000,
            alliance_spent_pico_rho: 312_500_000_000,
        }),
        latest_release: Some(release()),
        now_ms,
        alerts: vec!["the log of kids is disputed: look at its evidence".to_owned()],
    }
}

pub(crate) fn questions() -> QuestionsViews {
    let words = |zh: &str, en: &str| Bilingual { zh: zh.to_owned(), en: en.to_owned() };
    let noise = NoiseView {
        column: "active".to_owned(),
        unit: "memberships".to_owned(),
        sigma: 516.4,
        expected_error: 412.0,
        half_width_95: 1_013.0,
        bound: "1".to_owned(),
        bounds_by_brand: Vec::new(),
        smallest_cell_5_percent: 8_240.0,
    };
    let parameter = ParameterView {
        name: "department".to_owned(),
        words: words("品类", "Department"),
        kind: "value".to_owned(),
        default: "DAIRY".to_owned(),
        choices: vec!["BAKERY".to_owned(), "DAIRY".to_owned()],
    };
    let template = TemplateView {
        id: "active_members".to_owned(),
        title: words("活跃会员", "Active members"),
        scopes: vec![Scope::Joint],
        parameters: vec![parameter],
        ..TemplateView::default()
    };
    let column = ColumnView {
        name: "purchased_on".to_owned(),
        kind: "date".to_owned(),
        least: Some("2017-01-01".to_owned()),
        greatest: Some("2017-12-31".to_owned()),
        words: words("购买日期", "the day of purchase"),
        ..ColumnView::default()
    };
    let department = ColumnView {
        name: "department".to_owned(),
        kind: "text".to_owned(),
        values: ["DAIRY", "LET'S EAT"]
            .map(|value| ValueView { value: value.to_owned(), ..ValueView::default() })
            .to_vec(),
        ..ColumnView::default()
    };
    let columns = vec![column, department];
    let table = TableView { name: "purchases".to_owned(), columns, ..TableView::default() };
    QuestionsViews {
        status: status(),
        asking: Asking {
            sql: "SELECT count(*) FROM purchases WHERE a < b".to_owned(),
            scope: Some(Scope::Joint),
            rho: "0.005".to_owned(),
            stands: true,
            chooses_bound: false,
            participants: None,
        },
        plan: Some(PlanView {
            plan: "pla9".to_owned(),
            sql: "SELECT count(*) FROM purchases".to_owned(),
            scope: "joint".to_owned(),
            cells: 2,
            cost_pico_rho: 5_000_000_000,
            epsilon: 0.43,
            sigma: vec![noise],
            left_after_pico_rho: 12_500_000_000,
            warnings: vec![words("噪声与数值相当", "as much noise as answer")],
            ..PlanView::default()
        }),
        datasets: vec![DatasetView {
            participants: ["grocer_one", "grocer_two"].map(str::to_owned).to_vec(),
            tables: vec![table],
            ..DatasetView::default()
        }],
        templates: vec![template],
        answers: vec![answered()],
        problem: None,
        ..QuestionsViews::default()
    }
}

pub(crate) fn administration() -> AdministrationViews {
    let person = |name: &str, roles: &[Role], second_factor| Person {
        name: name.to_owned(),
        roles: roles.to_vec(),
        second_factor,
        must_have_one: roles.contains(&Role::Officer),
        one_use_password: roles.contains(&Role::Store),
        sessions: 1,
        certificates: usize::from(roles.contains(&Role::Store)),
        database_until: roles.contains(&Role::Analyst).then_some(1_790_000_000),
    };
    AdministrationViews {
        status: status(),
        people: vec![
            person("wu", &[Role::Officer, Role::Analyst], false),
            person("chen", &[Role::Officer], true),
            person("li", &[Role::Store], false),
        ],
        roles: Role::ALL.map(|role| role.name()).to_vec(),
        sealing_keys: officer().sealing_keys,
        certificate_ends_ms: 1_800_000_000_000,
        client_authorities: Some((2, 1_795_000_000_000)),
        shown_ends_ms: Some(1_810_000_000_000),
        backup: BackupView {
            done: true,
            folder: "</var>".to_owned(),
            pairs: 52_736,
            made_ms: Some(1_795_000_000_000),
            whole: Some(WholeBackupView {
                folder: "</var>".to_owned(),
                made_ms: 1_795_000_000_000,
            }),
            ..BackupView::default()
        },
        constitutions: vec![ConstitutionView {
            adopted: vec!["grocer".to_owned(), "drug".to_owned(), "kids".to_owned()],
            needed: 4,
            is_here: false,
            ..ConstitutionView::default()
        }],
        drafts: vec![draft()],
        ..AdministrationViews::default()
    }
}

pub(crate) fn draft() -> DraftView {
    let change = |topic: &str, zh: &str, en: &str| DraftChangeView {
        topic: topic.to_owned(),
        words: Bilingual { zh: zh.to_owned(), en: en.to_owned() },
    };
    let brand = |brand: &str, place: &str, signed, stance: Option<&str>| DraftBrandView {
        brand: brand.to_owned(),
        name: Bilingual { zh: format!("{brand} <shop> 店"), en: format!("{brand} <shop>") },
        place: place.to_owned(),
        signed,
        stance: stance.map(str::to_owned),
    };
    DraftView {
        hash: "b2".repeat(32),
        epoch: 3,
        follows: "a1".repeat(32),
        state: "ready".to_owned(),
        when: Bilingual {
            zh: "涉及会员：30 日后生效".to_owned(),
            en: "members are touched: 30 days".to_owned(),
        },
        changes: vec![
            change(
                "rates",
                "grocer -> drug：兑换比率由 1/2 改为 2/5",
                "grocer -> drug: rate 1/2 becomes 2/5",
            ),
            change("budget", "每年隐私预算 rho 0.01", "the privacy budget of a year is rho 0.01"),
            change("rates", "drug -> kids：新增兑换", "drug -> kids: exchange at 1/1"),
        ],
        brands: vec![
            brand("grocer", "stays", false, None),
            brand("drug", "stays", true, Some("adopted")),
            brand("toys", "joins", true, None),
            brand("kids", "leaves", false, Some("declined")),
        ],
        needed: 4,
        has_own_keys: true,
    }
}

pub(crate) fn records() -> RecordsViews {
    const AT: u64 = 1_790_000_000_000;
    let member = format!("~{}", "a7".repeat(16));
    let request = RequestView {
        id: "11".repeat(16),
        kind: "erasure".to_owned(),
        member: member.clone(),
        opened_ms: AT,
        answer_by_ms: AT,
        done_by_ms: AT,
        answered_ms: None,
        overdue: true,
        state: "open".to_owned(),
        why: None,
        words: Some("<script>".to_owned()),
        certificate: None,
    };
    let alert = AlertView {
        number: 90,
        at_ms: AT,
        kind: "mass_reading".to_owned(),
        user: Some("li".to_owned()),
        member: None,
        count: 4_000,
    };
    let operation = OperationView {
        number: 91,
        at_ms: AT,
        by: "li".to_owned(),
        deed: "correct".to_owned(),
        member: Some(member),
        members: 1,
        what: "phone".to_owned(),
        before: Some("138****5678".to_owned()),
        after: Some("139****0000".to_owned()),
    };
    let open = BreachView {
        number: 1,
        found_ms: AT,
        what: "a lost phone".to_owned(),
        members: 3,
        open: true,
        ..BreachView::default()
    };
    let told = BreachView { number: 2, open: false, ..open.clone() };
    RecordsViews {
        status: status(),
        requests: vec![request],
        alerts: AlertsView { standing: Vec::new(), alerts: vec![alert] },
        operations: vec![operation],
        older: 90,
        breaches: vec![open, told],
        assessments: vec![AssessmentView::default()],
        done: None,
        problem: None,
    }
}

pub(crate) fn answered() -> QueryView {
    let release = release();
    QueryView {
        id: release.query.clone(),
        scope: "joint".to_owned(),
        step: "released".to_owned(),
        release: Some(release),
        sql: Some("SELECT half_year(purchased_on) AS half_year,\n count(*) FROM b".to_owned()),
        asked_ms: Some(1_790_000_000_000),
        asked_by: Some("lin".to_owned()),
        ..QueryView::default()
    }
}

fn release() -> ReleaseView {
    let cells =
        [("2025H1", 10_412.0), ("2025H2", 11_873.0), ("2026H1", 9_208.0), ("2026H2", 312.0)];
    let rows = cells.iter().map(|(half, value)| ReleaseRow {
        keys: vec![(*half).to_owned()],
        values: vec![*value],
        low: vec![value - 640.0],
        high: vec![value + 640.0],
        quality: vec![if *value > 4_405.0 { "usable" } else { "noisy" }.to_owned()],
    });
    ReleaseView {
        query: "9f".repeat(16),
        scope: "joint".to_owned(),
        hash: "5d".repeat(32),
        keys: vec!["half_year".to_owned()],
        values: vec!["active_memberships".to_owned()],
        rows: rows.collect(),
        rows_in_all: 4,
        cost_pico_rho: 62_500_000_000,
        epsilon: 1.9204,
        participants: ["grocer", "drug", "kids", "home", "fuel"].map(str::to_owned).to_vec(),
        statement: Bilingual {
            zh: "以会员为单位的差分隐私：无论某一会员的数据是否参与，结果的分布几乎相同。"
                .to_owned(),
            en:
                "Differentially private for each member: the answer is distributed almost the same \
                 with or without any one member's data."
                    .to_owned(),
        },
        privacy: Vec::new(),
    }
}
