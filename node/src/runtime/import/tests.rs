//! Batches that are kept off by files that are being imported, by the way on which the node takes them: when they come
//! again, and when they are refused.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc as blocking;
use std::time::Duration;

use ring::rand::SystemRandom;
use tokio::task::JoinHandle;

use super::turns::FilesTurn;
use super::*;
use crate::purchases::Between;
use crate::store::watched::{Watch, Watched};
use crate::store::{StoreError, Write};
use crate::vault::{CardNumber, HeldBrandKey, KEY_BYTES, NewMember, sample_rule};

/// No test takes so long.
const PATIENT: Duration = Duration::from_secs(120);

const MAPPING: &str = r#"
format = "coalition import 1"
name = "till"
[purchases]
files = ["p.csv"]
time_zone = "Asia/Shanghai"
channel = "store"
basket = "receipt"
line = "no"
member = "card"
purchased_at = "at"
department = "dept"
quantity = "pieces"
amount = "yuan"
currency = "CNY"
fen_per_unit = 100
"#;
const HEAD: &str = "receipt,no,card,at,dept,pieces,yuan";
/// A chunk each.
const FILE: [&str; 2] = ["L1,1,C1,2025-03-01,DELI,1,1.00", "L2,1,C2,2025-03-01,DELI,1,2.00"];
/// Of a basket that the file has changed with its first chunk, and of one that it never has.
const OFF: &str = "L1,2,C1,2025-03-01,WINE,1,7.00";
const FREE: &str = "F1,1,C2,2025-03-01,DELI,1,8.00";

/// Counts how often a batch began to be read.
#[derive(Default)]
struct Tries(AtomicU32);

impl Watch for Tries {
    fn writes(&self, writes: &[Write]) -> Result<(), StoreError> {
        let begins = |write: &Write| match write {
            Write::Put { keyspace, key, .. } => {
                *keyspace == "purchases_import_pointer" && key == b"open small"
            }
            _ => false,
        };
        if writes.iter().any(begins) {
            self.0.fetch_add(1, Ordering::AcqRel);
        }
        Ok(())
    }
}

/// Gives turns, the first of which lasts until the test ends it.
struct Lasting {
    begun: mpsc::UnboundedSender<()>,
    ends: blocking::Receiver<()>,
}

impl Between for Lasting {
    fn is_wanted(&self) -> bool {
        true
    }

    fn give(&self) {
        let _ = self.begun.send(());
        // an end for all of them: nobody sends anything
        let _ = self.ends.recv();
    }
}

/// An import of files in a turn that it gives behind its first chunk. Dropped, it goes on, and can be waited for.
struct Paused {
    end: blocking::Sender<()>,
    work: JoinHandle<Option<ImportView>>,
}

impl Paused {
    async fn goes_on(self) {
        drop(self.end);
        let view = self.work.await.unwrap().unwrap();
        assert_eq!((view.rows_kept, view.failed), (2, None));
    }
}

type Answer = oneshot::Receiver<Result<ImportView, ServiceError>>;

/// What imports of a node work on, with a runtime that takes what it is told and says that it earned nothing.
struct Shop {
    folder: tempfile::TempDir,
    store: Arc<Watched<Tries>>,
    vault: Arc<Vault>,
    facts: Arc<Facts>,
    commands: mpsc::Sender<Internal>,
    view: Arc<Mutex<ImportView>>,
    turns: Arc<Turns>,
}

impl Shop {
    fn open(turns: Turns) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Watched::by(Tries::default()));
        let key = Arc::new(HeldBrandKey::from_bytes(&mut [7; KEY_BYTES]));
        let brand = BrandId::new("corner_shop").unwrap();
        let vault = Vault::new(brand, store.clone(), key, Arc::new(SystemRandom::new()));
        for card in ["C1", "C2"] {
            let card = CardNumber::new(card).unwrap();
            let person = NewMember { card, match_key: None, attributes: BTreeMap::new() };
            vault.enrol(&[person], &sample_rule(now())).unwrap();
        }
        let facts = Facts::open(folder.path().join("facts"), store.clone(), &vault).unwrap();
        let (commands, mut told) = mpsc::channel(8);
        tokio::spawn(async move {
            while let Some(told) = told.recv().await {
                if let Internal::Purchases { reply, .. } = told {
                    let _ = reply.send(Ok(Earned::default()));
                }
            }
        });
        std::fs::create_dir(folder.path().join("till")).unwrap();
        let text = format!("{HEAD}\n{}\n", FILE.join("\n"));
        std::fs::write(folder.path().join("till").join("p.csv"), text).unwrap();
        Self {
            folder,
            store,
            vault: Arc::new(vault),
            facts: Arc::new(facts.in_chunks_of(1)),
            commands,
            view: Arc::default(),
            turns: Arc::new(turns),
        }
    }

    fn imports(&self) -> Imports {
        Imports {
            data: DataDirectory::new(self.folder.path()),
            brands: Vec::new(),
            vault: Arc::clone(&self.vault),
            desk: Weak::new(),
            facts: Arc::clone(&self.facts),
            commands: self.commands.clone(),
            view: Arc::clone(&self.view),
            turns: Arc::clone(&self.turns),
            programme: Rules::from_toml(alliance_config::sample::FIRST_RULES).unwrap(),
        }
    }

    /// Begins to import the files, as a command does.
    fn begin(&self) {
        let path = self.folder.path().join("till").display().to_string();
        let source = ImportSource::Folder { path, mapping: MAPPING.to_owned() };
        self.imports().begin(source, false).unwrap();
    }

    /// Imports the files up to the end of their first chunk. Whose turn it is does not know of it.
    async fn pause(&self) -> Paused {
        let (begun, mut has_begun) = mpsc::unbounded_channel();
        let (end, ends) = blocking::channel();
        let imports = self.imports();
        let work = tokio::task::spawn_blocking(move || {
            let mapping = imports.mapping(MAPPING).unwrap();
            let files = BrandFiles::of_folder(&imports.data.path().join("till"), &mapping).unwrap();
            let rules = IntakeRules::new(mapping, Vec::new(), now());
            let lasting = Lasting { begun, ends };
            imports.run(&imports.view, &files, &rules, false, Turn::Giving(&lasting))
        });
        has_begun.recv().await.unwrap();
        Paused { end, work }
    }

    /// Sends a batch of one row.
    fn send(&self, key: &str, row: &str) -> Answer {
        let (reply, answer) = oneshot::channel();
        let batch = ImportBatch {
            kind: BatchKind::Purchases,
            format: BatchFormat::Csv,
            mapping: MAPPING.to_owned(),
            dry_run: false,
            bytes: format!("{HEAD}\n{row}\n").into_bytes().into(),
        };
        self.imports().batch(key, batch, reply);
        answer
    }

    fn tries(&self) -> u32 {
        self.store.watch.0.load(Ordering::Acquire)
    }
}

async fn answered(answer: Answer) -> Result<ImportView, ServiceError> {
    tokio::time::timeout(PATIENT, answer).await.unwrap().unwrap()
}

/// Waits for something that comes by itself.
async fn until(is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENT, "it does not come");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn is_held_back(answer: Result<ImportView, ServiceError>) -> bool {
    let (refused, expected) = (answer.unwrap_err(), held_back());
    (refused.kind, refused.code, refused.message)
        == (expected.kind, expected.code, expected.message)
}

/// Fails when a batch that is kept off is refused, or does not come again, while there is time.
#[tokio::test]
async fn a_batch_that_is_kept_off_comes_again_and_goes_through_when_the_files_are_done() {
    let shop = Shop::open(Turns::that_wait(PATIENT));
    // both wait behind this one, the files first
    let first = shop.turns.of_batch(10, false, PATIENT).await.unwrap();
    shop.begin();
    until(|| shop.turns.are_files_at_work()).await;
    let answer = shop.send("one", OFF);
    until(|| shop.turns.are_batches_waiting()).await;
    assert_eq!(shop.tries(), 0);
    drop(first);
    let view = answered(answer).await.unwrap();
    assert_eq!((view.rows_kept, view.done, view.failed), (1, true, None));
    // at least between the first chunk and the second, and once more
    assert!(shop.tries() >= 2, "{}", shop.tries());
    let files = shop.view.lock().unwrap().clone();
    assert_eq!((files.rows_kept, files.done, files.failed), (2, true, None));
    assert_eq!(shop.facts.rows().unwrap(), 3);
}

/// Fails when it comes again without an end, or leaves something behind.
#[tokio::test]
async fn a_batch_that_is_kept_off_is_refused_when_its_time_is_over() {
    let shop = Shop::open(Turns::that_wait(Duration::ZERO));
    let paused = shop.pause().await;
    // the files are at work, and it is nobody's turn
    let FilesTurn { files, one } = shop.turns.of_files().await.unwrap();
    drop(one);
    assert!(is_held_back(answered(shop.send("one", OFF)).await));
    assert_eq!((shop.tries(), shop.facts.rows().unwrap()), (1, 0));
    // others are let in meanwhile
    assert_eq!(answered(shop.send("two", FREE)).await.unwrap().rows_kept, 1);
    paused.goes_on().await;
    drop(files);
    // sent again under the same key, it goes through
    assert_eq!(answered(shop.send("one", OFF)).await.unwrap().rows_kept, 1);
    assert_eq!((shop.tries(), shop.facts.rows().unwrap()), (3, 4));
}

/// Fails when it waits for what does not go on by itself.
#[tokio::test]
async fn a_batch_that_is_kept_off_by_files_that_are_not_at_work_is_refused_at_once() {
    let shop = Shop::open(Turns::that_wait(PATIENT));
    let paused = shop.pause().await;
    assert!(is_held_back(answered(shop.send("one", OFF)).await));
    assert_eq!((shop.tries(), shop.facts.rows().unwrap()), (1, 0));
    paused.goes_on().await;
}

/// Fails when batches that stay kept off can fill the queue, or keep the place after their answer.
#[tokio::test]
async fn a_batch_that_is_kept_off_is_refused_at_once_when_too_many_come_again() {
    let shop = Shop::open(Turns::that_wait(PATIENT));
    let paused = shop.pause().await;
    let FilesTurn { files, one } = shop.turns.of_files().await.unwrap();
    drop(one);
    let mut others = Vec::new();
    while let Some(place) = shop.turns.of_kept_off(10) {
        others.push(place);
    }
    assert!(is_held_back(answered(shop.send("one", OFF)).await));
    assert_eq!((shop.tries(), shop.facts.rows().unwrap()), (1, 0));
    // whom nothing keeps off needs no such place
    assert_eq!(answered(shop.send("two", FREE)).await.unwrap().rows_kept, 1);
    // with one of them left it comes again, and has that until it is answered
    others.pop();
    let answer = shop.send("one", OFF);
    until(|| shop.tries() > 3).await;
    assert!(shop.turns.of_kept_off(10).is_none());
    paused.goes_on().await;
    assert_eq!(answered(answer).await.unwrap().rows_kept, 1);
    until(|| shop.turns.of_kept_off(10).is_some()).await;
    drop(files);
    assert_eq!(shop.facts.rows().unwrap(), 4);
}
