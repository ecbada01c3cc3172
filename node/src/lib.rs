//! The node each brand runs.

pub mod auth;
pub mod cleanroom;
pub mod cli;
pub mod client;
pub mod config;
pub mod console;
pub mod constitutions;
pub mod exchange;
pub mod fragments;
pub mod http;
pub mod intake;
pub mod journal;
pub mod keys;
pub mod metrics;
pub mod net;
pub mod outside;
pub mod programme;
pub mod purchases;
pub mod runtime;
pub mod sealing_keys;
pub mod service;
pub mod setup;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod vault;
