//! The constitution of an alliance: validated, signed, collected.
//!
//! The way a constitution comes into force:
//! 1. every brand writes its [`introduction`] and sends it to whoever drafts;
//! 2. [`draft()`] puts the introductions and the alliance's [`Settings`] into `constitution.toml`;
//! 3. every brand reads it, checks it ([`Constitution::parse`]) and [`sign`]s it;
//! 4. [`collect`] puts the signatures into `constitution.signatures` and says who is missing;
//! 5. [`load`] gives a node the [`Ratified`] constitution once all have signed.
//!
//! A later constitution is drafted from the one before ([`draft_next`]), read in words ([`compare`]),
//! signed by the brands that join with it, and adopted by a quorum of the others in their logs; [`load_next`]
//! gives it to a node.
//!
//! Works on texts and bytes: where files are kept, and how keys are made and stored, is the node's
//! business. Committed examples of every released format are in `formats/`, and keep loading.

mod constitution;
mod cut_offs;
mod document;
mod draft;
pub mod introduction;
mod problem;
pub mod questions;
mod raw;
mod signatures;
mod succession;
#[cfg(test)]
mod testing;
mod text;
mod words;

pub mod sample;

pub mod sample_alliance;

pub use constitution::{BrandProfile, CleanRoom, Constitution};
pub use cut_offs::{CutOffs, Period};
pub use document::{Document, FileError, Place};
pub use draft::{DraftError, SETTINGS_TEMPLATE, Settings, draft};
pub use introduction::Introduction;
pub use problem::{FORMAT, Problem};
pub use signatures::{
    Collected, LoadError, Ratified, SIGNED_DOMAIN, SignError, SignatureEntry, SignatureProblem,
    SignatureProblems, Signatures, collect, load, sign,
};
pub use succession::{
    Comparison, FollowError, NextError, Parting, compare, draft_freezing, draft_next,
    draft_parting, load_next,
};
pub use text::{Address, Host, InvalidAddress, InvalidName, NAME_MAX_CHARACTERS, Name};
pub use words::{Line, Sentence, Topic};

/// A public sealing key as the files write it, for an auditor's entry in the settings.
#[must_use]
pub fn sealing_key_text(key: &protocol::crypto::sealed::SealingKey) -> String {
    text::x25519::to_text(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files of every format ever released keep loading, with the same meaning.
    #[test]
    fn format_0_loads() {
        let ratified = load(
            include_bytes!("../formats/v0/constitution.toml"),
            include_bytes!("../formats/v0/constitution.signatures"),
        )
        .unwrap();
        let constitution = ratified.constitution();
        assert_eq!(
            constitution.hash().to_string(),
            "a914691eba656cc6aa93fa3c555fa5e911568bd14a82f666ac826c723e0a8a95"
        );
        let ledger = constitution.ledger();
        assert_eq!((ledger.alliance().as_str(), ledger.epoch().get()), ("sample", 1));
        assert_eq!((ledger.committee().size(), ledger.payload_size()), (5, 160));
        assert_eq!(ledger.total_step().get(), 10_000_000_000);
        assert_eq!(ledger.return_window().get(), 72 * 3_600_000);
        assert_eq!(constitution.clearing_zone().iana_name(), Some("Asia/Shanghai"));
        assert_eq!(constitution.cut_offs(), None);
        let contract = constitution.clean_room().unwrap().contract();
        assert_eq!((contract.dataset(), contract.tables().len()), ("purchases_2017", 1));

        let text = include_bytes!("../formats/v0/introduction.toml");
        let introduction = Introduction::parse(text).unwrap();
        assert_eq!(Some(introduction.profile()), constitution.profile(introduction.id()));
        let member = ledger.brand(introduction.id()).unwrap();
        assert_eq!(&member.keys, introduction.keys());
        assert_eq!(member.point_value, introduction.point_value());
        let settings = Settings::parse(include_bytes!("../formats/v0/alliance.toml")).unwrap();
        assert_eq!(settings.alliance(), ledger.alliance());
    }
}
