//! Nodes that are killed at random under load, as processes of the real binary.

use node::cli::Io;
use node::cli::bench::{KillsArguments, measure_kills};
use node::cli::process::Program;

/// Twenty kills; `coalition bench kills` does as many as one wants.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trial_balance_is_zero_at_nodes_killed_at_random_that_lose_nothing_and_do_nothing_twice() {
    let arguments =
        KillsArguments { nodes: 4, kills: 20, members: 4, clients: 3, seed: 7, json: true };
    let program = Program::at(super::BINARY.into());
    let figures = measure_kills(&arguments, &program, &Io::new(true)).await.unwrap();
    assert!(figures.is_sound(), "{figures:?}");
    assert!(figures.exchanges > 40 && figures.snapshots > 0, "{figures:?}");
    // what was sold, paid with points, and taken back at the tills meanwhile is on the books once
    assert!(figures.till_rounds > 4, "{figures:?}");
    assert_eq!(figures.till_differences, 0, "{figures:?}");
    // as every node says of its own books afterwards, over HTTPS
    assert_eq!((figures.trial_balances, figures.differences), (vec![0; 4], 0));
}
