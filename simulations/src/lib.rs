//! Whole alliances in one deterministic process.
