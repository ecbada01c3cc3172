//! Who may do what: roles, permissions, and the token that proves a check was made.

use std::fmt;
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a person does at a brand. A user has one or more.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Runs the node: imports, stops it. Sees no member and moves no points.
    Administrator,
    /// The partner's finance clerk: exchanges, clearing.
    Partner,
    /// Asks joint questions.
    Analyst,
    /// Compliance officer: reads what others do, answers members' requests and erases, keeps the records that
    /// the law asks for, discloses blocks to auditors.
    Officer,
    /// Staff at the counter: members, links, exchanges for a member.
    Store,
    /// The brand's own app or mini-program, which knows who its member is: begins members' sessions,
    /// tells what was seen of people. Also a till's or customer system that sends rows. Not for people.
    App,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 6] =
        [Self::Administrator, Self::Partner, Self::Analyst, Self::Officer, Self::Store, Self::App];

    /// Its name in files, requests and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::Partner => "partner",
            Self::Analyst => "analyst",
            Self::Officer => "officer",
            Self::Store => "store",
            Self::App => "app",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for Role {
    type Err = InvalidRole;
    fn from_str(text: &str) -> Result<Self, InvalidRole> {
        Self::ALL.into_iter().find(|role| role.name() == text).ok_or(InvalidRole)
    }
}

/// A text is not the name of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a role: administrator, partner, analyst, officer, store or app")]
pub struct InvalidRole;

/// Something that may be permitted. Its implementors are in [`perm`] and nowhere else.
pub trait Permission: sealed::Sealed {
    /// Its name.
    const NAME: &'static str;
    /// The roles that have it.
    const ROLES: &'static [Role];
    /// Whether it is given to who still has to set up a second factor.
    const BEFORE_SECOND_FACTOR: bool = false;
    /// Whether it is given to who still has to replace a password for one use by an own one.
    const BEFORE_OWN_PASSWORD: bool = false;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! permissions {
    ($($(#[$doc:meta])* $name:ident: $($role:ident)|+ $(, $factor:literal, $password:literal)?;)*) => {
        /// The permissions, each a type: the role table.
        pub mod perm {
            use super::{Permission, Role, sealed::Sealed};
            $(
                $(#[$doc])*
                #[derive(Debug)]
                pub enum $name {}
                impl Sealed for $name {}
                impl Permission for $name {
                    const NAME: &'static str = stringify!($name);
                    const ROLES: &'static [Role] = &[$(Role::$role),+];
                    $(
                        const BEFORE_SECOND_FACTOR: bool = $factor;
                        const BEFORE_OWN_PASSWORD: bool = $password;
                    )?
                }
            )*
        }
    };
}

permissions! {
    /// End one's own session.
    EndSession: Administrator | Partner | Analyst | Officer | Store | App, true, true;
    /// Set one's own password.
    SetOwnPassword: Administrator | Partner | Analyst | Officer | Store | App, true, true;
    /// Set up one's own second factor.
    SetUpSecondFactor: Administrator | Partner | Analyst | Officer | Store | App, true, false;
    /// See the state of the node.
    ReadStatus: Administrator | Partner | Analyst | Officer | Store | App;
    /// See exactly how many members and purchases there are. Not for analysts, nor for programs: one more or less is
    /// somebody.
    ReadSizes: Administrator | Partner | Officer | Store;
    /// Import members and purchases, and see how it went.
    ImportData: Administrator;
    /// Send rows of members and purchases, as tills and customer systems do, and see what became of them.
    SendBatches: Administrator | App;
    /// See members' cards, points and links.
    ReadMembers: Store;
    /// Link members' accounts to other brands.
    ManageMembers: Store;
    /// Read what is to be told to members, for the brand's own messages.
    PushNotices: Store | App;
    /// See what the brand holds of a member, each field as the table of fields says.
    ReadMemberRecords: Store | Officer;
    /// Enrol members at the counter.
    EnrolMembers: Store;
    /// Correct what is known of members, review pairs, merge and part them, on a member's word.
    CorrectMembers: Store;
    /// Begin sessions of members whom the app has recognised, tell what was seen of people.
    BeginMemberSessions: App;
    /// Do for a member in the programme what the member has asked the app for.
    ActForAppsMembers: App;
    /// Hand out codes with which members open their own pages.
    HandOutMemberCodes: Store | App;
    /// Enter members' requests.
    TakeRequests: Store | Officer;
    /// See and answer members' requests, erase members, put them under a legal hold.
    AnswerRequests: Officer;
    /// See who did what with members' data, and what is unusual in it.
    ReadOperations: Officer;
    /// Keep the record of impact assessments and breaches.
    KeepRecords: Officer;
    /// Rotate the key of the vault.
    RotateVaultKey: Administrator;
    /// Exchange a member's points.
    ExchangePoints: Store;
    /// See exchanges and their receipts.
    ReadExchanges: Partner | Officer | Store;
    /// Let an auditor open blocks of this brand's log.
    Disclose: Officer;
    /// See which sealing keys there are.
    ReadKeys: Administrator | Officer;
    /// Turn and destroy sealing keys.
    ManageKeys: Administrator;
    /// See constitutions and what the brands say of them.
    ReadConstitutions: Administrator | Partner | Officer;
    /// Let the node read the constitutions that its operator has put there, and say what it decided.
    TakeConstitutions: Administrator;
    /// See disputes, and how this brand stands with each other.
    ReadPartners: Administrator | Partner | Officer;
    /// Propose and agree to what a dispute comes to.
    ResolveDisputes: Partner;
    /// Agree that the log of a brand that lied or failed be closed for good.
    ClosePartners: Partner;
    /// Agree that a brand that is suspended from joint questions be asked again.
    ReadmitPartners: Partner;
    /// Enter this brand's closing.
    CloseCycle: Partner;
    /// State and confirm the payments of a clearing statement.
    SettleClearings: Partner;
    /// See clearing statements.
    ReadClearings: Partner | Officer;
    /// Plan and run joint questions, which spends privacy budget.
    RunQueries: Analyst;
    /// See joint questions and their answers.
    ReadQueries: Analyst | Officer;
    /// See of every question what was asked, when and by whom; without it that of one's own.
    ReadAskedTexts: Officer;
    /// Follow what happens to exchanges, questions and clearings, and that there are notices: each role the kind that it
    /// may read.
    ReadEvents: Partner | Analyst | Officer | Store | App;
    /// Say who is sent what happens to exchanges, questions and clearings, and that there are notices.
    ManageWebhooks: Administrator;
    /// See the console's page of positions, exchanges and clearing.
    SeePartnerPage: Partner | Officer;
    /// See the console's compliance report.
    SeeOfficerPage: Officer;
    /// Have the node audit copies of all logs, and see what it found.
    AuditLogs: Officer;
    /// See the console's page of requests, operations, breaches and assessments, and do there what the API
    /// lets the role do.
    UseRecordsPage: Officer;
    /// See the console's page of users, keys, backups and constitutions, and do there what the API lets the
    /// role do.
    UseAdministrationPage: Administrator;
    /// See who may sign in, add and remove users, change their roles, replace passwords, take second factors away, end
    /// sessions.
    ManageUsers: Administrator;
    /// See every brand's privacy budget.
    ReadBudgets: Administrator | Analyst | Officer;
    /// See what may be asked, and saved questions.
    ReadDatasets: Administrator | Partner | Analyst | Officer | Store;
    /// See exact figures of this brand's own members. Not for analysts: theirs are noised.
    ReadFigures: Partner | Store;
    /// See what this brand takes part in and answers.
    ReadPolicy: Administrator | Analyst | Officer;
    /// Let the node read the policy that its operator has put there.
    TakePolicy: Administrator;
    /// Make a backup of the node's data on its own machine.
    BackUp: Administrator;
    /// See the programme's books and campaigns.
    ReadProgramme: Administrator | Partner | Officer;
    /// Propose rules of the programme, set the stock of rewards.
    ManageProgramme: Partner;
    /// Enter a purchase at the counter.
    EnterPurchases: Store;
    /// See the console's page for the counter, and do there what the API lets the role do.
    UseCounterPage: Store;
    /// Correct a member's balance, alone or with another's consent.
    AdjustPoints: Store;
    /// See corrections of balances.
    ReadAdjustments: Store | Partner | Officer;
    /// Decide on corrections that wait for a second person.
    DecideAdjustments: Partner | Officer;
    /// Bring members' balances from a programme of before, as a second person at least; to enter them first is for who
    /// manages the programme.
    BringOpenings: Partner | Officer;
    /// Review what looks like fraud, answer members' requests.
    ReviewProgramme: Partner | Officer;
    /// See the console's page of reviews, and do there what the API lets the role do.
    UseReviewsPage: Partner | Officer;
    /// See the console's pages of rules, segments and campaigns, and do there what the API lets the role do.
    UseProgrammePages: Partner;
    /// Stop the node.
    StopNode: Administrator;
}

/// Proof that someone with permission `P` asks. Only [`super::Session::authorize`] makes one.
pub struct Authorized<P> {
    user: String,
    roles: Vec<Role>,
    permission: PhantomData<fn() -> P>,
}

impl<P: Permission> Authorized<P> {
    /// The one place where such a token comes from.
    pub(super) fn check(user: &str, roles: &[Role]) -> Option<Self> {
        P::ROLES.iter().any(|role| roles.contains(role)).then(|| Self {
            user: user.to_owned(),
            roles: roles.to_vec(),
            permission: PhantomData,
        })
    }

    /// Who asks.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// In which roles.
    #[must_use]
    pub fn roles(&self) -> &[Role] {
        &self.roles
    }

    /// Whether whoever asks has another permission beside: for a part of what is shown.
    #[must_use]
    pub fn also<Q: Permission>(&self) -> bool {
        Q::ROLES.iter().any(|role| self.roles.contains(role))
    }
}

impl<P: Permission> fmt::Debug for Authorized<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorized<{}>", P::NAME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duties_are_separate() {
        let admin = [Role::Administrator];
        assert!(Authorized::<perm::StopNode>::check("a", &admin).is_some());
        assert!(Authorized::<perm::ExchangePoints>::check("a", &admin).is_none());
        assert!(Authorized::<perm::ReadMembers>::check("a", &admin).is_none());
        // a till sends rows, and reaches no file of the node's machine
        let till = Authorized::<perm::SendBatches>::check("till", &[Role::App]).unwrap();
        assert!(!till.also::<perm::ImportData>() && !till.also::<perm::StopNode>());
        assert!(Authorized::<perm::SendBatches>::check("a", &[Role::Store]).is_none());
        assert!(Authorized::<perm::RunQueries>::check("a", &[Role::Officer]).is_none());
        assert!(Authorized::<perm::ReadFigures>::check("a", &[Role::Analyst]).is_none());
        let reads_texts = |roles: &[Role]| {
            let proof = Authorized::<perm::ReadQueries>::check("a", roles).unwrap();
            proof.also::<perm::ReadAskedTexts>()
        };
        assert!(reads_texts(&[Role::Officer]) && !reads_texts(&[Role::Analyst]));
        assert!(Authorized::<perm::ReadStatus>::check("a", &[]).is_none());
        for role in Role::ALL {
            let proof = Authorized::<perm::ReadStatus>::check("a", &[role]).unwrap();
            let is_noised = matches!(role, Role::Analyst | Role::App);
            assert_eq!(proof.also::<perm::ReadSizes>(), !is_noised, "{role:?}");
        }
    }

    #[test]
    fn names_parse_back() {
        for role in Role::ALL {
            assert_eq!(role.name().parse(), Ok(role));
            assert_eq!(serde_json::to_value(role).unwrap(), role.name());
        }
        assert_eq!("root".parse::<Role>(), Err(InvalidRole));
    }
}
