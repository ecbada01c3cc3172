//! A network of namespaces on this machine: one for each node, joined to this process's by a veth pair.
//!
//! Node N has the address 198.18.N.2 in its namespace; the other end of its pair, here, has 198.18.N.1, and
//! that is where the other nodes find it: at the relay. (198.18.0.0/15 is for measuring networks, RFC 2544.)
//! Nothing is routed between the namespaces, so there is no way round the relay.
//!
//! All of it is in namespaces of the test itself (`unshare`), which go with the process: nothing is left on the
//! machine, whatever becomes of the test, and two runs do not meet.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// Says to the test's own program that it runs in its namespaces.
const INSIDE: &str = "COALITION_TEST_INSIDE";

/// Where the nodes listen for each other, and for people.
pub const PORT: u16 = 7100;
pub const HTTPS_PORT: u16 = 7443;

/// One at a time: each has several nodes.
static ONE: Mutex<()> = Mutex::new(());

/// What a test needs of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    Network,
    Clock,
}

/// Runs a test in namespaces of its own, by running its program again in them. Where the machine does not
/// allow it the test fails if it must run there, and says that it is skipped elsewhere.
pub fn in_namespaces(test: &str, needs: Needs, scenario: impl AsyncFnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        prepare();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        return runtime.block_on(scenario());
    }
    if let Some(lacks) = lacking(needs) {
        // where everything has been installed it must be there
        assert!(std::env::var_os("COALITION_SHARED").is_none(), "{lacks}");
        eprintln!("skipped: {lacks}");
        return;
    }
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let output = Command::new("unshare")
        .args(["--net", "--mount", "--"])
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = [&output.stdout[..], &output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    println!("{said}");
    assert!(output.status.success(), "{test} failed in its namespaces");
    assert!(said.contains("1 passed"), "{test} is not the name of this test");
}

fn lacking(needs: Needs) -> Option<String> {
    let script = "ip link set lo up && ip link add probe0 type veth peer name probe1 \
                  && tc qdisc add dev probe0 root tbf rate 1mbit burst 16kb latency 100ms \
                  && mkdir -p /run/netns && mount -t tmpfs none /run/netns && ip netns add n \
                  && ip netns exec n true";
    let tried =
        Command::new("unshare").args(["--net", "--mount", "--", "sh", "-ec", script]).output();
    match tried {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Some(format!(
                "network namespaces need root (CAP_SYS_ADMIN, CAP_NET_ADMIN), iproute2, and veth and tbf in the \
                 kernel: {said}"
            ));
        }
        Err(error) => {
            return Some(format!("network namespaces need util-linux's unshare: {error}"));
        }
    }
    if needs == Needs::Clock && faketime().is_none() {
        return Some("a false clock needs Debian's package faketime".into());
    }
    None
}

/// Debian's library that gives a program another clock.
pub fn faketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.flatten();
    let paths = folders.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
    paths.into_iter().find(|path| path.exists())
}

/// Runs a program that must succeed.
pub fn run(line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let output = Command::new(words[0]).args(&words[1..]).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

fn prepare() {
    run("ip link set lo up");
    // `ip netns` names its namespaces here; the machine's own stay out of sight, and ours out of theirs
    std::fs::create_dir_all("/run/netns").unwrap();
    run("mount -t tmpfs none /run/netns");
}

/// The namespace of a node.
pub fn namespace(number: u8) -> String {
    format!("node-{number}")
}

/// Where the other nodes find it: at the relay.
pub fn found(number: u8) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(198, 18, number, 1), PORT))
}

/// Where it listens itself.
pub fn own(number: u8, port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(198, 18, number, 2), port))
}

/// Whose address it is, if a node's.
pub fn node_of(address: IpAddr) -> Option<u8> {
    match address {
        IpAddr::V4(address) => match address.octets() {
            [198, 18, number, 2] => Some(number),
            _ => None,
        },
        IpAddr::V6(_) => None,
    }
}

/// Makes a node's namespace and its way here.
pub fn add_node(number: u8) {
    let name = namespace(number);
    run(&format!("ip netns add {name}"));
    run(&format!("ip link add {name} type veth peer name eth0 netns {name}"));
    run(&format!("ip addr add 198.18.{number}.1/24 dev {name}"));
    run(&format!("ip link set {name} up"));
    run(&format!("ip -n {name} link set lo up"));
    run(&format!("ip -n {name} addr add 198.18.{number}.2/24 dev eth0"));
    run(&format!("ip -n {name} link set eth0 up"));
    run(&format!("ip -n {name} route add default via 198.18.{number}.1"));
}

/// Cuts a node's line, or mends it.
pub fn set_line(number: u8, state: &str) {
    run(&format!("ip link set {} {state}", namespace(number)));
}

/// Lets no more through on a node's line than `rate`, in both directions; what does not fit in the queue is
/// dropped, as on a real line.
pub fn limit_line(number: u8, rate: &str) {
    let name = namespace(number);
    let tbf = format!("root tbf rate {rate} burst 8kb latency 300ms");
    run(&format!("tc qdisc add dev {name} {tbf}"));
    run(&format!("tc -n {name} qdisc add dev eth0 {tbf}"));
}

/// A program that runs `coalition` in a node's namespace, with the clock that the file beside it says.
pub fn program(folder: &Path, number: u8, coalition: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let (path, clock) = (folder.join(format!("node-{number}")), clock_file(folder, number));
    let library = faketime().unwrap_or_default();
    let name = namespace(number);
    let text = format!(
        "#!/bin/sh\nif [ -s {clock} ]; then\n  exec ip netns exec {name} env LD_PRELOAD={library} \
         FAKETIME=\"$(cat {clock})\" FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1 {coalition} \"$@\"\nfi\n\
         exec ip netns exec {name} {coalition} \"$@\"\n",
        clock = clock.display(),
        library = library.display(),
    );
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn clock_file(folder: &Path, number: u8) -> PathBuf {
    folder.join(format!("clock-{number}"))
}

/// Puts a node's clock off by so many seconds, from its next start on.
pub fn set_clock(folder: &Path, number: u8, seconds: i64) {
    let text = if seconds == 0 { String::new() } else { format!("{seconds:+}") };
    std::fs::write(clock_file(folder, number), text).unwrap();
}
