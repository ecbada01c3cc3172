//! Questions that come before it is known what the own log has charged.
//!
//! A node that has just started has not heard from the others whether its disk was put back to an older state. What it
//! certified of a question now would stand in its log behind charges that are not back yet, perhaps beyond the quota;
//! nobody would take part, and an audit would name this brand. That there are such charges is heard within a moment,
//! so that a question waits for it rather than be refused after every start.

use protocol::time::{Milliseconds, Timestamp};

use crate::service::{QueryView, Question, Reply};

/// How long a question waits: less than a request may take.
const PATIENCE: Milliseconds = Milliseconds::from_seconds(15);
/// From so many on none waits.
const WAITING_MAX: usize = 64;

/// A question whose plan was shown.
pub(super) struct EarlyQuestion {
    pub(super) question: Question,
    pub(super) plan: String,
    pub(super) reply: Reply<QueryView>,
    /// When it came.
    pub(super) since: Timestamp,
}

/// Those that wait, in the order in which they came.
#[derive(Default)]
pub(super) struct EarlyQuestions(Vec<EarlyQuestion>);

impl EarlyQuestions {
    pub(super) fn push(&mut self, question: EarlyQuestion) {
        self.0.push(question);
    }

    /// Those that wait no longer: to be asked, or to be refused where they cannot be. All of them when it was `heard`
    /// what there is of the own log.
    pub(super) fn due(&mut self, heard: bool, now: Timestamp) -> Vec<EarlyQuestion> {
        let all = heard || self.0.len() >= WAITING_MAX;
        self.0.extract_if(.., |it| all || now.since(it.since) >= PATIENCE).collect()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    /// One that nobody waits for the answer of.
    fn question(plan: &str, since: Timestamp) -> EarlyQuestion {
        let (reply, _) = oneshot::channel();
        EarlyQuestion { question: Question::default(), plan: plan.to_owned(), reply, since }
    }

    fn plans(due: &[EarlyQuestion]) -> Vec<&str> {
        due.iter().map(|it| it.plan.as_str()).collect()
    }

    #[test]
    fn a_question_waits_until_it_is_heard_what_was_charged_and_not_for_ever() {
        let mut early = EarlyQuestions::default();
        let first = Timestamp::from_unix_ms(1_000_000);
        let second = first.plus(Milliseconds::new(PATIENCE.get() - 1));
        early.push(question("first", first));
        assert!(early.due(false, first).is_empty());
        early.push(question("second", second));
        assert!(early.due(false, second).is_empty());
        assert_eq!(plans(&early.due(false, first.plus(PATIENCE))), ["first"]);
        early.push(question("third", second));
        assert_eq!(plans(&early.due(true, second)), ["second", "third"]);
        assert!(early.due(true, second).is_empty());
    }

    #[test]
    fn no_more_wait_than_may() {
        let mut early = EarlyQuestions::default();
        let now = Timestamp::from_unix_ms(1_000_000);
        for _ in 1..WAITING_MAX {
            early.push(question("early", now));
        }
        assert!(early.due(false, now).is_empty());
        early.push(question("one too many", now));
        assert_eq!(early.due(false, now).len(), WAITING_MAX);
    }
}
