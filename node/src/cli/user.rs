//! `coalition user`: who may sign in at a node, in its data directory.
//!
//! Whoever may write the data directory decides who may sign in; so this is also the way back of a lost
//! administrator. A running node takes a change up with the next request. Passwords are never arguments:
//! one is made and printed once, or read from standard input.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::PathBuf;

use serde::Serialize;
use zeroize::Zeroizing;

use super::{CliError, Io};
use crate::auth::{Auth, PASSWORD_MAX, Role, generate_password};
use crate::config::DataDirectory;
use crate::tls;

/// What to do with users.
#[derive(Debug, clap::Subcommand)]
pub enum UserCommand {
    /// List everybody who may sign in, one JSON object a line.
    List {
        /// Data directory.
        #[arg(long)]
        data: PathBuf,
    },
    /// Add a user; unless it has chosen the password itself, an own one has to be set at the first sign-in.
    Add {
        #[command(flatten)]
        /// Whom.
        user: UserArguments,
        /// A role; give it again for more of them.
        #[arg(long = "role", required = true)]
        roles: Vec<Role>,
        #[command(flatten)]
        /// Its password.
        password: PasswordArguments,
    },
    /// Give a user other roles; it has to sign in again.
    Roles {
        #[command(flatten)]
        /// Whom.
        user: UserArguments,
        /// A role; give it again for more of them.
        #[arg(long = "role", required = true)]
        roles: Vec<Role>,
    },
    /// Give a user another password; its sessions end. Unless it has chosen it itself, an own one has to be set at the
    /// next sign-in.
    Password {
        #[command(flatten)]
        /// Whom.
        user: UserArguments,
        #[command(flatten)]
        /// Its password.
        password: PasswordArguments,
    },
    /// Take a user's second factor away, for whoever has lost program and recovery codes; its sessions
    /// end.
    SecondFactor {
        #[command(flatten)]
        /// Whom.
        user: UserArguments,
    },
    /// Make a user's database password, with which programs ask over the PostgreSQL protocol, in place
    /// of one that is there; it is printed once.
    DatabasePassword {
        #[command(flatten)]
        /// Whom.
        user: UserArguments,
        /// Days after which it opens nothing, at most 366.
        #[arg(long, default_value_t = 90)]
        days: u16,
        /// Take it away instead; what is signed in by it ends with its next statement.
        #[arg(long, conflicts_with = "days")]
        remove: bool,
    },
    /// Put the name of a client certificate on record as a program's, or take one off: requests over a connection with
    /// that certificate are the user's, without a password.
    Certificate {
        #[command(flatten)]
        /// Whom.
        user: UserArguments,
        /// The name: the subject as RFC 4514 writes it (CN=till-7,O=Alpha), or dns: or uri: with an alternative name.
        #[arg(long, required_unless_present = "file", conflicts_with = "file")]
        subject: Option<String>,
        /// A certificate in PEM whose subject is meant, or its first alternative name where it has none.
        #[arg(long)]
        file: Option<PathBuf>,
        /// Take it off instead; the next request over such a connection is refused.
        #[arg(long)]
        remove: bool,
    },
    /// Take a user out; its sessions end.
    Remove {
        #[command(flatten)]
        /// Whom.
        user: UserArguments,
    },
}

/// Which user.
#[derive(Debug, clap::Args)]
pub struct UserArguments {
    /// Data directory.
    #[arg(long)]
    data: PathBuf,
    /// The user's name.
    #[arg(long)]
    name: String,
}

/// Where a password comes from.
#[derive(Debug, clap::Args)]
pub struct PasswordArguments {
    /// Read the password from standard input, up to the end of the first line; else one is made.
    #[arg(long)]
    password_stdin: bool,
    /// The password on standard input is the user's own choice: no other has to be set at the first sign-in.
    #[arg(long, requires = "password_stdin")]
    own: bool,
}

#[derive(Debug, Serialize)]
struct UserView<'a> {
    user: &'a str,
    roles: &'a [Role],
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
    /// Names of client certificates on record.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    certificates: BTreeSet<String>,
    /// Whether the password only lets an own one be set.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    one_use_password: bool,
}

#[derive(Debug, Serialize)]
struct CertificateView<'a> {
    user: &'a str,
    certificate: &'a str,
    on_record: bool,
}

#[derive(Debug, Serialize)]
struct DatabasePasswordView<'a> {
    user: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    database_password: Option<&'a str>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

/// Does it.
///
/// # Errors
/// When the name, the roles or the password will not do, or the file cannot be written; nothing has
/// then changed.
pub fn run(command: &UserCommand) -> Result<(), CliError> {
    let mut io = Io::new(true);
    match command {
        UserCommand::List { data } => {
            let auth = open(data)?;
            let mut on_record: BTreeMap<_, _> = auth.certificates().into_iter().collect();
            for person in auth.people() {
                let certificates = on_record.remove(&person.name).unwrap_or_default();
                io.json(&UserView {
                    user: &person.name,
                    roles: &person.roles,
                    password: None,
                    certificates,
                    one_use_password: person.one_use_password,
                })?;
            }
            Ok(())
        }
        UserCommand::Add { user, roles, password } => {
            let (given, made) = password.get()?;
            let auth = open(&user.data)?;
            match password.own {
                true => auth.add_user(&user.name, roles, &given),
                false => auth.add_user_for_one_use(&user.name, roles, &given),
            }
            .map_err(input)?;
            told(&mut io, user, roles, (is_for_one_use(&auth, &user.name), made))
        }
        UserCommand::Roles { user, roles } => {
            open(&user.data)?.set_roles(&user.name, roles).map_err(input)?;
            io.json(&UserView::new(user, roles, None))
        }
        UserCommand::Password { user, password } => {
            let (given, made) = password.get()?;
            let auth = open(&user.data)?;
            match password.own {
                true => auth.set_password(&user.name, &given),
                false => auth.set_password_for_one_use(&user.name, &given),
            }
            .map_err(input)?;
            let users = auth.users();
            let roles = users.iter().find(|(name, _)| *name == user.name);
            let one_use = is_for_one_use(&auth, &user.name);
            told(&mut io, user, roles.map_or(&[], |(_, roles)| roles), (one_use, made))
        }
        UserCommand::SecondFactor { user } => {
            open(&user.data)?.remove_second_factor(&user.name).map_err(input)?;
            io.say("the user signs in by the password alone now; let a new one be set up");
            Ok(())
        }
        UserCommand::DatabasePassword { user, remove: true, .. } => {
            open(&user.data)?.remove_database_password(&user.name).map_err(input)?;
            let none =
                DatabasePasswordView { user: &user.name, database_password: None, expires: None };
            io.json(&none)
        }
        UserCommand::DatabasePassword { user, days, remove: false } => {
            let auth = open(&user.data)?;
            let made = auth.make_database_password(&user.name, *days).map_err(input)?;
            let expires = i64::try_from(made.expires).unwrap_or(i64::MAX);
            io.json(&DatabasePasswordView {
                user: &user.name,
                database_password: Some(&made.password),
                expires: jiff::Timestamp::from_second(expires).ok().map(|time| time.to_string()),
            })?;
            io.say("note the password; it is not shown again");
            Ok(())
        }
        UserCommand::Certificate { user, subject, file, remove } => {
            let name = match (subject, file) {
                (Some(subject), _) => subject.clone(),
                (None, Some(file)) => tls::names_in(file).map_err(input)?.remove(0),
                (None, None) => return Err(input("give --subject or --file")),
            };
            let auth = open(&user.data)?;
            if *remove {
                auth.remove_certificate(&user.name, &name).map_err(input)?;
            } else {
                auth.add_certificate(&user.name, &name).map_err(input)?;
                let (settings, _) = DataDirectory::new(&user.data).settings()?;
                if settings.client_certificates.authorities.is_none() {
                    io.say("node.toml names no authorities under [client_certificates]: no certificate counts yet");
                }
            }
            io.json(&CertificateView { user: &user.name, certificate: &name, on_record: !remove })
        }
        UserCommand::Remove { user } => {
            open(&user.data)?.remove_user(&user.name).map_err(input)?;
            io.json(&UserView::new(user, &[], None))
        }
    }
}

impl<'a> UserView<'a> {
    fn new(user: &'a UserArguments, roles: &'a [Role], password: Option<&'a str>) -> Self {
        Self {
            user: &user.name,
            roles,
            password,
            certificates: BTreeSet::new(),
            one_use_password: false,
        }
    }
}

fn input(error: impl std::fmt::Display) -> CliError {
    CliError::Input(error.to_string())
}

fn open(data: &std::path::Path) -> Result<Auth, CliError> {
    let data = DataDirectory::new(data);
    data.settings()?; // is it one?
    Auth::open(&data.users()).map_err(input)
}

/// Whether the user's password only lets an own one be set.
fn is_for_one_use(auth: &Auth, name: &str) -> bool {
    auth.people().iter().any(|person| person.name == name && person.one_use_password)
}

fn told(
    io: &mut Io,
    user: &UserArguments,
    roles: &[Role],
    (one_use_password, made): (bool, Option<Zeroizing<String>>),
) -> Result<(), CliError> {
    let password = made.as_ref().map(|made| made.as_str());
    io.json(&UserView { one_use_password, ..UserView::new(user, roles, password) })?;
    match (password.is_some(), one_use_password) {
        (true, true) => io.say(
            "note the password; it is not shown again, and only lets its user set an own one",
        ),
        (true, false) => io.say("note the password; it is not shown again"),
        (false, true) => io.say(
            "the password only lets its user set an own one; with --own it is the user's own choice",
        ),
        (false, false) => {}
    }
    Ok(())
}

impl PasswordArguments {
    /// The password, and again when it was made here and must be told.
    fn get(&self) -> Result<(Zeroizing<String>, Option<Zeroizing<String>>), CliError> {
        if !self.password_stdin {
            let made = generate_password().map_err(input)?;
            return Ok((made.clone(), Some(made)));
        }
        let mut text = Zeroizing::new(String::new());
        let most = PASSWORD_MAX as u64 + 2;
        std::io::stdin()
            .take(most)
            .read_to_string(&mut text)
            .map_err(|error| input(format!("standard input cannot be read: {error}")))?;
        let first = text.lines().next().unwrap_or_default();
        Ok((Zeroizing::new(first.to_owned()), None))
    }
}
