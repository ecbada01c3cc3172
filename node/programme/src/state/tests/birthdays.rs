//! Birthdays that whoever keeps birth dates tells, and corrects.

use super::*;
use crate::calendar::DayOfYear;

// the first moment is on the 4th of October
const RULES: &str = "[earning]\nbirthday_factor = [2, 1]\n[[trigger]]\nname = \"birthday\"\nwhen = \"birthday\"\npoints = 7\nagain_after_days = 1";

fn tell(world: &mut World, birthday: Option<(u8, u8)>) -> Outcome {
    let birthday = birthday.map(|(month, day)| DayOfYear::new(month, day).unwrap());
    world.handle(Event::Birthday { account: member(1), birthday })
}

fn given(world: &World) -> i64 {
    -world.programme.accounts().side(Side::Campaigns)
}

fn year_passes(world: &mut World) {
    (0..366).for_each(|_| world.days(1));
}

#[test]
fn a_birthday_that_is_told_doubles_and_gives_and_one_that_is_corrected_only_on_its_new_day() {
    let mut world = World::new(RULES);
    assert_eq!(world.programme.zone().day(world.at()).date().to_string(), "2024-10-04");
    tell(&mut world, Some((10, 6))).unwrap();
    assert_eq!(earned(&world.buy(member(1), 1_000)), (10, 0));
    assert_eq!(given(&world), 0);
    world.days(2);
    assert_eq!(given(&world), 7);
    assert_eq!(earned(&world.buy(member(1), 1_000)), (20, 0));
    assert_eq!(tell(&mut world, Some((10, 6))), Ok(Answer::Repeated));
    // corrected to the day after tomorrow, then all year long
    tell(&mut world, Some((10, 8))).unwrap();
    assert_eq!(earned(&world.buy(member(1), 1_000)), (10, 0));
    world.days(2);
    assert_eq!(given(&world), 14);
    assert_eq!(earned(&world.buy(member(1), 1_000)), (20, 0));
    world.survives();
    year_passes(&mut world);
    assert_eq!(given(&world), 21);
    tell(&mut world, None).unwrap();
    year_passes(&mut world);
    assert_eq!(given(&world), 21);
    world.survives();
}

#[test]
fn it_is_asked_once_and_who_joins_without_telling_keeps_what_is_known() {
    let mut world = World::new(RULES);
    assert!(world.programme.asks_birthday(member(1)) && !world.programme.knows(member(1)));
    tell(&mut world, None).unwrap();
    assert!(!world.programme.asks_birthday(member(1)) && world.programme.knows(member(1)));
    tell(&mut world, Some((2, 29))).unwrap();
    let (account, birthday) = (member(1), None);
    let joined = Event::Joined { account, birthday, referrer: None, device: None, address: None };
    world.handle(joined).unwrap();
    assert_eq!(world.programme.profile(member(1)).birthday, DayOfYear::new(2, 29));
    // who told it is not asked
    let (account, birthday) = (member(2), DayOfYear::new(5, 6));
    let joined = Event::Joined { account, birthday, referrer: None, device: None, address: None };
    world.handle(joined).unwrap();
    assert!(!world.programme.asks_birthday(member(2)));
    world.survives();
}
