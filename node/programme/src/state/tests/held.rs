//! What a member may ask to see.

use super::*;
use crate::calendar::DayOfYear;
use crate::fraud::Trace;
use crate::marketing::Offering;

const RULES: &str = "[[coupon]]\nname = \"a\"\nzh = \"券\"\nen = \"A\"\nvalid_days = 3\nclaimable = true\n\
    [[trigger]]\nname = \"hello\"\nwhen = \"birthday\"\npoints = 5\n";

#[test]
fn what_is_held_of_a_member_is_shown_and_nothing_of_others() {
    let mut world = World::new(RULES);
    for number in [1, 2] {
        let account = member(number);
        let joined = Event::Joined {
            account,
            birthday: DayOfYear::new(2, 29),
            referrer: None,
            device: Some(Trace::from_bytes([number; 16])),
            address: None,
        };
        world.handle(joined).unwrap();
        world.buy(account, 50_000);
        let claim = Event::ClaimCoupon { key: key(number.into()), account, kind: name("a") };
        world.handle(claim).unwrap();
        let (points, reason) = (points(7), "a till was offline".to_owned());
        let (key, by) = (key(10 + u64::from(number)), "li".to_owned());
        world.handle(Event::Adjust { key, account, points, gives: true, reason, by }).unwrap();
        let text = format!("{number} asks");
        world.handle(Event::Ask { account, about: name("points"), text }).unwrap();
    }
    let held = world.programme.copy().held(member(1));
    let remembered = held.remembered.unwrap();
    assert_eq!((remembered.purchases, remembered.accumulated), (1, 500));
    assert_eq!(remembered.birthday, DayOfYear::new(2, 29));
    assert!(remembered.joined.is_some() && !remembered.outside);
    assert_eq!(remembered.channels, [(name("offline"), 1)]);
    assert_eq!(remembered.hours.iter().sum::<u32>(), 1);
    assert_eq!((held.coupons.len(), held.corrections.len(), held.devices), (1, 1, 1));
    assert_eq!(held.requests.len(), 1);
    assert_eq!(held.requests[0].1.text, "1 asks");
    assert!(held.notices.iter().all(|told| told.account == Some(member(1))));
    assert_eq!(held.left_out, [] as [Offering; 0]);
    assert_eq!(world.programme.copy().held(member(9)), Held::default());
    // who left has what is the member's, and nothing that was concluded
    world.handle(Event::Leave { account: member(1) }).unwrap();
    let held = world.programme.copy().held(member(1));
    let remembered = held.remembered.unwrap();
    assert!(remembered.outside && remembered.channels.is_empty() && remembered.birthday.is_none());
    assert_eq!((held.coupons.len(), held.corrections.len()), (1, 1));
    world.handle(Event::Forget { account: member(1) }).unwrap();
    let held = world.programme.copy().held(member(1));
    assert_eq!((held.coupons.len(), held.requests.len(), held.devices), (0, 0, 0));
}
