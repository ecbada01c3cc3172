//! What staff does to the programme by hand, from the command line: rules tried on the past, points paid and
//! corrected, coupons given, rewards stocked, set aside and handed over, a purchase entered.

use std::path::PathBuf;

use ::programme::rules::Rules;

use super::members::identifiers;
use super::operations::{NodeArguments, client, random_key};
use super::programme::read;
use super::{CliError, Io};
use crate::client::Client;
use crate::service::{
    AdjustmentRequest, AdjustmentView, CampaignsView, DecisionRequest, DoneView, GiveCouponRequest,
    IssuedCouponView, ManagerAction, MemberAction, OneTimeCode, PurchaseLine, PurchaseRequest,
    PurchaseView, RulesFile, SimulatedRulesView, SimulationView, TillAction,
};

/// By hand.
#[derive(Debug, clap::Subcommand)]
pub enum StaffCommand {
    /// Say what a file of rules would have come to on the purchases the node has, beside the rules in force.
    Simulate {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// The file.
        file: PathBuf,
        /// As a table of two columns rather than JSON.
        #[arg(long)]
        table: bool,
    },
    /// Enter a purchase at the counter; it counts once, also when it comes again in a file.
    Purchase {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Card number.
        #[arg(long, required_unless_present = "identifiers")]
        card: Option<String>,
        /// By what else the member is known, as KIND=VALUE such as phone=13812345678; repeat for each kind.
        #[arg(long = "identifier", value_name = "KIND=VALUE")]
        identifiers: Vec<String>,
        /// Number of the receipt.
        #[arg(long)]
        receipt: String,
        /// When, such as 2026-11-28T17:05:00+08:00.
        #[arg(long)]
        at: String,
        /// store, app, mini_program or ecommerce.
        #[arg(long, default_value = "store")]
        channel: String,
        /// For goods that come back: the receipt they were bought with.
        #[arg(long)]
        returns: Option<String>,
        /// A line: department, pieces and fen, as in DAIRY:2:990; repeat for each. Below zero for goods that
        /// come back.
        #[arg(long = "line", required = true, allow_hyphen_values = true)]
        lines: Vec<String>,
        /// Idempotency key; the same key repeats nothing. A random one if not given.
        #[arg(long)]
        key: Option<String>,
    },
    /// Pay with a member's points.
    Pay {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Card number.
        #[arg(long)]
        card: String,
        /// How many points.
        #[arg(long)]
        points: u64,
        /// What the basket comes to, in fen.
        #[arg(long)]
        basket_fen: u64,
        /// Idempotency key, by which the payment can be taken back. A random one, which is printed, if not given.
        #[arg(long)]
        key: Option<String>,
    },
    /// Take a payment with points back, whole: the goods are not bought after all.
    Reverse {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Card number.
        #[arg(long)]
        card: String,
        /// The key under which it was paid.
        #[arg(long)]
        payment: String,
    },
    /// Correct a member's balance; beyond what one may do alone it waits for another person.
    Adjust {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Card number.
        #[arg(long)]
        card: String,
        /// How many points are given; taken when negative.
        #[arg(long, allow_hyphen_values = true)]
        points: i64,
        /// Why.
        #[arg(long)]
        reason: String,
        /// Idempotency key; the same key repeats nothing. A random one if not given.
        #[arg(long)]
        key: Option<String>,
    },
    /// List corrections, the latest first.
    Adjustments {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
    },
    /// Agree to a correction that waits, or refuse it; not for who entered it.
    Decide {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Its number.
        number: u64,
        /// Refuse it, for good, rather than agree.
        #[arg(long)]
        refuse: bool,
    },
    /// Give a member a coupon, whether or not members may claim it.
    Give {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Card number.
        #[arg(long)]
        card: String,
        /// Its kind in the rules.
        #[arg(long)]
        kind: String,
        /// Idempotency key; the same key repeats nothing. A random one if not given.
        #[arg(long)]
        key: Option<String>,
    },
    /// List the stock of rewards; with one and a number, say how many of it were put in, ever.
    Stock {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Its name in the rules.
        #[arg(long, requires = "total")]
        reward: Option<String>,
        /// How many were put in, ever: what is set aside or was handed over is among them.
        #[arg(long, requires = "reward")]
        total: Option<u32>,
    },
    /// Set a reward aside for a member, who pays for it with points; prints what it is handed over by.
    Reserve {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Card number.
        #[arg(long)]
        card: String,
        /// Its name in the rules.
        #[arg(long)]
        reward: String,
        /// The one-time code that the brand's app has sent the member, where a second step was asked for: again under
        /// the same key.
        #[arg(long)]
        code: Option<String>,
        /// Idempotency key; the same key repeats nothing. A random one if not given.
        #[arg(long)]
        key: Option<String>,
    },
    /// Hand over a reward that was set aside, once.
    HandOver {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// What it is handed over by: 32 hexadecimal digits, which the member has.
        #[arg(long)]
        hold: String,
    },
    /// Give up a reward that was set aside: its points are the member's again.
    GiveUp {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// What it would have been handed over by.
        #[arg(long)]
        hold: String,
    },
    /// List coupons, the latest first, without their codes.
    Coupons {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Of this kind only.
        #[arg(long)]
        kind: Option<String>,
    },
}

/// A line of a purchase as the command line has it.
fn line(text: &str) -> Result<PurchaseLine, CliError> {
    let wrong = || {
        let right = "department, pieces and fen, as in DAIRY:2:990";
        CliError::Input(format!("--line {text}: {right}"))
    };
    let mut parts = text.rsplitn(3, ':');
    let fen = parts.next().and_then(|fen| fen.parse().ok()).ok_or_else(wrong)?;
    let pieces = parts.next().and_then(|pieces| pieces.parse().ok()).ok_or_else(wrong)?;
    let department = parts.next().filter(|name| !name.is_empty()).ok_or_else(wrong)?;
    Ok(PurchaseLine { department: department.to_owned(), pieces, amount_fen: fen })
}

fn table(view: &SimulationView) -> String {
    let SimulationView { proposed, in_force, .. } = view;
    let mut lines = vec![
        format!("purchases,{0},{0}", view.purchases),
        format!("spent_fen,{0},{0}", view.spent_fen),
        format!("members,{0},{0}", view.members),
    ];
    let mut row = |figure: &str, of: fn(&SimulatedRulesView) -> u64| {
        lines.push(format!("{figure},{},{}", of(in_force), of(proposed)));
    };
    row("rules_version", |it| it.version.into());
    row("earned_points", |it| it.earned_points);
    row("campaign_points", |it| it.campaign_points);
    row("expired_points", |it| it.expired_points);
    row("left_points", |it| it.left_points);
    row("left_fen", |it| it.left_fen);
    row("coupons", |it| it.coupons.iter().map(|it| it.given).sum());
    row("coupons_worth_fen", |it| it.coupons.iter().map(|it| it.worth_fen).sum());
    row("members_in_a_tier", |it| {
        it.tiers.iter().filter(|it| it.tier.is_some()).map(|it| it.members).sum()
    });
    format!("figure,in_force,proposed\n{}\n", lines.join("\n"))
}

async fn for_member(
    client: &Client,
    card: &str,
    key: &str,
    action: &MemberAction,
) -> Result<DoneView, CliError> {
    let path = format!("/api/v1/programme/members/{card}/actions");
    Ok(client.post(&path, &[("idempotency-key", key)], action).await?)
}

/// What a hold names is done once whatever the key: each time has a key of its own.
async fn at_till(client: &Client, action: &TillAction) -> Result<DoneView, CliError> {
    let key = random_key()?;
    let headers = [("idempotency-key", key.as_str())];
    Ok(client.post("/api/v1/programme/till", &headers, action).await?)
}

/// Does it.
///
/// # Errors
/// When a file is wrong or the node refuses.
pub async fn run(command: &StaffCommand, json: bool) -> Result<(), CliError> {
    use StaffCommand as C;
    let mut io = Io::new(true);
    let keyed = |key: &Option<String>| key.clone().map_or_else(random_key, Ok);
    match command {
        C::Simulate { node, file, table: as_table } => {
            let text = read(file)?;
            let wrong = |error| CliError::Input(format!("{}: {error}", file.display()));
            Rules::from_toml(&text).map_err(wrong)?;
            let path = "/api/v1/programme/rules/simulation";
            let view: SimulationView =
                client(node).await?.post(path, &[], &RulesFile { rules: text }).await?;
            if *as_table && !json { io.text(&table(&view)) } else { io.json(&view) }
        }
        C::Purchase {
            node,
            card,
            identifiers: known_by,
            receipt,
            at,
            channel,
            returns,
            lines,
            key,
        } => {
            let lines = lines.iter().map(|text| line(text)).collect::<Result<_, _>>()?;
            let request = PurchaseRequest {
                card: card.clone().unwrap_or_default(),
                identifiers: identifiers(known_by)?,
                receipt: receipt.clone(),
                purchased_at: at.clone(),
                channel: channel.clone(),
                returns: returns.clone(),
                lines,
            };
            let key = keyed(key)?;
            let headers = [("idempotency-key", key.as_str())];
            let view: PurchaseView =
                client(node).await?.post("/api/v1/purchases", &headers, &request).await?;
            io.json(&view)
        }
        C::Pay { node, card, points, basket_fen, key } => {
            let action = MemberAction::Pay { points: *points, basket_fen: *basket_fen };
            let named = key.is_some();
            let key = keyed(key)?;
            let view = for_member(&client(node).await?, card, &key, &action).await?;
            if !named {
                io.say(&format!("the payment's key, to take it back: {key}"));
            }
            io.json(&view)
        }
        C::Reverse { node, card, payment } => {
            let action = MemberAction::ReversePayment { payment: payment.clone() };
            let key = random_key()?;
            io.json(&for_member(&client(node).await?, card, &key, &action).await?)
        }
        C::Adjust { node, card, points, reason, key } => {
            let request = AdjustmentRequest { points: *points, reason: reason.clone() };
            let path = format!("/api/v1/programme/members/{card}/adjustments");
            let key = keyed(key)?;
            let headers = [("idempotency-key", key.as_str())];
            let view: DoneView = client(node).await?.post(&path, &headers, &request).await?;
            io.json(&view)
        }
        C::Adjustments { node } => {
            let path = "/api/v1/programme/adjustments";
            let view: Vec<AdjustmentView> = client(node).await?.get_list(path, usize::MAX).await?;
            io.json(&view)
        }
        C::Decide { node, number, refuse } => {
            let path = format!("/api/v1/programme/adjustments/{number}/decision");
            let request = DecisionRequest { agrees: !refuse };
            let view: DoneView = client(node).await?.post(&path, &[], &request).await?;
            io.json(&view)
        }
        C::Give { node, card, kind, key } => {
            let request = GiveCouponRequest { kind: kind.clone() };
            let path = format!("/api/v1/programme/members/{card}/coupons");
            let key = keyed(key)?;
            let headers = [("idempotency-key", key.as_str())];
            let view: DoneView = client(node).await?.post(&path, &headers, &request).await?;
            io.json(&view)
        }
        C::Stock { node, reward, total } => {
            let client = client(node).await?;
            let (Some(reward), Some(total)) = (reward, total) else {
                let view: CampaignsView = client.get("/api/v1/programme/campaigns").await?;
                return io.json(&view.stock);
            };
            let action = ManagerAction::Stock { reward: reward.clone(), total: *total };
            let view: DoneView = client.post("/api/v1/programme/actions", &[], &action).await?;
            io.json(&view)
        }
        C::Reserve { node, card, reward, code, key } => {
            let (reward, code) = (reward.clone(), code.clone().map(OneTimeCode));
            let action = MemberAction::HoldReward { reward, code, second_step: false };
            let key = keyed(key)?;
            io.json(&for_member(&client(node).await?, card, &key, &action).await?)
        }
        C::HandOver { node, hold } => {
            let action = TillAction::HandOver { hold: hold.clone() };
            io.json(&at_till(&client(node).await?, &action).await?)
        }
        C::GiveUp { node, hold } => {
            let action = TillAction::GiveUp { hold: hold.clone() };
            io.json(&at_till(&client(node).await?, &action).await?)
        }
        C::Coupons { node, kind } => {
            let query = kind.as_ref().map(|kind| format!("?kind={kind}")).unwrap_or_default();
            let path = format!("/api/v1/programme/coupons{query}");
            let view: Vec<IssuedCouponView> =
                client(node).await?.get_list(&path, usize::MAX).await?;
            io.json(&view)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn stock_is_listed_without_a_reward_and_set_with_one_and_its_number() {
        let parses = |arguments: &str| {
            let all = format!("coalition programme {arguments} --data d");
            Cli::try_parse_from(all.split(' ')).is_ok()
        };
        for right in [
            "stock",
            "stock --reward towel --total 0",
            "reserve --card C --reward towel --code 123456789012 --key K",
            "hand-over --hold 00",
            "give-up --hold 00",
        ] {
            assert!(parses(right), "{right}");
        }
        for wrong in ["stock --reward towel", "stock --total 7", "hand-over", "reserve --card C"] {
            assert!(!parses(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_line_is_department_pieces_and_fen() {
        let read = line("DAIRY:FRESH:2:990").unwrap();
        assert_eq!(
            (read.department.as_str(), read.pieces, read.amount_fen),
            ("DAIRY:FRESH", 2, 990)
        );
        assert_eq!(line("A:-1:-5").unwrap().amount_fen, -5);
        for wrong in ["", "A", "A:1", ":1:2", "A:1:x"] {
            assert!(line(wrong).unwrap_err().to_string().contains("DAIRY:2:990"));
        }
    }
}
