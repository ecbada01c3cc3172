//! Gathers what the engine returned, clips each member, adds up.
//!
//! **Whether it can be done does not hang on one member.** A failure is seen by everybody and has no noise, so that
//! none of it may be within reach of data that keeps to the contract, with or without any one member's rows:
//!
//! - A member's lines are netted to as many as the plan has cells, or the contract private groups; of more private
//!   groups, which only data beyond the contract has, those of the least names count. That is decided from the
//!   member's own lines, whatever their order.
//! - More members than the contract's cap are gathered; each coordinate of the sum is then moved into what so many
//!   members can make at most. That is a contraction of each coordinate, so that no difference grows by it,
//!   and with the plan's proof no sum overflows.
//! - More private groups than the contract's cap are kept; noise is drawn for each of them, and what is left out is left
//!   out after the noise ([`crate::release`]).
//!
//! Memory is bounded by the far limits ([`MEMBERS_FAR`], [`GROUPS_FAR`]), many times what the contract allows.

use core::cmp::Ordering;
use core::fmt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dashu::integer::UBig;
use zeroize::Zeroizing;

use super::standing::{Periods, Spent};
use crate::contract::{OTHER, VALUE_MAX_BYTES};
use crate::exact;
use crate::ids::{ParticipantId, PlanHash};
use crate::plan::{DpPlan, Fill, NoisedColumn, PrivateGroups};

/// Longest member id in bytes.
const MEMBER_MAX_BYTES: usize = 256;
/// So many times the contract's cap on members end the reading.
pub const MEMBERS_FAR: u64 = 16;
/// So many private groups end the reading: a hundred times what a contract may allow.
pub const GROUPS_FAR: usize = 100_000;
/// Lines that are netted no sooner.
const LINES_NETTED_FROM: usize = if cfg!(test) { 16 } else { 1 << 21 };

/// The engine's answer cannot be used; the attempt fails. No variant carries data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CollectError {
    /// A line with another number of sums than the plan has.
    #[error("the engine returned lines of another shape than the bounded query has")]
    Shape,
    /// A cell that the plan does not have.
    #[error("the engine returned a cell that the plan does not have")]
    Cell,
    /// Many times more members than the contract's public cap.
    #[error("there are {MEMBERS_FAR} times more members than the contract's cap `members_at_most`")]
    Members,
    /// Many times more private groups than any contract's public cap.
    #[error("there are more than {GROUPS_FAR} private groups")]
    Groups,
    /// More lines than can be numbered, after those of a member and cell are netted.
    #[error("the engine returned more lines than a reading may have")]
    Lines,
    /// A brand whose bounds the plan does not have.
    #[error("the plan does not ask this brand")]
    Participant,
    /// A sum that does not fit, which the plan's proof rules out.
    #[error("a sum of bounded values does not fit 64 bits")]
    Overflow,
}

/// One brand's sum of clipped member vectors: x_i.
///
/// It can be masked, and nothing else: no printing, no comparison, no encoding.
pub struct BoundedVector {
    plan: PlanHash,
    values: Zeroizing<Vec<i64>>,
    /// Names of the private groups, ascending; none where cells are public.
    groups: Zeroizing<Vec<String>>,
}

impl BoundedVector {
    pub(crate) const fn plan(&self) -> PlanHash {
        self.plan
    }

    pub(crate) fn values(&self) -> &[i64] {
        &self.values
    }

    pub(crate) fn groups(&self) -> &[String] {
        &self.groups
    }

    /// The sum of so many brands alike: for measuring what an answer about more people would be worth.
    pub fn of_copies(mut self, copies: u32) -> Result<Self, CollectError> {
        for value in self.values.iter_mut() {
            *value = value.checked_mul(i64::from(copies)).ok_or(CollectError::Overflow)?;
        }
        Ok(self)
    }
}

impl BoundedVector {
    /// The sum with what another brand gathered for the same plan: for measuring what one party that all trust would
    /// answer. It can be noised, and nothing else, as either could.
    pub fn plus(mut self, other: &Self) -> Result<Self, CollectError> {
        let alike = self.plan == other.plan && self.values.len() == other.values.len();
        if !alike || !self.groups.is_empty() || !other.groups.is_empty() {
            return Err(CollectError::Shape);
        }
        for (value, more) in self.values.iter_mut().zip(other.values.iter()) {
            *value = value.checked_add(*more).ok_or(CollectError::Overflow)?;
        }
        Ok(self)
    }
}

/// Redacted: these are a brand's own figures without noise.
impl fmt::Debug for BoundedVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundedVector").field("plan", &self.plan).finish_non_exhaustive()
    }
}

/// Gathers lines of the bounded query, in any order.
///
/// Lines lie as they came, and are put in order once, by member and cell, when all are there.
pub struct Collector<'p> {
    plan: &'p DpPlan,
    /// Whose members these are, by its place among those asked: their bounds are its own.
    place: Option<usize>,
    /// Position in the vector by the cell's code, where that is another number.
    positions: BTreeMap<u64, u32>,
    /// Number of a private group by its name, in the order in which they came.
    groups: BTreeMap<Arc<str>, u32>,
    /// Names of private groups by their number.
    names: Vec<Arc<str>>,
    members: Members,
    lines: Vec<Line>,
    /// What each line adds, one after the other.
    added: Vec<i64>,
    /// So many lines are netted before another is taken.
    net_at: usize,
}

/// How an engine names members: it does so in one way.
enum Members {
    /// None has come yet.
    Unknown,
    /// By whole numbers.
    Numbered,
    /// By texts, which are given numbers in the order in which they come.
    Named(BTreeMap<Box<[u8]>, i64>),
}

impl Members {
    fn named(&mut self, name: &[u8], at_most: u64) -> Result<i64, CollectError> {
        if matches!(self, Self::Unknown) {
            *self = Self::Named(BTreeMap::new());
        }
        let Self::Named(numbers) = self else { return Err(CollectError::Shape) };
        if name.len() > MEMBER_MAX_BYTES {
            return Err(CollectError::Shape);
        }
        if let Some(number) = numbers.get(name) {
            return Ok(*number);
        }
        let number =
            i64::try_from(numbers.len()).ok().filter(|number| number.unsigned_abs() < at_most);
        let number = number.ok_or(CollectError::Members)?;
        numbers.insert(name.into(), number);
        Ok(number)
    }

    fn numbered(&mut self) -> Result<(), CollectError> {
        match self {
            Self::Unknown => *self = Self::Numbered,
            Self::Numbered => {}
            Self::Named(_) => return Err(CollectError::Shape),
        }
        Ok(())
    }

    /// Each number's name, for who keeps something of members by name.
    fn names(&self) -> BTreeMap<i64, &[u8]> {
        let Self::Named(numbers) = self else { return BTreeMap::new() };
        numbers.iter().map(|(name, number)| (*number, &**name)).collect()
    }
}

/// One line of the engine's answer.
#[derive(Clone, Copy)]
struct Line {
    member: i64,
    /// Position of the cell in the plan.
    position: u32,
    /// Bin within the cell.
    bin: u32,
    /// Which line it was, to find what it adds.
    number: u32,
}

/// Lines with what they add.
#[derive(Clone, Copy)]
struct Lines<'a> {
    lines: &'a [Line],
    added: &'a [i64],
    /// How many things each line adds.
    width: usize,
}

impl<'a> Lines<'a> {
    /// What one line adds.
    fn line(&self, line: &Line) -> &'a [i64] {
        let start = usize::try_from(line.number).ok().and_then(|at| at.checked_mul(self.width));
        let end = start.and_then(|start| start.checked_add(self.width));
        start.zip(end).and_then(|(start, end)| self.added.get(start..end)).unwrap_or_default()
    }

    /// What one line adds of one thing.
    fn value(&self, line: &Line, added: u16) -> i128 {
        self.line(line).get(usize::from(added)).map_or(0, |value| i128::from(*value))
    }

    /// All lines of a cell, netted: saturation is out of reach of as many lines as there may be.
    fn netted(&self, added: u16) -> i128 {
        self.lines.iter().fold(0, |sum, line| sum.saturating_add(self.value(line, added)))
    }

    fn each(self, same: impl Fn(&Line, &Line) -> bool + 'a) -> impl Iterator<Item = Self> + 'a {
        self.lines.chunk_by(same).map(move |lines| Self { lines, ..self })
    }

    fn of_members(self) -> impl Iterator<Item = Self> + 'a {
        self.each(|a, b| a.member == b.member)
    }

    fn of_cells(self) -> impl Iterator<Item = Self> + 'a {
        self.each(|a, b| a.position == b.position)
    }
}

impl fmt::Debug for Collector<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").finish_non_exhaustive()
    }
}

impl<'p> Collector<'p> {
    /// An empty collector for a plan, of members of this brand.
    pub fn new(plan: &'p DpPlan, brand: ParticipantId) -> Self {
        let cells = (0u32..).zip(plan.cells());
        let positions = cells
            .filter(|(at, cell)| u64::from(*at) != cell.code)
            .map(|(at, cell)| (cell.code, at))
            .collect();
        Self {
            plan,
            place: plan.place_of(brand),
            positions,
            groups: BTreeMap::new(),
            names: Vec::new(),
            members: Members::Unknown,
            lines: Vec::new(),
            added: Vec::new(),
            net_at: LINES_NETTED_FROM,
        }
    }

    /// Takes one line: `member`, `cell`, and `a0`, `a1`, ... of the bounded query. Lines without
    /// a member are left out here too; lines of one member and cell are netted, however many
    /// there are and in whatever order, because a bound that rested on an engine's grouping would
    /// be no bound. An absent sum is 0.
    pub fn push(
        &mut self,
        member: Option<&[u8]>,
        cell: i64,
        added: &[Option<i64>],
    ) -> Result<(), CollectError> {
        if self.plan.private().is_some() {
            return Err(CollectError::Shape);
        }
        let Some(member) = member.filter(|member| !member.is_empty()) else { return Ok(()) };
        let member = self.members.named(member, self.members_at_most())?;
        let (position, bin) = self.place(cell)?;
        self.take(member, position, bin, added)
    }

    /// The same where members are whole numbers, which are nobody's names.
    pub fn push_numbered(
        &mut self,
        member: Option<i64>,
        cell: i64,
        added: &[Option<i64>],
    ) -> Result<(), CollectError> {
        if self.plan.private().is_some() {
            return Err(CollectError::Shape);
        }
        let Some(member) = member else { return Ok(()) };
        self.members.numbered()?;
        let (position, bin) = self.place(cell)?;
        self.take(member, position, bin, added)
    }

    /// The position of a cell in the plan, and the bin within it.
    fn place(&self, cell: i64) -> Result<(u32, u32), CollectError> {
        let bins = u64::try_from(self.plan.bins()).map_err(|_| CollectError::Cell)?;
        let code = u64::try_from(cell).map_err(|_| CollectError::Cell)?;
        let (code, bin) =
            code.checked_div(bins).zip(code.checked_rem(bins)).ok_or(CollectError::Cell)?;
        let bin = u32::try_from(bin).map_err(|_| CollectError::Cell)?;
        // most plans number their cells from 0 on
        let at = usize::try_from(code).ok().and_then(|at| self.plan.cells().get(at));
        let position = match at.filter(|at| at.code == code) {
            Some(_) => u32::try_from(code).ok(),
            None => self.positions.get(&code).copied(),
        };
        Ok((position.ok_or(CollectError::Cell)?, bin))
    }

    /// Takes one line of a question with private groups: as [`Self::push`], with the group's name in place of
    /// a cell. What is no name to be shown (absent, empty, too long, with control characters) counts under
    /// [`OTHER`].
    pub fn push_group(
        &mut self,
        member: Option<&[u8]>,
        group: Option<&str>,
        added: &[Option<i64>],
    ) -> Result<(), CollectError> {
        if self.plan.private().is_none() {
            return Err(CollectError::Shape);
        }
        let Some(member) = member.filter(|member| !member.is_empty()) else { return Ok(()) };
        let member = self.members.named(member, self.members_at_most())?;
        let name = group.filter(|name| is_shown(name)).unwrap_or(OTHER);
        let position = match self.groups.get(name) {
            Some(position) => *position,
            None => {
                let next = u32::try_from(self.names.len()).map_err(|_| CollectError::Groups)?;
                let name: Arc<str> = name.into();
                self.names.push(Arc::clone(&name));
                self.groups.insert(name, next);
                next
            }
        };
        self.take(member, position, 0, added)
    }

    fn take(
        &mut self,
        member: i64,
        position: u32,
        bin: u32,
        added: &[Option<i64>],
    ) -> Result<(), CollectError> {
        if added.len() != self.plan.added().len() {
            return Err(CollectError::Shape);
        }
        if self.lines.len() >= self.net_at {
            self.net()?;
            self.net_at = self.lines.len().saturating_mul(2).max(LINES_NETTED_FROM);
        }
        let number = u32::try_from(self.lines.len()).map_err(|_| CollectError::Lines)?;
        self.lines.push(Line { member, position, bin, number });
        self.added.extend(added.iter().map(|added| added.unwrap_or(0)));
        Ok(())
    }

    /// Members that end the reading.
    const fn members_at_most(&self) -> u64 {
        self.plan.members_at_most().saturating_mul(MEMBERS_FAR)
    }

    /// Cells and bins, or private groups, in which one member has lines at most.
    fn places_at_most(&self) -> usize {
        self.plan.cells_at_most().saturating_mul(self.plan.bins()).max(1)
    }

    /// Adds up each member's lines of the same cell and bin; what would not fit a line stays in several, as only an
    /// engine that does not group returns it. Of private groups a member keeps no more than so many, those of the
    /// least names: a name that is left out once is beyond so many others, and stays so.
    fn net(&mut self) -> Result<(), CollectError> {
        let at_most = self.places_at_most();
        let names = &self.names;
        let order = |one: &Line, two: &Line| {
            let named =
                |line: &Line| usize::try_from(line.position).ok().and_then(|at| names.get(at));
            let places = match (named(one), named(two)) {
                (Some(one), Some(two)) => one.cmp(two),
                _ => (one.position, one.bin).cmp(&(two.position, two.bin)),
            };
            one.member.cmp(&two.member).then(places)
        };
        let mut lines = core::mem::take(&mut self.lines);
        lines.sort_unstable_by(order);
        let all = Lines { lines: &lines, added: &self.added, width: self.plan.added().len() };
        let (mut netted, mut added) = (Vec::new(), Vec::new());
        let mut members = 0u64;
        for member in all.of_members() {
            members = members.saturating_add(1);
            if members > self.members_at_most() {
                return Err(CollectError::Members);
            }
            let places = member.each(|a, b| order(a, b) == Ordering::Equal);
            for place in places.take(if names.is_empty() { usize::MAX } else { at_most }) {
                let Some(first) = place.lines.first() else { continue };
                let mut sum = place.line(first).to_vec();
                let mut put = |sum: &[i64]| {
                    let number = u32::try_from(netted.len()).map_err(|_| CollectError::Lines)?;
                    netted.push(Line { number, ..*first });
                    added.extend_from_slice(sum);
                    Ok(())
                };
                for line in place.lines.iter().skip(1).map(|line| place.line(line)) {
                    let both = sum.iter().zip(line).map(|(one, two)| one.checked_add(*two));
                    match both.collect::<Option<Vec<i64>>>() {
                        Some(both) => sum = both,
                        None => {
                            put(&sum)?;
                            sum = line.to_vec();
                        }
                    }
                }
                put(&sum)?;
            }
        }
        (self.lines, self.added) = (netted, added);
        Ok(())
    }

    /// Puts lines in order: by member, then by cell.
    fn sort(&mut self) {
        self.lines.sort_unstable_by_key(|line| (line.member, line.position));
    }

    fn lines(&self) -> Lines<'_> {
        Lines { lines: &self.lines, added: &self.added, width: self.plan.added().len() }
    }

    /// Clips every member and adds up.
    pub fn finish(mut self) -> Result<BoundedVector, CollectError> {
        let groups = match self.plan.private().copied() {
            Some(private) => self.limit_groups(&private)?,
            None => Vec::new(),
        };
        self.finished(groups, None)
    }

    /// Leaves every member in the private groups in which it has most rows, as many as it may count in, and
    /// forgets groups in which nobody is left. Which they are is decided from the member's own rows and from
    /// names alone: an order in which groups came would be of other members' making. Gives the
    /// names of those that are left, ascending; positions become places among them.
    fn limit_groups(&mut self, private: &PrivateGroups) -> Result<Vec<String>, CollectError> {
        let most = usize::from(private.member_groups);
        let counted = self.plan.columns().get(usize::from(private.column));
        let Some(Fill::Presence(rows)) = counted.map(|column| column.fill()) else {
            return Err(CollectError::Shape);
        };
        // a member of more private groups than the contract has is left in those of the least names
        self.net()?;
        let named = core::mem::take(&mut self.groups);
        let names = core::mem::take(&mut self.names);
        let name = |position: u32| usize::try_from(position).ok().and_then(|at| names.get(at));
        self.sort();
        let (mut left, mut lines) = (BTreeSet::new(), Vec::with_capacity(self.lines.len()));
        for member in self.lines().of_members() {
            let mut by_rows: Vec<(u32, i128)> = member
                .of_cells()
                .filter_map(|cell| Some((cell.lines.first()?.position, cell.netted(rows))))
                .collect();
            by_rows.sort_by_key(|(at, rows)| (core::cmp::Reverse(*rows), name(*at)));
            let kept: BTreeSet<u32> = by_rows.into_iter().take(most).map(|(at, _)| at).collect();
            lines.extend(member.lines.iter().filter(|line| kept.contains(&line.position)));
            left.extend(kept);
        }
        self.lines = lines;
        if left.len() > GROUPS_FAR {
            return Err(CollectError::Groups);
        }
        let named: Vec<(Arc<str>, u32)> =
            named.into_iter().filter(|(_, position)| left.contains(position)).collect();
        let places: BTreeMap<u32, u32> =
            (0u32..).zip(&named).map(|(place, (_, position))| (*position, place)).collect();
        for line in &mut self.lines {
            line.position = *places.get(&line.position).ok_or(CollectError::Cell)?;
        }
        Ok(named.into_iter().map(|(name, _)| (*name).to_owned()).collect())
    }

    /// The same for the cells of one period of a standing question, each member clipped to what its other
    /// periods have left; all other cells are 0. What the period takes is put into `spent`, in place of what
    /// an earlier closing of it took: only before the period was released may it be closed again.
    pub fn finish_period(
        mut self,
        periods: &Periods,
        period: u32,
        spent: &mut Spent,
    ) -> Result<BoundedVector, CollectError> {
        self.lines.retain(|line| {
            let cell = usize::try_from(line.position).ok();
            cell.and_then(|cell| periods.of_cell(cell)) == Some(period)
        });
        spent.forget(period);
        self.finished(Vec::new(), Some((period, spent)))
    }

    fn finished(
        mut self,
        groups: Vec<String>,
        mut standing: Option<(u32, &mut Spent)>,
    ) -> Result<BoundedVector, CollectError> {
        let place = self.place.ok_or(CollectError::Participant)?;
        let cells = match self.plan.private() {
            Some(_) => groups.len(),
            None => self.plan.cells().len(),
        };
        let columns: Vec<ColumnAt<'_>> = self
            .plan
            .columns()
            .iter()
            .enumerate()
            .map(|(index, column)| (self.plan.gathered_start(index, cells), column))
            .collect();
        let all = self.plan.gathered_start(columns.len(), cells);
        let mut sums = Zeroizing::new(vec![0i128; all]);
        self.sort();
        let names = match &standing {
            Some(_) => self.members.names(),
            None => BTreeMap::new(),
        };
        let mut members = 0u64;
        // each measure's columns, with room for one member's vectors that is used for all
        let mut measures: Vec<(&[ColumnAt<'_>], Vec<Vector>)> = columns
            .chunk_by(|a, b| a.1.measure() == b.1.measure())
            .map(|of| (of, of.iter().map(|_| Vector::default()).collect()))
            .collect();
        let mut parts = Vec::new();
        for lines in self.lines().of_members() {
            members = members.saturating_add(1);
            if members > self.members_at_most() {
                return Err(CollectError::Members);
            }
            let number = lines.lines.first().map_or(0, |line| line.member);
            let mut standing = standing.as_mut().map(|(period, spent)| {
                let name = names.get(&number).map(|name| name.to_vec());
                (name.unwrap_or_else(|| number.to_string().into_bytes()), *period, spent)
            });
            let mut squares = Vec::new();
            for (columns, vectors) in &mut measures {
                for ((_, column), vector) in columns.iter().zip(vectors.iter_mut()) {
                    vector.fill(column, lines, &mut parts);
                    vector.bound = column.scaled_squared_bound_at(place);
                }
                if let Some((member, period, spent)) = &standing {
                    for (number, vector) in (squares.len()..).zip(vectors.iter_mut()) {
                        vector.bound = spent.left(member, *period, number, vector.bound);
                    }
                }
                clip(vectors);
                for ((start, _), vector) in columns.iter().zip(vectors.iter()) {
                    if standing.is_some() {
                        let square = vector.squared_norm();
                        squares.push(u128::try_from(square).map_err(|_| CollectError::Overflow)?);
                    }
                    vector.add_to(&mut sums, *start)?;
                }
            }
            if let Some((member, period, spent)) = &mut standing
                && squares.iter().any(|square| *square > 0)
            {
                spent.put(member, *period, &squares);
            }
        }
        let mut values = Zeroizing::new(Vec::with_capacity(all));
        for (index, column) in self.plan.columns().iter().enumerate() {
            let at = |column| self.plan.gathered_start(column, cells);
            let most = column.most_of(place, self.plan.members_at_most());
            let sums = sums.get(at(index)..at(index.saturating_add(1)));
            for sum in sums.ok_or(CollectError::Cell)? {
                let sum = (*sum).clamp(i128::from(most).saturating_neg(), i128::from(most));
                values.push(i64::try_from(sum).map_err(|_| CollectError::Overflow)?);
            }
        }
        Ok(BoundedVector { plan: self.plan.hash(), values, groups: Zeroizing::new(groups) })
    }
}

/// A column, behind where it begins.
type ColumnAt<'p> = (usize, &'p NoisedColumn);

/// Whether a private group's name may be shown as it is.
fn is_shown(name: &str) -> bool {
    !name.is_empty() && name.len() <= VALUE_MAX_BYTES && !name.chars().any(char::is_control)
}

/// One member's vector of one column, in scaled units; coordinates that are not there are 0.
#[derive(Default)]
struct Vector {
    /// Coordinates in ascending order, each once.
    coordinates: Vec<usize>,
    values: Vec<i128>,
    /// So many coordinates, from each multiple of it on, count by the sum of their magnitudes: bins of one
    /// histogram of which something is chosen. Elsewhere 1.
    together: usize,
    /// C^2 in scaled units.
    bound: u128,
}

impl Vector {
    /// Becomes that of a member's lines, those of each cell netted, as the column takes them, without a bound yet.
    /// `parts` is room.
    fn fill(&mut self, column: &NoisedColumn, lines: Lines<'_>, parts: &mut Vec<(usize, i128)>) {
        let fill = column.fill();
        let width = fill.width();
        parts.clear();
        for cell in lines.of_cells() {
            let position = cell.lines.first().and_then(|line| usize::try_from(line.position).ok());
            let Some(position) = position else { continue };
            let start = position.saturating_mul(width);
            let bin = |line: &Line| usize::try_from(line.bin).unwrap_or(usize::MAX);
            match fill {
                Fill::Value(added) => parts.push((start, cell.netted(added))),
                Fill::Presence(added) => parts.push((start, i128::from(cell.netted(added) > 0))),
                Fill::YesNo { yes, rows } => {
                    let (yes, rows) = (cell.netted(yes), cell.netted(rows));
                    parts.push((start, yes));
                    parts.push((start.saturating_add(1), rows.saturating_sub(yes)));
                }
                Fill::Bins { rows, .. } => {
                    let value = |line| (start.saturating_add(bin(line)), cell.value(line, rows));
                    parts.extend(cell.lines.iter().map(value));
                }
                Fill::Tree { rows, depth } => {
                    for line in cell.lines {
                        let path = tree_path(bin(line), depth);
                        parts.extend(
                            path.map(|node| (start.saturating_add(node), cell.value(line, rows))),
                        );
                    }
                }
            }
        }
        parts.sort_unstable_by_key(|(coordinate, _)| *coordinate);
        let scale = i128::from(column.scale());
        let (together, least) = match fill {
            Fill::Bins { .. } => (width.max(1), 0),
            _ => (1, i128::MIN),
        };
        self.coordinates.clear();
        self.values.clear();
        for same in parts.chunk_by(|a, b| a.0 == b.0) {
            let Some((coordinate, _)) = same.first() else { continue };
            let sum = same.iter().fold(0i128, |sum, (_, value)| sum.saturating_add(*value));
            self.coordinates.push(*coordinate);
            self.values.push(sum.max(least).saturating_mul(scale));
        }
        self.together = together;
        self.bound = 0;
    }

    /// Whether it is within its bound: in machine integers, where they are large enough.
    fn is_within(&self) -> bool {
        match self.small_squared_norm() {
            Some(norm) => norm <= self.bound,
            None => self.squared_norm() <= UBig::from(self.bound),
        }
    }

    /// [`Self::squared_norm`] of one whose coordinates count by themselves; none where it is too large for this.
    fn small_squared_norm(&self) -> Option<u128> {
        if self.together != 1 {
            return None;
        }
        self.values.iter().try_fold(0u128, |sum, value| {
            let magnitude = value.unsigned_abs();
            sum.checked_add(magnitude.checked_mul(magnitude)?)
        })
    }

    /// The sum of the squares of what counts together.
    fn squared_norm(&self) -> UBig {
        if self.together == 1 {
            return exact::squared_norm(&self.values);
        }
        let of = |coordinate: &usize| coordinate.checked_div(self.together);
        let mut values = self.values.iter();
        let cells = self.coordinates.chunk_by(|a, b| of(a) == of(b)).map(|cell| {
            let some = values.by_ref().take(cell.len());
            some.fold(0i128, |sum, value| sum.saturating_add(value.saturating_abs()))
        });
        exact::squared_norm(&cells.collect::<Vec<_>>())
    }

    fn add_to(&self, sums: &mut [i128], start: usize) -> Result<(), CollectError> {
        for (coordinate, value) in self.coordinates.iter().zip(&self.values) {
            let at = start.checked_add(*coordinate).ok_or(CollectError::Cell)?;
            let sum = sums.get_mut(at).ok_or(CollectError::Cell)?;
            // a clipped value is below 2^63, and there are fewer than 2^64 members
            *sum = sum.saturating_add(*value);
        }
        Ok(())
    }
}

/// The nodes above a bin, from the two below the root down to the bin itself: level l has 2^l nodes
/// and begins at 2^l - 2.
fn tree_path(bin: usize, depth: u8) -> impl Iterator<Item = usize> {
    (1..=u32::from(depth)).map(move |level| {
        let begins = 1usize.checked_shl(level).unwrap_or(2).saturating_sub(2);
        let above = u32::from(depth).saturating_sub(level);
        begins.saturating_add(bin.checked_shr(above).unwrap_or(0))
    })
}

/// Brings each vector to its squared L2 bound by one factor for all of them, keeping directions up
/// to whole units, so that the quotient of two of a member's vectors stays what it was.
///
/// Let |v|^2 / C^2 be largest for the vector of squared norm N and squared bound B, and N > B. Every
/// coordinate x becomes sign(x) floor(sqrt(x^2 B / N)). The new squares of a vector with norm n and
/// bound b are at most x^2 B / N each, so they add up to at most n B / N <= b, because n / b <= N / B.
/// The same holds where coordinates count by the sum of their magnitudes, which shrinks with each of them.
/// All in integers; no rounding is up. A bound of 0, that of a member whose other periods have used all of it,
/// is exceeded by any factor: everything becomes 0.
fn clip(vectors: &mut [Vector]) {
    if vectors.iter().all(Vector::is_within) {
        return;
    }
    let tightest =
        exact::most_exceeded(vectors.iter().map(|vector| (vector.squared_norm(), vector.bound)));
    let Some((norm, bound)) = tightest else { return };
    for value in vectors.iter_mut().flat_map(|vector| vector.values.iter_mut()) {
        // The norm is positive here, and no coordinate grows; a failure would deny by zero.
        *value = exact::shrink(*value, bound, &norm).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests;
