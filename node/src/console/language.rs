//! The two languages of the console, and which one a reader wants.

/// What stands between the languages in words that have both.
const BETWEEN: &str = " / ";

/// A language of the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// 简体中文.
    Chinese,
    /// English.
    English,
}

impl Language {
    /// As in `?lang=`: `zh` or `en`.
    #[must_use]
    pub fn from_tag(tag: &str) -> Option<Self> {
        match tag {
            "zh" => Some(Self::Chinese),
            "en" => Some(Self::English),
            _ => None,
        }
    }

    /// Its tag in URLs.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Chinese => "zh",
            Self::English => "en",
        }
    }

    /// Its tag in HTML.
    #[must_use]
    pub const fn html_tag(self) -> &'static str {
        match self {
            Self::Chinese => "zh-CN",
            Self::English => "en",
        }
    }

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Chinese => Self::English,
            Self::English => Self::Chinese,
        }
    }

    /// The one of these words that is in it.
    pub(super) const fn say<'w>(self, zh: &'w str, en: &'w str) -> &'w str {
        match self {
            Self::Chinese => zh,
            Self::English => en,
        }
    }

    /// The part in it of words of the node that have both, English first (`words / 文字`); all of any others.
    pub(crate) fn part(self, words: &str) -> &str {
        halves(words).map_or(words, |(english, chinese)| self.say(chinese, english))
    }

    /// What an `Accept-Language` header (RFC 9110, section 12.5.4) prefers; English when it names
    /// neither.
    #[must_use]
    pub fn preferred(header: &str) -> Self {
        let wanted = header.split(',').take(32).filter_map(|range| {
            let mut parts = range.trim().split(';');
            let tag = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
            let language = Self::from_tag(tag.split('-').next().unwrap_or_default())?;
            let weight = parts.find_map(|part| part.trim().strip_prefix("q="));
            Some((language, weight.map_or(Some(1.0), |q| q.trim().parse::<f32>().ok())?))
        });
        // of equal weights the first: max_by would take the last
        wanted
            .filter(|(_, weight)| *weight > 0.0)
            .reduce(|best, next| if next.1 > best.1 { next } else { best })
            .map_or(Self::English, |(language, _)| language)
    }
}

/// The halves of words that have both, English first.
pub(super) fn halves(words: &str) -> Option<(&str, &str)> {
    let is_chinese = |c: char| ('\u{4e00}'..='\u{9fff}').contains(&c);
    // what is quoted may have such a stroke of its own
    words.rmatch_indices(BETWEEN).find_map(|(at, between)| {
        let (english, rest) = words.split_at_checked(at)?;
        let chinese = rest.strip_prefix(between)?;
        let are_both = !english.contains(is_chinese) && chinese.contains(is_chinese);
        are_both.then_some((english, chinese))
    })
}

/// Words of a page that is whole in both languages: they stand side by side in its template. With `words`,
/// the node's own words as well.
macro_rules! say {
    ($page:ident) => {
        impl $page<'_> {
            const fn say<'w>(&self, zh: &'w str, en: &'w str) -> &'w str {
                self.language.say(zh, en)
            }
        }
    };
    ($page:ident, words) => {
        say!($page);
        impl $page<'_> {
            fn words<'w>(&self, words: &'w $crate::service::Bilingual) -> &'w str {
                self.say(&words.zh, &words.en)
            }
        }
    };
}
pub(super) use say;

#[cfg(test)]
mod tests {
    use super::Language::{Chinese, English};
    use super::*;

    #[test]
    fn of_words_in_both_languages_one_is_read() {
        for (words, chinese, english) in [
            ("make one / 请备份", "请备份", "make one"),
            ("1 / 2 of a / 共 1 / 2", "共 1 / 2", "1 / 2 of a"),
            ("disk: away / 磁盘：away", "磁盘：away", "disk: away"),
            ("1,203 / 1,204", "1,203 / 1,204", "1,203 / 1,204"),
            ("磁盘 / 已满", "磁盘 / 已满", "磁盘 / 已满"),
            ("", "", ""),
        ] {
            assert_eq!((Chinese.part(words), English.part(words)), (chinese, english));
        }
    }

    #[test]
    fn the_reader_is_heard() {
        for (header, language) in [
            ("zh-CN,zh;q=0.9,en;q=0.8", Chinese),
            ("en-GB, zh;q=0.5", English),
            ("en;q=0.2, zh;q=0.7", Chinese),
            ("fr, de;q=0.8, zh;q=0.1", Chinese),
            ("zh;q=0, en;q=0.1", English),
            ("zh;q=x", English),
            ("en, zh", English),
            ("", English),
            ("*", English),
        ] {
            assert_eq!(Language::preferred(header), language, "{header}");
        }
    }
}
