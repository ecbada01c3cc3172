//! Whole alliances in one deterministic process, over the very state machines the nodes run.
//!
//! What is simulated here is the world around them: a network that loses, repeats, delays and
//! reorders ([`network`]), machines that crash at the worst moment and come back with their disk
//! ([`node`]), clocks that disagree, and brands that lie ([`agreement::Liar`]). After every event one
//! function per guarantee looks at what was signed, certified and credited ([`invariants`]). One seed
//! is one run, byte for byte: [`trace::Trace`] says so.
//!
//! Beside the simulator, [`model`] looks at every state of small models of the rules.
//!
//! Does not do yet: the full set of liars (colluding brands, forged openings, withheld fragments),
//! lost disks and restored backups (rules 11-13), evidence and freezing (rule 14), epochs, the clean
//! room, growth by model.

pub mod agreement;
pub mod alliance;
pub mod application;
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
