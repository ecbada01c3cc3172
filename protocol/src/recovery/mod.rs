//! A log from what others hold of it, when its writer cannot be asked.
//!
//! Every witness of a block holds the block's header, its certificate and its own fragment of the body.
//! Whoever lacks blocks of a log (a witness while the writer is away, a writer whose disk is lost) asks the
//! others for theirs ([`held`]), collects fragments height by height and decodes from any that are
//! enough ([`collector`]). What comes is judged by signatures and roots, not by who brought it: a liar's
//! fragment is ignored, and it takes more than f of them to keep a block back. Fragments that are under
//! the header's root and decode to something else than the header says prove that its writer lied
//! ([`contradiction`]).
//!
//! Does not know where blocks are kept, nor who may read what is sealed in them.

pub mod collector;
pub mod contradiction;
pub mod held;

#[cfg(test)]
mod tests;
