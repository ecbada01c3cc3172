//! The steps of the demonstration, in the order in which they are shown.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use protocol::audit::{CERTIFICATES_FILE, CHECKPOINT_FILE};
use protocol::log::checkpoint::SignedCheckpoint;
use tokio::sync::Semaphore;

use super::super::audit::{AuditArguments, audit as run_audit};
use super::super::import::follow_import;
use super::super::queries::{Asked, explain, follow_query};
use super::super::{CliError, Io};
use super::alliance::{AUDITOR, Alliance};
use super::exact;
use super::members::households;
use super::report::{Percentiles, Report};
use crate::client::{Client, ClientError};
use crate::http::{FillRequest, LinkCodeRequest, LinkRequest, PlanRequest, QueryRequest};
use crate::runtime::core::exchange_id;
use crate::service::*;

/// How often something is asked for until it is there.
const POLL: Duration = Duration::from_millis(100);
/// How long something may take to come about.
const PATIENCE: Duration = Duration::from_secs(120);
/// Exchanges under way at once.
const AT_ONCE: usize = 16;
/// Links for each ordered pair of brands.
const LINKS_PER_PAIR: usize = 2;
/// Points of one exchange: enough to give at least one point at every rate of the sample.
const POINTS: u64 = 4;
/// The node that is killed, by its place.
const VICTIM: usize = 3;

/// The demonstration's question.
const QUESTION: &str = "SELECT half_year(purchased_on) AS half, \
     count(distinct member) AS active_memberships \
     FROM purchases GROUP BY half_year(purchased_on)";

fn bar(length: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// Every brand imports its part of the sample, all at once.
pub async fn import(alliance: &Alliance, report: &mut Report, io: &Io) -> Result<(), CliError> {
    io.say("\n1. Import: each brand loads its own members and purchases, encrypted at rest");
    io.say("   导入：各品牌只载入自己的会员与购物记录，落盘即加密");
    let started = Instant::now();
    let bars = MultiProgress::new();
    let imports = (0..alliance.brands().len()).map(|place| {
        let bar = bars.add(ProgressBar::new(0));
        async move {
            let brand = alliance.brands().get(place).map(|brand| brand.id.to_string());
            bar.set_message(brand.unwrap_or_default());
            follow_import(&alliance.client(place)?, &ImportSource::Sample, false, &bar).await
        }
    });
    let views = try_join_all(imports).await?;
    report.import_seconds = started.elapsed().as_secs_f64();
    for (brand, view) in alliance.brands().iter().zip(&views) {
        report.purchases_imported += view.rows_kept;
        report.members_imported += view.members;
        let dropped: u64 = view.dropped.iter().map(|dropped| dropped.rows).sum();
        io.say(&format!(
            "   {:<14} {:>4} members, {:>6} purchase lines kept, {:>3} dropped, {:>6} points earned",
            brand.id, view.members, view.rows_kept, dropped, view.points_earned
        ));
    }
    if let Some(view) = views.first() {
        io.say("   Stated rules of the sample / 样本的说明性规则：");
        for rule in &view.stated_rules {
            io.say(&format!("     - {} {}", rule.en, rule.zh));
        }
    }
    Ok(())
}

/// One household's accounts at two brands, linked.
#[derive(Clone, Debug)]
struct Link {
    from: usize,
    to: usize,
    card: String,
    card_there: String,
}

/// Members link accounts and exchange points; one brand refuses, one sends back, one node is killed.
pub async fn exchange(
    alliance: &mut Alliance,
    exchanges: u32,
    report: &mut Report,
    io: &Io,
) -> Result<(), CliError> {
    io.say("\n2. Link and exchange: members link accounts by one-time code, then move points");
    io.say("   关联与兑换：会员用一次性代码关联账户，积分跨品牌流转，每笔都上账并经见证");
    let links = choose_links(alliance, u64::from(exchanges)).await?;
    make_links(alliance, &links).await?;
    report.links = links.len() as u64;
    io.say(&format!("   {} accounts linked", links.len()));
    let before = balances(alliance, &links).await?;
    refuse_one(alliance, &links, report, io).await?;
    let returned = return_one(alliance, &links, io).await?;

    let done = Arc::new(AtomicU64::new(0));
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let progress = bar(u64::from(exchanges), "   {bar:40} {pos}/{len} exchanges taken");
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for (number, link) in (0..exchanges).zip(links.iter().cycle()) {
        let request = ExchangeRequest {
            card: link.card.clone(),
            to: brand_name(alliance, link.to),
            points: POINTS,
        };
        let (client, from) = (alliance.client(link.from)?, link.from);
        let (places, done, progress) = (Arc::clone(&places), Arc::clone(&done), progress.clone());
        tasks.spawn(async move {
            let _place = places.acquire().await.map_err(|e| CliError::Input(e.to_string()))?;
            let view = insist(&client, &format!("demo-{number}"), &request).await?;
            done.fetch_add(1, Ordering::Relaxed);
            progress.inc(1);
            Ok::<_, CliError>((from, view.id))
        });
    }
    // half way through, one node loses its power
    while done.load(Ordering::Relaxed) < u64::from(exchanges) / 2 && !tasks.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let victim = brand_name(alliance, VICTIM);
    progress.println(format!("   kill -9 of {victim}; it starts again / 强制杀死 {victim} 后重启"));
    report.restart.seconds = alliance.kill_and_restart(VICTIM).await?.as_secs_f64();
    let mut ids: Vec<(usize, String)> = Vec::new();
    while let Some(task) = tasks.join_next().await {
        ids.push(task.map_err(|error| CliError::Input(error.to_string()))??);
    }
    progress.finish_and_clear();
    let views = answers(alliance, &ids).await?;
    let seconds = started.elapsed().as_secs_f64();

    report.exchanges_final = views.len() as u64;
    report.exchanges_per_second = views.len() as f64 / seconds;
    let since = |end: fn(&ExchangeView) -> Option<u64>| {
        let durations = views.iter();
        durations
            .filter_map(|view| Some(end(view)?.saturating_sub(view.requested_ms)))
            .collect::<Vec<u64>>()
    };
    report.finality_ms = Percentiles::of(since(|view| view.final_ms));
    report.acknowledged_ms = Percentiles::of(since(|view| view.answered_ms));
    report.exchanges_returned =
        views.iter().filter(|view| view.state == "returned").count() as u64 + u64::from(returned);
    io.say(&format!(
        "   {} exchanges sealed, voted on, certified and answered in {seconds:.1} s; final after {} ms (p50), {} ms (p99)",
        views.len(), report.finality_ms.p50, report.finality_ms.p99
    ));
    compare(alliance, &links, &before, exchanges, &views, report).await?;
    io.say(&format!(
        "   after the kill: {} lost, {} applied twice (every account compared) / 丢失 {}，重复 {}",
        report.restart.lost,
        report.restart.duplicated,
        report.restart.lost,
        report.restart.duplicated
    ));
    Ok(())
}

fn brand_name(alliance: &Alliance, place: usize) -> String {
    alliance.brands().get(place).map(|brand| brand.id.to_string()).unwrap_or_default()
}

/// Households with enough points at one brand and an account at another, each account used once.
async fn choose_links(alliance: &Alliance, exchanges: u64) -> Result<Vec<Link>, CliError> {
    let brands = alliance.brands().len();
    let pairs = brands * (brands - 1) * LINKS_PER_PAIR;
    let needed = (exchanges.div_ceil(pairs as u64) + 1) * POINTS;
    let mut used = std::collections::BTreeSet::new();
    let mut links = Vec::new();
    for from in 0..brands {
        for to in (0..brands).filter(|to| *to != from) {
            let mut found = 0;
            for household in households()? {
                let (Some(card), Some(card_there)) = (household.get(&from), household.get(&to))
                else {
                    continue;
                };
                let (giving, receiving) = ((from, card.clone()), (to, card_there.clone()));
                if used.contains(&giving) || used.contains(&receiving) {
                    continue;
                }
                // lists of members show no card whole: each is asked for by itself
                let path = format!("/api/v1/members/{card}");
                let member: MemberView = alliance.client(from)?.get(&path).await?;
                if member.available < needed {
                    continue;
                }
                used.extend([giving, receiving]);
                let (card, card_there) = (card.clone(), card_there.clone());
                links.push(Link { from, to, card, card_there });
                found += 1;
                if found == LINKS_PER_PAIR {
                    break;
                }
            }
        }
    }
    if links.len() < pairs / 2 {
        return Err(CliError::Input(format!(
            "only {} households of the sample have {needed} points to exchange: ask for fewer exchanges",
            links.len()
        )));
    }
    Ok(links)
}

async fn make_links(alliance: &Alliance, links: &[Link]) -> Result<(), CliError> {
    let progress = bar(links.len() as u64, "   {bar:40} {pos}/{len} links");
    let made = links.iter().map(|link| {
        let progress = progress.clone();
        async move {
            let (here, there) = (alliance.client(link.from)?, alliance.client(link.to)?);
            let request = LinkCodeRequest { brand: brand_name(alliance, link.from) };
            let path = format!("/api/v1/members/{}/link-codes", link.card_there);
            let code: LinkCodeView = there.post(&path, &[], &request).await?;
            let request = LinkRequest { brand: brand_name(alliance, link.to), code: code.code };
            let path = format!("/api/v1/members/{}", link.card);
            let _: LinkView = here.post(&format!("{path}/links"), &[], &request).await?;
            until("a link is answered", async || {
                let member: MemberView = here.get(&path).await?;
                let state = member.links.into_iter().find(|known| known.brand == request.brand);
                Ok(state.filter(|link| link.state == "linked").map(drop))
            })
            .await?;
            progress.inc(1);
            Ok::<_, CliError>(())
        }
    });
    try_join_all(made).await?;
    progress.finish_and_clear();
    Ok(())
}

/// Points of every linked account, here and there.
async fn balances(
    alliance: &Alliance,
    links: &[Link],
) -> Result<BTreeMap<(usize, String), u64>, CliError> {
    let mut balances = BTreeMap::new();
    for link in links {
        for (place, card) in [(link.from, &link.card), (link.to, &link.card_there)] {
            let path = format!("/api/v1/members/{card}");
            let member: MemberView = alliance.client(place)?.get(&path).await?;
            balances.insert((place, card.clone()), member.available + member.held);
        }
    }
    Ok(balances)
}

/// The own brand refuses what its member does not have.
async fn refuse_one(
    alliance: &Alliance,
    links: &[Link],
    report: &mut Report,
    io: &Io,
) -> Result<(), CliError> {
    let Some(link) = links.first() else { return Ok(()) };
    let request = ExchangeRequest {
        card: link.card.clone(),
        to: brand_name(alliance, link.to),
        points: 1_000_000,
    };
    let client = alliance.client(link.from)?;
    let asked: Result<ExchangeView, ClientError> =
        client.post("/api/v1/exchanges", &[("idempotency-key", "too-many")], &request).await;
    match asked {
        Err(ClientError::Refused { problem, .. }) => {
            report.exchanges_refused += 1;
            io.say(&format!("   refused by the own brand: {} ({})", problem.detail, problem.code));
            Ok(())
        }
        Err(error) => Err(error.into()),
        Ok(_) => Err(CliError::Input("a million points were taken from a member".into())),
    }
}

/// A member withdraws consent at the other brand: what is sent there comes back.
async fn return_one(alliance: &Alliance, links: &[Link], io: &Io) -> Result<bool, CliError> {
    let Some(link) = links.last() else { return Ok(false) };
    let there = alliance.client(link.to)?;
    let path = format!("/api/v1/members/{}/consents", link.card_there);
    let consent = async |granted| {
        let purpose = "exchange".to_owned();
        let request =
            ConsentRequest { purpose, granted, notice_version: 1, ..ConsentRequest::default() };
        there.post::<_, ()>(&path, &[], &request).await
    };
    consent(false).await?;
    let to = brand_name(alliance, link.to);
    let request = ExchangeRequest { card: link.card.clone(), to, points: POINTS };
    let client = alliance.client(link.from)?;
    let view = insist(&client, "to-be-returned", &request).await?;
    let view = answer(&client, &view.id).await?;
    consent(true).await?;
    io.say(&format!(
        "   sent back by the other brand: the member had withdrawn the consent there ({}: {}); the points are the member's again",
        view.state,
        view.return_reason.clone().unwrap_or_default()
    ));
    Ok(view.state == "returned")
}

/// Asks until the node has taken the request: it may be away, and the key makes asking again safe.
async fn insist(
    client: &Client,
    key: &str,
    request: &ExchangeRequest,
) -> Result<ExchangeView, CliError> {
    let started = Instant::now();
    loop {
        let asked: Result<ExchangeView, ClientError> =
            client.post("/api/v1/exchanges", &[("idempotency-key", key)], request).await;
        if let Some(view) = patient(asked)? {
            return Ok(view);
        }
        if started.elapsed() > PATIENCE {
            return Err(CliError::Input("a node does not take an exchange".into()));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// A node that is away, or has forgotten its sessions in a restart, is asked again.
fn patient<T>(asked: Result<T, ClientError>) -> Result<Option<T>, CliError> {
    match asked {
        Ok(view) => Ok(Some(view)),
        Err(ClientError::Unreachable { .. } | ClientError::Timeout { .. }) => Ok(None),
        Err(ClientError::Refused { problem, .. }) if matches!(problem.status, 401 | 429 | 503) => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

async fn until<T>(
    what: &str,
    mut attempt: impl AsyncFnMut() -> Result<Option<T>, CliError>,
) -> Result<T, CliError> {
    let started = Instant::now();
    loop {
        if let Some(done) = attempt().await? {
            return Ok(done);
        }
        if started.elapsed() > PATIENCE {
            let seconds = PATIENCE.as_secs();
            return Err(CliError::Input(format!("not within {seconds} s: {what}")));
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn answer(client: &Client, id: &str) -> Result<ExchangeView, CliError> {
    let path = format!("/api/v1/exchanges/{id}");
    until("an exchange is answered", async || {
        let view = patient(client.get::<ExchangeView>(&path).await)?;
        Ok(view.filter(|view| matches!(view.state.as_str(), "acknowledged" | "returned")))
    })
    .await
}

async fn answers(
    alliance: &Alliance,
    ids: &[(usize, String)],
) -> Result<Vec<ExchangeView>, CliError> {
    let mut views = Vec::with_capacity(ids.len());
    for (from, id) in ids {
        views.push(answer(&alliance.client(*from)?, id).await?);
    }
    Ok(views)
}

/// Every account has what it had, less what it sent, plus what it was sent: nothing lost, nothing
/// applied twice.
async fn compare(
    alliance: &Alliance,
    links: &[Link],
    before: &BTreeMap<(usize, String), u64>,
    exchanges: u32,
    views: &[ExchangeView],
    report: &mut Report,
) -> Result<(), CliError> {
    let mut expected = before.clone();
    let by_id: BTreeMap<&str, &ExchangeView> =
        views.iter().map(|view| (view.id.as_str(), view)).collect();
    let stand = by_id.values().filter(|view| view.state == "acknowledged").count() as u64;
    report.restart.lost += u64::from(exchanges).saturating_sub(stand);
    // which link an exchange went over follows from the order in which they were asked for
    for (number, link) in (0..exchanges).zip(links.iter().cycle()) {
        let id = exchange_id(&format!("demo-{number}"));
        let Some(view) = by_id.get(id.as_str()) else { continue };
        if view.state != "acknowledged" {
            continue;
        }
        if let Some(balance) = expected.get_mut(&(link.from, link.card.clone())) {
            *balance = balance.saturating_sub(view.points_sent);
        }
        if let Some(balance) = expected.get_mut(&(link.to, link.card_there.clone())) {
            *balance += view.points_received;
        }
    }
    let after = balances(alliance, links).await?;
    for (account, points) in &after {
        let should = expected.get(account).copied().unwrap_or_default();
        match points.cmp(&should) {
            std::cmp::Ordering::Less => report.restart.lost += 1,
            std::cmp::Ordering::Greater => report.restart.duplicated += 1,
            std::cmp::Ordering::Equal => {}
        }
    }
    Ok(())
}

/// All nodes net the same cut-off.
pub async fn clear(alliance: &Alliance, report: &mut Report, io: &Io) -> Result<(), CliError> {
    io.say("\n3. Clearing: one brand closes, the others follow, every node nets for itself");
    io.say("   清分：各节点独立计算净额，并把结果哈希写入各自的账本");
    let status: Status = alliance.client(0)?.get("/api/v1/status").await?;
    // a moment all clocks agree has passed
    let cut_off = status.now_ms.saturating_sub(1);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let path = format!("/api/v1/clearings/{cut_off}");
    let _: StatementView = alliance.client(0)?.post(&format!("{path}/closing"), &[], &()).await?;
    let mut hashes = Vec::new();
    let mut last = StatementView::default();
    for place in 0..alliance.brands().len() {
        let client = alliance.client(place)?;
        last = until("every brand has entered the same statement", async || {
            let asked = client.get::<StatementView>(&path).await;
            let view = match asked {
                Err(ClientError::Refused { problem, .. }) if problem.status == 404 => None,
                asked => patient(asked)?,
            };
            Ok(view.filter(|view| matches!(view.state.as_str(), "agreed" | "mismatch")))
        })
        .await?;
        hashes.push((last.state.clone(), last.hash.clone()));
    }
    report.clearing_agreed = hashes.iter().all(|(state, hash)| {
        state == "agreed" && Some(hash) == hashes.first().map(|(_, hash)| hash)
    });
    for position in &last.positions {
        let yuan = position.net_micro_fen as f64 / 1e8;
        let words = if yuan < 0.0 { "to pay / 应付" } else { "to receive / 应收" };
        io.say(&format!("   {:<14} {:>10.2} yuan {words}", position.brand, yuan.abs()));
    }
    io.say(&format!("   statement {}", last.hash.unwrap_or_default()));
    Ok(())
}

/// A joint question: cost and expected error first, the noised answer, the truth beside it.
pub async fn ask(alliance: &Alliance, report: &mut Report, io: &Io) -> Result<(), CliError> {
    io.say("\n4. A joint question: no brand sees another's figures, the answer is noised by all");
    io.say("   联合提问：各品牌数据不出本地，噪声由各方共同加入，任何一方都看不到真值");
    io.say(&format!("   {QUESTION}"));
    let client = alliance.client(0)?;
    let request = PlanRequest { sql: QUESTION.to_owned(), ..PlanRequest::default() };
    let plan: PlanView = client.post("/api/v1/queries/plan", &[], &request).await?;
    explain(&plan, io);
    let started = Instant::now();
    let request = QueryRequest {
        sql: QUESTION.to_owned(),
        plan: plan.plan.clone(),
        ..QueryRequest::default()
    };
    let view: QueryView = client.post("/api/v1/queries", &[], &request).await?;
    let view = follow_query(&client, view, |step| io.say(&format!("   {step}"))).await?;
    let Some(release) = view.release else {
        let why = view.reason.unwrap_or_default();
        return Err(CliError::Input(format!("the joint question was not answered: {why}")));
    };
    report.query.seconds = started.elapsed().as_secs_f64();
    let truth = exact::active_memberships_by_half().await?;
    let floor = plan.sigma.first().map_or(f64::INFINITY, |noise| noise.smallest_cell_5_percent);
    let mut errors = Vec::new();
    io.say("   half      released   95 % interval      exact (only the demo knows) / 真值（仅演示可知）");
    for row in &release.rows {
        let half = row.keys.first().cloned().unwrap_or_default();
        let (Some(value), Some(low), Some(high)) =
            (row.values.first(), row.low.first(), row.high.first())
        else {
            continue;
        };
        let exact = truth.get(&half).copied().unwrap_or_default() as f64;
        report.query.cells += 1;
        report.query.cells_above_floor += usize::from(exact >= floor);
        report.query.intervals_covering += usize::from(*low <= exact && exact <= *high);
        errors.push((value - exact).abs() / exact.max(1.0));
        io.say(&format!("   {half:<9} {value:>8.0}   [{low:>6.0}, {high:>6.0}]   {exact:>8.0}"));
    }
    errors.sort_by(f64::total_cmp);
    report.query.median_relative_error = match errors.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => errors[n / 2],
        n => f64::midpoint(errors[n / 2 - 1], errors[n / 2]),
    };
    report.query.rho = release.cost_pico_rho as f64 / 1e12;
    report.query.epsilon = release.epsilon;
    io.say(&format!("   {}", release.statement.en));
    io.say(&format!("   {}", release.statement.zh));
    Ok(())
}

/// A saved question that every brand answers for itself: by its own policy, on its own account.
pub async fn ask_each(alliance: &Alliance, report: &mut Report, io: &Io) -> Result<(), CliError> {
    io.say("\n   The same, brand by brand: a saved question; each brand that agreed answers about its own members");
    io.say("   品牌合集：每个同意的品牌就自己的会员作答，费用记入各自账户");
    let client = alliance.client(0)?;
    let path = "/api/v1/templates/members/question";
    let filled: FilledTemplate = client.post(path, &[], &FillRequest::default()).await?;
    let (sql, scope, pico_rho) = (filled.sql, Some(filled.scope), Some(filled.pico_rho));
    let asked =
        Asked { sql, scope, pico_rho, stands: false, chooses_bound: false, participants: None };
    let plan = asked.plan(&client).await?;
    explain(&plan, io);
    let started = Instant::now();
    let release = asked.ask(&client, &plan, io).await?;
    let release = release.ok_or_else(|| CliError::Input("no brand has answered".into()))?;
    report.pack.seconds = started.elapsed().as_secs_f64();
    report.pack.brands = release.rows.len();
    report.pack.rho = plan.rho;
    for row in &release.rows {
        let (Some(value), Some(low), Some(high)) =
            (row.values.first(), row.low.first(), row.high.first())
        else {
            continue;
        };
        let brand = row.keys.join(" ");
        io.say(&format!("   {brand:<14} {value:>8.0}   [{low:>6.0}, {high:>6.0}]"));
    }
    Ok(())
}

/// The offline verifier over a copy of all logs; then one byte of the copy is altered.
pub async fn audit(alliance: &Alliance, report: &mut Report, io: &Io) -> Result<(), CliError> {
    io.say("\n5. Audit: the offline verifier reads a copy of the logs, trusting nobody");
    io.say("   审计：离线核验全部账本副本，不信任任何一方");
    let logs = alliance.subfolder("audit");
    copy_logs(alliance, &logs).await?;
    let arguments = AuditArguments {
        logs: logs.clone(),
        constitution: alliance.constitution(),
        signatures: alliance.signatures(),
        later: Vec::new(),
        auditor_keys: vec![format!("{AUDITOR}={}", alliance.auditor_key().display())],
        recovery_keys: Vec::new(),
        witnesses: Vec::new(),
        openings: Vec::new(),
        archive: None,
        json: false,
    };
    let started = Instant::now();
    let found = tokio::task::block_in_place(|| run_audit(&arguments))?;
    report.audit.seconds = started.elapsed().as_secs_f64();
    report.audit.findings = found.findings();
    report.audit.entries = found.ledger.counts.entries;
    report.audit.opened = found.ledger.counts.payloads;
    io.say(&format!(
        "   {} blocks, {} entries, {} signatures checked, {} sealed entries opened: {} findings",
        found.ledger.counts.blocks,
        found.ledger.counts.entries,
        found.ledger.counts.signatures,
        found.ledger.counts.payloads,
        report.audit.findings
    ));
    for account in found.budget.iter().flat_map(|budget| &budget.accounts) {
        io.say(&format!(
            "   privacy budget of {} ({}), added up again from the logs: {} of {} pico-rho in {}",
            account.brand,
            account.account,
            account.charged_pico_rho,
            account.quota_pico_rho,
            account.year
        ));
    }
    for finding in found.budget.iter().flat_map(|budget| &budget.findings) {
        io.say(&format!("   FINDING {finding}"));
    }
    for finding in &found.ledger.findings {
        io.say(&format!("   FINDING {finding}"));
    }
    let (log, entry) = alter_one_byte(&logs)?;
    io.say(&format!(
        "   one byte of entry {entry} in the copy of {log}'s log is altered / 篡改一个字节"
    ));
    let found = tokio::task::block_in_place(|| run_audit(&arguments))?;
    for finding in &found.ledger.findings {
        io.say(&format!("   FINDING {finding}"));
        let at = finding.leaf.map(|leaf| leaf.get());
        report.audit.tamper_detected |= finding.log.as_str() == log && at == Some(entry);
    }
    Ok(())
}

/// Copies what the nodes publish: certificates and checkpoints first, of a moment at which no node knew of more, or
/// one copy would recognise blocks that another does not have.
async fn copy_logs(alliance: &Alliance, to: &Path) -> Result<(), CliError> {
    let of_brands = |name: &str| -> Vec<(PathBuf, PathBuf)> {
        let brands = alliance.brands().iter();
        let of = |id: &str, log: &Path| (log.join(name), to.join(id).join(name));
        brands.map(|brand| of(brand.id.as_str(), &brand.data.log())).collect()
    };
    let heads = [of_brands(CERTIFICATES_FILE), of_brands(CHECKPOINT_FILE)].concat();
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        heads.iter().try_for_each(|(from, to)| copy(from, to))?;
        // what a node has learned is in its status by then
        tokio::time::sleep(2 * POLL).await;
        let are_same = heads.iter().all(|(from, to)| fs::read(from).ok() == fs::read(to).ok());
        if are_same && has_all_that_is_known(alliance, to).await? {
            break;
        }
    }
    for brand in alliance.brands() {
        let log = brand.data.log();
        for file in files(&log.join("tile")) {
            let Ok(name) = file.strip_prefix(&log) else { continue };
            copy(&file, &to.join(brand.id.as_str()).join(name))?;
        }
    }
    Ok(())
}

/// Whether no node has seen more of any log certified than the copied checkpoints have: a log is published a moment
/// after others know of its block.
async fn has_all_that_is_known(alliance: &Alliance, copies: &Path) -> Result<bool, CliError> {
    let mut copied = BTreeMap::new();
    for brand in alliance.brands() {
        let path = copies.join(brand.id.as_str()).join(CHECKPOINT_FILE);
        let bytes = fs::read(&path).map_err(|source| CliError::File { path, source })?;
        let size = SignedCheckpoint::parse(&bytes).map_or(0, |it| it.unverified().size().get());
        copied.insert(brand.id.to_string(), size);
    }
    for place in 0..alliance.brands().len() {
        let status: Status = alliance.client(place)?.get("/api/v1/status").await?;
        if status.heads.iter().any(|head| copied.get(&head.brand).is_some_and(|it| *it < head.size))
        {
            return Ok(false);
        }
    }
    Ok(true)
}

fn copy(from: &Path, to: &Path) -> Result<(), CliError> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)
            .map_err(|source| CliError::File { path: parent.into(), source })?;
    }
    fs::copy(from, to).map(drop).map_err(|source| CliError::File { path: from.into(), source })
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files
}

/// Alters one byte in the middle of the third entry of the first log; says which log and entry.
fn alter_one_byte(logs: &Path) -> Result<(String, u64), CliError> {
    const ENTRY: u64 = 3;
    let log = alliance_config::sample::BRANDS.first().map_or("", |brand| brand.id);
    let mut bundles = files(&logs.join(log).join("tile/entries"));
    bundles.sort();
    // every file that holds the entry, full or partial, or the other copies would betray it
    for path in bundles.iter().filter(|path| path.to_string_lossy().contains("/entries/000")) {
        let wrong = |source| CliError::File { path: path.clone(), source };
        let mut bytes = fs::read(path).map_err(wrong)?;
        let mut start = 0_usize;
        for _ in 0..ENTRY {
            let Some(length) = bytes.get(start..start + 2) else { break };
            start += 2 + usize::from(u16::from_be_bytes([length[0], length[1]]));
        }
        if let Some(byte) = bytes.get_mut(start + 60) {
            *byte ^= 1;
            fs::write(path, &bytes).map_err(wrong)?;
        }
    }
    Ok((log.to_owned(), ENTRY))
}
