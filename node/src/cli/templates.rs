//! `coalition templates`: saved questions, and exact dashboards for a brand's own staff.

use std::collections::BTreeMap;

use privacy::PicoRho;
use privacy::units::DisplayDelta;

use super::operations::{NodeArguments, client};
use super::queries::{AskArguments, Asked, confirmed, explain, render};
use super::{CliError, Io};
use crate::client::Client;
use crate::http::{FiguresRequest, FillRequest};
use crate::rendering::Format;
use crate::service::*;

/// Saved questions.
#[derive(Debug, clap::Subcommand)]
pub enum TemplatesCommand {
    /// List them.
    List {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show one: what it says, its parameters, its SQL.
    Show {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Its name.
        name: String,
    },
    /// Ask one; a comparison asks this brand and the alliance, and shows both side by side.
    Ask {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Its name.
        name: String,
        /// A parameter, as name=value; can be given several times.
        #[arg(long = "parameter", short = 'p', value_parser = pair)]
        parameters: Vec<(String, String)>,
        #[command(flatten)]
        /// How.
        ask: AskArguments,
    },
    /// Exact figures of a dashboard over this brand's own members; for its own staff, spends nothing.
    Figures {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Its name.
        name: String,
        /// A parameter, as name=value; can be given several times.
        #[arg(long = "parameter", short = 'p', value_parser = pair)]
        parameters: Vec<(String, String)>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a parameter is name=value")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Lists, shows, asks.
///
/// # Errors
/// When the node refuses.
pub async fn run(command: &TemplatesCommand, json: bool) -> Result<(), CliError> {
    match command {
        TemplatesCommand::List { node, json } => list(&client(node).await?, *json).await,
        TemplatesCommand::Show { node, name } => show(&client(node).await?, name, json).await,
        TemplatesCommand::Ask { node, name, parameters, ask } => {
            ask_template(&client(node).await?, name, parameters, ask).await
        }
        TemplatesCommand::Figures { node, name, parameters, json } => {
            figures(&client(node).await?, name, parameters, *json).await
        }
    }
}

async fn all(client: &Client) -> Result<Vec<TemplateView>, CliError> {
    Ok(client.get("/api/v1/templates").await?)
}

async fn one(client: &Client, name: &str) -> Result<TemplateView, CliError> {
    let found = all(client).await?.into_iter().find(|template| template.id == name);
    found.ok_or_else(|| {
        CliError::Input(format!("there is no template {name:?}: see `coalition templates list`"))
    })
}

async fn list(client: &Client, json: bool) -> Result<(), CliError> {
    let templates = all(client).await?;
    let mut io = Io::new(json);
    if json {
        return io.json(&templates);
    }
    for template in templates {
        let scopes: Vec<&str> = template.scopes.iter().map(|scope| scope.name()).collect();
        io.line(&format!(
            "{:<28} {:<11} {:<18} {} / {}",
            template.id,
            template.kind,
            scopes.join(","),
            template.title.en,
            template.title.zh
        ))?;
        absent(&template, &io);
    }
    Ok(())
}

/// What the contract does not have, where that is why a template cannot be asked.
fn absent(template: &TemplateView, io: &Io) {
    if !template.absent.is_empty() {
        let columns = template.absent.join(", ");
        io.say(&format!(
            "{}: cannot be asked, the contract has no {columns} / 无法提问：合约没有 {columns}",
            template.id
        ));
    }
}

async fn show(client: &Client, name: &str, json: bool) -> Result<(), CliError> {
    let template = one(client, name).await?;
    let mut io = Io::new(json);
    if json {
        return io.json(&template);
    }
    io.line(&format!("{} / {}", template.title.en, template.title.zh))?;
    io.line(&format!("{}\n{}", template.note.en, template.note.zh))?;
    absent(&template, &io);
    for parameter in &template.parameters {
        io.line(&format!(
            "  {}={}  {} / {} ({})",
            parameter.name,
            parameter.default,
            parameter.words.en,
            parameter.words.zh,
            parameter.kind
        ))?;
        if !parameter.choices.is_empty() {
            io.line(&format!("    {}", parameter.choices.join(", ")))?;
        }
    }
    io.line(&template.sql)
}

async fn filled(
    client: &Client,
    name: &str,
    scope: Option<Scope>,
    parameters: &[(String, String)],
    ask: &AskArguments,
) -> Result<Asked, CliError> {
    let parameters: BTreeMap<String, String> = parameters.iter().cloned().collect();
    let path = format!("/api/v1/templates/{name}/question");
    let filled: FilledTemplate =
        client.post(&path, &[], &FillRequest { scope, parameters }).await?;
    let pico_rho = Some(ask.rho.unwrap_or(filled.pico_rho));
    Ok(Asked {
        sql: filled.sql,
        scope: Some(filled.scope),
        pico_rho,
        stands: ask.stands,
        chooses_bound: ask.choose_bound,
        // of a comparison the figure of this brand alone names none
        participants: ask.with.clone().filter(|_| filled.scope == Scope::Joint),
    })
}

async fn ask_template(
    client: &Client,
    name: &str,
    parameters: &[(String, String)],
    ask: &AskArguments,
) -> Result<(), CliError> {
    let template = one(client, name).await?;
    let io = Io::new(ask.form() == Format::Json);
    io.say(&format!("{} / {}", template.note.en, template.note.zh));
    let both = template.kind == "comparison" && ask.scope.is_none();
    let scopes = if both { vec![Some(Scope::Local), Some(Scope::Joint)] } else { vec![ask.scope] };
    let mut planned = Vec::new();
    for scope in scopes {
        let asked = filled(client, name, scope, parameters, ask).await?;
        let plan = asked.plan(client).await?;
        explain(&plan, &io);
        planned.push((asked, plan));
    }
    if ask.explain {
        let plans: Vec<&PlanView> = planned.iter().map(|(_, plan)| plan).collect();
        return if ask.form() == Format::Json { Io::new(true).json(&plans) } else { Ok(()) };
    }
    if !ask.yes && !confirmed()? {
        io.say("nothing was spent / 未消耗预算");
        return Ok(());
    }
    let mut releases = Vec::new();
    // the alliance first: a joint question is taken only while the own local account would bear its failure, and the
    // own figure is charged to that account
    for (asked, plan) in planned.iter().rev() {
        releases.extend(asked.ask(client, plan, &io).await?);
    }
    let release = match releases.as_slice() {
        [alliance, own] => beside(own, alliance),
        [one] => one.clone(),
        _ => return Ok(()),
    };
    render(&release, ask.form(), ask.output.as_deref())
}

/// This brand's answer and the alliance's, cell by cell.
fn beside(own: &ReleaseView, alliance: &ReleaseView) -> ReleaseView {
    let named = |of: &str, values: &[String]| {
        values.iter().map(|value| format!("{of}_{value}")).collect::<Vec<_>>()
    };
    let theirs: BTreeMap<&Vec<String>, &ReleaseRow> =
        alliance.rows.iter().map(|row| (&row.keys, row)).collect();
    let rows = own.rows.iter().filter_map(|row| {
        let other = theirs.get(&row.keys)?;
        let join = |one: &[f64], two: &[f64]| [one, two].concat();
        Some(ReleaseRow {
            keys: row.keys.clone(),
            values: join(&row.values, &other.values),
            low: join(&row.low, &other.low),
            high: join(&row.high, &other.high),
            quality: [row.quality.clone(), other.quality.clone()].concat(),
        })
    });
    let rows: Vec<ReleaseRow> = rows.collect();
    // for a member of this brand the costs add up
    let cost = own.cost_pico_rho.saturating_add(alliance.cost_pico_rho);
    ReleaseView {
        query: format!("{}, {}", own.query, alliance.query),
        scope: "comparison".to_owned(),
        hash: format!("{}, {}", own.hash, alliance.hash),
        keys: own.keys.clone(),
        values: [named("own", &own.values), named("alliance", &alliance.values)].concat(),
        rows_in_all: u32::try_from(rows.len()).unwrap_or(u32::MAX),
        rows,
        cost_pico_rho: cost,
        epsilon: privacy::plan::epsilon(PicoRho::new(cost), DisplayDelta::MICRO),
        participants: alliance.participants.clone(),
        statement: Bilingual {
            zh: format!("{} {}", own.statement.zh, alliance.statement.zh),
            en: format!("{} {}", own.statement.en, alliance.statement.en),
        },
        privacy: [own.privacy.clone(), alliance.privacy.clone()].concat(),
    }
}

async fn figures(
    client: &Client,
    name: &str,
    parameters: &[(String, String)],
    json: bool,
) -> Result<(), CliError> {
    let request = FiguresRequest { parameters: parameters.iter().cloned().collect() };
    let path = format!("/api/v1/templates/{name}/figures");
    let figures: FiguresView = client.post(&path, &[], &request).await?;
    let mut io = Io::new(json);
    if json {
        return io.json(&figures);
    }
    io.say(&format!("{} / {}", figures.note.en, figures.note.zh));
    io.line(&figures.columns.join("\t"))?;
    for row in &figures.rows {
        io.line(&row.join("\t"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_figure_stands_beside_the_alliances() {
        let release = |value: f64, keys: &[&str]| ReleaseView {
            keys: vec!["quarter".to_owned()],
            values: vec!["active".to_owned()],
            rows: keys
                .iter()
                .map(|key| ReleaseRow {
                    keys: vec![(*key).to_owned()],
                    values: vec![value],
                    low: vec![value - 1.0],
                    high: vec![value + 1.0],
                    quality: vec!["usable".to_owned()],
                })
                .collect(),
            ..ReleaseView::default()
        };
        let mut own = release(10.0, &["1", "2"]);
        let mut alliance = release(50.0, &["2", "1"]);
        (own.cost_pico_rho, alliance.cost_pico_rho) = (3_000_000_000, 5_000_000_000);
        let both = beside(&own, &alliance);
        let epsilon = privacy::plan::epsilon(PicoRho::new(8_000_000_000), DisplayDelta::MICRO);
        assert_eq!(both.cost_pico_rho, 8_000_000_000);
        assert!((both.epsilon - epsilon).abs() < 1e-12, "{}", both.epsilon);
        assert_eq!(both.values, ["own_active", "alliance_active"]);
        assert_eq!(both.rows.len(), 2);
        assert_eq!(both.rows[0].values, [10.0, 50.0]);
        assert_eq!(both.rows[0].keys, ["1"]);
    }
}
