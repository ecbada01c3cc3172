//! What finance asks: whether the books balance, what is still owed to members, what was never spent.
//!
//! Liability is stated in points and in fen at the rate at which points pay at the till, exact and
//! rounded up to a fen. Breakage is what expired of what was issued or brought from
//! a programme of before.

use std::collections::BTreeMap;

use protocol::time::Timestamp;

use crate::accounts::Side;
use crate::state::Programme;

/// Points that expire within a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maturity {
    /// From so many days on,
    pub from_days: u32,
    /// up to so many; for ever without.
    pub to_days: Option<u32>,
    /// so many points.
    pub points: u128,
}

/// Points that expire in one month of the brand's calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MonthOfExpiry {
    /// Year and month of their last valid day; none when they never expire.
    pub month: Option<(u32, u8)>,
    /// So many points.
    pub points: u128,
}

/// The programme's figures at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// As of when.
    pub at: Timestamp,
    /// What has come to each side less what has left it.
    pub sides: Vec<(Side, i64)>,
    /// How far the books are from balancing: zero, or something is wrong.
    pub trial_balance: i128,
    /// Points members have, what is set aside included, and what is below zero left out.
    pub liability_points: u128,
    /// What these pay for at the till, in fen, rounded up.
    pub liability_fen: u128,
    /// By how much members' balances are below zero.
    pub owed_points: u128,
    /// When the liability expires.
    pub maturities: Vec<Maturity>,
    /// The same by month, in their order; what never expires comes last.
    pub expiring: Vec<MonthOfExpiry>,
    /// Points issued: for purchases, activities, campaigns, corrections, and come in.
    pub issued_points: u128,
    /// Points brought from a programme of before, which are not among those.
    pub opening_points: u128,
    /// Points that expired.
    pub expired_points: u128,
}

/// Borders of the maturities, in days.
const BORDERS: [u32; 4] = [30, 90, 180, 365];

/// The figures now.
#[must_use]
pub fn report(programme: &Programme, at: Timestamp) -> Report {
    let accounts = programme.accounts();
    let (mut liability, mut owed) = (0_u128, 0_u128);
    let mut maturities: Vec<Maturity> = [0]
        .into_iter()
        .chain(BORDERS)
        .zip(BORDERS.into_iter().map(Some).chain([None]))
        .map(|(from_days, to_days)| Maturity { from_days, to_days, points: 0 })
        .collect();
    let zone = programme.rules().map(|rules| rules.zone).unwrap_or_default();
    let mut months: BTreeMap<(bool, Option<(u32, u8)>), u128> = BTreeMap::new();
    for (_, balance) in accounts.iter() {
        owed = owed.saturating_add(balance.owed().get().into());
        for lot in balance.lots().as_slice() {
            let points = u128::from(lot.left.get());
            liability = liability.saturating_add(points);
            let month = lot.expires.map(|expires| {
                let last = Timestamp::from_unix_ms(expires.unix_ms().saturating_sub(1));
                let date = zone.day(last).date();
                (date.year, date.month)
            });
            let sum = months.entry((month.is_none(), month)).or_default();
            *sum = sum.saturating_add(points);
            let days = lot.expires.map(|expires| expires.since(at).get() / crate::calendar::DAY_MS);
            let place = maturities.iter_mut().find(|maturity| match (days, maturity.to_days) {
                (Some(days), Some(to)) => days < u64::from(to),
                (_, None) => true,
                (None, Some(_)) => false,
            });
            if let Some(maturity) = place {
                maturity.points = maturity.points.saturating_add(points);
            }
        }
    }
    let worth = programme.rules().map(|rules| rules.spending.fen_per_point);
    let liability_fen = worth.map_or(0, |rate| {
        let above = liability.saturating_mul(rate.numerator().into());
        above.div_ceil(u128::from(rate.denominator()))
    });
    let came = |side| u128::from(accounts.side(side).unsigned_abs());
    let issued =
        [Side::Purchases, Side::Activities, Side::Campaigns, Side::Corrections, Side::CameIn];
    Report {
        at,
        sides: Side::ALL.into_iter().map(|side| (side, accounts.side(side))).collect(),
        trial_balance: accounts.trial_balance(),
        liability_points: liability,
        liability_fen,
        owed_points: owed,
        maturities,
        expiring: months
            .into_iter()
            .map(|((_, month), points)| MonthOfExpiry { month, points })
            .collect(),
        issued_points: issued.into_iter().map(came).fold(0, u128::saturating_add),
        opening_points: came(Side::Opening),
        expired_points: came(Side::Expired),
    }
}

impl Report {
    /// Expired for every thousand issued or brought: the breakage.
    #[must_use]
    pub fn breakage_per_mille(&self) -> Option<u128> {
        let all = self.issued_points.saturating_add(self.opening_points);
        self.expired_points.saturating_mul(1_000).checked_div(all)
    }
}
