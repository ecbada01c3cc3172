//! From `constitution.toml` to one validated type.
//!
//! Knows what spans several keys of the file, and hands the ledger's part to
//! [`protocol::constitution`] and the clean room's to [`privacy::contract`], which check their own
//! rules. Whose signatures are under it is [`crate::signatures`]' business, whether it may follow
//! another is [`protocol::epochs`]'.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use privacy::contract::{CARRIERS_MIN, Contract, RawContract};
use protocol::constitution::{Auditor, Brand, ConstitutionError, Draft, Succession, WrittenOff};
use protocol::crypto::sha256;
use protocol::ids::{BrandId, ConstitutionHash, Epoch};
use protocol::time::Timestamp;

use crate::cut_offs::CutOffs;
use crate::document::{Document, FileError, Source};
use crate::problem::{Problem, contract_place};
use crate::raw::{
    RawAuditor, RawBrand, RawBrandLimits, RawCleanRoom, RawClearing, RawConstitution, RawLimits,
};
use crate::text::{Address, Name};

/// A checked constitution. That it is checked says nothing of who signed it: see
/// [`Ratified`](crate::Ratified).
#[derive(Clone, Debug, PartialEq)]
pub struct Constitution {
    pub(crate) name: Name,
    pub(crate) is_trial: bool,
    pub(crate) ledger: protocol::constitution::Constitution,
    pub(crate) clean_room: Option<CleanRoom>,
    pub(crate) profiles: BTreeMap<BrandId, BrandProfile>,
    pub(crate) clearing_zone: TimeZone,
    pub(crate) cut_offs: Option<CutOffs>,
    pub(crate) payload_retention_months: u16,
}

/// What people and nodes see of a brand: its name, and where its node is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrandProfile {
    /// Its name.
    pub name: Name,
    /// Where other nodes reach it.
    pub libp2p: Address,
    /// Where its staff, and auditors, reach it.
    pub https: Address,
}

/// What the brands agreed on for joint questions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CleanRoom {
    contract: Contract,
    retention_years: u8,
}

impl CleanRoom {
    /// The dataset contract: schema, bounds, purposes, budget.
    #[must_use]
    pub const fn contract(&self) -> &Contract {
        &self.contract
    }
    /// Rows older than so many years are not read.
    #[must_use]
    pub const fn retention_years(&self) -> u8 {
        self.retention_years
    }
}

impl Constitution {
    /// Reads and checks a constitution; its hash is that of these very bytes.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place in the file.
    pub fn parse(bytes: &[u8]) -> Result<Self, FileError> {
        let source = Source::new(Document::Constitution, bytes)?;
        let raw: RawConstitution = source.read()?;
        check_references(&source, &raw)?;
        let succession = succession(&source, &raw)?;
        let cut_offs = cut_offs(&source, &raw.clearing)?;
        let clean_room = match raw.clean_room {
            Some(clean_room) => Some(checked_clean_room(&source, clean_room, &raw.brands)?),
            None => None,
        };
        let profiles = raw.brands.iter().map(|(id, brand)| (id.0, profile(brand))).collect();
        let auditors = raw.auditors.iter().map(|raw_auditor| {
            auditor(raw_auditor, &raw.clearing.zone).ok_or_else(|| {
                let name = raw_auditor.name.0;
                let path = ["auditors", name.as_str(), "later"];
                source.error_at(&path, Problem::AuditorDay { auditor: name })
            })
        });
        let auditors = auditors.collect::<Result<_, _>>()?;
        let draft = Draft {
            alliance: raw.alliance.id.0,
            epoch: raw.alliance.epoch,
            hash: ConstitutionHash::from_bytes(sha256(&[bytes])),
            brands: raw
                .brands
                .into_iter()
                .map(|(id, brand)| {
                    let limits = raw.limits.of(id.0);
                    let brand = Brand {
                        keys: brand.keys,
                        point_value: brand.point_value_micro_fen.0,
                        pair_limit: limits.pair_limit_fen.0,
                        total_limit: limits.total_limit_fen.0,
                    };
                    (id.0, brand)
                })
                .collect(),
            rates: raw
                .rates
                .iter()
                .flat_map(|(from, row)| row.iter().map(|(to, rate)| ((from.0, to.0), rate.0)))
                .collect(),
            total_step: raw.ledger.total_step_fen.0,
            payload_size: raw.ledger.payload_bytes,
            return_window: raw.ledger.return_window_hours,
            protocol_version: raw.alliance.protocol_version,
            cipher: raw.ledger.cipher,
            auditors,
            succession,
        };
        let ledger = protocol::constitution::Constitution::new(draft)
            .map_err(|error| ledger_error(&source, &raw.limits, error))?;
        Ok(Self {
            name: Name::trusted(raw.alliance.name_zh, raw.alliance.name_en),
            is_trial: raw.alliance.trial,
            ledger,
            clean_room,
            profiles,
            clearing_zone: raw.clearing.zone,
            cut_offs,
            payload_retention_months: raw.ledger.payload_retention_months,
        })
    }

    /// The alliance's name for people; its id is the ledger's.
    #[must_use]
    pub const fn name(&self) -> &Name {
        &self.name
    }
    /// Whether the brands say that there are no real members: it may then go without notice.
    #[must_use]
    pub const fn is_trial(&self) -> bool {
        self.is_trial
    }
    /// What it means to the ledger.
    #[must_use]
    pub const fn ledger(&self) -> &protocol::constitution::Constitution {
        &self.ledger
    }
    /// What it means to the clean room; none when the alliance has none.
    #[must_use]
    pub const fn clean_room(&self) -> Option<&CleanRoom> {
        self.clean_room.as_ref()
    }
    /// Name and addresses of a brand, if it is a member.
    #[must_use]
    pub fn profile(&self, brand: BrandId) -> Option<&BrandProfile> {
        self.profiles.get(&brand)
    }
    /// Names and addresses of all brands, in the order of their ids.
    pub fn profiles(&self) -> impl Iterator<Item = (BrandId, &BrandProfile)> {
        self.profiles.iter().map(|(id, profile)| (*id, profile))
    }
    /// The zone of cut-offs and of the clean room's budget years.
    #[must_use]
    pub const fn clearing_zone(&self) -> &TimeZone {
        &self.clearing_zone
    }
    /// When brands open what they owe each other; none when the alliance has agreed on no calendar.
    #[must_use]
    pub const fn cut_offs(&self) -> Option<&CutOffs> {
        self.cut_offs.as_ref()
    }
    /// How many whole months a sealing key is kept after the month in which it was replaced; what was
    /// sealed to it can be opened until then.
    #[must_use]
    pub const fn payload_retention_months(&self) -> u16 {
        self.payload_retention_months
    }
    /// SHA-256 of the file.
    #[must_use]
    pub const fn hash(&self) -> ConstitutionHash {
        self.ledger.hash()
    }
}

fn cut_offs(source: &Source<'_>, raw: &RawClearing) -> Result<Option<CutOffs>, FileError> {
    match (raw.cut_offs, raw.cut_off_time) {
        (None, Some(_)) => Err(source.error_at(&["clearing", "cut_off_time"], Problem::CutOffTime)),
        (period, at) => {
            Ok(period.map(|period| CutOffs::new(period, at.unwrap_or_default(), raw.zone.clone())))
        }
    }
}

/// What member-facing terms hash to begins with.
const TERMS_DOMAIN: &[u8] = b"coalition/0/member-terms\0";

/// The place among the alliance's constitutions.
fn succession(source: &Source<'_>, raw: &RawConstitution) -> Result<Succession, FileError> {
    let written_off = raw.clearing.written_off.iter().map(|it| WrittenOff {
        debtor: it.debtor.0,
        creditor: it.creditor.0,
        value: it.micro_fen,
    });
    let (raw, months) = (&raw.alliance, raw.ledger.payload_retention_months);
    let first = Succession::default();
    if (raw.epoch == Epoch::new(1)) == raw.previous.is_some() {
        return Err(source.error_at(&["alliance", "epoch"], Problem::Previous));
    }
    if raw.notice_days.is_some_and(|days| days.get() == 0) && !raw.trial {
        return Err(source.error_at(&["alliance", "notice_days"], Problem::NoNotice));
    }
    Ok(Succession {
        previous: raw.previous,
        effective: raw.effective.unwrap_or(first.effective),
        notice: raw.notice_days.unwrap_or(first.notice),
        frozen: raw.frozen.iter().map(|id| id.0).collect(),
        written_off: written_off.collect(),
        terms: terms(source.text(), months),
    })
}

/// The hash of what touches members and is not the ledger's: for how long what was exchanged can be
/// read, and the clean room, its keys in order.
fn terms(text: &str, payload_retention_months: u16) -> [u8; 32] {
    let table: toml::Table = toml::from_str(text).unwrap_or_default();
    let clean_room = table.get("clean_room").map(ToString::to_string).unwrap_or_default();
    sha256(&[TERMS_DOMAIN, &payload_retention_months.to_be_bytes(), clean_room.as_bytes()])
}

impl RawLimits {
    fn of(&self, brand: BrandId) -> RawBrandLimits {
        let all = RawBrandLimits {
            pair_limit_fen: self.pair_limit_fen,
            total_limit_fen: self.total_limit_fen,
        };
        self.brands.get(&crate::text::Id(brand)).copied().unwrap_or(all)
    }

    /// Where a brand's limit stands.
    fn path<'p>(&self, brand: &'p BrandId, field: &'p str) -> Vec<&'p str> {
        match self.brands.contains_key(&crate::text::Id(*brand)) {
            true => vec!["limits", "brands", brand.as_str(), field],
            false => vec!["limits", field],
        }
    }
}

pub(crate) fn profile(raw: &RawBrand) -> BrandProfile {
    BrandProfile {
        name: Name::trusted(raw.name_zh.clone(), raw.name_en.clone()),
        libp2p: raw.libp2p_address.clone(),
        https: raw.https_address.clone(),
    }
}

/// None when a day is before the protocol's time, or has no beginning in the zone.
fn auditor(raw: &RawAuditor, zone: &TimeZone) -> Option<Auditor> {
    let later = raw.later.iter().map(|key| {
        let begins = key.from.to_zoned(zone.clone()).ok()?.timestamp().as_millisecond();
        Some((Timestamp::from_unix_ms(u64::try_from(begins).ok()?), key.sealing))
    });
    let (name, later) = (raw.name.0.as_str().to_owned(), later.collect::<Option<_>>()?);
    Some(Auditor { name, access: raw.access, sealing: raw.sealing, later })
}

/// What neither the ledger nor the clean room can see.
fn check_references(source: &Source<'_>, raw: &RawConstitution) -> Result<(), FileError> {
    if let Some(id) = raw.limits.brands.keys().find(|id| !raw.brands.contains_key(id)) {
        let path = ["limits", "brands", id.0.as_str()];
        return Err(source.error_at(&path, Problem::UnknownBrand { brand: id.0 }));
    }
    for id in raw.brands.keys() {
        let limits = raw.limits.of(id.0);
        if limits.pair_limit_fen > limits.total_limit_fen {
            let path = raw.limits.path(&id.0, "pair_limit_fen");
            return Err(source.error_at(&path, Problem::LimitOrder { brand: id.0 }));
        }
    }
    // an auditor is a recipient of wrapped secrets beside the brands
    let mut names: BTreeSet<_> = raw.brands.keys().map(|id| id.0).collect();
    let mut keys: BTreeSet<_> =
        raw.brands.values().flat_map(|brand| [brand.keys.sealing, brand.keys.recovery]).collect();
    for auditor in &raw.auditors {
        if !names.insert(auditor.name.0) || !keys.insert(auditor.sealing) {
            let path = ["auditors", auditor.name.0.as_str()];
            return Err(source.error_at(&path, Problem::Auditor { auditor: auditor.name.0 }));
        }
    }
    Ok(())
}

fn checked_clean_room(
    source: &Source<'_>,
    raw: RawCleanRoom,
    brands: &BTreeMap<crate::text::Id, RawBrand>,
) -> Result<CleanRoom, FileError> {
    if brands.len() < CARRIERS_MIN {
        let problem = Problem::CleanRoomBrands { found: brands.len() };
        return Err(source.error_at(&["clean_room"], problem));
    }
    let contract = RawContract {
        dataset: raw.dataset,
        purposes: raw.purposes,
        participants: brands.keys().map(|id| id.0.as_str().to_owned()).collect(),
        minimum_participants: raw.minimum_participants,
        profile: raw.profile,
        members_at_most: raw.members_at_most,
        tables: raw.tables,
        public_tables: raw.public_tables,
    };
    let contract = Contract::try_from(contract).map_err(|error| {
        let mut path = vec!["clean_room"];
        path.extend(contract_place(&error).split('.'));
        source.error_at(&path, Problem::CleanRoom(error.clone()))
    })?;
    Ok(CleanRoom { contract, retention_years: raw.retention_years })
}

/// Says where in the file the ledger's rule is broken.
fn ledger_error(source: &Source<'_>, limits: &RawLimits, error: ConstitutionError) -> FileError {
    let path = match &error {
        ConstitutionError::Brands { .. } => vec!["brands"],
        ConstitutionError::RateBrands { from, to } => vec!["rates", from.as_str(), to.as_str()],
        ConstitutionError::RateCycle { through } => vec!["rates", through.as_str()],
        ConstitutionError::KeyReused { brand, role } => {
            vec!["brands", brand.as_str(), "keys", role]
        }
        ConstitutionError::PayloadSize { .. } => vec!["ledger", "payload_bytes"],
        ConstitutionError::Limit { brand, field } => {
            let field = if *field == "pair_limit" { "pair_limit_fen" } else { "total_limit_fen" };
            limits.path(brand, field)
        }
        ConstitutionError::ProtocolVersion { .. } => vec!["alliance", "protocol_version"],
        ConstitutionError::Auditors { .. } => vec!["auditors"],
        ConstitutionError::AuditorKeys { name } => vec!["auditors", name, "later"],
        ConstitutionError::Frozen(_) => vec!["alliance", "frozen"],
        ConstitutionError::WrittenOff { .. } => vec!["clearing", "written_off"],
    };
    source.error_at(&path, Problem::Ledger(error.clone()))
}

#[cfg(test)]
mod tests {
    use privacy::contract::BudgetProfile;
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{constitution, keys, sample_constitution};
    use crate::text::{ed25519, x25519};

    fn refused(text: &str) -> FileError {
        Constitution::parse(text.as_bytes()).unwrap_err()
    }

    /// Changes `from` to `to` and expects an error on the line where `to` begins, at this key, with
    /// these words.
    fn wrong(text: &str, (from, to): (&str, &str), key: &str, words: &str) {
        assert!(text.contains(from), "{from:?} is not in the text");
        let changed = text.replacen(from, to, 1);
        let error = refused(&changed);
        let line = 1 + text[..text.find(from).unwrap()].matches('\n').count();
        let said = error.to_string();
        assert_eq!((error.place.line, error.place.key.as_str()), (line, key), "{said}");
        assert!(said.contains(words), "{words:?} in {said:?}");
        assert!(!said.contains('\n'), "one line: {said:?}");
    }

    #[test]
    fn single_values_are_refused_at_their_place() {
        let text = constitution(3);
        let libp2p = "libp2p_address = \"node-0.example.com:7001\"";
        for (change, key, words) in [
            (("format = 0", "format = 7"), "format", "format 7 is unknown"),
            (
                ("epoch = 1", "protocol_version = 9\nepoch = 1"),
                "alliance.protocol_version",
                "protocol version 9",
            ),
            (
                ("epoch = 1", "notice_days = 0\nepoch = 1"),
                "alliance.notice_days",
                "`trial = true` beside it",
            ),
            (("epoch = 1", "epoch = 2"), "alliance.epoch", "names the one before"),
            (("epoch = 1", "epoch = 0"), "alliance.epoch", "epoch 1"),
            (("id = \"my_alliance\"", "id = \"My\""), "alliance.id", "begins with a letter"),
            (("name_en = \"My Alliance\"", "name_en = \"\""), "alliance.name_en", "1 to 64"),
            (("\"Asia/Shanghai\"", "\"Asia/Atlantis\""), "clearing.zone", "IANA"),
            (
                ("cut_offs = \"monthly\"", "cut_offs = \"hourly\""),
                "clearing.cut_offs",
                "\"weekly\" (Mondays)",
            ),
            (
                ("cut_offs = \"monthly\"", "cut_off_time = \"17:00\""),
                "clearing.cut_off_time",
                "there are no cut-offs",
            ),
            (
                ("cut_offs = ", "cut_off_time = \"24:00\"\ncut_offs = "),
                "clearing.cut_off_time",
                "\"00:00\" to \"23:59\"",
            ),
            (
                ("cut_offs = ", "cut_off_time = \"7:00\"\ncut_offs = "),
                "clearing.cut_off_time",
                "\"00:00\" to \"23:59\"",
            ),
            (
                ("total_step_fen = 10000", "total_step_fen = 0"),
                "ledger.total_step_fen",
                "1 to 1000",
            ),
            (("total_step_fen = 10000", "total_step_fen = -1"), "ledger.total_step_fen", "-1"),
            (("_hours = 72", "_hours = 0"), "ledger.return_window_hours", "1 to 8760 hours"),
            (("payload_bytes = 160", "payload = 160"), "ledger.payload", "expected one of"),
            (
                (libp2p, "libp2p_address = \"0.0.0.0:1\""),
                "brands.a.libp2p_address",
                "the others reach",
            ),
            ((libp2p, "libp2p_addres = 1"), "brands.a.libp2p_addres", "unknown field"),
            (("[brands.a.keys]", "[brands.A.keys]"), "brands.A.keys", "begins with a letter"),
            (
                ("log = \"ed25519:", "log = \"x25519:"),
                "brands.a.keys.log",
                "the base64 of 32 bytes",
            ),
            (("log = \"ed25519:", "log = \"ed25519:A"), "brands.a.keys.log", "32 bytes"),
            (("\"1/2\"", "\"1/0\""), "rates.a.b", "a ratio is written \"3/2\""),
            (("\"1/2\"", "\"0.5\""), "rates.a.b", "a ratio is written"),
            (("\"1/2\"", "\"+1/2\""), "rates.a.b", "a ratio is written"),
            (("\"1/2\"", "0.5"), "rates.a.b", "expected a string"),
        ] {
            wrong(&text, change, key, words);
        }
    }

    #[test]
    fn what_spans_several_values_is_refused_at_the_one_to_change() {
        let text = constitution(3);
        let own = ed25519::to_text(&keys(0).log);
        let other = ed25519::to_text(&keys(1).vote);
        for (change, key, words) in [
            (("payload_bytes = 160", "payload_bytes = 64"), "ledger.payload_bytes", "128 to"),
            (
                ("pair_limit_fen = 5000000", "pair_limit_fen = 5000001"),
                "limits.pair_limit_fen",
                "multiple of total_step",
            ),
            (
                ("total_limit_fen = 20000000", "total_limit_fen = 20000001"),
                "limits.total_limit_fen",
                "multiple of total_step",
            ),
            (
                ("pair_limit_fen = 5000000", "pair_limit_fen = 50000000"),
                "limits.pair_limit_fen",
                "lower pair_limit_fen",
            ),
            (
                ("[rates.a]\nb = \"1/2\"", "[rates.a]\nb = \"3/5\""),
                "rates.a",
                "lower one of its rates",
            ),
            (("[rates.a]", "[rates.x]"), "rates.x.b", "both must be brands of the alliance"),
            (
                (
                    "[brands.a]",
                    "[limits.brands.x]\npair_limit_fen = 10000\ntotal_limit_fen = 10000\n[brands.a]",
                ),
                "limits.brands.x",
                "x is no brand",
            ),
        ] {
            let changed = text.replacen(change.0, change.1, 1);
            let error = refused(&changed);
            let said = error.to_string();
            assert_eq!(error.place.key, key, "{said}");
            assert!(said.contains(words), "{words:?} in {said:?}");
            let last = key.rsplit('.').next().unwrap();
            let at = changed.lines().nth(error.place.line - 1).unwrap();
            assert!(at.contains(last), "{last} on line {at:?}");
        }
        // the brands are checked in the order of their ids: the second use is b's
        wrong(&text, (&other, &own), "brands.b.keys.vote", "every role of every brand has its own");
    }

    #[test]
    fn a_brand_can_have_its_own_limits() {
        let own = "\n[limits.brands.b]\npair_limit_fen = 10000\ntotal_limit_fen = 20000\n";
        let text = constitution(2) + own;
        let parsed = Constitution::parse(text.as_bytes()).unwrap();
        let limit = |id| parsed.ledger().brand(BrandId::new(id).unwrap()).unwrap().pair_limit.get();
        assert_eq!((limit("a"), limit("b")), (5_000_000_000_000, 10_000_000_000));
        let error = refused(&text.replace("pair_limit_fen = 10000\n", "pair_limit_fen = 10001\n"));
        assert_eq!(error.place.key, "limits.brands.b.pair_limit_fen", "{error}");
    }

    #[test]
    fn an_auditor_is_nobody_else() {
        let auditor = |name: &str, key| {
            let key = x25519::to_text(&key);
            format!("\n[[auditors]]\nname = \"{name}\"\nsealing = \"{key}\"\n")
        };
        let text = constitution(2);
        let fine = auditor("regulator", keys(8).sealing);
        let parsed = Constitution::parse((text.clone() + &fine).as_bytes()).unwrap();
        assert_eq!(parsed.ledger().auditors()[0].name, "regulator");
        for bad in [
            auditor("a", keys(9).sealing),
            auditor("regulator", keys(9).sealing),
            auditor("other", keys(8).sealing),
            auditor("other", keys(1).recovery),
        ] {
            let error = refused(&[&text[..], &fine, &bad].concat());
            assert!(error.to_string().contains("must differ from every brand's"), "{error}");
            assert!(error.place.key.starts_with("auditors."), "{error}");
        }
        let five: String = (8..13).map(|i| auditor(&format!("a{i}"), keys(i).sealing)).collect();
        assert!(refused(&(text + &five)).to_string().contains("5 standing auditors"));
    }

    #[test]
    fn an_auditors_keys_begin_with_days_of_the_clearing_zone() {
        let key = |number| x25519::to_text(&keys(number).sealing);
        let auditor = |access: &str, first: &str, second: &str| {
            format!(
                "\n[[auditors]]\nname = \"regulator\"\naccess = \"{access}\"\nsealing = \"{}\"\n\
                 later = [{{ from = \"{first}\", sealing = \"{}\" }}, {{ from = \"{second}\", sealing = \"{}\" }}]\n",
                key(8),
                key(9),
                key(10)
            )
        };
        let parse = |text: String| Constitution::parse((constitution(2) + &text).as_bytes());
        let sound = parse(auditor("on_request", "2027-01-01", "2027-02-01")).unwrap();
        let regulator = &sound.ledger().auditors()[0];
        assert_eq!(regulator.access, protocol::constitution::Access::OnRequest);
        // midnight in Shanghai, eight hours before that of UTC
        assert_eq!(regulator.later[0].0.unix_ms(), 1_798_732_800_000);
        assert_eq!(regulator.key_at(Timestamp::from_unix_ms(1_798_732_799_999)), keys(8).sealing);
        for (wrong, words) in [
            (auditor("on_request", "2027-02-01", "2027-01-01"), "begin one after another"),
            (auditor("standing", "2027-1-1", "2027-02-01"), "a day is written"),
            (auditor("standing", "1969-01-01", "2027-02-01"), "before 1970"),
            (auditor("sometimes", "2027-01-01", "2027-02-01"), "\"on_request\""),
        ] {
            let said = parse(wrong).unwrap_err().to_string();
            assert!(said.contains(words), "{said}");
        }
    }

    #[test]
    fn cipher_and_retention_are_chosen_or_have_their_default() {
        use protocol::crypto::sealed::Cipher;
        let text = constitution(2)
            .replace("cipher = \"aes-256-gcm\"\n", "")
            .replace("payload_retention_months = 24\n", "");
        let plain = Constitution::parse(text.as_bytes()).unwrap();
        assert_eq!(plain.ledger().cipher(), Cipher::Aes256Gcm);
        assert_eq!(plain.payload_retention_months(), 24);
        let chosen = |cipher: &str, months: u32| {
            let lines =
                format!("[ledger]\ncipher = \"{cipher}\"\npayload_retention_months = {months}");
            Constitution::parse(text.replace("[ledger]", &lines).as_bytes())
        };
        let sm4 = chosen("sm4-gcm", 6).unwrap();
        assert_eq!((sm4.ledger().cipher(), sm4.payload_retention_months()), (Cipher::Sm4Gcm, 6));
        let said = chosen("des", 6).unwrap_err();
        assert_eq!(said.place.key, "ledger.cipher", "{said}");
        assert!(said.to_string().contains("\"sm4-gcm\""), "{said}");
        assert!(chosen("sm4-gcm", 0).unwrap_err().to_string().contains("1 to 600 months"));
    }

    #[test]
    fn a_clean_room_that_says_nothing_else_is_large_and_reads_three_years() {
        let chosen = sample_constitution();
        let mut text = chosen.clone();
        for line in ["profile = \"trial\"\n", "retention_years = 20\n"] {
            assert_eq!(text.matches(line).count(), 1);
            text = text.replace(line, "");
        }
        let of = |text: &str| {
            let constitution = Constitution::parse(text.as_bytes()).unwrap();
            let room = constitution.clean_room().unwrap();
            (room.contract().profile(), room.retention_years())
        };
        assert_eq!(of(&text), (BudgetProfile::Large, 3));
        assert_eq!(of(&chosen), (BudgetProfile::Trial, 20));
    }

    #[test]
    fn the_clean_rooms_rules_are_refused_at_their_place() {
        let text = sample_constitution();
        let table = "clean_room.tables.purchases";
        for (change, key, words) in [
            (
                ("profile = \"trial\"", "profile = \"huge\""),
                "clean_room.profile".to_owned(),
                "must be \"large\"",
            ),
            (
                ("retention_years = 20", "retention_years = 0"),
                "clean_room.retention_years".into(),
                "1 to 50 years",
            ),
            (
                ("minimum_participants = 3", "minimum_participants = 2"),
                "clean_room.minimum_participants".into(),
                "3 to 5 allowed",
            ),
            (
                ("rows_bound = 1000", "rows_bound = 1001"),
                format!("{table}.rows_bound"),
                "1, 2 or 5 times",
            ),
            (
                ("bound = 500000", "bound = 500001"),
                format!("{table}.amount_fen.bound"),
                "1, 2 or 5 times",
            ),
            (
                ("bound = 500000", "bound = 1000000000000000"),
                format!("{table}.amount_fen.bound"),
                "largest value of a row is 100000000; write that or less",
            ),
            (
                ("bound = 500000", "bound = 500000\nbound_by_brand = { fuel_stop = 300000 }"),
                format!("{table}.amount_fen.bound_by_brand.fuel_stop"),
                "1, 2 or 5 times",
            ),
            (
                ("bound = 500000", "bound = 500000\nbound_by_brand = { nobody = 200000 }"),
                format!("{table}.amount_fen.bound_by_brand.nobody"),
                "not among the participants",
            ),
            (
                (
                    "rows_bound = 1000",
                    "rows_bound = 1000\nrows_bound_by_brand = { fuel_stop = 1000 }",
                ),
                format!("{table}.rows_bound_by_brand.fuel_stop"),
                "the bound of all brands",
            ),
            (
                (
                    "{ value = \"AUTOMOTIVE\", carriers = [\"health_home\"] }",
                    "{ value = \"AUTOMOTIVE\", carriers = [\"nobody\"] }",
                ),
                format!("{table}.department"),
                "not among the participants",
            ),
            (
                ("bound = 500000", "bound = 500000\ncarriers = [\"nobody\"]"),
                format!("{table}.amount_fen"),
                "not among the participants",
            ),
            (
                ("bound = 500000", "bound = 500000\ncarriers = []"),
                format!("{table}.amount_fen.carriers"),
                "1 to 5 allowed",
            ),
        ] {
            let changed = text.replacen(change.0, change.1, 1);
            assert_ne!(changed, text);
            let error = refused(&changed);
            let said = error.to_string();
            assert_eq!(error.place.key, key, "{said}");
            assert!(said.contains(words), "{words:?} in {said:?}");
            assert!(error.place.line > 1, "{said}");
        }
    }

    /// What a member contributes at most is a whole number above zero, and it is there.
    #[test]
    fn a_bound_that_is_missing_or_no_whole_number_makes_no_contract() {
        let text = sample_constitution();
        for (from, to, words) in [
            ("rows_bound = 1000\n", "", "missing field `rows_bound`"),
            ("rows_bound = 1000", "rows_bound = nan", "floating point"),
            ("rows_bound = 1000", "rows_bound = 0", "1, 2 or 5 times"),
            ("bound = 500000", "bound = inf", "floating point"),
            ("bound = 500000", "bound = -inf", "floating point"),
            ("bound = 500000", "bound = 500000.0", "floating point"),
            ("bound = 500000", "bound = -500000", "integer `-500000`"),
        ] {
            assert!(text.contains(from), "{from:?} is not in the text");
            let said = refused(&text.replacen(from, to, 1)).to_string();
            assert!(said.contains(words), "{words:?} in {said:?}");
        }
    }

    #[test]
    fn a_file_that_is_no_constitution_is_refused_before_it_is_read() {
        let large = constitution(2) + "#" + &"x".repeat(1024 * 1024);
        assert!(refused(&large).to_string().contains("more than 1048576 bytes"));
        let error = Constitution::parse(b"format = 0\nname = \"\xff\"").unwrap_err();
        assert_eq!((error.place.line, error.problem), (2, Problem::NotUtf8));
        assert!(refused("").to_string().contains("missing field `format`"));
        let nested = format!("format = 0\nx = {}", "[".repeat(100_000));
        assert_eq!(refused(&nested).place.line, 2);
        for brands in [1u8, 22] {
            let mut text = constitution(21);
            if brands == 1 {
                text = text.split_once("[brands.b]").unwrap().0.to_owned() + "\n[rates]\n";
            } else {
                let last =
                    &text[text.find("[brands.u]").unwrap()..text.find("\n# Points of").unwrap()];
                text += &last.replace("brands.u", "brands.v");
            }
            let error = refused(&text).to_string();
            assert!(
                error.contains(&format!("{brands} brands; an alliance has 2 to 21")),
                "{error}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Whatever is pasted over whatever part, there is an answer, and its place is in the file.
        #[test]
        fn a_spoilt_file_is_refused_in_one_line(
            at in any::<prop::sample::Index>(),
            length in 0..200usize,
            pasted in "[\\[\\]{}=\"'\\.,#\nA-Ea-e0-9_\\\\ 名\u{202e}]{0,24}",
        ) {
            let text: Vec<char> = sample_constitution().chars().collect();
            let at = at.index(text.len());
            let end = text.len().min(at + length);
            let spoilt: String =
                text[..at].iter().copied().chain(pasted.chars()).chain(text[end..].iter().copied()).collect();
            if let Err(error) = Constitution::parse(spoilt.as_bytes()) {
                prop_assert!(error.place.line <= 1 + spoilt.matches('\n').count());
                prop_assert!(!error.to_string().contains('\n'));
            }
        }
    }
}
