//! Who is in which campaign, as the clean room reads it: the programme's word, as of a moment.

use ::programme::calendar::Day;
use ::programme::state::CampaignMembers as OfProgramme;
use ::programme::{Account, Programme};
use ring::digest::{Context, SHA256};

use crate::purchases::{CampaignMembers, InCampaign};
use crate::vault::MemberId;

/// The programme's members of campaigns.
pub(super) struct Assigned {
    members: OfProgramme,
    revision: [u8; 32],
}

impl Assigned {
    /// As they are now; none without rules.
    pub(super) fn of(programme: &Programme) -> Option<Self> {
        let members = programme.campaign_members()?;
        let mut context = Context::new(&SHA256);
        context.update(b"coalition campaign members v0");
        context.update(&members.zone().minutes().to_be_bytes());
        for (campaign, group, count) in members.counts() {
            // no name has a zero in it
            context.update(campaign.as_str().as_bytes());
            context.update(&[0, *group]);
            context.update(&count.to_be_bytes());
        }
        let mut revision = [0; 32];
        revision.copy_from_slice(context.finish().as_ref());
        Some(Self { members, revision })
    }
}

impl CampaignMembers for Assigned {
    fn of(&self, member: MemberId) -> Vec<InCampaign> {
        let places = self.members.of(Account::from_bytes(*member.as_bytes()));
        let place = places.map(|place| InCampaign {
            campaign: place.campaign.as_str().to_owned(),
            group: place.group.as_str().to_owned(),
            first_day: days(place.first),
            last_day: days(place.last),
        });
        place.collect()
    }

    fn revision(&self) -> [u8; 32] {
        self.revision
    }
}

fn days(day: Day) -> i32 {
    i32::try_from(day.get()).unwrap_or(i32::MAX)
}
