//! The constitution of an alliance: validated, signed, collected.

pub mod sample;
