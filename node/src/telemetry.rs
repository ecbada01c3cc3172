//! What the node says about itself: log lines on stderr and counters.
//!
//! Knows: the form of a line, which fields may appear, levels from the variable `COALITION_LOG`.
//! Does not know the events; there is no exporter of traces yet. How to read it all: docs/observing.md.
//!
//! The discipline, upheld by the formatter rather than by hope:
//! - A message of our crates is a fixed text. What varies goes into a field.
//! - A field is printed only if its name is in [`FIELDS`]; of any other only the name is. So it is with the
//!   fields of the spans that an event is in, which stand before its text. The list has
//!   names for brands, numbers, files, rules and error texts (our errors never carry personal data
//!   or keys), none for members, requests' bodies, queries, addresses or keys.
//! - A panic's words are anybody's, and may quote a row: once logging is set up, of a panic only source file and
//!   line are printed, as an event like any other.
//! - Other crates' words are not ours to vouch for (an SQL engine's error may quote a value): of their
//!   events only level, module and source line are printed, of their spans nothing.
//! - A value is cut at 512 characters and has no control characters, so it cannot forge a line.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormattedFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

/// The variable that sets the level: `error`, `warn`, `info`, `debug`, `trace` for our crates, or
/// directives like `warn,node::net=debug`.
pub const LEVEL_VARIABLE: &str = "COALITION_LOG";

/// The fields whose values may be printed.
pub const FIELDS: &[&str] = &[
    "brand",
    "bytes",
    "code",
    "count",
    "counterparty",
    "epoch",
    "error",
    "file",
    "height",
    "index",
    "kind",
    "lane",
    "limit",
    "line",
    "log",
    "method",
    "milliseconds",
    "offset",
    "path",
    "peer",
    "port",
    "reason",
    "request",
    "retry_seconds",
    "round",
    "route",
    "rule",
    "segment",
    "size",
    "state",
    "status",
    "version",
    "witness",
];

const OWN_CRATES: [&str; 5] = ["node", "coalition", "protocol", "privacy", "alliance_config"];
const VALUE_MAX_CHARACTERS: usize = 512;

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The variable cannot be read as levels.
    #[error(
        "{LEVEL_VARIABLE} is not a level (error, warn, info, debug, trace) or a list of module=level"
    )]
    Level,
    /// Another subscriber is there already.
    #[error("logging was already set up in this process")]
    Twice,
}

/// Sends this process's events to stderr, at the level of `COALITION_LOG` (if unset, `info`), and of its panics the
/// place alone: of the whole process, so that it is for a program to call and not for what tests call too.
///
/// # Errors
/// When the variable is not understood, or logging was set up before.
pub fn start() -> Result<(), TelemetryError> {
    // first: whatever becomes of logging, no panic tells its words
    std::panic::set_hook(Box::new(|panic| tell_place(panic.location())));
    let levels = std::env::var(LEVEL_VARIABLE).unwrap_or_default();
    let subscriber = subscriber(&levels, io::stderr)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| TelemetryError::Twice)
}

/// Where a thread panicked. Paths of other crates begin on the machine that built them: of those the file alone.
fn tell_place(place: Option<&Location<'_>>) {
    let path = place.map_or("?", |place| place.file());
    let file = match path.starts_with('/') {
        true => path.rsplit('/').next().unwrap_or("?"),
        false => path,
    };
    let line = place.map_or(0, |place| place.line());
    tracing::error!(file, line, "a thread panicked");
}

fn subscriber<W>(levels: &str, writer: W) -> Result<impl Subscriber, TelemetryError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(directives(levels)).map_err(|_| TelemetryError::Level)?;
    Ok(tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(writer)
        .fmt_fields(ListedFields)
        .event_format(Line)
        .finish())
}

/// A single level is meant for our crates; others then speak from `warn` on.
fn directives(levels: &str) -> String {
    let level = if levels.is_empty() { "info" } else { levels };
    if level.contains(['=', ',']) {
        return level.to_owned();
    }
    let own = OWN_CRATES.map(|name| format!("{name}={level}"));
    format!("warn,{}", own.join(","))
}

/// One event in one line.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        SystemTime.format_time(&mut writer)?;
        write!(writer, " {:5} {}", metadata.level(), metadata.target())?;
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            if !is_own(span.metadata()) {
                continue;
            }
            write!(writer, " [{}", span.name())?;
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
                write!(writer, "{fields}")?;
            }
            write!(writer, "]")?;
        }
        if is_own(metadata) {
            let mut fields = AllowedFields { writer: &mut writer, outcome: Ok(()) };
            event.record(&mut fields);
            fields.outcome?;
        } else {
            // where its text stands in its source, which says what happened, not to whom
            let file = metadata.file().and_then(|file| file.rsplit('/').next()).unwrap_or("?");
            write!(writer, " (text withheld) {file}:{}", metadata.line().unwrap_or(0))?;
        }
        writeln!(writer)
    }
}

/// Whether an event or a span is of our crates.
fn is_own(metadata: &Metadata<'_>) -> bool {
    OWN_CRATES.contains(&metadata.target().split("::").next().unwrap_or_default())
}

/// The fields of a span, by the rule of events.
struct ListedFields;

impl<'w> FormatFields<'w> for ListedFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut allowed = AllowedFields { writer: &mut writer, outcome: Ok(()) };
        fields.record(&mut allowed);
        allowed.outcome
    }
}

struct AllowedFields<'a, 'w> {
    writer: &'a mut Writer<'w>,
    outcome: fmt::Result,
}

impl AllowedFields<'_, '_> {
    fn print(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let name = field.name();
        let printed = if name == "message" {
            write!(self.writer, " {}", Plain(value))
        } else if FIELDS.contains(&name) {
            write!(self.writer, " {name}={}", Plain(value))
        } else {
            write!(self.writer, " {name}=(withheld)")
        };
        self.outcome = self.outcome.and(printed);
    }
}

impl Visit for AllowedFields<'_, '_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.print(field, format_args!("{value}"));
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.print(field, format_args!("{value:?}"));
    }
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        // its own text only: a source may be another crate's
        self.print(field, format_args!("{value}"));
    }
}

/// A value on one line, cut when it is long.
struct Plain<'a>(fmt::Arguments<'a>);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let mut characters = text.chars();
        for character in characters.by_ref().take(VALUE_MAX_CHARACTERS) {
            f.write_char(if character.is_control() { '?' } else { character })?;
        }
        if characters.next().is_some() { f.write_str("...") } else { Ok(()) }
    }
}

/// A number that only grows.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }
    /// Adds a number.
    pub fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }
    /// The number so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one node, by name. Names are part of the source and carry no labels, so no one's
/// data can become one.
#[derive(Debug, Clone, Default)]
pub struct Counters(Arc<Mutex<BTreeMap<&'static str, Counter>>>);

impl Counters {
    /// The counter of that name, made on first use: lower case, words joined by `_`.
    #[must_use]
    pub fn counter(&self, name: &'static str) -> Counter {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default().clone()
    }

    /// All counters in the text format of Prometheus.
    #[must_use]
    pub fn render(&self) -> String {
        let counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for (name, counter) in counters.iter() {
            let full = format!("coalition_{name}_total");
            text += &format!("# TYPE {full} counter\n{full} {}\n", counter.get());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A writer that keeps what it is given.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn printed(levels: &str, events: impl FnOnce()) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = subscriber(levels, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, events);
        String::from_utf8(kept.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn only_listed_fields_are_printed() {
        let line = printed("info", || {
            tracing::info!(brand = "grocer_one", height = 7, member = "Ann", "a block is final");
        });
        assert!(line.contains("a block is final") && line.contains("brand=grocer_one height=7"));
        assert!(line.contains("member=(withheld)") && !line.contains("Ann"), "{line}");
    }

    #[test]
    fn spans_stand_before_the_text_with_listed_fields_alone() {
        let line = printed("debug", || {
            let height = tracing::debug_span!("agreement", log = "kids", height = 7, card = "C1");
            let _height = height.enter();
            let theirs = tracing::warn_span!(target: "datafusion", "scan", member = "Ann");
            let _theirs = theirs.enter();
            tracing::debug!(brand = "books", rule = 56, "received");
        });
        let expected = "[agreement log=kids height=7 card=(withheld)] received brand=books rule=56";
        assert!(line.contains(expected), "{line}");
        assert!(!line.contains("C1") && !line.contains("Ann") && !line.contains("scan"), "{line}");
    }

    /// The hook is the whole process's, so that it is set in another one: this test again.
    #[test]
    fn a_panic_is_told_by_its_place_and_never_by_its_words() {
        const CHILD: &str = "COALITION_TEST_PANICS";
        if std::env::var_os(CHILD).is_some() {
            start().unwrap();
            let thread: std::thread::JoinHandle<()> = std::thread::spawn(|| {
                let row = ["SECRET".to_owned()];
                panic!("cannot read the row of {}", row[0]);
            });
            assert!(thread.join().is_err());
            return;
        }
        let test = "telemetry::tests::a_panic_is_told_by_its_place_and_never_by_its_words";
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture"])
            .env(CHILD, "1")
            .env(LEVEL_VARIABLE, "info")
            .output()
            .unwrap();
        let [out, told] = [output.stdout, output.stderr]
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert!(output.status.success() && out.contains("1 passed"), "{out}{told}");
        assert!(!told.contains("SECRET") && !out.contains("SECRET"), "{out}{told}");
        let lines: Vec<&str> =
            told.lines().filter(|line| line.contains("a thread panicked")).collect();
        let [line] = &lines[..] else { panic!("{told}") };
        assert!(line.contains("ERROR node::telemetry") && line.contains("telemetry.rs"), "{line}");
        let (_, number) = line.rsplit_once(" line=").unwrap();
        assert!(number.trim().parse::<u32>().is_ok_and(|number| number > 0), "{line}");
    }

    #[test]
    fn a_path_of_the_machine_that_built_it_is_not_told() {
        let told = printed("info", || tell_place(Some(Location::caller())));
        assert!(told.contains(" line=") && !told.contains(" file=/"), "{told}");
        let unknown = printed("info", || tell_place(None));
        assert!(unknown.contains("a thread panicked file=? line=0"), "{unknown}");
    }

    #[test]
    fn other_crates_words_are_withheld() {
        let line = printed("debug", || {
            tracing::warn!(target: "datafusion::physical", count = 1, "cannot cast 'Ann' to Int64");
        });
        assert!(line.contains("datafusion::physical") && line.contains("telemetry.rs:"));
        assert!(!line.contains("Ann") && !line.contains("count"), "{line}");
    }

    #[test]
    fn a_value_can_neither_forge_a_line_nor_fill_the_disk() {
        let line = printed("info", || {
            let value = format!("x\n2026 INFO node all is well\u{1b}[2J{}", "y".repeat(9_999));
            tracing::info!(reason = %value, "refused");
        });
        assert_eq!(line.matches('\n').count(), 1);
        assert!(!line.contains('\u{1b}') && line.len() < 700);
    }

    #[test]
    fn one_level_is_for_our_crates_and_nonsense_is_refused() {
        let lines = printed("debug", || {
            tracing::debug!("ours");
            tracing::info!(target: "libp2p_swarm", "theirs");
        });
        assert!(lines.contains("ours") && !lines.contains("libp2p_swarm"));
        assert!(matches!(subscriber("node=loud", io::sink), Err(TelemetryError::Level)));
        assert!(matches!(subscriber("loud", io::sink), Err(TelemetryError::Level)));
    }

    #[test]
    fn counters_of_one_name_are_one() {
        let counters = Counters::default();
        counters.counter("frames_refused").increment();
        counters.clone().counter("frames_refused").add(2);
        assert_eq!(
            counters.render(),
            "# TYPE coalition_frames_refused_total counter\ncoalition_frames_refused_total 3\n"
        );
    }
}
