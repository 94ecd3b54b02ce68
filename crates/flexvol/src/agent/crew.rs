//! The threads that carry operations out. They stay for a while: operations come in crowds, and a new thread for each
//! costs as much as a tenth of a driver call.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How long a thread waits for more to do.
const LINGER: Duration = Duration::from_secs(2);

/// What a thread does.
pub(super) type Job = Box<dyn FnOnce() + Send>;

/// The threads: as many as there are jobs at a time.
#[derive(Clone, Default)]
pub(super) struct Crew {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    given: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Threads that wait for a job, or are about to look for one.
    idle: usize,
}

impl Crew {
    /// Has a job done at once, whatever the other ones wait for.
    ///
    /// # Errors
    /// When there is no thread for it; it is dropped.
    pub(super) fn give(&self, job: Job) -> io::Result<()> {
        let mut state = self.shared.state();
        if state.jobs.len() < state.idle {
            state.jobs.push_back(job);
            self.shared.given.notify_one();
            return Ok(());
        }
        drop(state);
        let shared = Arc::clone(&self.shared);
        thread::Builder::new().name("volume".to_owned()).spawn(move || shared.work(job))?;
        Ok(())
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, first: Job) {
        first();
        while let Some(job) = self.next() {
            job();
        }
    }

    /// The next job, unless none comes for a while.
    fn next(&self) -> Option<Job> {
        let mut state = self.state();
        state.idle += 1;
        let waited = self.given.wait_timeout_while(state, LINGER, |state| state.jobs.is_empty());
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.idle -= 1;
        state.jobs.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn jobs_do_not_wait_for_each_other() {
        let crew = Crew::default();
        let (arrived, arrivals) = channel();
        let gates: Vec<_> = (0..5)
            .map(|number| {
                let ((open, gate), arrived) = (channel::<()>(), arrived.clone());
                let job = move || {
                    arrived.send(number).unwrap();
                    let _ = gate.recv();
                };
                crew.give(Box::new(job)).unwrap();
                open
            })
            .collect();
        let mut numbers: Vec<i32> = (0..5).map(|_| arrivals.recv_timeout(PATIENCE).unwrap()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 1, 2, 3, 4]);
        drop(gates);
    }

    #[test]
    fn threads_are_used_again_and_one_that_panics_takes_nothing_with_it() {
        let crew = Crew::default();
        let (told, names) = channel();
        let mut seen = std::collections::BTreeSet::new();
        for number in 0..40 {
            let told = told.clone();
            let job = move || {
                assert!(number != 20, "a job that panics");
                told.send(thread::current().id()).unwrap();
            };
            crew.give(Box::new(job)).unwrap();
            if number != 20 {
                seen.insert(format!("{:?}", names.recv_timeout(PATIENCE).unwrap()));
            }
        }
        assert!(seen.len() < 40, "each had a thread of its own");
    }
}
