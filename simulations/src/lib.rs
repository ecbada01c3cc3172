//! Whole alliances in one deterministic process, over the very state machines the nodes run.
//!
//! What is simulated here is the world around them: a network that loses, repeats, delays and
//! reorders ([`network`]), machines that crash at the worst moment and come back with their disk, or with
//! an older state of it or from a snapshot ([`node`], [`disk`], [`storage`]), clocks that disagree, brands that lie together ([`liars`]),
//! constitutions that follow one another, and money that is paid outside ([`agreement`]). After every
//! event one function per guarantee looks at what was signed, certified and credited ([`invariants`]).
//! One seed is one run, byte for byte: [`trace::Trace`] says so. `docs/simulations.md` tells how to
//! run it, what it checks, and what it leaves out.
//!
//! That it bites is shown by [`mutants`]. Beside it, [`model`] looks at every state of small models of
//! the rules.
//!
//! [`attacks`] is about the clean room: what an attacker learns of a member beside what was charged.

pub mod agreement;
pub mod alliance;
pub mod application;
pub mod attacks;
pub mod clearing;
pub mod disk;
pub mod invariants;
pub mod liars;
pub mod model;
pub mod mutants;
pub mod network;
pub mod node;
pub mod parallel;
pub mod prng;
pub mod storage;
pub mod trace;
