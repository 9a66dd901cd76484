//! The manners that our programs share: logs to stderr, results to stdout, and exit codes that scripts can rely on.
//!
//! 0 it went well · 1 it failed · 2 wrong usage · 69 cannot bind or reach · 78 wrong configuration

#![allow(
    unreachable_pub,
    dead_code,
    unused_imports,
    reason = "a program has no public face, and takes of what is shared what it needs"
)]

pub mod crew;
pub mod hangup;
mod place;
pub mod selftest;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io::IsTerminal;
use std::process::ExitCode;

use pop_edge::config::FileError;
use pop_edge::dns::zone::ZoneError;
use pop_edge::{BuildError, CertificateError, Pop, PopBuilder, RunError};
use tracing_subscriber::EnvFilter;

use crew::CrewError;
pub use place::{Clients, Place};

/// More threads than this help nobody.
const WORKERS_MAX: usize = 1024;

/// How logs look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Lines for a person.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The flags that every preset's program has.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Common {
    /// Play the story against what is embedded here, and exit 0 or 1
    #[arg(long)]
    pub selftest: bool,
    /// How logs look
    #[arg(long, value_enum, env = "POP_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

/// Logs go to stderr; `RUST_LOG` chooses what, by default `level`. Colours only on a terminal, never with NO_COLOR.
pub fn log(format: LogFormat, level: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    // A second subscriber in one process is a programming error that costs only the second one's logs.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(colour).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}

/// Why a program ends early.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// It failed: exit code 1.
    pub fn new(message: impl fmt::Display) -> Self {
        Self { code: 1, message: message.to_string() }
    }

    /// Wrong usage: exit code 2.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self { code: 2, message: message.to_string() }
    }

    /// Something cannot be bound or reached: exit code 69.
    pub fn unavailable(message: impl fmt::Display) -> Self {
        Self { code: 69, message: message.to_string() }
    }

    /// The configuration is wrong: exit code 78.
    pub fn config(message: impl fmt::Display) -> Self {
        Self { code: 78, message: message.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

/// An error and everything beneath it, in one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        Self::config(chain(&error))
    }
}

impl From<CertificateError> for Failure {
    fn from(error: CertificateError) -> Self {
        Self::config(chain(&error))
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Self::config(chain(&error))
    }
}

impl From<ZoneError> for Failure {
    fn from(error: ZoneError) -> Self {
        Self::config(chain(&error))
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Missing(_) => Self::config(chain(&error)),
            _ => Self::unavailable(chain(&error)),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(chain(&error))
    }
}

/// The end of a program: what went wrong goes to stderr, the exit code to the shell.
pub fn end(name: &str, outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, message }) => {
            eprintln!("{name}: {message}");
            ExitCode::from(code)
        }
    }
}

/// Runs a preset's program to its end: its story where `--selftest` asks for it, else the PoP until the operator wants
/// the end.
pub fn run(
    name: &str,
    common: Common,
    pop: impl FnOnce() -> Result<Pop, Failure>,
    story: impl Future<Output = Result<(), Failure>>,
) -> ExitCode {
    log(common.log_format, if common.selftest { "warn" } else { "info" });
    let program =
        async { if common.selftest { story.await } else { Ok(pop()?.run_until(told_to_stop()).await?) } };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    end(name, runtime.map_err(Failure::from).and_then(|runtime| runtime.block_on(program)))
}

/// Serves a PoP that shares its ports on `workers` threads (0: one a core), each with a runtime and sockets of its
/// own, until the operator wants the end; then drains. SIGHUP makes it what `configuration` says then.
pub fn serve(
    pop: &Pop,
    workers: usize,
    configuration: Option<impl Fn() -> Result<PopBuilder, Failure>>,
) -> Result<(), Failure> {
    let workers = match workers {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        chosen => chosen.min(WORKERS_MAX),
    };
    let single = || tokio::runtime::Builder::new_current_thread().enable_all().build();
    let handle = pop.handle();
    // The first worker binds, so that a port in use ends the program before anything is served.
    let first = single()?;
    let addresses = first.block_on(pop.bind())?;
    tracing::info!(target: "pop_edge", name = handle.name(), ?addresses, workers, "serving");
    let work = || -> Result<(), Failure> { Ok(single()?.block_on(pop.run())?) };
    let own = || {
        first.block_on(async {
            tokio::select! {
                ended = pop.run_until(told_to_stop()) => ended.map_err(Failure::from),
                () = hangup::reload_on_hangup(&handle, configuration) => Ok(()),
            }
        })
    };
    crew::together(&handle, workers.max(1) - 1, work, own).map_err(|error| match error {
        CrewError::Failed(failure) => failure,
        CrewError::Panicked => Failure::new("a worker panicked"),
        CrewError::NotStarted(error) => error.into(),
    })
}

/// Resolves when the operator wants the program to end: Ctrl-C, or SIGTERM where there is such a thing.
pub async fn told_to_stop() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
