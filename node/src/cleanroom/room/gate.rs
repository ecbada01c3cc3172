//! The gate before this brand's clean room: it acts on nothing before the own log is known.
//!
//! On a disk that was put back to an older state it would read again what the log has a hash of, book what is charged,
//! and spend what is spent. So nobody has the room itself to act with: [`Gated::acting`] gives it when it may, and
//! [`Gated::settle`] opens and closes. Looking at it, and setting what people decide, goes by.

use std::sync::Arc;

use protocol::ids::BrandId;
use protocol::time::Timestamp;

use super::super::policy::PolicyFile;
use super::super::{Action, CertifiedApplication, ReadResult};
use super::{FormerContract, RestoreError, Room};
use crate::purchases::CampaignMembers;
use crate::service::{PolicyView, ServiceError};

/// A clean room that acts on nothing before the own log is known.
#[derive(Debug)]
pub struct Gated {
    room: Room,
    // it has gone on where it was, and the own log was known whenever something was settled since
    is_open: bool,
    // what was read meanwhile
    readings: Vec<ReadResult>,
}

impl Gated {
    /// As it was restored: it waits.
    #[must_use]
    pub const fn new(room: Room) -> Self {
        Self { room, is_open: false, readings: Vec::new() }
    }

    /// What is to be seen of it, whether it acts or not.
    #[must_use]
    pub const fn shown(&self) -> &Room {
        &self.room
    }

    /// The room, if it may act now.
    pub const fn acting(&mut self, knows_own_log: bool) -> Option<&mut Room> {
        if self.is_open && knows_own_log { Some(&mut self.room) } else { None }
    }

    /// Takes certified entries, each log's in its order, and the time up to which each log is certified with them. As
    /// long as the own log is not known, entries are taken note of and nothing else; then the room goes on where it was.
    pub fn settle(
        &mut self,
        entries: &[CertifiedApplication],
        heads: impl Iterator<Item = (BrandId, Timestamp)>,
        knows_own_log: bool,
        now: Timestamp,
    ) -> Vec<Action> {
        let was_open = std::mem::replace(&mut self.is_open, knows_own_log);
        let mut actions = Vec::new();
        if was_open && knows_own_log {
            for entry in entries {
                actions.extend(self.room.certified(entry, now));
            }
        } else {
            entries.iter().for_each(|entry| self.room.replay(entry));
        }
        if !knows_own_log {
            return actions;
        }
        if !was_open {
            actions.extend(self.room.resume(now));
            for reading in std::mem::take(&mut self.readings) {
                actions.extend(self.room.read(reading, now));
            }
        }
        for (log, time) in heads {
            actions.extend(self.room.head(log, time, now));
        }
        actions
    }

    /// What came of a reading. It waits while the room does: the own log may have a hash of it that is not back.
    pub fn read(
        &mut self,
        reading: ReadResult,
        knows_own_log: bool,
        now: Timestamp,
    ) -> Vec<Action> {
        if let Some(room) = self.acting(knows_own_log) {
            return room.read(reading, now);
        }
        self.readings.push(reading);
        Vec::new()
    }

    /// [`Room::follow`].
    ///
    /// # Errors
    /// As there.
    pub fn follow(
        &mut self,
        constitution: &alliance_config::Constitution,
        clean_room: &alliance_config::CleanRoom,
        former: &[FormerContract],
    ) -> Result<(), RestoreError> {
        self.room.follow(constitution, clean_room, former)
    }

    /// [`Room::set_policy`].
    ///
    /// # Errors
    /// As there.
    pub fn set_policy(&mut self, file: Option<PolicyFile>) -> Result<PolicyView, ServiceError> {
        self.room.set_policy(file)
    }

    /// [`Room::see_campaigns`].
    pub fn see_campaigns(&mut self, members: Arc<dyn CampaignMembers>) {
        self.room.see_campaigns(members);
    }

    /// [`Room::let_ended_leave`].
    #[must_use]
    pub fn let_ended_leave(&mut self, records: Vec<Vec<u8>>, now: Timestamp) -> Vec<Vec<u8>> {
        self.room.let_ended_leave(records, now)
    }
}

#[cfg(test)]
mod tests;
