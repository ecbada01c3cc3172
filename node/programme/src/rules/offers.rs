//! Rules on coupons and rewards.

use std::collections::BTreeMap;

use protocol::amount::Points;

use super::reading::Section;
use super::{GIFT_MAX, LIST_MAX, Once, Right, Words, Wrong};
use crate::ids::{Fen, Name};

/// A kind of coupon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CouponKind {
    /// What members read.
    pub words: Words,
    /// Taken off the basket.
    pub worth: Fen,
    /// The basket must come to so much.
    pub minimum_basket: Fen,
    /// Valid to the end of the day so many days after it was given.
    pub valid_days: u32,
    /// Points that a member pays to claim one; nothing for a gift.
    pub price: Points,
    /// Whether members may claim it, or only rules give it.
    pub claimable: bool,
    /// So many at most, ever.
    pub most: u32,
    /// So many at most to one member, ever.
    pub most_per_member: u32,
}

/// Something for points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reward {
    /// What members read.
    pub words: Words,
    /// What it costs.
    pub price: Points,
    /// How long one is set aside for who has asked for it.
    pub hold_minutes: u32,
    /// At most so many to one member, ever.
    pub most_per_member: u32,
    /// Nothing is handed over: fraud looks at these more closely.
    pub is_virtual: bool,
    /// The partner of another trade who gives it, if it is not the brand.
    pub partner: Option<Words>,
}

pub(super) fn coupons(root: &Section<'_>) -> Result<BTreeMap<Name, CouponKind>, Wrong> {
    let mut all = BTreeMap::new();
    for item in root.list("coupon", LIST_MAX)? {
        let (name, words) = (item.name("name")?, item.words()?);
        let kind = CouponKind {
            words,
            worth: item.fen_or("worth_fen", 0)?,
            minimum_basket: item.fen_or("minimum_basket_fen", 0)?,
            valid_days: item.small("valid_days", 0..=3_650)?,
            price: item.points_or("price_points", 0, GIFT_MAX, 0)?,
            claimable: item.flag_or("claimable", false)?,
            most: item.small_or("most", 1..=u32::MAX, u32::MAX)?,
            most_per_member: item.small_or("most_per_member", 1..=u32::MAX, u32::MAX)?,
        };
        if kind.worth > kind.minimum_basket && kind.minimum_basket > Fen::ZERO {
            return Err(item.wrong("minimum_basket_fen", Right::CoversCoupon));
        }
        item.finish()?;
        if all.insert(name, kind).is_some() {
            return Err(item.wrong("name", Right::Each(Once::Coupon)));
        }
    }
    Ok(all)
}

pub(super) fn rewards(root: &Section<'_>) -> Result<BTreeMap<Name, Reward>, Wrong> {
    let mut all = BTreeMap::new();
    for item in root.list("reward", LIST_MAX)? {
        let (name, words) = (item.name("name")?, item.words()?);
        let partner = match item.section("partner")? {
            Some(section) => {
                let words = section.words()?;
                section.finish()?;
                Some(words)
            }
            None => None,
        };
        let reward = Reward {
            words,
            price: item.points("price_points", 1, GIFT_MAX)?,
            hold_minutes: item.small_or("hold_minutes", 1..=10_080, 15)?,
            most_per_member: item.small_or("most_per_member", 1..=u32::MAX, u32::MAX)?,
            is_virtual: item.flag_or("virtual", false)?,
            partner,
        };
        item.finish()?;
        if all.insert(name, reward).is_some() {
            return Err(item.wrong("name", Right::Each(Once::Reward)));
        }
    }
    Ok(all)
}
