//! What the disk takes: `cargo bench -p node --bench storage --profile dev`.
//!
//! Prints appends to the journal one at a time and from many tasks, its replay, and transactions of
//! the store.

use std::time::{Duration, Instant};

use node::journal::{Journal, Record};
use node::store::{SledStore, Store, Write};

type Failure = Box<dyn std::error::Error>;

fn rate(what: &str, count: usize, took: Duration) {
    println!("{what:<44} {:>9.0} a second", count as f64 / took.as_secs_f64());
}

fn record() -> Record {
    Record { kind: 1, bytes: vec![7; 200] }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;

    let mut journal = Journal::open(directory.path().join("journal"))?.into_journal()?;
    let started = Instant::now();
    for _ in 0..500 {
        journal.append_batch(&[record()])?;
    }
    rate("journal: one record of 200 B, synced", 500, started.elapsed());
    let batch = vec![record(); 5000];
    let started = Instant::now();
    for _ in 0..20 {
        journal.append_batch(&batch)?;
    }
    rate("journal: records of 200 B, 5000 a sync", 100_000, started.elapsed());

    let (commit, thread) = journal.into_group_commit(1024)?;
    let started = Instant::now();
    let tasks: Vec<_> = (0..256)
        .map(|_| {
            let commit = commit.clone();
            tokio::spawn(async move {
                for _ in 0..40 {
                    commit.append(vec![record()]).await?;
                }
                Ok::<_, node::journal::JournalError>(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    rate("journal: appends of 256 tasks, each synced", 256 * 40, started.elapsed());
    drop(commit);
    drop(thread.join()?);
    let started = Instant::now();
    let count = Journal::open(directory.path().join("journal"))?.count();
    rate("journal: records replayed", count, started.elapsed());

    let store = SledStore::open(directory.path().join("store"))?;
    let pair = |number: u32| Write::put("bench", number.to_be_bytes(), vec![7; 200]);
    let started = Instant::now();
    for number in 0..300 {
        store.transaction(&[pair(number)])?;
    }
    rate("store: transactions of one pair, synced", 300, started.elapsed());
    let pairs: Vec<Write> = (0..20_000).map(pair).collect();
    let started = Instant::now();
    store.transaction(&pairs)?;
    rate("store: pairs in one transaction", pairs.len(), started.elapsed());
    let started = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8_u32)
            .map(|thread| {
                let (store, pair) = (&store, &pair);
                scope.spawn(move || {
                    (0..50).try_for_each(|number| store.transaction(&[pair(thread * 50 + number)]))
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or(Ok(())))
    })?;
    rate("store: transactions of 8 threads, synced", 400, started.elapsed());
    Ok(())
}
