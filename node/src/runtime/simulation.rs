//! Rules run over the purchases this node has, on a thread of its own: the node goes on meanwhile.

use std::sync::{Arc, Mutex, TryLockError};

use ::programme::Rules;
use ::programme::report::MonthOfExpiry;
use ::programme::simulation::{Simulation, simulate};
use ::programme::state::{Purchase, Refusal};

use super::core::programme::refused;
use crate::programme::purchase;
use crate::purchases::Facts;
use crate::service::{
    ErrorKind, MonthView, Reply, ServiceError, SimulatedCouponView, SimulatedRulesView,
    SimulatedTierView, SimulationView,
};

/// Points by month, as people write months.
pub(super) fn months(expiring: &[MonthOfExpiry]) -> Vec<MonthView> {
    let view = |it: &MonthOfExpiry| MonthView {
        month: it.month.map(|(year, month)| format!("{year:04}-{month:02}")),
        points: small(it.points),
    };
    expiring.iter().map(view).collect()
}

/// One at a time: each holds all baskets in memory.
static RUNNING: Mutex<()> = Mutex::new(());

fn small(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// Answers with what the rules of a file, and those in force, would have come to.
pub(super) fn begin(facts: Arc<Facts>, in_force: Rules, text: &str, reply: Reply<SimulationView>) {
    let proposed = match Rules::from_toml(text) {
        Ok(rules) => rules,
        // whoever asked may be gone
        Err(error) => {
            return drop(reply.send(Err(refused(&Refusal::from(error)))));
        }
    };
    tokio::task::spawn_blocking(move || {
        let simulated = match RUNNING.try_lock() {
            Err(TryLockError::WouldBlock) => Err(ServiceError::new(
                ErrorKind::Unavailable,
                "simulation_running",
                "other rules are being simulated",
                "wait for that to end, then ask again",
            )),
            Ok(_running) => run(&facts, &in_force, &proposed),
            Err(TryLockError::Poisoned(_)) => run(&facts, &in_force, &proposed),
        };
        let _ = reply.send(simulated);
    });
}

fn run(facts: &Facts, in_force: &Rules, proposed: &Rules) -> Result<SimulationView, ServiceError> {
    let failed = |error: &dyn std::fmt::Display| {
        let remedy = "look at the node's log";
        ServiceError::new(ErrorKind::Internal, "simulation_failed", error.to_string(), remedy)
    };
    let baskets = facts.counted_baskets().map_err(|error| failed(&error))?;
    // guests and what came back whole earn nothing
    let purchases = |rules: &Rules| -> Vec<Purchase> {
        let counted = baskets.iter().filter_map(|basket| purchase(rules, basket));
        counted.filter(|purchase| purchase.after.total.get() > 0).collect()
    };
    let of = |rules: &Rules| simulate(rules, purchases(rules)).map_err(|error| failed(&error));
    let (new, old) = (of(proposed)?, of(in_force)?);
    let day = |at| proposed.zone.day(at).date().to_string();
    Ok(SimulationView {
        from: new.from.map(day),
        to: new.to.map(day),
        purchases: new.purchases,
        spent_fen: small(new.spent_fen),
        members: new.members,
        proposed: view(proposed, new),
        in_force: view(in_force, old),
    })
}

fn view(rules: &Rules, came: Simulation) -> SimulatedRulesView {
    SimulatedRulesView {
        version: rules.version,
        earned_points: small(came.earned_points),
        campaign_points: small(came.campaign_points),
        expired_points: small(came.expired_points),
        left_points: small(came.left_points),
        left_fen: small(came.left_fen),
        expiring: months(&came.expiring),
        coupons: came
            .coupons
            .into_iter()
            .map(|(kind, (given, worth))| SimulatedCouponView {
                kind: kind.to_string(),
                given,
                worth_fen: small(worth),
            })
            .collect(),
        tiers: came
            .tiers
            .into_iter()
            .map(|(tier, members)| SimulatedTierView {
                tier: tier.map(|tier| tier.to_string()),
                members,
            })
            .collect(),
    }
}
