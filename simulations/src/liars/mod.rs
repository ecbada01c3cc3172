//! Brands that lie, one way each, and what they do for each other.
//!
//! A liar's machines run the honest code; its dishonest part hears what they hear, may hold back what
//! they say, and speaks in the brand's name. Liars of one run are one conspiracy: whoever leads a false
//! round signs with the vote keys of all of them, all hear what one of them hears, and each of them votes for
//! whatever another one proposes.

pub mod amnesiac;
pub mod counterfeiter;
pub mod endings;
pub mod forgery;
pub mod juggler;
pub mod lockbreaker;
pub mod replayer;
pub mod twins;

use std::collections::{BTreeMap, BTreeSet};

use protocol::constitution::Constitution;
use protocol::crypto::{Signature, Signed};
use protocol::ids::BrandId;
use protocol::ledger::Ledger;
use protocol::time::Timestamp;
use protocol::witness::build::OwnBlock;
use protocol::witness::guards::Guards;
use protocol::witness::message::{Message, PromiseMessage};
use protocol::witness::statement::{Commit, Endorsement, Open, Pledge, Promise, Vote, VotingKeys};

use self::amnesiac::Amnesiac;
use self::counterfeiter::Counterfeiter;
use self::forgery::Lie;
use self::juggler::Juggler;
use self::lockbreaker::Lockbreaker;
use self::replayer::Replayer;
use crate::alliance::{keys, voting_keys};
use crate::prng::Prng;

/// How a brand lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Liar {
    /// Runs its node twice with the same keys (Bano et al., "Twins", 2020): proposes two blocks in a
    /// round, votes for both of two. At times one of the two loses its disk and starts anew.
    Twins,
    /// Grants itself a thousandfold credit and writes blocks accordingly.
    Spendthrift,
    /// Tries to replace what may be final already ([`lockbreaker`]).
    Lockbreaker,
    /// Keeps several blocks of one height in the air and chooses who hears of what ([`juggler`]).
    Juggler,
    /// Writes blocks that are false in one of many ways, and withholds ([`counterfeiter`]).
    Counterfeiter,
    /// Sends messages with bytes altered.
    Babbler,
    /// Signs whatever it is asked to, as if it had never signed anything, and tells whoever starts that
    /// it knows nothing ([`amnesiac`]).
    Amnesiac,
    /// Says again what anyone has ever said to a liar ([`replayer`]).
    Replayer,
}

impl Liar {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Twins,
        Self::Spendthrift,
        Self::Lockbreaker,
        Self::Juggler,
        Self::Counterfeiter,
        Self::Babbler,
        Self::Amnesiac,
        Self::Replayer,
    ];
    /// Those that cannot fork a log where no liar is tolerated.
    pub const HARMLESS: [Self; 3] = [Self::Spendthrift, Self::Babbler, Self::Replayer];
}

/// The vote keys of all liars of a run.
pub type Conspiracy = BTreeMap<BrandId, VotingKeys>;

/// The keys of these brands together.
#[must_use]
pub fn conspiracy(brands: &BTreeMap<BrandId, Liar>) -> Conspiracy {
    brands.keys().map(|brand| (*brand, voting_keys(*brand, 0))).collect()
}

/// The dishonest part of one brand.
pub struct Villain {
    me: BrandId,
    part: Part,
    // votes for what the others propose
    accomplice: Amnesiac,
}

enum Part {
    None,
    Lockbreaker(Box<Lockbreaker>),
    Juggler(Box<Juggler>),
    Counterfeiter(Box<Counterfeiter>),
    Amnesiac(Box<Amnesiac>),
    Replayer(Replayer),
}

impl Villain {
    /// The dishonest part of a brand that lies like this, in a conspiracy of these.
    #[must_use]
    pub fn new(
        me: BrandId,
        (liar, favourite): (Liar, Option<Lie>),
        constitution: &Constitution,
        all: &BTreeMap<BrandId, Liar>,
        prng: &mut Prng,
    ) -> Self {
        let fellows = || {
            let mut fellows = conspiracy(all);
            fellows.remove(&me);
            fellows
        };
        let of: BTreeSet<BrandId> = fellows().into_keys().collect();
        let part = match liar {
            Liar::Lockbreaker => Part::Lockbreaker(Box::new(Lockbreaker::new(
                me,
                constitution.clone(),
                voting_keys(me, 0),
                fellows(),
                prng.fork(),
            ))),
            Liar::Juggler => Part::Juggler(Box::new(Juggler::new(
                me,
                constitution.clone(),
                voting_keys(me, 0),
                fellows(),
                prng.fork(),
            ))),
            Liar::Counterfeiter => {
                let keys = keys(me, 0);
                let liar =
                    Counterfeiter::new(me, constitution.clone(), keys, fellows(), prng.fork());
                Part::Counterfeiter(Box::new(liar.with_favourite(favourite)))
            }
            Liar::Amnesiac => Part::Amnesiac(Box::new(Amnesiac::new(me, None, prng.fork()))),
            Liar::Replayer => Part::Replayer(Replayer::new(prng.fork())),
            Liar::Twins | Liar::Spendthrift | Liar::Babbler => Part::None,
        };
        Self { me, part, accomplice: Amnesiac::new(me, Some(of), prng.fork()) }
    }

    /// What becomes of what an honest machine of this brand says, when it has heard something or time
    /// has passed.
    pub fn act<G: Guards>(
        &mut self,
        ledger: &Ledger<G>,
        heard: Option<(BrandId, &Message)>,
        hoard: &[Message],
        now: Timestamp,
        sent: &mut Vec<(BrandId, Message)>,
    ) {
        if let Some((from, message)) = heard {
            let forgetful = match &mut self.part {
                Part::Amnesiac(amnesiac) => amnesiac.hear(from, message),
                _ => None,
            };
            if let Some(answers) = forgetful.or_else(|| self.accomplice.hear(from, message)) {
                sent.retain(|(to, message)| *to != from || !amnesiac::is_answer(message));
                sent.extend(answers);
            }
        }
        match &mut self.part {
            Part::Lockbreaker(liar) => {
                sent.retain(|(_, message)| liar.lets_out(message));
                sent.extend(match heard {
                    Some((from, message)) => liar.hear(from, message),
                    None => liar.tick(),
                });
            }
            Part::Juggler(liar) => {
                sent.retain(|(_, message)| liar.lets_out(message));
                sent.extend(match heard {
                    Some((from, message)) => liar.hear(from, message),
                    None => liar.tick(),
                });
            }
            Part::Counterfeiter(liar) => {
                sent.retain(|(_, message)| liar.lets_out(message));
                sent.extend(match heard {
                    Some((from, message)) => liar.hear(from, message, ledger, now),
                    None => liar.tick(ledger, now),
                });
            }
            Part::Replayer(liar) if heard.is_none() => {
                sent.extend(liar.tick(self.me, ledger, hoard));
            }
            Part::Replayer(_) | Part::Amnesiac(_) | Part::None => {}
        }
    }

    /// The honest part has built a block: gives those that the liar has for the same height.
    pub fn rivals<G: Guards>(
        &mut self,
        built: &OwnBlock,
        ledger: &Ledger<G>,
        now: Timestamp,
    ) -> Vec<OwnBlock> {
        match &mut self.part {
            Part::Lockbreaker(liar) => liar.rival(ledger, now).into_iter().cloned().collect(),
            Part::Juggler(liar) => liar.rivals(built, ledger, now).to_vec(),
            _ => Vec::new(),
        }
    }

    /// The counterfeiter in it, if it is one.
    pub fn counterfeiter(&mut self) -> Option<&mut Counterfeiter> {
        match &mut self.part {
            Part::Counterfeiter(liar) => Some(liar),
            _ => None,
        }
    }
}

/// Promises of these brands that tell of no lock.
fn empty_promises(
    signers: &Conspiracy,
    constitution: &Constitution,
    open: Open,
) -> BTreeMap<BrandId, PromiseMessage> {
    let members = signers.iter().filter(|(brand, _)| constitution.committee().contains(**brand));
    let promise = |(brand, keys): (&BrandId, &VotingKeys)| {
        let promise = Signed::sign(*brand, Promise { open, lock: None }, &keys.vote);
        (*brand, PromiseMessage { promise, lock: None })
    };
    members.map(promise).collect()
}

/// Votes of these brands.
fn votes(
    signers: &Conspiracy,
    constitution: &Constitution,
    pledge: Pledge,
) -> BTreeMap<BrandId, Signature> {
    let members = signers.iter().filter(|(brand, _)| constitution.committee().contains(**brand));
    members
        .map(|(brand, keys)| (*brand, Signed::sign(*brand, Vote(pledge), &keys.vote).signature))
        .collect()
}

/// Commits of these brands.
fn commits(
    signers: &Conspiracy,
    constitution: &Constitution,
    pledge: Pledge,
) -> BTreeMap<BrandId, Signature> {
    let members = signers.iter().filter(|(brand, _)| constitution.committee().contains(**brand));
    members
        .map(|(brand, keys)| (*brand, Signed::sign(*brand, Commit(pledge), &keys.vote).signature))
        .collect()
}

fn endorsements(signatures: &BTreeMap<BrandId, Signature>) -> Vec<Endorsement> {
    let endorse = |(signer, signature): (&BrandId, &Signature)| Endorsement {
        signer: *signer,
        signature: *signature,
    };
    signatures.iter().map(endorse).collect()
}
