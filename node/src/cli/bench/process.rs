//! What the operating system says of a process: its memory at its largest and its processor time.

use std::fs;
use std::time::Duration;

/// Memory at its largest, in MiB; none when the process has ended.
pub fn peak_memory_mib(process: &str) -> Option<u64> {
    kib(process, "VmHWM:").map(|kib| kib.div_ceil(1024))
}

/// Resident memory now, in MiB; none when the process has ended.
pub fn memory_mib(process: u32) -> Option<f64> {
    kib(&process.to_string(), "VmRSS:").map(|kib| kib as f64 / 1024.0)
}

fn kib(process: &str, field: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Processor time so far, to a clock tick (10 ms); none when the process has ended.
pub fn cpu_time(process: &str) -> Option<Duration> {
    const TICKS_PER_SECOND: u64 = 100;
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // the name, in brackets, may hold spaces
    let (_, fields) = stat.rsplit_once(')')?;
    let fields = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    Some(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}
