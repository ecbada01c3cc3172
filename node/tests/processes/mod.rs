//! Nodes as processes of the real binary, asked as by people and tills: what they say of themselves, and the way back of
//! an administrator who has lost the password.

mod administrators;
mod logs;

use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// How long something may take that nothing stands in the way of; a busy machine takes its time.
const PATIENCE: Duration = Duration::from_secs(300);

/// Waits until something is so.
async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < PATIENCE, "{what}: not within {} s", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Runs a command of the binary, which must succeed.
fn coalition(arguments: &[&str]) -> Output {
    let output = Command::new(super::BINARY).args(arguments).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {words}");
    output
}

/// The password that a command of `coalition user` has made and printed.
fn password_of(output: &Output, field: &str) -> String {
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    printed[field].as_str().unwrap().to_owned()
}
