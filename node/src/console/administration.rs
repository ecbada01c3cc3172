//! The administrator's page: who may sign in and how, keys and their age, the latest backup and import,
//! constitutions on their way.

use askama::Template;

use super::text;
use super::users::does;
use super::{Frame, Language, Page, say};
use crate::auth::{Authorized, Person, perm};
use crate::service::{
    AdjustedRows, BackupView, ConstitutionView, DraftView, DroppedRows, ImportView, RotationView,
    SealingKeyView, Status,
};

/// Everything that the page is made from.
#[derive(Debug, Default)]
pub struct AdministrationViews {
    /// The state of the node.
    pub status: Status,
    /// Who may sign in.
    pub people: Vec<Person>,
    /// The names of all roles.
    pub roles: Vec<&'static str>,
    /// This brand's sealing keys.
    pub sealing_keys: Vec<SealingKeyView>,
    /// When the node's certificate ends, Unix milliseconds.
    pub certificate_ends_ms: u64,
    /// How many authorities vouch for clients' certificates, and when the first of them ends.
    pub client_authorities: Option<(usize, u64)>,
    /// When the first of the certificates ends that the node shows to others' servers, Unix milliseconds.
    pub shown_ends_ms: Option<u64>,
    /// Whether the vault's key is being rotated.
    pub rotation: RotationView,
    /// The latest backup.
    pub backup: BackupView,
    /// The latest import.
    pub import: ImportView,
    /// Constitutions after the first, and drafts.
    pub constitutions: Vec<ConstitutionView>,
    /// Drafts of the next, to be read, signed and decided on.
    pub drafts: Vec<DraftView>,
    /// Whether the administrator is asked for a code beside the password.
    pub has_second_factor: bool,
    /// What a form of the page did.
    pub done: Option<Administered>,
    /// Why it did not, in the node's words.
    pub problem: Option<String>,
}

/// What ends within this time is shown as ending soon: 30 days.
const NOTICE_MS: u64 = 30 * 86_400_000;

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
    /// So many sessions of a user were ended.
    Sessions(usize),
    /// A draft was forgotten.
    DraftRemoved,
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
    fn day(&self, seconds: &u64) -> String {
        let time = text::utc(seconds.saturating_mul(1000)).unwrap_or_default();
        time.chars().take(10).collect()
    }
    fn ends_soon(&self, milliseconds: &u64) -> bool {
        *milliseconds < self.views.status.now_ms.saturating_add(NOTICE_MS)
    }
    fn done(&self, done: &Administered) -> String {
        let words = match done {
            Administered::Sessions(count) => {
                return self
                    .say("已结束会话数：{}", "Sessions that were ended: {}")
                    .replace("{}", &count.to_string());
            }
            Administered::BackUp => self.say("备份已开始。", "The backup has begun."),
            Administered::SealingKey => {
                self.say("已启用新的封装密钥。", "There is a new sealing key.")
            }
            Administered::VaultKey => {
                self.say("保险库密钥轮换中。", "The vault's key is being rotated.")
            }
            Administered::Constitutions => {
                self.say("章程文件已重新读取。", "The files of constitutions were read again.")
            }
            Administered::DraftRemoved => self.say("草案已移除。", "The draft was removed."),
        };
        words.to_owned()
    }
    fn import_failed(&self) -> Option<&str> {
        let import = &self.views.import;
        let failed = import.failed.as_deref()?;
        Some(self.say(import.failed_zh.as_deref().unwrap_or(failed), failed))
    }
    fn rejected(&self) -> &[String] {
        match self.language {
            Language::Chinese => &self.views.import.rejected_zh,
            Language::English => &self.views.import.rejected,
        }
    }
    fn reason(&self, rows: &DroppedRows) -> String {
        self.say(&rows.reason_zh, &rows.reason).to_owned()
    }
    fn remedy(&self, rows: &DroppedRows) -> String {
        self.say(&rows.remedy_zh, &rows.remedy).to_owned()
    }
    fn what(&self, rows: &AdjustedRows) -> String {
        self.say(&rows.what_zh, &rows.what).to_owned()
    }
    fn draft_state(&self, draft: &DraftView) -> &'static str {
        match draft.state.as_str() {
            "unsigned" => self.say("等待加入品牌签名", "brands that join have to sign"),
            "ready" => self.say("可以表态", "can be adopted"),
            "taken" => self.say("已接收", "taken"),
            "passed" => self.say("已过期", "passed"),
            _ => "–",
        }
    }
    fn roles(&self, person: &Person) -> String {
        person.roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(", ")
    }
    fn does(&self, role: &str) -> &'static str {
        does(role, self.language)
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
