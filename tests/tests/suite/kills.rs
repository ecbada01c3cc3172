//! Nodes that are killed at random under load, as processes of their own.

use std::ffi::OsString;

use node::cli::Io;
use node::cli::bench::{KillsArguments, measure_kills};
use node::cli::process::Program;
use node::cli::run::{RunArguments, run};

/// Twenty kills; `coalition bench kills` does as many as one wants.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_killed_at_random_under_load_lose_nothing_and_do_nothing_twice() {
    let arguments =
        KillsArguments { nodes: 4, kills: 20, members: 4, clients: 3, seed: 7, json: true };
    // a node is this very program, in the test below
    let test = ["kills::a_node_of_its_own", "--exact", "--ignored", "--nocapture"];
    let program =
        Program::other(std::env::current_exe().unwrap(), test.iter().map(OsString::from).collect());
    let figures = measure_kills(&arguments, &program, &Io::new(true)).await.unwrap();
    assert!(figures.is_sound(), "{figures:?}");
    assert!(figures.exchanges > 40, "{figures:?}");
}

/// No test: what the one above starts as a process, in whose environment its data directory is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by the test above, as a node of its own"]
async fn a_node_of_its_own() {
    let Some(data) = std::env::var_os(Program::DATA) else { return };
    let arguments = RunArguments { data: data.into(), restored: false, until_stdin_ends: true };
    run(&arguments).await.unwrap();
}
