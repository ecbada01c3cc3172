//! What crosses crates, over real sockets and real files. One binary, so that it is linked once.

mod alliance;
mod architecture;
mod bench;
mod decoders;
mod documents;
mod exchange;
mod flood;
mod members;
mod partners;
mod publication;
mod query;
mod rebuild;
mod stock;
mod stored_formats;
mod succession;
