//! The rows. A reason says what would be lost if the arrow were allowed.

/// What one crate may use of the workspace, and what it must do without.
pub struct Crate {
    pub name: &'static str,
    /// Where it is, from the workspace.
    pub folder: &'static str,
    pub may_use: &'static [&'static str],
    pub without: &'static [&'static str],
    pub because: &'static str,
}

/// Names that a module (an empty one: the whole crate) may not name. A name with `::` before it is
/// meant wherever it stands in a path, any other as the path's beginning.
pub struct Forbidden {
    pub in_crate: &'static str,
    pub module: &'static str,
    pub except: &'static [&'static str],
    pub names: &'static [&'static str],
    pub because: &'static str,
}

/// A name that only its owners name.
pub struct Alone {
    pub in_crate: &'static str,
    pub name: &'static str,
    pub owners: &'static [&'static str],
    pub because: &'static str,
}

const IO: &[&str] = &[
    "tokio",
    "libp2p",
    "axum",
    "axum-server",
    "hyper",
    "sled",
    "datafusion",
    "rustls",
    "tracing",
    "jiff",
    "tempfile",
    "rcgen",
];

pub const CRATES: &[Crate] = &[
    Crate {
        name: "protocol",
        folder: "protocol",
        may_use: &[],
        without: IO,
        because: "protocol is sans-IO and stands alone: the same code runs in a node, in a simulation \
                  and in an auditor's offline command",
    },
    Crate {
        name: "privacy",
        folder: "privacy",
        may_use: &[],
        without: IO,
        because: "privacy is sans-IO and knows nothing of points: a charge reaches it as a trait, so \
                  that it could serve another clean room",
    },
    Crate {
        name: "alliance-config",
        folder: "alliance-config",
        may_use: &["protocol", "privacy"],
        without: &["tokio", "libp2p", "axum", "sled", "datafusion"],
        because: "a constitution is read and checked without a node",
    },
    Crate {
        name: "programme",
        folder: "node/programme",
        may_use: &["protocol"],
        without: IO,
        because: "the rules of a programme are sans-IO: the same events give the same points in a node, in a \
                  test and in a replay",
    },
    Crate {
        name: "node",
        folder: "node",
        may_use: &["protocol", "privacy", "alliance-config", "programme"],
        without: &[],
        because: "the node drives the crates to its left and is driven by nothing of the workspace",
    },
    Crate {
        name: "simulations",
        folder: "simulations",
        may_use: &["protocol", "privacy", "alliance-config", "programme", "node"],
        without: &[],
        because: "simulations run the real state machines and are used by tests alone",
    },
    Crate {
        name: "tests",
        folder: "tests",
        may_use: &["protocol", "privacy", "alliance-config", "programme", "node", "simulations"],
        without: &[],
        because: "tests see all and are used by nobody",
    },
];

const CLOCK_AND_GENERATOR: &[&str] = &[
    "::SystemTime",
    "::Instant",
    "::SystemRandom",
    "::OsRng",
    "::thread_rng",
    "getrandom",
    "rand",
];
const OUTSIDE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::io",
    "std::os",
    "std::thread",
    "tokio",
    "libp2p",
    "axum",
    "sled",
    "::println",
    "::eprintln",
];
const ORDER: &[&str] = &["::HashMap", "::HashSet", "::RandomState"];

const DETERMINISTIC: &str = "time and randomness are passed in, so that a run can be repeated from \
                             its seed byte for byte";
const SANS_IO: &str = "it reads and writes nothing: the node persists and sends for it";
const SAME_ORDER: &str = "an order that differs from run to run must not reach what is signed or \
                          summed; use the BTree collections";

const UPHELD: &str = "the guards of the ledger are upheld everywhere but in the mutants of simulations; \
                      a ledger under others has no place in what runs for a brand";

pub const FORBIDDEN: &[Forbidden] = &[
    Forbidden {
        in_crate: "alliance-config",
        module: "",
        except: &[],
        names: &["::guards", "::with_guards"],
        because: UPHELD,
    },
    Forbidden {
        in_crate: "node",
        module: "",
        except: &[],
        names: &["::guards", "::with_guards"],
        because: UPHELD,
    },
    Forbidden {
        in_crate: "protocol",
        module: "",
        except: &[],
        names: CLOCK_AND_GENERATOR,
        because: DETERMINISTIC,
    },
    Forbidden { in_crate: "protocol", module: "", except: &[], names: OUTSIDE, because: SANS_IO },
    Forbidden { in_crate: "protocol", module: "", except: &[], names: ORDER, because: SAME_ORDER },
    Forbidden {
        in_crate: "protocol",
        module: "",
        except: &[],
        names: &["::f32", "::f64"],
        because: "no float near an amount: two nodes must arrive at the same one",
    },
    Forbidden {
        in_crate: "privacy",
        module: "",
        except: &[],
        names: CLOCK_AND_GENERATOR,
        because: DETERMINISTIC,
    },
    Forbidden { in_crate: "privacy", module: "", except: &[], names: OUTSIDE, because: SANS_IO },
    Forbidden { in_crate: "privacy", module: "", except: &[], names: ORDER, because: SAME_ORDER },
    Forbidden {
        in_crate: "privacy",
        module: "",
        // what is shown to people, after the guarantee is settled
        except: &["plan::display", "release", "units", "exact"],
        names: &["::f32", "::f64"],
        because: "what carries the guarantee is an integer or an exact rational; floats are for \
                  display, in the modules this row excepts",
    },
    Forbidden {
        in_crate: "programme",
        module: "",
        except: &[],
        names: CLOCK_AND_GENERATOR,
        because: DETERMINISTIC,
    },
    Forbidden { in_crate: "programme", module: "", except: &[], names: OUTSIDE, because: SANS_IO },
    Forbidden { in_crate: "programme", module: "", except: &[], names: ORDER, because: SAME_ORDER },
    Forbidden {
        in_crate: "programme",
        module: "",
        except: &[],
        names: &["::f32", "::f64"],
        because: "no float near points: a replay must arrive at the same balance",
    },
    Forbidden {
        in_crate: "programme",
        module: "",
        except: &[],
        names: &["protocol::ledger", "protocol::witness", "protocol::log", "protocol::exchange"],
        because: "a programme is the brand's own: of the alliance it takes amounts and time, and no rule",
    },
    Forbidden {
        in_crate: "alliance-config",
        module: "",
        except: &[],
        names: &["::SystemTime", "::Instant", "std::net::TcpStream", "tokio", "libp2p"],
        because: "whether a constitution is valid depends on its bytes alone",
    },
    Forbidden {
        in_crate: "simulations",
        module: "",
        // it spreads seeds over cores and gives results in their order
        except: &["parallel"],
        names: &["::SystemTime", "::SystemRandom", "::OsRng", "std::thread", "tokio", "rand"],
        because: "the same seed gives the same run",
    },
    Forbidden {
        in_crate: "node",
        module: "vault",
        except: &[],
        names: &[
            "crate::net",
            "crate::runtime",
            "crate::service",
            "libp2p",
            "axum",
            "tokio::net",
            "std::net",
        ],
        because: "members' data has no way out of the vault but through who asks it",
    },
    Forbidden {
        in_crate: "node",
        module: "vault",
        except: &[],
        names: &["tracing", "::println", "::eprintln", "::SystemTime"],
        because: "the vault logs nothing: whatever it knows is about a person",
    },
    Forbidden {
        in_crate: "node",
        module: "programme",
        except: &[],
        names: &[
            "crate::store",
            "crate::journal",
            "crate::runtime",
            "crate::net",
            "std::fs",
            "::SystemTime",
            "::Instant",
            "tokio",
        ],
        because: "earning rules are pure: the same purchase earns the same points whenever it is asked",
    },
    Forbidden {
        in_crate: "node",
        module: "purchases",
        except: &[],
        names: &[
            "crate::exchange",
            "crate::net",
            "crate::runtime",
            "crate::service",
            "programme",
            "protocol::amount",
            "libp2p",
        ],
        because: "facts know nothing of points or peers",
    },
    Forbidden {
        in_crate: "node",
        module: "cleanroom",
        except: &[],
        names: &[
            "crate::runtime",
            "crate::net",
            "crate::exchange",
            "protocol::ledger",
            "opendp",
            "::SystemTime",
            "::SystemRandom",
            "libp2p",
        ],
        because: "the clean room drives privacy's steps; mechanism, clock, generator and sending are others'",
    },
    Forbidden {
        in_crate: "node",
        module: "cleanroom::read",
        except: &[],
        names: &[
            "tracing",
            "crate::metrics",
            "crate::telemetry",
            "::println",
            "::eprintln",
            "::MetricsSet",
            "::ExecutionPlanMetricsSet",
            "::AnalyzeExec",
        ],
        because: "a reading says that it is done or failed, in steps of time, and nothing else: an engine's metrics, \
                  row counts and errors are of rows",
    },
    Forbidden {
        in_crate: "node",
        module: "net",
        except: &[],
        names: &[
            "protocol::witness",
            "protocol::ledger",
            "protocol::log",
            "protocol::exchange",
            "crate::vault",
            "crate::store",
            "crate::journal",
            "crate::exchange",
            "crate::runtime",
        ],
        because: "the network carries bytes between known peers and never decides what is valid",
    },
    Forbidden {
        in_crate: "node",
        module: "",
        except: &["cli"],
        names: &["crate::cli"],
        because: "commands are the outermost layer: what they share with a running node is in a module of its own",
    },
    Forbidden {
        in_crate: "node",
        module: "audit",
        except: &[],
        names: &[
            "crate::runtime",
            "crate::service",
            "crate::net",
            "crate::http",
            "crate::client",
            "crate::store",
            "crate::vault",
            "crate::journal",
            "crate::exchange",
            "::SystemTime",
            "tokio",
        ],
        because: "an audit reads published logs and what it is given, as anybody can without a node",
    },
    Forbidden {
        in_crate: "node",
        module: "store",
        except: &[],
        names: &[
            "protocol",
            "privacy",
            "crate::vault",
            "crate::exchange",
            "crate::runtime",
            "crate::purchases",
            "crate::net",
        ],
        because: "a store keeps keys and values and knows none of their meanings",
    },
    Forbidden {
        in_crate: "node",
        module: "journal",
        except: &[],
        names: &[
            "crate::store",
            "crate::vault",
            "crate::exchange",
            "crate::runtime",
            "crate::net",
            "protocol::witness",
        ],
        because: "the journal keeps records and knows none of their meanings",
    },
    Forbidden {
        in_crate: "node",
        module: "exchange",
        except: &[],
        names: &[
            "crate::net",
            "crate::runtime",
            "crate::journal",
            "protocol::ledger",
            "::SystemTime",
            "tokio",
            "libp2p",
        ],
        because: "points and the book of exchanges are pure state: the runtime persists and sends",
    },
    Forbidden {
        in_crate: "node",
        module: "http",
        except: &[],
        names: &[
            "crate::store",
            "crate::vault",
            "crate::journal",
            "crate::exchange",
            "crate::net",
            "crate::runtime",
            "protocol::witness",
            "protocol::ledger",
            "libp2p",
        ],
        because: "a handler asks the service and holds no rule and no storage of its own",
    },
    Forbidden {
        in_crate: "node",
        module: "postgres",
        except: &[],
        names: &[
            "crate::store",
            "crate::vault",
            "crate::journal",
            "crate::exchange",
            "crate::net",
            "crate::runtime",
            "crate::purchases",
            "crate::cleanroom",
            "libp2p",
        ],
        because: "the door for SQL clients asks the service as a handler does, and holds no fact of its own",
    },
    Forbidden {
        in_crate: "node",
        module: "console",
        except: &[],
        names: &[
            "crate::http",
            "crate::store",
            "crate::vault",
            "crate::runtime",
            "crate::auth::Auth",
            "crate::auth::Role",
            "axum",
        ],
        because: "a page is rendered for who already holds a proof of authorization; it checks nobody",
    },
    Forbidden {
        in_crate: "node",
        module: "auth",
        except: &[],
        names: &["crate::http", "crate::console", "crate::runtime", "crate::vault", "axum"],
        because: "who may do what does not depend on the road a request came by",
    },
];

pub const OWNED: &[Alone] = &[
    Alone {
        in_crate: "node",
        name: "datafusion",
        owners: &[
            "purchases",
            "cleanroom::read",
            "cleanroom::exact",
            "postgres::catalogue",
            "cli::demo",
            "rendering",
            "cli::bench::query",
            "cli::bench::useful",
        ],
        because: "the columnar engine stays behind the modules that read facts; the demonstration and measurements \
                  read files of their own, an answer is written as Parquet, and SQL clients ask their catalogue, which \
                  holds what the contract says and no fact",
    },
    Alone {
        in_crate: "node",
        name: "FiguresView",
        owners: &[
            "service::cleanroom",
            "cleanroom::exact",
            "runtime::clean_room",
            "http::cleanroom",
            "console::figures",
            "http::answers",
            "cli::templates",
        ],
        because: "exact figures go from the engine to the member of staff who asked, and nowhere else: no \
                  journal, no log, no message, no page but theirs; the documentation has an example of their form",
    },
    Alone {
        in_crate: "node",
        name: "PeriodFiguresView",
        owners: &[
            "service::figures",
            "service::cleanroom",
            "cleanroom::exact",
            "runtime::clean_room",
            "http::figures",
            "console::figures",
        ],
        because: "exact figures go from the engine to the member of staff who asked, and nowhere else: no \
                  journal, no log, no message, no page but theirs",
    },
    Alone {
        in_crate: "node",
        name: "sled",
        owners: &["store::sled_store"],
        because: "no type of the store's backend leaks: another backend passes the same suite",
    },
    Alone {
        in_crate: "node",
        name: "tokio_postgres",
        owners: &["store::postgres_store"],
        because: "no type of the store's backend leaks: another backend passes the same suite",
    },
    Alone {
        in_crate: "node",
        name: "plotters",
        owners: &["charts"],
        because: "charts look alike, and stand under the pages' policy, because one module draws them",
    },
    Alone {
        in_crate: "node",
        name: "pgwire",
        owners: &["postgres"],
        because: "the protocol of SQL clients is spoken in one place",
    },
    Alone {
        in_crate: "node",
        name: "libp2p",
        owners: &["net", "runtime", "setup"],
        because: "peers are reached through node::net alone; runtime and setup only turn keys into peer ids",
    },
    Alone {
        in_crate: "node",
        name: "axum",
        // what only says hello, for comparison, is no route of a node
        owners: &["http", "cli::bench::api"],
        because: "routes are in one place, where their permissions are",
    },
    Alone {
        in_crate: "node",
        name: "argon2",
        owners: &["auth"],
        because: "passwords are checked in one place",
    },
];
