//! The operations on drafts of the next constitution, as the loop takes them.
//!
//! Files and signatures are [`crate::drafts`]', adoption is the ledger's: here both are put side by side for people,
//! and a decision goes the way that `coalition constitution take` goes.

use alliance_config::Name;
use protocol::epochs::DraftReference;
use protocol::epochs::adoption::Stance;
use protocol::ids::{BrandId, ConstitutionHash};
use protocol::ledger::{DraftProgress, StanceError};

use super::core::{Turn, internal};
use super::{Runtime, answer};
use crate::config::DataDirectory;
use crate::constitutions::{Known, KnownError};
use crate::drafts::{self, Draft, DraftError};
use crate::service::*;
use crate::setup::{self, SetupError};

/// What is known of drafts at a moment.
struct Standing {
    known: Known,
    progress: Vec<DraftProgress>,
    /// What this brand has decided, whether or not its log has said so.
    own: Vec<(ConstitutionHash, Stance)>,
}

impl Runtime {
    pub(super) fn draft_command(&mut self, command: DraftCommand, turn: &mut Turn) {
        match command {
            DraftCommand::All { reply } => answer(turn, reply, self.draft_views()),
            DraftCommand::One { hash, reply } => answer(turn, reply, self.draft_view(&hash)),
            DraftCommand::Files { hash, reply } => answer(turn, reply, self.draft_files(&hash)),
            DraftCommand::Keep { request, reply } => {
                let kept = self.changed_draft(|data, known, _| {
                    let signatures = request.signatures.unwrap_or_default();
                    drafts::keep(
                        data,
                        known,
                        request.constitution.as_bytes(),
                        signatures.as_bytes(),
                    )
                });
                answer(turn, reply, kept);
            }
            DraftCommand::AddSignatures { hash, signatures, reply } => {
                let signed = self.changed_draft(|data, known, _| {
                    let draft = drafts::one(data, known, &hash)?;
                    drafts::sign_with(data, draft, signatures.as_bytes())
                });
                answer(turn, reply, signed);
            }
            DraftCommand::Sign { hash, reply } => {
                let signed = self.changed_draft(|data, known, me| {
                    drafts::sign(data, drafts::one(data, known, &hash)?, me)
                });
                answer(turn, reply, signed);
            }
            DraftCommand::Decide { hash, adopts, reply } => {
                let stance = if adopts { Stance::Adopted } else { Stance::Declined };
                let decided = self.decide_draft(&hash, stance, turn);
                answer(turn, reply, decided);
            }
            DraftCommand::Remove { hash, reply } => {
                let data = &self.following.data;
                let removed = Known::read(data)
                    .map_err(DraftError::from)
                    .and_then(|known| drafts::remove(data, &drafts::one(data, &known, &hash)?));
                answer(turn, reply, removed.map_err(|error| refused(&error)));
            }
        }
    }

    fn standing(&self) -> Result<Standing, ServiceError> {
        let data = &self.following.data;
        let known = Known::read(data).map_err(|error| unreadable(&error))?;
        let own = known.stances(data).map_err(|error| unreadable(&error))?;
        Ok(Standing { known, progress: self.core.ledger.progress(), own })
    }

    /// Those that may still be decided on, and what was uploaded.
    fn draft_views(&self) -> Result<Vec<DraftView>, ServiceError> {
        let standing = self.standing()?;
        let held = drafts::all(&self.following.data, &standing.known);
        let held = held.map_err(|error| refused(&error))?;
        let newest = self.core.ledger.constitutions().newest().epoch();
        // what was taken and is over is a constitution, or the logs' business
        let shown =
            held.iter().filter(|it| !it.is_taken || it.constitution.ledger().epoch() > newest);
        shown.map(|draft| self.view_of(draft, &standing)).collect()
    }

    fn draft_view(&self, hash: &str) -> Result<DraftView, ServiceError> {
        let standing = self.standing()?;
        let draft = drafts::one(&self.following.data, &standing.known, hash);
        self.view_of(&draft.map_err(|error| refused(&error))?, &standing)
    }

    fn draft_files(&self, hash: &str) -> Result<DraftFiles, ServiceError> {
        let standing = self.standing()?;
        let draft = drafts::one(&self.following.data, &standing.known, hash);
        let draft = draft.map_err(|error| refused(&error))?;
        // it was parsed as UTF-8: nothing is replaced
        let constitution = String::from_utf8_lossy(draft.bytes()).into_owned();
        Ok(DraftFiles { constitution, signatures: draft.signatures().to_text() })
    }

    /// Changes the files of a draft, and shows it.
    fn changed_draft(
        &self,
        change: impl FnOnce(&DataDirectory, &Known, BrandId) -> Result<Draft, DraftError>,
    ) -> Result<DraftView, ServiceError> {
        let standing = self.standing()?;
        let changed = change(&self.following.data, &standing.known, self.core.me());
        self.view_of(&changed.map_err(|error| refused(&error))?, &standing)
    }

    /// Takes a draft and says what this brand decided. A log says it once.
    fn decide_draft(
        &mut self,
        hash: &str,
        stance: Stance,
        turn: &mut Turn,
    ) -> Result<DraftView, ServiceError> {
        let standing = self.standing()?;
        let data = self.following.data.clone();
        let draft = drafts::one(&data, &standing.known, hash).map_err(|error| refused(&error))?;
        if draft.constitution.ledger().epoch() <= self.core.ledger.constitutions().newest().epoch()
        {
            return Err(ServiceError::new(
                ErrorKind::Refused,
                "draft_passed",
                "a constitution of this number is in force already / 该期章程已生效",
                "draft again from the one in force, with `coalition constitution next` / 请从现行章程重新起草",
            ));
        }
        let said = standing.said_by(&draft, self.core.me(), self.core.me());
        if said.is_some_and(|said| said != stance) {
            return Err(ServiceError::new(
                ErrorKind::Conflict,
                "draft_decided",
                "this brand has decided on the draft already / 本品牌已就该草案表态",
                "a log says once what its brand decided; see who has adopted it / 日志只表态一次，请查看各品牌通过情况",
            ));
        }
        let (toml, signatures) = draft.to_take(&data).map_err(|error| refused(&error))?;
        // before a file says so: what cannot be said now would be said when the node is started again
        match self.core.ledger.may_state(DraftReference::to(draft.constitution.ledger()), stance) {
            Ok(()) | Err(StanceError::Stated(_)) => {}
            Err(error) => return Err(not_said(&error)),
        }
        let taken = setup::take(&data, &toml, Some(&signatures), Some(stance));
        let taken = taken.map_err(|error| not_taken(&error))?;
        drafts::forget(&data, &taken.hash()).map_err(|error| refused(&error))?;
        self.read_constitutions(turn)?;
        self.draft_view(hash)
    }

    fn view_of(&self, draft: &Draft, standing: &Standing) -> Result<DraftView, ServiceError> {
        let me = self.core.me();
        let data = &self.following.data;
        let has_own_keys =
            drafts::names_own_keys(data, draft, me).map_err(|error| refused(&error))?;
        let ledger = draft.constitution.ledger();
        let newest = self.core.ledger.constitutions().newest();
        let state = if ledger.epoch() <= newest.epoch() {
            "passed"
        } else if draft.is_taken {
            "taken"
        } else if draft.missing().next().is_some() {
            "unsigned"
        } else {
            "ready"
        };
        let previous = ledger.succession().previous;
        let before = previous.and_then(|hash| standing.known.get(&hash));
        let name = |brand: BrandId| {
            let after = draft.constitution.profile(brand);
            let before = before.and_then(|before| before.profile(brand));
            after.or(before).map(|profile| bilingual(&profile.name)).unwrap_or_default()
        };
        let brands = ledger.brands().map(|(brand, _)| brand).chain(draft.leaving.iter().copied());
        let brands = brands.map(|brand| DraftBrandView {
            brand: brand.to_string(),
            name: name(brand),
            place: place(draft, brand).to_owned(),
            signed: draft.is_signed_by(brand),
            stance: standing.said_by(draft, brand, me).map(|said| word(said).to_owned()),
        });
        let topics = alliance_config::Topic::ALL.into_iter();
        // those of one topic together
        let lines = topics.flat_map(|topic| {
            draft.comparison.lines.iter().filter(move |line| line.topic == topic)
        });
        let changes = lines.map(|line| DraftChangeView {
            topic: line.topic.name().to_owned(),
            words: Bilingual { zh: line.words.zh.clone(), en: line.words.en.clone() },
        });
        let when = draft.comparison.when();
        let needed = before.map_or(0, |before| before.ledger().committee().quorum());
        Ok(DraftView {
            hash: draft.hash().to_string(),
            epoch: ledger.epoch().get(),
            follows: previous.map(|hash| hash.to_string()).unwrap_or_default(),
            state: state.to_owned(),
            when: Bilingual { zh: when.zh, en: when.en },
            changes: changes.collect(),
            brands: brands.collect(),
            needed: u32::try_from(needed).unwrap_or(u32::MAX),
            has_own_keys,
        })
    }
}

impl Standing {
    /// What a brand says of a draft: what its log has said, or, of this brand, what it is about to say.
    fn said_by(&self, draft: &Draft, brand: BrandId, me: BrandId) -> Option<Stance> {
        let hash = draft.hash();
        let of_draft = self.progress.iter().find(|it| it.draft.constitution == hash);
        let certified = of_draft.and_then(|it| {
            if it.adopted.contains(&brand) {
                Some(Stance::Adopted)
            } else if it.declined.contains(&brand) {
                Some(Stance::Declined)
            } else {
                None
            }
        });
        let own = || self.own.iter().find(|(of, _)| *of == hash && brand == me);
        certified.or_else(|| own().map(|(_, stance)| *stance))
    }
}

const fn word(stance: Stance) -> &'static str {
    match stance {
        Stance::Adopted => "adopted",
        Stance::Declined => "declined",
    }
}

fn place(draft: &Draft, brand: BrandId) -> &'static str {
    if draft.joining.contains(&brand) {
        "joins"
    } else if draft.leaving.contains(&brand) {
        "leaves"
    } else {
        "stays"
    }
}

fn bilingual(name: &Name) -> Bilingual {
    Bilingual { zh: name.zh().to_owned(), en: name.en().to_owned() }
}

fn unreadable(error: &KnownError) -> ServiceError {
    tracing::error!(error = %error, "the constitutions of the data directory cannot be read");
    internal()
}

/// Why something was not done with a draft, for who asked for it.
fn refused(error: &DraftError) -> ServiceError {
    let new = |kind, code, remedy: &str| ServiceError::new(kind, code, error.to_string(), remedy);
    match error {
        DraftError::File(_) | DraftError::Keys(_) | DraftError::Known(_) => {
            tracing::error!(error = %error, "a draft cannot be read or written");
            internal()
        }
        DraftError::Malformed(_) | DraftError::Sign(alliance_config::SignError::File(_)) => new(
            ErrorKind::Invalid,
            "draft_malformed",
            "send the file as its author made it, unchanged / 请上传作者原文件，勿改动",
        ),
        DraftError::Orphan => new(
            ErrorKind::Refused,
            "draft_orphan",
            "take the one that it follows first, with `coalition constitution take`, or draft again from the one in force / 请先接收其所承接的章程，或从现行章程重新起草",
        ),
        DraftError::Succession(_) => new(
            ErrorKind::Refused,
            "draft_cannot_follow",
            "draft again from the one in force, with `coalition constitution next` / 请从现行章程重新起草",
        ),
        DraftError::Signatures(_) => new(
            ErrorKind::Refused,
            "draft_signatures",
            "nothing was taken: a signature is over the very bytes of this file, by the governance key that it has for the brand / 未接收：签名须由草案所列治理密钥对本文件原文字节作出",
        ),
        DraftError::Sign(alliance_config::SignError::NotNamed) => new(
            ErrorKind::Refused,
            "draft_other_keys",
            "draft again from what `coalition keys next` prints / 请用 coalition keys next 的输出重新起草",
        ),
        DraftError::TooMany => new(
            ErrorKind::Conflict,
            "drafts_too_many",
            "remove those that are looked at no more / 请移除不再需要的草案",
        ),
        DraftError::Unknown => {
            new(ErrorKind::NotFound, "draft_unknown", "see the list of drafts / 请查看草案列表")
        }
        DraftError::Taken => new(
            ErrorKind::Conflict,
            "draft_taken",
            "decline it, or let the alliance adopt another / 请表态不通过，或由联盟通过另一份",
        ),
    }
}

/// Why this brand's log cannot say it now; nothing was taken.
fn not_said(error: &StanceError) -> ServiceError {
    ServiceError::new(
        ErrorKind::Refused,
        "draft_not_now",
        format!("nothing was said: {error} / 未表态：{error}"),
        "wait for the drafts and constitutions before it; see `coalition constitution status` / 请等待在前的草案与章程，见 coalition constitution status",
    )
}

fn not_taken(error: &SetupError) -> ServiceError {
    match error {
        SetupError::Constitution(_) | SetupError::Known(KnownError::Unusable { .. }) => {
            ServiceError::new(
                ErrorKind::Refused,
                "draft_not_taken",
                error.to_string(),
                "see docs/operate: drafting, signing and taking a constitution / 参见 docs/operate：章程的起草、签署与接收",
            )
        }
        other => {
            tracing::error!(error = %other, "a draft cannot be taken");
            internal()
        }
    }
}
