//! How an identifier is shown to people: its ends, never its middle.

/// Shows the first three and last four characters of an identifier, as in `138****5678`.
///
/// The stars are always four, so that they do not give the length away. Of an identifier of fewer
/// than nine characters only the first is shown, of one of fewer than five nothing.
#[must_use]
pub fn masked(identifier: &str) -> String {
    let characters: Vec<char> = identifier.chars().collect();
    match characters.as_slice() {
        [a, b, c, middle @ .., w, x, y, z] if middle.len() >= 2 => {
            format!("{a}{b}{c}****{w}{x}{y}{z}")
        }
        [first, _, _, _, _, ..] => format!("{first}****"),
        _ => "****".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn the_middle_is_never_shown() {
        for (identifier, shown) in [
            ("13812345678", "138****5678"),
            ("FS002WFNZ0DA", "FS0****Z0DA"),
            ("123456789", "123****6789"),
            ("12345678", "1****"),
            ("1234", "****"),
            ("", "****"),
            ("会员一二三四五六七八", "会员一****五六七八"),
        ] {
            assert_eq!(masked(identifier), shown);
        }
    }
}
