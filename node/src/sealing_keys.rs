//! The brand's sealing keys on disk: one file a key, so that one can be destroyed and the others stay.
//!
//! Knows when a month is over, in the alliance's zone, and when a key's time is. A file is overwritten
//! before it is removed; what a copy, a snapshot of the disk or a flash drive's spare blocks keep is
//! beyond a program's reach (SECURITY.md). Whether a key may still be needed is the ledger's to say.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::tz::TimeZone;
use protocol::crypto::sealed::{KeyRing, SealError, SealingKey, SealingSecret};
use protocol::time::Timestamp;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::keys::{KeysError, Seed, io, new_seed, write_secret};

const FOLDER: &str = "sealing";

/// One key.
struct Kept {
    number: u32,
    made: Timestamp,
    public: SealingKey,
    secret: SealingSecret,
}

/// The brand's sealing keys, at least one.
pub struct SealingKeys {
    folder: PathBuf,
    current: Kept,
    // oldest first
    older: Vec<Kept>,
}

/// What may be shown of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyState {
    /// Its public half.
    pub public: SealingKey,
    /// When it was made.
    pub made: Timestamp,
    /// When another took its place.
    pub replaced: Option<Timestamp>,
}

impl std::fmt::Debug for SealingKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealingKeys({})", self.older.len() + 1)
    }
}

impl Kept {
    fn new(number: u32, made: Timestamp, seed: &Seed) -> Self {
        let (secret, public) = SealingSecret::derive(seed);
        Self { number, made, public, secret }
    }

    fn make(
        folder: &Path,
        number: u32,
        random: &dyn SecureRandom,
        now: Timestamp,
    ) -> Result<Self, KeysError> {
        let seed = new_seed(random)?;
        let lines =
            format!("made = {}\nsealing = {}\n", now.unix_ms(), BASE64_STANDARD.encode(*seed));
        write_secret(&path(folder, number), Zeroizing::new(lines).as_bytes())?;
        sync(folder)?;
        Ok(Self::new(number, now, &seed))
    }

    fn read(folder: &Path, number: u32) -> Result<Self, KeysError> {
        let path = path(folder, number);
        let text = Zeroizing::new(fs::read_to_string(&path).map_err(io("read", &path))?);
        let mut lines = text.lines();
        let made = lines.next().and_then(|line| line.strip_prefix("made = ")?.parse().ok());
        let made = made.ok_or_else(|| KeysError::Malformed { path: path.clone(), line: 1 })?;
        let seed = lines.next().and_then(|line| {
            let bytes = BASE64_STANDARD.decode(line.strip_prefix("sealing = ")?).ok()?;
            <[u8; 32]>::try_from(&Zeroizing::new(bytes)[..]).ok().map(Zeroizing::new)
        });
        let seed = seed.ok_or(KeysError::Malformed { path, line: 2 })?;
        Ok(Self::new(number, Timestamp::from_unix_ms(made), &seed))
    }
}

impl SealingKeys {
    /// Makes the first key.
    ///
    /// # Errors
    /// When there is one, or it cannot be written.
    pub fn create(keys: &Path, now: Timestamp) -> Result<Self, KeysError> {
        use std::os::unix::fs::DirBuilderExt as _;
        let folder = keys.join(FOLDER);
        fs::DirBuilder::new().mode(0o700).create(&folder).map_err(io("create", &folder))?;
        let current = Kept::make(&folder, 0, &SystemRandom::new(), now)?;
        Ok(Self { folder, current, older: Vec::new() })
    }

    /// Reads all keys.
    ///
    /// # Errors
    /// When there is none, or a file is not one that this module wrote.
    pub fn read(keys: &Path) -> Result<Self, KeysError> {
        let folder = keys.join(FOLDER);
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&folder).map_err(io("list", &folder))? {
            let name = entry.map_err(io("list", &folder))?.file_name();
            let number = name.to_str().and_then(|name| name.parse::<u32>().ok());
            let malformed = || KeysError::Malformed { path: folder.join(&name), line: 1 };
            numbers.push(number.ok_or_else(malformed)?);
        }
        numbers.sort_unstable();
        let kept = numbers.into_iter().map(|number| Kept::read(&folder, number));
        let mut older = kept.collect::<Result<Vec<_>, _>>()?;
        let missing = KeysError::Missing { path: folder.clone(), role: FOLDER };
        let current = older.pop().ok_or(missing)?;
        Ok(Self { folder, current, older })
    }

    /// The private keys, for the ledger.
    ///
    /// # Errors
    /// When one is none.
    pub fn ring(&self) -> Result<KeyRing, SealError> {
        let mut ring = KeyRing::new(self.current.secret.clone())?;
        for kept in &self.older {
            ring.hold(kept.secret.clone())?;
        }
        Ok(ring)
    }

    /// The public half of the newest.
    #[must_use]
    pub const fn current(&self) -> SealingKey {
        self.current.public
    }

    /// Whether the private half of a key is here.
    #[must_use]
    pub fn holds(&self, key: &SealingKey) -> bool {
        self.states().any(|state| state.public == *key)
    }

    /// Whether a key is one of these, or may have been: the oldest are destroyed some day.
    #[must_use]
    pub fn may_have_had(&self, key: &SealingKey) -> bool {
        let oldest = self.older.first().unwrap_or(&self.current);
        oldest.number > 0 || self.holds(key)
    }

    /// What may be shown, oldest first.
    pub fn states(&self) -> impl Iterator<Item = KeyState> + '_ {
        let later = self.older.iter().skip(1).chain([&self.current]).map(|next| Some(next.made));
        let all = self.older.iter().chain([&self.current]).zip(later.chain([None]));
        all.map(|(kept, replaced)| KeyState { public: kept.public, made: kept.made, replaced })
    }

    /// Makes another key, which takes the place of the current one. It is on disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn turn(&mut self, now: Timestamp) -> Result<SealingSecret, KeysError> {
        let number = self.current.number.saturating_add(1);
        let next = Kept::make(&self.folder, number, &SystemRandom::new(), now)?;
        let secret = next.secret.clone();
        self.older.push(std::mem::replace(&mut self.current, next));
        Ok(secret)
    }

    /// Whether the month in which the current key was made is over.
    #[must_use]
    pub fn is_due(&self, now: Timestamp, zone: &TimeZone) -> bool {
        month(self.current.made, zone) < month(now, zone)
    }

    /// The keys that were replaced so many whole months ago that nothing has to open any more.
    #[must_use]
    pub fn expired(&self, now: Timestamp, zone: &TimeZone, months: u16) -> Vec<SealingKey> {
        let over = |state: &KeyState| {
            let replaced = state.replaced.and_then(|at| month(at, zone));
            replaced.zip(month(now, zone)).is_some_and(|(at, now)| at + i32::from(months) < now)
        };
        self.states().filter(over).map(|state| state.public).collect()
    }

    /// Destroys an old key; false when it is the current one or there is none.
    ///
    /// # Errors
    /// When its file cannot be overwritten or removed.
    pub fn destroy(&mut self, key: &SealingKey) -> Result<bool, KeysError> {
        let Some(place) = self.older.iter().position(|kept| kept.public == *key) else {
            return Ok(false);
        };
        let path = path(&self.folder, self.older[place].number);
        let length = fs::metadata(&path).map_err(io("read", &path))?.len();
        let mut file =
            fs::OpenOptions::new().write(true).open(&path).map_err(io("overwrite", &path))?;
        let zeros = vec![0; usize::try_from(length).unwrap_or_default()];
        file.write_all(&zeros).and_then(|()| file.sync_all()).map_err(io("overwrite", &path))?;
        fs::remove_file(&path).map_err(io("remove", &path))?;
        sync(&self.folder)?;
        self.older.remove(place);
        Ok(true)
    }
}

fn path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:06}"))
}

fn sync(folder: &Path) -> Result<(), KeysError> {
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(io("sync", folder))
}

/// The month's number, from the year 0 on; none for a time that no calendar has.
fn month(at: Timestamp, zone: &TimeZone) -> Option<i32> {
    let at = jiff::Timestamp::from_millisecond(i64::try_from(at.unix_ms()).ok()?).ok()?;
    let date = at.to_zoned(zone.clone());
    Some(i32::from(date.year()) * 12 + i32::from(date.month()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn at(text: &str) -> Timestamp {
        let at: jiff::Timestamp = text.parse().unwrap();
        Timestamp::from_unix_ms(u64::try_from(at.as_millisecond()).unwrap())
    }

    fn shanghai() -> TimeZone {
        TimeZone::get("Asia/Shanghai").unwrap()
    }

    #[test]
    fn keys_turn_are_read_again_and_are_destroyed_one_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut keys = SealingKeys::create(folder.path(), at("2026-11-21T00:00:00Z")).unwrap();
        let first = keys.current();
        assert!(!keys.may_have_had(&SealingSecret::derive(&[1; 32]).1), "none is destroyed yet");
        keys.turn(at("2026-12-01T00:00:00Z")).unwrap();
        keys.turn(at("2027-01-01T00:00:00Z")).unwrap();
        let mode = fs::metadata(path(&keys.folder, 2)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let mut again = SealingKeys::read(folder.path()).unwrap();
        assert!(again.states().eq(keys.states()));
        assert_eq!(again.current(), keys.current());
        assert!(again.holds(&first) && again.may_have_had(&first));
        assert_eq!(again.ring().unwrap().current(), keys.current());
        assert_eq!(again.ring().unwrap().keys().count(), 3);

        assert!(!again.destroy(&keys.current()).unwrap(), "the current key stays");
        assert!(again.destroy(&first).unwrap() && !again.destroy(&first).unwrap());
        let left = SealingKeys::read(folder.path()).unwrap();
        assert_eq!(left.states().count(), 2);
        assert!(!left.holds(&first) && left.may_have_had(&first));
        assert!(!left.ring().unwrap().holds(&first));
        assert!(!path(&left.folder, 0).exists());
        assert!(SealingKeys::create(folder.path(), at("2027-01-01T00:00:00Z")).is_err());
    }

    #[test]
    fn a_key_is_due_and_expires_by_months_of_the_alliances_zone() {
        let folder = tempfile::tempdir().unwrap();
        // the first of December in Shanghai begins eight hours before that of UTC
        let mut keys = SealingKeys::create(folder.path(), at("2026-11-30T15:59:59Z")).unwrap();
        let first = keys.current();
        assert!(!keys.is_due(at("2026-11-30T15:59:59Z"), &shanghai()));
        assert!(keys.is_due(at("2026-11-30T16:00:00Z"), &shanghai()));
        assert!(!keys.is_due(at("2026-11-30T16:00:00Z"), &TimeZone::UTC));

        keys.turn(at("2026-11-30T16:00:00Z")).unwrap();
        // replaced in December, kept for two more months
        let expired = |now| keys.expired(at(now), &shanghai(), 2);
        assert!(expired("2027-02-28T15:59:59Z").is_empty());
        assert_eq!(expired("2027-02-28T16:00:00Z"), [first]);
        // the current one never expires
        assert_eq!(expired("2099-01-01T00:00:00Z"), [first]);
    }

    #[test]
    fn a_file_that_is_no_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let keys = SealingKeys::create(folder.path(), at("2026-11-30T15:59:59Z")).unwrap();
        fs::write(path(&keys.folder, 1), "made = soon\n").unwrap();
        let wrong = SealingKeys::read(folder.path()).unwrap_err();
        assert!(matches!(wrong, KeysError::Malformed { line: 1, .. }), "{wrong}");
    }
}
