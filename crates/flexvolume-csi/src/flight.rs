//! Work that outlives the call that asked for it.
//!
//! A deadline of a caller never ends a driver. Whoever asks again with equal arguments joins the work that runs and
//! gets its result; whoever asks for something else on the same volume is told to come back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use prost::Message;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Semaphore, watch};
use tonic::Status;

/// More work than this is not taken on, whatever it is about.
const MOST_FLIGHTS: usize = 8192;

/// What a piece of work may not share with another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The whole volume.
    Volume,
    /// One target of the volume.
    Target(String),
}

impl Scope {
    fn overlaps(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Volume, _) | (_, Self::Volume)) || self == other
    }
}

/// What work is about.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// The method, for messages and to tell requests apart.
    pub(crate) method: &'static str,
    /// The volume.
    pub(crate) volume: String,
    /// What of it.
    pub(crate) scope: Scope,
}

/// The arguments of a call in short.
pub(crate) type Fingerprint = [u8; 32];

/// The fingerprint of a request with everything in it, secrets too.
pub(crate) fn fingerprint(method: &str, request: &impl Message) -> Fingerprint {
    let mut digest = Sha256::new();
    digest.update(method.as_bytes());
    digest.update([0]);
    digest.update(request.encode_to_vec());
    digest.finalize().into()
}

type Landing = Option<Result<Vec<u8>, Status>>;

struct Flight {
    method: &'static str,
    scope: Scope,
    fingerprint: Fingerprint,
    landing: watch::Receiver<Landing>,
}

/// The work that runs for one driver.
#[derive(Clone)]
pub(crate) struct Flights {
    running: Arc<Mutex<HashMap<String, Vec<Flight>>>>,
    runways: Arc<Semaphore>,
}

enum Boarding {
    Join(watch::Receiver<Landing>),
    Begin(watch::Sender<Landing>, watch::Receiver<Landing>),
}

impl Flights {
    /// Nothing runs yet. At most `at_once` pieces of work run at the same time; others wait.
    pub(crate) fn new(at_once: usize) -> Self {
        Self { running: Arc::default(), runways: Arc::new(Semaphore::new(at_once)) }
    }

    /// Runs `work` on a thread of its own, or joins the same work that runs already.
    ///
    /// # Errors
    /// ABORTED while other work on the subject runs, RESOURCE_EXHAUSTED when there is far too much, else those of the
    /// work.
    pub(crate) async fn run<A, F>(&self, subject: Subject, key: Fingerprint, work: F) -> Result<A, Status>
    where
        A: Message + Default,
        F: FnOnce() -> Result<A, Status> + Send + 'static,
    {
        let mut landing = match self.board(&subject, key)? {
            Boarding::Join(landing) => landing,
            Boarding::Begin(lands, landing) => {
                self.begin(subject, lands, move || work().map(|answer| answer.encode_to_vec()));
                landing
            }
        };
        let landed = landing.wait_for(Option::is_some).await;
        let result = landed.map(|landed| landed.clone()).ok().flatten();
        let bytes = result.unwrap_or_else(|| Err(Status::aborted("the work was given up; ask again")))?;
        A::decode(bytes.as_slice()).map_err(|error| Status::internal(error.to_string()))
    }

    fn board(&self, subject: &Subject, fingerprint: Fingerprint) -> Result<Boarding, Status> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let total = running.len();
        let flights = running.get(&subject.volume).map_or(&[][..], Vec::as_slice);
        if let Some(same) = flights.iter().find(|flight| flight.fingerprint == fingerprint) {
            return Ok(Boarding::Join(same.landing.clone()));
        }
        if let Some(other) = flights.iter().find(|flight| flight.scope.overlaps(&subject.scope)) {
            let text =
                format!("{} of this volume is still running; ask again when it has ended", other.method);
            return Err(Status::aborted(text));
        }
        if total >= MOST_FLIGHTS {
            return Err(Status::resource_exhausted("too much is being done already; ask again later"));
        }
        let (lands, landing) = watch::channel(None);
        running.entry(subject.volume.clone()).or_default().push(Flight {
            method: subject.method,
            scope: subject.scope.clone(),
            fingerprint,
            landing: landing.clone(),
        });
        Ok(Boarding::Begin(lands, landing))
    }

    fn begin<F>(&self, subject: Subject, lands: watch::Sender<Landing>, work: F)
    where
        F: FnOnce() -> Result<Vec<u8>, Status> + Send + 'static,
    {
        let flights = self.clone();
        tokio::spawn(async move {
            let result = match Arc::clone(&flights.runways).acquire_owned().await {
                Ok(runway) => {
                    let ran = tokio::task::spawn_blocking(move || {
                        let _runway = runway;
                        work()
                    });
                    ran.await
                        .unwrap_or_else(|_| Err(Status::internal("the bridge failed; this is a bug in it")))
                }
                Err(_) => Err(Status::unavailable("the bridge ends")),
            };
            flights.forget(&subject);
            // Nobody may be left to hear it: what was done is on record.
            let _ = lands.send(Some(result));
        });
    }

    fn forget(&self, subject: &Subject) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flights) = running.get_mut(&subject.volume) {
            flights.retain(|flight| flight.scope != subject.scope);
            if flights.is_empty() {
                running.remove(&subject.volume);
            }
        }
    }

    /// How much runs or waits.
    pub(crate) fn count(&self) -> usize {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).values().map(Vec::len).sum()
    }
}
