//! What every backend must do: the same answers as the model to the same random calls, over restarts.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;
use crate::postgres_cluster::PostgresCluster;

const SPACES: [Keyspace; 3] = ["a", "ab", "b"];

#[derive(Debug, Clone)]
enum Call {
    Get(Keyspace, Vec<u8>),
    GetMany(Keyspace, Vec<Vec<u8>>),
    Keyspaces,
    Scan(Keyspace, Bound<Vec<u8>>, Bound<Vec<u8>>, usize),
    ScanPrefix(Keyspace, Vec<u8>, Option<Vec<u8>>, usize),
    Transaction(Vec<Write>),
    Flush,
    Reopen,
}

/// Few bytes, so that keys collide, extend each other and touch the ends of ranges.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(vec![0, 1, b'a', b'b', 0xfe, 0xff]), 0..4)
}

fn keyspace() -> impl Strategy<Value = Keyspace> {
    prop::sample::select(SPACES.to_vec())
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..3)
}

fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
    prop_oneof![
        Just(Bound::Unbounded),
        key().prop_map(Bound::Included),
        key().prop_map(Bound::Excluded),
    ]
}

fn write() -> impl Strategy<Value = Write> {
    prop_oneof![
        6 => (keyspace(), key(), value()).prop_map(|(space, key, value)| Write::put(space, key, value)),
        2 => (keyspace(), key()).prop_map(|(space, key)| Write::delete(space, key)),
        1 => (keyspace(), key()).prop_map(|(space, key)| Write::require_absent(space, key)),
        1 => (keyspace(), key(), value()).prop_map(|(space, key, value)| Write::require(space, key, value)),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        3 => (keyspace(), key()).prop_map(|(space, key)| Call::Get(space, key)),
        1 => (keyspace(), prop::collection::vec(key(), 0..5)).prop_map(|(space, keys)| Call::GetMany(space, keys)),
        1 => Just(Call::Keyspaces),
        3 => (keyspace(), bound(), bound(), 0_usize..6)
            .prop_map(|(space, from, to, limit)| Call::Scan(space, from, to, limit)),
        3 => (keyspace(), key(), prop::option::of(key()), 0_usize..6)
            .prop_map(|(space, prefix, after, limit)| Call::ScanPrefix(space, prefix, after, limit)),
        6 => prop::collection::vec(write(), 0..6).prop_map(Call::Transaction),
        1 => Just(Call::Flush),
        1 => Just(Call::Reopen),
    ]
}

/// What a caller sees of one call.
fn observe(store: &dyn Store, call: &Call) -> String {
    match call {
        Call::Get(space, key) => format!("{:?}", store.get(space, key)),
        Call::GetMany(space, keys) => format!("{:?}", store.get_many(space, keys)),
        Call::Keyspaces => {
            let mut names = store.keyspaces().unwrap();
            names.sort();
            format!("{names:?}")
        }
        Call::Scan(space, from, to, limit) => {
            let (from, to) = (from.as_ref(), to.as_ref());
            let pairs = store.scan(space, from.map(Vec::as_slice), to.map(Vec::as_slice), *limit);
            format!("{pairs:?}")
        }
        Call::ScanPrefix(space, prefix, after, limit) => {
            format!("{:?}", store.scan_prefix(space, prefix, after.as_deref(), *limit))
        }
        Call::Transaction(writes) => format!("{:?}", store.transaction(writes)),
        Call::Flush => format!("{:?}", store.flush()),
        Call::Reopen => String::new(),
    }
}

fn contents(store: &dyn Store) -> Vec<Vec<Pair>> {
    let all = |space| store.scan(space, Bound::Unbounded, Bound::Unbounded, usize::MAX).unwrap();
    SPACES.iter().copied().map(all).collect()
}

/// Does the calls to a backend, which `open` opens anew whenever it is to be reopened, and to the model.
fn like_the_model<S: Store>(calls: &[Call], open: &dyn Fn() -> S) -> Result<(), TestCaseError> {
    let model = MemoryStore::new();
    let mut store = Some(open());
    for call in calls {
        if matches!(call, Call::Reopen) {
            drop(store.take());
        }
        let store = store.get_or_insert_with(open);
        prop_assert_eq!(observe(store, call), observe(&model, call), "{:?}", call);
    }
    drop(store);
    prop_assert_eq!(contents(&open()), contents(&model));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn store_conformance_sled_answers_like_the_model(calls in prop::collection::vec(call(), 1..40)) {
        let directory = tempfile::tempdir().unwrap();
        like_the_model(&calls, &|| SledStore::open(directory.path()).unwrap())?;
    }
}

/// A throw-away server; says so when there is none to be had.
fn cluster() -> Option<PostgresCluster> {
    let cluster = PostgresCluster::start().unwrap();
    if cluster.is_none() {
        assert!(std::env::var_os("COALITION_SHARED").is_none(), "nothing may be skipped here");
        eprintln!("skipped: no PostgreSQL is installed (Debian: apt-get install postgresql)");
    }
    cluster
}

fn postgres(cluster: &PostgresCluster, schema: &str) -> PostgresStore {
    let address = PostgresAddress::parse(&cluster.address(schema)).unwrap();
    PostgresStore::open(&address, None).unwrap()
}

#[test]
fn store_conformance_postgres_answers_like_the_model() {
    let Some(cluster) = cluster() else { return };
    let schemas = std::sync::atomic::AtomicU32::new(0);
    let mut runner = TestRunner::new(ProptestConfig::with_cases(32));
    let calls = prop::collection::vec(call(), 1..40);
    let outcome = runner.run(&calls, |calls| {
        let number = schemas.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        like_the_model(&calls, &|| postgres(&cluster, &format!("case{number}")))
    });
    outcome.unwrap();
}

#[test]
fn store_conformance_postgres_known_answers() {
    let Some(cluster) = cluster() else { return };
    known_answers(&postgres(&cluster, "known"));
}

#[test]
fn store_conformance_transactions_of_many_threads_each_happen_once() {
    let directory = tempfile::tempdir().unwrap();
    many_threads(&SledStore::open(directory.path()).unwrap());
    many_threads(&MemoryStore::new());
    let Some(cluster) = cluster() else { return };
    many_threads(&postgres(&cluster, "threads"));
}

fn many_threads(store: &dyn Store) {
    let add_one = || {
        loop {
            let before = store.get("sum", b"total").unwrap();
            let number = before.as_deref().map_or(0, |bytes| bytes[0]);
            let condition =
                Write::Require { keyspace: "sum", key: b"total".to_vec(), value: before };
            match store.transaction(&[condition, Write::put("sum", "total", [number + 1])]) {
                Ok(()) => return,
                Err(StoreError::Conflict { keyspace }) => assert_eq!(keyspace, "sum"),
                Err(other) => panic!("{other}"),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..10).for_each(|_| add_one()));
        }
    });
    assert_eq!(store.get("sum", b"total").unwrap(), Some(vec![40]));
}

/// The answers the model itself must give.
fn known_answers(store: &dyn Store) {
    let pair = |key: &str, value: &str| (key.as_bytes().to_vec(), value.as_bytes().to_vec());
    let all = |space| store.scan(space, Bound::Unbounded, Bound::Unbounded, 9).unwrap();
    store
        .transaction(&[
            Write::put("a", "x1", "one"),
            Write::put("a", "x2", "two"),
            Write::put("a", "y", "three"),
            Write::put("ab", "x1", "elsewhere"),
            Write::delete("a", "y"),
        ])
        .unwrap();
    assert_eq!(all("a"), [pair("x1", "one"), pair("x2", "two")]);
    assert_eq!(store.scan_prefix("a", b"x", Some(b"x1"), 9).unwrap(), [pair("x2", "two")]);
    assert_eq!(store.scan_prefix("a", b"", None, 1).unwrap(), [pair("x1", "one")]);

    // one requirement that fails undoes everything, over keyspaces
    let refused = store.transaction(&[Write::put("b", "k", "v"), Write::require_absent("a", "x1")]);
    assert!(matches!(refused, Err(StoreError::Conflict { keyspace: "a" })));
    assert_eq!(store.get("b", b"k").unwrap(), None);
    // requirements are about the state before the transaction
    let swap = [Write::require("a", "x1", "one"), Write::put("a", "x1", "1")];
    store.transaction(&swap).unwrap();
    assert!(store.transaction(&swap).is_err());
    assert_eq!(store.get("a", b"x1").unwrap().as_deref(), Some(&b"1"[..]));

    for wrong in [
        Write::put("a", "", "no key"),
        Write::put("", "k", "no keyspace"),
        Write::put("a", vec![0; KEY_MAX + 1], "long"),
        Write::put("a", "k", vec![0; VALUE_MAX + 1]),
    ] {
        let outcome = store.transaction(&[Write::put("b", "k", "v"), wrong]);
        assert!(matches!(outcome, Err(StoreError::WrongLength { .. })));
    }
    let large = Write::put("a", "k", vec![0; VALUE_MAX]);
    let outcome = store.transaction(&vec![large; TRANSACTION_MAX / VALUE_MAX]);
    assert!(matches!(outcome, Err(StoreError::WrongLength { what: "transaction", .. })));
    assert_eq!(store.get("b", b"k").unwrap(), None);
}

#[test]
fn store_conformance_known_answers() {
    let directory = tempfile::tempdir().unwrap();
    known_answers(&MemoryStore::new());
    known_answers(&SledStore::open(directory.path()).unwrap());
}
