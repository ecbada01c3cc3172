//! What crosses crates: end to end, the wire format, the architecture itself.
