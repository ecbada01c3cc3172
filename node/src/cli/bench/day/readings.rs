//! Memory of the nodes, read over the day.

use std::pin::pin;
use std::time::{Duration, Instant};

use super::super::memory::slope_of_second_half;
use super::super::process::memory_mib;
use super::MemoryReading;
use crate::cli::process::NodeProcess;

/// Memory of the nodes over time.
pub(super) struct Memory {
    processes: Vec<Option<u32>>,
    pub(super) readings: Vec<MemoryReading>,
    every: Duration,
    began: Instant,
    due: Instant,
}

impl Memory {
    pub(super) fn new(nodes: &[NodeProcess], every: f64, began: Instant) -> Self {
        let every = Duration::from_secs_f64(every);
        let mut memory =
            Self { processes: Vec::new(), readings: Vec::new(), every, began, due: began };
        memory.follow(nodes);
        memory
    }

    /// A node may be another process than before.
    pub(super) fn follow(&mut self, nodes: &[NodeProcess]) {
        self.processes = nodes.iter().map(NodeProcess::process_id).collect();
    }

    fn read(&mut self) {
        let node_mib = self.processes.iter().map(|process| process.and_then(memory_mib)).collect();
        self.readings.push(MemoryReading { seconds: self.began.elapsed().as_secs_f64(), node_mib });
        self.due = Instant::now() + self.every;
    }

    /// Reads while something else is done.
    pub(super) async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep_until(self.due.into()) => self.read(),
            }
        }
    }

    /// Growth in KiB a second over the second half, of all nodes but the last, which was lost.
    pub(super) fn slope(&self) -> f64 {
        let readings = self.readings.iter().filter_map(|reading| {
            let (_, others) = reading.node_mib.split_last()?;
            let sum: Option<f64> = others.iter().copied().sum();
            Some((reading.seconds, sum?))
        });
        slope_of_second_half(&readings.collect::<Vec<_>>()) * 1024.0
    }

    pub(super) fn most(&self) -> f64 {
        let all = self.readings.iter().flat_map(|reading| reading.node_mib.iter().flatten());
        all.copied().fold(0.0, f64::max)
    }
}
