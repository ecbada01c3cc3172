//! A node whose brand key is with a key service that is away: nothing is concluded about whom it cannot look up.

use protocol::exchange::{Exchange, Link};
use protocol::ids::RequestId;
use ring::rand::SecureRandom;

use super::*;
use crate::vault::{BlindIndex, BrandKey, DataKey, KeyError};

/// A key service that does not answer.
pub(super) struct Away;

const NO_ANSWER: KeyError = KeyError::Service("does not answer");

impl BrandKey for Away {
    fn version(&self) -> Result<String, KeyError> {
        Err(NO_ANSWER)
    }
    fn is_current(&self, _: &[u8]) -> Result<bool, KeyError> {
        Err(NO_ANSWER)
    }
    fn wrap(&self, _: &DataKey, _: &[u8], _: &dyn SecureRandom) -> Result<Vec<u8>, KeyError> {
        Err(NO_ANSWER)
    }
    fn unwrap(&self, _: &[u8], _: &[u8]) -> Result<DataKey, KeyError> {
        Err(NO_ANSWER)
    }
    fn blind(&self, _: BlindIndex, _: &[u8]) -> Result<[u8; 32], KeyError> {
        Err(NO_ANSWER)
    }
    fn is_rotating(&self) -> Result<bool, KeyError> {
        Err(NO_ANSWER)
    }
    fn begin_rotation(&self, _: &dyn SecureRandom) -> Result<(), KeyError> {
        Err(NO_ANSWER)
    }
    fn end_rotation(&self) -> Result<(), KeyError> {
        Err(NO_ANSWER)
    }
}

#[test]
fn what_another_brand_sends_does_not_go_back_because_the_key_service_is_away() {
    let mut world = World::new(&[]);
    world.link(AMBER, BIRCH, 1);
    world.run_until_quiet();
    let sender = world.sites[AMBER].core.member(&card(1)).unwrap();
    let handle = world.sites[AMBER].vault.handle(sender, brand(BIRCH)).unwrap();
    let (points, owed) = (Points::new(5).unwrap(), Value::new(5).unwrap());
    let request = RequestId::from_bytes([1; 16]);
    let exchange =
        Payload::Exchange(Exchange { handle, request, sent: points, received: points, owed });
    let link = Payload::Link(Link { code: "0123456789".to_owned(), handle });
    let (leaf, now, from) = (LeafIndex::new(0), world.now, brand(AMBER));
    let core = &mut world.sites[BIRCH].core;
    // while it answers, the exchange credits the member, and the code is none
    assert!(matches!(core.receive(from, leaf, &exchange, now), Ok(Some(_))));
    assert!(matches!(core.receive(from, leaf, &link, now), Err(NotCredited::Back(_))));

    let there = Arc::clone(&core.vault);
    let store = Arc::clone(&core.store);
    let random = Arc::new(SystemRandom::new());
    core.vault = Arc::new(Vault::new(brand(BIRCH), store, Arc::new(Away), random));
    for payload in [&exchange, &link] {
        let failed = core.receive(from, leaf, payload, now);
        assert!(matches!(failed, Err(NotCredited::Failed(error)) if error.is_outage()));
    }
    // and a request is told so, not that there is no such member
    let refused = core.member(&card(1)).unwrap_err();
    assert_eq!((refused.code, refused.kind), ("key_service", ErrorKind::Unavailable));
    core.vault = there;
    assert!(matches!(core.receive(from, leaf, &exchange, now), Ok(Some(_))));
}
