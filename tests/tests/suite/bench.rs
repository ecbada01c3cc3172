//! The benchmarks run and their invariants hold; how fast they are is nobody's business here.

use node::cli::Io;
use node::cli::bench::{
    AuditBenchArguments, Auditing, EarnArguments, ExchangeArguments, ImportBenchArguments,
    QueryArguments, WitnessArguments, measure_audit, measure_earn, measure_exchange,
    measure_import, measure_query, measure_witness,
};

/// A whole alliance under load for a moment: everything that was taken is final and credited, no point
/// came or went, and the logs stand the offline audit with every leaf opened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alliance_under_load_loses_and_makes_no_point() {
    let arguments = ExchangeArguments {
        nodes: 4,
        seconds: 0.3,
        members: 4,
        under_way: 256,
        verify: true,
        no_postgres: true,
        json: true,
    };
    let figures = measure_exchange(&arguments, &Io::new(true)).await.unwrap();
    assert!(figures.exchanges >= 4 * 64, "{figures:?}");
    assert!(figures.points_conserved, "{figures:?}");
    assert_eq!(figures.audit_sound, Some(true), "{figures:?}");
    assert!(figures.finality_p99_ms > 0.0, "{figures:?}");
}

/// A joint question over nodes that have imported what was made up for them, and what is measured beside it
/// where no peer is installed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_joint_question_over_made_up_purchases_is_answered() {
    let arguments = QueryArguments {
        brands: 3,
        rows: 3_000,
        members: 600,
        largest_rows: 3_000,
        repetitions: 1,
        python: vec!["/nowhere/python3".into()],
        masked_brands: vec![3],
        masked_cells: vec![10, 1_000],
        seed: 1,
        json: true,
    };
    let figures = measure_query(&arguments, &Io::new(true)).await.unwrap();
    // no reading is told of before a quarter of a second; which of the two is slower is the machine's affair
    assert!(figures.joint_seconds >= 0.25 && figures.plain_seconds > 0.0, "{figures:?}");
    assert_eq!(figures.fastest_peer_seconds, None);
    assert_eq!((figures.growth.len(), figures.masked_sum.len()), (1, 2));
    assert!(figures.growth.iter().all(|it| it.net_seconds > 0.0), "{figures:?}");
    let most = figures.masked_sum.last().unwrap();
    // each sends its vector of 8 bytes a coordinate to two others, in a frame
    assert_eq!((most.cells, most.coordinates), (1_000, 1_000));
    assert!((16_000..17_000).contains(&most.bytes_sent_by_each), "{most:?}");
    // and holds all three, and its own once more
    assert!(most.bytes_held_by_each > 4 * 8_000, "{most:?}");
}

/// What a witness is sent does not grow with the exchanges in a block but for its fragment: a hundred
/// times as many add hashes to proofs, one for each time that the tree has doubled.
#[test]
fn a_witness_is_sent_no_more_for_more_exchanges_but_its_fragment() {
    let (nodes, exchanges, blocks) = (7, vec![10, 1_000], 2);
    let arguments = WitnessArguments { nodes, exchanges, blocks, json: true };
    let figures = measure_witness(&arguments, &Io::new(true)).unwrap();
    let [few, many] = &figures.sizes[..] else { panic!("{figures:?}") };
    assert!(many.fragment_bytes > 50 * few.fragment_bytes, "{figures:?}");
    let more = many.but_fragment_bytes.abs_diff(few.but_fragment_bytes);
    assert!(more <= 2 * 7 * 32 + 16, "{figures:?}");
}

/// The logs that are made up for measuring an audit are sound, with every leaf opened, and hold what an
/// audit has to do with: returns, payments, discharges. One altered byte is found in them.
#[test]
fn logs_made_up_for_measuring_stand_the_audit_and_an_altered_byte_does_not() {
    let (nodes, leaves) = (4, 256);
    let arguments = AuditBenchArguments {
        entries: 5_000,
        nodes,
        leaves,
        directory: None,
        altered: true,
        json: true,
    };
    let figures = measure_audit(&arguments, Auditing::Here, &Io::new(true)).unwrap();
    for run in [&figures.public, &figures.opened] {
        assert_eq!(run.findings, 0, "{figures:?}");
        assert!(run.entries >= 5_000 && run.payments > 0, "{figures:?}");
        // a proposal and 3 commits a block; a log and 2 witnesses on each checkpoint
        assert_eq!(run.signatures, run.blocks * 4 + u64::from(nodes) * 3, "{figures:?}");
    }
    assert_eq!((figures.public.payloads, figures.public.returns), (0, 0));
    assert!(figures.opened.payloads > 4_900 && figures.opened.returns > 20, "{figures:?}");
    assert_eq!(figures.altered_found, Some(true));
}

/// An import beside the engine and the floor: what it kept is there after the store is opened again, and a store on
/// PostgreSQL has the same where a server is installed. Members are opened meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_is_measured_and_whole() {
    let arguments = ImportBenchArguments {
        members: 300,
        rows: 3_000,
        folder: None,
        mapping: None,
        no_postgres: false,
        no_node: true,
        json: true,
    };
    let figures = measure_import(&arguments, None, &Io::new(true)).await.unwrap();
    assert_eq!((figures.members, figures.rows, figures.rows_kept), (300, 3_000, 3_000));
    assert!(figures.synthetic && figures.store_bytes_per_row > 0.0, "{figures:?}");
    assert!(figures.look_ups > 0 && figures.floor_rows_per_second > 0.0, "{figures:?}");
    assert!(0 < figures.opened && figures.opened <= figures.look_ups, "{figures:?}");
    assert!(0.0 < figures.opened_p50_us && figures.opened_p50_us <= figures.opened_p99_us);
    assert!(figures.node.is_none(), "{figures:?}");
    match figures.postgres {
        Some(there) => {
            // that it kept the same rows is looked at where it is measured
            assert!(there.rows_per_second > 0.0 && there.opened_p99_us > 0.0, "{figures:?}");
            let ratio = there.rows_per_second / figures.rows_per_second;
            assert!((there.of_sled / ratio - 1.0).abs() < 1e-9, "{figures:?}");
        }
        None => {
            assert!(std::env::var_os("COALITION_SHARED").is_none(), "nothing may be skipped here");
        }
    }
}

/// Purchases that are counted batch by batch: the books balance, what is read again is the same, and it is told how long
/// triggers took of which each member has set one off by then. Where PostgreSQL is installed it comes to the same points,
/// coupons, tiers and cases of a mixed day.
#[test]
fn purchases_that_earn_are_measured_and_what_triggers_took_is_told() {
    let arguments = EarnArguments {
        members: 20,
        purchases: 2_000,
        batch: 64,
        directory: None,
        no_postgres: false,
        postgres_seconds: 1,
        json: true,
    };
    let figures = measure_earn(&arguments, &Io::new(true)).unwrap();
    assert!(figures.is_sound(), "{figures:?}");
    assert_eq!((figures.members, figures.purchases), (20, 2_000));
    // a hundred purchases of 150 yuan: everybody has reached a tier
    assert!(figures.triggers_fired >= 20, "{figures:?}");
    assert!(figures.trigger_p99_ms.is_some_and(|took| took > 0.0), "{figures:?}");
    // two hundred sign-ins and as many surveys, each of twenty members once a day
    assert_eq!(figures.mixed_refused, 359, "{figures:?}");
    assert!(figures.mixed_per_second > 0.0, "{figures:?}");
    if figures.postgres_per_second.is_some() {
        assert_eq!(figures.postgres_agrees, Some(true), "{figures:?}");
        assert!(figures.times_postgres_mixed.is_some_and(|times| times > 0.0), "{figures:?}");
    } else {
        assert!(std::env::var_os("COALITION_SHARED").is_none(), "nothing may be skipped here");
        assert_eq!((figures.postgres_agrees, figures.times_postgres_mixed), (None, None));
    }
}
