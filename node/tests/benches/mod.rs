//! What `coalition bench` measures at processes of the real binary, for a moment: a day of an alliance, requests over HTTPS, a whole
//! node that imports and starts again.

use node::cli::Io;
use node::cli::bench::{
    ApiArguments, DayArguments, ImportBenchArguments, RushArguments, measure_api, measure_day,
    measure_import, measure_rush,
};
use node::cli::process::Program;

/// Imports, exchanges, questions, keys that are turned, a clearing, and one node lost with its disk and put back, without
/// a hand; `coalition bench day` does as much as one wants.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_with_a_node_lost_and_put_back_loses_nothing_and_does_nothing_twice() {
    let arguments = DayArguments {
        minutes: 1.0,
        nodes: 5,
        members: 20,
        exchanges: 1_200,
        lines: 4_800,
        questions: 12,
        every: 1.0,
        json: true,
    };
    let program = Program::at(super::BINARY.into());
    let figures = measure_day(&arguments, &program, &Io::new(true)).await.unwrap();
    assert!(figures.is_sound(), "{figures:?}");
    assert_eq!((figures.exchanges, figures.lines, figures.questions), (1_200, 4_800, 12));
    // five sealing keys, a vault's key, a certificate
    assert_eq!(figures.rotations, 7);
    assert!(figures.lost_until_answering_seconds <= figures.lost_until_own_block_seconds);
    assert!(figures.memory.len() > 20 && figures.memory_most_mib > 10.0, "{figures:?}");
}

/// Every kind of request is answered under load, and each figure is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_over_https_are_measured_beside_hello() {
    let arguments = ApiArguments { connections: 4, seconds: 0.4, hello: None, json: true };
    let program = Program::at(super::BINARY.into());
    let figures = measure_api(&arguments, &program, &Io::new(true)).await.unwrap();
    assert_eq!(figures.requests.len(), 6);
    for of in std::iter::once(&figures.hello).chain(&figures.requests) {
        assert!(of.requests > 4 && of.answer_bytes > 1, "{of:?}");
        assert!(0.0 < of.p50_ms && of.p50_ms <= of.p99_ms && of.of_hello > 0.0, "{of:?}");
    }
    assert_eq!(figures.hello.answer_bytes, "Hello, world!".len());
}

/// Thirty members want twelve pieces and twelve coupons, some steps are asked twice: twelve of each go out and no more, and
/// every line of a purchase that is entered meanwhile is in the facts as it was sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_hot_is_served_as_long_as_there_is_some_and_never_beyond() {
    let (clients, members, stock, purchases) = (4, 30, 12, 2);
    let arguments = RushArguments { clients, members, stock, purchases, json: true };
    let program = Program::at(super::BINARY.into());
    let figures = measure_rush(&arguments, &program, &Io::new(true)).await.unwrap();
    assert!(figures.is_sound(), "{figures:?}");
    assert_eq!((figures.oversold, figures.miscounted, figures.lines_wrong), (0, 0, 0));
    // whom a slow machine did not answer in time is not served
    let missed = (12 - figures.rewards) + (12 - figures.coupons);
    assert!(missed <= figures.unanswered, "{figures:?}");
    assert!(figures.left > 0 && figures.redeem_p99_ms > 0.0, "{figures:?}");
    // one of each member, two at the till, two batches of five
    assert_eq!(figures.lines, 30 + 12, "{figures:?}");
    assert!(figures.visible_p50_seconds > 0.0, "{figures:?}");
    assert!(figures.visible_most_seconds < 900.0, "{figures:?}");
}

/// A whole node enrols members, opens them over HTTPS while it imports, and has every member, line and point after a
/// start, of which time and memory are told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_node_imports_and_starts_again_with_everything() {
    let arguments = ImportBenchArguments {
        members: 200,
        rows: 300,
        folder: None,
        mapping: None,
        no_postgres: true,
        no_node: false,
        json: true,
    };
    let program = Program::at(super::BINARY.into());
    let figures = measure_import(&arguments, Some(&program), &Io::new(true)).await.unwrap();
    assert!(figures.postgres.is_none(), "{figures:?}");
    let node = figures.node.unwrap();
    assert_eq!(node.members, 200);
    // one purchase of each, of 1 yuan at least
    assert!(node.issued_points >= 200, "{node:?}");
    assert!(node.look_ups > 0 && node.look_up_p50_ms <= node.look_up_p99_ms, "{node:?}");
    assert!(node.start_seconds > 0.0 && node.journal_bytes > 0, "{node:?}");
    assert!(10.0 < node.memory_mib && node.memory_mib <= node.start_peak_mib as f64, "{node:?}");
}
