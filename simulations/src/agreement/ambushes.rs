//! The worst moments: right after a machine has shown something that binds it or others.
//!
//! What random crashes and losses hit once in thousands of events happens here often: a lock that few have
//! heard of, whose writer then goes down, or finds its block too old, or has its disk put back.

use protocol::ids::BrandId;
use protocol::witness::guards::Guards;
use protocol::witness::message::Message;

use super::{Simulation, Topic};
use crate::invariants::Violation;
use crate::network::Machine;

/// One in so many proposals and locks of a writer is followed by an ambush.
const OF_WRITERS_ONE_IN: usize = 5;
/// One in so many promises, votes and commits of a witness is.
const OF_WITNESSES_ONE_IN: usize = 80;

impl<G: Guards> Simulation<G> {
    /// At times the messages that a machine sends go to some only, and the machine is in trouble.
    pub(super) fn ambush(
        &mut self,
        machine: Machine,
        sent: &mut Vec<(BrandId, Message)>,
    ) -> Result<(), Violation> {
        if !self.is_storming || !self.topics.contains(&Topic::Ambushes) {
            return Ok(());
        }
        let binding = sent.iter().filter_map(|(_, message)| match message {
            Message::Proposal(_) | Message::Lock(_) => Some(OF_WRITERS_ONE_IN),
            Message::Promise(_) | Message::Vote(_) | Message::Commit(_) => {
                Some(OF_WITNESSES_ONE_IN)
            }
            _ => None,
        });
        let Some(one_in) = binding.min() else { return Ok(()) };
        if self.prng.below(one_in) > 0 {
            return Ok(());
        }
        sent.retain(|_| self.prng.below(3) == 0);
        let heard = sent.len();
        let is_restorable = self.restorable.contains(&self.machines[machine].brand());
        match self.prng.below(4) {
            0 => self.trace.note(format_args!("m{machine}: {heard} messages are heard, no more")),
            1 => {
                self.now_ms += 90_000;
                self.trace.note(format_args!("m{machine}: {heard} are heard, then 90 s pass"));
            }
            _ if is_restorable => {
                self.trace.note(format_args!("m{machine}: {heard} are heard"));
                return self.put_back(machine);
            }
            _ => {
                self.trace.note(format_args!("m{machine}: {heard} are heard, then it loses power"));
                self.machine(machine).crash();
                self.counts.crashes += 1;
                if self.prng.below(2) == 0 {
                    return self.restart(machine);
                }
            }
        }
        Ok(())
    }
}
