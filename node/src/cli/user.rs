//! `coalition user`: who may sign in at a node, in its data directory.
//!
//! Whoever may write the data directory decides who may sign in; so this is also the way back of a lost
//! administrator. A running node takes a change up with the next request. Passwords are never arguments:
//! one is made and printed once, or read from standard input.

use std::io::Read as _;
use std::path::PathBuf;

use serde::Serialize;
use zeroize::Zeroizing;

use super::{CliError, Io};
use crate::auth::{Auth, PASSWORD_MAX, Role, generate_password};
use crate::config::DataDirectory;

/// What to do with users.
#[derive(Debug, clap::Subcommand)]
pub enum UserCommand {
    /// List everybody who may sign in, one JSON object a line.
    List {
        /// Data directory.
        #[arg(long)]
        data: PathBuf,
    },
    /// Add a user.
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
    /// Give a user another password; its sessions end.
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
}

#[derive(Debug, Serialize)]
struct UserView<'a> {
    user: &'a str,
    roles: &'a [Role],
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
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
            for (user, roles) in open(data)?.users() {
                io.json(&UserView { user: &user, roles: &roles, password: None })?;
            }
            Ok(())
        }
        UserCommand::Add { user, roles, password } => {
            let (given, made) = password.get()?;
            open(&user.data)?.add_user(&user.name, roles, &given).map_err(input)?;
            told(&mut io, user, roles, made)
        }
        UserCommand::Roles { user, roles } => {
            open(&user.data)?.set_roles(&user.name, roles).map_err(input)?;
            io.json(&UserView { user: &user.name, roles, password: None })
        }
        UserCommand::Password { user, password } => {
            let (given, made) = password.get()?;
            let auth = open(&user.data)?;
            auth.set_password(&user.name, &given).map_err(input)?;
            let users = auth.users();
            let roles = users.iter().find(|(name, _)| *name == user.name);
            told(&mut io, user, roles.map_or(&[], |(_, roles)| roles), made)
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
        UserCommand::Remove { user } => {
            open(&user.data)?.remove_user(&user.name).map_err(input)?;
            io.json(&UserView { user: &user.name, roles: &[], password: None })
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

fn told(
    io: &mut Io,
    user: &UserArguments,
    roles: &[Role],
    made: Option<Zeroizing<String>>,
) -> Result<(), CliError> {
    let password = made.as_ref().map(|made| made.as_str());
    io.json(&UserView { user: &user.name, roles, password })?;
    if password.is_some() {
        io.say("note the password; it is not shown again");
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
