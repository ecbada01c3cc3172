//! SHA-256 over tagged, length-prefixed parts.
//!
//! Every hash of this crate starts with its own domain tag, and every part with its length, so
//! that no two different lists of parts feed the same bytes to the function.

use ring::digest::{Context, SHA256};

pub(crate) fn tagged(tag: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in core::iter::once(tag.as_bytes()).chain(parts.iter().copied()) {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::tagged;

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(tagged("t", &[b"ab", b"c"]), tagged("t", &[b"a", b"bc"]));
        assert_ne!(tagged("t", &[b"a"]), tagged("ta", &[]));
    }
}
