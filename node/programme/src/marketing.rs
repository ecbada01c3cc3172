//! Marketing: which offers are, and to whom they may be made.
//!
//! The rule is here and nowhere else. An offer that goes to members because of what is known of them, or
//! because the brand chose the moment, is marketing by automated decision-making (PIPL art. 24): it takes the
//! member's consent (art. 13), in force at the moment the offer is made. That is every campaign, every trigger
//! that looks at a segment, and every birthday. What the rules give to whoever does something (joins, buys,
//! reaches a tier) is a benefit of the programme: to withhold it for want of a consent would be to make the
//! consent its price (art. 16).
//!
//! Who has consented is not known here: whoever drives the programme is asked, each time.

use minicbor::{Decode, Encode};

use crate::ids::{Account, Name};
use crate::rules::{Trigger, When};

/// Whether a member's consent to marketing is in force, as of the moment it is asked.
pub type Consents<'a> = &'a dyn Fn(Account) -> bool;

/// What makes offers that are marketing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(array)]
pub enum Offering {
    /// A campaign.
    #[n(0)]
    Campaign(#[n(0)] Name),
    /// A trigger of the rules.
    #[n(1)]
    Trigger(#[n(0)] Name),
}

/// Whether what a trigger gives is marketing.
#[must_use]
pub const fn is_marketing(trigger: &Trigger) -> bool {
    trigger.segment.is_some() || matches!(trigger.when, When::Segment | When::Birthday)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rules;

    #[test]
    fn what_is_aimed_at_members_is_marketing_and_what_anyone_earns_by_doing_is_not() {
        let mut text = "format = \"coalition programme 1\"\nversion = 1\n\
            [[segment]]\nname = \"quiet\"\nzh = \"沉默\"\nen = \"Quiet\"\nquiet_days = 30\n"
            .to_owned();
        for (name, when, segment) in [
            ("a", "segment", true),
            ("b", "birthday", false),
            ("c", "purchase", true),
            ("d", "joined", true),
            ("e", "purchase", false),
            ("f", "joined", false),
            ("g", "tier_reached", false),
        ] {
            let segment = if segment { "segment = \"quiet\"\n" } else { "" };
            text.push_str(&format!(
                "[[trigger]]\nname = \"{name}\"\nwhen = \"{when}\"\n{segment}points = 5\n"
            ));
        }
        let rules = Rules::from_toml(&text).unwrap();
        let marketing = rules.triggers.iter().filter(|(_, trigger)| is_marketing(trigger));
        let names: Vec<&str> = marketing.map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c", "d"]);
    }
}
