//! SHA-256 (FIPS 180-4), HMAC (RFC 2104) and HKDF (RFC 5869) for messages of a few blocks.
//!
//! Almost everything that is hashed here is a leaf or two nodes of a tree, where what a general
//! library does around the compression costs as much as the compression. This is the framing alone,
//! around `sha2`'s compression function, and with a key's two first blocks compressed once.

use sha2::block_api::compress256;

const BLOCK: usize = 64;
const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// A SHA-256 that is under way.
#[derive(Clone)]
struct Hasher {
    state: [u32; 8],
    // what does not fill a block yet
    pending: [u8; BLOCK],
    filled: usize,
    // bytes before the pending ones
    length: u64,
}

impl Hasher {
    const fn new() -> Self {
        Self { state: INITIAL, pending: [0; BLOCK], filled: 0, length: 0 }
    }

    /// Goes on after one block that was compressed before.
    const fn after_block(state: [u32; 8]) -> Self {
        Self { state, pending: [0; BLOCK], filled: 0, length: BLOCK as u64 }
    }

    #[inline]
    fn compress(&mut self, blocks: &[[u8; BLOCK]]) {
        compress256(&mut self.state, blocks);
        self.length = self.length.wrapping_add((blocks.len() as u64).wrapping_mul(BLOCK as u64));
    }

    #[inline]
    fn update(&mut self, mut bytes: &[u8]) {
        if self.filled > 0 {
            let room = BLOCK.saturating_sub(self.filled);
            let (now, later) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            let end = self.filled.saturating_add(now.len());
            if let Some(place) = self.pending.get_mut(self.filled..end) {
                place.copy_from_slice(now);
            }
            self.filled = end;
            bytes = later;
            if self.filled < BLOCK {
                return;
            }
            let block = self.pending;
            self.compress(&[block]);
            self.filled = 0;
        }
        let (blocks, rest) = bytes.as_chunks::<BLOCK>();
        if !blocks.is_empty() {
            self.compress(blocks);
        }
        if let Some(place) = self.pending.get_mut(..rest.len()) {
            place.copy_from_slice(rest);
        }
        self.filled = rest.len();
    }

    #[inline]
    fn finish(mut self) -> [u8; 32] {
        let bits = self.length.wrapping_add(self.filled as u64).wrapping_mul(8);
        let mut last = [[0_u8; BLOCK]; 2];
        // one block holds the end of the message, a mark and the length, or two do
        let one = self.filled < 56;
        let flat = last.as_flattened_mut();
        for (to, from) in flat.iter_mut().zip(self.pending.get(..self.filled).unwrap_or_default()) {
            *to = *from;
        }
        if let Some(mark) = flat.get_mut(self.filled) {
            *mark = 0x80;
        }
        let end = if one { BLOCK } else { 2 * BLOCK };
        if let Some(place) = flat.get_mut(end.saturating_sub(8)..end) {
            place.copy_from_slice(&bits.to_be_bytes());
        }
        let [first, _] = &last;
        compress256(&mut self.state, if one { std::slice::from_ref(first) } else { &last });
        let mut digest = [0; 32];
        for (to, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(self.state) {
            *to = word.to_be_bytes();
        }
        digest
    }
}

/// SHA-256 of the parts, one after another.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finish()
}

/// An HMAC-SHA-256 key, prepared for many messages.
#[derive(Clone)]
pub struct HmacKey {
    inner: [u32; 8],
    outer: [u32; 8],
}

impl std::fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HmacKey(..)")
    }
}

impl HmacKey {
    /// Prepares a key.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        let mut block = [0; BLOCK];
        let short = if key.len() > BLOCK { &sha256(&[key])[..] } else { key };
        block.iter_mut().zip(short).for_each(|(to, from)| *to = *from);
        let padded = |pad: u8| {
            let mut state = INITIAL;
            compress256(&mut state, &[block.map(|byte| byte ^ pad)]);
            state
        };
        Self { inner: padded(0x36), outer: padded(0x5c) }
    }

    /// The tag of a message, given in parts.
    #[must_use]
    pub fn tag(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut inner = Hasher::after_block(self.inner);
        parts.iter().for_each(|part| inner.update(part));
        let mut outer = Hasher::after_block(self.outer);
        outer.update(&inner.finish());
        outer.finish()
    }
}

/// HMAC-SHA-256 of a message.
#[must_use]
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    HmacKey::new(key).tag(&[message])
}

/// The pseudorandom key of HKDF-SHA-256, from which many keys may be expanded.
#[derive(Clone, Debug)]
pub struct HkdfKey(HmacKey);

impl HkdfKey {
    /// HKDF's first step.
    #[must_use]
    pub fn extract(secret: &[u8], salt: &[u8]) -> Self {
        Self(HmacKey::new(&HmacKey::new(salt).tag(&[secret])))
    }

    /// HKDF's second step, to `N` bytes, `N` at most 8160; `info` in at most 5 parts.
    #[must_use]
    pub fn expand<const N: usize>(&self, info: &[&[u8]]) -> [u8; N] {
        const { assert!(N <= 255 * 32) };
        let mut out = [0; N];
        let mut before: &[u8] = &[];
        let mut block;
        for (number, place) in (1_u8..=255).zip(out.chunks_mut(32)) {
            let mut inner = Hasher::after_block(self.0.inner);
            inner.update(before);
            info.iter().for_each(|part| inner.update(part));
            inner.update(&[number]);
            let mut outer = Hasher::after_block(self.0.outer);
            outer.update(&inner.finish());
            block = outer.finish();
            place.iter_mut().zip(block).for_each(|(to, from)| *to = from);
            before = &block;
        }
        out
    }
}

/// HKDF-SHA-256 (RFC 5869) to `N` bytes, `N` at most 8160.
#[must_use]
pub fn hkdf_sha256<const N: usize>(secret: &[u8], salt: &[u8], info: &[&[u8]]) -> [u8; N] {
    HkdfKey::extract(secret, salt).expand(info)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 5869, test case 1.
    #[test]
    fn hkdf_agrees_with_rfc_5869() {
        let salt: Vec<u8> = (0x00..=0x0c).collect();
        let info: Vec<u8> = (0xf0..=0xf9).collect();
        let okm: [u8; 42] = hkdf_sha256(&[0x0b; 22], &salt, &[&info]);
        assert_eq!(okm[..8], [0x3c, 0xb2, 0x5f, 0x25, 0xfa, 0xac, 0xd5, 0x7a]);
        assert_eq!(okm[36..], [0x00, 0x72, 0x08, 0xd5, 0xb8, 0x87, 0x18, 0x58, 0x65][3..]);
    }

    proptest! {
        /// Another implementation, which shares no line with this one, finds the same.
        #[test]
        fn ring_finds_the_same(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..5),
            key in prop::collection::vec(any::<u8>(), 0..150),
        ) {
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let whole = parts.concat();
            let digest = ring::digest::digest(&ring::digest::SHA256, &whole);
            prop_assert_eq!(&sha256(&parts)[..], digest.as_ref());
            let hmac = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key);
            let tag = ring::hmac::sign(&hmac, &whole);
            prop_assert_eq!(&HmacKey::new(&key).tag(&parts)[..], tag.as_ref());
            let mut expected = [0; 32];
            ring::hkdf::Salt::new(ring::hkdf::HKDF_SHA256, &key)
                .extract(&whole)
                .expand(&parts, ring::hkdf::HKDF_SHA256)
                .and_then(|okm| okm.fill(&mut expected))
                .unwrap();
            prop_assert_eq!(hkdf_sha256::<32>(&whole, &key, &parts), expected);
        }
    }
}
