//! What a node says of itself: its status for people, and the figures that are states rather than events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::time::Instant;

use protocol::ids::BrandId;
use protocol::ledger::Starting;
use protocol::time::Milliseconds;
use protocol::witness::evidence::Proven;

use super::{Runtime, backups, now};
use crate::cleanroom::Gated;
use crate::exchange::points::Control;
use crate::service::{CommitteeView, LogHead, Status, WitnessView};

/// That a brand is proved to have lied, for the status page.
fn case_words(proven: &Proven) -> String {
    let (accused, log, offence) = (proven.accused(), proven.log(), proven.offence());
    let (frozen, frozen_zh) = if accused == log && offence.is_of_writer() {
        ("; this node votes on that log no more", "；本节点不再对该账本投票")
    } else {
        ("", "")
    };
    format!(
        "evidence: {accused} signed what contradicts itself in the log of {log} ({}){frozen} / \
         证据：{accused} 在 {log} 的账本中签署了自相矛盾的内容（{}）{frozen_zh}",
        offence.name(),
        offence.name()
    )
}

/// What keeps a node from signing, for the status page.
fn starting_words(starting: &Starting) -> String {
    let list =
        |logs: &[BrandId]| logs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let (english, chinese) = match starting {
        Starting::Acknowledgements { received, needed } => (
            format!(
                "starting: {received} of {needed} acknowledgements; nothing is signed until then"
            ),
            format!("启动中：已收到 {received}/{needed} 个确认，在此之前不签署任何内容"),
        ),
        Starting::Undecided(logs) => (
            format!(
                "this node's journal was put back to an older state; it signs nothing in the logs of {} until enough others have said how far these were certified",
                list(logs)
            ),
            format!(
                "本节点的日志被恢复到旧状态；在足够多的其他品牌告知认证高度之前，不对以下账本签名：{}",
                list(logs)
            ),
        ),
        Starting::Fenced(logs) => (
            format!(
                "this node was restored; it votes again in the logs of {} after two more blocks of each",
                list(logs)
            ),
            format!("本节点已恢复；以下账本各再认证两个区块后恢复投票：{}", list(logs)),
        ),
    };
    format!("{english} / {chinese}")
}

impl Runtime {
    /// Sets the figures that are states rather than events.
    pub(super) fn measure(&self) {
        let (messages, bytes) = self.inbox.waiting();
        for (name, now) in [
            ("inbox_messages", messages),
            ("inbox_bytes", bytes),
            ("commands_waiting", self.commands.len()),
            ("peers_connected", self.reached().count()),
        ] {
            self.metrics.set(name, "", "", u64::try_from(now).unwrap_or(u64::MAX));
        }
        if let Ok(found) = rustix::fs::statvfs(self.following.data.path()) {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            self.metrics.set("disk_free_bytes", "", "", free);
        }
        let quorum = self.core.ledger.constitution().committee().quorum();
        self.metrics.set("quorum_brands", "", "", u64::try_from(quorum).unwrap_or(u64::MAX));
        self.metrics.set("notices_lost", "", "", self.core.notices_lost());
        for (log, witness) in self.core.ledger.witnesses() {
            self.metrics.set("log_height", "log", log, witness.tip().height.get());
            let ledger = &self.core.ledger;
            self.metrics.set("log_frozen", "log", log, u64::from(ledger.is_frozen(log)));
            self.metrics.set("log_closed", "log", log, u64::from(ledger.is_closed(log)));
            self.metrics.set("log_disputed", "log", log, u64::from(witness.is_disputed()));
        }
        let at = now();
        for (log, last) in self.core.log_times() {
            self.metrics.set("log_age_milliseconds", "log", log, at.since(last).get());
        }
        for (brand, since) in self.core.unacknowledged(at) {
            let since = since.map_or(0, |(_, since)| since.get());
            self.metrics.set("unacknowledged_milliseconds", "brand", brand, since);
        }
        let due = self.core.clearing.payments_due();
        for (side, count) in [("pay", due.to_pay), ("confirm", due.to_confirm)] {
            self.metrics.set("clearing_payments_due", "side", side, u64::from(count));
        }
        let backup = self.backup.lock().unwrap_or_else(PoisonError::into_inner);
        backups::measure(&backup, self.backup_alert_days, at, &self.metrics);
    }

    /// The state, for whoever looks.
    pub(super) fn status_now(&mut self) -> Status {
        self.status_taken = Instant::now();
        if let Some(room) = self.room.as_ref().map(Gated::shown)
            && self.latest_release.0 != room.answers()
        {
            self.latest_release = (room.answers(), room.latest_release());
        }
        let constitution = self.core.ledger.constitution();
        let committee = constitution.committee();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let disputed = self.core.disputed();
        let reached: BTreeSet<BrandId> = self.reached().collect();
        let unanswered: BTreeMap<BrandId, Milliseconds> = self
            .core
            .unacknowledged(now())
            .filter_map(|(brand, since)| since.map(|(_, since)| (brand, since)))
            .collect();
        let heads: Vec<LogHead> = self
            .names
            .iter()
            .filter_map(|names| {
                let tip = self.core.ledger.witness(names.brand)?.tip();
                Some(LogHead {
                    brand: names.brand.to_string(),
                    name_zh: names.zh.clone(),
                    name_en: names.en.clone(),
                    height: tip.height.get(),
                    size: tip.frontier.size().get(),
                    root: tip.frontier.root().to_string(),
                    header: tip.header.to_string(),
                    time_ms: tip.time.unix_ms(),
                    connected: names.brand == self.core.me() || reached.contains(&names.brand),
                    disputed: disputed.contains(&names.brand),
                    frozen: self.core.ledger.is_frozen(names.brand),
                    closed: self.core.ledger.is_closed(names.brand),
                    witness: (names.brand != self.core.me()).then(|| WitnessView {
                        unacknowledged_ms: unanswered.get(&names.brand).map(|since| since.get()),
                        ..self.traces.heard(names.brand)
                    }),
                })
            })
            .collect();
        let connected = heads.iter().filter(|head| head.connected).count();
        let mut alerts: Vec<String> = self.core.alerts.iter().cloned().collect();
        alerts.extend(self.core.standing_alerts(now()));
        if connected < committee.quorum() {
            alerts.push(format!(
                "{connected} brands are connected, a block needs {}: exchanges wait / 已连接品牌 {connected} \
                 个，区块认证需要 {} 个：兑换将等待",
                committee.quorum(),
                committee.quorum()
            ));
        }
        alerts.extend(self.names.iter().filter_map(|names| self.wires.alert(names.brand)));
        alerts.extend(self.clock.alert(committee.faults(), Instant::now()));
        alerts.extend(self.core.ledger.cases().iter().map(|case| case_words(&case.proven)));
        if let Some(room) = self.room.as_ref().map(Gated::shown) {
            alerts.extend(room.suspension_alerts());
            alerts.extend(room.unreadable_alerts());
        }
        alerts.extend(self.core.ledger.starting().map(|starting| starting_words(&starting)));
        let backup = self.backup.lock().unwrap_or_else(PoisonError::into_inner);
        alerts.extend(backups::alert(&backup, self.backup_alert_days, now()));
        drop(backup);
        alerts.extend(self.audits.alerts(now().unix_ms()));
        Status {
            alliance: constitution.alliance().to_string(),
            brand: self.core.me().to_string(),
            epoch: constitution.epoch().get(),
            committee: CommitteeView {
                brands: count(committee.size()),
                faults_tolerated: count(committee.faults()),
                quorum: count(committee.quorum()),
            },
            heads,
            exchanges: *self.core.book.counts(),
            exposures: self.core.exposures(),
            residues: self.core.residues(),
            suspense_points: self.core.points.control(Control::Suspense),
            members: Some(self.members),
            purchases: Some(self.purchases),
            budget: self.room.as_ref().map(|room| room.shown().budget(now())),
            latest_release: self.latest_release.1.clone(),
            now_ms: now().unix_ms(),
            alerts,
        }
    }
}
