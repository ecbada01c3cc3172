//! The benchmarks run and their invariants hold; how fast they are is nobody's business here.

use node::cli::Io;
use node::cli::bench::{ExchangeArguments, measure_exchange};

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
