//! A plausible state of a node, for tests of what is made from it.

use crate::service::*;

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
    });
    Status {
        alliance: "示例积分联盟 Sample Alliance".to_owned(),
        brand: "grocer".to_owned(),
        epoch: 1,
        committee: CommitteeView { brands: 5, faults_tolerated: 1, quorum: 4 },
        heads: heads.collect(),
        exposures: Vec::new(),
        residues: Vec::new(),
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
        members: 2_469,
        purchases: 1_469_307,
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

fn release() -> ReleaseView {
    let cells =
        [("2025H1", 10_412.0), ("2025H2", 11_873.0), ("2026H1", 9_208.0), ("2026H2", 312.0)];
    let rows = cells.iter().map(|(half, value)| ReleaseRow {
        keys: vec![(*half).to_owned()],
        values: vec![*value],
        low: vec![value - 640.0],
        high: vec![value + 640.0],
    });
    ReleaseView {
        query: "9f".repeat(16),
        hash: "5d".repeat(32),
        keys: vec!["half_year".to_owned()],
        values: vec!["active_memberships".to_owned()],
        rows: rows.collect(),
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
    }
}
