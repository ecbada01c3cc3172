//! The rotation of the brand's key over what is stored: every data key wrapped again, page by page,
//! while the vault is read and written.
//!
//! What is wrapped already is recognised without opening it, so that an interrupted run goes on where
//! it was by beginning again. The old key may be forgotten when a whole run has found nothing left.

use super::{BRAND_KEYS, Batch, KeyError, MEMBERS, Vault, VaultError, file_key_place, record};

/// Records wrapped again in one transaction, for whose time nobody else writes.
const PAGE: usize = 128;

/// How far wrapping again has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewrapped {
    /// Records looked at.
    pub looked_at: u64,
    /// Of them, those that were wrapped again.
    pub rewrapped: u64,
}

impl Vault {
    /// As of [`BrandKey::is_rotating`](super::BrandKey::is_rotating).
    ///
    /// # Errors
    /// When the key service fails.
    pub fn is_rotating(&self) -> Result<bool, VaultError> {
        Ok(self.key.is_rotating()?)
    }

    /// As of [`BrandKey::begin_rotation`](super::BrandKey::begin_rotation); [`Self::rewrap`] does the rest.
    ///
    /// # Errors
    /// When the key is not rotated now or from here, or the key service fails.
    pub fn begin_rotation(&self) -> Result<(), KeyError> {
        self.key.begin_rotation(&*self.random)
    }

    /// As of [`BrandKey::end_rotation`](super::BrandKey::end_rotation), once [`Self::rewrap`] has found nothing left.
    ///
    /// # Errors
    /// When the key service fails, or the key cannot be written.
    pub fn end_rotation(&self) -> Result<(), VaultError> {
        Ok(self.key.end_rotation()?)
    }

    /// Wraps every key that is not under the newest brand key again. Blocks; may be interrupted and
    /// begun again at any time. When it ends well, nothing is wrapped by an older key.
    ///
    /// # Errors
    /// When the store, the key or the generator fails; what was wrapped stays so.
    pub fn rewrap(&self, progress: &mut dyn FnMut(Rewrapped)) -> Result<Rewrapped, VaultError> {
        let mut done = Rewrapped::default();
        let mut after = None;
        loop {
            let writing = self.lock();
            let page = self.page(after, PAGE)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            let mut batch = Batch::default();
            for (id, bytes) in &page {
                done.looked_at += 1;
                if let Some(fresh) = self.rewrapped(*id, bytes)? {
                    batch.put(MEMBERS, id.as_bytes(), fresh);
                    done.rewrapped += 1;
                }
            }
            self.store.transaction(&batch.writes)?;
            drop(writing);
            progress(done);
        }
        let _writing = self.lock();
        done.rewrapped += self.each_absorbed(|id, bytes| self.rewrapped(id, bytes))?;
        let mut batch = Batch::default();
        for (name, wrapped) in self.store.scan_prefix(BRAND_KEYS, &[], None, PAGE)? {
            if self.key.is_current(&wrapped)? {
                continue;
            }
            let place = file_key_place(self.brand, &name);
            batch.put(BRAND_KEYS, &name, self.key.rewrap(&wrapped, &place, &*self.random)?);
            done.rewrapped += 1;
        }
        self.store.transaction(&batch.writes)?;
        progress(done);
        Ok(done)
    }

    fn rewrapped(&self, id: super::MemberId, bytes: &[u8]) -> Result<Option<Vec<u8>>, VaultError> {
        record::rewrapped(self.brand, id, bytes, &*self.key, &*self.random)
    }
}
