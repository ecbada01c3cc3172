//! What crosses crates, over real sockets and real files. One binary, so that it is linked once.

mod alliance;
mod architecture;
mod attacks;
mod bench;
mod browser;
mod console;
mod decoders;
mod documents;
mod exchange;
mod flood;
mod local;
mod members;
mod partners;
mod postgres_clients;
mod programme;
mod publication;
mod query;
mod rebuild;
mod stock;
mod storage;
mod stored_formats;
mod succession;
mod surface;
