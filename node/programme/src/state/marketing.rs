//! Offers that are marketing, made to members who consent and to nobody else; the others are counted.

use protocol::time::Timestamp;

use super::{Change, Outcome, Programme};
use crate::coupons::Origin;
use crate::ids::{Account, Name};
use crate::marketing::{Consents, Offering, is_marketing};

impl Programme {
    /// Whether an offer may be made to a member now. Who is left out for want of a consent is noted, once, so
    /// that the count is one of members however often they are looked at.
    pub(super) fn may_offer(
        &mut self,
        offering: Offering,
        account: Account,
        now: Timestamp,
        consents: Consents<'_>,
        out: &mut Vec<Change>,
    ) -> Outcome<bool> {
        if consents(account) {
            return Ok(true);
        }
        let noted = (offering, account);
        if !self.state.left_out.contains(&noted) {
            let (offering, account) = noted;
            self.enter(Change::LeftOut { account, offering, at: now }, out)?;
        }
        Ok(false)
    }

    /// Whether what comes from there is marketing: for who pushes messages later, when the consent may be gone.
    pub(super) fn is_marketing(&self, origin: &Origin) -> bool {
        match origin {
            Origin::Campaign(..) => true,
            Origin::Trigger(name) => {
                let rules = self.rules.as_ref();
                rules.and_then(|rules| rules.triggers.get(name)).is_some_and(is_marketing)
            }
            Origin::Claimed | Origin::Staff => false,
        }
    }

    pub(super) fn apply_left_out(&mut self, account: Account, offering: &Offering) {
        if self.state.left_out.insert((offering.clone(), account)) {
            let count = self.state.left_out_counts.entry(offering.clone()).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// The member has the offer after all: a consent was given meanwhile.
    pub(super) fn not_left_out(&mut self, account: Account, offering: Offering) {
        if self.state.left_out.is_empty() {
            return;
        }
        let noted = (offering, account);
        if self.state.left_out.remove(&noted)
            && let Some(count) = self.state.left_out_counts.get_mut(&noted.0)
        {
            *count = count.saturating_sub(1);
        }
    }

    /// Who does not take part in the programme is left out of nothing: who comes back is looked at anew, and counted
    /// once.
    pub(super) fn not_left_out_of_any(&mut self, account: Account) {
        let offerings: Vec<Offering> = self.state.left_out_counts.keys().cloned().collect();
        for offering in offerings {
            self.not_left_out(account, offering);
        }
    }

    /// Who was left out and is erased stays counted, and nobody can say who it was.
    pub(super) fn forget_left_out(&mut self, account: Account) {
        for offering in self.state.left_out_counts.keys() {
            self.state.left_out.remove(&(offering.clone(), account));
        }
    }

    /// Two members who are one count once; not at all where one of them has the offer.
    pub(super) fn merge_left_out(&mut self, from: Account, into: Account) {
        let offerings: Vec<Offering> = self.state.left_out_counts.keys().cloned().collect();
        for offering in offerings {
            let theirs = self.state.left_out.contains(&(offering.clone(), from));
            let has_it = self.state.profiles.get(&into).is_some_and(|profile| match &offering {
                Offering::Campaign(name) => profile.tests.iter().any(|(test, ..)| test == name),
                // what a trigger gave before says nothing of what it would give next
                Offering::Trigger(_) => false,
            });
            self.not_left_out(from, offering.clone());
            if has_it {
                self.not_left_out(into, offering);
            } else if theirs {
                self.apply_left_out(into, &offering);
            }
        }
    }

    /// How many members were left out of a campaign because no consent of theirs to marketing was in force
    /// when they would have come in, and have neither come in nor left the programme since.
    #[must_use]
    pub fn left_out_of_campaign(&self, name: &Name) -> u64 {
        self.left_out(&Offering::Campaign(name.clone()))
    }

    /// How many a trigger of the rules has left out for the same reason, and given nothing since.
    #[must_use]
    pub fn left_out_of_trigger(&self, name: &Name) -> u64 {
        self.left_out(&Offering::Trigger(name.clone()))
    }

    fn left_out(&self, offering: &Offering) -> u64 {
        self.state.left_out_counts.get(offering).copied().unwrap_or_default()
    }
}
