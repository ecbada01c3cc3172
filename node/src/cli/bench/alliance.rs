//! An alliance of real nodes in this process: own directories, keys, journals, stores and sockets.
//!
//! Members are enrolled, linked and given points before the nodes start, straight into vault and
//! journal; from then on nothing happens but through the nodes' own operations.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use alliance_config::{Address, Constitution, Introduction, Name, Settings, collect, draft, sign};
use protocol::amount::{Points, Rate};
use protocol::ids::BrandId;
use protocol::time::{Milliseconds, Timestamp};
use ring::rand::SystemRandom;
use tempfile::TempDir;

use super::super::CliError;
use super::super::audit::{self, AuditArguments};
use super::super::constitution::create;
use super::super::process::{NodeProcess, Program};
use super::input;
use crate::config::{DataDirectory, SNAPSHOT_MIB, Settings as NodeSettings};
use crate::exchange::record::{EarnedPoints, NodeRecord};
use crate::http::RateLimits;
use crate::journal::Journal;
use crate::keys;
use crate::runtime::sealed_journal::{RecordCipher, Recorded};
use crate::runtime::{Running, start};
use crate::service::Node;
use crate::setup::{self, NewNode};
use crate::store::{SledStore, Store};
use crate::vault::{
    CardNumber, Consent, ConsentSource, Enrolment, HeldBrandKey, MemberId, NewMember, Purpose,
    Vault, sample_rule_to,
};

/// How long the nodes may take to find each other.
const CONNECT: Duration = Duration::from_secs(180);
const CODE_VALID: Milliseconds = Milliseconds::from_seconds(3600);
/// Points that every member has at the beginning.
pub const POINTS: u64 = 100_000_000;

/// Settings without auditors, with limits that no run comes near: what is measured is not when one is
/// reached.
pub const SETTINGS: &str = "\
format = 0

[alliance]
id = \"bench\"
epoch = 1
name_zh = \"测量联盟\"
name_en = \"Bench\"

[clearing]
zone = \"Asia/Shanghai\"

[ledger]
total_step_fen = 10000
payload_bytes = 128
return_window_hours = 72

[limits]
pair_limit_fen = 100000000000
total_limit_fen = 100000000000
";

/// Where a brand's node listens, and where it is found.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// Where it listens for other nodes.
    pub listen: SocketAddr,
    /// Where the constitution says that others find it.
    pub found: SocketAddr,
    /// Where it listens for people and programs, and is found by them.
    pub https: SocketAddr,
}

impl Places {
    /// Free ports of this machine's loopback.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn on_loopback() -> io::Result<Self> {
        let listen = setup::free_loopback_address()?;
        Ok(Self { listen, found: listen, https: setup::free_loopback_address()? })
    }
}

struct Brand {
    id: BrandId,
    data: DataDirectory,
    running: Option<Running>,
}

/// What an alliance is to be like.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Brands, each with a node of its own.
    pub brands: u8,
    /// Members of each brand.
    pub members: u32,
    /// MiB of the journal between two snapshots.
    pub snapshot_mib: u32,
    /// Whether the nodes are to be served over HTTPS: then each has a certificate and an operator.
    pub served: bool,
}

/// The alliance.
pub struct Alliance {
    // its files go with it
    folder: TempDir,
    brands: Vec<Brand>,
    members: u32,
}

/// The card of a brand's member.
pub fn card(number: u32) -> String {
    format!("BENCH-{number:08}")
}

impl Alliance {
    /// Makes and starts `brands` nodes with so many members each, every one linked to the member of
    /// the same number at every other brand.
    ///
    /// # Errors
    /// When one cannot be made, or does not start.
    pub async fn start(brands: u8, members: u32) -> Result<Self, CliError> {
        let plan = Plan { brands, members, snapshot_mib: SNAPSHOT_MIB, served: false };
        let mut alliance = Self::make(plan)?;
        alliance.start_here().await?;
        Ok(alliance)
    }

    /// Starts all nodes in this process.
    pub async fn start_here(&mut self) -> Result<(), CliError> {
        for brand in &mut self.brands {
            brand.running = Some(start(&brand.data).await?);
        }
        self.connect().await
    }

    /// The same, without starting the nodes.
    pub fn make(plan: Plan) -> Result<Self, CliError> {
        Self::make_with(plan, SETTINGS)
    }

    /// The same under other settings.
    pub fn make_with(plan: Plan, settings: &str) -> Result<Self, CliError> {
        Self::make_at(plan, settings, |_| Places::on_loopback())
    }

    /// The same without points: rules of the programme hold at once there.
    pub fn make_without_points(plan: Plan) -> Result<Self, CliError> {
        let alliance = Self::build(plan, SETTINGS, |_| Places::on_loopback())?;
        alliance.enrol(false)?;
        Ok(alliance)
    }

    /// The same with each brand where it is said to be, by its number from 1.
    ///
    /// # Errors
    /// When a place is none, or a directory cannot be made.
    pub fn make_at(
        plan: Plan,
        settings: &str,
        places: impl FnMut(u8) -> io::Result<Places>,
    ) -> Result<Self, CliError> {
        let alliance = Self::build(plan, settings, places)?;
        alliance.enrol(true)?;
        Ok(alliance)
    }

    fn build(
        plan: Plan,
        settings: &str,
        mut places: impl FnMut(u8) -> io::Result<Places>,
    ) -> Result<Self, CliError> {
        let folder =
            tempfile::Builder::new().prefix("coalition-bench-").tempdir().map_err(input)?;
        let mut alliance = Self { folder, brands: Vec::new(), members: plan.members };
        for number in 1..=plan.brands {
            let places = places(number).map_err(input)?;
            let brand = alliance.make_brand(&format!("brand-{number:02}"), plan, places)?;
            alliance.brands.push(brand);
        }
        alliance.constitute(settings)?;
        Ok(alliance)
    }

    fn make_brand(&self, id: &str, plan: Plan, places: Places) -> Result<Brand, CliError> {
        let id = BrandId::new(id).map_err(input)?;
        let Places { listen, found, https } = places;
        let new = NewNode {
            brand: id,
            name: Name::new("测量品牌", id.as_str()).map_err(input)?,
            point_value: Rate::new(1_000_000, 1).map_err(input)?,
            libp2p: Address::from_socket(found).map_err(input)?,
            https: Address::from_socket(https).map_err(input)?,
            settings: NodeSettings {
                snapshot_mib: plan.snapshot_mib,
                rate_limits: RateLimits::widest(),
                ..NodeSettings::new(id, listen, https)
            },
        };
        let data = DataDirectory::new(self.folder.path().join(id.as_str()));
        if plan.served {
            create(&data, &new)?;
        } else {
            setup::create(&data, &new)?;
        }
        Ok(Brand { id, data, running: None })
    }

    fn constitute(&self, settings: &str) -> Result<(), CliError> {
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
        write(&self.constitution(), &toml)?;
        write(&self.signatures(), &collected.signatures.to_text())?;
        for brand in &self.brands {
            setup::adopt(&brand.data, &self.constitution(), &self.signatures())?;
        }
        Ok(())
    }

    fn enrol(&self, with_points: bool) -> Result<(), CliError> {
        let now = Timestamp::from_unix_ms(1_700_000_000_000);
        let vaults = self.brands.iter().map(vault).collect::<Result<Vec<_>, _>>()?;
        let mut members = Vec::new();
        for (brand, vault) in self.brands.iter().zip(&vaults) {
            let people: Vec<NewMember> = (0..self.members)
                .map(|number| {
                    let card = CardNumber::new(&card(number)).map_err(input)?;
                    Ok(NewMember { card, match_key: None, attributes: [].into() })
                })
                .collect::<Result<_, CliError>>()?;
            let consent = Consent {
                source: ConsentSource::SampleRule,
                ..Consent::new(Purpose::Exchange, true, 1, now)
            };
            let others = self.brands.iter().map(|other| other.id).filter(|id| *id != brand.id);
            let named = others.map(|other| sample_rule_to(other, now));
            let consents: Vec<Consent> = std::iter::once(consent).chain(named).collect();
            let enrolled = vault.enrol(&people, &consents).map_err(input)?;
            let ids: Vec<MemberId> = enrolled
                .into_iter()
                .filter_map(|one| match one {
                    Enrolment::Created(id) | Enrolment::WithoutGuardian(id) => Some(id),
                    _ => None,
                })
                .collect();
            if with_points {
                give_points(brand, &ids)?;
            }
            members.push(ids);
        }
        for (a, (vault_a, members_a)) in vaults.iter().zip(&members).enumerate() {
            for (b, (vault_b, members_b)) in vaults.iter().zip(&members).enumerate() {
                if a == b {
                    continue;
                }
                for (one, other) in members_a.iter().zip(members_b) {
                    let from = vault_a.brand();
                    let to = vault_b.brand();
                    let code =
                        vault_b.issue_link_code(*other, from, now, CODE_VALID).map_err(input)?;
                    let handle = vault_a.request_link(*one, to, now).map_err(input)?;
                    vault_b.accept_link(&code, from, handle, now).map_err(input)?;
                    vault_a.confirm_link(*one, to, now).map_err(input)?;
                }
            }
        }
        Ok(())
    }

    async fn connect(&self) -> Result<(), CliError> {
        let all = async {
            for brand in self.brands.iter().filter_map(|brand| brand.running.as_ref()) {
                while brand.network.connected().len() + 1 < self.brands.len() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        };
        let late = |_| CliError::Input("the nodes did not find each other".to_owned());
        tokio::time::timeout(CONNECT, all).await.map_err(late)
    }

    /// The nodes, in the order of their brands.
    pub fn nodes(&self) -> Vec<Node> {
        let running = self.brands.iter().filter_map(|brand| brand.running.as_ref());
        running.map(|running| running.node.clone()).collect()
    }
    /// The brands' ids.
    pub fn ids(&self) -> Vec<BrandId> {
        self.brands.iter().map(|brand| brand.id).collect()
    }
    /// How many members each brand has.
    pub const fn members(&self) -> u32 {
        self.members
    }
    /// The constitution's file.
    pub fn constitution(&self) -> PathBuf {
        self.folder.path().join("constitution.toml")
    }
    /// The file of its signatures.
    pub fn signatures(&self) -> PathBuf {
        self.folder.path().join("constitution.signatures")
    }

    /// The contract of its clean room.
    pub fn contract(&self) -> Result<privacy::Contract, CliError> {
        let path = self.constitution();
        let wrong = |source| CliError::File { path: path.clone(), source };
        let constitution = Constitution::parse(&fs::read(&path).map_err(wrong)?).map_err(input)?;
        let clean_room = constitution.clean_room().ok_or_else(|| input("no clean room"))?;
        Ok(clean_room.contract().clone())
    }

    /// Every brand's recovery key, as the audit takes them.
    pub fn recovery_keys(&self) -> Vec<String> {
        let key = |brand: &Brand| {
            format!("{}={}", brand.id, keys::recovery_key_path(&brand.data.keys()).display())
        };
        self.brands.iter().map(key).collect()
    }

    /// Bytes of all journals.
    pub fn journal_bytes(&self) -> u64 {
        self.brands.iter().map(|brand| folder_bytes(&brand.data.journal())).sum()
    }

    /// Stops and starts every node, one after the other; gives how long the slowest took to start.
    pub async fn restart_all(&mut self) -> Result<Duration, CliError> {
        self.stop_all().await?;
        let mut slowest = Duration::ZERO;
        for brand in &mut self.brands {
            let began = Instant::now();
            brand.running = Some(start(&brand.data).await?);
            slowest = slowest.max(began.elapsed());
        }
        Ok(slowest)
    }

    async fn stop_all(&mut self) -> Result<(), CliError> {
        for brand in &mut self.brands {
            if let Some(running) = brand.running.take() {
                running.node.stop().await.map_err(input)?;
                running.runtime.await.map_err(input)?.map_err(input)?;
            }
        }
        Ok(())
    }

    /// A process for each brand, not started.
    pub fn processes(&self, program: &Program) -> Vec<NodeProcess> {
        let process = |(id, data)| NodeProcess::new(id, data, program.clone());
        self.data().into_iter().map(process).collect()
    }

    /// Each brand's data directory.
    pub fn data(&self) -> Vec<(BrandId, DataDirectory)> {
        self.brands.iter().map(|brand| (brand.id, brand.data.clone())).collect()
    }

    /// How many snapshots the journals have.
    pub fn snapshots(&self) -> usize {
        let is_snapshot = |entry: &fs::DirEntry| {
            entry.path().extension().is_some_and(|extension| extension == "snapshot")
        };
        let of = |brand: &Brand| {
            let entries = fs::read_dir(brand.data.journal()).into_iter().flatten().flatten();
            entries.filter(is_snapshot).count()
        };
        self.brands.iter().map(of).sum()
    }

    /// What the offline audit finds in the logs of this folder, every leaf opened; and how many sealed
    /// payloads it opened.
    pub fn audit(&self, logs: PathBuf) -> Result<(Vec<String>, u64), CliError> {
        let report = audit::audit(&AuditArguments {
            logs,
            constitution: self.constitution(),
            signatures: self.signatures(),
            openings: Vec::new(),
            archive: None,
            later: Vec::new(),
            auditor_keys: Vec::new(),
            recovery_keys: self.recovery_keys(),
            witnesses: Vec::new(),
            json: true,
        })?;
        let findings = report.ledger.findings.iter().map(|found| format!("{found:?}"));
        Ok((findings.collect(), report.ledger.counts.payloads))
    }

    /// Stops every node and puts the published logs side by side; gives that folder and what keeps it.
    pub async fn stop(mut self) -> Result<(PathBuf, Self), CliError> {
        self.stop_all().await?;
        let logs = self.folder.path().join("logs");
        let wrong = |source| CliError::File { path: logs.clone(), source };
        fs::create_dir(&logs).map_err(wrong)?;
        for brand in &self.brands {
            fs::rename(brand.data.log(), logs.join(brand.id.as_str())).map_err(wrong)?;
        }
        Ok((logs, self))
    }
}

fn vault(brand: &Brand) -> Result<Vault, CliError> {
    let store: Arc<dyn Store> = Arc::new(SledStore::open(brand.data.store()).map_err(input)?);
    let key = HeldBrandKey::read(&keys::vault_key_path(&brand.data.keys())).map_err(input)?;
    Ok(Vault::new(brand.id, store, Arc::new(key), Arc::new(SystemRandom::new())))
}

fn give_points(brand: &Brand, members: &[MemberId]) -> Result<(), CliError> {
    let points = Points::new(POINTS).map_err(input)?;
    let earned = (0_u64..)
        .zip(members)
        .map(|(number, member)| {
            let mut key = [0; 20];
            key.iter_mut().zip(number.to_be_bytes()).for_each(|(to, from)| *to = from);
            EarnedPoints { key, member: *member, points }
        })
        .collect();
    let secrets = keys::read(&brand.data.keys())?;
    let cipher = RecordCipher::new(secrets.journal()).map_err(input)?;
    let record = cipher.seal(&Recorded::Node(NodeRecord::Earned(earned))).map_err(input)?;
    let mut journal = Journal::open(brand.data.journal())
        .and_then(|replay| replay.into_journal())
        .map_err(input)?;
    journal.append_batch(&[record]).map_err(input)
}

fn folder_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    fs::write(path, text).map_err(|source| CliError::File { path: path.into(), source })
}
