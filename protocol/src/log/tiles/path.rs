//! Names of tiles: `tile/<L>/<N>[.p/<W>]` and `tile/entries/<N>[.p/<W>]`.

use std::fmt;
use std::num::NonZeroU8;
use std::str::FromStr;

use super::{LEVELS, TILE_WIDTH, place};
use crate::ids::TreeSize;

/// Longest path of a tile, in bytes.
const PATH_MAX: usize = 64;

/// What a tile holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileKind {
    /// Entries, each after its length (a "bundle").
    Entries,
    /// Hashes of subtrees of 256^level leaves.
    Hashes {
        /// 0 to 7; a tree with tiles above would have more than 2^64 leaves.
        level: u8,
    },
}

impl TileKind {
    /// How many leaves one item of such a tile covers, or none for a level that cannot be.
    const fn span(self) -> Option<u64> {
        match self {
            Self::Entries => Some(1),
            Self::Hashes { level } if level < LEVELS => 256_u64.checked_pow(level as u32),
            Self::Hashes { .. } => None,
        }
    }
}

/// Name of one tile, full or partial, relative to the log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TilePath {
    kind: TileKind,
    index: u64,
    // None: full
    partial: Option<NonZeroU8>,
}

/// A text is not the name of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a tile of a log: tile/<0 to 7 or entries>/<index as x001/x234/067>[.p/<1 to 255>]")]
pub struct InvalidTilePath;

impl TilePath {
    /// The tile `index` of this kind as a tree of `size` leaves has it, or none when it has not.
    #[must_use]
    pub fn in_tree(kind: TileKind, index: u64, size: TreeSize) -> Option<Self> {
        let items = size.get().checked_div(kind.span()?)?;
        let before = index.checked_mul(u64::from(TILE_WIDTH))?;
        let here = items.checked_sub(before).filter(|here| *here > 0)?;
        let partial = u8::try_from(here).ok().and_then(NonZeroU8::new);
        Some(Self { kind, index, partial })
    }

    /// The last tile of this kind in a tree of `size` leaves, if it is partial.
    #[must_use]
    pub fn right_edge(kind: TileKind, size: TreeSize) -> Option<Self> {
        let items = size.get().checked_div(kind.span()?)?;
        let (index, width) = place(items);
        let width = NonZeroU8::new(u8::try_from(width).ok()?)?;
        Some(Self { kind, index, partial: Some(width) })
    }

    /// What it holds.
    #[must_use]
    pub const fn kind(&self) -> TileKind {
        self.kind
    }
    /// Its place among the tiles of its kind and level.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }
    /// Number of hashes or entries in it, 1 to 256.
    #[must_use]
    pub fn width(&self) -> u16 {
        self.partial.map_or(TILE_WIDTH, |width| u16::from(width.get()))
    }
    /// The full tile at the same place.
    #[must_use]
    pub const fn full(&self) -> Self {
        Self { kind: self.kind, index: self.index, partial: None }
    }
    /// Whether it is full.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.partial.is_none()
    }
    /// Name of the directory in which the partial forms of this tile are.
    #[must_use]
    pub fn partials_directory(&self) -> String {
        format!("{}.p", self.full())
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Entries => f.write_str("tile/entries")?,
            TileKind::Hashes { level } => write!(f, "tile/{level}")?,
        }
        let mut groups = vec![self.index % 1000];
        let mut rest = self.index / 1000;
        while rest > 0 {
            groups.push(rest % 1000);
            rest /= 1000;
        }
        if let Some((last, others)) = groups.split_first() {
            others.iter().rev().try_for_each(|group| write!(f, "/x{group:03}"))?;
            write!(f, "/{last:03}")?;
        }
        self.partial.map_or(Ok(()), |width| write!(f, ".p/{width}"))
    }
}

impl fmt::Debug for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TilePath {
    type Err = InvalidTilePath;

    fn from_str(text: &str) -> Result<Self, InvalidTilePath> {
        if text.len() > PATH_MAX {
            return Err(InvalidTilePath);
        }
        let path = parse(text).ok_or(InvalidTilePath)?;
        // there is one form of each name: no signs, no other number of zeros, no empty groups
        if path.kind.span().is_some() && path.to_string() == text {
            Ok(path)
        } else {
            Err(InvalidTilePath)
        }
    }
}

fn parse(text: &str) -> Option<TilePath> {
    let (kind, rest) = text.strip_prefix("tile/")?.split_once('/')?;
    let kind = match kind {
        "entries" => TileKind::Entries,
        level => TileKind::Hashes { level: level.parse().ok()? },
    };
    let (index, partial) = match rest.split_once(".p/") {
        Some((index, width)) => (index, Some(width.parse().ok()?)),
        None => (rest, None),
    };
    let index = index.split('/').try_fold(0_u64, |number, group| {
        let group: u64 = group.strip_prefix('x').unwrap_or(group).parse().ok()?;
        number.checked_mul(1000)?.checked_add(group)
    })?;
    Some(TilePath { kind, index, partial })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_those_of_the_specification() {
        let kind = TileKind::Hashes { level: 1 };
        let path = TilePath { kind, index: 1_234_067, partial: NonZeroU8::new(17) };
        assert_eq!(path.to_string(), "tile/1/x001/x234/067.p/17");
        assert_eq!(path.partials_directory(), "tile/1/x001/x234/067.p");
        let path = TilePath { kind: TileKind::Entries, index: 1000, partial: None };
        assert_eq!(path.to_string(), "tile/entries/x001/000");
    }

    /// The example of the specification: 70,000 leaves, and 256.
    #[test]
    fn a_tree_has_the_tiles_of_the_specification() {
        let edges = |size| {
            (0..LEVELS)
                .filter_map(|level| {
                    TilePath::right_edge(TileKind::Hashes { level }, TreeSize::new(size))
                })
                .map(|path| path.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(edges(70_000), ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]);
        assert_eq!(edges(256), ["tile/1/000.p/1"]);
        let leaves = TileKind::Hashes { level: 0 };
        let tile = |index, size| TilePath::in_tree(leaves, index, TreeSize::new(size));
        assert!(tile(272, 70_000).unwrap().is_full());
        assert_eq!(tile(273, 70_000).unwrap().width(), 112);
        assert_eq!((tile(274, 70_000), tile(1, 256)), (None, None));
    }

    #[test]
    fn another_form_of_a_name_is_refused() {
        for text in [
            "",
            "tile",
            "tile/0",
            "tile/0/",
            "tile/00/000",
            "tile/8/000",
            "tile/-1/000",
            "tile/0/0",
            "tile/0/0000",
            "tile/0/1000",
            "tile/0/x000/001",
            "tile/0/001/001",
            "tile/0/x001",
            "tile/0/+01",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/",
            "tile/0/000.p/1/",
            "/tile/0/000",
            "tile/0/../000",
            "tile/data/000",
            "tile/0/x018/x446/x744/x073/x709/x551/616",
        ] {
            assert_eq!(text.parse::<TilePath>(), Err(InvalidTilePath), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_name_is_read_as_what_it_names(level in 0..9_u8, index: u64, width: u8) {
            let kind = match level {
                8 => TileKind::Entries,
                level => TileKind::Hashes { level },
            };
            let path = TilePath { kind, index, partial: NonZeroU8::new(width) };
            prop_assert_eq!(path.to_string().parse(), Ok(path));
        }
    }
}
