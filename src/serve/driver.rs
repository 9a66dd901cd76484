//! Drives one connection: polls hyper, and watches how long the client makes us wait, and for what.
//!
//! There is one timer a connection, and it is not moved with each request: it rings at the earliest moment that a
//! deadline could have passed, and is then set again if none has. A request costs no reading of the clock
//! beside those of its own.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::sync::futures::OwnedNotified;
use tokio::time::Sleep;

use super::io::{Phase, Vitals};
use super::listener::Drain;
use crate::clock::Moment;
use crate::config::Settings;
use crate::exchange::Connection;

/// What tokio's timers count in.
const TIMER_TICK: Duration = Duration::from_millis(1);

/// A connection of hyper's that can be asked to end.
pub(super) trait Graceful: Future {
    /// Lets it end with the exchanges under way.
    fn wind_down(self: Pin<&mut Self>);
}

pin_project! {
    /// One connection, as a future that ends with it.
    pub(super) struct Driver<C> {
        #[pin]
        hyper: C,
        #[pin]
        timer: Sleep,
        watch: Watch,
        drain: Arc<Drain>,
        notice: Pin<Box<OwnedNotified>>,
        // Our waker lies with the notice: it is the same for the whole life of a task.
        is_listening: bool,
        is_winding_down: bool,
        is_timer_armed: bool,
    }
}

impl<C: Graceful> Driver<C> {
    pub(super) fn new(hyper: C, watch: Watch, drain: Arc<Drain>) -> Self {
        Self {
            hyper,
            timer: tokio::time::sleep(watch.limit_min),
            watch,
            notice: Box::pin(drain.notice()),
            drain,
            is_listening: false,
            is_winding_down: false,
            is_timer_armed: false,
        }
    }
}

impl<C: Graceful> Future for Driver<C> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if !*this.is_listening {
            *this.is_listening = true;
            let _ = this.notice.as_mut().poll(context);
        }
        if !*this.is_winding_down && this.drain.has_begun() {
            *this.is_winding_down = true;
            this.hyper.as_mut().wind_down();
        }
        loop {
            let before = this.watch.connection.stamp();
            if this.hyper.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            // A request that began or ended in this poll has read the clock.
            let stamp = this.watch.connection.stamp();
            let now = if stamp > before { stamp } else { this.watch.connection.read_clock() };
            match this.watch.look(now) {
                Look::Fine => {}
                Look::Expired(Waiting::Idle) if !*this.is_winding_down => {
                    *this.is_winding_down = true;
                    this.hyper.as_mut().wind_down();
                    continue;
                }
                Look::Expired(waiting) => {
                    tracing::debug!(peer = %this.watch.connection.peer, ?waiting, "deadline passed");
                    return Poll::Ready(());
                }
            }
            // The timer goes by another clock than ours: it may ring a little before its time, and then once more.
            if this.watch.sets_timer(now) || this.timer.is_elapsed() {
                let rest = this.watch.rings.since(now).max(TIMER_TICK);
                this.timer.as_mut().reset(tokio::time::Instant::now() + rest);
                *this.is_timer_armed = false;
            }
            if !*this.is_timer_armed {
                if this.timer.as_mut().poll(context).is_ready() {
                    continue;
                }
                *this.is_timer_armed = true;
            }
            return Poll::Pending;
        }
    }
}

/// What we wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    /// Nothing that the client owes us.
    Nothing,
    FirstByte,
    Head,
    Idle,
    Send,
}

enum Look {
    Fine,
    Expired(Waiting),
}

/// How long the client has made us wait.
pub(super) struct Watch {
    settings: Arc<Settings>,
    vitals: Arc<Vitals>,
    connection: Arc<Connection>,
    waiting: Waiting,
    since: Moment,
    moved: u64,
    heads: u64,
    /// The shortest limit: no deadline that begins later ends sooner than that.
    limit_min: Duration,
    due: Option<Moment>,
    rings: Moment,
}

impl Watch {
    pub(super) fn new(settings: Arc<Settings>, vitals: Arc<Vitals>, connection: Arc<Connection>) -> Self {
        let now = connection.read_clock();
        let limit_min = settings.first_byte.min(settings.head).min(settings.idle).min(settings.send_stall);
        Self {
            settings,
            vitals,
            connection,
            waiting: Waiting::FirstByte,
            since: now,
            moved: 0,
            heads: 0,
            limit_min,
            due: None,
            rings: now.after(limit_min),
        }
    }

    fn look(&mut self, now: Moment) -> Look {
        let waiting = self.waiting_for();
        let (moved, heads) = (self.vitals.moved(), self.vitals.heads());
        // Octets of a head do not prolong its deadline; a new head has a new one.
        let goes_on = match waiting {
            Waiting::Head => heads == self.heads,
            _ => moved == self.moved,
        };
        if waiting != self.waiting || !goes_on {
            (self.waiting, self.since) = (waiting, now);
        }
        (self.moved, self.heads) = (moved, heads);
        let limit = match waiting {
            Waiting::Nothing => None,
            Waiting::FirstByte => Some(self.settings.first_byte),
            Waiting::Head => Some(self.settings.head),
            Waiting::Idle => Some(self.settings.idle),
            Waiting::Send => Some(self.settings.send_stall),
        };
        self.due = limit.map(|limit| self.since.after(limit));
        if self.due.is_some_and(|due| due <= now) {
            // Should the connection go on winding down, it has as long again.
            self.since = now;
            return Look::Expired(waiting);
        }
        Look::Fine
    }

    fn waiting_for(&self) -> Waiting {
        let is_busy = !self.connection.seat.is_idle();
        match self.vitals.phase() {
            _ if self.vitals.is_blocked() => Waiting::Send,
            Phase::Head => Waiting::Head,
            _ if is_busy => Waiting::Nothing,
            // A body that nobody reads any more has to end as quickly as a head.
            Phase::Body => Waiting::Head,
            Phase::Between if self.vitals.moved() == 0 => Waiting::FirstByte,
            Phase::Between => Waiting::Idle,
        }
    }

    /// Whether the timer has to ring at another time than it is set to.
    fn sets_timer(&mut self, now: Moment) -> bool {
        let due = self.due.unwrap_or(now.after(self.limit_min));
        if now >= self.rings || due < self.rings {
            self.rings = due.min(now.after(self.limit_min));
            return true;
        }
        false
    }
}
