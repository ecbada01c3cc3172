//! The node each brand runs.

pub mod journal;
pub mod store;
pub mod telemetry;
pub mod vault;
