//! What cannot be saved: the hashes, ciphers, signatures and syncs of an exchange, each alone.

use std::fs::File;
use std::io::Write as _;
use std::time::Instant;

use protocol::crypto::hash::{HkdfKey, sha256};
use protocol::crypto::sealed::{SealedLeaf, SealingContext};
use protocol::crypto::{SigningKey, sealed};
use protocol::ids::{BlockNonce, BrandId, LeafIndex};
use protocol::log::merkle::{NodeHash, leaf_hash};
use serde::Serialize;

use super::super::CliError;
use super::input;

/// Costs of single operations, in microseconds unless the name says otherwise.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Floor {
    /// Hash of a leaf.
    pub leaf_hash_us: f64,
    /// Hash of a node of the tree.
    pub node_hash_us: f64,
    /// Key of an entry.
    pub entry_key_us: f64,
    /// Key, commitment and sealing of an entry.
    pub seal_us: f64,
    /// The same, opened.
    pub open_us: f64,
    /// Hash of what all witnesses together keep of one leaf.
    pub fragments_us: f64,
    /// An Ed25519 signature.
    pub sign_us: f64,
    /// Its verification.
    pub verify_us: f64,
    /// Append and fdatasync of 4 KiB.
    pub sync_4_kib_us: f64,
    /// Append and fdatasync of 1 MiB.
    pub sync_1_mib_us: f64,
    /// What one exchange must cost all brands together in hashes and ciphers: sealed, hashed as leaf
    /// and in the tree by its sender and its receiver, opened, and hashed in fragments.
    pub exchange_us: f64,
}

fn best(rounds: u32, repeat: u32, mut work: impl FnMut(u32)) -> f64 {
    (0..rounds)
        .map(|_| {
            let began = Instant::now();
            (0..repeat).for_each(&mut work);
            began.elapsed().as_secs_f64() * 1e6 / f64::from(repeat)
        })
        .fold(f64::INFINITY, f64::min)
}

impl Floor {
    /// Measures it. `fragments` is how much of a body all witnesses keep together.
    pub fn measure(payload_size: usize, fragments: f64) -> Result<Self, CliError> {
        let leaf = vec![7_u8; sealed::sealed_leaf_bytes(payload_size)];
        let node = NodeHash::from_bytes([7; 32]);
        let context = SealingContext {
            log: BrandId::new("brand-01").map_err(input)?,
            nonce: BlockNonce::from_bytes([3; 16]),
            cipher: sealed::Cipher::default(),
        };
        let secret = sealed::BlockSecret::from_bytes([1; 32]);
        let key = context.column_key(&secret, BrandId::new("brand-02").map_err(input)?);
        let mut column = context.column(&key);
        let payload = [9; 67];
        let mut bytes = Vec::with_capacity(1024);
        column.seal_leaf(LeafIndex::new(1), &payload, payload_size, &mut bytes).map_err(input)?;
        let sealed = bytes.clone();
        let SealedLeaf::Sealed(entry) =
            protocol::codec::decode("a leaf", &sealed, 4096).map_err(input)?;
        let hkdf = HkdfKey::extract(&[1; 32], &[2; 16]);
        let signing = SigningKey::from_seed(&[5; 32]).map_err(input)?;
        let signature = signing.sign_bytes(&leaf);
        let mut floor = Self {
            leaf_hash_us: best(9, 2000, |_| {
                std::hint::black_box(leaf_hash(&leaf));
            }),
            node_hash_us: best(9, 2000, |_| {
                std::hint::black_box(NodeHash::over(&node, &node));
            }),
            entry_key_us: best(9, 2000, |number| {
                std::hint::black_box(hkdf.expand::<32>(&[&leaf[..70], &number.to_be_bytes()]));
            }),
            seal_us: best(9, 2000, |number| {
                bytes.clear();
                let index = LeafIndex::new(u64::from(number));
                let done = column.seal_leaf(index, &payload, payload_size, &mut bytes);
                std::hint::black_box(done.is_ok());
            }),
            ..Self::default()
        };
        floor.open_us = best(9, 2000, |_| {
            std::hint::black_box(column.open(LeafIndex::new(1), entry).is_ok());
        });
        floor.sign_us = best(5, 100, |_| {
            std::hint::black_box(signing.sign_bytes(&leaf));
        });
        let public = signing.public();
        floor.verify_us = best(5, 100, |_| {
            std::hint::black_box(public.verify(&leaf, &signature).is_ok());
        });
        floor.sync_4_kib_us = sync(4 * 1024, 50)?;
        floor.sync_1_mib_us = sync(1024 * 1024, 20)?;
        let block = vec![0; 65_536];
        let byte = best(5, 20, |_| {
            std::hint::black_box(sha256(&[&block]));
        }) / 65_536.0;
        let both = 2.0 * (floor.leaf_hash_us + floor.node_hash_us);
        floor.fragments_us = fragments * leaf.len() as f64 * byte;
        floor.exchange_us = floor.seal_us + floor.open_us + both + 2.0 * floor.fragments_us;
        Ok(floor)
    }
}

fn sync(bytes: usize, times: u32) -> Result<f64, CliError> {
    let folder = tempfile::tempdir().map_err(input)?;
    let path = folder.path().join("synced");
    let wrong = |source| CliError::File { path: path.clone(), source };
    let mut file = File::create(&path).map_err(wrong)?;
    let content = vec![7; bytes];
    let mut spent = 0.0;
    for _ in 0..times {
        let began = Instant::now();
        file.write_all(&content).and_then(|()| file.sync_data()).map_err(wrong)?;
        spent += began.elapsed().as_secs_f64();
    }
    Ok(spent * 1e6 / f64::from(times))
}
