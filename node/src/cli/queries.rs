//! `coalition query`, `answers`, `budget`, `datasets` and `policy`.

use std::fs;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::operations::{NodeArguments, client};
use super::{CliError, Io};
use crate::cleanroom::policy::{Policy, PolicyFile};
use crate::client::Client;
use crate::config::DataDirectory;
use crate::console::utc;
use crate::constitutions::Known;
use crate::http::{PlanRequest, QueryRequest};
use crate::rendering::{self, Format};
use crate::service::*;

/// How often a command asks how far a question has come.
const POLL: Duration = Duration::from_millis(100);

/// How a question is asked and its answer shown.
#[derive(Debug, Clone, clap::Args)]
pub struct AskArguments {
    /// Who answers: joint (all brands together), local (this brand alone) or pack (each brand that
    /// agrees). Without it, a question with brand among its group keys is a pack, any other joint.
    #[arg(long)]
    pub scope: Option<Scope>,
    /// What it may cost, in rho, such as 0.001; the profile's cost of a query without it.
    #[arg(long, value_parser = pico_rho)]
    pub rho: Option<u64>,
    /// Pay once, and have each period among the group keys answered when it is over: for a local question
    /// with date_trunc('month', ...) or the like, without HAVING, ORDER BY and LIMIT.
    #[arg(long)]
    pub stands: bool,
    /// Choose the bound on what one member contributes to the question's one sum first: a tenth of the cost pays for a
    /// question for members' sums, whose answer bounds the question itself. Joint or local.
    #[arg(long, conflicts_with = "stands")]
    pub choose_bound: bool,
    /// Ask these brands together, this one among them, in place of all that are not suspended; separated by commas.
    /// Others take part where their policies say from how many brands on. A set is refused whose answer, less another of
    /// the year, would be the total of fewer than three brands.
    #[arg(long, value_name = "BRANDS", value_delimiter = ',')]
    pub with: Option<Vec<String>>,
    /// Show cost and expected error, and spend nothing.
    #[arg(long)]
    pub explain: bool,
    /// Spend without asking.
    #[arg(long)]
    pub yes: bool,
    /// table, csv, json, parquet or svg, each with the whole privacy statement.
    #[arg(long, default_value = "table")]
    pub format: Format,
    /// Short for --format json.
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// Write the answer to this file instead of stdout.
    #[arg(long)]
    pub output: Option<PathBuf>,
}

impl AskArguments {
    /// The form that was asked for.
    #[must_use]
    pub const fn form(&self) -> Format {
        if self.json { Format::Json } else { self.format }
    }
}

/// A question.
#[derive(Debug, clap::Args)]
pub struct QueryArguments {
    #[command(flatten)]
    /// Which node.
    node: NodeArguments,
    /// The question: one SELECT; what may be asked is in `coalition datasets`, examples in `coalition
    /// templates`.
    sql: String,
    #[command(flatten)]
    ask: AskArguments,
}

/// Which answers.
#[derive(Debug, clap::Args)]
pub struct AnswersArguments {
    #[command(flatten)]
    /// Which node.
    node: NodeArguments,
    /// How many at most, the newest first.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Show one answer by its id.
    #[arg(long)]
    id: Option<String>,
    /// table, csv, json, parquet or svg.
    #[arg(long, default_value = "table")]
    format: Format,
    /// Write the answer to this file instead of stdout.
    #[arg(long)]
    output: Option<PathBuf>,
}

/// Which budget.
#[derive(Debug, clap::Args)]
pub struct BudgetArguments {
    #[command(flatten)]
    /// Which node.
    node: NodeArguments,
    /// The calendar year; the present one without it.
    #[arg(long)]
    year: Option<u16>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Which datasets.
#[derive(Debug, clap::Args)]
pub struct DatasetsArguments {
    #[command(flatten)]
    /// Which node.
    node: NodeArguments,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The brand's policy.
#[derive(Debug, clap::Subcommand)]
pub enum PolicyCommand {
    /// Show the policy in force.
    Show {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
    },
    /// Check a policy against the constitution of a data directory; no node need run.
    Check {
        /// Data directory of the node.
        #[arg(long)]
        data: PathBuf,
        /// The file; policy.toml of the data directory without it.
        file: Option<PathBuf>,
    },
    /// Let the running node read policy.toml again; it holds from the next question on.
    Read {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
    },
}

/// Shows an answer on stdout, or writes it to a file.
///
/// # Errors
/// When it cannot be written.
pub fn render(
    release: &ReleaseView,
    format: Format,
    output: Option<&Path>,
) -> Result<(), CliError> {
    let bytes =
        rendering::bytes(release, format).map_err(|error| CliError::Input(error.to_string()))?;
    let stdout = std::io::stdout();
    match output {
        Some(path) => write(path, &bytes),
        None if format == Format::Parquet && stdout.is_terminal() => Err(CliError::Input(
            "Parquet is not for a terminal: give --output FILE, or a pipe".into(),
        )),
        None => stdout.lock().write_all(&bytes).map_err(CliError::Stdout),
    }
}

/// Plans, asks, runs, shows.
///
/// # Errors
/// When the node refuses, or the attempt is void.
pub async fn query(arguments: &QueryArguments) -> Result<(), CliError> {
    let client = client(&arguments.node).await?;
    let ask = &arguments.ask;
    let (sql, stands) = (arguments.sql.clone(), ask.stands);
    // nothing else stands
    let scope = if stands { ask.scope.or(Some(Scope::Local)) } else { ask.scope };
    let asked = Asked {
        sql,
        scope,
        pico_rho: ask.rho,
        stands,
        chooses_bound: ask.choose_bound,
        participants: ask.with.clone(),
    };
    let io = Io::new(ask.form() == Format::Json);
    let plan = asked.plan(&client).await?;
    explain(&plan, &io);
    if ask.explain {
        return if ask.form() == Format::Json { Io::new(true).json(&plan) } else { Ok(()) };
    }
    if !ask.yes && !confirmed()? {
        io.say("nothing was spent / 未消耗预算");
        return Ok(());
    }
    match asked.ask(&client, &plan, &io).await? {
        Some(release) => render(&release, ask.form(), ask.output.as_deref()),
        None => Ok(()),
    }
}

/// A question on its way.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Its text.
    pub sql: String,
    /// Who answers.
    pub scope: Option<Scope>,
    /// What it may cost.
    pub pico_rho: Option<u64>,
    /// Whether it stands.
    pub stands: bool,
    /// Whether its bound is chosen first.
    pub chooses_bound: bool,
    /// The brands that it is put to; none for all that are not suspended.
    pub participants: Option<Vec<String>>,
}

impl Asked {
    /// Plans it.
    ///
    /// # Errors
    /// When the node refuses.
    pub async fn plan(&self, client: &Client) -> Result<PlanView, CliError> {
        let Self { sql, scope, pico_rho, stands, chooses_bound: choose_bound, participants } =
            self.clone();
        let request = PlanRequest { sql, scope, pico_rho, stands, choose_bound, participants };
        Ok(client.post("/api/v1/queries/plan", &[], &request).await?)
    }

    /// Asks it, tells each step, and gives the answer: none of a standing question whose first period is
    /// not over.
    ///
    /// # Errors
    /// When the node refuses, or the attempt is void.
    pub async fn ask(
        &self,
        client: &Client,
        plan: &PlanView,
        io: &Io,
    ) -> Result<Option<ReleaseView>, CliError> {
        let view = self.asked(client, plan, io).await?;
        let view = whole(client, view).await?;
        for brand in &view.brands {
            if let Some(reason) = &brand.reason {
                io.say(&format!("  {}: {} / {}", brand.brand, reason.en, reason.zh));
            }
        }
        if let Some(standing) = &view.standing {
            io.say(&format!(
                "  {} of {} periods are answered / 已答复 {}/{} 个周期",
                standing.released, standing.periods, standing.released, standing.periods
            ));
            if let Some(due) = &standing.next_due {
                io.say(&format!(
                    "  the next from {due}: coalition answers --id {0} / 下一周期自 {due} 起：coalition answers --id {0}",
                    view.id
                ));
            }
        }
        if view.release.is_none() && view.step != "standing" {
            return Err(CliError::Input(format!(
                "the attempt is void: {}",
                view.reason.unwrap_or_else(|| "a participant did not answer in time".into())
            )));
        }
        Ok(view.release)
    }
}

impl Asked {
    /// Asks it and waits for its end: of one whose bound is chosen first, that of the question for the bound too.
    async fn asked(
        &self,
        client: &Client,
        plan: &PlanView,
        io: &Io,
    ) -> Result<QueryView, CliError> {
        let mut bound_from = None;
        loop {
            let Self { sql, scope, pico_rho, stands, chooses_bound: choose_bound, participants } =
                self.clone();
            let plan = plan.plan.clone();
            let again = bound_from.is_some();
            let request = QueryRequest {
                sql,
                plan,
                scope,
                pico_rho,
                stands,
                choose_bound,
                bound_from,
                participants,
            };
            let view: QueryView = client.post("/api/v1/queries", &[], &request).await?;
            let chosen = view.chosen_bound.clone();
            if let Some(bound) = chosen.as_ref().and_then(|chosen| chosen.bound) {
                io.say(&format!(
                    "  the bound on what one member contributes is {bound} / 单一会员贡献的上界为 {bound}"
                ));
            }
            let view = follow_query(client, view, |step| io.say(&format!("  {step}"))).await?;
            match chosen.filter(|chosen| chosen.bound.is_none()) {
                Some(chosen) if view.step == "released" && !again => {
                    bound_from = Some(chosen.query);
                }
                Some(_) if view.step == "void" => {
                    io.say(
                        "  the question for the bound came to nothing; the question itself cost nothing / 上界问题未能作答；问题本身未消耗预算",
                    );
                    return Ok(view);
                }
                _ => return Ok(view),
            }
        }
    }
}

/// Asks the person at the terminal.
///
/// # Errors
/// When nothing can be read.
pub fn confirmed() -> Result<bool, CliError> {
    eprint!("spend it? / 确认消耗？ [y/N] ");
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .map_err(|error| CliError::Input(format!("no answer could be read: {error}")))?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes" | "是"))
}

/// Waits for the end of a query, telling each step once.
///
/// # Errors
/// When the node cannot be reached.
pub async fn follow_query(
    client: &Client,
    mut view: QueryView,
    mut tell: impl FnMut(&str),
) -> Result<QueryView, CliError> {
    let mut told = String::new();
    loop {
        let waiting = view.brands.iter().filter(|brand| brand.state == "waiting");
        let waiting: Vec<&str> = waiting.map(|brand| brand.brand.as_str()).collect();
        let now = match waiting.as_slice() {
            [] => view.step.clone(),
            waiting => format!("{}: {}", view.step, waiting.join(", ")),
        };
        if now != told {
            tell(&now);
            told = now;
        }
        let waits = view.standing.as_ref().is_some_and(|it| it.waits) && view.step == "standing";
        if matches!(view.step.as_str(), "released" | "void") || waits {
            return Ok(view);
        }
        tokio::time::sleep(POLL).await;
        view = client.get(&format!("/api/v1/queries/{}", view.id)).await?;
    }
}

/// The question with all rows of its answer, of which the node gives a page at a time.
async fn whole(client: &Client, mut view: QueryView) -> Result<QueryView, CliError> {
    loop {
        let Some(release) = &mut view.release else { return Ok(view) };
        let from = release.rows.len();
        if from >= release.rows_in_all as usize {
            return Ok(view);
        }
        let path = format!("/api/v1/queries/{}?from={from}", view.id);
        let next: QueryView = client.get(&path).await?;
        let same = |next: &ReleaseView| next.hash == release.hash && !next.rows.is_empty();
        let next = next.release.filter(same).ok_or_else(|| {
            CliError::Input(
                "the answer got another period meanwhile: ask for it again / 答案在此期间新增了一期：请重新获取"
                    .to_owned(),
            )
        })?;
        release.rows.extend(next.rows);
    }
}

/// Cost and expected error, in words.
pub fn explain(plan: &PlanView, io: &Io) {
    io.say(&format!("understood as: {}", plan.sql));
    io.say(&format!(
        "{} answer of {}, for {}, by the account {}",
        plan.scope,
        plan.participants.join(", "),
        plan.purpose,
        plan.analyst
    ));
    let delta = match plan.cost_pico_delta {
        0 => String::new(),
        delta => format!(" and delta {:e}", delta as f64 / 1e12),
    };
    io.say(&format!(
        "{} cells; costs rho {} ({} pico-rho; epsilon {:.3} at delta 1e-6){delta}, leaves {} pico-rho of this year's quota",
        plan.cells, plan.rho, plan.cost_pico_rho, plan.epsilon, plan.left_after_pico_rho
    ));
    for noise in &plan.sigma {
        io.say(&format!(
            "  {} ({}): within ±{:.0} in 95 % of cases, {:.0} off on average (sigma {:.1}, bound {}); cells below {:.0} will be noisier than 5 %",
            noise.column,
            noise.unit,
            noise.half_width_95,
            noise.expected_error,
            noise.sigma,
            noise.bound,
            noise.smallest_cell_5_percent
        ));
        for own in &noise.bounds_by_brand {
            io.say(&format!(
                "    at {}: bound {}, {:.0} off on average",
                own.brand, own.bound, own.expected_error
            ));
        }
    }
    if let Some(choice) = &plan.bound_choice {
        io.say(&format!(
            "  first, for {} pico-rho, the question for the bound: {}",
            choice.cost_pico_rho, choice.sql
        ));
        for noise in &choice.sigma {
            io.say(&format!(
                "    {} ({}): {:.0} off on average; the bound is at most {}",
                noise.column, noise.unit, noise.expected_error, choice.most
            ));
        }
        io.say(&format!(
            "  then, for {} pico-rho, the question itself within that bound",
            choice.rest_pico_rho
        ));
    }
    for warning in &plan.warnings {
        io.say(&format!("  note: {} / {}", warning.en, warning.zh));
    }
}

/// The columns of the list of questions.
const LISTED: &str = "id\tscope\tbrands\tcells\tpico_rho\tcolumns\tstep\tasked\tby\tsql";

/// A line of the list; what was asked is in one line, whatever its layout.
fn listed(view: QueryView) -> String {
    let charged = view.charged_pico_rho;
    let cost = view.release.as_ref().map_or(charged, |release| release.cost_pico_rho);
    let release = view.release.unwrap_or_default();
    let sql = view.sql.unwrap_or_default();
    format!(
        "{}\t{}\t{}\t{}\t{cost}\t{}\t{}\t{}\t{}\t{}",
        view.id,
        view.scope,
        release.participants.join(","),
        release.rows.len().max(release.rows_in_all as usize),
        [release.keys, release.values].concat().join(","),
        view.step,
        view.asked_ms.and_then(utc).unwrap_or_default(),
        view.asked_by.unwrap_or_default(),
        sql.split_whitespace().collect::<Vec<_>>().join(" ")
    )
}

/// Lists questions with their answers, or shows one again: that costs nothing.
///
/// # Errors
/// When the node refuses.
pub async fn answers(arguments: &AnswersArguments, json: bool) -> Result<(), CliError> {
    let format = if json { Format::Json } else { arguments.format };
    let client = client(&arguments.node).await?;
    if let Some(id) = &arguments.id {
        let view = client.get(&format!("/api/v1/queries/{id}")).await?;
        let view = whole(&client, view).await?;
        let release = view.release.ok_or_else(|| {
            CliError::Input(format!("the question has no answer: it is {}", view.step))
        })?;
        return render(&release, format, arguments.output.as_deref());
    }
    let path = format!("/api/v1/queries?limit={}", arguments.limit.min(1000));
    let views: Vec<QueryView> = client.get_list(&path, arguments.limit as usize).await?;
    let mut io = Io::new(format == Format::Json);
    if io.is_json() {
        return io.json(&views);
    }
    io.line(LISTED)?;
    for view in views {
        io.line(&listed(view))?;
    }
    Ok(())
}

/// Shows every account of a year.
///
/// # Errors
/// When the node refuses.
pub async fn budget(arguments: &BudgetArguments) -> Result<(), CliError> {
    let client = client(&arguments.node).await?;
    let path = match arguments.year {
        Some(year) => format!("/api/v1/budgets?year={year}"),
        None => "/api/v1/budgets".to_owned(),
    };
    let mut view: BudgetsView = client.get(&path).await?;
    // all pages are one answer here
    while let Some(after) = view.next.take() {
        let page: BudgetsView =
            client.get(&format!("/api/v1/budgets?year={}&after={after}", view.year)).await?;
        for more in page.brands {
            if let Some(of) = view.brands.iter_mut().find(|of| of.brand == more.brand) {
                of.analysts.extend(more.analysts);
            }
        }
        view.next = page.next;
    }
    let mut io = Io::new(arguments.json);
    if arguments.json {
        return io.json(&view);
    }
    io.say(&format!(
        "{}, profile {}: all brands together may spend rho {} in a calendar year; amounts in pico-rho",
        view.year,
        view.profile,
        view.rho_per_year as f64 / 1e12
    ));
    io.line("brand\taccount\tanalyst\tquota\treserved\tcharged\tleft")?;
    let shown = |amount: Option<u64>| amount.map_or_else(|| "-".to_owned(), |a| a.to_string());
    let mut row = |brand: &str, account: &str, analyst: &str, of: &AccountView| {
        io.line(&format!(
            "{brand}\t{account}\t{analyst}\t{}\t{}\t{}\t{}",
            shown(of.quota_pico_rho),
            of.reserved_pico_rho,
            of.charged_pico_rho,
            shown(of.left_pico_rho)
        ))
    };
    for brand in &view.brands {
        row(&brand.brand, "joint", "all", &brand.joint)?;
        row(&brand.brand, "local", "all", &brand.local)?;
        for analyst in &brand.analysts {
            row(&brand.brand, "joint", &analyst.analyst, &analyst.joint)?;
            row(&brand.brand, "local", &analyst.analyst, &analyst.local)?;
        }
    }
    Ok(())
}

/// The data dictionary.
///
/// # Errors
/// When the node refuses.
pub async fn datasets(arguments: &DatasetsArguments) -> Result<(), CliError> {
    let client = client(&arguments.node).await?;
    let views: Vec<DatasetView> = client.get("/api/v1/datasets").await?;
    let mut io = Io::new(arguments.json);
    if arguments.json {
        return io.json(&views);
    }
    for dataset in &views {
        io.line(&format!("{} (contract {})", dataset.dataset, dataset.contract))?;
        for purpose in &dataset.purposes {
            io.line(&format!("  purpose / 用途  {}", purpose.name))?;
            io.line(&format!("    {}", purpose.consent.en))?;
            io.line(&format!("    {}", purpose.consent.zh))?;
        }
        io.line(&format!(
            "  brands / 品牌  {} (a joint answer needs {} / 联合回答至少 {} 个)",
            dataset.participants.join(", "),
            dataset.minimum_participants,
            dataset.minimum_participants
        ))?;
        io.line(&format!(
            "  at most {} members a brand, rows of the last {} years, profile {} / 每品牌会员上限 {}，可查询近 {} 年数据，预算档位 {}",
            dataset.members_at_most,
            dataset.retention_years,
            dataset.profile,
            dataset.members_at_most,
            dataset.retention_years,
            dataset.profile
        ))?;
        for table in &dataset.tables {
            let bound = table.rows_bound.map_or_else(
                || "public / 公开".to_owned(),
                |bound| format!("one member's rows count up to {bound} / 单个会员行数上限 {bound}"),
            );
            io.line(&format!("  {} ({bound})", table.name))?;
            for own in &table.rows_bound_by_brand {
                io.line(&format!(
                    "    at {}: up to {} rows / {}：上限 {} 行",
                    own.brand, own.bound, own.brand, own.bound
                ))?;
            }
            for column in &table.columns {
                let words = &column.words;
                io.line(&format!("    {:<14} {} / {}", column.name, words.en, words.zh))?;
                for value in &column.values {
                    let joint = if value.joint { "" } else { "  [local only / 仅本地]" };
                    let carriers = value.carriers.join(", ");
                    io.line(&format!("      {:<20} {carriers}{joint}", value.value))?;
                }
            }
        }
    }
    Ok(())
}

/// Shows, checks or re-reads the policy.
///
/// # Errors
/// When it is not right, or the node refuses.
pub async fn policy(command: &PolicyCommand) -> Result<(), CliError> {
    let mut io = Io::new(true);
    match command {
        PolicyCommand::Show { node } => {
            let view: PolicyView = client(node).await?.get("/api/v1/policy").await?;
            io.json(&view)
        }
        PolicyCommand::Read { node } => {
            let client = client(node).await?;
            let view: PolicyView = client.post("/api/v1/policy", &[], &()).await?;
            io.json(&view)
        }
        PolicyCommand::Check { data, file } => {
            let data = DataDirectory::new(data);
            let path = file.clone().unwrap_or_else(|| data.policy());
            let words = checked_policy(&data, &path).map_err(CliError::Input)?;
            io.say(&format!("{}: {words}", path.display()));
            Ok(())
        }
    }
}

/// Whether a policy can be used under the newest constitution of a data directory, in words.
///
/// # Errors
/// What is not right, and where.
pub fn checked_policy(data: &DataDirectory, path: &Path) -> Result<String, String> {
    fn words(error: impl std::fmt::Display) -> String {
        error.to_string()
    }
    let Some(file) = PolicyFile::read(path).map_err(words)? else {
        return Ok("not there: the contract's defaults hold, and no other brand gets this one's own answers".into());
    };
    let (_, brand) = data.settings().map_err(words)?;
    let known = Known::read(data).map_err(words)?;
    let chain = known.chain(brand).map_err(words)?;
    let newest = known.of_chain(&chain).next();
    let Some(room) = newest.and_then(|constitution| constitution.clean_room()) else {
        return Ok("the constitution has no clean room: it says nothing".into());
    };
    let me = brand.as_str().parse().map_err(words)?;
    let policy = Policy::new(&file, room.contract(), me).map_err(words)?;
    Ok(format!(
        "{} analyst accounts, own answers to {} other brands",
        policy.accounts().len(),
        policy.packs().len()
    ))
}

/// Writes bytes to a file.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    fs::write(path, bytes).map_err(|source| CliError::File { path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_a_line_whatever_its_text_and_with_or_without_one() {
        let view = QueryView {
            id: "9f".to_owned(),
            scope: "joint".to_owned(),
            step: "opening".to_owned(),
            charged_pico_rho: 7,
            ..QueryView::default()
        };
        let columns = LISTED.split('\t').count();
        assert_eq!(listed(view.clone()), "9f\tjoint\t\t0\t7\t\topening\t\t\t");
        let asked = QueryView {
            sql: Some("SELECT\tcount(*)\n  FROM purchases".to_owned()),
            asked_ms: Some(1_790_000_000_000),
            asked_by: Some("lin".to_owned()),
            ..view
        };
        let line = listed(asked);
        let end = "\topening\t2026-09-21 14:13:20 UTC\tlin\tSELECT count(*) FROM purchases";
        assert!(line.ends_with(end), "{line}");
        assert_eq!(line.split('\t').count(), columns);
    }

    #[test]
    fn rho_is_read_without_a_float() {
        assert_eq!(pico_rho("0.005"), Ok(5_000_000_000));
        assert_eq!(pico_rho("0.000000000001"), Ok(1));
        assert_eq!(pico_rho("1"), Ok(1_000_000_000_000));
        for wrong in ["0", "-1", "0.0000000000001", "1e-3", "", ".", "99999999"] {
            assert!(pico_rho(wrong).is_err(), "{wrong}");
        }
    }
}
