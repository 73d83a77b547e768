//! Work for several accounts at a time.

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use std::collections::HashSet;
use std::future::pending;

/// Does so many things at a time, each under a name and none twice at once. A slow one holds up nothing
/// but itself.
pub(super) struct Crew<'a, T> {
    at_once: usize,
    names: HashSet<String>,
    work: FuturesUnordered<BoxFuture<'a, (String, T)>>,
}

impl<'a, T> Crew<'a, T> {
    pub(super) fn new(at_once: usize) -> Self {
        Self { at_once, names: HashSet::new(), work: FuturesUnordered::new() }
    }

    /// How many more things it can do.
    pub(super) fn free(&self) -> usize {
        self.at_once.saturating_sub(self.names.len())
    }

    /// What it does at present.
    pub(super) fn names(&self) -> &HashSet<String> {
        &self.names
    }

    pub(super) fn begin(&mut self, name: String, work: impl Future<Output = T> + Send + 'a) {
        self.names.insert(name.clone());
        self.work.push(Box::pin(async move { (name, work.await) }));
    }

    /// Waits for the first thing that ends, for ever if nothing is done.
    pub(super) async fn ended(&mut self) -> (String, T) {
        match self.work.next().await {
            Some((name, done)) => {
                self.names.remove(&name);
                (name, done)
            }
            None => pending().await,
        }
    }
}
