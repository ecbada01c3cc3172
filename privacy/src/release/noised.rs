//! What is shown of a brand's own figures: sums with noise, and bins that were chosen.

use super::ReleaseError;
use crate::bounded::BoundedVector;
use crate::mechanism::NoiseShare;
use crate::mechanism::choice::CHOSEN;
use crate::plan::DpPlan;

/// The noised values of some of a plan's public cells: a column's together, a cell's coordinates together. Noise of
/// the other cells is used up unseen.
pub(super) fn noised(
    plan: &DpPlan,
    vector: &BoundedVector,
    noise: &NoiseShare,
    is_in: impl Fn(usize) -> bool,
) -> Result<Vec<i64>, ReleaseError> {
    if vector.plan() != plan.hash() || noise.plan() != plan.hash() {
        return Err(ReleaseError::Plan);
    }
    let (mut figures, mut drawn) = (vector.values(), noise.values());
    let mut bits = noise.choices();
    let mut values = Vec::with_capacity(plan.coordinates());
    for column in plan.columns() {
        for cell in 0..plan.cells().len() {
            let of = taken(&mut figures, column.fill().width())?;
            let noise = taken(&mut drawn, column.fill().shown())?;
            if column.choices().is_empty() {
                for (value, noise) in of.iter().zip(noise).filter(|_| is_in(cell)) {
                    values.push(value.checked_add(*noise).ok_or(ReleaseError::Plan)?);
                }
            }
            for choice in column.choices() {
                let bits = taken(&mut bits, CHOSEN)?;
                if is_in(cell) {
                    values.extend(choice.of(of, bits).ok_or(ReleaseError::Undecided)?);
                }
            }
        }
    }
    Ok(values)
}

fn taken<'a, T>(from: &mut &'a [T], number: usize) -> Result<&'a [T], ReleaseError> {
    let (some, rest) = from.split_at_checked(number).ok_or(ReleaseError::Plan)?;
    *from = rest;
    Ok(some)
}
