//! Rules on earning, tiers, spending at the till and expiry.

use std::collections::BTreeMap;

use protocol::amount::{Points, Rate};

use super::reading::Section;
use super::{GIFT_MAX, LIST_MAX, Naming, ONLINE, Once, Problem, Right, Words, Wrong, is_online};
use crate::ids::{Fen, Name};

/// Most departments that the rules put into categories.
const DEPARTMENTS_MAX: usize = 1_000;

/// How points are earned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earning {
    /// Points for a yuan, where the channel has no rate of its own.
    pub points_per_yuan: Rate,
    /// Points for a yuan, by channel.
    pub channels: BTreeMap<Name, Rate>,
    /// What the points of a category are multiplied by.
    pub categories: BTreeMap<Name, Rate>,
    /// The categories of departments as purchases name them, in whatever letters; others are their own, as far as a name
    /// can have their letters.
    pub departments: BTreeMap<String, Name>,
    /// What a basket earns on the member's birthday is multiplied by this.
    pub birthday: Rate,
    /// Baskets below earn nothing.
    pub minimum_basket: Fen,
    /// One basket earns no more.
    pub most_per_basket: Points,
    /// Daily sign-in.
    pub sign_in: Option<SignIn>,
    /// Bringing a new member.
    pub referral: Option<Referral>,
    /// Points for other activities, each once a member and day, by name.
    pub activity: BTreeMap<Name, Points>,
}

/// Daily sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignIn {
    /// Points by the day of a streak; after the last, the last again. Never empty.
    pub points: Vec<Points>,
    /// Each time so many days running are full,
    pub bonus_days: u32,
    /// so many points more.
    pub bonus: Points,
}

/// Bringing a new member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Referral {
    /// For who brought a member, at that member's first purchase.
    pub points: Points,
    /// Counted so many times at most.
    pub most: u32,
}

/// What decides on a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TierBasis {
    /// All points ever earned.
    Points,
    /// Recency, frequency and money of the last so many months, this one included.
    Rfm {
        /// 1 to 24.
        months: u32,
    },
}

/// One tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    /// Its name in the rules.
    pub name: Name,
    /// Its name for members.
    pub words: Words,
    /// Accumulated points from which a member has it; zero when the basis is RFM.
    pub from_points: Points,
    /// Last purchase at most so many days ago (RFM).
    pub within_days: u32,
    /// At least so many purchases in the months (RFM).
    pub purchases: u32,
    /// At least so much spent in the months (RFM).
    pub spent: Fen,
    /// What purchases earn is multiplied by this.
    pub factor: Rate,
    /// What else it gives.
    pub benefits: Vec<Words>,
}

/// All tiers, lowest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tiers {
    /// What decides.
    pub basis: TierBasis,
    /// The tiers above having none.
    pub list: Vec<Tier>,
}

/// Points as cash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spending {
    /// From so many points on.
    pub minimum: Points,
    /// In steps of so many.
    pub step: Points,
    /// Fen that a point is worth.
    pub fen_per_point: Rate,
    /// The part of a basket that points may pay, at most.
    pub most_of_basket: Rate,
}

/// How long points are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Days after the day they were earned; for ever without.
    pub valid_days: Option<u32>,
    /// Members are told so many days before.
    pub notice_days: u32,
}

fn done<T>(section: &Section<'_>, value: T) -> Result<T, Wrong> {
    section.finish().map(|()| value)
}

impl Earning {
    /// Points for a yuan by a channel: its own rate; where it has none and is not the shops', that of `online`; or else
    /// the usual one.
    #[must_use]
    pub fn rate(&self, channel: &Name) -> Rate {
        let online = || self.channels.get(ONLINE).filter(|_| is_online(channel));
        self.channels.get(channel).or_else(online).copied().unwrap_or(self.points_per_yuan)
    }

    pub(super) fn read(root: &Section<'_>, naming: Naming) -> Result<Self, Wrong> {
        let mut earning = Self {
            points_per_yuan: Rate::ONE,
            channels: BTreeMap::new(),
            categories: BTreeMap::new(),
            departments: BTreeMap::new(),
            birthday: Rate::ONE,
            minimum_basket: Fen::ZERO,
            most_per_basket: super::points(10_000),
            sign_in: None,
            referral: None,
            activity: BTreeMap::new(),
        };
        let Some(section) = root.section("earning")? else { return Ok(earning) };
        earning.points_per_yuan = section.rate_or("points_per_yuan", Rate::ONE)?;
        earning.channels = section.rates("channels", LIST_MAX)?.into_iter().collect();
        if let Some(channel) = earning.channels.keys().find(|it| !naming.takes(it))
            && let Some(channels) = section.section("channels")?
        {
            return Err(channels.wrong(channel.as_str(), Problem::NoSuchChannel));
        }
        earning.categories = section.rates("categories", LIST_MAX)?.into_iter().collect();
        if common_denominator(earning.categories.values()).is_none() {
            return Err(section.wrong("categories", Right::CommonDenominator));
        }
        for (department, category) in section.named_texts("departments", DEPARTMENTS_MAX)? {
            if earning.departments.insert(department, category).is_some() {
                return Err(section.wrong("departments", Right::Each(Once::Department)));
            }
        }
        earning.birthday = section.rate_or("birthday_factor", Rate::ONE)?;
        earning.minimum_basket = section.fen_or("minimum_basket_fen", 0)?;
        earning.most_per_basket =
            section.points_or("most_points_per_basket", 1, Points::MAX.get(), 10_000)?;
        if let Some(sign_in) = section.section("sign_in")? {
            let numbers = sign_in.numbers("points", 1..=GIFT_MAX, 366)?;
            if numbers.is_empty() {
                return Err(sign_in.wrong("points", Right::Streak));
            }
            let points = numbers.into_iter().map(super::points).collect();
            let bonus_days = sign_in.small_or("bonus_after_days", 2..=366, 7)?;
            let bonus = sign_in.points_or("bonus_points", 0, GIFT_MAX, 0)?;
            earning.sign_in = Some(done(&sign_in, SignIn { points, bonus_days, bonus })?);
        }
        if let Some(referral) = section.section("referral")? {
            let points = referral.points("points", 1, GIFT_MAX)?;
            let most = referral.small_or("most_per_member", 1..=10_000, 20)?;
            earning.referral = Some(done(&referral, Referral { points, most })?);
        }
        for item in section.list("activity", LIST_MAX)? {
            let (name, points) = (item.name("name")?, item.points("points", 1, GIFT_MAX)?);
            item.finish()?;
            if earning.activity.insert(name, points).is_some() {
                return Err(item.wrong("name", Right::Each(Once::Activity)));
            }
        }
        done(&section, earning)
    }
}

/// The least common multiple of the denominators of ratios, so that they add up exactly.
pub(crate) fn common_denominator<'r>(rates: impl Iterator<Item = &'r Rate>) -> Option<u32> {
    let gcd = |mut a: u32, mut b: u32| {
        while b != 0 {
            (a, b) = (b, a.checked_rem(b).unwrap_or(0));
        }
        a.max(1)
    };
    let mut common = 1_u32;
    for rate in rates {
        let below = rate.denominator();
        let step = below.checked_div(gcd(common, below))?;
        common = common.checked_mul(step).filter(|common| *common <= 100_000)?;
    }
    Some(common)
}

impl Tiers {
    pub(super) fn read(root: &Section<'_>) -> Result<Self, Wrong> {
        let mut basis = TierBasis::Points;
        if let Some(section) = root.section("tiers")? {
            let rfm = section.one_of("by", &[("points", false), ("rfm", true)])?.unwrap_or(false);
            if rfm {
                basis = TierBasis::Rfm { months: section.small_or("rfm_months", 1..=24, 12)? };
            }
            section.finish()?;
        }
        let by_points = basis == TierBasis::Points;
        let mut list: Vec<Tier> = Vec::new();
        for item in root.list("tier", 20)? {
            let (name, words) = (item.name("name")?, item.words()?);
            if list.iter().any(|tier| tier.name == name) {
                return Err(item.wrong("name", Right::Each(Once::Tier)));
            }
            let mut tier = Tier {
                name,
                words,
                from_points: Points::ZERO,
                within_days: 0,
                purchases: 0,
                spent: Fen::ZERO,
                factor: item.rate_or("earning_factor", Rate::ONE)?,
                benefits: Vec::new(),
            };
            if by_points {
                tier.from_points = item.points("from_points", 1, Points::MAX.get())?;
                if let Some(before) = list.last()
                    && before.from_points >= tier.from_points
                {
                    let right = Right::AboveTier { before: before.from_points.get() };
                    return Err(item.wrong("from_points", right));
                }
            } else {
                tier.within_days = item.small("within_days", 1..=3_650)?;
                tier.purchases = item.small("purchases", 1..=100_000)?;
                tier.spent = item.fen_or("spent_fen", 0)?;
            }
            for benefit in item.list("benefit", 50)? {
                let words = benefit.words()?;
                tier.benefits.push(done(&benefit, words)?);
            }
            list.push(done(&item, tier)?);
        }
        Ok(Self { basis, list })
    }

    /// The rank of a tier by its name: 1 is the lowest, 0 having none.
    #[must_use]
    pub fn rank(&self, name: &Name) -> Option<u8> {
        let place = self.list.iter().position(|tier| tier.name == *name)?;
        u8::try_from(place.saturating_add(1)).ok()
    }

    /// The tier of a rank; none for rank 0.
    #[must_use]
    pub fn of_rank(&self, rank: u8) -> Option<&Tier> {
        self.list.get(usize::from(rank).checked_sub(1)?)
    }
}

impl Spending {
    pub(super) fn read(root: &Section<'_>) -> Result<Self, Wrong> {
        let one = super::points(1);
        let mut spending =
            Self { minimum: one, step: one, fen_per_point: Rate::ONE, most_of_basket: Rate::ONE };
        let Some(section) = root.section("spending")? else { return Ok(spending) };
        spending.minimum = section.points_or("minimum_points", 1, GIFT_MAX, 1)?;
        spending.step = section.points_or("step_points", 1, GIFT_MAX, 1)?;
        spending.fen_per_point = section.rate_or("fen_per_point", Rate::ONE)?;
        spending.most_of_basket = section.rate_or("most_of_basket", Rate::ONE)?;
        if spending.most_of_basket.numerator() > spending.most_of_basket.denominator() {
            return Err(section.wrong("most_of_basket", Right::PartOfBasket));
        }
        done(&section, spending)
    }
}

impl Expiry {
    pub(super) fn read(root: &Section<'_>) -> Result<Self, Wrong> {
        let mut expiry = Self { valid_days: None, notice_days: 30 };
        let Some(section) = root.section("expiry")? else { return Ok(expiry) };
        let valid = section.small("valid_days", 2..=36_500)?;
        let most = valid.saturating_sub(1);
        expiry.notice_days = section.small_or("notice_days", 1..=most, 30.min(most))?;
        expiry.valid_days = Some(valid);
        done(&section, expiry)
    }
}
