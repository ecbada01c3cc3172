//! Nodes in network namespaces of their own, and what goes wrong between and under them: a partition, a slow line,
//! a clock that is off, a full disk, a certificate that ends.
//!
//! Every node is a process of the real binary. The lines between them are veth pairs with a token bucket
//! (`tc tbf`); delay, silence and loss are made by a relay in this process, for the kernels that these tests
//! run on have no `netem`. After each the accounts are what was asked for, and the offline audit finds nothing.

mod alliance;
mod network;
mod relay;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use node::cli::bench::card;
use node::client::ClientError;
use node::service::ExchangeRequest;
use node::tls;

use self::alliance::{PATIENCE, Separated, eventually};
use self::network::{Needs, in_namespaces};
use self::relay::Way;

const SILENT: Way = Way { delay: Duration::ZERO, silent: true, lost_per_mille: 0 };
const CLEAR: Way = Way { delay: Duration::ZERO, silent: false, lost_per_mille: 0 };

/// Of five brands four are needed: of a half neither side goes on, of one and four the four do. Both sides take what
/// is asked of them, and when the way is clear again it all becomes final, once.
#[test]
fn a_partition_stops_what_lacks_a_quorum_and_heals() {
    let name = "namespaces::a_partition_stops_what_lacks_a_quorum_and_heals";
    in_namespaces(name, Needs::Network, async || {
        let mut alliance = Separated::running(5).await;
        let first = alliance.exchange(1, 2, 0, 3).await;
        alliance.acknowledged(&[first]).await;

        // nobody is told: connections stay and nothing comes
        alliance.relay.set_between(&[1, 2, 3], &[4, 5], SILENT);
        let waiting = [
            alliance.exchange(1, 2, 0, 5).await,
            alliance.exchange(4, 5, 1, 7).await,
            alliance.exchange(2, 5, 2, 11).await,
        ];
        eventually("both sides say that there is no quorum", async || {
            for number in [1, 4] {
                let readiness = alliance.readiness(number).await;
                if !readiness.reasons.iter().any(|reason| reason == "quorum_unreachable") {
                    return false;
                }
            }
            true
        })
        .await;
        let alerts = alliance.status(4).await.alerts;
        assert!(alerts.iter().any(|alert| alert.contains("exchanges wait")), "{alerts:?}");
        for place in waiting {
            assert_eq!(alliance.state(place).await, "held");
        }
        // what is asked for meanwhile is taken, too
        let late = alliance.exchange(5, 1, 3, 13).await;

        alliance.relay.set_between(&[1, 2, 3], &[4, 5], CLEAR);
        alliance.acknowledged(&waiting).await;
        alliance.acknowledged(&[late]).await;
        eventually("every node is ready", async || {
            for number in alliance.numbers() {
                if !alliance.readiness(number).await.ready {
                    return false;
                }
            }
            true
        })
        .await;

        // one alone, its line cut: the others go on without it
        network::set_line(3, "down");
        let among_four = [
            alliance.exchange(1, 2, 0, 17).await,
            alliance.exchange(4, 1, 1, 19).await,
            alliance.exchange(5, 4, 2, 23).await,
        ];
        alliance.acknowledged(&among_four).await;
        // points for it are final, and wait for it
        let to_the_one = alliance.exchange(2, 3, 3, 29).await;
        eventually("the exchange is final", async || alliance.state(to_the_one).await == "final")
            .await;
        network::set_line(3, "up");
        alliance.acknowledged(&[to_the_one]).await;
        let back = alliance.exchange(3, 1, 0, 31).await;
        alliance.acknowledged(&[back]).await;
        alliance.end().await;
    });
}

/// One brand behind a narrow, far, unreliable line: the others do not wait for it, and what it does becomes final as
/// well.
#[test]
fn a_slow_peer_holds_up_nobody_but_itself() {
    let name = "namespaces::a_slow_peer_holds_up_nobody_but_itself";
    in_namespaces(name, Needs::Network, async || {
        let mut alliance = Separated::running(4).await;
        network::limit_line(4, "512kbit");
        let far = Way { delay: Duration::from_millis(400), silent: false, lost_per_mille: 20 };
        alliance.relay.set_between(&[4], &[1, 2, 3], far);

        let mut fast = Vec::new();
        for round in 0..12 {
            let (from, to) = (1 + round % 3, 1 + (round + 1) % 3);
            let place = alliance.exchange(from, to, u32::from(round % 4), 3).await;
            fast.push(alliance.acknowledged(&[place]).await);
        }
        fast.sort_unstable();
        let slow_one = alliance.exchange(4, 1, 0, 5).await;
        let slow = alliance.acknowledged(&[slow_one]).await;
        println!("acknowledged among three in {:?} (median), by the slow one in {slow:?}", fast[6]);
        // its block goes there and back at least twice: to all for their votes, and for their commits
        assert!(slow >= 3 * far.delay, "{slow:?}");
        // did they wait for it, each would take as long; whatever else runs here may hold up some of them
        assert!(fast[0] < slow, "{fast:?} {slow:?}");
        let to_it = alliance.exchange(2, 4, 1, 7).await;
        alliance.acknowledged(&[to_it]).await;
        alliance.end().await;
    });
}

/// At most so many times two brands write a block that a node whose clock is off may refuse.
const ROUNDS: u32 = 200;

/// A node whose clock is five minutes off: the others go on without it and it says so. Of one that is before the others the
/// blocks are refused by the rule about time, and what it had taken becomes final once its clock is right; of one that is behind they
/// are not while its last block is young, as no block is earlier than the one before it.
#[test]
fn a_clock_that_is_off_by_minutes_is_told_and_set_right() {
    let name = "namespaces::a_clock_that_is_off_by_minutes_is_told_and_set_right";
    in_namespaces(name, Needs::Clock, async || {
        let mut alliance = Separated::running(4).await;
        for off in [300, -300] {
            alliance.restart_with_clock(4, off).await;
            let there = alliance.status(4).await.now_ms;
            let here = alliance.status(1).await.now_ms;
            let apart = i128::from(there) - i128::from(here);
            assert!((apart - i128::from(off) * 1000).abs() < 20_000, "{apart}");

            let began = Instant::now();
            let own = alliance.exchange(4, 1, 1, 5).await;
            // a block that is certified before it comes here is nobody's to refuse: there is always a next one
            let mut told = false;
            for _ in 0..ROUNDS {
                let among_three =
                    [alliance.exchange(1, 2, 0, 3).await, alliance.exchange(2, 3, 2, 7).await];
                alliance.acknowledged(&among_three).await;
                let alerts = alliance.status(4).await.alerts;
                told = alerts.iter().any(|alert| alert.contains("clock"));
                if told {
                    break;
                }
            }
            assert!(told, "its operator is not told of the clock");
            // the others do not take their own for wrong
            let alerts = alliance.status(1).await.alerts;
            assert!(!alerts.iter().any(|alert| alert.contains("clock")), "{alerts:?}");
            // five minutes less the one that clocks may differ: by then it is of the present
            let state = alliance.state(own).await;
            if off > 0 && began.elapsed() < Duration::from_secs(200) {
                assert_eq!(state, "held");
            }

            alliance.restart_with_clock(4, 0).await;
            alliance.acknowledged(&[own]).await;
            let after = alliance.exchange(4, 2, 3, 11).await;
            alliance.acknowledged(&[after]).await;
            eventually("nothing needs its operator's eye", async || {
                alliance.status(4).await.alerts.is_empty()
            })
            .await;
        }
        alliance.end().await;
    });
}

/// A full disk stops the node before it promises what it cannot keep; the others go on, and with room again it starts and
/// has everything that it had said.
#[test]
fn a_full_disk_stops_a_node_and_costs_nothing() {
    let name = "namespaces::a_full_disk_stops_a_node_and_costs_nothing";
    in_namespaces(name, Needs::Network, async || {
        let mut alliance = Separated::make(4).await;
        let directory = alliance.data(4).path().to_owned();
        on_small_disk(&directory, "96m");
        // what the node says is kept elsewhere: on the full disk there is room for it by chance alone
        std::os::unix::fs::symlink(directory.with_extension("log"), directory.join("node.log"))
            .unwrap();
        alliance.start_all().await;
        let before = alliance.exchange(4, 1, 0, 3).await;
        alliance.acknowledged(&[before]).await;

        let ballast = directory.join("ballast");
        fill(&ballast);
        // the node may take a few while its files have room in their last pages
        let mut refused = None;
        let began = Instant::now();
        while refused.is_none() {
            assert!(began.elapsed() < PATIENCE, "a node with a full disk goes on");
            match alliance.try_exchange(4, 2, 1, 1).await {
                Ok(_) => fill(&ballast),
                Err(error) => refused = Some(error),
            }
        }
        let refused = refused.unwrap();
        assert!(!matches!(refused, ClientError::Answer { .. }), "{refused}");
        let pending = alliance.next_key();
        eventually("the node has stopped", async || alliance.has_ended(4)).await;
        let log = std::fs::read_to_string(directory.join("node.log")).unwrap();
        assert!(log.contains("journal") || log.contains("store"), "{log}");

        // a start on the full disk says why it does not
        let said = alliance.start_fails(4).await;
        assert!(said.contains("space") || said.contains("written"), "{said}");
        let others = alliance.exchange(1, 2, 2, 5).await;
        alliance.acknowledged(&[others]).await;

        std::fs::remove_file(&ballast).unwrap();
        alliance.start(4).await;
        // the one without an answer: asked again with its key, it is done once, whether it was taken or not
        let request = ExchangeRequest { card: card(1), to: alliance.brand(2), points: 1 };
        alliance.insist(4, &pending, request).await;
        alliance.nothing_is_lost_or_there_twice().await;
        for number in alliance.numbers() {
            alliance.stop(number).await;
        }
        off_small_disk(&directory);
        alliance.start_all().await;
        alliance.end().await;
    });
}

/// A certificate that ends shuts out who pins it, and nobody else: the nodes go on among themselves. It is replaced while
/// the node runs.
#[test]
fn a_certificate_that_ends_is_replaced_while_the_node_goes_on() {
    let name = "namespaces::a_certificate_that_ends_is_replaced_while_the_node_goes_on";
    in_namespaces(name, Needs::Network, async || {
        let mut alliance = Separated::running(4).await;
        let directory = alliance.data(1).path().to_owned();
        // long enough to serve with it and to take an exchange; where it is not, another is made
        let life = Duration::from_secs(30);
        let tls = alliance.data(1).tls();
        let mut made = Instant::now();
        short_lived_certificate(&tls, life);
        eventually("the node serves with it", async || {
            if made.elapsed() > life / 2 {
                made = Instant::now();
                short_lived_certificate(&tls, life);
            }
            alliance.connect_anew(1).await.is_ok()
        })
        .await;
        // whether it is acknowledged is asked when there is a certificate again
        let before = alliance.exchange(1, 2, 0, 3).await;

        tokio::time::sleep((life + Duration::from_secs(2)).saturating_sub(made.elapsed())).await;
        let refused = alliance.connect_anew(1).await.unwrap_err().to_string();
        assert!(refused.contains("cannot be reached"), "{refused}");
        let checked = coalition(&["check", "--data", &directory.display().to_string()]);
        let said = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert!(!checked.status.success(), "{said}");
        let told = said.lines().find(|line| line.contains("certificate")).unwrap();
        assert!(told.starts_with("error") && told.contains("keys certificate"), "{told}");
        // the others do not need it
        let to_it = alliance.exchange(2, 1, 1, 5).await;
        let among = alliance.exchange(3, 4, 2, 7).await;
        alliance.acknowledged(&[to_it, among]).await;

        let host = network::own(1, 0).ip().to_string();
        let data = directory.display().to_string();
        let renewed = coalition(&["keys", "certificate", "--data", &data, "--host", &host]);
        assert!(renewed.status.success(), "{renewed:?}");
        eventually("the node serves with the new one", async || {
            alliance.connect_anew(1).await.is_ok()
        })
        .await;
        assert!(!alliance.has_ended(1), "it was not started again");
        alliance.acknowledged(&[before]).await;
        assert!(coalition(&["check", "--data", &data]).status.success());
        alliance.end().await;
    });
}

fn coalition(arguments: &[&str]) -> std::process::Output {
    Command::new(super::BINARY).args(arguments).output().unwrap()
}

/// Puts a certificate in the place of a node's that ends soon.
fn short_lived_certificate(directory: &Path, life: Duration) {
    let names = vec![tls::PINNED_NAME.to_owned()];
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    let now = std::time::SystemTime::now();
    params.not_before = (now - Duration::from_secs(3600)).into();
    params.not_after = (now + life).into();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    for (file, text) in
        [(tls::KEY_FILE, key.serialize_pem()), (tls::CERTIFICATE_FILE, certificate.pem())]
    {
        let part = directory.join("part");
        std::fs::write(&part, text).unwrap();
        std::fs::rename(part, directory.join(file)).unwrap();
    }
}

/// Moves a directory to a file system of its own.
fn on_small_disk(directory: &Path, size: &str) {
    let aside = directory.with_extension("aside");
    std::fs::rename(directory, &aside).unwrap();
    std::fs::create_dir(directory).unwrap();
    network::run(&format!("mount -t tmpfs -o size={size},mode=700 none {}", directory.display()));
    network::run(&format!("cp -a {}/. {}", aside.display(), directory.display()));
    std::fs::remove_dir_all(aside).unwrap();
}

fn off_small_disk(directory: &Path) {
    let aside = directory.with_extension("aside");
    std::fs::create_dir(&aside).unwrap();
    network::run(&format!("cp -a {}/. {}", directory.display(), aside.display()));
    network::run(&format!("umount {}", directory.display()));
    std::fs::remove_dir(directory).unwrap();
    std::fs::rename(aside, directory).unwrap();
}

/// Fills the file system that a file is on.
fn fill(path: &Path) {
    let command = format!("cat /dev/zero >> {} 2>/dev/null", path.display());
    // it ends with the disk's end
    let _ = Command::new("sh").args(["-c", &command]).status().unwrap();
}
