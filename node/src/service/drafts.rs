//! Drafts of the next constitution: what they change, who has signed, and what this brand says of them.

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use utoipa::ToSchema;

use super::{Asker, Bilingual, Command, Node, Reply, ServiceError};
use crate::desk::{Deed, Note};
use crate::runtime::now;

/// A draft of the next constitution, as its author sent it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DraftRequest {
    /// `constitution.toml`, unchanged: signatures are over its very bytes. At most 1 MiB.
    pub constitution: String,
    /// `constitution.signatures`, or one brand's part of it. At most 64 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signatures: Option<String>,
}

/// Signatures under a draft.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DraftSignaturesRequest {
    /// `constitution.signatures`, or one brand's part of it. At most 64 KiB.
    pub signatures: String,
}

/// One change that a draft makes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DraftChangeView {
    /// Of what: `brands`, `keys`, `rates`, `limits`, `budget`, `contract`, `notice`, `auditors`, `names` or `ledger`.
    #[schema(example = "rates")]
    pub topic: String,
    /// The change, with what it was and what it becomes.
    pub words: Bilingual,
}

/// A brand of a draft, or of the constitution before it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DraftBrandView {
    /// The brand.
    pub brand: String,
    /// Its name.
    pub name: Bilingual,
    /// `stays`, `joins` or `leaves`.
    #[schema(example = "stays")]
    pub place: String,
    /// Whether its signature is here, and holds.
    pub signed: bool,
    /// What its log says, certified: `adopted` or `declined`; of this brand also what it is about to say.
    pub stance: Option<String>,
}

/// A draft of the next constitution.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DraftView {
    /// Its hash: SHA-256 of the file, hex.
    pub hash: String,
    /// Its number.
    pub epoch: u32,
    /// The hash of the one that it follows.
    pub follows: String,
    /// `unsigned`: brands that join have not signed yet. `ready`: it can be adopted. `taken`: the node holds it, and
    /// has said what this brand decided, or can. `passed`: another of its number is in force.
    #[schema(example = "ready")]
    pub state: String,
    /// When it takes effect.
    pub when: Bilingual,
    /// What it changes.
    pub changes: Vec<DraftChangeView>,
    /// The brands, those that leave among them.
    pub brands: Vec<DraftBrandView>,
    /// How many adoptions it needs.
    pub needed: u32,
    /// Whether it has this brand with keys that are here: then this brand can sign.
    pub has_own_keys: bool,
}

impl DraftView {
    /// How many of its brands have signed.
    #[must_use]
    pub fn signed(&self) -> usize {
        self.brands.iter().filter(|brand| brand.signed).count()
    }

    /// How many of its brands' logs have adopted it.
    #[must_use]
    pub fn adopted(&self) -> usize {
        let adopted = |brand: &&DraftBrandView| brand.stance.as_deref() == Some("adopted");
        self.brands.iter().filter(adopted).count()
    }

    /// Whether a brand has decided on it.
    #[must_use]
    pub fn is_decided_by(&self, id: &str) -> bool {
        self.brand(id).is_some_and(|brand| brand.stance.is_some())
    }

    /// A brand of it.
    #[must_use]
    pub fn brand(&self, id: &str) -> Option<&DraftBrandView> {
        self.brands.iter().find(|brand| brand.brand == id)
    }
}

/// The files of a draft, to be handed on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DraftFiles {
    /// `constitution.toml`.
    pub constitution: String,
    /// `constitution.signatures`: those that are here.
    pub signatures: String,
}

/// One operation on drafts.
#[allow(missing_docs)] // each is described at the operation of [`Node`] that sends it
pub enum DraftCommand {
    All { reply: Reply<Vec<DraftView>> },
    One { hash: String, reply: Reply<DraftView> },
    Files { hash: String, reply: Reply<DraftFiles> },
    Keep { request: DraftRequest, reply: Reply<DraftView> },
    AddSignatures { hash: String, signatures: String, reply: Reply<DraftView> },
    Sign { hash: String, reply: Reply<DraftView> },
    Decide { hash: String, adopts: bool, reply: Reply<DraftView> },
    Remove { hash: String, reply: Reply<()> },
}

impl Node {
    async fn of_drafts<T>(
        &self,
        command: impl FnOnce(Reply<T>) -> DraftCommand,
    ) -> Result<T, ServiceError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Drafts(command(reply));
        self.commands.send(command).await.map_err(|_| ServiceError::stopped())?;
        answer.await.map_err(|_| ServiceError::stopped())?
    }

    /// Drafts of the next constitution, those that this brand has taken among them.
    ///
    /// # Errors
    /// See [`ServiceError`]; also when the node is stopping.
    pub async fn drafts(&self) -> Result<Vec<DraftView>, ServiceError> {
        self.of_drafts(|reply| DraftCommand::All { reply }).await
    }

    /// One draft, by its hash.
    ///
    /// # Errors
    /// See [`ServiceError`]; also when the node is stopping.
    pub async fn draft(&self, hash: String) -> Result<DraftView, ServiceError> {
        self.of_drafts(|reply| DraftCommand::One { hash, reply }).await
    }

    /// The files of a draft.
    ///
    /// # Errors
    /// See [`ServiceError`]; also when the node is stopping.
    pub async fn draft_files(&self, hash: String) -> Result<DraftFiles, ServiceError> {
        self.of_drafts(|reply| DraftCommand::Files { hash, reply }).await
    }

    /// Keeps a draft to look at; one that is here already takes up the signatures. Binds nobody.
    ///
    /// # Errors
    /// See [`ServiceError`]; also when the node is stopping.
    pub async fn keep_draft(&self, request: DraftRequest) -> Result<DraftView, ServiceError> {
        self.of_drafts(|reply| DraftCommand::Keep { request, reply }).await
    }

    /// Puts signatures under a draft: all of them, or none when one does not hold.
    ///
    /// # Errors
    /// See [`ServiceError`]; also when the node is stopping.
    pub async fn add_draft_signatures(
        &self,
        hash: String,
        signatures: String,
    ) -> Result<DraftView, ServiceError> {
        self.of_drafts(|reply| DraftCommand::AddSignatures { hash, signatures, reply }).await
    }

    /// Signs a draft with this brand's governance key. Who signs has been asked once more who that is.
    ///
    /// # Errors
    /// See [`ServiceError`]; also when it cannot be entered in the operation log: nothing was then signed.
    pub async fn sign_draft(&self, by: &Asker, hash: String) -> Result<DraftView, ServiceError> {
        let draft = self.draft(hash.clone()).await?;
        // what is refused is no deed
        let noted = draft.has_own_keys;
        if noted {
            self.note_draft(by, "signed", &draft).await?;
        }
        let done = self.of_drafts(|reply| DraftCommand::Sign { hash, reply }).await;
        if let Err(error) = &done
            && noted
        {
            self.note_refused(&by.user, Deed::Constitution, &subject(&draft), error).await;
        }
        done
    }

    /// Takes a draft, and says in this brand's log whether it adopts it. Who decides has been asked once more who that
    /// is. What a log says once stays.
    ///
    /// # Errors
    /// See [`ServiceError`]; also when it cannot be entered in the operation log: nothing was then said.
    pub async fn decide_draft(
        &self,
        by: &Asker,
        hash: String,
        adopts: bool,
    ) -> Result<DraftView, ServiceError> {
        let draft = self.draft(hash.clone()).await?;
        let open = ["ready", "taken"].contains(&draft.state.as_str())
            && !draft.is_decided_by(self.brand.as_str());
        if open {
            self.note_draft(by, if adopts { "adopted" } else { "declined" }, &draft).await?;
        }
        let of_draft = hash.clone();
        let done = self.of_drafts(|reply| DraftCommand::Decide { hash, adopts, reply }).await;
        if let Err(error) = &done
            && open
            // what is kept of it, whatever went wrong afterwards, is said in the log
            && self.draft(of_draft).await.is_ok_and(|it| !it.is_decided_by(self.brand.as_str()))
        {
            self.note_refused(&by.user, Deed::Constitution, &subject(&draft), error).await;
        }
        done
    }

    /// Forgets a draft that this brand has not taken.
    ///
    /// # Errors
    /// See [`ServiceError`]; also when the node is stopping.
    pub async fn remove_draft(&self, hash: String) -> Result<(), ServiceError> {
        self.of_drafts(|reply| DraftCommand::Remove { hash, reply }).await
    }

    /// Enters in the operation log what is about to be done with a draft.
    async fn note_draft(
        &self,
        by: &Asker,
        done: &'static str,
        draft: &DraftView,
    ) -> Result<(), ServiceError> {
        let what = format!("{} {done}", subject(draft));
        let (by, at) = (by.user.clone(), now());
        self.at_desk(move |desk| desk.note(Note::new(&by, Deed::Constitution, what), at).map(drop))
            .await
    }
}

fn subject(draft: &DraftView) -> String {
    format!("draft {} of constitution {}", draft.hash, draft.epoch)
}
