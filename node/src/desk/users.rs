//! Who may sign in, in the operation log: whatever becomes of the users' file is entered, whoever wrote it.
//!
//! The file is changed by whoever owns the data directory, also while no node runs; so what it was is kept here, and held
//! against what it is. What was changed and put back between two looks is not seen; a password that is set again is
//! another, one that is put back with the file is not. A second factor is another when its
//! secret is, and not when a recovery code of it was spent. Who did it is not known here: what goes through the console is
//! entered beside it with its author ([`Node::record_user_change`](crate::service::Node::record_user_change)); on the
//! machine that is the system's to record.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use protocol::time::Timestamp;

use super::{Deed, Desk, DeskError, NODE, Note};
use crate::auth::UserStanding;
use crate::store::{Keyspace, Write};

const USERS: Keyspace = "desk_user";
/// More than a users' file can have.
const USERS_MAX: usize = 100_000;
/// What the log says of a password that somebody else has set.
const FOR_ONE_USE: &str = "for one use";

/// A user as the log has told of one.
#[derive(PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
struct Known {
    #[n(0)]
    name: String,
    #[n(1)]
    roles: Vec<String>,
    // marks of ways in
    #[n(2)]
    password: String,
    #[n(3)]
    second_factor: bool,
    #[n(4)]
    database_password: Option<String>,
    #[n(5)]
    certificates: Vec<String>,
    // none: written before it was kept
    #[n(6)]
    one_use_password: Option<bool>,
    // of the second factor's secret; none where there is no factor, or it was written before it was kept
    #[n(7)]
    second_factor_mark: Option<String>,
}

impl Known {
    fn of(user: &UserStanding) -> Self {
        Self {
            name: user.name.clone(),
            roles: user.roles.iter().map(ToString::to_string).collect(),
            password: user.password.clone(),
            second_factor: user.second_factor.is_some(),
            database_password: user.database_password.clone(),
            certificates: user.certificates.clone(),
            one_use_password: Some(user.one_use_password),
            second_factor_mark: user.second_factor.clone(),
        }
    }

    fn is_for_one_use(&self) -> bool {
        self.one_use_password == Some(true)
    }

    /// What is told of a user who was this before.
    fn changes_from(&self, before: &Self) -> Vec<Note> {
        let name = &self.name;
        let mut notes = Vec::new();
        let mut changed = |what: String, (before, after): (Option<String>, Option<String>)| {
            notes.push(note(what).changed(before, after));
        };
        if self.roles != before.roles {
            let roles = (before.roles.join(", "), self.roles.join(", "));
            changed(format!("roles of user {name}"), both(roles));
        }
        if self.password != before.password {
            let after = self.is_for_one_use().then(|| FOR_ONE_USE.to_owned());
            changed(format!("another password of user {name}"), (None, after));
        } else if let (Some(is), Some(was)) = (self.one_use_password, before.one_use_password)
            && is != was
        {
            // the mark alone: somebody has written in the file, or a program became a person or the other way round
            let word = |one_use: bool| one_use.then(|| FOR_ONE_USE.to_owned());
            changed(format!("password of user {name}"), (word(was), word(is)));
        }
        if self.second_factor != before.second_factor {
            let word = |there: bool| String::from(if there { "set up" } else { "none" });
            let words = (word(before.second_factor), word(self.second_factor));
            changed(format!("second factor of user {name}"), both(words));
        } else if let (Some(mark), Some(was)) =
            (&self.second_factor_mark, &before.second_factor_mark)
            && mark != was
        {
            changed(format!("another second factor of user {name}"), (None, None));
        }
        if self.database_password != before.database_password {
            let word = |mark: &Option<String>| match mark {
                Some(_) => "there".to_owned(),
                None => "none".to_owned(),
            };
            let words = (word(&before.database_password), word(&self.database_password));
            changed(format!("database password of user {name}"), both(words));
        }
        if self.certificates != before.certificates {
            let numbers =
                (before.certificates.len().to_string(), self.certificates.len().to_string());
            changed(format!("client certificates of user {name}"), both(numbers));
        }
        notes
    }
}

fn both((before, after): (String, String)) -> (Option<String>, Option<String>) {
    (Some(before), Some(after))
}

fn note(what: String) -> Note {
    Note::new(NODE, Deed::User, what)
}

impl Desk {
    /// Enters in what these users differ from those who were told of; gives how many entries that took. A user's entries
    /// and that they were made are one transaction: what fails is told later, and nothing twice.
    ///
    /// # Errors
    /// When the store or a key fails.
    pub fn users_are(&self, users: &[UserStanding], at: Timestamp) -> Result<usize, DeskError> {
        let known: Vec<Known> = self.sealed.scan(USERS, None, USERS_MAX)?;
        let mut before: BTreeMap<String, Known> =
            known.into_iter().map(|user| (user.name.clone(), user)).collect();
        let mut entries = 0;
        for found in users.iter().map(Known::of) {
            let notes = match before.remove(&found.name) {
                Some(was) if was == found => continue,
                Some(was) => found.changes_from(&was),
                None => {
                    let added = note(format!("user {} may sign in", found.name));
                    let mut notes = vec![added.changed(None, Some(found.roles.join(", ")))];
                    if found.is_for_one_use() {
                        let what = format!("password of user {}", found.name);
                        notes.push(note(what).changed(None, Some(FOR_ONE_USE.to_owned())));
                    }
                    notes
                }
            };
            entries += notes.len();
            let known = self.sealed.write(USERS, found.name.as_bytes(), &found)?;
            self.note_with(notes, &[known], at)?;
        }
        for gone in before.into_values() {
            let removed = note(format!("user {} was taken out", gone.name));
            entries += 1;
            let removed = removed.changed(Some(gone.roles.join(", ")), None);
            let forgotten = Write::delete(USERS, gone.name.as_bytes());
            self.note_with(vec![removed], &[forgotten], at)?;
        }
        Ok(entries)
    }
}
