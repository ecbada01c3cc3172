//! The constitution of an alliance: validated, signed, collected.
//!
//! The way a constitution comes into force:
//! 1. every brand writes its [`introduction`] and sends it to whoever drafts;
//! 2. [`draft()`] puts the introductions and the alliance's [`Settings`] into `constitution.toml`;
//! 3. every brand reads it, checks it ([`Constitution::parse`]) and [`sign`]s it;
//! 4. [`collect`] puts the signatures into `constitution.signatures` and says who is missing;
//! 5. [`load`] gives a node the [`Ratified`] constitution once all have signed.
//!
//! Works on texts and bytes: where files are kept, and how keys are made and stored, is the node's
//! business. Committed examples of every released format are in `formats/`, and keep loading.

mod constitution;
mod document;
mod draft;
pub mod introduction;
mod problem;
mod raw;
mod signatures;
#[cfg(test)]
mod testing;
mod text;

pub mod sample;

pub mod sample_alliance;

pub use constitution::{BrandProfile, CleanRoom, Constitution};
pub use document::{Document, FileError, Place};
pub use draft::{DraftError, SETTINGS_TEMPLATE, Settings, draft};
pub use introduction::Introduction;
pub use problem::{FORMAT, Problem};
pub use signatures::{
    Collected, LoadError, Ratified, SIGNED_DOMAIN, SignError, SignatureEntry, SignatureProblem,
    SignatureProblems, Signatures, collect, load, sign,
};
pub use text::{Address, Host, InvalidAddress, InvalidName, NAME_MAX_CHARACTERS, Name};
