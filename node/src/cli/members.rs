//! `coalition member`, `consent`, `request`, `record` and `vault`: members' affairs at a running node, for
//! staff and officers.

use std::path::PathBuf;

use alliance_config::Constitution;
use protocol::epochs::Constitutions;
use protocol::log::block::PublicEntry;
use protocol::receipt;
use serde_json::Value;

use super::operations::{NodeArguments, client};
use super::{CliError, Io};
use crate::desk::{Certificate, MemberRecordView, PairView, RequestView, certificate_hash};
use crate::service::*;

/// Members.
#[derive(Debug, clap::Subcommand)]
pub enum MemberCommand {
    /// Show what the brand holds of a member, masked, each field as the user's roles see it.
    Show {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Card number, or ~ and the id; or find the member by --kind and --value.
        #[arg(required_unless_present = "kind")]
        card: Option<String>,
        /// Kind of identifier, such as phone or email.
        #[arg(long, requires = "value", conflicts_with = "card")]
        kind: Option<String>,
        /// Its value.
        #[arg(long, requires = "kind")]
        value: Option<String>,
    },
    /// Enrol a person at the counter: with a card, or by a phone number or an account, and with what the person
    /// agreed to. The same person again changes nothing that stands.
    Enrol {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Card number; without it a phone number or an account says who it is.
        #[arg(long, required_unless_present = "identifiers")]
        card: Option<String>,
        /// By what else the person is known, as KIND=VALUE such as phone=13812345678; repeat for each.
        #[arg(long = "identifier", value_name = "KIND=VALUE")]
        identifiers: Vec<String>,
        /// An attribute, as NAME=VALUE.
        #[arg(long = "set", value_name = "NAME=VALUE")]
        set: Vec<String>,
        /// What the person agreed to: programme, exchange, joint_analytics or marketing; repeat for each.
        #[arg(long = "consent", value_name = "PURPOSE", requires = "notice")]
        consents: Vec<String>,
        /// A brand that the person agreed may receive what an exchange tells; repeat for each.
        #[arg(long = "receiver", value_name = "BRAND", requires = "notice")]
        receivers: Vec<String>,
        /// Version of the notice that the person was shown.
        #[arg(long)]
        notice: Option<u32>,
        /// parent or other, when a guardian decides for a child under 14.
        #[arg(long)]
        guardian: Option<String>,
    },
    /// Print everything that is held of a member, in clear, as JSON: for the member.
    Export {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Card number, or ~ and the id.
        card: String,
    },
    /// Correct what is known of a member.
    Correct {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Card number, or ~ and the id.
        card: String,
        /// An attribute, as NAME=VALUE; NAME= removes it.
        #[arg(long = "set", value_name = "NAME=VALUE")]
        set: Vec<String>,
        /// An identifier to enter, as KIND=VALUE.
        #[arg(long = "add", value_name = "KIND=VALUE")]
        add: Vec<String>,
        /// An identifier to remove, as KIND=VALUE.
        #[arg(long = "remove", value_name = "KIND=VALUE")]
        remove: Vec<String>,
    },
    /// List pairs of members who may be one person.
    Pairs {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
    },
    /// Say whether a pair is one person; if so, the other is merged into the one.
    Judge {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Who stays.
        one: String,
        /// The other.
        other: String,
        /// They are one person.
        #[arg(long, required_unless_present = "different", conflicts_with = "different")]
        same: bool,
        /// They are two.
        #[arg(long)]
        different: bool,
    },
    /// Merge a member into another.
    Merge {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Who stays: card number, or ~ and the id.
        card: String,
        /// Who is merged.
        absorbed: String,
    },
    /// Undo the last merge into a member.
    Part {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Who stayed: card number, or ~ and the id.
        card: String,
        /// Who was merged: ~ and the id that the record shows.
        absorbed: String,
    },
    /// Put a member under a legal hold, or lift it: until then nothing of the member is erased.
    Hold {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Card number, or ~ and the id.
        card: String,
        /// The law, order or dispute.
        #[arg(long, required_unless_present = "lift")]
        reason: Option<String>,
        /// Lift the hold.
        #[arg(long, conflicts_with = "reason")]
        lift: bool,
    },
}

/// Consents.
#[derive(Debug, clap::Subcommand)]
pub enum ConsentCommand {
    /// Enter a member's decision.
    Enter {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Card number, or ~ and the id.
        card: String,
        /// programme, exchange, joint_analytics or marketing.
        #[arg(long)]
        purpose: String,
        /// Version of the notice that the member was shown.
        #[arg(long)]
        notice: u32,
        /// The consent is withdrawn; without it, given.
        #[arg(long)]
        withdraw: bool,
        /// The brand that receives the data: the separate consent that an exchange with it needs.
        #[arg(long)]
        receiver: Option<String>,
        /// parent or other, when a guardian decides for a child under 14.
        #[arg(long)]
        guardian: Option<String>,
    },
    /// List a member's decisions, oldest first.
    List {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Card number, or ~ and the id.
        card: String,
    },
}

/// Requests.
#[derive(Debug, clap::Subcommand)]
pub enum RequestCommand {
    /// Enter a request of a member's; its clocks begin.
    Open {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Card number, or ~ and the id.
        card: String,
        /// access, correction, erasure or explanation.
        kind: String,
        /// The member's own words.
        #[arg(long)]
        words: Option<String>,
    },
    /// List open requests, those that are due first; or all of one member.
    List {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// All requests of this member.
        #[arg(long)]
        card: Option<String>,
    },
    /// Say that a request is done; one for erasure erases the member, at once and for good.
    Done {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Its id.
        id: String,
    },
    /// Say that the member was answered first: it stops the clock of the answer.
    Answered {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Its id.
        id: String,
    },
    /// Refuse a request, with the reason that the law gives.
    Refuse {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Its id.
        id: String,
        /// The reason.
        #[arg(long)]
        why: String,
    },
    /// Print the certificate of an erasure with its receipt: what the member keeps.
    Certificate {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// SHA-256 of the certificate, hexadecimal, as the request shows it.
        hash: String,
    },
    /// Verify a certificate, offline: that the brand's log says it, and whom it is about.
    Verify {
        /// The certificate with its receipt, as `request certificate` prints it.
        certificate: PathBuf,
        /// The constitution.
        #[arg(long)]
        constitution: PathBuf,
        /// The card number of whom it should be about.
        #[arg(long)]
        card: Option<String>,
    },
}

/// Records of assessments and breaches.
#[derive(Debug, clap::Subcommand)]
pub enum RecordCommand {
    /// Enter an impact assessment (PIPL art. 55), read as JSON from standard input: occasion, purpose,
    /// risks, measures.
    Assess {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
    },
    /// List impact assessments.
    Assessments {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
    },
    /// Enter a breach (PIPL art. 57), read as JSON from standard input: what, measures, members, and
    /// found_ms if it was not found now.
    Breach {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
    },
    /// List breaches and who has still to be told.
    Breaches {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
    },
    /// Enter who was told of a breach.
    Told {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Its number.
        number: u32,
        /// The authority was told.
        #[arg(long)]
        authority: bool,
        /// The members were told.
        #[arg(long)]
        members: bool,
        /// Why members need not be told.
        #[arg(long)]
        not_told_because: Option<String>,
    },
}

/// The vault.
#[derive(Debug, clap::Subcommand)]
pub enum VaultCommand {
    /// Rotate the brand key: the node wraps every member's key again while it runs.
    Rotate {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
    },
    /// Show whether a rotation is under way.
    Status {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
    },
}

/// A part of a path, as it is written in one: everything but letters, digits and a few signs escaped.
fn part(text: &str) -> String {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    text.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

fn pair<'a>(text: &'a str, example: &str) -> Result<(&'a str, &'a str), CliError> {
    text.split_once('=')
        .ok_or_else(|| CliError::Input(format!("write it as {example}: there is no = in it")))
}

/// Identifiers as the command line has them: KIND=VALUE each.
pub(super) fn identifiers(list: &[String]) -> Result<Vec<IdentifierRequest>, CliError> {
    let read = |text: &String| {
        let (kind, value) = pair(text, "phone=13812345678")?;
        Ok(IdentifierRequest { kind: kind.to_owned(), value: value.to_owned() })
    };
    list.iter().map(read).collect()
}

/// Members' records.
///
/// # Errors
/// When the node refuses.
pub async fn member(command: &MemberCommand) -> Result<(), CliError> {
    let mut io = Io::new(true);
    match command {
        MemberCommand::Show { node, card: Some(card), .. } => {
            let path = format!("/api/v1/members/{}/record", part(card));
            let record: MemberRecordView = client(node).await?.get(&path).await?;
            io.json(&record)
        }
        MemberCommand::Show { node, kind, value, .. } => {
            let request = IdentifierRequest {
                kind: kind.clone().unwrap_or_default(),
                value: value.clone().unwrap_or_default(),
            };
            let client = client(node).await?;
            let record: MemberRecordView =
                client.post("/api/v1/members/look-up", &[], &request).await?;
            io.json(&record)
        }
        MemberCommand::Enrol {
            node,
            card,
            identifiers: known_by,
            set,
            consents,
            receivers,
            notice,
            guardian,
        } => {
            let granted = |purpose: &str, receiver: Option<&String>| ConsentRequest {
                purpose: purpose.to_owned(),
                granted: true,
                notice_version: notice.unwrap_or_default(),
                receiver: receiver.cloned(),
                guardian: guardian.clone(),
            };
            let to = receivers.iter().map(|receiver| granted("exchange", Some(receiver)));
            let purposes = consents.iter().map(|purpose| granted(purpose, None));
            let mut request = EnrolmentRequest {
                card: card.clone(),
                identifiers: identifiers(known_by)?,
                consents: purposes.chain(to).collect(),
                ..EnrolmentRequest::default()
            };
            for text in set {
                let (name, value) = pair(text, "birth_date=1990-05-06")?;
                request.attributes.insert(name.to_owned(), value.to_owned());
            }
            let view: EnrolmentView =
                client(node).await?.post("/api/v1/members", &[], &request).await?;
            io.json(&view)
        }
        MemberCommand::Export { node, card } => {
            let path = format!("/api/v1/members/{}/export", part(card));
            let export: Value = client(node).await?.get(&path).await?;
            io.json(&export)
        }
        MemberCommand::Correct { node, card, set, add, remove } => {
            let mut request = CorrectionRequest {
                add: identifiers(add)?,
                remove: identifiers(remove)?,
                ..CorrectionRequest::default()
            };
            for text in set {
                let (name, value) = pair(text, "birth_date=1990-05-06")?;
                let value = Some(value.to_owned()).filter(|value| !value.is_empty());
                request.attributes.insert(name.to_owned(), value);
            }
            let path = format!("/api/v1/members/{}/corrections", part(card));
            let () = client(node).await?.post(&path, &[], &request).await?;
            io.say("corrected");
            Ok(())
        }
        MemberCommand::Pairs { node } => {
            let path = "/api/v1/pairs?limit=1000";
            let pairs: Vec<PairView> = client(node).await?.get_list(path, usize::MAX).await?;
            pairs.iter().try_for_each(|pair| io.json(pair))
        }
        MemberCommand::Judge { node, one, other, same, .. } => {
            let (one, other) = (one.clone(), other.clone());
            let request = JudgementRequest { one, other, same: *same };
            let () = client(node).await?.post("/api/v1/pairs/judgements", &[], &request).await?;
            io.say("entered");
            Ok(())
        }
        MemberCommand::Merge { node, card, absorbed } => {
            let path = format!("/api/v1/members/{}/merges", part(card));
            let request = MergeRequest { absorbed: absorbed.clone() };
            let () = client(node).await?.post(&path, &[], &request).await?;
            io.say("merged");
            Ok(())
        }
        MemberCommand::Part { node, card, absorbed } => {
            let path = format!("/api/v1/members/{}/partings", part(card));
            let request = MergeRequest { absorbed: absorbed.clone() };
            let () = client(node).await?.post(&path, &[], &request).await?;
            io.say("parted");
            Ok(())
        }
        MemberCommand::Hold { node, card, reason, .. } => {
            let path = format!("/api/v1/members/{}/hold", part(card));
            let request = HoldRequest { reason: reason.clone() };
            let () = client(node).await?.post(&path, &[], &request).await?;
            io.say("entered");
            Ok(())
        }
    }
}

/// Members' consents.
///
/// # Errors
/// When the node refuses.
pub async fn consent(command: &ConsentCommand) -> Result<(), CliError> {
    let mut io = Io::new(true);
    match command {
        ConsentCommand::Enter { node, card, purpose, notice, withdraw, receiver, guardian } => {
            let request = ConsentRequest {
                purpose: purpose.clone(),
                granted: !withdraw,
                notice_version: *notice,
                receiver: receiver.clone(),
                guardian: guardian.clone(),
            };
            let path = format!("/api/v1/members/{}/consents", part(card));
            let () = client(node).await?.post(&path, &[], &request).await?;
            io.say("entered");
            Ok(())
        }
        ConsentCommand::List { node, card } => {
            let path = format!("/api/v1/members/{}/record", part(card));
            let record: MemberRecordView = client(node).await?.get(&path).await?;
            record.consents.unwrap_or_default().iter().try_for_each(|consent| io.json(consent))
        }
    }
}

async fn answer(
    node: &NodeArguments,
    id: &str,
    outcome: &str,
    why: Option<String>,
) -> Result<(), CliError> {
    let request = AnswerRequest { outcome: outcome.to_owned(), why };
    let path = format!("/api/v1/requests/{}/answer", part(id));
    let view: RequestView = client(node).await?.post(&path, &[], &request).await?;
    Io::new(true).json(&view)
}

/// Members' requests.
///
/// # Errors
/// When the node refuses, or a certificate does not verify.
pub async fn request(command: &RequestCommand, json: bool) -> Result<(), CliError> {
    let mut io = Io::new(true);
    match command {
        RequestCommand::Open { node, card, kind, words } => {
            let request = RequestRequest { kind: kind.clone(), words: words.clone() };
            let path = format!("/api/v1/members/{}/requests", part(card));
            let view: RequestView = client(node).await?.post(&path, &[], &request).await?;
            io.json(&view)
        }
        RequestCommand::List { node, card } => {
            let of = card.as_ref().map_or_else(String::new, |card| format!("&card={}", part(card)));
            let path = format!("/api/v1/requests?limit=1000{of}");
            let views: Vec<RequestView> = client(node).await?.get_list(&path, usize::MAX).await?;
            views.iter().try_for_each(|view| io.json(view))
        }
        RequestCommand::Done { node, id } => answer(node, id, "done", None).await,
        RequestCommand::Answered { node, id } => answer(node, id, "answered", None).await,
        RequestCommand::Refuse { node, id, why } => {
            answer(node, id, "refused", Some(why.clone())).await
        }
        RequestCommand::Certificate { node, hash } => {
            let path = format!("/api/v1/certificates/{}", part(hash));
            let view: CertificateView = client(node).await?.get(&path).await?;
            if view.receipt.is_none() {
                io.say("its entry is not certified yet: ask again in a moment for the receipt");
            }
            io.json(&view)
        }
        RequestCommand::Verify { certificate, constitution, card } => {
            let read = |path: &PathBuf| {
                std::fs::read(path).map_err(|source| CliError::File { path: path.clone(), source })
            };
            let constitution = Constitution::parse(&read(constitution)?)
                .map_err(|error| CliError::Input(error.to_string()))?;
            let view: CertificateView = serde_json::from_slice(&read(certificate)?)
                .map_err(|error| CliError::Input(format!("no certificate: {error}")))?;
            let known = constitution.ledger().clone().into();
            let says = verify(&view, &known, card.as_deref())?;
            if json { io.json(&serde_json::json!({ "says": says })) } else { io.line(&says) }
        }
    }
}

/// Verifies a certificate by its receipt; says what was found.
///
/// # Errors
/// The first thing that does not hold.
pub fn verify(
    view: &CertificateView,
    constitutions: &Constitutions,
    card: Option<&str>,
) -> Result<String, CliError> {
    let wrong = |words: &str| Err(CliError::Input(words.to_owned()));
    let Some(proof) = &view.receipt else {
        return wrong("the certificate has no receipt yet; ask the brand for it");
    };
    let (log, index, entry) = receipt::verify_public(proof.as_bytes(), constitutions)
        .map_err(|error| CliError::Input(error.to_string()))?;
    let PublicEntry::Answered(answered) = entry else {
        return wrong("the receipt is of another kind of entry");
    };
    if answered.certificate != certificate_hash(&view.certificate) {
        return wrong("the receipt is of another certificate");
    }
    let certificate: Certificate = serde_json::from_str(&view.certificate)
        .map_err(|error| CliError::Input(format!("the certificate cannot be read: {error}")))?;
    if certificate.brand != log.as_str() {
        return wrong("the certificate is of another brand than the log it is in");
    }
    let about = match card {
        None => "of a member whose card was not given",
        Some(card) if certificate.is_about(card) => "of the holder of that card",
        Some(_) => return wrong("the certificate is about another card"),
    };
    Ok(format!(
        "entry {index} of {log} says: the data {about} was erased at {} (Unix milliseconds), request {}",
        certificate.erased_ms, certificate.request
    ))
}

fn from_stdin<T: serde::de::DeserializeOwned>() -> Result<T, CliError> {
    serde_json::from_reader(std::io::stdin().lock())
        .map_err(|error| CliError::Input(format!("standard input: {error}")))
}

/// Records of assessments and breaches.
///
/// # Errors
/// When the node refuses.
pub async fn record(command: &RecordCommand) -> Result<(), CliError> {
    let mut io = Io::new(true);
    match command {
        RecordCommand::Assess { node } => {
            let request: AssessmentRequest = from_stdin()?;
            let view: AssessmentView =
                client(node).await?.post("/api/v1/assessments", &[], &request).await?;
            io.json(&view)
        }
        RecordCommand::Assessments { node } => {
            let path = "/api/v1/assessments";
            let views: Vec<AssessmentView> = client(node).await?.get_list(path, usize::MAX).await?;
            views.iter().try_for_each(|view| io.json(view))
        }
        RecordCommand::Breach { node } => {
            let request: BreachRequest = from_stdin()?;
            let view: BreachView =
                client(node).await?.post("/api/v1/breaches", &[], &request).await?;
            io.json(&view)
        }
        RecordCommand::Breaches { node } => {
            let path = "/api/v1/breaches";
            let views: Vec<BreachView> = client(node).await?.get_list(path, usize::MAX).await?;
            views.iter().try_for_each(|view| io.json(view))
        }
        RecordCommand::Told { node, number, authority, members, not_told_because } => {
            let request = ToldRequest {
                authority: *authority,
                members: *members,
                not_told_because: not_told_because.clone(),
            };
            let path = format!("/api/v1/breaches/{number}/notices");
            let view: BreachView = client(node).await?.post(&path, &[], &request).await?;
            io.json(&view)
        }
    }
}

/// The vault's key.
///
/// # Errors
/// When the node refuses.
pub async fn vault(command: &VaultCommand) -> Result<(), CliError> {
    const PATH: &str = "/api/v1/vault/rotation";
    let view: RotationView = match command {
        VaultCommand::Rotate { node } => client(node).await?.post(PATH, &[], &()).await?,
        VaultCommand::Status { node } => client(node).await?.get(PATH).await?,
    };
    Io::new(true).json(&view)
}
