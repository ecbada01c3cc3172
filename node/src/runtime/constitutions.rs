//! The constitutions of a running node: files that have come since the start, what this brand says of
//! them, and what follows beside the ledger.
//!
//! Whether a constitution is adopted and taken up is for the ledger to say. Names and peers are those of
//! the newest that was adopted, so that who joins can connect before it takes effect; the clean room, the
//! zone of months and the retention of keys are those of the constitution that the own log is under: what
//! touches members does not come before its notice has passed. Not here: a clean room where there was
//! none, whose accounts would have to be read from the whole journal: that takes a start, and is said.

use std::collections::BTreeMap;
use std::time::Duration;

use alliance_config::{Constitution, Host};
use privacy::CalendarYear;
use protocol::epochs::Constitutions;
use protocol::ids::{BrandId, ConstitutionHash};
use protocol::ledger::{Ledger, log_verifier, witness_verifier};
use protocol::log::note::VerifierKey;
use protocol::time::Timestamp;
use tokio::task::AbortHandle;

use super::core::{Turn, internal};
use super::start::StartError;
use super::{BrandNames, Runtime};
use crate::cleanroom::FormerContract;
use crate::config::DataDirectory;
use crate::constitutions::Known;
use crate::keys::OwnKeys;
use crate::net::Peer;
use crate::service::*;

/// How long a name that cannot be resolved waits for the next try.
const RESOLVE_EVERY: Duration = Duration::from_secs(10);

/// Which constitutions a node has files of, and which it goes by.
pub(super) struct Following {
    pub(super) data: DataDirectory,
    pub(super) known: Known,
    /// The newest that was adopted.
    pub(super) newest: ConstitutionHash,
    /// The one that the own log is under, or was under when it left.
    pub(super) under: Constitution,
    /// Finds out where peers are, and tells the network.
    pub(super) resolving: Option<AbortHandle>,
}

impl Runtime {
    /// Reads the files that have come, and says in the own log what this brand has decided on them.
    ///
    /// # Errors
    /// When a file cannot be used, has other keys for this brand, or what is to be said of it cannot be.
    pub(super) fn read_constitutions(
        &mut self,
        turn: &mut Turn,
    ) -> Result<Vec<ConstitutionView>, ServiceError> {
        let refused = |code, error: &dyn std::fmt::Display, remedy: &str| {
            ServiceError::new(ErrorKind::Refused, code, error.to_string(), remedy)
        };
        let me = self.core.me();
        let data = self.following.data.clone();
        let unusable = "take the constitution again with `coalition constitution take`";
        let known = Known::read(&data).map_err(|error| refused("not_usable", &error, unusable))?;
        let own = OwnKeys::read(&data.keys()).map_err(|error| {
            tracing::error!(error = %error, "the keys cannot be read");
            internal()
        })?;
        for draft in known.later() {
            let named = draft.ledger().brand(me);
            if named.is_some_and(|member| !own.are(&member.keys)) {
                return Err(refused(
                    "other_keys",
                    &format_args!("constitution {} has other keys for this brand", draft.hash()),
                    "draft it again from what `coalition keys next` prints",
                ));
            }
        }
        // the keys before the constitutions that name them
        for set in own.signing.later().map_err(|_| internal())? {
            self.core.ledger.add_keys(set);
        }
        known.later().for_each(|draft| self.core.ledger.hold(draft.ledger().clone()));
        let stances = known.stances(&data);
        self.core.to_state = stances.map_err(|error| refused("not_usable", &error, unusable))?;
        self.following.known = known;
        self.follow_constitution();
        if let Some(error) = self.core.state_constitutions(turn).first() {
            let remedy = "see `coalition constitution status`, and say it when it can be said";
            return Err(refused("not_stated", error, remedy));
        }
        Ok(self.constitution_views())
    }

    /// The keys of every log and of every witness, under each constitution.
    pub(super) fn log_key_views(&self) -> Vec<LogKeysView> {
        let mut views: BTreeMap<BrandId, LogKeysView> = BTreeMap::new();
        let take_up = |keys: &mut Vec<String>, key: Option<VerifierKey>| {
            let new = key.map(|key| key.to_string()).filter(|key| !keys.contains(key));
            keys.extend(new);
        };
        for constitution in self.core.ledger.constitutions().iter() {
            for brand in constitution.committee().brands() {
                let view = views.entry(*brand).or_default();
                (view.brand, view.origin) = (brand.to_string(), constitution.origin(*brand));
                take_up(&mut view.log, log_verifier(constitution, *brand));
                take_up(&mut view.witness, witness_verifier(constitution, *brand));
            }
        }
        views.into_values().collect()
    }

    /// Every constitution after the first, drafts too, and how far each has come.
    pub(super) fn constitution_views(&self) -> Vec<ConstitutionView> {
        let names = |brands: &[BrandId]| brands.iter().map(ToString::to_string).collect();
        let views = self.core.ledger.progress().into_iter().map(|it| ConstitutionView {
            hash: it.draft.constitution.to_string(),
            epoch: it.draft.epoch.get(),
            is_here: it.is_known,
            adopted: names(&it.adopted),
            declined: names(&it.declined),
            needed: u32::try_from(it.needed).unwrap_or(u32::MAX),
            effect_ms: it.effect.map(|effect| effect.unix_ms()),
            taken_up: names(&it.taken_up),
        });
        views.collect()
    }

    /// Goes by what was adopted and what the own log has taken up since it was last asked.
    pub(super) fn follow_constitution(&mut self) {
        let newest = self.core.ledger.constitutions().newest().hash();
        if newest != self.following.newest {
            self.following.newest = newest;
            self.meet_peers();
        }
        let own = self.core.ledger.constitution().hash();
        let under = self.following.under.hash();
        if own != under
            && let Some(now) = under_of(&self.following.known, &self.core.ledger)
            && now.hash() != under
        {
            let now = now.clone();
            self.go_by(now);
        }
    }

    /// Names the brands of the newest constitution, and lets them connect.
    fn meet_peers(&mut self) {
        let (chain, known) = (self.core.ledger.constitutions(), &self.following.known);
        tracing::info!(epoch = %chain.newest().epoch(), "a constitution was adopted");
        let me = self.core.me();
        if let Some(constitution) = newest_with(known, chain, me) {
            self.names = names(constitution);
        }
        let peers = peers_of(known, chain, me);
        let network = self.network.clone();
        let resolving = tokio::spawn(async move {
            loop {
                match resolve(&peers).await {
                    Ok(peers) => return network.set_peers(peers).await,
                    Err(error) => {
                        tracing::warn!(error = %error, "a peer cannot be found");
                        tokio::time::sleep(RESOLVE_EVERY).await;
                    }
                }
            }
        });
        if let Some(former) = self.following.resolving.replace(resolving.abort_handle()) {
            former.abort();
        }
    }

    /// The own log is under another constitution.
    fn go_by(&mut self, now: Constitution) {
        tracing::info!(epoch = %now.ledger().epoch(), "the own log is under another constitution");
        self.core.calendar = now.cut_offs().cloned();
        self.sealing.zone = now.clearing_zone().clone();
        self.sealing.months = now.payload_retention_months();
        let followed = match (&mut self.room, now.clean_room()) {
            (Some(room), Some(clean_room)) => {
                let (known, ledger) = (&self.following.known, &self.core.ledger);
                let former = former_contracts(known, ledger, &now);
                Some(room.follow(&now, clean_room, &former))
            }
            _ => None,
        };
        match followed {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                tracing::error!(error = %error, "the clean room is closed");
                self.room = None;
            }
            None if now.clean_room().is_none() => self.room = None,
            None => self.core.alert(
                "the alliance has a clean room now: joint questions can be asked when this node was started \
                 again / 联盟已设立联合统计：本节点重新启动后方可联合提问"
                    .to_owned(),
            ),
        }
        self.following.under = now;
    }
}

/// The constitution that the own log is under, or was under when its brand left.
pub(super) fn under_of<'a>(known: &'a Known, ledger: &'a Ledger) -> Option<&'a Constitution> {
    let own = ledger.constitution().epoch();
    let until = known.of_chain(ledger.constitutions()).filter(|it| it.ledger().epoch() <= own);
    until.filter(|it| it.ledger().brand(ledger.me()).is_some()).max_by_key(|it| it.ledger().epoch())
}

/// The contracts of before a constitution, with the calendar years in which they were in force. One ends when the
/// constitution after it takes effect; where this brand does not know when that was, having joined later, when it
/// says that it may at the earliest.
pub(super) fn former_contracts(
    known: &Known,
    ledger: &Ledger,
    present: &Constitution,
) -> Vec<FormerContract> {
    let effects: BTreeMap<ConstitutionHash, Timestamp> = ledger
        .progress()
        .into_iter()
        .filter_map(|it| Some((it.draft.constitution, it.effect?)))
        .collect();
    let effect = |of: &Constitution| {
        let stated = of.ledger().succession().effective;
        effects.get(&of.hash()).copied().unwrap_or(stated)
    };
    let until = present.ledger().epoch();
    let mut chain: Vec<&Constitution> =
        known.of_chain(ledger.constitutions()).filter(|it| it.ledger().epoch() <= until).collect();
    chain.reverse();
    let pairs = chain.iter().zip(chain.iter().skip(1));
    let former = pairs.filter_map(|(one, next)| {
        let contract = one.clean_room()?.contract().clone();
        let zone = one.clearing_zone();
        Some(FormerContract {
            contract,
            from: year(effect(one), zone),
            until: year(before(effect(next)), zone),
            brands: one.profiles().map(|(brand, _)| brand).collect(),
        })
    });
    former.collect()
}

/// The last moment before one: what takes effect with a new year leaves the one before to the old.
const fn before(time: Timestamp) -> Timestamp {
    Timestamp::from_unix_ms(time.unix_ms().saturating_sub(1))
}

fn year(time: Timestamp, zone: &jiff::tz::TimeZone) -> CalendarYear {
    let ms = i64::try_from(time.unix_ms()).unwrap_or(i64::MAX);
    let instant = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX);
    CalendarYear(u16::try_from(instant.to_zoned(zone.clone()).year()).unwrap_or_default())
}

/// The newest constitution of a chain that names a brand.
pub(super) fn newest_with<'a>(
    known: &'a Known,
    chain: &'a Constitutions,
    brand: BrandId,
) -> Option<&'a Constitution> {
    known.of_chain(chain).find(|it| it.ledger().brand(brand).is_some())
}

/// The brands' names.
pub(super) fn names(constitution: &Constitution) -> Vec<BrandNames> {
    let names = constitution.profiles().map(|(brand, profile)| BrandNames {
        brand,
        zh: profile.name.zh().to_owned(),
        en: profile.name.en().to_owned(),
    });
    names.collect()
}

/// A peer as a constitution says it: where, perhaps by name.
pub(super) struct NamedPeer {
    brand: BrandId,
    public_key: [u8; 32],
    host: Host,
    port: u16,
}

/// The other brands of a chain, each as the newest constitution that names it says: a brand that has
/// left may still owe others its last blocks.
pub(super) fn peers_of(known: &Known, chain: &Constitutions, me: BrandId) -> Vec<NamedPeer> {
    peers_among(known.of_chain(chain), me)
}

/// As [`peers_of`], of these constitutions, the newest first.
pub(super) fn peers_among<'a>(
    constitutions: impl Iterator<Item = &'a Constitution>,
    me: BrandId,
) -> Vec<NamedPeer> {
    let mut peers: Vec<NamedPeer> = Vec::new();
    let profiles = constitutions.flat_map(|it| it.profiles().map(move |of| (it, of)));
    for (constitution, (brand, profile)) in profiles {
        if brand == me || peers.iter().any(|peer| peer.brand == brand) {
            continue;
        }
        let Some(member) = constitution.ledger().brand(brand) else { continue };
        peers.push(NamedPeer {
            brand,
            public_key: *member.keys.network.as_bytes(),
            host: profile.libp2p.host().clone(),
            port: profile.libp2p.port(),
        });
    }
    peers
}

/// Finds out where peers are.
///
/// # Errors
/// When a name is not known.
pub(super) async fn resolve(named: &[NamedPeer]) -> Result<Vec<Peer>, StartError> {
    let mut peers = Vec::new();
    for NamedPeer { brand, public_key, host, port } in named {
        let failed = |problem: String| StartError::Address { brand: *brand, problem };
        let address = match host {
            Host::Ip(ip) => (*ip, *port).into(),
            Host::Dns(name) => tokio::net::lookup_host((name.as_str(), *port))
                .await
                .map_err(|error| failed(error.to_string()))?
                .next()
                .ok_or_else(|| failed("no address is known for the name".to_owned()))?,
        };
        peers.push(Peer { brand: *brand, public_key: *public_key, address });
    }
    Ok(peers)
}
