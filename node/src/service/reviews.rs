//! Reviews of what looks like fraud, and answers to members' requests to the service. Each is in the operation
//! log before it is done: who, when, which case, whose cards (masked), and what it came to; what was refused then is
//! said there too.

use tokio::sync::oneshot;

use super::{Command, DoneView, ErrorKind, Node, ProgrammeCommand, ReviewAction, ServiceError};
use crate::desk::{Deed, Note};
use crate::runtime::now;

impl Node {
    /// Closes a case or answers a request.
    ///
    /// # Errors
    /// See [`ServiceError`]; also when it cannot be entered in the operation log: then it is not done.
    pub async fn review_programme(
        &self,
        action: ReviewAction,
        by: String,
    ) -> Result<DoneView, ServiceError> {
        let (deed, subject) = match &action {
            ReviewAction::Review { case, .. } => (Deed::Review, format!("case {case}")),
            ReviewAction::Answer { request, .. } => {
                (Deed::Request, format!("service request {request}"))
            }
        };
        let open = match &action {
            ReviewAction::Review { case, stop, .. } => self.review_note(*case, *stop, &by).await?,
            ReviewAction::Answer { request, .. } => self.answer_note(*request, &by).await?,
        };
        // who asks for what is not open is refused next; that somebody tried is an entry all the same
        let tried = match &action {
            ReviewAction::Review { stop, .. } => format!("{} asked for", verdict(*stop)),
            ReviewAction::Answer { .. } => "an answer asked for".to_owned(),
        };
        let is_open = open.is_some();
        let vain = || Note::new(&by, deed, format!("{subject} is not open: {tried}"));
        let note = open.unwrap_or_else(vain);
        let at = now();
        self.at_desk(move |desk| desk.note(note, at).map(drop)).await?;
        let (reply, answer) = oneshot::channel();
        let command = ProgrammeCommand::Review { action, by: by.clone(), reply };
        self.commands
            .send(Command::Programme(Box::new(command)))
            .await
            .map_err(|_| ServiceError::stopped())?;
        let done = answer.await.map_err(|_| ServiceError::stopped())?;
        if let Err(error) = &done
            && is_open
        {
            self.note_refused(&by, deed, &subject, error).await;
        }
        done
    }

    /// Enters that what the entry before said is about to be done was refused. Not of a node that is stopping: whether
    /// it was done is for its journal to say.
    pub(super) async fn note_refused(
        &self,
        by: &str,
        deed: Deed,
        subject: &str,
        error: &ServiceError,
    ) {
        if matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Internal) {
            return;
        }
        let what = format!("{subject}: refused ({}), nothing was done", error.code);
        let (note, at) = (Note::new(by, deed, what), now());
        if let Err(error) = self.at_desk(move |desk| desk.note(note, at).map(drop)).await {
            tracing::error!(code = error.code, "a refusal is not in the operation log");
        }
    }

    /// The reason is not in it: it is free text, which nobody can mask. It stays with the case.
    async fn review_note(
        &self,
        case: u64,
        stop: bool,
        by: &str,
    ) -> Result<Option<Note>, ServiceError> {
        let open = self.programme_cases(false).await?;
        Ok(open.into_iter().find(|it| it.number == case).map(|found| {
            let what = format!("case {case} ({}): {}", found.sign, found.cards.join(", "));
            Note::new(by, Deed::Review, what)
                .about_many(u32::try_from(found.accounts).unwrap_or(u32::MAX))
                .changed(Some("open".to_owned()), Some(verdict(stop).to_owned()))
        }))
    }

    async fn answer_note(&self, request: u64, by: &str) -> Result<Option<Note>, ServiceError> {
        let all = self.programme_requests().await?;
        let open = all.into_iter().find(|it| it.number == request && it.answered_ms.is_none());
        Ok(open.map(|found| {
            let what = format!("service request {request} ({}): {}", found.about, found.card);
            Note::new(by, Deed::Request, what)
                .about_many(1)
                .changed(Some("open".to_owned()), Some("answered".to_owned()))
        }))
    }
}

const fn verdict(stop: bool) -> &'static str {
    if stop { "stopped" } else { "cleared" }
}
