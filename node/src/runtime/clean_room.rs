//! The clean room's operations, as the loop takes them.

use std::sync::Arc;

use super::core::Turn;
use super::early_questions::EarlyQuestion;
use super::{Runtime, answer, now};
use crate::cleanroom::exact::{self, ExactJob, PeriodJob};
use crate::cleanroom::policy::PolicyFile;
use crate::cleanroom::{templates, views};
use crate::service::*;

impl Runtime {
    pub(super) fn clean_room_command(&mut self, command: CleanRoomCommand, turn: &mut Turn) {
        match command {
            CleanRoomCommand::Plan { question, reply } => {
                let planned = self.clean_room().and_then(|room| room.plan(&question, now()));
                answer(turn, reply, planned);
            }
            CleanRoomCommand::Query { question, plan, reply } => {
                self.early.push(EarlyQuestion { question, plan, reply, since: now() });
                self.ask_what_waits(turn);
            }
            CleanRoomCommand::QueryById { id, reply } => {
                let found = self.clean_room().and_then(|room| room.query_by_id(&id, now()));
                // one that was asked before a restart, too
                found.iter().for_each(|view| self.events.follow(view));
                answer(turn, reply, found);
            }
            CleanRoomCommand::QueryRows { id, from, most, reply } => {
                let number = |rows: u32| usize::try_from(rows).unwrap_or(usize::MAX);
                let rows = views::Rows { from: number(from), most: number(most) };
                let found = self.clean_room().and_then(|room| room.query_rows(&id, rows, now()));
                found.iter().for_each(|view| self.events.follow(view));
                answer(turn, reply, found);
            }
            CleanRoomCommand::Queries { before, limit, reply } => {
                let limit = page_length(limit);
                let room = self.clean_room();
                let found = room.and_then(|room| room.queries_page(before.as_ref(), limit, now()));
                answer(turn, reply, found);
            }
            CleanRoomCommand::Budgets { year, after, reply } => {
                let room = self.clean_room();
                let budgets = room.and_then(|room| room.budgets(year, after.as_deref(), now()));
                answer(turn, reply, budgets);
            }
            CleanRoomCommand::Datasets { reply } => {
                answer(turn, reply, self.clean_room().map(|room| room.datasets()));
            }
            CleanRoomCommand::Templates { reply } => answer(turn, reply, self.template_views()),
            CleanRoomCommand::Fill { template, scope, parameters, reply } => {
                let filled = self.clean_room().and_then(|room| {
                    let template = templates::one(&self.following.data.templates(), &template)?;
                    templates::filled(&template, room.contract(), scope, parameters)
                });
                answer(turn, reply, filled);
            }
            CleanRoomCommand::Figures { template, parameters, reply } => {
                match self.figures_job(&template, parameters) {
                    Ok(job) => self.read_figures(job, reply),
                    Err(error) => answer(turn, reply, Err(error)),
                }
            }
            CleanRoomCommand::PeriodFigures { request, reply } => {
                match self.clean_room().and_then(|room| room.readable(now())) {
                    Ok((snapshot, not_before)) => {
                        let job = PeriodJob { request, snapshot, not_before };
                        self.read_period(job, reply);
                    }
                    Err(error) => answer(turn, reply, Err(error)),
                }
            }
            CleanRoomCommand::Policy { reply } => {
                answer(turn, reply, self.clean_room().map(|room| room.policy_view()));
            }
            CleanRoomCommand::ReadPolicy { reply } => {
                let read = self.read_policy();
                answer(turn, reply, read);
            }
        }
    }

    fn template_views(&self) -> Result<Vec<TemplateView>, ServiceError> {
        let contract = self.clean_room()?.contract();
        let all = templates::all(&self.following.data.templates())?;
        Ok(all.iter().map(|(template, own)| templates::view(template, *own, contract)).collect())
    }

    fn read_policy(&mut self) -> Result<PolicyView, ServiceError> {
        let file = PolicyFile::read(&self.following.data.policy());
        let file = file.map_err(|error| views::policy_error(&error))?;
        let room = self.room.as_mut().ok_or_else(views::no_clean_room)?;
        room.set_policy(file)
    }

    fn figures_job(
        &self,
        template: &str,
        parameters: Vec<(String, String)>,
    ) -> Result<ExactJob, ServiceError> {
        let room = self.clean_room()?;
        let template = templates::one(&self.following.data.templates(), template)?;
        if !templates::is_for_staff(&template) {
            return Err(ServiceError::new(
                ErrorKind::Refused,
                "not_exact",
                "only dashboards and comparisons are shown exactly / 仅看板与对比类模板提供精确数值",
                "ask it as a question / 请作为查询提问",
            ));
        }
        let filled = templates::filled(&template, room.contract(), Some(Scope::Local), parameters)?;
        let bound = privacy::sql::bind(room.contract(), &filled.sql);
        let bound = bound.map_err(|refusal| views::refusal(&refusal))?;
        let read = bound.tables(room.contract()).map(|table| table.name().to_owned());
        let read: Vec<String> = read.collect();
        room.check_kept_exactly(&read, &filled.sql)?;
        let (snapshot, not_before) = room.readable(now())?;
        Ok(ExactJob {
            template: template.id,
            sql: filled.sql,
            tables: read,
            keys: u32::try_from(bound.keys_shown()).unwrap_or(u32::MAX),
            snapshot,
            not_before,
        })
    }

    /// Exact figures go to who asked for them, past everything that is kept.
    fn read_figures(&self, job: ExactJob, reply: Reply<FiguresView>) {
        let (facts, vault) = (Arc::clone(&self.facts), Arc::clone(&self.core.vault));
        tokio::spawn(async move {
            let read = exact::read(job, facts, vault).await.map_err(|_| views::internal());
            // whoever asked may be gone
            let _ = reply.send(read);
        });
    }

    fn read_period(&self, job: PeriodJob, reply: Reply<PeriodFiguresView>) {
        let (facts, vault) = (Arc::clone(&self.facts), Arc::clone(&self.core.vault));
        tokio::spawn(async move {
            let read = exact::read_period(job, facts, vault).await.map_err(|_| {
                // the engine has a cap on memory and time, which a long period of many members may reach
                ServiceError::new(
                    ErrorKind::Unavailable,
                    "figures_unreadable",
                    "the figures could not be read",
                    "choose a shorter period; if that does not help, let the operator look at the log",
                )
                .in_chinese("无法读取数据", "请缩短期间；仍不行请联系运维查看日志")
            });
            // whoever asked may be gone
            let _ = reply.send(read);
        });
    }
}
