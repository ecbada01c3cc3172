//! One slip of the hand: what somebody types who hits one wrong key, or two in the wrong order.
//!
//! Knows texts alone. Numbers that a shop gives out one after another differ in their last character,
//! and so do telephone numbers that a family bought together: another last character is no slip.

use zeroize::Zeroizing;

/// Shorter texts are a slip away from too many others.
const SHORTEST: usize = 6;
/// Longest text whose slips are made: each of them is looked up.
const LONGEST: usize = 24;

/// Whether two texts of one length differ by one character that is not the last, or by two neighbours
/// that have changed places.
pub(super) fn is_slip(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() || one.len() < SHORTEST {
        return false;
    }
    let mut places = (0..one.len()).filter(|place| one.get(*place) != other.get(*place));
    match (places.next(), places.next(), places.next()) {
        (Some(place), None, _) => place + 1 < one.len(),
        (Some(place), Some(next), None) => {
            next == place + 1
                && one.get(place) == other.get(next)
                && one.get(next) == other.get(place)
        }
        _ => false,
    }
}

/// Everything that is one slip from a text, with digits, capitals and small letters where the text has
/// such; nothing for texts that are too short, too long or not ASCII.
pub(super) fn slips(text: &str) -> Vec<Zeroizing<String>> {
    let bytes = text.as_bytes();
    if !(SHORTEST..=LONGEST).contains(&bytes.len()) || !bytes.is_ascii() {
        return Vec::new();
    }
    let alphabet: Vec<u8> = [b'0'..=b'9', b'A'..=b'Z', b'a'..=b'z']
        .into_iter()
        .filter(|class| bytes.iter().any(|byte| class.contains(byte)))
        .flatten()
        .collect();
    let mut changed: Vec<Vec<u8>> = Vec::new();
    for (place, right) in bytes.iter().enumerate() {
        let Some(next) = bytes.get(place + 1) else { break };
        for wrong in alphabet.iter().filter(|wrong| *wrong != right) {
            let mut slip = bytes.to_vec();
            if let Some(byte) = slip.get_mut(place) {
                *byte = *wrong;
            }
            changed.push(slip);
        }
        if right != next {
            let mut slip = bytes.to_vec();
            slip.swap(place, place + 1);
            changed.push(slip);
        }
    }
    // ASCII stays ASCII
    changed
        .into_iter()
        .filter_map(|slip| String::from_utf8(slip).ok().map(Zeroizing::new))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wrong_character_or_two_in_the_wrong_order_is_a_slip() {
        for (one, other) in [
            ("FS002WFNZ0DA", "FS002WFNZ7DA"),
            ("FS002WFNZ0DA", "FS00W2FNZ0DA"),
            ("FS002WFNZ0DA", "FS002WFNZ0AD"),
            ("+8613812345678", "+8613812395678"),
        ] {
            assert!(is_slip(one, other) && is_slip(other, one), "{one} {other}");
        }
        for (one, other) in [
            ("FS002WFNZ0DA", "FS002WFNZ0DA"),
            // as two that were given out one after another
            ("FS002WFNZ0DA", "FS002WFNZ0DB"),
            ("+8613812345678", "+8613812345679"),
            ("FS002WFNZ0DA", "FS102WFNZ7DA"),
            ("FS002WFNZ0DA", "FS002WFNZ0D"),
            ("12345", "12945"),
        ] {
            assert!(!is_slip(one, other) && !is_slip(other, one), "{one} {other}");
        }
    }

    #[test]
    fn the_slips_of_a_text_are_what_is_one_slip_from_it() {
        for text in ["FS002WFNZ0DA", "1234567890", "aB3dEf", "AAAAAAA"] {
            let slips = slips(text);
            assert!(slips.iter().all(|slip| is_slip(text, slip)), "{text}");
            let mut different: Vec<&str> = slips.iter().map(|slip| slip.as_str()).collect();
            different.sort_unstable();
            different.dedup();
            assert_eq!(different.len(), slips.len(), "{text}");
        }
        // nine other digits in nine places, and nine pairs of neighbours
        assert_eq!(slips("1234567890").len(), 9 * 9 + 9);
        for text in ["12345", "1234567890123456789012345", "汉字汉字汉字"] {
            assert!(slips(text).is_empty(), "{text}");
        }
    }
}
