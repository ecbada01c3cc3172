//! Questions of each hour, to one brand or to all.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::input;
use super::{Day, HOURS, LOSS_HOUR, PATIENCE, PICO_RHO, POLL};
use crate::cli::CliError;
use crate::http::{PlanRequest, QueryRequest};
use crate::service::{PlanView, QueryView, Scope};

/// One question, by its number.
struct Asked {
    place: usize,
    sql: String,
    scope: Scope,
}

impl Day {
    /// The questions of an hour.
    fn questions(&self, hour: u32) -> Vec<Asked> {
        let of_all = self.arguments.questions;
        let (first, last) = (of_all * hour / HOURS, of_all * (hour + 1) / HOURS);
        (first..last)
            .map(|number| {
                // while a brand is away, nobody asks all: it would be suspended for the opening that does not come
                let joint = number % 6 == 5 && hour != LOSS_HOUR;
                let scope = if joint { Scope::Joint } else { Scope::Local };
                let place = match scope {
                    // the last may be away in the hour in which it is lost
                    Scope::Local => {
                        number as usize % (self.data.len() - usize::from(hour == LOSS_HOUR))
                    }
                    _ => 0,
                };
                // other words each time: a question that was answered costs nothing
                let sql = format!(
                    "SELECT department, count(*) AS lines, sum(amount_fen) AS spending \
                     FROM purchases WHERE amount_fen > {number} GROUP BY department"
                );
                Asked { place, sql, scope }
            })
            .collect()
    }

    /// Asks an hour's questions one after the other; gives how long each took.
    pub(super) async fn ask_all(&self, hour: u32) -> Result<Vec<f64>, CliError> {
        let mut seconds = Vec::new();
        for asked in self.questions(hour) {
            seconds.push(self.ask(&asked).await?);
        }
        Ok(seconds)
    }

    async fn ask(&self, asked: &Asked) -> Result<f64, CliError> {
        let client = self.client(asked.place)?;
        let began = Instant::now();
        // a brand that is away makes a joint question void; it is asked again, at the cost of another
        for attempt in 0_u64.. {
            let (pico_rho, scope) = (Some(PICO_RHO + attempt), Some(asked.scope));
            let request =
                PlanRequest { sql: asked.sql.clone(), scope, pico_rho, ..PlanRequest::default() };
            let plan: PlanView = self.post(client, "/api/v1/queries/plan", &request).await?;
            let request = QueryRequest {
                sql: asked.sql.clone(),
                plan: plan.plan,
                scope,
                pico_rho,
                ..QueryRequest::default()
            };
            let view: QueryView = self.post(client, "/api/v1/queries", &request).await?;
            let path = format!("/api/v1/queries/{}", view.id);
            let ended = loop {
                let view: QueryView = self.get(client, &path).await?;
                if view.step == "released" || view.step == "void" {
                    break view;
                }
                if began.elapsed() > PATIENCE {
                    return Err(input(format!("a question stays at {}", view.step)));
                }
                tokio::time::sleep(POLL).await;
            };
            if ended.step == "released" {
                return Ok(began.elapsed().as_secs_f64());
            }
            if began.elapsed() > PATIENCE {
                let why = ended.reason.map_or_else(String::new, |reason| format!("{reason:?}"));
                return Err(input(format!("a question does not get its answer: {why}")));
            }
            self.questions_again.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Err(input("a question was asked too often"))
    }
}
