//! What may be told of a line beside what every line has: the store, its region, the label of what was bought. Each is kept
//! where a mapping names its column, and nowhere else.

/// Longest text of each, in bytes.
pub(super) const DETAIL_MAX: usize = 64;

/// One value for each of them: a column's name, the column, or a line's cell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Details<T> {
    /// The store, or whatever the brand sells at.
    pub(super) store: Option<T>,
    /// Where the store is.
    pub(super) region: Option<T>,
    /// The label or brand of what was bought.
    pub(super) label: Option<T>,
}

impl<T> Details<T> {
    /// Each with its name in mappings and facts.
    pub(super) fn named(&self) -> [(&'static str, Option<&T>); 3] {
        [
            ("store", self.store.as_ref()),
            ("region", self.region.as_ref()),
            ("label", self.label.as_ref()),
        ]
    }

    /// Those that are there, as something else.
    pub(super) fn map<'a, U>(&'a self, mut of: impl FnMut(&'a T) -> U) -> Details<U> {
        Details {
            store: self.store.as_ref().map(&mut of),
            region: self.region.as_ref().map(&mut of),
            label: self.label.as_ref().map(&mut of),
        }
    }

    /// The same where it may fail, or come to nothing.
    pub(super) fn try_map<'a, U, E>(
        &'a self,
        mut of: impl FnMut(&'static str, &'a T) -> Result<Option<U>, E>,
    ) -> Result<Details<U>, E> {
        let mut each = |name, value: Option<&'a T>| match value {
            Some(value) => of(name, value),
            None => Ok(None),
        };
        Ok(Details {
            store: each("store", self.store.as_ref())?,
            region: each("region", self.region.as_ref())?,
            label: each("label", self.label.as_ref())?,
        })
    }
}
