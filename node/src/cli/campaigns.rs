//! Segments and campaigns from the command line: listed, shown, counted, kept, made, ended.

use serde::Serialize;

use super::operations::{NodeArguments, client};
use super::{CliError, Io};
use crate::client::Client;
use crate::service::{
    CampaignGroupRequest, CampaignGroupView, CampaignRequest, CampaignView, CampaignsView,
    DoneView, ManagerAction, SegmentRequest, SegmentView, SegmentsView,
};

/// What to do about segments.
#[derive(Debug, clap::Subcommand)]
pub enum SegmentCommand {
    /// List segments, those of the rules and those that are kept beside them, with how many members each has.
    List {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show one: who is in it, and how many.
    Show {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Its name.
        name: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say how many members a segment would have; nothing is kept.
    Count {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        #[command(flatten)]
        /// Who is in it.
        conditions: SegmentArguments,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Keep a segment beside those of the rules, or change one that is kept.
    Keep {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Its name: 1 to 40 of a-z, 0-9, _ and -.
        name: String,
        /// What staff read, in Chinese.
        #[arg(long)]
        zh: String,
        /// And in English.
        #[arg(long)]
        en: String,
        #[command(flatten)]
        /// Who is in it.
        conditions: SegmentArguments,
    },
    /// Keep a segment no longer; campaigns that were made for it go on.
    Drop {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Its name.
        name: String,
    },
}

/// Who is in a segment: who fulfils all that is given; all members when nothing is.
#[derive(Debug, clap::Args)]
pub struct SegmentArguments {
    /// This tier of the rules or above.
    #[arg(long)]
    tier_at_least: Option<String>,
    /// No purchase for at least so many days, and one before.
    #[arg(long)]
    quiet_days: Option<u32>,
    /// Spent at least so much in the last twelve months, in fen.
    #[arg(long)]
    spent_at_least_fen: Option<u64>,
    /// The category most was spent on.
    #[arg(long)]
    category: Option<String>,
    /// The channel most purchases came by.
    #[arg(long)]
    channel: Option<String>,
    /// The part of the day most purchases are in.
    #[arg(long, value_parser = ["morning", "afternoon", "evening", "night"])]
    hours: Option<String>,
    /// Where in the time with the brand.
    #[arg(long, value_parser = ["new", "first", "active", "quiet", "lost"])]
    lifecycle: Option<String>,
}

impl SegmentArguments {
    fn terms(&self, zh: &str, en: &str) -> SegmentRequest {
        SegmentRequest {
            zh: zh.to_owned(),
            en: en.to_owned(),
            tier_at_least: self.tier_at_least.clone(),
            quiet_days: self.quiet_days,
            spent_at_least_fen: self.spent_at_least_fen,
            category: self.category.clone(),
            channel: self.channel.clone(),
            hours: self.hours.clone(),
            lifecycle: self.lifecycle.clone(),
        }
    }
}

/// What to do about campaigns.
#[derive(Debug, clap::Subcommand)]
pub enum CampaignCommand {
    /// List campaigns, the latest to begin first: how many members are in each, and how many were left out
    /// because they have not consented to marketing.
    List {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show one and how its groups do.
    Show {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Its name.
        name: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// List the triggers of the rules whose offers take a consent to marketing, with how many members they
    /// left out for want of it.
    Triggers {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make a campaign for the members of a segment; repeating it with the same terms is safe.
    Make {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Its name: 1 to 40 of a-z, 0-9, _ and -.
        name: String,
        /// What staff read, in Chinese.
        #[arg(long)]
        zh: String,
        /// And in English.
        #[arg(long)]
        en: String,
        /// For the members of which segment.
        #[arg(long)]
        segment: String,
        /// Its first day by the brand's clock, such as 2026-12-01.
        #[arg(long)]
        from: String,
        /// Its last day.
        #[arg(long)]
        to: String,
        /// A group: name, share and offer, as in a:90:coupon=ten or b:90:points=30; without an offer it is a
        /// control group, as in control:10. Repeat for each.
        #[arg(long = "group", required = true)]
        groups: Vec<String>,
        /// Purchases of so many days after a member came in are counted.
        #[arg(long, default_value_t = 30)]
        count_days: u32,
    },
    /// End a campaign before its last day; what was given stays given.
    End {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Its name.
        name: String,
    },
}

/// A group of a campaign as the command line has it.
fn group(text: &str) -> Result<CampaignGroupRequest, CliError> {
    let wrong = || {
        let right = "name, share and offer, as in a:90:coupon=ten, b:90:points=30 or control:10";
        CliError::Input(format!("--group {text}: {right}"))
    };
    let mut parts = text.splitn(3, ':');
    let name = parts.next().filter(|name| !name.is_empty()).ok_or_else(wrong)?;
    let share = parts.next().and_then(|share| share.parse().ok()).ok_or_else(wrong)?;
    let (coupon, points) = match parts.next().map(|offer| offer.split_once('=')) {
        None => (None, None),
        Some(Some(("coupon", kind))) if !kind.is_empty() => (Some(kind.to_owned()), None),
        Some(Some(("points", number))) => (None, Some(number.parse::<u64>().map_err(|_| wrong())?)),
        Some(_) => return Err(wrong()),
    };
    Ok(CampaignGroupRequest { name: name.to_owned(), share, coupon, points })
}

async fn manage(client: &Client, action: &ManagerAction) -> Result<(), CliError> {
    let view: DoneView = client.post("/api/v1/programme/actions", &[], action).await?;
    Io::new(true).json(&view)
}

/// How many members a segment would have.
#[derive(Debug, Serialize)]
struct Counted {
    inside: u64,
    members: u64,
}

/// Does it.
///
/// # Errors
/// When the node refuses.
pub async fn segment(command: &SegmentCommand) -> Result<(), CliError> {
    use SegmentCommand as C;
    match command {
        C::List { node, json } => {
            let view = segments(&client(node).await?).await?;
            let mut io = Io::new(*json);
            if *json {
                return io.json(&view.segments);
            }
            io.say(&format!("of {0} members / 共 {0} 名会员", view.members));
            view.segments.iter().try_for_each(|it| io.line(&segment_line(it)))
        }
        C::Show { node, name, json } => {
            let all = segments(&client(node).await?).await?.segments;
            let found = all.into_iter().find(|it| it.name == *name).ok_or_else(|| {
                let see = "see `coalition segment list`";
                CliError::Input(format!("there is no segment {name:?}: {see}"))
            })?;
            let mut io = Io::new(*json);
            if *json {
                return io.json(&found);
            }
            io.line(&segment_line(&found))?;
            conditions(&found.terms).iter().try_for_each(|it| io.line(&format!("  {it}")))
        }
        C::Count { node, conditions, json } => {
            // a segment has a title; one that is only counted is kept under none
            let terms = conditions.terms("试算", "Count");
            let path = "/api/v1/programme/segments/count";
            let view: SegmentsView = client(node).await?.post(path, &[], &terms).await?;
            let (inside, members) = (view.asked.unwrap_or_default(), view.members);
            let mut io = Io::new(*json);
            if *json {
                return io.json(&Counted { inside, members });
            }
            io.say(&format!("of {members} members / 共 {members} 名会员"));
            io.line(&inside.to_string())
        }
        C::Keep { node, name, zh, en, conditions } => {
            let (name, terms) = (name.clone(), conditions.terms(zh, en));
            manage(&client(node).await?, &ManagerAction::KeepSegment { name, terms }).await
        }
        C::Drop { node, name } => {
            let action = ManagerAction::DropSegment { name: name.clone() };
            manage(&client(node).await?, &action).await
        }
    }
}

async fn segments(client: &Client) -> Result<SegmentsView, CliError> {
    Ok(client.get("/api/v1/programme/segments").await?)
}

fn segment_line(it: &SegmentView) -> String {
    let of = if it.in_rules { "rules" } else { "kept" };
    format!("{:<24} {:>9}  {of:<5}  {} / {}", it.name, it.members, it.terms.en, it.terms.zh)
}

/// What a segment asks for, as the options that would ask for it.
fn conditions(terms: &SegmentRequest) -> Vec<String> {
    let number = |number: Option<u64>| number.map(|it| it.to_string());
    let all = [
        ("tier-at-least", terms.tier_at_least.clone()),
        ("quiet-days", number(terms.quiet_days.map(u64::from))),
        ("spent-at-least-fen", number(terms.spent_at_least_fen)),
        ("category", terms.category.clone()),
        ("channel", terms.channel.clone()),
        ("hours", terms.hours.clone()),
        ("lifecycle", terms.lifecycle.clone()),
    ];
    all.into_iter().filter_map(|(name, value)| Some(format!("--{name} {}", value?))).collect()
}

/// Does it.
///
/// # Errors
/// When the node refuses.
pub async fn campaign(command: &CampaignCommand) -> Result<(), CliError> {
    use CampaignCommand as C;
    match command {
        C::List { node, json } => {
            let all = campaigns(&client(node).await?).await?.campaigns;
            let mut io = Io::new(*json);
            if *json {
                return io.json(&all);
            }
            io.say("name, state, days, members, left out / 名称、状态、起止日期、会员、未同意营销而未计入");
            all.iter().try_for_each(|it| io.line(&campaign_line(it)))
        }
        C::Show { node, name, json } => {
            let all = campaigns(&client(node).await?).await?.campaigns;
            let found = all.into_iter().find(|it| it.name == *name).ok_or_else(|| {
                let see = "see `coalition campaign list`";
                CliError::Input(format!("there is no campaign {name:?}: {see}"))
            })?;
            let mut io = Io::new(*json);
            if *json {
                return io.json(&found);
            }
            io.say("name, state, days, members, left out / 名称、状态、起止日期、会员、未同意营销而未计入");
            io.line(&campaign_line(&found))?;
            io.say("group, share, offer, members, buyers, fen / 组、份额、优惠、会员、消费会员、消费（分）");
            found.groups.iter().try_for_each(|it| io.line(&group_line(it)))
        }
        C::Triggers { node, json } => {
            let all = campaigns(&client(node).await?).await?.triggers;
            let mut io = Io::new(*json);
            if *json {
                return io.json(&all);
            }
            io.say("trigger, left out / 触发规则、未同意营销而未发放");
            all.iter().try_for_each(|it| io.line(&format!("{:<24} {:>9}", it.trigger, it.left_out)))
        }
        C::Make { node, name, zh, en, segment, from, to, groups, count_days } => {
            let groups = groups.iter().map(|text| group(text)).collect::<Result<_, _>>()?;
            let terms = CampaignRequest {
                zh: zh.clone(),
                en: en.clone(),
                segment: segment.clone(),
                groups,
                from: from.clone(),
                to: to.clone(),
                count_days: *count_days,
            };
            let action = ManagerAction::MakeCampaign { name: name.clone(), terms };
            manage(&client(node).await?, &action).await
        }
        C::End { node, name } => {
            let action = ManagerAction::EndCampaign { name: name.clone() };
            manage(&client(node).await?, &action).await
        }
    }
}

async fn campaigns(client: &Client) -> Result<CampaignsView, CliError> {
    Ok(client.get("/api/v1/programme/campaigns").await?)
}

fn campaign_line(it: &CampaignView) -> String {
    let members: u64 = it.groups.iter().map(|group| group.members).sum();
    format!(
        "{:<24} {:<8} {} {} {members:>9} {:>9}  {} / {}",
        it.name, it.stage, it.from, it.to, it.left_out, it.words.en, it.words.zh
    )
}

fn group_line(it: &CampaignGroupView) -> String {
    let offer = match (&it.coupon, it.points) {
        (Some(kind), _) => format!("coupon={kind}"),
        (None, Some(points)) => format!("points={points}"),
        (None, None) => "-".to_owned(),
    };
    format!(
        "  {:<22} {:>5}  {offer:<24} {:>9} {:>9} {:>12}",
        it.name, it.share, it.members, it.buyers, it.fen
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_name_share_and_offer() {
        let read = |text| group(text).unwrap();
        let plain = |name: &str, share| CampaignGroupRequest {
            name: name.to_owned(),
            share,
            ..CampaignGroupRequest::default()
        };
        let coupon = Some("ten".to_owned());
        assert_eq!(read("a:90:coupon=ten"), CampaignGroupRequest { coupon, ..plain("a", 90) });
        let points = Some(30);
        assert_eq!(read("b:9:points=30"), CampaignGroupRequest { points, ..plain("b", 9) });
        assert_eq!(read("control:10"), plain("control", 10));
        for wrong in ["", "a", ":1", "a:x", "a:1:", "a:1:coupon=", "a:1:points=x", "a:1:cash=5"] {
            let told = group(wrong).unwrap_err().to_string();
            assert!(told.contains("a:90:coupon=ten"), "{wrong}: {told}");
        }
    }

    #[test]
    fn conditions_are_shown_as_the_options_that_ask_for_them() {
        let arguments = SegmentArguments {
            tier_at_least: Some("gold".to_owned()),
            quiet_days: Some(30),
            spent_at_least_fen: None,
            category: None,
            channel: None,
            hours: None,
            lifecycle: Some("quiet".to_owned()),
        };
        let shown = conditions(&arguments.terms("沉默", "Quiet"));
        assert_eq!(shown, ["--tier-at-least gold", "--quiet-days 30", "--lifecycle quiet"]);
    }

    #[test]
    fn who_was_left_out_is_in_the_line_of_a_campaign() {
        let group = |members| CampaignGroupView { members, ..CampaignGroupView::default() };
        let view = CampaignView {
            name: "spring".to_owned(),
            stage: "running".to_owned(),
            groups: vec![group(40), group(2)],
            left_out: 7,
            ..CampaignView::default()
        };
        let fields: Vec<String> =
            campaign_line(&view).split_whitespace().map(str::to_owned).collect();
        assert_eq!(fields, ["spring", "running", "42", "7", "/"]);
    }
}
