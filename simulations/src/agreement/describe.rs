//! Messages in a few words, for those who read a trace.

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
    }
}
