//! The node each brand runs.

pub mod journal;
pub mod net;
pub mod store;
pub mod telemetry;
pub mod vault;
