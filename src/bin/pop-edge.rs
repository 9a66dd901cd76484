//! A PoP that runs a configuration file.
//!
//! ```text
//! cargo run --release --features cli --bin pop-edge -- examples/pop-edge.toml
//! ```

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[path = "../../examples/cli/crew.rs"]
mod crew;
#[path = "../../examples/cli/hangup.rs"]
mod hangup;

use clap::{Parser, ValueEnum};
use crew::CrewError;
use pop_edge::config::File;
use pop_edge::{PopBuilder, RunError};
use tracing_subscriber::EnvFilter;

const EXAMPLES: &str = "\
Examples:
  pop-edge pop-edge.toml
  pop-edge --check pop-edge.toml
  RUST_LOG=info,pop_edge::access=info pop-edge --log-format json pop-edge.toml

SIGTERM and SIGINT drain: exchanges under way end, then it does. SIGHUP reads the file anew; one that cannot be used is
logged, and the running configuration stays. What needs a new start (listen, preset, name) is logged as a warning.

Exit codes: 0 ended in order, 1 failed, 2 usage, 69 cannot bind, 78 bad configuration.";

#[derive(Debug, Parser)]
#[command(name = "pop-edge", version, about = "Runs a PoP from a configuration file", after_help = EXAMPLES)]
struct Flags {
    /// Configuration file
    #[arg(value_name = "FILE", env = "POP_CONFIG")]
    config: PathBuf,
    /// Judge the configuration, and end; touches nothing, so a PoP with this file may run meanwhile
    #[arg(long)]
    check: bool,
    /// Threads that serve; by default as many as there are processors
    #[arg(long, value_name = "N", env = "POP_WORKERS")]
    workers: Option<std::num::NonZeroUsize>,
    /// Format of the log, which goes to standard error; RUST_LOG chooses what is logged
    #[arg(long, value_name = "FORMAT", env = "POP_LOG_FORMAT", default_value = "text")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// Why it ends, and with which code.
struct Failure {
    code: u8,
    error: Box<dyn Error + Send + Sync>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&chain(&*self.error))
    }
}

const FAILED: u8 = 1;
const CANNOT_BIND: u8 = 69;
const BAD_CONFIG: u8 = 78;

fn failure(code: u8, error: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
    Failure { code, error: error.into() }
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    log_to_stderr(flags.log_format);
    match run(&flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("pop-edge: {failure}");
            ExitCode::from(failure.code)
        }
    }
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn log_to_stderr(format: LogFormat) {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,pop_edge::access=off"));
    let color =
        std::env::var_os("NO_COLOR").is_none() && std::io::IsTerminal::is_terminal(&std::io::stderr());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(color);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}

fn configured(path: &Path) -> Result<PopBuilder, Failure> {
    let file = File::read(path).map_err(|error| failure(BAD_CONFIG, error))?;
    PopBuilder::from_file(&file, path).map_err(|error| failure(BAD_CONFIG, error))
}

fn run(flags: &Flags) -> Result<(), Failure> {
    let workers = match flags.workers {
        Some(workers) => workers.get(),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let mut builder = configured(&flags.config)?;
    if flags.check {
        return builder.check().map_err(|error| failure(BAD_CONFIG, error));
    }
    if workers > 1 {
        builder = builder.share_ports();
    }
    let pop = builder.build().map_err(|error| failure(BAD_CONFIG, error))?;
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
    let main = runtime().map_err(|error| failure(FAILED, error))?;
    // Bound before the other workers start: what cannot be bound is told at once.
    let addresses = main.block_on(pop.bind()).map_err(cannot_run)?;
    tracing::info!(?addresses, workers, "serving");
    let work = || match runtime() {
        Ok(own) => own.block_on(pop.run()).map_err(cannot_run),
        Err(error) => Err(failure(FAILED, error)),
    };
    let handle = pop.handle();
    let own = || {
        main.block_on(async {
            tokio::select! {
                result = pop.run_until(terminated()) => result.map_err(cannot_run),
                () = hangup::reload_on_hangup(&handle, Some(|| configured(&flags.config))) => Ok(()),
            }
        })
    };
    crew::together(&handle, workers - 1, work, own).map_err(|error| match error {
        CrewError::Failed(failure) => failure,
        CrewError::Panicked => failure(FAILED, "a worker panicked"),
        CrewError::NotStarted(error) => failure(FAILED, error),
    })
}

fn cannot_run(error: RunError) -> Failure {
    let code = match error {
        RunError::Bind { .. } => CANNOT_BIND,
        RunError::Missing(_) => BAD_CONFIG,
        _ => FAILED,
    };
    failure(code, error)
}

/// Ready at the first SIGINT or SIGTERM.
async fn terminated() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
