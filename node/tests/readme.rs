//! The README's walk of two nodes by hand, line by line with the real binary: nodes in processes of their
//! own, as somebody with a shell would have them. Beside it what else needs nodes as processes: kills, and namespaces of
//! their own; and what commands print.

mod benches;
mod commands;
mod imports;
mod kills;
mod namespaces;
mod processes;

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_coalition");
/// How long a line may fail because the nodes are not there yet.
const PATIENCE: Duration = Duration::from_secs(240);

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A folder in which the README's lines are run.
struct Shell {
    folder: tempfile::TempDir,
    nodes: Vec<Child>,
}

impl Drop for Shell {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            let _ = node.kill();
            let _ = node.wait();
        }
    }
}

impl Shell {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("bin")).unwrap();
        symlink(BINARY, folder.path().join("bin/coalition")).unwrap();
        symlink(workspace().join("alliance-config"), folder.path().join("alliance-config"))
            .unwrap();
        Self { folder, nodes: Vec::new() }
    }

    fn bash(&self, line: &str) -> Command {
        let mut command = Command::new("bash");
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .args(["-c", line])
            .current_dir(self.folder.path())
            .env("PATH", format!("{}:{path}", self.folder.path().join("bin").display()));
        command
    }

    /// Runs a line until it succeeds.
    fn line(&self, line: &str) -> Output {
        let began = Instant::now();
        loop {
            let output = self.bash(line).output().unwrap();
            if output.status.success() {
                return output;
            }
            let said = [&output.stdout[..], &output.stderr].concat();
            let said = String::from_utf8_lossy(&said).into_owned();
            assert!(began.elapsed() < PATIENCE, "{line}\n{said}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Audits copies of the logs. Where a node wrote a block between the two copies they are made again, as the
    /// README says.
    fn audit(&self, line: &str) -> Output {
        let copy = "rm -rf logs && mkdir logs && cp -r a/log logs/alpha && cp -r b/log logs/beta";
        self.line(&format!("{copy} && {line}"))
    }

    /// Runs a line that ends with `&`.
    fn background(&mut self, line: &str) {
        let mut command = self.bash(&format!("exec {line}"));
        // a group of its own: a Ctrl-C for the tests is not one for it, and it is ended with the shell
        let node = command.process_group(0).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.nodes.push(node.unwrap());
    }
}

/// The shell lines under a heading.
fn lines(readme: &str, heading: &str) -> Vec<String> {
    let (_, section) = readme.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let blocks = section.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let lines = blocks.flat_map(str::lines).map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// Ports that were free a moment ago for those of the README, `127.0.0.1:7101` for one.
fn with_free_ports(lines: Vec<String>) -> Vec<String> {
    let mut text = lines.join("\n");
    let written: std::collections::BTreeSet<String> = text
        .split("127.0.0.1:")
        .skip(1)
        .map(|rest| rest.chars().take_while(char::is_ascii_digit).collect())
        .collect();
    for port in written {
        let now = node::setup::free_loopback_address().unwrap().port();
        // no port that was just written is replaced again
        text = text.replace(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:\u{1}{now}"));
    }
    text.replace('\u{1}', "").lines().map(str::to_owned).collect()
}

#[test]
fn the_readmes_two_nodes_exchange_rotate_keys_and_are_audited() {
    let readme = fs::read_to_string(workspace().join("README.md")).unwrap();
    let lines = with_free_ports(lines(&readme, "Two nodes by hand"));
    assert!(lines.len() > 20, "{lines:?}");
    assert_eq!(lines[0], "alias coalition=target/debug/coalition");
    let mut shell = Shell::new();
    let mut code = None;
    let mut audits = 0;
    for line in &lines[1..] {
        if let Some(line) = line.strip_suffix('&') {
            shell.background(line.trim());
            continue;
        }
        let line = match &code {
            Some(code) => line.replace("--code CODE", &format!("--code {code}")),
            None => line.clone(),
        };
        let output = match line.split_once("mkdir logs && ") {
            _ if line.starts_with("coalition audit ") => shell.audit(&line),
            // a file of a running node may go while it is copied: then it is begun anew
            Some((_, copy)) => shell.line(&format!("rm -rf logs && mkdir logs && {copy}")),
            None => shell.line(&line),
        };
        if line.contains(" link code ") {
            let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            code = Some(shown["code"].as_str().unwrap().to_owned());
        }
        audits += usize::from(line.starts_with("coalition audit "));
    }
    assert_eq!((shell.nodes.len(), audits), (2, 2));

    let receipt = fs::read_to_string(shell.folder.path().join("receipt.proof")).unwrap();
    assert!(receipt.starts_with("c2sp.org/tlog-proof@v1\n"), "{receipt}");
    // both logs are under the second constitution, which gave beta other keys
    let taken_up = |data: &str| {
        let line = format!("coalition constitution status --data {data}");
        let output = shell.line(&line);
        let view: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        view["taken_up"].as_array().unwrap().len()
    };
    let began = Instant::now();
    while taken_up("a") < 2 || taken_up("b") < 2 {
        assert!(began.elapsed() < PATIENCE, "the second constitution is not taken up");
        std::thread::sleep(Duration::from_millis(200));
    }
    let keys = |constitution: &str| {
        let output = shell.line(&format!("coalition constitution keys {constitution}"));
        let keys = String::from_utf8(output.stdout).unwrap();
        keys.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let (before, after) = (keys("constitution.toml"), keys("second.toml"));
    assert_eq!((&before[..2], before.len()), (&after[..2], after.len()));
    assert!(before[2..].iter().all(|key| !after.contains(key)), "{before:?} {after:?}");
    // secrets are the owner's alone
    let secret = shell.folder.path().join("b/keys/signing/000001");
    let mode = {
        use std::os::unix::fs::PermissionsExt as _;
        fs::metadata(secret).unwrap().permissions().mode()
    };
    assert_eq!(mode & 0o777, 0o600);
    // with both nodes started again the rotated keys go on
    for node in &mut shell.nodes {
        node.kill().unwrap();
        node.wait().unwrap();
    }
    shell.nodes.clear();
    shell.background("coalition run --data a");
    shell.background("coalition run --data b");
    let exchange = lines.iter().find(|line| line.starts_with("coalition exchange ")).unwrap();
    let exchange = exchange.replace("receipt.proof", "after.proof");
    shell.line(&exchange);
    let audit = lines.iter().rfind(|line| line.starts_with("coalition audit ")).unwrap();
    shell.audit(audit);
}
