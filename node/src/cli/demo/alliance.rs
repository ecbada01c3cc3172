//! Five nodes as processes of their own: made, constituted, started, killed, stopped.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use alliance_config::{Address, Introduction, Settings, collect, draft, sample_alliance, sign};
use protocol::ids::BrandId;

use super::super::constitution::{Made, create};
use super::super::process::{NodeProcess, Program};
use super::super::{CliError, Io, OPERATOR};
use crate::cleanroom::policy::{PacksSection, PolicyFile};
use crate::client::Client;
use crate::config::{DataDirectory, Settings as NodeSettings};
use crate::http::RateLimits;
use crate::keys;
use crate::setup::{self, NewNode};

/// Name of the auditor whose key opens every log.
pub const AUDITOR: &str = "demo-auditor";

/// One brand's node.
pub struct Brand {
    /// Its id.
    pub id: BrandId,
    /// Its data directory.
    pub data: DataDirectory,
    /// What `init` made.
    made: Made,
    process: NodeProcess,
}

/// The alliance of the sample.
pub struct Alliance {
    folder: PathBuf,
    temporary: bool,
    brands: Vec<Brand>,
}

impl Drop for Alliance {
    fn drop(&mut self) {
        for brand in &mut self.brands {
            brand.process.abandon();
        }
        if self.temporary {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

fn input(error: impl std::fmt::Display) -> CliError {
    CliError::Input(error.to_string())
}

impl Alliance {
    /// Makes the brands' nodes and their constitution, and starts them.
    pub async fn create(directory: Option<&Path>, io: &Io) -> Result<Self, CliError> {
        let temporary = directory.is_none();
        let folder = match directory {
            Some(directory) => directory.to_path_buf(),
            None => {
                let name = format!("coalition-demo-{}", std::process::id());
                std::env::temp_dir().join(name)
            }
        };
        fs::create_dir_all(&folder)
            .map_err(|source| CliError::File { path: folder.clone(), source })?;
        let mut alliance = Self { folder, temporary, brands: Vec::new() };
        io.say("Five brands make keys and introduce themselves / 五个品牌生成密钥、互相介绍");
        for sample in &alliance_config::sample::BRANDS {
            let brand = alliance.make(sample.id)?;
            alliance.brands.push(brand);
        }
        io.say("They draft a constitution, each signs it, all signatures are collected / 起草章程并逐一签署");
        alliance.constitute()?;
        io.say("Five processes start and connect over libp2p / 启动五个独立进程并互联");
        for brand in &mut alliance.brands {
            brand.process.start()?;
        }
        for brand in &mut alliance.brands {
            brand.process.answers().await?;
        }
        Ok(alliance)
    }

    fn make(&self, id: &str) -> Result<Brand, CliError> {
        let id = BrandId::new(id).map_err(input)?;
        let described = sample_alliance::describe(id)
            .ok_or_else(|| CliError::Input(format!("the sample does not describe {id}")))?;
        let libp2p = setup::free_loopback_address().map_err(input)?;
        let https = setup::free_loopback_address().map_err(input)?;
        let new = NewNode {
            brand: id,
            name: described.name,
            point_value: described.point_value,
            libp2p: Address::from_socket(libp2p).map_err(input)?,
            https: Address::from_socket(https).map_err(input)?,
            // one person's session does at once what a brand's tills do in an hour
            settings: NodeSettings {
                rate_limits: RateLimits::widest(),
                ..NodeSettings::new(id, libp2p, https)
            },
        };
        let data = DataDirectory::new(self.folder.join(id.as_str()));
        let made = create(&data, &new)?;
        let process = NodeProcess::new(id, data.clone(), Program::this()?);
        Ok(Brand { id, data, made, process })
    }

    fn constitute(&self) -> Result<(), CliError> {
        let auditor = keys::create_auditor_keys(&self.auditor_key(), 1)?;
        let settings = format!(
            "{}\n[[auditors]]\nname = \"{AUDITOR}\"\nsealing = \"{}\"\n",
            sample_alliance::SETTINGS,
            auditor.iter().map(alliance_config::sealing_key_text).collect::<String>()
        );
        let settings = Settings::parse(settings.as_bytes()).map_err(input)?;
        let introductions = self
            .brands
            .iter()
            .map(|brand| {
                let path = brand.data.path().join(setup::INTRODUCTION);
                Introduction::parse(&brand.data.read(&path)?).map_err(input)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let toml = draft(&introductions, &settings).map_err(input)?;
        let parts = self
            .brands
            .iter()
            .map(|brand| {
                let governance = keys::read(&brand.data.keys())?.governance()?;
                sign(toml.as_bytes(), &governance).map_err(input)
            })
            .collect::<Result<Vec<_>, CliError>>()?;
        let collected = collect(toml.as_bytes(), &parts).map_err(input)?;
        let write = |path: PathBuf, text: &str| {
            fs::write(&path, text).map_err(|source| CliError::File { path, source })
        };
        write(self.constitution(), &toml)?;
        write(self.signatures(), &collected.signatures.to_text())?;
        for brand in &self.brands {
            setup::adopt(&brand.data, &self.constitution(), &self.signatures())?;
        }
        self.agree_to_packs()
    }

    /// Every brand's operator lets the first brand have its own noised answers: nobody does by default.
    fn agree_to_packs(&self) -> Result<(), CliError> {
        let Some(first) = self.brands.first() else { return Ok(()) };
        let packs = PacksSection { from: vec![first.id.to_string()], percent: 50 };
        let policy = PolicyFile { packs: Some(packs), ..PolicyFile::default() };
        let policy = toml::to_string(&policy).map_err(input)?;
        for brand in self.brands.iter().skip(1) {
            brand.data.write(&brand.data.policy(), policy.as_bytes())?;
        }
        Ok(())
    }

    /// The brands.
    pub fn brands(&self) -> &[Brand] {
        &self.brands
    }
    /// The constitution's file.
    pub fn constitution(&self) -> PathBuf {
        self.folder.join("constitution.toml")
    }
    /// The file of its signatures.
    pub fn signatures(&self) -> PathBuf {
        self.folder.join("constitution.signatures")
    }
    /// The auditor's private key.
    pub fn auditor_key(&self) -> PathBuf {
        self.folder.join("auditor-key")
    }
    /// A folder for one purpose.
    pub fn subfolder(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
    /// A client of a brand's node, signed in.
    pub fn client(&self, place: usize) -> Result<Client, CliError> {
        let brand = self.brands.get(place).ok_or_else(|| input("there is no such node"))?;
        brand.process.client()
    }

    /// Kills one node as a power cut would, and starts it again; gives how long that took.
    pub async fn kill_and_restart(&mut self, place: usize) -> Result<Duration, CliError> {
        let brand = self.brands.get_mut(place).ok_or_else(|| input("there is no such node"))?;
        brand.process.kill().await?;
        let started = Instant::now();
        brand.process.start()?;
        brand.process.answers().await?;
        Ok(started.elapsed())
    }

    /// Stops every node; they finish what is under way.
    pub async fn stop(&mut self) {
        for brand in &mut self.brands {
            brand.process.tell_to_stop();
        }
        for brand in &mut self.brands {
            brand.process.stopped().await;
        }
    }

    /// Where people can look, and how to sign in.
    pub fn say_where(&self, io: &Io) {
        io.say("\nThe alliance is left running. Status pages / 联盟仍在运行，状态页：");
        for brand in &self.brands {
            if let Ok(client) = brand.process.client() {
                io.say(&format!(
                    "  {:<14} https://{}/   user {OPERATOR}, password {}",
                    brand.id,
                    client.address(),
                    brand.made.password
                ));
            }
        }
        io.say("(The certificates are self-signed: the browser will ask. / 证书为自签名，浏览器会提示。)");
        io.say("Ctrl-C ends it. / 按 Ctrl-C 结束。");
    }
}
