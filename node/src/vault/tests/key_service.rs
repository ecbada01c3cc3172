//! A key service outside the vault, as a brand attaches one: it is asked through [`BrandKey`], holds its keys itself
//! and gives none of them out, and is away at times.

use std::sync::atomic::{AtomicU64, Ordering};

use ring::hmac;

use super::*;

/// Keys that are in this service alone: there is nothing by which it would show one.
struct Service {
    inner: Mutex<Inner>,
    // how often it still answers
    answers: AtomicU64,
    // how many data keys it has opened for who asked
    opened: AtomicU64,
}

struct Inner {
    // oldest first; those before `opens_from` are destroyed
    versions: Vec<DataKey>,
    opens_from: usize,
    hashing: hmac::Key,
}

const AWAY: &str = "the key service does not answer";

impl Service {
    fn new() -> Arc<Self> {
        let random = SystemRandom::new();
        let hashing = DataKey::generate(&random).unwrap();
        let hashing = hmac::Key::new(hmac::HMAC_SHA256, hashing.expose());
        let versions = vec![DataKey::generate(&random).unwrap()];
        let inner = Mutex::new(Inner { versions, opens_from: 0, hashing });
        let answers = AtomicU64::new(u64::MAX);
        Arc::new(Self { inner, answers, opened: AtomicU64::new(0) })
    }

    /// Answers so many times more, and is then away.
    fn answers(&self, times: u64) {
        self.answers.store(times, Ordering::SeqCst);
    }

    fn opened(&self) -> u64 {
        self.opened.load(Ordering::SeqCst)
    }

    fn asked(&self) -> Result<MutexGuard<'_, Inner>, KeyError> {
        let left = self
            .answers
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        left.map_err(|_| KeyError::Service("does not answer"))?;
        Ok(self.inner.lock().unwrap())
    }
}

impl Inner {
    fn newest(&self) -> u8 {
        u8::try_from(self.versions.len()).unwrap()
    }

    fn wrap(&self, key: &DataKey, bound_to: &[u8]) -> Result<Vec<u8>, KeyError> {
        let version = self.versions.last().unwrap();
        let sealed = version.seal(key.expose(), bound_to, &SystemRandom::new())?;
        Ok([vec![self.newest()], sealed].concat())
    }

    fn unwrap(&self, wrapped: &[u8], bound_to: &[u8]) -> Result<DataKey, KeyError> {
        let (version, sealed) = wrapped.split_first().ok_or(KeyError::Unopened)?;
        let place = usize::from(*version).checked_sub(1).filter(|it| *it >= self.opens_from);
        let version = place.and_then(|it| self.versions.get(it)).ok_or(KeyError::Unopened)?;
        let opened = version.open(sealed, bound_to)?;
        let bytes = <[u8; KEY_BYTES]>::try_from(opened.as_slice());
        Ok(DataKey::from_bytes(bytes.map_err(|_| KeyError::Unopened)?))
    }
}

impl BrandKey for Service {
    fn version(&self) -> Result<String, KeyError> {
        Ok(format!("projects/brand/keys/members/versions/{}", self.asked()?.newest()))
    }

    fn is_current(&self, wrapped: &[u8]) -> Result<bool, KeyError> {
        Ok(wrapped.first() == Some(&self.asked()?.newest()))
    }

    fn wrap(
        &self,
        key: &DataKey,
        bound_to: &[u8],
        _random: &dyn SecureRandom,
    ) -> Result<Vec<u8>, KeyError> {
        self.asked()?.wrap(key, bound_to)
    }

    fn unwrap(&self, wrapped: &[u8], bound_to: &[u8]) -> Result<DataKey, KeyError> {
        let opened = self.asked()?.unwrap(wrapped, bound_to)?;
        self.opened.fetch_add(1, Ordering::SeqCst);
        Ok(opened)
    }

    /// Within the service: who asks sees no data key.
    fn rewrap(
        &self,
        wrapped: &[u8],
        bound_to: &[u8],
        _random: &dyn SecureRandom,
    ) -> Result<Vec<u8>, KeyError> {
        let inner = self.asked()?;
        inner.wrap(&inner.unwrap(wrapped, bound_to)?, bound_to)
    }

    fn blind(&self, index: BlindIndex, value: &[u8]) -> Result<[u8; 32], KeyError> {
        let inner = self.asked()?;
        let text = [index.label(), &[0], value].concat();
        let tag = hmac::sign(&inner.hashing, &text);
        Ok(<[u8; 32]>::try_from(tag.as_ref()).unwrap())
    }

    fn is_rotating(&self) -> Result<bool, KeyError> {
        let inner = self.asked()?;
        Ok(inner.opens_from + 1 < inner.versions.len())
    }

    fn begin_rotation(&self, random: &dyn SecureRandom) -> Result<(), KeyError> {
        let mut inner = self.asked()?;
        if inner.opens_from + 1 < inner.versions.len() {
            return Err(KeyError::Rotation("the last rotation is still under way"));
        }
        inner.versions.push(DataKey::generate(random)?);
        Ok(())
    }

    fn end_rotation(&self) -> Result<(), KeyError> {
        let mut inner = self.asked()?;
        inner.opens_from = inner.versions.len() - 1;
        Ok(())
    }
}

fn vault_of(service: &Arc<Service>, store: &Arc<MemoryStore>) -> Vault {
    let key: Arc<dyn BrandKey> = Arc::<Service>::clone(service);
    Vault::new(brand("fuel_stop"), store.clone(), key, Arc::new(SystemRandom::new()))
}

#[test]
fn a_key_service_keeps_its_key_and_rotates_it_without_showing_a_data_key() {
    let (service, store) = (Service::new(), Arc::new(MemoryStore::new()));
    let vault = vault_of(&service, &store);
    let ids: Vec<MemberId> = (0..150).map(|number| enrol(&vault, number)).collect();
    vault.merge(ids[0], ids[1], "ann", at(2)).unwrap();
    let file_key = *vault.file_key("facts").unwrap().expose();
    let version = vault.key.version().unwrap();
    let wrapped = store.get(BRAND_KEYS, b"facts").unwrap().unwrap();
    assert!(!vault.is_rotating().unwrap());

    vault.begin_rotation().unwrap();
    assert!(matches!(vault.begin_rotation(), Err(KeyError::Rotation(_))));
    assert!(vault.is_rotating().unwrap() && vault.key.version().unwrap() != version);
    // what is written meanwhile is under the new version already
    enrol(&vault, 1_000);
    let before = service.opened();
    let done = vault.rewrap(&mut |_| {}).unwrap();
    // every record of before but for the new one, the merged one, and the brand's own key
    assert_eq!((done.looked_at, done.rewrapped), (150, 151));
    assert_eq!(service.opened(), before, "the service wrapped them again by itself");
    vault.end_rotation().unwrap();
    assert!(!vault.is_rotating().unwrap());

    // as after a start: all is found and opened, and by the new version alone
    let vault = vault_of(&service, &store);
    for (number, id) in (0..).zip(&ids).filter(|(number, _)| *number != 1) {
        assert_eq!(vault.by_card(&person(number).card).unwrap(), Some(*id));
        assert_eq!(vault.profile(*id).unwrap().card, person(number).card);
    }
    assert_eq!(*vault.file_key("facts").unwrap().expose(), file_key);
    let place = file_key_place(brand("fuel_stop"), b"facts");
    assert!(matches!(service.unwrap(&wrapped, &place), Err(KeyError::Unopened)));
}

#[test]
fn while_the_key_service_is_away_nothing_is_done_and_nothing_concluded_and_then_all_is_as_it_was() {
    let (service, store) = (Service::new(), Arc::new(MemoryStore::new()));
    let vault = vault_of(&service, &store);
    let id = enrol(&vault, 1);
    vault.file_key("facts").unwrap();
    let (count, revision) = (vault.count().unwrap(), Revision::of(&*store).unwrap());

    service.answers(0);
    let phone = identifiers(&[(IdentifierKind::Phone, "13812345678")]);
    let withdrawn = Consent::new(Purpose::JointAnalytics, false, 2, at(3));
    let refused: [(&str, Result<(), VaultError>); 12] = [
        ("profile", vault.profile(id).map(drop)),
        ("by card", vault.by_card(&person(1).card).map(drop)),
        ("standing", vault.standing_by_card(&person(1).card).map(drop)),
        ("enrol", vault.enrol(&[person(2)], &sample_rule(at(3))).map(drop)),
        ("sight", vault.sight(&phone, &[], false, at(3)).map(drop)),
        ("decide", vault.decide(id, withdrawn)),
        ("consenting", vault.consenting(Purpose::JointAnalytics).map(drop)),
        ("erase", vault.erase(id, at(3)).map(drop)),
        ("file key", vault.file_key("facts").map(drop)),
        ("another file key", vault.file_key("desk").map(drop)),
        ("rewrap", vault.rewrap(&mut |_| {}).map(drop)),
        ("rotation", vault.begin_rotation().map_err(VaultError::from)),
    ];
    for (what, done) in refused {
        let error = done.expect_err(what);
        // not that nobody has the card, nor that a record is damaged
        assert!(error.is_outage(), "{what}: {error}");
        match error {
            VaultError::Key(source) => assert_eq!(source.to_string(), AWAY, "{what}"),
            other => panic!("{what}: {other}"),
        }
    }
    assert!(vault.is_rotating().is_err() && vault.key.version().is_err());

    // away in the middle of a list: nobody of it is enrolled
    for times in 1..9 {
        service.answers(times);
        let people = [person(2), person(3), person(4)];
        assert!(vault.enrol(&people, &sample_rule(at(3))).unwrap_err().is_outage(), "{times}");
    }
    service.answers(u64::MAX);
    assert_eq!(vault.count().unwrap(), count);
    assert!(Revision::of(&*store).unwrap() == revision);
    assert_eq!(vault.by_card(&person(1).card).unwrap(), Some(id));
    assert!(vault.consents(id).unwrap().allows(Purpose::JointAnalytics));
    assert!(!vault.is_rotating().unwrap());
    enrol(&vault, 2);

    // and a rotation goes on where it was
    let ids: Vec<MemberId> = (10..200).map(|number| enrol(&vault, number)).collect();
    vault.begin_rotation().unwrap();
    service.answers(300);
    assert!(vault.rewrap(&mut |_| {}).unwrap_err().is_outage());
    service.answers(u64::MAX);
    let done = vault.rewrap(&mut |_| {}).unwrap();
    assert!(done.rewrapped < 193, "a page was done before: {}", done.rewrapped);
    assert_eq!(vault.rewrap(&mut |_| {}).unwrap().rewrapped, 0);
    vault.end_rotation().unwrap();
    for (number, id) in (10..).zip(&ids) {
        assert_eq!(vault.by_card(&person(number).card).unwrap(), Some(*id));
        assert_eq!(vault.profile(*id).unwrap().card, person(number).card);
    }
}
