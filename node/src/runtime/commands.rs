//! What staff, members and programs ask of the loop, and who answers it.

use std::sync::{Arc, PoisonError};

use protocol::amount::Points;
use protocol::ids::{BrandId, Height};
use protocol::time::Timestamp;

use super::clearing::PaymentStep;
use super::core::{Turn, cold_error, vault_error};
use super::sealing::keys_error;
use super::{PAGE_MAX, Runtime, answer, backups, import, now, segments, simulation};
use crate::exchange::book::BookedExchange;
use crate::service::*;
use crate::vault::{LinkState, Links};

const fn link_state(state: LinkState) -> &'static str {
    match state {
        LinkState::Requested => "requested",
        LinkState::Accepted => "linked",
        LinkState::Returned => "returned",
    }
}

impl Runtime {
    pub(super) fn command(&mut self, command: Command, turn: &mut Turn) {
        match command {
            Command::Import { source, dry_run, reply } => {
                answer(turn, reply, self.imports().begin(source, dry_run));
            }
            Command::ImportBatch { key, batch, reply } => self.imports().batch(&key, batch, reply),
            Command::ImportProgress { reply } => {
                let view = self.import.lock().unwrap_or_else(PoisonError::into_inner).clone();
                answer(turn, reply, Ok(view));
            }
            Command::Member { card, reply } => answer(turn, reply, self.member_view(&card)),
            Command::Cards { least_points, after, limit, reply } => {
                answer(turn, reply, self.cards(least_points, after.as_deref(), limit));
            }
            Command::LinkCode { card, brand, reply } => {
                let made = self.core.link_code(&card, &brand, now());
                let view = made
                    .map(|(code, expires)| LinkCodeView { code, expires_ms: expires.unix_ms() });
                answer(turn, reply, view);
            }
            Command::Link { card, brand, code, reply } => {
                let linked = self.core.link(&card, &brand, &code, now(), turn);
                let view = linked.map(|brand| LinkView {
                    brand: brand.to_string(),
                    state: link_state(LinkState::Requested).to_owned(),
                });
                answer(turn, reply, view);
            }
            Command::Exchange { key, request, reply } => {
                let taken = self.core.exchange(&key, &request, now(), turn);
                answer(turn, reply, taken);
            }
            Command::ExchangeBatch(ExchangeBatch { requests, all_final, reply }) => {
                let taken = self.core.exchange_batch(&requests, now(), turn);
                self.until_final.push_back((self.core.will_have_stood(), all_final));
                answer(turn, reply, Ok(taken));
            }
            Command::ExchangeById { id, reply } => {
                answer(turn, reply, self.core.exchange_by_id(&id).map(|booked| booked.view()));
            }
            Command::Exchanges { page: (before, limit), wanted, reply } => {
                let is_wanted = |booked: &BookedExchange| {
                    let state = wanted.state.map(ListedState::name);
                    wanted.to.is_none_or(|to| booked.requested.to == to)
                        && state.is_none_or(|state| booked.state.name() == state)
                };
                let page = self.core.book.page(before, page_length(limit), is_wanted);
                let page = page.map_err(cold_error);
                let views =
                    page.map(|(all, next)| (all.iter().map(BookedExchange::view).collect(), next));
                answer(turn, reply, views);
            }
            Command::Received { card, page: (before, limit), reply } => {
                let limit = page_length(limit);
                let member = card.map(|card| self.core.member(&card)).transpose();
                let received = member.and_then(|member| {
                    self.core.book.received().page(before, limit, member).map_err(cold_error)
                });
                answer(turn, reply, received);
            }
            Command::SendBack { key, request, reply } => {
                let taken = self.core.send_back(&key, &request, now(), turn);
                answer(turn, reply, taken);
            }
            Command::Receipt { id, reply } => answer(turn, reply, self.core.receipt(&id)),
            Command::OpenedReceipt { id, reply } => {
                answer(turn, reply, self.core.opened_receipt(&id));
            }
            Command::SealingKeys { reply } => answer(turn, reply, Ok(self.sealing_key_views())),
            Command::TurnSealingKey { reply } => {
                let turned = self.turn_sealing_key().map_err(|error| keys_error(&error));
                answer(turn, reply, turned);
            }
            Command::DestroySealingKeys { reply } => {
                let done = self.destroy_expired_sealing_keys().map_err(|error| keys_error(&error));
                answer(turn, reply, done);
            }
            Command::LogKeys { reply } => answer(turn, reply, Ok(self.log_key_views())),
            Command::Certified { brand, height, reply } => {
                let log = BrandId::new(&brand).ok();
                let known = log.and_then(|log| self.core.certified(log, Height::new(height)));
                let view = known.map(|(header, block)| CertifiedBlockView {
                    header: header.to_string(),
                    size: block.size().get(),
                });
                answer(turn, reply, Ok(view));
            }
            Command::Constitutions { reply } => {
                answer(turn, reply, Ok(self.constitution_views()));
            }
            Command::ReadConstitutions { reply } => {
                let read = self.read_constitutions(turn);
                answer(turn, reply, read);
            }
            Command::Drafts(command) => self.draft_command(command, turn),
            Command::Disclose { request, reply } => {
                let disclosed = self.core.disclose(&request, now(), turn);
                answer(turn, reply, disclosed);
            }
            Command::AddCheckpoint { request, reply } => {
                let cosigned = self.add_checkpoint(&request, turn);
                answer(turn, reply, Ok(cosigned));
            }
            Command::ForeignCheckpoint { origin_hash, reply } => {
                let note = self.core.foreign.latest(&origin_hash).ok_or_else(|| {
                    ServiceError::new(
                        ErrorKind::NotFound,
                        "not_published",
                        "no checkpoint of such a log was cosigned here",
                        "ask by the SHA-256 of the log's origin, in lower-case hex",
                    )
                });
                answer(turn, reply, note);
            }
            Command::Close { cut_off_ms, reply } => {
                let cut_off = Timestamp::from_unix_ms(cut_off_ms);
                let closed = self.core.close(cut_off, now(), turn);
                answer(turn, reply, closed.and_then(|()| self.statement(cut_off)));
            }
            Command::Clearings { before_ms, limit, reply } => {
                let before = before_ms.map(Timestamp::from_unix_ms);
                let limit = usize::try_from(limit.min(PAGE_MAX)).unwrap_or(0);
                answer(turn, reply, Ok(self.core.clearing.list(before, limit)));
            }
            Command::Statement { cut_off_ms, reply } => {
                answer(turn, reply, self.statement(Timestamp::from_unix_ms(cut_off_ms)));
            }
            Command::Settled { cut_off_ms, request, reply } => {
                let done = self.payment(PaymentStep::Settled, cut_off_ms, &request, turn);
                answer(turn, reply, done);
            }
            Command::Confirm { cut_off_ms, request, reply } => {
                let done = self.payment(PaymentStep::Confirmed, cut_off_ms, &request, turn);
                answer(turn, reply, done);
            }
            Command::Export { cut_off_ms, format, reply } => {
                let cut_off = Timestamp::from_unix_ms(cut_off_ms);
                answer(turn, reply, self.core.export(cut_off, format));
            }
            Command::Disputes { reply } => answer(turn, reply, Ok(self.core.dispute_views())),
            Command::Propose { with, request, reply } => {
                let proposed = self.core.propose(&with, &request, turn);
                answer(turn, reply, proposed);
            }
            Command::Agree { with, reply } => {
                let agreed = self.core.agree(&with, now(), turn);
                answer(turn, reply, agreed);
            }
            Command::Partners { reply } => {
                answer(turn, reply, Ok(self.partner_views()));
            }
            Command::ClosePartner { brand, reply } => {
                let agreed = self.core.agree_to_close(&brand, now(), turn);
                answer(turn, reply, agreed);
            }
            Command::ReadmitPartner { brand, reply } => {
                let agreed = self.readmit(&brand, turn);
                answer(turn, reply, agreed);
            }
            Command::CleanRoom(command) => self.clean_room_command(command, turn),
            Command::BackUp { request, reply } => {
                let (store, view) = (Arc::clone(&self.store), Arc::clone(&self.backup));
                let data = self.following.data.clone();
                let job = backups::prepare(data, self.core.me(), store, request, view);
                answer(turn, reply, job.map(|job| self.snapshots.then_back_up(job)));
            }
            Command::BackupProgress { reply } => {
                let view = self.backup.lock().unwrap_or_else(PoisonError::into_inner).clone();
                answer(turn, reply, Ok(view));
            }
            Command::Programme(command) => match *command {
                ProgrammeCommand::Simulate { file, reply } => {
                    simulation::begin(
                        Arc::clone(&self.facts),
                        self.core.rules(),
                        &file.rules,
                        reply,
                    );
                }
                ProgrammeCommand::Segments { asked, reply } => {
                    segments::begin(&self.core, asked, now(), reply);
                }
                command => self.core.programme_command(command, now(), turn),
            },
            Command::Keep { entry, reply } => {
                let kept = self.core.keep(entry, turn);
                answer(turn, reply, kept);
            }
            Command::Unlink { brand, handle, reply } => {
                let told = self.core.unlink(brand, handle, turn);
                answer(turn, reply, told);
            }
            Command::ForgetMember { member, reply } => {
                let forgotten = self.core.forget_member(member, now(), turn);
                answer(turn, reply, forgotten);
            }
            Command::FollowBirthday { member, reply } => {
                let followed = self.core.follow_birthday(member, now(), turn);
                answer(turn, reply, followed);
            }
            Command::ConsentDecided { member, reply } => {
                let followed = self.core.follow_consent(member, now(), turn);
                answer(turn, reply, followed);
            }
            Command::MoveMember { from, into, reply } => {
                let moved = self.core.move_member(from, into, now(), turn);
                answer(turn, reply, moved);
            }
            Command::Answered { certificate, reply } => {
                answer(turn, reply, self.core.answered(&certificate));
            }
            Command::Holdings { member, reply } => {
                answer(turn, reply, self.holdings(member));
            }
            Command::Stop { reply } => self.stop = Some(reply),
        }
    }

    pub(super) fn imports(&self) -> import::Imports {
        import::Imports {
            data: self.following.data.clone(),
            brands: self.core.ledger.constitution().committee().brands().to_vec(),
            vault: Arc::clone(&self.core.vault),
            desk: Arc::downgrade(&self.desk),
            facts: Arc::clone(&self.facts),
            commands: self.back.clone(),
            view: Arc::clone(&self.import),
            turns: Arc::clone(&self.turns),
            programme: self.core.rules(),
        }
    }

    fn member_view(&self, card: &str) -> Result<MemberView, ServiceError> {
        let member = self.core.member(card)?;
        let balance = self.core.points.balance(member);
        let links = self.core.vault.links(member).map_err(vault_error)?;
        Ok(MemberView {
            card: self.core.vault.masked_card(member).map_err(vault_error)?,
            available: balance.available.get(),
            held: balance.held.get(),
            links: self.link_views(links),
        })
    }

    pub(super) fn link_views(&self, links: Links) -> Vec<LinkView> {
        let view = |(brand, state)| {
            let ended = self.core.has_ended(brand);
            let state = if ended { "ended" } else { link_state(state) };
            LinkView { brand: brand.to_string(), state: state.to_owned() }
        };
        links.outgoing.into_iter().map(view).collect()
    }

    /// Card numbers, in clear: for staff who may manage members.
    fn cards(
        &self,
        least_points: u64,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, ServiceError> {
        let least = Points::new(least_points).unwrap_or(Points::MAX);
        let after = after.map(|card| self.core.member(card)).transpose()?;
        let limit = usize::try_from(limit.min(PAGE_MAX)).unwrap_or(0);
        let members = self.core.points.with_at_least(least, after, limit).into_iter();
        members
            .map(|member| {
                let profile = self.core.vault.profile(member).map_err(vault_error)?;
                Ok(profile.card.expose().to_owned())
            })
            .collect()
    }

    fn statement(&self, cut_off: Timestamp) -> Result<StatementView, ServiceError> {
        self.core.clearing.view(cut_off).ok_or_else(|| {
            ServiceError::new(
                ErrorKind::NotFound,
                "cut_off_unknown",
                "nobody has closed this cut-off",
                "close it first; a cut-off is named by its Unix milliseconds",
            )
        })
    }

    fn payment(
        &mut self,
        step: PaymentStep,
        cut_off_ms: u64,
        request: &PaymentRequest,
        turn: &mut Turn,
    ) -> Result<StatementView, ServiceError> {
        let cut_off = Timestamp::from_unix_ms(cut_off_ms);
        self.core.enter_payment(step, cut_off, request, turn)?;
        self.statement(cut_off)
    }
}
