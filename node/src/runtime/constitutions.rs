//! The constitutions of a running node: files that have come since the start, what this brand says of
//! them, and what follows from a newer one beside the ledger: names, the zone of months, peers.
//!
//! Whether a constitution is taken up is for the ledger to say. Not here: another clean room. A joint
//! question's accounts are read from the whole journal, so a constitution that changes its contract, a
//! brand that joins for one, counts for joint questions from the next start on; that is shown.

use std::time::Duration;

use alliance_config::{Constitution, Host};
use protocol::epochs::Constitutions;
use protocol::ids::{BrandId, ConstitutionHash};
use tokio::task::AbortHandle;

use super::core::{Turn, internal};
use super::start::StartError;
use super::{BrandNames, Runtime};
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
    /// The newest that was adopted and names this brand.
    pub(super) constitution: Constitution,
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

    /// Goes by the newest constitution that was adopted, if there is a newer one.
    pub(super) fn follow_constitution(&mut self) {
        let chain = self.core.ledger.constitutions();
        let newest = chain.newest().hash();
        if newest == self.following.newest {
            return;
        }
        self.following.newest = newest;
        let me = self.core.me();
        let peers = peers_of(&self.following.known, chain, me);
        let constitution = newest_with(&self.following.known, chain, me).cloned();
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
        tracing::info!(epoch = %self.core.ledger.constitutions().newest().epoch(), "a constitution was adopted");
        let Some(constitution) = constitution else { return };
        let before = std::mem::replace(&mut self.following.constitution, constitution);
        let now = &self.following.constitution;
        self.names = names(now);
        self.sealing.zone = now.clearing_zone().clone();
        self.sealing.months = now.payload_retention_months();
        let room = |it: &Constitution| (it.clean_room().cloned(), it.clearing_zone().clone());
        if room(&before) != room(now) {
            let epoch = now.ledger().epoch();
            self.core.alert(format!(
                "constitution {epoch} changes the clean room: joint questions go by it when this node is \
                 started again / 第 {epoch} 版章程变更了联合统计条款：本节点重新启动后联合提问按新条款执行"
            ));
        }
    }
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
    let mut peers: Vec<NamedPeer> = Vec::new();
    let profiles = known.of_chain(chain).flat_map(|it| it.profiles().map(move |of| (it, of)));
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
