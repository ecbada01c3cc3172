//! Copies of logs on a disk and of servers that go on, archive, alter or lie.

use protocol::crypto::SigningKey;
use protocol::ids::RootHash;
use protocol::log::checkpoint::Checkpoint;
use protocol::log::merkle::Leaf;
use protocol::log::note::KeyName;
use protocol::log::tiles::{TileWriter, parse_bundle};

use super::*;
use crate::tls::{CERTIFICATE_FILE, create};

fn leaves(range: std::ops::Range<u32>) -> Vec<Leaf> {
    range.map(|number| Leaf::new(number.to_string().into_bytes()).unwrap()).collect()
}

/// A folder that was copied when its log had 300 entries, of a cut at 260.
fn cut(folder: &Path) -> Cut {
    let mut writer = TileWriter::empty();
    for range in [0..260, 260..300] {
        for file in writer.append(&leaves(range)).unwrap().files {
            place(&folder.join(file.path.to_string()), &file.bytes).unwrap();
        }
    }
    let (certified, copied) = (TreeSize::new(260), TreeSize::new(300));
    let folder = Directory(folder.to_owned());
    Cut { folder, checkpoint: None, certified, copied }
}

#[test]
fn what_a_log_has_gone_on_with_is_not_in_the_cut() {
    let folder = tempfile::tempdir().unwrap();
    let cut = cut(folder.path());
    for kind in [TileKind::Entries, TileKind::Hashes { level: 0 }] {
        let of = |size| TilePath::in_tree(kind, 1, TreeSize::new(size)).unwrap();
        let (then, now) = (of(260), of(300));
        let written = cut.folder.read(&then).unwrap();
        // as a server that shows the newest tiles alone
        fs::remove_file(folder.path().join(then.to_string())).unwrap();
        assert_eq!(cut.read(&then).unwrap(), written, "{kind:?}");
        assert_ne!(cut.read(&now).unwrap(), written);
        assert_eq!(cut.read(&of(301)), None, "more than was copied is not made up");
        assert!(!cut.files().contains(&now.to_string()) && !cut.files().is_empty());
    }
    let first = TilePath::in_tree(TileKind::Entries, 0, cut.certified).unwrap();
    assert_eq!(parse_bundle(&cut.read(&first).unwrap(), 256).unwrap()[255], b"255");
    assert_eq!(beginning(TileKind::Entries, &[0, 9, 1], 1), None, "a bundle cut short");
}

/// A folder as a brand publishes it, of so many entries.
fn publish(folder: &Path, sizes: &[u32]) {
    let mut writer = TileWriter::empty();
    let mut before = 0;
    for size in sizes {
        for file in writer.append(&leaves(before..*size)).unwrap().files {
            place(&folder.join(file.path.to_string()), &file.bytes).unwrap();
        }
        before = *size;
    }
    show(folder, before);
}

/// A checkpoint of so many entries: of what root is not looked at here.
fn show(folder: &Path, size: u32) {
    let name = KeyName::new("a.example/log").unwrap();
    let root = RootHash::from_bytes([1; 32]);
    let key = SigningKey::from_seed(&[7; 32]).unwrap();
    let checkpoint = Checkpoint::new(&name, TreeSize::new(size.into()), root);
    let signed = SignedCheckpoint::sign(checkpoint, &key).unwrap().to_string();
    place(&folder.join(CHECKPOINT_FILE), signed.as_bytes()).unwrap();
}

#[tokio::test]
async fn an_old_tile_that_was_altered_comes_into_the_copy_and_a_narrower_one_goes() {
    let folder = tempfile::tempdir().unwrap();
    let (published, copy) = (folder.path().join("published"), folder.path().join("copy"));
    let mut source = Source::Own(published.clone());
    publish(&published, &[260]);
    tiles(&mut source, &copy, TreeSize::new(260), || 1_000).await.unwrap();
    let partial = copy.join("tile/entries/001.p/4");
    assert!(partial.exists() && copy.join("tile/0/001.p/4").exists());
    // one that is altered after it was copied
    publish(&published, &[260, 300]);
    let first = published.join("tile/entries/000");
    let mut bytes = fs::read(&first).unwrap();
    bytes[2] ^= 1;
    fs::write(&first, &bytes).unwrap();
    tiles(&mut source, &copy, TreeSize::new(260), || 1_000).await.unwrap();
    assert_eq!(fs::read(copy.join("tile/entries/000")).unwrap(), bytes, "as it is published");
    assert!(!partial.exists() && !copy.join("tile/0/001.p/4").exists());
    assert!(copy.join("tile/entries/001.p/44").exists());
    let certified = TreeSize::new(260);
    let cut =
        Cut { folder: Directory(copy), checkpoint: None, certified, copied: TreeSize::new(300) };
    let then = TilePath::in_tree(TileKind::Entries, 1, certified).unwrap();
    assert!(cut.read(&then).is_some(), "the cut has what the narrower one had");
}

#[tokio::test]
async fn bundles_that_their_brand_has_archived_go_from_the_copy() {
    let folder = tempfile::tempdir().unwrap();
    let (published, copy) = (folder.path().join("published"), folder.path().join("copy"));
    let mut source = Source::Own(published.clone());
    publish(&published, &[1_000]);
    tiles(&mut source, &copy, TreeSize::new(1_000), || 1_000).await.unwrap();
    let bundle = |of: &Path, index: u32| of.join(format!("tile/entries/{index:03}"));
    assert!((0..3).all(|index| bundle(&copy, index).exists()));
    for (archived, left) in [(256, 2), (512, 1)] {
        place_archived(&published, archived).unwrap();
        for index in 0..archived / 256 {
            let _ = fs::remove_file(bundle(&published, u32::try_from(index).unwrap()));
        }
        tiles(&mut source, &copy, TreeSize::new(1_000), || 1_000).await.unwrap();
        let kept = (0..3).filter(|index| bundle(&copy, *index).exists()).count();
        assert_eq!((kept, archived_in(&copy)), (left, archived));
        assert!(copy.join("tile/0/000").exists(), "hashes stay");
    }
    // one that is gone and not archived is no archived one
    fs::remove_file(bundle(&published, 2)).unwrap();
    // whoever claims more than this node has seen certified, by far, fills no disk
    let claimed = tiles(&mut source, &copy, TreeSize::new(2 << 20), || 1_000).await;
    assert!(matches!(claimed, Err(CopyError::TooLong)), "{claimed:?}");
    let missing = tiles(&mut source, &copy, TreeSize::new(1_000), || 1_000).await;
    assert!(matches!(missing, Err(CopyError::Missing(name)) if name.contains("002")));
}

#[test]
fn another_logs_tiles_are_all_fetched_anew_within_a_month_and_not_on_one_day() {
    let due = |days: u32| {
        let age = DAY * days;
        (0..1_000).filter(|index| is_old(*index, age)).count()
    };
    assert_eq!((due(14), due(30)), (0, 1_000));
    let a_day = (15..30).map(|days| due(days) - due(days - 1));
    assert!(a_day.into_iter().all(|fresh| (66..=67).contains(&fresh)));
    // by the time of the file, which a fetch makes new
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("000");
    fs::write(&copy, b"").unwrap();
    create(folder.path(), None).unwrap();
    let trusted = folder.path().join(CERTIFICATE_FILE);
    let tls = OutgoingTls::open(Some(&trusted), None).unwrap();
    let server = Source::Server(Server::new("a.example".to_owned(), 443, Arc::new(tls)));
    let path = TilePath::in_tree(TileKind::Entries, 0, TreeSize::new(300)).unwrap();
    let partial = TilePath::in_tree(TileKind::Entries, 1, TreeSize::new(300)).unwrap();
    assert!(!server.is_read_again(&path, &copy));
    let file = fs::File::options().write(true).open(&copy).unwrap();
    file.set_modified(SystemTime::now() - 31 * DAY).unwrap();
    assert!(server.is_read_again(&path, &copy) && !server.is_read_again(&partial, &copy));
}

#[tokio::test]
async fn a_log_whose_node_is_silent_counts_by_its_former_copy_if_that_has_all_that_was_seen() {
    let folder = tempfile::tempdir().unwrap();
    let (brand, to) = (BrandId::new("a").unwrap(), folder.path().join("copies"));
    let published = folder.path().join("published");
    fs::create_dir(&published).unwrap();
    let own = || BTreeMap::from([(brand, Source::Own(published.clone()))]);
    // a log without a block is whole as it is
    let cuts = copy(own(), &to, BTreeMap::new, |_| ()).await.unwrap();
    assert_eq!((cuts[&brand].certified, cuts[&brand].checkpoint()), (TreeSize::default(), None));
    // a folder in place of the file: it cannot be read
    fs::create_dir(published.join(CHECKPOINT_FILE)).unwrap();
    let refused = copy(own(), &to, BTreeMap::new, |_| ()).await;
    assert!(matches!(refused, Err((of, CopyError::Disk(_))) if of == brand), "no copy");
    // a copy of before: good for as much as it has
    let name = KeyName::new("old.example/log").unwrap();
    let root = RootHash::from_bytes([1; 32]);
    let key = SigningKey::from_seed(&[7; 32]).unwrap();
    let checkpoint = Checkpoint::new(&name, TreeSize::new(1), root);
    let signed = SignedCheckpoint::sign(checkpoint, &key).unwrap().to_string();
    for file in [CHECKPOINT_FILE, CUT_FILE] {
        place(&to.join("a").join(file), signed.as_bytes()).unwrap();
    }
    let cuts = copy(own(), &to, BTreeMap::new, |_| ()).await.unwrap();
    assert_eq!(cuts[&brand].checkpoint().unwrap(), signed.as_bytes());
    let beyond = copy(own(), &to, || BTreeMap::from([(brand, 1)]), |_| ()).await;
    assert!(matches!(beyond, Err((of, CopyError::Disk(_))) if of == brand), "more was seen");
}

#[test]
fn a_certificate_that_was_being_written_is_left_out_and_more_is_for_the_audit() {
    let folder = tempfile::tempdir().unwrap();
    let published = folder.path().join("published");
    fs::create_dir(&published).unwrap();
    let to = folder.path().join("copy");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for (bytes, left) in [(100, 0), (2 * CERTIFICATE_MAX, 2 * CERTIFICATE_MAX)] {
        fs::write(published.join(CERTIFICATES_FILE), vec![0xff; bytes]).unwrap();
        let mut source = Source::Own(published.clone());
        let size = runtime.block_on(certificates(&mut source, &to, 0)).unwrap();
        assert_eq!(size, TreeSize::default());
        let kept = fs::metadata(to.join(CERTIFICATES_FILE)).unwrap().len();
        assert_eq!(kept, left as u64);
    }
}

/// Fails when what a log shows is taken for all of it, however much of it was seen certified.
#[tokio::test]
async fn less_than_was_seen_certified_is_no_cut() {
    let folder = tempfile::tempdir().unwrap();
    let brand = BrandId::new("a").unwrap();
    let published = folder.path().join("published");
    fs::create_dir(&published).unwrap();
    let own = || BTreeMap::from([(brand, Source::Own(published.clone()))]);
    let to = folder.path().join("copies");
    let less = copy(own(), &to, || BTreeMap::from([(brand, 1)]), |_| ()).await;
    assert!(matches!(less, Err((of, CopyError::Behind)) if of == brand));
    assert!(copy(own(), &to, BTreeMap::new, |_| ()).await.is_ok());
}
