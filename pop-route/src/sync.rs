//! The one door to what threads share: the model checker's under `--cfg loom`.

#[cfg(not(loom))]
pub(crate) use std::sync::{Arc, Mutex};

#[cfg(loom)]
pub(crate) use loom::sync::{Arc, Mutex};

/// A shared value that is replaced whole, while others read it without waiting.
#[cfg(not(loom))]
#[derive(Debug)]
pub(crate) struct Published<T>(arc_swap::ArcSwap<T>);

#[cfg(not(loom))]
impl<T> Published<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(arc_swap::ArcSwap::from_pointee(value))
    }

    /// Looks at what is there. No lock, and nothing is written that another thread looks at.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.0.load())
    }

    pub(crate) fn store(&self, value: T) {
        self.0.store(Arc::new(value));
    }
}

/// To the model checker, the swap is one indivisible step: that it is, is shown where it is made.
#[cfg(loom)]
#[derive(Debug)]
pub(crate) struct Published<T>(Mutex<Arc<T>>);

#[cfg(loom)]
impl<T> Published<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(Arc::new(value)))
    }

    pub(crate) fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        let value = Arc::clone(&self.0.lock().expect("no model panics while it holds it"));
        look(&value)
    }

    pub(crate) fn store(&self, value: T) {
        let value = Arc::new(value);
        let before = core::mem::replace(&mut *self.0.lock().expect("as above"), value);
        drop(before);
    }
}
