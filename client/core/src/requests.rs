//! Requests that wait for the server's reply, and results that wait for their callers.

use std::collections::BTreeMap;

/// The number of a request. Its result is asked for with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestNumber(pub(crate) u32);

/// The requests of a client over all of its sessions. Each gets exactly one result: the server's
/// reply, or the error that no reply will come.
pub(crate) struct Requests<P, R> {
    next: u32,
    pending: BTreeMap<u32, P>,
    /// Results that their callers have not taken.
    results: BTreeMap<u32, R>,
    /// Requests and results that there may be at the same time.
    most: usize,
}

impl<P, R> Requests<P, R> {
    pub(crate) fn new(most: usize) -> Self {
        Self::starting_at(1, most)
    }

    /// Creates an empty table whose first request has the number `first`.
    pub(crate) fn starting_at(first: u32, most: usize) -> Self {
        Self { next: first, pending: BTreeMap::new(), results: BTreeMap::new(), most }
    }

    /// Returns whether another request may be made.
    pub(crate) fn has_capacity(&self) -> bool {
        self.pending.len() + self.results.len() < self.most
    }

    /// Adds a request and returns its number.
    pub(crate) fn start(&mut self, request: P) -> u32 {
        // Numbers wrap. One that is still in use is left out; `has_capacity` bounds how many are.
        while self.pending.contains_key(&self.next) || self.results.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.pending.insert(number, request);
        number
    }

    /// Gives the next request this number, as after numbers have wrapped.
    #[cfg(test)]
    pub(crate) fn start_again_at(&mut self, next: u32) {
        self.next = next;
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut P> {
        self.pending.get_mut(&number)
    }

    /// Returns the requests without a result.
    pub(crate) fn pending(&self) -> impl Iterator<Item = (u32, &P)> {
        self.pending.iter().map(|(number, request)| (*number, request))
    }

    /// Removes a request without a result.
    pub(crate) fn remove(&mut self, number: u32) -> Option<P> {
        self.pending.remove(&number)
    }

    /// Removes the requests that `is_done` selects, each with its result.
    pub(crate) fn finish_if(&mut self, mut is_done: impl FnMut(&P) -> bool) -> Vec<(u32, P)> {
        self.pending.extract_if(.., |_, request| is_done(request)).collect()
    }

    /// Keeps a result for its caller.
    pub(crate) fn keep(&mut self, number: u32, result: R) {
        self.results.insert(number, result);
    }

    /// Takes the result of a request, if there is one.
    pub(crate) fn take(&mut self, number: u32) -> Option<R> {
        self.results.remove(&number)
    }

    /// Drops the result of a request, because nobody waits for it.
    pub(crate) fn forget_result(&mut self, number: u32) {
        self.results.remove(&number);
    }
}
