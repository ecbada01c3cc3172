//! What others ask of the past: blocks that they have missed, and what is held of others' logs.

use super::{Asked, Context, Ledger};
use crate::ids::{BrandId, Epoch};
use crate::witness::guards::Guards;
use crate::witness::message::{CATCH_UP_BLOCKS_MAX, CertifiedBlock, Message};
use crate::witness::state::Outbox;

/// Most bytes of one answer to a request to catch up.
const CATCH_UP_BYTES_MAX: usize = crate::codec::MESSAGE_MAX / 2;

impl<G: Guards> Ledger<G> {
    /// A request is a few bytes and its answer many blocks: of each brand one waits, and one is
    /// answered at a time, between all else that there is to do.
    pub(super) fn note_request(&mut self, from: BrandId, request: Asked) {
        let same_kind = |waiting: &&mut (BrandId, Asked)| {
            waiting.0 == from
                && matches!(waiting.1, Asked::Held(_)) == matches!(request, Asked::Held(_))
        };
        match self.asking.iter_mut().find(same_kind) {
            Some((_, waiting)) => *waiting = request,
            None => self.asking.push_back((from, request)),
        }
    }

    /// Sends blocks of the past to the brand whose turn it is.
    pub(super) fn answer(&mut self, context: &mut Context<'_>, out: &mut Outbox) {
        let Some((to, asked)) = self.asking.pop_front() else { return };
        let request = match asked {
            Asked::Blocks(request) => request,
            Asked::Held(recall) => {
                let holdings = self.holdings(recall, context);
                out.messages.push((to, Message::Holdings(Box::new(holdings))));
                return;
            }
        };
        if request.log != self.me {
            out.messages.extend(self.closing_for(&request).map(|closing| (to, closing)));
            return;
        }
        if let Some(head) = self.head_for(to, request.from, context) {
            out.messages.push((to, Message::Head(Box::new(head))));
            return;
        }
        let mut height = request.from;
        let mut bytes = 0_usize;
        let mut blocks = Vec::new();
        while blocks.len() < CATCH_UP_BLOCKS_MAX && bytes < CATCH_UP_BYTES_MAX {
            let Some((block, certificate)) = context.archive.block(height) else { break };
            let epoch: Epoch = block.reference().epoch;
            let Some(constitution) = self.constitutions.of(epoch) else { break };
            let Ok(deliveries) = block.deliveries(constitution) else { break };
            let Ok(delivery) = deliveries.to(to, false) else { break };
            bytes = block.leaves().fold(bytes, |sum, leaf| sum.saturating_add(leaf.len()));
            blocks.push(CertifiedBlock { certificate, delivery });
            match height.next() {
                Some(next) => height = next,
                None => break,
            }
        }
        if !blocks.is_empty() {
            out.messages.push((to, Message::Blocks(blocks)));
        }
    }
}
