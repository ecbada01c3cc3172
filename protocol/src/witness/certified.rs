//! Which headers this node has seen certified: a certificate that was verified once is recognised by
//! the hash of its header.
//!
//! Every block carries the certificates of what it recognises anew, and nearly always its judge has
//! verified them when they were made; without this each would cost a quorum of signatures again. Holds
//! the latest of every log; what is not among them is verified as if never seen.

use std::collections::{BTreeMap, VecDeque};

use crate::ids::{BrandId, HeaderHash};

/// Headers kept of one log.
const KEPT: usize = 32;

/// The latest certified headers of every log.
#[derive(Clone, Debug, Default)]
pub struct CertifiedHeaders {
    of: BTreeMap<BrandId, VecDeque<HeaderHash>>,
}

impl CertifiedHeaders {
    /// Takes note of a header whose certificate was verified here.
    pub fn note(&mut self, log: BrandId, header: HeaderHash) {
        let known = self.of.entry(log).or_default();
        if known.back() == Some(&header) {
            return;
        }
        if known.len() >= KEPT {
            known.pop_front();
        }
        known.push_back(header);
    }

    /// Whether this log's header with this hash is known to be certified.
    #[must_use]
    pub fn contains(&self, log: BrandId, header: HeaderHash) -> bool {
        self.of.get(&log).is_some_and(|known| known.contains(&header))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_headers_of_each_log_are_known_and_no_others() {
        let (a, b) = (BrandId::new("a").unwrap(), BrandId::new("b").unwrap());
        let header = |number: usize| HeaderHash::from_bytes([number as u8; 32]);
        let mut known = CertifiedHeaders::default();
        for number in 1..=KEPT + 1 {
            known.note(a, header(number));
            known.note(a, header(number));
        }
        assert!(!known.contains(a, header(1)));
        assert!((2..=KEPT + 1).all(|number| known.contains(a, header(number))));
        assert!(!known.contains(b, header(2)));
    }
}
