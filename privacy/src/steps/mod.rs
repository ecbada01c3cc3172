pub(crate) mod entry;
pub use entry::*;
