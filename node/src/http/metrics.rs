//! The node's figures for a collector: `GET /metrics` in the text format of Prometheus, at an address of
//! its own, in the clear and without sign-in. Off unless the operator names the address, which ought to
//! be one that only the collector reaches; no figure is about a person.

use std::io;
use std::net::SocketAddr;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::{Router, routing};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::metrics::Metrics;

/// Serves a node's figures at an address until the task is aborted.
///
/// # Errors
/// When the address cannot be listened at.
pub async fn serve_metrics(
    metrics: Metrics,
    address: SocketAddr,
) -> io::Result<(SocketAddr, JoinHandle<io::Result<()>>)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let router = Router::new().route("/metrics", routing::get(figures)).with_state(metrics);
    let task = tokio::spawn(async move { axum::serve(listener, router).await });
    Ok((address, task))
}

async fn figures(State(metrics): State<Metrics>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render())
}
