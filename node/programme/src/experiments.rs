//! Tests of offers: which group a member is in, and how the groups do.
//!
//! The group comes from HMAC-SHA-256 under the brand's key over the test's name and the account: the
//! same for ever, not to be foretold without the key, and independent between tests.

use minicbor::{Decode, Encode};
use ring::hmac;

use crate::ids::{Account, Name};
use crate::rules::{Experiment, Group};

/// Domain of the assignment, so that the key may serve for something else too.
const DOMAIN: &[u8] = b"coalition programme experiment 1\0";

/// How one group has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct GroupResult {
    /// Members in it.
    #[n(0)]
    pub members: u64,
    /// Of them, who bought within the days that are counted.
    #[n(1)]
    pub buyers: u64,
    /// Their baskets in those days.
    #[n(2)]
    pub purchases: u64,
    /// What these came to, in fen.
    #[n(3)]
    pub fen: u64,
    /// Coupons that a campaign gave them.
    #[cbor(n(4), default)]
    pub coupons_given: u64,
    /// Of those, redeemed.
    #[cbor(n(5), default)]
    pub coupons_redeemed: u64,
}

/// The key of the assignments of one brand.
pub struct AssignmentKey(hmac::Key);

impl std::fmt::Debug for AssignmentKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // a key
        f.write_str("AssignmentKey(..)")
    }
}

impl AssignmentKey {
    /// From 32 secret bytes.
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The member's group of a test, with its place. A test has at least two.
    ///
    /// 64 bits taken modulo at most 200,000 shares favour none by more than 2^-46.
    #[must_use]
    pub fn group<'e>(
        &self,
        name: &Name,
        experiment: &'e Experiment,
        account: Account,
    ) -> Option<(u8, &'e Group)> {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(DOMAIN);
        context.update(name.as_str().as_bytes());
        context.update(b"\0");
        context.update(account.as_bytes());
        let tag = context.sign();
        let first = tag.as_ref().first_chunk::<8>()?;
        let shares: u64 = experiment.groups.iter().map(|group| u64::from(group.share)).sum();
        let mut place = u64::from_be_bytes(*first).checked_rem(shares)?;
        for (number, group) in (0_u8..).zip(&experiment.groups) {
            match place.checked_sub(group.share.into()) {
                None => return Some((number, group)),
                Some(rest) => place = rest,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rules;

    #[test]
    fn groups_have_their_shares_and_a_member_stays_in_one() {
        let rules = Rules::from_toml(
            "format = \"coalition programme 1\"\nversion = 1\n[[experiment]]\nname = \"a\"\nzh = \"甲\"\nen = \"A\"\n[[experiment.group]]\nname = \"control\"\nshare = 1\n[[experiment.group]]\nname = \"gift\"\nshare = 3\npoints = 5",
        )
        .unwrap();
        let (name, experiment) = rules.experiments.first_key_value().unwrap();
        let key = AssignmentKey::new(&[7; 32]);
        let mut counts = [0_u32; 2];
        for number in 0..20_000_u128 {
            let account = Account::from_bytes(number.to_be_bytes());
            let (group, _) = key.group(name, experiment, account).unwrap();
            assert_eq!(key.group(name, experiment, account).unwrap().0, group);
            counts[usize::from(group)] += 1;
        }
        // 5000 expected; seven standard deviations are 429
        assert!(counts[0].abs_diff(5_000) < 429, "{counts:?}");
        let other = AssignmentKey::new(&[8; 32]);
        let differs = (0..100_u128).any(|number| {
            let account = Account::from_bytes(number.to_be_bytes());
            key.group(name, experiment, account).unwrap().0
                != other.group(name, experiment, account).unwrap().0
        });
        assert!(differs);
    }
}
