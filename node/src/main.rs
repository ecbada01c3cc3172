//! The `coalition` binary.

fn main() {}
