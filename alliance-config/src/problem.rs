//! What can be wrong with a file, each with what would be right.

use privacy::contract::{CARRIERS_MIN, ContractError};
use protocol::constitution::ConstitutionError;
use protocol::ids::BrandId;

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Over the size cap.
    #[error("the file has more than {most} bytes, the most that are read")]
    TooLarge {
        /// The cap.
        most: usize,
    },
    /// Not UTF-8.
    #[error("the text is not UTF-8; save the file as UTF-8")]
    NotUtf8,
    /// Not TOML, or a key is missing, unknown, or of another form; the parser's own words.
    #[error("{0}")]
    Form(String),
    /// A format this version does not know.
    #[error(
        "format {found} is unknown to this version, which reads format {FORMAT}; use a newer one"
    )]
    Format {
        /// As given.
        found: u64,
    },
    /// A rule of the ledger.
    #[error("{0}")]
    Ledger(ConstitutionError),
    /// One limit makes another useless.
    #[error(
        "brand {brand} may owe one other brand more than all together; raise total_limit_fen or \
         lower pair_limit_fen"
    )]
    LimitOrder {
        /// The brand.
        brand: BrandId,
    },
    /// Something is said of a brand that is not there.
    #[error("{brand} is no brand of the alliance; correct the id or remove what is said of it")]
    UnknownBrand {
        /// As given.
        brand: BrandId,
    },
    /// An auditor cannot be told from a brand or another auditor.
    #[error("auditor {auditor}: name and key must differ from every brand's and other auditor's")]
    Auditor {
        /// Its name.
        auditor: BrandId,
    },
    /// A day from which an auditor's key would count is out of range.
    #[error("auditor {auditor}: a key cannot count from a day before 1970")]
    AuditorDay {
        /// Its name.
        auditor: BrandId,
    },
    /// A time of the day of cut-offs that are not there.
    #[error(
        "there are no cut-offs that this would be the time of: write `cut_offs = \"monthly\"`, \"weekly\" \
         or \"daily\" beside it, or leave it out"
    )]
    CutOffTime,
    /// Too few brands for joint questions.
    #[error(
        "{found} brands cannot ask joint questions, with fewer than {CARRIERS_MIN} one learns the \
         other's share; remove [clean_room] or bring in another brand"
    )]
    CleanRoomBrands {
        /// How many there are.
        found: usize,
    },
    /// A rule of the clean room.
    #[error("{}", without_place(.0))]
    CleanRoom(ContractError),
    /// An introduction that is not signed by its own governance key.
    #[error(
        "the governance key has not signed this introduction: it was changed after it was made, or \
         cut short; ask its brand for a new one (`coalition init` makes it)"
    )]
    IntroductionSignature,
    /// An introduction without its last part.
    #[error(
        "there is no line [signature]: the file was cut short, or its line ends were changed; ask \
         its brand for the whole file, as it was made"
    )]
    IntroductionUnsigned,
    /// A first constitution that names one before, or a later one that names none.
    #[error(
        "every constitution but the first names the one before: epoch 1 has no `previous`, a later \
         one has its hash"
    )]
    Previous,
    /// No notice in an alliance that does not say that it is a trial.
    #[error(
        "members would not be told of changes at all: 1 to 366 days, or, while there are no real \
         members, `trial = true` beside it"
    )]
    NoNotice,
    /// Two entries of one brand in a signatures file.
    #[error("{brand} is there twice; keep the newer entry")]
    SignatureTwice {
        /// The brand.
        brand: BrandId,
    },
}

/// The one format there is, of all files.
pub const FORMAT: u64 = 0;

/// A contract error names its place first, which stands in front of the message already.
fn without_place(error: &ContractError) -> String {
    let text = error.to_string();
    let place = contract_place(error);
    text.strip_prefix(place).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(&text).to_owned()
}

/// Where in the contract, dotted.
pub(crate) fn contract_place(error: &ContractError) -> &str {
    match error {
        ContractError::Name { at, .. }
        | ContractError::Duplicate { at, .. }
        | ContractError::Count { at, .. }
        | ContractError::UnknownCarrier { at, .. }
        | ContractError::Bound { at, .. }
        | ContractError::Unreachable { at, .. }
        | ContractError::Range { at, .. } => at,
        ContractError::Profile => "profile",
    }
}
