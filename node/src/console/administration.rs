//! The administrator's page: who may sign in and how, keys and their age, the latest backup and import,
//! constitutions on their way.

use askama::Template;

use super::text;
use super::{Frame, Language, Page, say};
use crate::auth::{Authorized, Person, perm};
use crate::service::{
    BackupView, ConstitutionView, ImportView, RotationView, SealingKeyView, Status,
};

/// Everything that the page is made from.
#[derive(Debug, Default)]
pub struct AdministrationViews {
    /// The state of the node.
    pub status: Status,
    /// Who may sign in.
    pub people: Vec<Person>,
    /// This brand's sealing keys.
    pub sealing_keys: Vec<SealingKeyView>,
    /// Whether the vault's key is being rotated.
    pub rotation: RotationView,
    /// The latest backup.
    pub backup: BackupView,
    /// The latest import.
    pub import: ImportView,
    /// Constitutions after the first, and drafts.
    pub constitutions: Vec<ConstitutionView>,
    /// What a form of the page did.
    pub done: Option<Administered>,
    /// Why it did not, in the node's words.
    pub problem: Option<String>,
}

/// What a form of the page did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Administered {
    /// A backup has begun.
    BackUp,
    /// There is a new sealing key.
    SealingKey,
    /// The vault's key is being rotated.
    VaultKey,
    /// The files of constitutions were read again.
    Constitutions,
}

#[derive(Template)]
#[template(path = "administration.html")]
struct AdministrationPage<'a> {
    frame: Frame<'a>,
    views: &'a AdministrationViews,
    language: Language,
}

say!(AdministrationPage);

impl AdministrationPage<'_> {
    fn time(&self, milliseconds: &u64) -> String {
        text::utc(*milliseconds).unwrap_or_else(|| "–".to_owned())
    }
    fn done(&self, done: &Administered) -> &'static str {
        match done {
            Administered::BackUp => self.say("备份已开始。", "The backup has begun."),
            Administered::SealingKey => {
                self.say("已启用新的密封密钥。", "There is a new sealing key.")
            }
            Administered::VaultKey => {
                self.say("保险库密钥轮换中。", "The vault's key is being rotated.")
            }
            Administered::Constitutions => {
                self.say("章程文件已重新读取。", "The files of constitutions were read again.")
            }
        }
    }
    fn roles(&self, person: &Person) -> String {
        person.roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(", ")
    }
    fn lacks(&self, person: &Person) -> bool {
        person.must_have_one && !person.second_factor
    }
}

/// The administrator's page; none only if rendering fails.
#[must_use]
pub fn administration_page(
    views: &AdministrationViews,
    language: Language,
    proof: &Authorized<perm::UseAdministrationPage>,
    pages: &[Page],
) -> Option<String> {
    let frame = Frame {
        user: Some(proof.user()),
        path: "/administration",
        pages: pages.to_vec(),
        ..Frame::new(&views.status, language)
    };
    AdministrationPage { frame, views, language }.render().ok()
}
