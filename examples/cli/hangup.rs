//! SIGHUP: the configuration is read anew, or, where there is none to read, the signal is only noted.

#![allow(unreachable_pub, dead_code, reason = "a program has no public face")]

use std::fmt::Display;

use pop_edge::{Handle, PopBuilder};

/// At each SIGHUP makes the PoP what `configuration` says then. One that cannot be used is logged, and the running one
/// stays. Without a configuration the signal does nothing, which the log says: by default it would end the program.
/// Never returns.
pub async fn reload_on_hangup<E: Display>(
    handle: &Handle,
    configuration: Option<impl Fn() -> Result<PopBuilder, E>>,
) {
    #[cfg(unix)]
    if let Ok(mut hangups) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()) {
        while hangups.recv().await.is_some() {
            match &configuration {
                Some(configuration) => reload(handle, configuration()),
                None => tracing::info!(target: "pop_edge", "SIGHUP: there is no file to read anew"),
            }
        }
    }
    std::future::pending::<()>().await;
}

fn reload<E: Display>(handle: &Handle, builder: Result<PopBuilder, E>) {
    let reloaded = builder.map_err(|error| error.to_string()).and_then(|builder| {
        handle.reload(builder).map_err(|error| {
            let mut text = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                text = format!("{text}: {error}");
                cause = error.source();
            }
            text
        })
    });
    match reloaded {
        // What was not applied the library says.
        Ok(_) => tracing::info!(target: "pop_edge", "reloaded"),
        Err(error) => tracing::error!(target: "pop_edge", error, "not reloaded"),
    }
}
