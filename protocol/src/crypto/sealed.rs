//! Sealed payloads.
