//! What is kept of ended questions of the clean room once they left memory: sealed under the key of the facts,
//! in pages by name, beside indices by which names are found.
//!
//! Knows nothing of questions: that is [`crate::cleanroom`]'s.

use super::import::{Facts, ImportError};
use crate::store::{Keyspace, Pair, Write};

const ENDED: Keyspace = "ended_questions";
/// Bytes of a page, below what a value of the store may have with its seal.
const PAGE: usize = 48 * 1024;
/// Pages read at a time.
const PAGES: usize = 64;
/// First byte of a page's key, and of an index entry's.
const NAMED: u8 = 0;
const INDEX: u8 = 1;

fn page_key(name: &[u8], page: usize) -> Vec<u8> {
    let length = u16::try_from(name.len()).unwrap_or(u16::MAX).to_be_bytes();
    let page = u32::try_from(page).unwrap_or(u32::MAX).to_be_bytes();
    [&[NAMED], length.as_slice(), name, page.as_slice()].concat()
}

fn bound_to(key: &[u8]) -> Vec<u8> {
    [b"coalition ended question v1\0".as_slice(), key].concat()
}

impl Facts {
    /// Keeps something under a name, in place of what was there, findable by each of these indices.
    ///
    /// # Errors
    /// When the store fails, or it is too much for one transaction.
    pub fn keep_ended(
        &self,
        name: &[u8],
        what: &[u8],
        indices: &[Vec<u8>],
    ) -> Result<(), ImportError> {
        let mut writes = Vec::new();
        // a last page that is not full says that there is no further one
        for (number, page) in what.chunks(PAGE).chain([&[][..]]).enumerate() {
            let key = page_key(name, number);
            let sealed = self.key.seal(page, &bound_to(&key), &self.random);
            writes.push(Write::put(ENDED, key, sealed.map_err(|_| ImportError::Sealing)?));
        }
        for index in indices {
            writes.push(Write::put(ENDED, [&[INDEX], index.as_slice()].concat(), name.to_vec()));
        }
        Ok(self.store.transaction(&writes)?)
    }

    /// What is kept under a name.
    ///
    /// # Errors
    /// When the store fails or a page does not open.
    pub fn ended(&self, name: &[u8]) -> Result<Option<Vec<u8>>, ImportError> {
        let mut all = Vec::new();
        for number in 0.. {
            let key = page_key(name, number);
            let Some(sealed) = self.store.get(ENDED, &key)? else {
                return Ok((number > 0).then_some(all));
            };
            let page = self.key.open(&sealed, &bound_to(&key));
            let page = page.map_err(|_| ImportError::Damaged { what: "ended question" })?;
            all.extend_from_slice(&page);
            if page.len() < PAGE {
                return Ok(Some(all));
            }
        }
        Ok(None)
    }

    /// The names whose index begins so, in the order of the indices, so many at most.
    ///
    /// # Errors
    /// When the store fails.
    pub fn ended_by(&self, index: &[u8], most: usize) -> Result<Vec<Vec<u8>>, ImportError> {
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut after: Option<Vec<u8>> = None;
        while names.len() < most {
            let some = PAGES.min(most.saturating_sub(names.len()));
            let found = self.ended_after(index, after.as_deref(), some)?;
            let Some((last, _)) = found.last() else { break };
            after = Some(last.clone());
            names.extend(found.into_iter().map(|(_, name)| name));
        }
        Ok(names)
    }

    /// The next indices that begin so, behind one of them, so many at most, each with its name.
    ///
    /// # Errors
    /// When the store fails.
    pub fn ended_after(
        &self,
        index: &[u8],
        after: Option<&[u8]>,
        most: usize,
    ) -> Result<Vec<Pair>, ImportError> {
        let prefix = [&[INDEX], index].concat();
        let after = after.map(|after| [&[INDEX], after].concat());
        let found = self.store.scan_prefix(ENDED, &prefix, after.as_deref(), most)?;
        let of_index = |(key, name): Pair| (key.get(1..).unwrap_or_default().to_vec(), name);
        Ok(found.into_iter().map(of_index).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::standing::tests::facts;
    use crate::store::Store as _;

    #[test]
    fn what_is_kept_is_found_by_name_and_index_and_replaced() {
        let (_folder, store, facts) = facts();
        let large: Vec<u8> = (0..150_000u32).map(|number| number.to_be_bytes()[3]).collect();
        facts.keep_ended(b"one", &large, &[vec![7, 2], vec![9]]).unwrap();
        facts.keep_ended(b"two", b"small", &[vec![7, 1]]).unwrap();
        assert_eq!(facts.ended(b"one").unwrap(), Some(large.clone()));
        assert_eq!(facts.ended_by(&[7], 9).unwrap(), [b"two".to_vec(), b"one".to_vec()]);
        assert_eq!(facts.ended_by(&[7], 1).unwrap(), [b"two".to_vec()]);
        let (first, second) = ((vec![7, 1], b"two".to_vec()), (vec![7, 2], b"one".to_vec()));
        assert_eq!(facts.ended_after(&[7], None, 1).unwrap(), [first]);
        assert_eq!(facts.ended_after(&[7], Some(&[7, 1]), 9).unwrap(), [second]);
        assert_eq!(facts.ended_after(&[7], Some(&[7, 2]), 9).unwrap(), []);
        assert_eq!(facts.ended(b"o").unwrap(), None);
        // less in place of more
        facts.keep_ended(b"one", b"", &[]).unwrap();
        assert_eq!(facts.ended(b"one").unwrap(), Some(Vec::new()));
        // nothing of it is on the disk in clear
        let stored = store.scan_prefix(super::ENDED, &[super::NAMED], None, 100).unwrap();
        assert!(stored.iter().all(|(_, value)| !value.windows(5).any(|some| some == b"small")));
        // a page of another name does not open
        let (from, to) = (super::page_key(b"two", 0), super::page_key(b"six", 0));
        let moved = crate::store::Write::put(
            super::ENDED,
            to,
            facts.store.get(super::ENDED, &from).unwrap().unwrap(),
        );
        facts.store.transaction(&[moved]).unwrap();
        assert!(facts.ended(b"six").is_err());
    }
}
