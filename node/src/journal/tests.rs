use std::fs;

use proptest::prelude::*;

use super::*;

fn record(kind: u8, bytes: &[u8]) -> Record {
    Record { kind, bytes: bytes.to_vec() }
}

fn read(directory: &Path) -> Result<Vec<Record>, JournalError> {
    Journal::open(directory)?.collect()
}

fn write(directory: &Path, segment_bytes: u64, batches: &[Vec<Record>]) {
    let mut journal = Journal::open_with(directory, segment_bytes).unwrap().into_journal().unwrap();
    for batch in batches {
        journal.append_batch(batch).unwrap();
    }
}

fn sample() -> Vec<Vec<Record>> {
    vec![
        vec![record(1, b"a vote"), record(2, b"")],
        vec![record(1, &[7; 300])],
        vec![record(9, b"the last"), record(9, b"of one batch")],
    ]
}

/// One segment of the sample, its bytes, and where its last frame begins.
fn sample_file() -> (tempfile::TempDir, PathBuf, Vec<u8>, usize) {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), SEGMENT_BYTES, &sample()[..2]);
    let file = segment_path(directory.path(), 1);
    let last = fs::read(&file).unwrap().len();
    write(directory.path(), SEGMENT_BYTES, &sample()[2..]);
    let bytes = fs::read(&file).unwrap();
    (directory, file, bytes, last)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn what_was_appended_is_replayed_in_order_over_any_segments(
        batches in prop::collection::vec(
            prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..200)), 0..5), 0..12),
        segment_bytes in 0_u64..600,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let batches: Vec<Vec<Record>> = batches.into_iter().map(|batch| {
            batch.into_iter().map(|(kind, bytes)| Record { kind, bytes }).collect()
        }).collect();
        // a third of them after a restart
        let (before, after) = batches.split_at(batches.len() * 2 / 3);
        write(directory.path(), segment_bytes, before);
        write(directory.path(), segment_bytes, after);
        prop_assert_eq!(read(directory.path()).unwrap(), batches.concat());
    }
}

#[test]
fn a_last_batch_cut_at_any_byte_is_dropped_whole_and_reported() {
    let (directory, file, bytes, last) = sample_file();
    for length in last..bytes.len() {
        fs::write(&file, &bytes[..length]).unwrap();
        let mut journal = Journal::open(directory.path()).unwrap().into_journal().unwrap();
        let report = journal.torn_tail().cloned();
        let torn = length > last;
        assert_eq!(report.is_some(), torn, "cut at {length}");
        if let Some(report) = report {
            assert_eq!((report.offset, report.bytes), (last as u64, (length - last) as u64));
            assert!(report.cut_short);
        }
        journal.append_batch(&[record(3, b"next")]).unwrap();
        drop(journal);
        let mut expected = sample()[..2].concat();
        expected.push(record(3, b"next"));
        assert_eq!(read(directory.path()).unwrap(), expected, "cut at {length}");
    }
}

#[test]
fn a_last_batch_whose_pages_were_never_written_is_dropped() {
    let (directory, file, bytes, last) = sample_file();
    for hole in last..bytes.len() {
        // the length reached the disk, what follows `hole` did not
        let mut holed = bytes.clone();
        holed[hole..].fill(0);
        if holed == bytes {
            continue;
        }
        fs::write(&file, &holed).unwrap();
        assert_eq!(read(directory.path()).unwrap(), sample()[..2].concat(), "hole at {hole}");
    }
}

#[test]
fn any_flipped_bit_before_the_last_batch_stops_the_node_and_names_the_place() {
    let (directory, file, bytes, last) = sample_file();
    for at in 0..last {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::write(&file, &damaged).unwrap();
        let error = Journal::open(directory.path()).unwrap().into_journal().unwrap_err();
        match error {
            JournalError::Damaged { offset, file: named, .. } => {
                assert!(offset as usize <= at && named == file, "flip at {at}");
            }
            JournalError::OtherVersion { .. } => assert!((8..10).contains(&at), "flip at {at}"),
            other => panic!("flip at {at}: {other}"),
        }
        assert_eq!(fs::read(&file).unwrap(), damaged, "a damaged file is left as it is");
    }
}

#[test]
fn a_flipped_bit_in_the_last_batch_never_yields_other_records() {
    let (directory, file, bytes, last) = sample_file();
    for at in last..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        fs::write(&file, &damaged).unwrap();
        assert_eq!(read(directory.path()).unwrap(), sample()[..2].concat(), "flip at {at}");
    }
}

#[test]
fn lost_swapped_and_repeated_pieces_are_damage() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), 0, &sample());
    let path = |segment| segment_path(directory.path(), segment);
    assert!(path(3).is_file(), "each batch has a segment of its own");
    let damaged = || matches!(read(directory.path()), Err(JournalError::Damaged { .. }));

    let second = fs::read(path(2)).unwrap();
    fs::remove_file(path(2)).unwrap();
    assert!(damaged(), "a segment is missing");
    fs::copy(path(3), path(2)).unwrap();
    assert!(damaged(), "a segment in another's place");
    fs::write(path(2), &second[..second.len() - 1]).unwrap();
    assert!(damaged(), "an earlier segment is cut");
    fs::write(path(2), &second).unwrap();
    assert_eq!(read(directory.path()).unwrap(), sample().concat());

    // the frame once more behind itself: not valid there, and torn at worst
    let frame = &second[frame::SEGMENT_HEADER_BYTES as usize..];
    fs::write(path(2), [&second[..], frame].concat()).unwrap();
    assert!(damaged(), "a repeated frame in the middle");
}

#[test]
fn a_segment_that_a_crash_left_without_header_is_made_again() {
    for header_bytes in 0..frame::SEGMENT_HEADER_BYTES as usize {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), 0, &sample()[..1]);
        let header = frame::segment_header(2);
        fs::write(segment_path(directory.path(), 2), &header[..header_bytes]).unwrap();
        write(directory.path(), 0, &sample()[1..2]);
        assert_eq!(read(directory.path()).unwrap(), sample()[..2].concat());
    }
}

#[test]
fn a_second_opener_is_refused_until_the_first_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let first = Journal::open(directory.path()).unwrap();
    assert!(matches!(Journal::open(directory.path()), Err(JournalError::InUse { .. })));
    let journal = first.into_journal().unwrap();
    assert!(matches!(Journal::open(directory.path()), Err(JournalError::InUse { .. })));
    drop(journal);
    assert!(Journal::open(directory.path()).is_ok());
}

#[test]
fn what_is_too_long_is_refused_and_harms_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(directory.path()).unwrap().into_journal().unwrap();
    let long = Record { kind: 1, bytes: vec![0; RECORD_MAX + 1] };
    assert!(matches!(journal.append_batch(&[long]), Err(JournalError::TooLong { .. })));
    let three = vec![Record { kind: 1, bytes: vec![0; RECORD_MAX] }; 3];
    assert!(matches!(journal.append_batch(&three), Err(JournalError::TooLong { .. })));
    journal.append_batch(&[record(1, b"fits")]).unwrap();
    drop(journal);
    assert_eq!(read(directory.path()).unwrap(), [record(1, b"fits")]);
}

#[test]
fn after_a_write_error_nothing_is_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(directory.path()).unwrap().into_journal().unwrap();
    journal.append_batch(&[record(1, b"kept")]).unwrap();
    // a device on which every write fails for want of space
    let sound = std::mem::replace(
        &mut journal.file,
        OpenOptions::new().write(true).open("/dev/full").unwrap(),
    );
    let error = journal.append_batch(&[record(1, b"lost")]).unwrap_err();
    assert!(matches!(error, JournalError::Io { action: "append to", .. }));
    journal.file = sound;
    let late = journal.append_batch(&[record(1, b"late")]).unwrap_err();
    assert!(matches!(late, JournalError::Poisoned { .. }));
    // whoever comes later is told what was wrong too: the first may have told nobody
    assert!(late.to_string().contains("No space left on device"), "{late}");
    assert!(matches!(journal.begin_snapshot(), Err(JournalError::Poisoned { .. })));
    drop(journal);
    assert_eq!(read(directory.path()).unwrap(), [record(1, b"kept")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_appends_are_all_kept_each_whole_and_in_its_tasks_order() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open_with(directory.path(), 4096).unwrap().into_journal().unwrap();
    let (commit, thread) = journal.into_group_commit(4).unwrap();
    let tasks: Vec<_> = (0..8_u8)
        .map(|task| {
            let commit = commit.clone();
            tokio::spawn(async move {
                for number in 0..25_u8 {
                    let pair = vec![record(task, &[number]), record(task, &[number, number])];
                    commit.append(pair).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    drop(commit);
    drop(thread.join().unwrap());

    let records = read(directory.path()).unwrap();
    assert_eq!(records.len(), 8 * 25 * 2);
    for pair in records.chunks(2) {
        assert_eq!((pair[0].kind, pair[0].bytes.len(), pair[1].bytes.len()), (pair[1].kind, 1, 2));
    }
    for task in 0..8 {
        let numbers = records.iter().filter(|r| r.kind == task && r.bytes.len() == 1);
        assert!(numbers.map(|r| r.bytes[0]).eq(0..25));
    }
}

#[tokio::test]
async fn a_write_error_reaches_every_waiting_task() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(directory.path()).unwrap().into_journal().unwrap();
    journal.file = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (commit, _thread) = journal.into_group_commit(16).unwrap();
    let waiting: Vec<_> = (0..10)
        .map(|_| {
            let commit = commit.clone();
            tokio::spawn(async move { commit.append(vec![record(1, b"never")]).await })
        })
        .collect();
    for append in waiting {
        assert!(append.await.unwrap().is_err());
    }
    assert!(commit.append(vec![record(1, b"never")]).await.is_err());
}

/// A journal of `before`, a snapshot that says `says`, then `after`.
fn write_snapshot(
    directory: &Path,
    before: &[Vec<Record>],
    says: &[Record],
    after: &[Vec<Record>],
) {
    let mut journal = Journal::open_with(directory, 0).unwrap().into_journal().unwrap();
    for batch in before {
        journal.append_batch(batch).unwrap();
    }
    let mut snapshot = journal.begin_snapshot().unwrap().create().unwrap();
    for record in says {
        snapshot.append(std::slice::from_ref(record)).unwrap();
    }
    // what is appended meanwhile comes after it
    let (first, rest) = after.split_at(after.len().min(1));
    first.iter().for_each(|batch| journal.append_batch(batch).unwrap());
    let mut read_back = Vec::new();
    let checked = |record| -> Result<(), JournalError> {
        read_back.push(record);
        Ok(())
    };
    snapshot.finish(checked).unwrap();
    assert_eq!(read_back, says);
    rest.iter().for_each(|batch| journal.append_batch(batch).unwrap());
}

fn files(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "lock")
        .collect();
    names.sort();
    names
}

fn says(number: u8) -> Vec<Record> {
    vec![record(7, b"all before"), record(7, &[number; 40])]
}

#[test]
fn a_replay_is_the_newest_snapshot_and_what_came_after_and_one_generation_stays() {
    let directory = tempfile::tempdir().unwrap();
    write_snapshot(directory.path(), &sample()[..2], &says(1), &sample()[2..]);
    assert_eq!(read(directory.path()).unwrap(), [says(1), sample()[2..].concat()].concat());
    // the first snapshot's generation before is the journal from its start
    assert!(segment_path(directory.path(), 1).is_file());
    let kept = |number| snapshot::snapshot_path(directory.path(), number);
    write_snapshot(directory.path(), &sample(), &says(2), &[]);
    write_snapshot(directory.path(), &sample(), &says(3), &sample()[..1]);
    assert_eq!(read(directory.path()).unwrap(), [says(3), sample()[..1].concat()].concat());

    let snapshots = snapshot::numbers(directory.path(), "snapshot").unwrap();
    let segments = snapshot::numbers(directory.path(), "journal").unwrap();
    assert_eq!(snapshots.len(), 2, "{snapshots:?}");
    assert_eq!(segments.first(), snapshots.first(), "nothing older is left");
    // damage to the newest: the one before it, with its segments; the damaged one is put aside
    let newest = kept(snapshots[1]);
    let sound = fs::read(&newest).unwrap();
    for at in [0, 9, 30, sound.len() / 2, sound.len() - 1] {
        let mut damaged = sound.clone();
        damaged[at] ^= 4;
        fs::write(&newest, &damaged).unwrap();
        let replay = match Journal::open(directory.path()) {
            // a version is not damage: the next version may read it
            Err(JournalError::OtherVersion { .. }) if at == 9 => continue,
            replay => replay.unwrap(),
        };
        assert_eq!(replay.passed_over().count(), 1, "flip at {at}");
        let records: Result<Vec<_>, _> = replay.collect();
        let expected = [says(2), sample().concat(), sample()[..1].concat()].concat();
        assert_eq!(records.unwrap(), expected, "flip at {at}");
    }
    let mut damaged = sound.clone();
    damaged[40] ^= 1;
    fs::write(&newest, &damaged).unwrap();
    drop(Journal::open(directory.path()).unwrap().into_journal().unwrap());
    assert!(newest.with_extension("damaged").is_file() && !newest.is_file());

    // damage to both stops the node and names the place
    fs::write(&newest, &damaged).unwrap();
    fs::write(kept(snapshots[0]), b"nothing").unwrap();
    let error = read(directory.path()).unwrap_err();
    assert!(matches!(&error, JournalError::Damaged { file, .. } if *file == newest), "{error}");
}

#[test]
fn a_snapshot_cut_at_any_byte_is_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    write_snapshot(directory.path(), &sample()[..2], &says(1), &sample()[2..]);
    let path = snapshot::snapshot_path(directory.path(), 3);
    let sound = fs::read(&path).unwrap();
    for length in 0..sound.len() {
        fs::write(&path, &sound[..length]).unwrap();
        assert_eq!(read(directory.path()).unwrap(), sample().concat(), "cut at {length}");
    }
    fs::write(&path, [&sound[..], &[0]].concat()).unwrap();
    assert_eq!(read(directory.path()).unwrap(), sample().concat(), "longer");
    // a snapshot in another's place, and a segment that a snapshot builds upon is gone
    fs::rename(&path, snapshot::snapshot_path(directory.path(), 2)).unwrap();
    assert_eq!(read(directory.path()).unwrap(), sample().concat(), "another's place");
    fs::remove_file(snapshot::snapshot_path(directory.path(), 2)).unwrap();
    fs::write(&path, &sound).unwrap();
    fs::remove_file(segment_path(directory.path(), 3)).unwrap();
    assert!(matches!(read(directory.path()), Err(JournalError::Damaged { .. })));
}

#[test]
fn a_crash_at_any_moment_of_a_snapshot_loses_nothing() {
    // every state of the directory that the steps of a snapshot go through, each of which is synced
    // before the next: what a replay gives must tell of the same
    let before = tempfile::tempdir().unwrap();
    write_snapshot(before.path(), &sample(), &says(1), &sample());
    write_snapshot(before.path(), &[], &says(2), &sample());
    let expected = [says(2), sample().concat()].concat();
    assert_eq!(read(before.path()).unwrap(), expected);
    let kept = files(before.path());

    let work = tempfile::tempdir().unwrap();
    let copy = |names: &[String]| {
        for name in files(work.path()) {
            fs::remove_file(work.path().join(name)).unwrap();
        }
        for name in names {
            fs::copy(before.path().join(name), work.path().join(name)).unwrap();
        }
    };
    // the next segment, then the unfinished file at any length
    let next = snapshot::numbers(before.path(), "journal").unwrap().last().unwrap() + 1;
    let whole = {
        copy(&kept);
        write_snapshot(work.path(), &[], &says(3), &[]);
        fs::read(snapshot::snapshot_path(work.path(), next)).unwrap()
    };
    for length in 0..=whole.len() {
        copy(&kept);
        fs::write(segment_path(work.path(), next), frame::segment_header(next)).unwrap();
        let unfinished = snapshot::snapshot_path(work.path(), next).with_extension("unfinished");
        fs::write(&unfinished, &whole[..length]).unwrap();
        assert_eq!(read(work.path()).unwrap(), expected, "unfinished at {length}");
        assert!(!unfinished.is_file(), "what is unfinished is taken away");
    }
    // named, and older files deleted one after the other: snapshots first, then segments in order
    copy(&kept);
    fs::write(segment_path(work.path(), next), frame::segment_header(next)).unwrap();
    fs::write(snapshot::snapshot_path(work.path(), next), &whole).unwrap();
    assert_eq!(read(work.path()).unwrap(), says(3));
    let snapshots = snapshot::numbers(work.path(), "snapshot").unwrap();
    let (newest, previous) = (snapshots[snapshots.len() - 1], snapshots[snapshots.len() - 2]);
    assert_eq!(newest, next);
    let mut old: Vec<PathBuf> = snapshots
        .iter()
        .filter(|number| **number < previous)
        .map(|number| snapshot::snapshot_path(work.path(), *number))
        .collect();
    let segments = snapshot::numbers(work.path(), "journal").unwrap();
    old.extend(
        segments.iter().filter(|it| **it < previous).map(|it| segment_path(work.path(), *it)),
    );
    assert!(old.len() > 2, "there is something to delete");
    for path in old {
        fs::remove_file(path).unwrap();
        assert_eq!(read(work.path()).unwrap(), says(3));
        // and the generation before still stands
        let newest = snapshot::snapshot_path(work.path(), next);
        fs::write(&newest, &whole[..40]).unwrap();
        assert_eq!(read(work.path()).unwrap(), expected);
        fs::write(&newest, &whole).unwrap();
    }
}

#[tokio::test]
async fn a_snapshot_of_a_shared_journal_comes_before_what_is_appended_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path()).unwrap().into_journal().unwrap();
    let (commit, thread) = journal.into_group_commit(4).unwrap();
    commit.append(vec![record(1, b"before")]).await.unwrap();
    let beginning = commit.begin_snapshot().await.unwrap();
    let place = tokio::task::spawn_blocking(|| beginning.place()).await.unwrap();
    let mut snapshot = place.unwrap().create().unwrap();
    commit.append(vec![record(1, b"after")]).await.unwrap();
    snapshot.append(&[record(7, b"what was before")]).unwrap();
    snapshot.finish(|_| Ok::<(), JournalError>(())).unwrap();
    drop(commit);
    drop(thread.join().unwrap());
    let found = read(directory.path()).unwrap();
    assert_eq!(found, [record(7, b"what was before"), record(1, b"after")]);
}
