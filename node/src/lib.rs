//! The node each brand runs.
