//! Where a chunk ends, and the orders whose lines wait for it or for the rest of them.

use super::{CHUNK_BYTES, Order, Run, Waiting};
use crate::purchases::BasketKey;
use crate::purchases::basket::LINES_MAX;
use crate::purchases::clean::{DropReason, Issue};
use crate::purchases::import::ImportError;
use crate::vault::MemberId;

impl Run<'_> {
    /// Writes a chunk, if there is enough for one, before the line at `place`, unless that goes on with the basket of
    /// the line before it. Says whether others had a turn then.
    pub(super) fn make_room(&mut self, place: u64, basket: BasketKey) -> Result<bool, ImportError> {
        if self.last.replace(basket) == Some(basket) {
            return Ok(false);
        }
        let bytes = self.bytes.saturating_add(self.waiting_bytes);
        if self.rows_read < self.facts.chunk_rows && bytes < CHUNK_BYTES {
            return Ok(false);
        }
        // all rows before this one are in baskets or in the report
        self.end_chunk(place.saturating_sub(1))
    }

    /// Writes a chunk with which all rows up to a place are done, and gives a turn. Says whether others had it: then
    /// who somebody is, and what baskets are, is to be asked anew.
    pub(super) fn end_chunk(&mut self, done: u64) -> Result<bool, ImportError> {
        self.end_orders()?;
        self.import.place_done = self.import.place_done.max(done);
        self.commit()?;
        self.rows_read = 0;
        if !self.work.give()? {
            return Ok(false);
        }
        self.next_file = self.facts.next_file()?;
        self.forget_buyers();
        self.loaded.clear();
        Ok(true)
    }

    /// Puts a line to its order. That of the buyer's basket before it has ended.
    pub(super) fn wait(&mut self, line: Waiting) -> Result<(), ImportError> {
        let buyer = line.bought.buyer.as_ref().map(|member| member.id);
        let key = line.bought.keys.own;
        if self.waiting.get(&buyer).is_some_and(|order| order.key != key) {
            self.end_order(buyer)?;
        }
        let mut bytes = line.bytes();
        match self.waiting.get(&buyer) {
            Some(order) if order.lines.len() >= LINES_MAX => {
                self.refuse(line.place, Issue::row(DropReason::BasketTooLarge));
                return Ok(());
            }
            Some(_) => {}
            None => {
                let stored = line.bought.keys().filter_map(|key| self.loaded.get(&key)?.as_ref());
                bytes += stored.map(|stored| 64 * (1 + stored.now.lines.len())).sum::<usize>();
            }
        }
        self.waiting_bytes += bytes;
        let fresh = || Order { key, lines: Vec::new(), bytes: 0 };
        let order = self.waiting.entry(buyer).or_insert_with(fresh);
        order.bytes += bytes;
        order.lines.push(line);
        Ok(())
    }

    /// Takes all lines that wait into their baskets, in the order of the file.
    pub(super) fn end_orders(&mut self) -> Result<(), ImportError> {
        let lines = self.waiting.values().flat_map(|order| &order.lines);
        let keys: Vec<BasketKey> = lines.flat_map(|line| line.bought.keys()).collect();
        self.load(keys.into_iter())?;
        let begun = self.waiting.iter().filter_map(|(buyer, order)| {
            let first = order.lines.first()?;
            Some((first.place, *buyer))
        });
        let mut begun: Vec<(u64, Option<MemberId>)> = begun.collect();
        begun.sort_unstable();
        for (_, buyer) in begun {
            self.end_order(buyer)?;
        }
        Ok(())
    }

    /// Takes the lines of a buyer that wait into their basket, unless the order came a moment ago.
    fn end_order(&mut self, buyer: Option<MemberId>) -> Result<(), ImportError> {
        let Some(Order { key, lines, bytes }) = self.waiting.remove(&buyer) else {
            return Ok(());
        };
        self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes);
        let repeated = self.is_repeated(key, &lines)?;
        for line in lines {
            if self.is_done(line.place) {
                continue;
            }
            if repeated {
                self.refuse(line.place, Issue::row(DropReason::SameOrderTwice));
                continue;
            }
            match self.take(&line)? {
                Err(reason) => self.refuse(line.place, Issue::row(reason)),
                Ok(kept) => self.keep(&line, &kept),
            }
        }
        Ok(())
    }

    fn is_repeated(&mut self, key: BasketKey, lines: &[Waiting]) -> Result<bool, ImportError> {
        let within = self.mapping.cleaning.same_order_within_seconds;
        let Some(first) = lines.first().filter(|_| within > 0) else { return Ok(false) };
        let (Some(member), Some(at)) = (&first.bought.buyer, first.at.local_seconds()) else {
            return Ok(false);
        };
        // the same lines in any order, whenever they were
        let content = lines.iter().fold(0_i64, |sum, line| sum.wrapping_add(line.timeless));
        self.work.is_repeated((member.id, content), (at, key), within)
    }
}
