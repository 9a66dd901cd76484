//! What stays where it is put: a list that only grows, and a thing that is laid out once.

use core::ptr;

use crate::sync::{AtomicPtr, Ordering};

/// A list that lives for ever: what is pushed is never freed.
pub(crate) struct Leaked<T: 'static> {
    head: AtomicPtr<Node<T>>,
}

struct Node<T: 'static> {
    value: T,
    next: Option<&'static Node<T>>,
}

impl<T: Sync> Leaked<T> {
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Self { head: AtomicPtr::new(ptr::null_mut()) }
    }

    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self { head: AtomicPtr::new(ptr::null_mut()) }
    }

    fn first(&self) -> Option<&'static Node<T>> {
        // SAFETY: acquire pairs with the release in `push`; a node in the list is whole and never freed.
        unsafe { self.head.load(Ordering::Acquire).as_ref() }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &'static T> + use<T> {
        core::iter::successors(self.first(), |node| node.next).map(|node| &node.value)
    }

    pub(crate) fn push(&self, value: T) -> &'static T {
        let node = Box::leak(Box::new(Node { value, next: None }));
        loop {
            node.next = self.first();
            let next = node.next.map_or(ptr::null_mut(), |next| ptr::from_ref(next).cast_mut());
            let new = ptr::from_mut(node);
            // Release publishes the node to the acquire in `first`. Another push won if this fails.
            if self.head.compare_exchange(next, new, Ordering::Release, Ordering::Relaxed).is_ok() {
                // SAFETY: it was leaked above, and from here on it is only shared.
                return unsafe { &(*new).value };
            }
        }
    }
}

/// Something that is laid out when it is first needed. Threads that need it first at the same time lay out one each, and
/// one stays: unlike with a `OnceLock`, none waits for another.
pub(crate) struct Once<T> {
    pointer: AtomicPtr<T>,
}

// SAFETY: it owns a `T`, which it shares and drops on any thread.
unsafe impl<T: Send + Sync> Send for Once<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Once<T> {}

impl<T> Once<T> {
    pub(crate) fn new() -> Self {
        Self { pointer: AtomicPtr::new(ptr::null_mut()) }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        // SAFETY: it came from a box and stays until this is dropped; acquire pairs with the release that put it here.
        unsafe { self.pointer.load(Ordering::Acquire).as_ref() }
    }

    pub(crate) fn get_or_set(&self, new: impl FnOnce() -> Box<T>) -> &T {
        if let Some(there) = self.get() {
            return there;
        }
        let new = Box::into_raw(new());
        let set = self.pointer.compare_exchange(ptr::null_mut(), new, Ordering::AcqRel, Ordering::Acquire);
        if let Err(other) = set {
            // SAFETY: it came from this box just now and nobody else has it.
            drop(unsafe { Box::from_raw(new) });
            // SAFETY: as in `get`.
            return unsafe { &*other };
        }
        // SAFETY: as in `get`.
        unsafe { &*new }
    }
}

impl<T> Drop for Once<T> {
    fn drop(&mut self) {
        let pointer = self.pointer.load(Ordering::Relaxed);
        if !pointer.is_null() {
            // SAFETY: it came from a box, and `&mut self` says that nobody else reads it.
            drop(unsafe { Box::from_raw(pointer) });
        }
    }
}
