//! Messages in a few words, for those who read a trace.

use protocol::ids::LeafIndex;
use protocol::log::block::PublicEntry;
use protocol::witness::message::Message;
use protocol::witness::statement::Pledge;

/// A message in a few words.
pub(super) fn describe(message: Option<&Message>) -> String {
    let pledge = |name: &str, pledge: &Pledge| {
        let block = pledge.block;
        format!("{name} {}/{} r{} {:?}", block.log, block.height, pledge.round, block.header)
    };
    match message {
        None => "(no message)".to_owned(),
        Some(Message::Open(open)) => {
            let open = open.body;
            format!("open {}/{} r{}", open.log, open.height, open.round)
        }
        Some(Message::Promise(message)) => {
            let body = message.promise.body;
            let lock = body.lock.map(|lock| lock.round);
            format!("promise {}/{} r{} {lock:?}", body.open.log, body.open.height, body.open.round)
        }
        Some(Message::Proposal(message)) => pledge("proposal", &message.proposal.body.0),
        Some(Message::Vote(vote)) => pledge("vote", &vote.body.0),
        Some(Message::Lock(lock)) => pledge("lock", &lock.pledge),
        Some(Message::Commit(commit)) => pledge("commit", &commit.body.0),
        Some(Message::Certified(certificate)) => pledge("certified", &certificate.pledge),
        Some(Message::Refusal(refusal)) => {
            let at = format!("{}/{} r{}", refusal.log, refusal.height, refusal.round);
            format!("refusal {at} rule {} joined {}", refusal.rule, refusal.joined)
        }
        Some(Message::Checkpoint(_)) => "checkpoint".to_owned(),
        Some(Message::CatchUp(request)) => {
            format!("catch-up {} from {}", request.log, request.from)
        }
        Some(Message::Blocks(blocks)) => format!("{} blocks", blocks.len()),
        Some(Message::Application(_)) => "application".to_owned(),
        Some(Message::LastProposal(message)) => pledge("last", &message.proposal.body.0),
        Some(Message::Evidence(evidence)) => format!("{evidence:?}"),
        Some(Message::Start(start)) => format!("start {}", start.body.incarnation),
        Some(Message::Acknowledgement(answer)) => {
            format!("acknowledgement {}", answer.body.start.incarnation)
        }
        Some(Message::Head(_)) => "head".to_owned(),
        Some(Message::Recall(recall)) => format!("recall {} from {}", recall.log, recall.from),
        Some(Message::Holdings(holdings)) => format!("{} held blocks", holdings.held.len()),
    }
}

/// The public entries of a block, but for those of applications.
pub(super) fn describe_entries(entries: &[(LeafIndex, PublicEntry)]) -> String {
    let word = |(_, entry): &(LeafIndex, PublicEntry)| match entry {
        PublicEntry::Application(_) => String::new(),
        PublicEntry::Closing(closing) => format!(", closes {}", closing.cut_off.unix_ms()),
        PublicEntry::Statement(entry) => format!(", states {}", entry.cut_off.unix_ms()),
        PublicEntry::Evidence(evidence) => format!(", {evidence:?}"),
        PublicEntry::Settled(payment) => format!(", paid {} to {}", payment.value, payment.payee),
        PublicEntry::SettlementConfirmed(payment) => {
            format!(", was paid {} by {}", payment.value, payment.payer)
        }
        PublicEntry::DisputeOpened(dispute) => format!(", disputes {}", dispute.log),
        PublicEntry::DisputeResolved(it) => {
            format!(", resolves {} against {}", it.accuser, it.accused)
        }
        PublicEntry::ClosedOut(it) => format!(", closes out {}", it.log),
        PublicEntry::Disclosure(_) => ", discloses".to_owned(),
        PublicEntry::Adopted(draft) => format!(", adopts {}", draft.constitution),
        PublicEntry::Declined(draft) => format!(", declines {}", draft.constitution),
        PublicEntry::Ballot(_) => ", shows a ballot".to_owned(),
        PublicEntry::OperationLogHead(head) => format!(", has {} operations", head.entries),
        PublicEntry::Answered(_) => ", has answered a member".to_owned(),
        PublicEntry::Switch(draft) => format!(", takes up {}", draft.constitution),
    };
    entries.iter().map(word).collect()
}
