//! What makes an answer safe to give.
//!
//! Several brands answer one question together. Each computes on its own machine over members who
//! consented; what leaves it is a masked, noised, bounded vector of integers. This crate plans the
//! question, bounds what a member can contribute, draws the noise, keeps the accounts, runs the
//! seven steps of a joint query and makes the release. It has no clock, no generator, no files, no
//! network and no engine: all of those are passed in. It knows nothing of loyalty points.
//!
//! The way of a question: [`sql`] binds it to the [`contract`] or refuses it; [`plan`] fixes cells,
//! sensitivity, cost and noise; [`steps`] has it charged in certified logs ([`accounting`]);
//! [`mechanism`] draws noise, then [`bounded`] reduces rows to a clipped vector; [`masked_sum`]
//! hides it; with all openings there is a [`release`]. A question about one brand's own members takes
//! the shorter way through [`alone`].
//!
//! A node drives [`CleanRoom`]: it passes in [`CertifiedEntry`]s, messages and the time, carries
//! out [`Effect`]s in order, and answers [`Effect::Read`] by drawing a [`NoiseShare`], running
//! [`member_sql`] on its engine into a [`Collector`], and calling [`CleanRoom::commit`].
//!
//! Architecture invariant: this crate depends on no other crate of the project, and no type in it
//! that holds unnoised figures can be printed, compared, encoded or released.
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

pub mod accounting;
pub mod alone;
pub mod bounded;
pub mod civil;
pub mod contract;
pub mod exact;
mod hash;
pub mod ids;
pub mod masked_sum;
pub mod mechanism;
pub mod plan;
pub mod release;
pub mod sql;
pub mod steps;
pub mod units;

pub use accounting::{CertifiedCharge, CertifiedLocalCharge, Ledger};
pub use alone::{LocalEffect, LocalRequest, LocalRoom, PackMessage};
pub use bounded::{BoundedVector, Collector, MemberSql, member_sql};
pub use contract::{BudgetProfile, Contract, RawContract};
pub use ids::{AnalystId, Attempt, ParticipantId, PlanHash, Purpose, QueryId, SnapshotId};
pub use masked_sum::MaskingSecret;
pub use mechanism::{NoiseShare, OpendpNoise};
pub use plan::{DpPlan, LocalQuestion, PlanSummary, QuerySpec};
pub use release::{BrandPack, LocalRelease, PeriodRelease, Release};
pub use sql::Refusal;
pub use steps::{
    AttemptId, CertifiedEntry, CleanRoom, CleanRoomEntry, Clock, Effect, Message, Progress,
    ProposeRequest, Record,
};
pub use units::{CalendarYear, PicoDelta, PicoRho, UtcMillis};

#[cfg(test)]
mod testing;
