//! The node each brand runs.

pub mod config;
pub mod exchange;
pub mod intake;
pub mod journal;
pub mod keys;
pub mod net;
pub mod programme;
pub mod purchases;
pub mod runtime;
pub mod service;
pub mod setup;
pub mod store;
pub mod telemetry;
pub mod vault;
