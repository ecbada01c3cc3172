//! The node each brand runs.

pub mod journal;
