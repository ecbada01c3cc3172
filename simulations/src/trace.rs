//! What happened, as a digest and, when asked for, as lines to read.

use std::fmt;

use protocol::crypto::sha256;

/// A run's events. Two runs with one digest are the same run.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    digest: [u8; 32],
    lines: Option<Vec<String>>,
}

impl Trace {
    /// A trace that also keeps its lines.
    #[must_use]
    pub const fn readable() -> Self {
        Self { digest: [0; 32], lines: Some(Vec::new()) }
    }

    /// Takes note of one event.
    pub fn note(&mut self, event: fmt::Arguments<'_>) {
        let line = event.to_string();
        self.digest = sha256(&[&self.digest, line.as_bytes()]);
        if let Some(lines) = &mut self.lines {
            lines.push(line);
        }
    }

    /// Hash over all events so far.
    #[must_use]
    pub const fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The lines, if they were kept.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }
}
