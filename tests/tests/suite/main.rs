//! What crosses crates, over real sockets and real files. One binary, so that it is linked once.

mod alliance;
mod architecture;
mod documents;
mod exchange;
mod query;
mod stored_formats;
