//! A real alliance in one process: data directories, keys, a signed constitution, nodes that talk
//! libp2p over loopback.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use alliance_config::{Address, Introduction, Settings, collect, draft, sample_alliance, sign};
use node::config::{DataDirectory, Settings as NodeSettings};
use node::runtime::{self, Running};
use node::service::Node;
use node::setup::{self, NewNode};
use protocol::ids::BrandId;
use tempfile::TempDir;

pub struct Alliance {
    pub folder: TempDir,
    pub brands: Vec<BrandId>,
    pub nodes: Vec<Option<Running>>,
}

/// A port that was free a moment ago.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Alliance {
    /// The five brands of the sample, all running.
    pub async fn of_the_sample() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let brands: Vec<BrandId> = alliance_config::sample::BRANDS
            .iter()
            .map(|brand| BrandId::new(brand.id).unwrap())
            .collect();
        let introductions: Vec<Introduction> =
            brands.iter().map(|brand| make_node(folder.path(), *brand)).collect();
        let settings = Settings::parse(sample_alliance::SETTINGS.as_bytes()).unwrap();
        let toml = draft(&introductions, &settings).unwrap();
        let parts: Vec<_> = brands
            .iter()
            .map(|brand| {
                let keys = node::keys::read(&data(folder.path(), *brand).keys()).unwrap();
                sign(toml.as_bytes(), &keys.governance().unwrap()).unwrap()
            })
            .collect();
        let collected = collect(toml.as_bytes(), &parts).unwrap();
        assert!(collected.missing.is_empty());
        let paths = (folder.path().join("c.toml"), folder.path().join("c.signatures"));
        std::fs::write(&paths.0, &toml).unwrap();
        std::fs::write(&paths.1, collected.signatures.to_text()).unwrap();
        let mut alliance = Self { folder, brands, nodes: Vec::new() };
        for brand in alliance.brands.clone() {
            setup::adopt(&alliance.data(brand), &paths.0, &paths.1).unwrap();
            let running = runtime::start(&alliance.data(brand)).await.unwrap();
            alliance.nodes.push(Some(running));
        }
        alliance
    }

    pub fn data(&self, brand: BrandId) -> DataDirectory {
        data(self.folder.path(), brand)
    }

    pub fn node(&self, brand: &str) -> Node {
        let place = self.brands.iter().position(|known| known.as_str() == brand).unwrap();
        self.nodes[place].as_ref().unwrap().node.clone()
    }

    /// Stops one node as its operator would, and starts it again.
    pub async fn restart(&mut self, brand: &str) {
        let place = self.brands.iter().position(|known| known.as_str() == brand).unwrap();
        let running = self.nodes[place].take().unwrap();
        running.node.stop().await.unwrap();
        drop(running.network);
        running.runtime.await.unwrap().unwrap();
        let running = runtime::start(&self.data(self.brands[place])).await.unwrap();
        self.nodes[place] = Some(running);
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

fn data(folder: &std::path::Path, brand: BrandId) -> DataDirectory {
    DataDirectory::new(folder.join(brand.as_str()))
}

fn make_node(folder: &std::path::Path, brand: BrandId) -> Introduction {
    let (libp2p, https) = (free_address(), free_address());
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
        settings: NodeSettings::new(brand, libp2p, https),
    };
    let text = setup::create(&data(folder, brand), &new).unwrap();
    Introduction::parse(text.as_bytes()).unwrap()
}

/// Waits until something is so; fails after a minute.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..1200 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what}: not within a minute");
}
