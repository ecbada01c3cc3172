//! Who may sign in, on the record of operations: what an administrator does, with their name, and what has become of the
//! users' file, whoever changed it. The officer reads there who gave whom which role.

use std::time::Duration;

use super::{Asker, ErrorKind, Node, ServiceError};
use crate::auth::{Auth, UserStanding};
use crate::desk::{Deed, Note};
use crate::runtime::now;

/// How often the users' file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

impl Node {
    /// Enters in the operation log what becomes of who may sign in, until the task is dropped; first what was changed
    /// while this node did not run.
    pub async fn follow_users(self, auth: Auth) {
        let (mut entered, mut failed): (Option<Vec<UserStanding>>, bool) = (None, false);
        loop {
            if let Some(users) = auth.standing()
                && entered.as_ref() != Some(&users)
            {
                let (found, at) = (users.clone(), now());
                match self.at_desk(move |desk| desk.users_are(&found, at)).await {
                    Ok(_) => (entered, failed) = (Some(users), false),
                    Err(error) => {
                        // once, however long it lasts
                        if !failed {
                            tracing::error!(error = %error, "changes of users are not in the operation log yet");
                        }
                        failed = true;
                    }
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Does something with a user, and enters it in the operation log before; what was refused then, or failed, is said
    /// there too.
    ///
    /// # Errors
    /// When it cannot be entered, and was then not done; or why it was not done.
    pub async fn record_user_change<T>(
        &self,
        by: &Asker,
        (user, done): (&str, &'static str),
        (before, after): (Option<String>, Option<String>),
        work: impl Future<Output = Result<T, ServiceError>>,
    ) -> Result<T, ServiceError> {
        let subject = format!("user {user}: {done}");
        let note = Note::new(&by.user, Deed::User, subject.clone()).changed(before, after);
        let at = now();
        self.at_desk(move |desk| desk.note(note, at).map(drop)).await?;
        let worked = work.await;
        if let Err(error) = &worked {
            self.note_refused(&by.user, Deed::User, &subject, error).await;
            self.note_failed(&by.user, &subject, error).await;
        }
        worked
    }

    /// Enters that something failed at this node: whether it was done then is for the users' file to say.
    async fn note_failed(&self, by: &str, subject: &str, error: &ServiceError) {
        if !matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Internal) {
            return;
        }
        let code = error.code;
        let what = format!("{subject}: failed ({code}), see in the list of users what is so");
        let (note, at) = (Note::new(by, Deed::User, what), now());
        if let Err(error) = self.at_desk(move |desk| desk.note(note, at).map(drop)).await {
            tracing::error!(code = error.code, "a failure is not in the operation log");
        }
    }
}
