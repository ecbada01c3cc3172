//! The page of one user: what it may do and how it signs in, and the forms with which an administrator changes that.

use askama::Template;
use zeroize::Zeroizing;

use super::{Frame, Language, Page, say, text};
use crate::auth::{Authorized, Person, perm};
use crate::service::Status;

/// Everything that the page is made from.
#[derive(Debug, Default)]
pub struct UserViews {
    /// The state of the node.
    pub status: Status,
    /// The name that was asked for.
    pub name: String,
    /// Who has it; none when nobody does.
    pub person: Option<Person>,
    /// A box for each role.
    pub roles: Vec<RoleBox>,
    /// Whether the administrator is asked for a code beside the password.
    pub has_second_factor: bool,
    /// A password that was just made; it is on this page and nowhere else.
    pub password: Option<MadePassword>,
    /// What a form did.
    pub done: Option<UserDone>,
    /// Why it did not, in the node's words.
    pub problem: Option<String>,
}

/// A role that can be ticked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleBox {
    /// Its name.
    pub name: &'static str,
    /// Whether the user has it.
    pub is_ticked: bool,
}

/// A password that was just made.
pub struct MadePassword(pub Zeroizing<String>);

impl std::fmt::Debug for MadePassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // it opens the node
        f.write_str("MadePassword(..)")
    }
}

impl MadePassword {
    /// It, for the page.
    fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a form of the page did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserDone {
    /// The user is there.
    Added,
    /// It has other roles.
    Roles,
    /// It has another password.
    Password,
    /// It has no second factor any more.
    SecondFactor,
    /// It is gone.
    Removed,
    /// So many sessions were ended.
    Sessions(usize),
}

#[derive(Template)]
#[template(path = "user.html")]
struct UserPage<'a> {
    frame: Frame<'a>,
    views: &'a UserViews,
    language: Language,
}

say!(UserPage);

impl UserPage<'_> {
    fn done(&self, done: &UserDone) -> String {
        let words = match done {
            UserDone::Sessions(count) => {
                return self
                    .say("已结束会话数：{}", "Sessions that were ended: {}")
                    .replace("{}", &count.to_string());
            }
            UserDone::Added => self.say("用户已添加。", "The user was added."),
            UserDone::Roles => self.say(
                "角色已更改；该用户须重新登录。",
                "The roles were changed; the user has to sign in again.",
            ),
            UserDone::Password => self.say(
                "口令已更换；原口令与会话随即失效。",
                "The password was replaced; the former one and all sessions have ended.",
            ),
            UserDone::SecondFactor => self.say(
                "第二因素已取消：该用户仅凭口令登录，请其尽快重新设置。",
                "The second factor was taken away: the user signs in by the password alone. Let another be set up soon.",
            ),
            UserDone::Removed => self.say("用户已移除。", "The user was removed."),
        };
        words.to_owned()
    }
    fn does(&self, role: &str) -> &'static str {
        does(role, self.language)
    }
    fn day(&self, seconds: &u64) -> String {
        let time = text::utc(seconds.saturating_mul(1000)).unwrap_or_default();
        time.chars().take(10).collect()
    }
}

/// What a role is for.
pub(super) fn does(role: &str, language: Language) -> &'static str {
    let (zh, en) = match role {
        "administrator" => ("管理节点与用户", "runs the node, manages users"),
        "partner" => ("兑换、清分、积分规则", "exchanges, clearing, rules of the programme"),
        "analyst" => ("提出联合问题", "asks joint questions"),
        "officer" => ("合规、会员请求与台账", "compliance, members' requests, records"),
        "store" => ("柜台", "the counter"),
        _ => ("品牌自己的应用程序，不供人使用", "the brand's own app, not for people"),
    };
    match language {
        Language::Chinese => zh,
        Language::English => en,
    }
}

/// The page of a user; none only if rendering fails.
#[must_use]
pub fn user_page(
    views: &UserViews,
    language: Language,
    proof: &Authorized<perm::UseAdministrationPage>,
    pages: &[Page],
) -> Option<String> {
    // a name that nobody has is no part of an address
    let path = match &views.person {
        Some(person) => format!("/administration/users/{}", person.name),
        None => "/administration".to_owned(),
    };
    let frame = Frame {
        user: Some(proof.user()),
        path: &path,
        pages: pages.to_vec(),
        ..Frame::new(&views.status, language)
    };
    UserPage { frame, views, language }.render().ok()
}
