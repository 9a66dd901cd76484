//! Workers: threads that serve one PoP together, and end together.

#![allow(
    unreachable_pub,
    dead_code,
    reason = "a program has no public face; the library's tests take a part of it"
)]

use std::thread;

use pop_edge::Handle;

/// A worker that ended otherwise than in order.
#[derive(Debug)]
pub enum CrewError<E> {
    /// It said why.
    Failed(E),
    /// It panicked.
    Panicked,
    /// Its thread could not be started.
    NotStarted(std::io::Error),
}

/// Runs `work` on `others` more threads, and `own` on this one. Whoever ends, however it ends, ends all by a drain: half
/// a PoP would go unnoticed. Returns when all have ended, with the first error in the order of the threads, ours first.
pub fn together<E: Send>(
    handle: &Handle,
    others: usize,
    work: impl Fn() -> Result<(), E> + Sync,
    own: impl FnOnce() -> Result<(), E>,
) -> Result<(), CrewError<E>> {
    thread::scope(|scope| {
        // Ours too may panic: the scope would wait for the others before it passed that on.
        let own_end = Drains(handle);
        let mut threads = Vec::with_capacity(others);
        let mut outcome = Ok(());
        for index in 1..=others {
            let work = &work;
            let started =
                thread::Builder::new().name(format!("pop-worker-{index}")).spawn_scoped(scope, move || {
                    let _end = Drains(handle);
                    work()
                });
            match started {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    handle.drain();
                    outcome = Err(CrewError::NotStarted(error));
                    break;
                }
            }
        }
        outcome = outcome.and(own().map_err(CrewError::Failed));
        drop(own_end);
        for thread in threads {
            let ended = match thread.join() {
                Ok(ended) => ended.map_err(CrewError::Failed),
                Err(_) => Err(CrewError::Panicked),
            };
            outcome = outcome.and(ended);
        }
        outcome
    })
}

/// Drains when it is dropped, by a panic too.
struct Drains<'a>(&'a Handle);

impl Drop for Drains<'_> {
    fn drop(&mut self) {
        self.0.drain();
    }
}
