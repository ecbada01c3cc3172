//! A desk for the tests of who asks it.

use std::path::Path;
use std::sync::Arc;

use protocol::ids::BrandId;
use protocol::time::Timestamp;
use ring::rand::SystemRandom;

use super::{Desk, DeskSettings};
use crate::metrics::Metrics;
use crate::purchases::Facts;
use crate::store::Store;
use crate::vault::{
    Attribute, CardNumber, HeldBrandKey, Identifier, IdentifierKind, KEY_BYTES, NewMember, Random,
    Vault, sample_rule,
};

/// A real desk over a vault in a store, where one member has the card `1`.
pub(crate) fn with_one_member(
    store: Arc<dyn Store>,
    brand: BrandId,
    folder: &Path,
) -> (Arc<Desk>, Arc<Facts>) {
    let random: Random = Arc::new(SystemRandom::new());
    let key = Arc::new(HeldBrandKey::from_bytes(&mut [7; KEY_BYTES]));
    let vault = Arc::new(Vault::new(brand, Arc::clone(&store), key, Arc::clone(&random)));
    let card = CardNumber::new("1").unwrap();
    let attributes = [(Attribute::Name, "Li Lei".to_owned())].into();
    let person = NewMember { card, match_key: None, attributes };
    vault.enrol(&[person], &sample_rule(Timestamp::from_unix_ms(1))).unwrap();
    let member = vault.by_card(&CardNumber::new("1").unwrap()).unwrap().unwrap();
    let phone = Identifier::parse(IdentifierKind::Phone, "13812345678").unwrap();
    vault.add_identifier(member, &phone, Timestamp::from_unix_ms(2)).unwrap();
    let facts = Facts::open(folder.join("facts"), Arc::clone(&store), &vault).unwrap();
    let rules = DeskSettings::default().rules().unwrap();
    let desk = Desk::open(vault, store, random, rules, Metrics::default()).unwrap();
    (Arc::new(desk), Arc::new(facts))
}
