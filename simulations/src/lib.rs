//! Whole alliances in one deterministic process, over the very state machines the nodes run.
//!
//! What is simulated here is the world around them: a network that loses, repeats, delays and
//! reorders ([`network`]), machines that crash at the worst moment and come back with their disk
//! ([`node`], [`disk`]), clocks that disagree, and brands that lie ([`agreement::Liar`]). After every
//! event one function per guarantee looks at what was signed, certified and credited ([`invariants`]).
//! One seed is one run, byte for byte: [`trace::Trace`] says so. `docs/simulations.md` tells how to
//! run it and what it checks.
//!
//! That it bites is shown by [`mutants`]. Beside it, [`model`] looks at every state of small models of
//! the rules.
//!
//! Not simulated: disks put back to an older state (rules 11 to 13 have a model), evidence and freezing
//! (rule 14), changes of the constitution, settlement, liars who collude.
//!
//! [`attacks`] is about the clean room: what an attacker learns of a member beside what was charged.

pub mod agreement;
pub mod alliance;
pub mod application;
pub mod attacks;
pub mod counterfeiter;
pub mod disk;
pub mod invariants;
pub mod lockbreaker;
pub mod model;
pub mod mutants;
pub mod network;
pub mod node;
pub mod prng;
pub mod trace;
pub mod twins;
