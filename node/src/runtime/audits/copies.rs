//! Copies of all brands' published logs at one cut, made over HTTPS while the logs grow.
//!
//! The cut is made here and nowhere else, in the order of [`protocol::audit::LogFolder`]: first every log's checkpoint,
//! then every log's certificates, then the tiles up to the last of those. Whatever a block under a checkpoint refers to is
//! then in the copies; what a later block refers to beyond them is no finding, and is counted as not checked. A log whose
//! node does not answer counts as copied if the former copy has all that this node has seen certified; otherwise there is
//! no cut. What is fetched is believed of nobody: the audit checks it.
//!
//! What is here already is fetched anew from time to time, so that a file that was altered where it is published is found
//! too: the own log's tiles each time, another's each once in a month, a share of them each day. What its brand has archived
//! goes from the copy, and so does a partial tile when a fuller one is there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, RETRY_AFTER, USER_AGENT};
use hyper_util::rt::TokioIo;
use protocol::audit::{
    ARCHIVED_FILE, CERTIFICATE_MAX, CERTIFICATES_FILE, CHECKPOINT_FILE, CertificateReader,
    CertificatesError, LogFolder, parse_archived,
};
use protocol::ids::{BrandId, TreeSize};
use protocol::log::checkpoint::SignedCheckpoint;
use protocol::log::tiles::{TILE_WIDTH, TileKind, TilePath, TileSource};
use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use crate::audit::Directory;
use crate::outside::authority;
use crate::tls::OutgoingTls;

/// The checkpoint of the cut, beside the newest that was seen.
const CUT_FILE: &str = "cut";
/// The newest checkpoint, until all is here that it names.
const NEXT_FILE: &str = "next";
/// How often one file is asked for of a server that is busy.
const BUSY_TRIES: u32 = 120;
/// Longest wait that a busy server may ask for.
const BUSY_SECONDS_MAX: u64 = 60;
/// How often a log that goes on is asked for its newest tiles.
const ROUNDS: u32 = 60;
/// How often a log is asked for certificates that were seen and that it does not show.
const BEHIND_TRIES: u32 = 5;
const CHECKPOINT_BYTES_MAX: u64 = 64 * 1024;
/// Entries that a log may claim beyond those that this node has seen certified: whoever claims more is not copied, or a
/// brand could fill this node's disk.
const UNSEEN_MAX: u64 = 1 << 20;
/// How servers are waited for.
const WAITS: Waits =
    Waits { patience: Duration::from_secs(30), slowest: 16 * 1024, pause: Duration::from_secs(1) };
const HASHES_BYTES: u64 = 32 * TILE_WIDTH as u64;
const BUNDLE_BYTES_MAX: u64 = (2 + u16::MAX as u64) * TILE_WIDTH as u64;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Days after which another log's tile is fetched anew at the soonest, and over how many more they are spread.
const AGAIN_DAYS: (u32, u32) = (15, 15);

/// How long a server is waited for.
#[derive(Debug, Clone, Copy)]
struct Waits {
    /// Longest wait for a connection, for the head of an answer, and for each part of its body.
    patience: Duration,
    /// Bytes a second that a body has at least, after that.
    slowest: u64,
    /// How long a log that is behind, or goes on, is left alone before it is asked again.
    pause: Duration,
}

/// Why a log was not copied.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    /// Not reached, or hung up.
    #[error("its node cannot be reached over HTTPS, or hangs up")]
    Unreachable,
    /// Known by no certificate that is trusted.
    #[error("its node's certificate is not trusted here (`[audit] trusted` in node.toml)")]
    Untrusted,
    /// An answer that is none of a published log.
    #[error("its node answered with status {0}")]
    Status(u16),
    /// Too busy, for too long.
    #[error("its node is too busy")]
    Busy,
    /// More than there can be.
    #[error("a file of it is longer than such a file can be")]
    TooLong,
    /// A file that a published log has is not there.
    #[error("its file {0} is not published")]
    Missing(String),
    /// Its newest tiles are never there.
    #[error("its newest entries were not published in time")]
    Behind,
    /// The disk.
    #[error("its copy cannot be written: check the disk and the rights on the data directory")]
    Disk(#[from] std::io::Error),
}

impl CopyError {
    /// The same in Chinese.
    pub(super) fn chinese(&self) -> String {
        match self {
            Self::Unreachable => "无法经 HTTPS 连接其节点，或连接中断".to_owned(),
            Self::Untrusted => "本节点不信任其证书（node.toml 的 `[audit] trusted`）".to_owned(),
            Self::Status(status) => format!("其节点返回状态 {status}"),
            Self::Busy => "其节点过于繁忙".to_owned(),
            Self::TooLong => "其某个文件超出应有长度".to_owned(),
            Self::Missing(name) => format!("其文件 {name} 未发布"),
            Self::Behind => "其最新条目未及时发布".to_owned(),
            Self::Disk(_) => "无法写入副本：请检查磁盘与数据目录的权限".to_owned(),
        }
    }
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Got {
    Whole,
    Missing,
    Archived,
}

/// Where a log is read from.
pub(super) enum Source {
    /// Its node.
    Server(Server),
    /// This node's own folder.
    Own(PathBuf),
}

impl Source {
    /// Fetches one file of the log, whole or not at all.
    async fn get(&mut self, name: &str, to: &Path, most: u64) -> Result<Got, CopyError> {
        match self {
            Self::Server(server) => server.get(name, to, most).await,
            Self::Own(folder) => {
                let from = folder.join(name);
                match tokio::fs::read(&from).await {
                    Ok(bytes) => {
                        // all of it is read each time: what is the same needs no writing
                        if !tokio::fs::read(to).await.is_ok_and(|kept| kept == bytes) {
                            place(to, &bytes)?;
                        }
                        Ok(Got::Whole)
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                        let archived = archived_in(folder);
                        let path: Option<TilePath> = name.parse().ok();
                        let is_archived = path.is_some_and(|path| {
                            path.kind() == TileKind::Entries
                                && path.index() < archived / u64::from(TILE_WIDTH)
                        });
                        Ok(if is_archived { Got::Archived } else { Got::Missing })
                    }
                    Err(error) => Err(error.into()),
                }
            }
        }
    }

    /// How it is waited for.
    const fn waits(&self) -> Waits {
        match self {
            Self::Server(server) => server.waits,
            Self::Own(_) => WAITS,
        }
    }

    /// Whether a tile that is here is fetched all the same.
    fn is_read_again(&self, path: &TilePath, copy: &Path) -> bool {
        match self {
            Self::Own(_) => path.is_full(),
            Self::Server(_) => path.is_full() && is_old(path.index(), age(copy)),
        }
    }
}

/// Whether another log's tile is to be fetched anew; not all of those that came together on one day.
fn is_old(index: u64, age: Duration) -> bool {
    let (least, spread) = AGAIN_DAYS;
    let later = u32::try_from(index % u64::from(spread)).unwrap_or(0);
    age >= DAY.saturating_mul(least.saturating_add(later))
}

/// For how long a file is as it is.
fn age(file: &Path) -> Duration {
    let changed = fs::metadata(file).and_then(|found| found.modified()).ok();
    changed.and_then(|at| SystemTime::now().duration_since(at).ok()).unwrap_or_default()
}

/// Up to which entry a folder's log is archived.
fn archived_in(folder: &Path) -> u64 {
    let marker = fs::read(folder.join(ARCHIVED_FILE)).ok();
    marker.and_then(|marker| parse_archived(&marker)).unwrap_or(0)
}

/// Writes a file that is whole or not there.
fn place(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    let fresh = path.with_extension("new");
    fs::write(&fresh, bytes)?;
    fs::rename(&fresh, path)
}

/// Another brand's node, over one connection as long as it holds.
pub(super) struct Server {
    host: String,
    port: u16,
    tls: Arc<OutgoingTls>,
    waits: Waits,
    sender: Option<SendRequest<Empty<Bytes>>>,
}

impl Server {
    /// The node at an address, known by what `tls` trusts.
    pub(super) fn new(host: String, port: u16, tls: Arc<OutgoingTls>) -> Self {
        Self { host, port, tls, waits: WAITS, sender: None }
    }

    async fn connect(
        host: &str,
        port: u16,
        tls: &OutgoingTls,
        patience: Duration,
    ) -> Result<SendRequest<Empty<Bytes>>, CopyError> {
        let tcp = timeout(patience, TcpStream::connect((host, port))).await;
        let tcp = tcp.map_err(|_| CopyError::Unreachable)?.map_err(|_| CopyError::Unreachable)?;
        let name = ServerName::try_from(host.to_owned()).map_err(|_| CopyError::Unreachable)?;
        let connector = TlsConnector::from(tls.config());
        let stream = timeout(patience, connector.connect(name, tcp)).await;
        let stream = stream.map_err(|_| CopyError::Unreachable)?;
        let stream = stream.map_err(|_| CopyError::Untrusted)?;
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|_| CopyError::Unreachable)?;
        // ends when the sender is dropped or the node hangs up
        tokio::spawn(async move { connection.await.ok() });
        Ok(sender)
    }

    async fn asked(&mut self, name: &str) -> Result<hyper::Response<Incoming>, CopyError> {
        let host = authority(&self.host, self.port);
        let (mut used, patience) = (self.sender.take(), self.waits.patience);
        loop {
            let (mut sender, is_used) = match used.take() {
                Some(sender) => (sender, true),
                None => (Self::connect(&self.host, self.port, &self.tls, patience).await?, false),
            };
            let request = hyper::Request::get(format!("/{name}"))
                .header(HOST, host.as_str())
                .header(USER_AGENT, concat!("coalition/", env!("CARGO_PKG_VERSION")))
                .body(Empty::new())
                .map_err(|_| CopyError::Unreachable)?;
            let answered = timeout(patience, async {
                sender.ready().await?;
                sender.send_request(request).await
            });
            match answered.await {
                Ok(Ok(answer)) => {
                    self.sender = Some(sender);
                    return Ok(answer);
                }
                // a connection that was kept open may have been closed meanwhile
                _ if is_used => {}
                _ => return Err(CopyError::Unreachable),
            }
        }
    }

    async fn get(&mut self, name: &str, to: &Path, most: u64) -> Result<Got, CopyError> {
        for _ in 0..BUSY_TRIES {
            let answer = self.asked(name).await?;
            let (head, body) = answer.into_parts();
            if head.status.as_u16() == 200 {
                return saved(body, to, most, self.waits).await;
            }
            // what it says of the refusal is not read
            self.sender = None;
            match head.status.as_u16() {
                404 => return Ok(Got::Missing),
                410 => return Ok(Got::Archived),
                429 | 503 => {
                    let seconds = head.headers.get(RETRY_AFTER).and_then(|it| it.to_str().ok());
                    let seconds: u64 = seconds.and_then(|it| it.parse().ok()).unwrap_or(1);
                    sleep(Duration::from_secs(seconds.clamp(1, BUSY_SECONDS_MAX))).await;
                }
                status => return Err(CopyError::Status(status)),
            }
        }
        Err(CopyError::Busy)
    }
}

/// Writes a body to a file, part by part.
async fn saved(mut body: Incoming, to: &Path, most: u64, waits: Waits) -> Result<Got, CopyError> {
    tokio::fs::create_dir_all(to.parent().unwrap_or(Path::new("."))).await?;
    let fresh = to.with_extension("new");
    let mut file = tokio::fs::File::create(&fresh).await?;
    let (mut bytes, began) = (0_u64, Instant::now());
    while let Some(frame) =
        timeout(waits.patience, body.frame()).await.map_err(|_| CopyError::Unreachable)?
    {
        let frame = frame.map_err(|_| CopyError::Unreachable)?;
        let Ok(part) = frame.into_data() else { continue };
        bytes = bytes.saturating_add(part.len() as u64);
        if bytes > most {
            return Err(CopyError::TooLong);
        }
        let late = began.elapsed().saturating_sub(waits.patience).as_millis();
        if u128::from(bytes).saturating_mul(1_000) < late.saturating_mul(waits.slowest.into()) {
            return Err(CopyError::Unreachable);
        }
        file.write_all(&part).await?;
    }
    file.flush().await?;
    drop(file);
    tokio::fs::rename(&fresh, to).await?;
    Ok(Got::Whole)
}

/// One log as far as the cut goes.
#[derive(Debug, Clone)]
pub(super) struct Cut {
    folder: Directory,
    checkpoint: Option<Vec<u8>>,
    // by the last certificate of the cut
    certified: TreeSize,
    // up to which size tiles were copied
    copied: TreeSize,
}

impl TileSource for Cut {
    /// A tile of the cut's size: where the log had gone on, the beginning of the wider one that was copied.
    fn read(&self, path: &TilePath) -> Option<Vec<u8>> {
        if let Some(bytes) = self.folder.read(path) {
            return Some(bytes);
        }
        let wider = TilePath::in_tree(path.kind(), path.index(), self.copied)?;
        let bytes = (wider.width() > path.width()).then(|| self.folder.read(&wider))??;
        beginning(path.kind(), &bytes, path.width())
    }
}

/// The first hashes or entries of a tile.
fn beginning(kind: TileKind, bytes: &[u8], width: u16) -> Option<Vec<u8>> {
    let length = match kind {
        TileKind::Hashes { .. } => 32 * usize::from(width),
        TileKind::Entries => {
            let mut end = 0_usize;
            for _ in 0..width {
                let length = bytes.get(end..)?.first_chunk::<2>()?;
                end = end.checked_add(2 + usize::from(u16::from_be_bytes(*length)))?;
            }
            end
        }
    };
    bytes.get(..length).map(<[u8]>::to_vec)
}

impl LogFolder for Cut {
    fn checkpoint(&self) -> Option<Vec<u8>> {
        self.checkpoint.clone()
    }
    fn certificates(&self, offset: u64, most: usize) -> Option<Vec<u8>> {
        self.folder.certificates(offset, most)
    }
    /// What is later than the cut is not there.
    fn files(&self) -> Vec<String> {
        let is_of_cut = |name: &String| {
            let path: Option<TilePath> = name.parse().ok();
            path.is_some_and(|path| {
                let now = TilePath::in_tree(path.kind(), path.index(), self.certified);
                now.is_some_and(|now| path.width() <= now.width())
            })
        };
        self.folder.files().into_iter().filter(is_of_cut).collect()
    }
    fn archived(&self) -> u64 {
        archived_in(&self.folder.0)
    }
}

/// What was read of a log while the cut is made.
struct Begun {
    checkpoint: Option<Vec<u8>>,
    certified: TreeSize,
}

/// Copies all logs into folders of `to`, one a brand; `seen` says up to which size this node has seen each certified.
/// `told` hears how many logs are copied.
///
/// # Errors
/// Which log could not be copied, and why: then there is no cut.
pub(super) async fn copy(
    mut sources: BTreeMap<BrandId, Source>,
    to: &Path,
    seen: impl Fn() -> BTreeMap<BrandId, u64>,
    told: impl Fn(u64),
) -> Result<BTreeMap<BrandId, Cut>, (BrandId, CopyError)> {
    let (mut cuts, mut checkpoints, mut silent) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for (brand, source) in &mut sources {
        match first_checkpoint(source, &to.join(brand.as_str())).await {
            Ok(checkpoint) => drop(checkpoints.insert(*brand, checkpoint)),
            Err(error) => silent.push((*brand, error)),
        }
    }
    let before = seen();
    let known_of = |brand: &BrandId| before.get(brand).copied().unwrap_or(0);
    // of who has left no head is told any more: what the copy had is as much as there will be, and the first is taken whole
    let had: BTreeMap<BrandId, u64> = sources
        .keys()
        .map(|brand| (*brand, last_size(&Directory(to.join(brand.as_str()))).get()))
        .filter(|(_, size)| *size > 0)
        .collect();
    let bound_of = |brand: &BrandId| {
        let bound = seen().get(brand).or_else(|| had.get(brand)).copied();
        bound.unwrap_or(u64::MAX)
    };
    for (brand, error) in silent {
        let known = known_of(&brand);
        let kept = kept(&to.join(brand.as_str())).filter(|kept| kept.certified.get() >= known);
        cuts.insert(brand, kept.ok_or((brand, error))?);
    }
    let mut begun = BTreeMap::new();
    for (brand, checkpoint) in checkpoints {
        let folder = to.join(brand.as_str());
        let Some(source) = sources.get_mut(&brand) else { continue };
        let certified = certified_from(source, &folder, known_of(&brand), bound_of(&brand)).await;
        let certified = certified.map_err(|error| (brand, error))?;
        // its first block came in between: blocks without a checkpoint would be a finding
        if checkpoint.is_none() && certified.get() > 0 {
            return Err((brand, CopyError::Behind));
        }
        begun.insert(brand, Begun { checkpoint, certified });
    }
    for (brand, Begun { checkpoint, certified }) in begun {
        let folder = to.join(brand.as_str());
        let Some(source) = sources.get_mut(&brand) else { continue };
        let copied = tiles(source, &folder, certified, || bound_of(&brand)).await;
        let copied = copied.map_err(|error| (brand, error))?;
        let cut = checkpoint.as_deref().unwrap_or_default();
        place(&folder.join(CUT_FILE), cut).map_err(|error| (brand, CopyError::Disk(error)))?;
        cuts.insert(brand, Cut { folder: Directory(folder), checkpoint, certified, copied });
        told(cuts.len() as u64);
    }
    Ok(cuts)
}

/// The copy that an earlier cut has left, if it is whole.
fn kept(folder: &Path) -> Option<Cut> {
    let checkpoint = fs::read(folder.join(CUT_FILE)).ok()?;
    let folder = Directory(folder.to_owned());
    let copied = size_of(&folder.checkpoint()?)?;
    let certified = last_size(&folder);
    let checkpoint = (!checkpoint.is_empty()).then_some(checkpoint);
    (certified <= copied).then_some(Cut { folder, checkpoint, certified, copied })
}

fn size_of(checkpoint: &[u8]) -> Option<TreeSize> {
    SignedCheckpoint::parse(checkpoint).ok().map(|it| it.unverified().size())
}

/// Up to which size the certificates of a folder go, as far as they read.
fn last_size(folder: &Directory) -> TreeSize {
    let read = CertificateReader::new(folder).map_while(Result::ok);
    read.last().map_or_else(TreeSize::default, |it| it.pledge.block.size)
}

async fn first_checkpoint(
    source: &mut Source,
    folder: &Path,
) -> Result<Option<Vec<u8>>, CopyError> {
    let path = folder.join(NEXT_FILE);
    match source.get(CHECKPOINT_FILE, &path, CHECKPOINT_BYTES_MAX).await? {
        Got::Whole => Ok(Some(tokio::fs::read(&path).await?)),
        // a log without a block has none yet
        Got::Missing | Got::Archived => Ok(None),
    }
}

/// Fetches the certificates up to a size at least: a log is published a moment after others know of its block, and whoever
/// shows less than was seen certified is not believed.
async fn certified_from(
    source: &mut Source,
    folder: &Path,
    known: u64,
    bound: u64,
) -> Result<TreeSize, CopyError> {
    for _ in 0..BEHIND_TRIES {
        let certified = certificates(source, folder, bound).await?;
        if certified.get() >= known {
            return Ok(certified);
        }
        sleep(source.waits().pause).await;
    }
    Err(CopyError::Behind)
}

/// Fetches the certificates, without one that was being written; gives the size up to which they go.
async fn certificates(
    source: &mut Source,
    folder: &Path,
    known: u64,
) -> Result<TreeSize, CopyError> {
    let path = folder.join(CERTIFICATES_FILE);
    // a block has an entry at least
    let most = known.saturating_add(UNSEEN_MAX).saturating_mul(CERTIFICATE_MAX as u64);
    if source.get(CERTIFICATES_FILE, &path, most).await? != Got::Whole {
        place(&path, &[])?;
    }
    let of = Directory(folder.to_owned());
    let read = move || -> std::io::Result<TreeSize> {
        let mut size = TreeSize::default();
        for certificate in CertificateReader::new(&of) {
            match certificate {
                Ok(certificate) => size = certificate.pledge.block.size,
                Err(CertificatesError::Malformed { offset }) => {
                    let file = fs::File::options().write(true).open(&path)?;
                    // more than one that is cut short is for the audit to find
                    if file.metadata()?.len().saturating_sub(offset) < CERTIFICATE_MAX as u64 {
                        file.set_len(offset)?;
                    }
                }
            }
        }
        Ok(size)
    };
    let size = tokio::task::spawn_blocking(read).await;
    size.map_err(|_| CopyError::Unreachable)?.map_err(CopyError::Disk)
}

/// Fetches the tiles up to a size at least; gives the size up to which they go.
async fn tiles(
    source: &mut Source,
    folder: &Path,
    certified: TreeSize,
    known: impl Fn() -> u64,
) -> Result<TreeSize, CopyError> {
    if certified.get() == 0 {
        return Ok(certified);
    }
    let path = folder.join(NEXT_FILE);
    for _ in 0..ROUNDS {
        // partial tiles are there for the newest checkpoint's size, and go when it does
        source.get(CHECKPOINT_FILE, &path, CHECKPOINT_BYTES_MAX).await?;
        let shown = size_of(&tokio::fs::read(&path).await?).unwrap_or_default();
        if shown.max(certified).get() > known().saturating_add(UNSEEN_MAX) {
            return Err(CopyError::TooLong);
        }
        if shown >= certified && tiles_of(source, folder, shown).await? {
            tokio::fs::rename(&path, folder.join(CHECKPOINT_FILE)).await?;
            let folder = folder.to_owned();
            let removed =
                tokio::task::spawn_blocking(move || remove_superseded(&folder, shown)).await;
            removed.map_err(|_| CopyError::Unreachable)??;
            return Ok(shown);
        }
        sleep(source.waits().pause).await;
    }
    Err(CopyError::Behind)
}

/// Fetches what is not there of the tiles of a tree, and anew what is due; false when some of them are gone because the
/// log goes on.
async fn tiles_of(source: &mut Source, folder: &Path, size: TreeSize) -> Result<bool, CopyError> {
    let known = archived_in(folder);
    let mut archived = known;
    let kinds =
        std::iter::once(TileKind::Entries).chain((0..8).map(|level| TileKind::Hashes { level }));
    for kind in kinds {
        let is_bundle = kind == TileKind::Entries;
        let most = if is_bundle { BUNDLE_BYTES_MAX } else { HASHES_BYTES };
        // what was archived since is learned of the oldest bundle that is here
        let mut is_oldest = is_bundle;
        for path in (0..).map_while(|index| TilePath::in_tree(kind, index, size)) {
            let name = path.to_string();
            let to = folder.join(&name);
            let end = path.index().saturating_add(1).saturating_mul(TILE_WIDTH.into());
            if tokio::fs::try_exists(&to).await? {
                let asks = is_oldest && path.is_full() || source.is_read_again(&path, &to);
                if !asks {
                    is_oldest = false;
                    continue;
                }
            } else if is_bundle && end <= known {
                continue;
            }
            match source.get(&name, &to, most).await? {
                Got::Whole => is_oldest = false,
                Got::Archived if is_bundle && path.is_full() => {
                    archived = archived.max(end);
                    // before what it speaks of goes: the copy counts also if this is all that comes of it
                    if tokio::fs::try_exists(&to).await? {
                        place_archived(folder, archived)?;
                        tokio::fs::remove_file(&to).await?;
                    }
                }
                Got::Missing | Got::Archived if !path.is_full() => return Ok(false),
                Got::Missing | Got::Archived => return Err(CopyError::Missing(name)),
            }
        }
    }
    if archived > known {
        place_archived(folder, archived)?;
    }
    Ok(true)
}

fn place_archived(folder: &Path, archived: u64) -> std::io::Result<()> {
    place(&folder.join(ARCHIVED_FILE), format!("{archived}\n").as_bytes())
}

/// Removes the partial tiles of which a copy of a tree has fuller ones.
fn remove_superseded(folder: &Path, size: TreeSize) -> std::io::Result<()> {
    for name in Directory(folder.to_owned()).files() {
        let Ok(path) = name.parse::<TilePath>() else { continue };
        let now = TilePath::in_tree(path.kind(), path.index(), size);
        let Some(now) = now.filter(|now| now.width() > path.width()) else { continue };
        // of an archived bundle neither is there, and the narrower one is no better for it
        let is_here = folder.join(now.to_string()).exists();
        let end = path.index().saturating_add(1).saturating_mul(TILE_WIDTH.into());
        let is_archived = path.kind() == TileKind::Entries && end <= archived_in(folder);
        if is_here || is_archived {
            let file = folder.join(name);
            fs::remove_file(&file)?;
            // its folder, if that was the last
            if let Some(of) = file.parent() {
                let _ = fs::remove_dir(of);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod served;
#[cfg(test)]
mod tests;
