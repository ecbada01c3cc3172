//! A real alliance in one process: data directories, keys, a signed constitution, nodes that talk
//! libp2p over loopback.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use alliance_config::{Address, Introduction, Settings, collect, draft, sample_alliance, sign};
use node::audit::AuditReport;
use node::auth::Auth;
use node::cleanroom::QueryTimes;
use node::cli::CliError;
use node::cli::audit::{AuditArguments, audit};
use node::config::{DataDirectory, Settings as NodeSettings};
use node::http;
use node::runtime::{self, Running, StartError};
use node::service::{ListRequest, Node};
use node::setup::{self, NewNode};
use node::store::StoreError;
use node::tls;
use node::webhooks::{WebhookSettings, Webhooks};
use protocol::ids::BrandId;
use protocol::wire::Versions;
use tempfile::TempDir;

pub struct Alliance {
    pub folder: TempDir,
    pub brands: Vec<BrandId>,
    pub nodes: Vec<Option<Running>>,
}

impl Alliance {
    /// The five brands of the sample, all running.
    pub async fn of_the_sample() -> Self {
        let ids = alliance_config::sample::BRANDS.map(|brand| brand.id);
        Self::of(&ids, sample_alliance::SETTINGS).await
    }

    /// The five brands of the sample, all running but one whose part somebody else plays, with these times for
    /// questions.
    pub async fn of_the_sample_without(absent: &str, times: QueryTimes) -> Self {
        let ids = alliance_config::sample::BRANDS.map(|brand| brand.id);
        Self::begun(&ids, sample_alliance::SETTINGS, Some(absent), times).await
    }

    /// Some brands of the sample under a constitution with these settings, all running.
    pub async fn of(ids: &[&str], settings: &str) -> Self {
        Self::begun(ids, settings, None, QueryTimes::default()).await
    }

    async fn begun(ids: &[&str], settings: &str, absent: Option<&str>, times: QueryTimes) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let brands: Vec<BrandId> = ids.iter().map(|id| BrandId::new(id).unwrap()).collect();
        let introductions: Vec<Introduction> =
            brands.iter().map(|brand| make_node(folder.path(), *brand)).collect();
        let settings = Settings::parse(settings.as_bytes()).unwrap();
        let toml = draft(&introductions, &settings).unwrap();
        let mut alliance = Self { folder, brands, nodes: Vec::new() };
        let (toml, signatures) = alliance.signed("c", &toml, &alliance.brands);
        for brand in alliance.brands.clone() {
            setup::adopt(&alliance.data(brand), &toml, &signatures).unwrap();
            let running = match absent == Some(brand.as_str()) {
                true => None,
                false => Some(runtime::start_with(&alliance.data(brand), times).await.unwrap()),
            };
            alliance.nodes.push(running);
        }
        alliance
    }

    /// Writes a constitution, and what these brands' signatures of it make together.
    pub fn signed(&self, name: &str, toml: &str, by: &[BrandId]) -> (PathBuf, PathBuf) {
        let sign_as = |brand: &BrandId| {
            let keys = node::keys::read(&self.data(*brand).keys()).unwrap();
            sign(toml.as_bytes(), &keys.governance().unwrap()).unwrap()
        };
        let parts: Vec<_> = by.iter().map(sign_as).collect();
        let collected = collect(toml.as_bytes(), &parts).unwrap();
        assert!(collected.refused.is_empty());
        let path = |extension| self.folder.path().join(name).with_extension(extension);
        std::fs::write(path("toml"), toml).unwrap();
        std::fs::write(path("signatures"), collected.signatures.to_text()).unwrap();
        (path("toml"), path("signatures"))
    }

    /// A brand beside these, whose node is made and does not run; it introduces itself.
    pub fn make(&mut self, id: &str) -> Introduction {
        let brand = BrandId::new(id).unwrap();
        self.brands.push(brand);
        self.nodes.push(None);
        make_node(self.folder.path(), brand)
    }

    /// Starts a node that does not run.
    pub async fn start(&mut self, brand: &str) {
        self.start_with(brand, QueryTimes::default()).await;
    }

    /// The same with other times for questions.
    pub async fn start_with(&mut self, brand: &str, times: QueryTimes) {
        self.start_by(brand, async |data| runtime::start_with(data, times).await).await;
    }

    /// The same with a node that speaks these versions of the wire.
    pub async fn start_speaking(&mut self, brand: &str, speaks: Versions) {
        self.start_by(brand, async |data| runtime::start_speaking(data, speaks).await).await;
    }

    /// Starts a node that does not run, whose directory was put back to an older state.
    pub async fn start_restored(&mut self, brand: &str) {
        self.start_by(brand, async |data| runtime::start_restored(data).await).await;
    }

    async fn start_by(
        &mut self,
        brand: &str,
        start: impl AsyncFnMut(&DataDirectory) -> Result<Running, StartError>,
    ) {
        let place = self.place(brand);
        let running = started_by(&self.data(self.brands[place]), start).await;
        assert!(self.nodes[place].replace(running).is_none());
    }

    fn place(&self, brand: &str) -> usize {
        self.brands.iter().position(|known| known.as_str() == brand).unwrap()
    }

    pub fn data(&self, brand: BrandId) -> DataDirectory {
        data(self.folder.path(), brand)
    }

    pub fn node(&self, brand: &str) -> Node {
        self.nodes[self.place(brand)].as_ref().unwrap().node.clone()
    }

    /// Serves a node over HTTPS as `coalition run` does; with its users and its certificate.
    pub fn serve(&self, brand: &str) -> (Auth, Vec<u8>, http::Served) {
        self.serve_with(brand, http::RateLimits::widest())
    }

    /// The same with these limits of requests.
    pub fn serve_with(
        &self,
        brand: &str,
        rate_limits: http::RateLimits,
    ) -> (Auth, Vec<u8>, http::Served) {
        self.serve_at(brand, rate_limits, ([127, 0, 0, 1], 0).into())
    }

    /// The same at the address that the constitution has.
    pub fn serve_as_agreed(&self, brand: &str) -> (Auth, Vec<u8>, http::Served) {
        let (settings, _) = self.data(BrandId::new(brand).unwrap()).settings().unwrap();
        self.serve_at(brand, http::RateLimits::widest(), settings.https)
    }

    /// Serves every other brand's log where the constitution says it is, and has one brand's node know their
    /// certificates: it can then audit all of them.
    pub async fn serve_to_auditor(&mut self, auditor: &str) -> Vec<http::Served> {
        let (mut others, mut trusted) = (Vec::new(), Vec::new());
        for brand in self.brands.iter().filter(|brand| brand.as_str() != auditor) {
            let (_, certificate, served) = self.serve_as_agreed(brand.as_str());
            trusted.extend(certificate);
            others.push(served);
        }
        self.stop(auditor).await;
        let data = self.data(BrandId::new(auditor).unwrap());
        std::fs::write(data.path().join("others.pem"), trusted).unwrap();
        let settings = std::fs::read_to_string(data.settings_path()).unwrap();
        let settings = settings + "\n[audit]\ntrusted = \"others.pem\"\n";
        std::fs::write(data.settings_path(), settings).unwrap();
        self.start(auditor).await;
        others
    }

    fn serve_at(
        &self,
        brand: &str,
        rate_limits: http::RateLimits,
        address: SocketAddr,
    ) -> (Auth, Vec<u8>, http::Served) {
        let data = self.data(BrandId::new(brand).unwrap());
        let auth = Auth::open(&data.users()).unwrap();
        if !data.tls().exists() {
            tls::create(&data.tls(), None).unwrap();
        }
        let certificate = std::fs::read(data.tls().join(tls::CERTIFICATE_FILE)).unwrap();
        let config = tls::load(&data.tls()).unwrap();
        let metrics = self.nodes[self.place(brand)].as_ref().unwrap().metrics.clone();
        let settings = WebhookSettings { allow_private: true, ..WebhookSettings::default() };
        let webhooks = Webhooks::open(&data.webhooks(), settings, metrics.clone()).unwrap();
        tokio::spawn(webhooks.clone().run(self.node(brand).events().clone()));
        let options = http::ServeOptions { rate_limits, metrics, webhooks };
        let served = http::serve(self.node(brand), auth.clone(), address, config, options).unwrap();
        (auth, certificate, served)
    }

    /// Stops one node as its operator would.
    pub async fn stop(&mut self, brand: &str) {
        let place = self.place(brand);
        let running = self.nodes[place].take().unwrap();
        running.node.stop().await.unwrap();
        drop(running.network);
        running.runtime.await.unwrap().unwrap();
    }

    /// Stops one node as its operator would, and starts it again.
    pub async fn restart(&mut self, brand: &str) {
        self.stop(brand).await;
        self.start(brand).await;
    }

    /// Stops every node, so that the logs are of one moment, and audits them as anyone can. `later` are the
    /// constitutions that followed the first.
    pub async fn audited(&mut self, later: Vec<PathBuf>) -> AuditReport {
        for place in 0..self.brands.len() {
            if self.nodes[place].is_some() {
                let brand = self.brands[place];
                self.stop(brand.as_str()).await;
            }
        }
        self.audit(later).unwrap()
    }

    /// Audits the logs as they are. While nodes run, a log that is read later may recognise what one read
    /// earlier did not have yet: a finding of this moment.
    pub fn audit(&self, later: Vec<PathBuf>) -> Result<AuditReport, CliError> {
        let logs = tempfile::tempdir().unwrap();
        for brand in &self.brands {
            symlink(self.data(*brand).log(), logs.path().join(brand.as_str())).unwrap();
        }
        // a recovery key that was taken offline is beside the data directories
        let recovery_key = |brand: &BrandId| {
            let offline = self.folder.path().join(format!("{brand}.recovery"));
            let beside = node::keys::recovery_key_path(&self.data(*brand).keys());
            format!("{brand}={}", if offline.exists() { offline } else { beside }.display())
        };
        audit(&AuditArguments {
            logs: logs.path().to_owned(),
            constitution: self.folder.path().join("c.toml"),
            signatures: self.folder.path().join("c.signatures"),
            later,
            openings: self.openings(),
            recovery_keys: self.brands.iter().map(recovery_key).collect(),
            ..AuditArguments::default()
        })
    }

    /// The folders of the openings that brands have kept.
    pub fn openings(&self) -> Vec<PathBuf> {
        let folders = self.brands.iter().map(|brand| self.data(*brand).openings());
        folders.filter(|folder| folder.is_dir()).collect()
    }

    /// Imports the sample into one brand.
    pub async fn import(&self, brand: &str) {
        let node = self.node(brand);
        node.import(node::service::ImportSource::Sample).await.unwrap();
        eventually("the import ends", async || {
            let view = node.import_progress().await.unwrap();
            assert_eq!(view.failed, None);
            view.done
        })
        .await;
    }
}

/// Starts a node. A reading that was under way when the one before it stopped holds the store for a moment.
pub async fn started(data: &DataDirectory, times: QueryTimes) -> Running {
    started_by(data, async |data| runtime::start_with(data, times).await).await
}

async fn started_by(
    data: &DataDirectory,
    mut start: impl AsyncFnMut(&DataDirectory) -> Result<Running, StartError>,
) -> Running {
    for _ in 0..600 {
        match start(data).await {
            Err(StartError::Store(StoreError::InUse { .. })) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            running => return running.unwrap(),
        }
    }
    panic!("the store is not let go of")
}

fn data(folder: &std::path::Path, brand: BrandId) -> DataDirectory {
    DataDirectory::new(folder.join(brand.as_str()))
}

fn make_node(folder: &std::path::Path, brand: BrandId) -> Introduction {
    let (libp2p, https) =
        (setup::free_loopback_address().unwrap(), setup::free_loopback_address().unwrap());
    let known = {
        let address = |socket| Address::from_socket(socket).unwrap();
        (address(libp2p), address(https))
    };
    let sample = sample_alliance::describe(brand).unwrap();
    let new = NewNode {
        brand,
        name: sample.name,
        point_value: sample.point_value,
        libp2p: known.0,
        https: known.1,
        // whatever is tested, it is with snapshots of the journal, as often as they may be
        settings: NodeSettings { snapshot_mib: 0, ..NodeSettings::new(brand, libp2p, https) },
    };
    let text = setup::create(&data(folder, brand), &new).unwrap();
    Introduction::parse(text.as_bytes()).unwrap()
}

/// The first items of a list, so many at most.
pub fn first_of(limit: u32) -> ListRequest {
    ListRequest { place: None, limit }
}

/// Waits until something is so; fails after three minutes, which a busy machine may need for an import.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..3600 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what}: not within three minutes");
}
