//! What cannot be credited comes back with the block that recognises it, and not after.

use crate::exchange::Payload;
use crate::ids::{BrandId, Height};
use crate::time::Milliseconds;
use crate::witness::message::Message;
use crate::world::{World, first_draft};

/// A block that is built anew takes the entries of the first one alone: a return that came meanwhile waits
/// for the next block, and so does the recognition of what it answers.
#[test]
fn a_block_that_is_built_anew_does_not_recognise_what_a_later_return_answers() {
    let draft = first_draft(4);
    let all: Vec<BrandId> = draft.brands.keys().copied().collect();
    let [a, b, c, d] = all[..] else { panic!("four brands") };
    let mut world = World::new(&draft, 8, 0);
    world.step();
    // of a block of `a` only `b` hears, which is too few
    world.sends_back = Some(a);
    let of_a = |to: BrandId, message: &Message| {
        let is_its = matches!(message, Message::Proposal(it) if it.proposal.body.0.block.log == a);
        is_its && [c, d].contains(&to)
    };
    world.exchange(a, c, 5);
    world.deliver(of_a);
    assert_eq!(world.ledger(a).witness(a).unwrap().tip().height, Height::new(0));
    world.exchange(b, a, 7);
    world.deliver(of_a);
    assert_eq!(world.ledger(a).witness(b).unwrap().tip().height, Height::new(1));
    let before = world.ledger(a).writer().open_block().unwrap().reference();

    // by now nobody would take the first one
    world.now = world.now.plus(Milliseconds::from_seconds(90));
    world.until("it is certified", |world| world.credited(c, a) == [5]);
    world.until("b has it back", |world| !world.sites[&b].given_back.is_empty());
    let site = &world.sites[&a];
    let sends_back = |height: &Height| {
        let payloads = site.blocks.0[height].0.payloads();
        payloads.iter().any(|sent| matches!(sent.payload, Payload::Return(_)))
    };
    let returned = site.headers.keys().find(|height| sends_back(height)).unwrap();
    assert_ne!(site.headers[&Height::new(1)].to_leaf().1, before.header, "it was built anew");
    for (height, header) in &site.headers {
        let recognised = header.column(b).unwrap().recognised.height;
        assert_eq!(recognised > Height::new(0), height >= returned, "{height}");
    }
    assert!(world.credited(a, b).is_empty());
}
