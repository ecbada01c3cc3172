//! `coalition run`: a node in the foreground.

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

use super::CliError;
use crate::auth::Auth;
use crate::config::DataDirectory;
use crate::webhooks::Webhooks;
use crate::{http, postgres, runtime};

/// How long the end of a node waits for its webhooks to be written.
const DELIVERING_GRACE: Duration = Duration::from_secs(5);

/// How a node is run.
#[derive(Debug, clap::Args)]
pub struct RunArguments {
    /// Data directory.
    #[arg(long)]
    pub data: PathBuf,
    /// Say that the journal is older than what this node has signed: a disk or a directory was put back
    /// from a copy. The node then asks more of the other brands before it signs again. Give it once;
    /// the node remembers.
    #[arg(long)]
    pub restored: bool,
    /// Stop when standard input ends: for a parent process that must not leave nodes behind.
    #[arg(long, hide = true)]
    pub until_stdin_ends: bool,
}

/// Where a running node listens, as it writes it into its data directory.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Addresses {
    /// For the other nodes.
    pub libp2p: SocketAddr,
    /// For people and programs.
    pub https: SocketAddr,
    /// For SQL clients, where it listens for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgres: Option<SocketAddr>,
}

/// Runs a node until a signal, the end of standard input if so asked, or an administrator stops it.
///
/// # Errors
/// When it does not start, or has to stop because its journal cannot be written.
pub async fn run(arguments: &RunArguments) -> Result<(), CliError> {
    let data = DataDirectory::new(&arguments.data);
    for (file, remedy) in [
        (data.settings_path(), "make a node there with `coalition init`"),
        (data.constitution(), "take one up with `coalition constitution adopt`"),
    ] {
        if !file.exists() {
            return Err(CliError::Input(format!("there is no {}: {remedy}", file.display())));
        }
    }
    let (settings, brand) = data.settings()?;
    let input = |error: &dyn std::fmt::Display| CliError::Input(error.to_string());
    let auth = Auth::open(&data.users()).map_err(|error| input(&error))?;
    auth.require_second_factor(&settings.desk.second_factor);
    let tls = settings.open_tls(&data).map_err(|error| input(&error))?;
    let restored = arguments.restored || data.restored().exists();
    let running = if restored {
        runtime::start_restored(&data).await?
    } else {
        runtime::start(&data).await?
    };
    let of_postgres = match settings.postgres {
        None => None,
        Some(address) => {
            let (node, metrics) = (running.node.clone(), running.metrics.clone());
            let served = postgres::serve(node, auth.clone(), metrics, address, &tls).await;
            let served = served.map_err(|source| {
                CliError::Input(format!("cannot listen for SQL clients at {address}: {source}"))
            })?;
            eprintln!("SQL clients at {}, over TLS: dbname=coalition", served.address);
            Some(served)
        }
    };
    let metrics = running.metrics.clone();
    let following = tokio::spawn(tls.clone().follow(metrics.clone()));
    let webhooks =
        Webhooks::open(&data.webhooks(), settings.webhooks.under(data.path()), metrics.clone());
    let webhooks = webhooks.map_err(|error| input(&error))?;
    let delivering = tokio::spawn(webhooks.clone().run(running.node.events().clone()));
    let following_users = tokio::spawn(running.node.clone().follow_users(auth.clone()));
    let options = http::ServeOptions { rate_limits: settings.rate_limits, metrics, webhooks };
    let served = http::serve(running.node.clone(), auth, settings.https, tls, options).map_err(
        |source| {
            CliError::Input(format!("cannot listen for HTTPS at {}: {source}", settings.https))
        },
    )?;
    if let Some(address) = settings.metrics {
        let metrics = http::serve_metrics(running.metrics.clone(), address).await;
        let (address, _) = metrics.map_err(|source| {
            CliError::Input(format!("cannot listen for /metrics at {address}: {source}"))
        })?;
        eprintln!("figures at http://{address}/metrics");
    }
    let addresses = Addresses {
        libp2p: running.network.local_address(),
        https: served.address,
        postgres: of_postgres.as_ref().map(|served| served.address),
    };
    let text = serde_json::to_vec(&addresses).map_err(|error| input(&error))?;
    data.write(&data.addresses(), &text)?;
    eprintln!(
        "{brand} listens: other nodes at {}, people at https://{}",
        addresses.libp2p, addresses.https
    );

    let mut runtime = running.runtime;
    let ended = tokio::select! {
        () = told_to_stop(arguments.until_stdin_ends) => None,
        ended = &mut runtime => Some(ended),
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            // the runtime answers when all that was taken is durable
            let _ = running.node.stop().await;
            runtime.await
        }
    };
    served.shutdown.begin();
    following.abort();
    following_users.abort();
    // what was not delivered is written; a disk that hangs is waited for no longer
    let _ = tokio::time::timeout(DELIVERING_GRACE, delivering).await;
    if let Some(served) = &of_postgres {
        served.stop();
    }
    // a node that was killed leaves the file; a client then finds nobody at the address
    let _ = std::fs::remove_file(data.addresses());
    match ended {
        Ok(Ok(())) => {
            // that it was restored is in its journal by now; had it been killed, it would be said again
            let _ = std::fs::remove_file(data.restored());
            Ok(())
        }
        Ok(Err(error)) => Err(CliError::Input(error.to_string())),
        Err(error) => Err(CliError::Input(format!("the node failed: {error}"))),
    }
}

/// Waits for SIGINT, SIGTERM or, if so asked, the end of standard input.
pub(super) async fn told_to_stop(until_stdin_ends: bool) {
    let interrupted = async {
        match signal(SignalKind::interrupt()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    let (ended, stdin_has_ended) = tokio::sync::oneshot::channel();
    if until_stdin_ends {
        // a thread of its own, since reading a pipe cannot be interrupted; it ends with the process
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            let mut stdin = std::io::stdin();
            while matches!(stdin.read(&mut buffer), Ok(read) if read > 0) {}
            let _ = ended.send(());
        });
    }
    let stdin_ended = async {
        if !until_stdin_ends || stdin_has_ended.await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = interrupted => {}
        () = terminated => {}
        () = stdin_ended => {}
    }
}
