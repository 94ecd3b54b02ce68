//! `flexvol agent --role controller`: `attach` and `detach` for nodes that ask for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use flexvolume_host::hand_over::{Act, Attachment, Controller, Entry, HandOverError, Told};
use flexvolume_host::os::signals::Signals;
use flexvolume_host::reconcile::BackOff;

use super::Message;
use super::journal::{Event, Journal};
use super::notify::{self, ServiceState, Watchdog};
use super::secrets::CurrentSecrets;
use super::state::State;
use crate::args::{AgentArguments, Global};
use crate::failure::{Failure, OK, REFUSED};
use crate::session::Session;

/// How often it is looked whether a node wants something else.
const TICK: Duration = Duration::from_millis(200);
/// And how often without a sign of that, which a network may withhold.
const AT_LEAST: Duration = Duration::from_secs(5);
/// How often a driver is asked whether a volume is still attached, as Kubernetes' controller does.
const VERIFY: Duration = Duration::from_secs(60);
/// How long a stop waits for calls that run.
const STOP: Duration = Duration::from_millis(1500);

/// How an act ended.
type Ended = (Attachment, Result<Told, String>);

/// The loop.
struct Desk {
    controller: Arc<Controller>,
    journal: Journal,
    back_off: BackOff,
    at_most: usize,
    busy: BTreeSet<Attachment>,
    /// When a volume may be worked on again, and how often in a row it has failed.
    pauses: BTreeMap<Attachment, (Instant, u32)>,
    unusable: BTreeSet<String>,
    ended: Sender<Ended>,
}

/// Runs the controller until a signal ends it.
///
/// # Errors
/// When it cannot start.
pub(super) fn run(global: &Global, arguments: &AgentArguments) -> Result<u8, Failure> {
    let signals = Signals::catch()?;
    let (messages, calls) = channel();
    let session = super::recorded(Session::new(global, CurrentSecrets::default())?, &messages);
    let state = State::open(&session.host.root)?;
    let directory = arguments.hand_over(&session.host.root)?;
    let controller = Controller::new(directory, Arc::clone(&session.host), Arc::clone(&session.registry))
        .map_err(|error| Failure::new(REFUSED, error))?;
    let (ended, endings) = channel();
    let mut desk = Desk {
        controller: Arc::new(controller),
        journal: Journal::new(state.directory()),
        back_off: super::back_off(),
        at_most: arguments.parallel.max(1),
        busy: BTreeSet::new(),
        pauses: BTreeMap::new(),
        unusable: BTreeSet::new(),
        ended,
    };
    desk.journal.tell(Event::new("Started").saying("as controller"));
    notify::tell(&ServiceState::Ready);
    desk.run(&signals, &endings, &calls);
    Ok(OK)
}

impl Desk {
    fn run(&mut self, signals: &Signals, endings: &Receiver<Ended>, calls: &Receiver<Message>) {
        let (mut watchdog, mut looked, mut seen) = (Watchdog::new(), None::<Instant>, Vec::new());
        while signals.take().is_none() {
            watchdog.pat();
            let wishes: Vec<Option<SystemTime>> = self.controller.wishes_changed();
            let is_old = looked.is_none_or(|looked| looked.elapsed() >= AT_LEAST);
            if is_old || wishes != seen || self.has_failed() {
                (looked, seen) = (Some(Instant::now()), wishes);
                self.look();
            }
            match endings.recv_timeout(TICK) {
                Ok(ended) => {
                    self.note(ended);
                    endings.try_iter().for_each(|ended| self.note(ended));
                    // Something may have changed while it was worked on.
                    looked = None;
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            calls.try_iter().for_each(|message| self.tell_call(message));
        }
        self.stop(endings);
    }

    fn has_failed(&self) -> bool {
        self.pauses.values().any(|(again, failures)| *failures > 0 && *again <= Instant::now())
    }

    fn look(&mut self) {
        let (entries, unusable) = match self.controller.entries() {
            Ok(found) => found,
            Err(error) => (Vec::new(), vec![error]),
        };
        let now = Instant::now();
        let known: BTreeSet<&Attachment> = entries.iter().map(|entry| &entry.of).collect();
        self.pauses.retain(|of, _| known.contains(of));
        for Entry { of, act } in &entries {
            let pause = self.pauses.get(of);
            // What is attached already is asked about when its time has come.
            let due = match (act, pause) {
                (Act::Verify, None) => {
                    self.pauses.insert(of.clone(), (now + VERIFY, 0));
                    false
                }
                (Act::Attach | Act::Detach, Some((_, 0)) | None) => true,
                (_, Some((again, _))) => *again <= now,
            };
            if due && self.busy.len() < self.at_most && self.busy.insert(of.clone()) {
                self.begin(of.clone());
            }
        }
        self.tell_unusable(&unusable);
    }

    fn begin(&mut self, of: Attachment) {
        let (controller, ended) = (Arc::clone(&self.controller), self.ended.clone());
        let mut report = Report { ended, of: Some(of.clone()), end: Err("its thread gave up".to_owned()) };
        let thread = thread::Builder::new().name("attachment".to_owned());
        if let Err(error) = thread.spawn(move || report.end(controller.perform(&of))) {
            // The report is dropped with the closure, which ends the act.
            tracing::warn!(%error, "no thread for an operation");
        }
    }

    fn note(&mut self, (of, end): Ended) {
        self.busy.remove(&of);
        let now = Instant::now();
        let (reason, said, pause) = match end {
            Ok(Told::Attached(device)) => ("Attached", device, (now + VERIFY, 0)),
            Ok(Told::Detached) => ("Detached", String::new(), (now, 0)),
            Ok(Told::Nothing) => {
                self.pauses.insert(of, (now + VERIFY, 0));
                return;
            }
            Err(why) => {
                let failures = self.pauses.get(&of).map_or(0, |pause| pause.1).saturating_add(1);
                ("AttachmentFailed", why, (now + self.back_off.pause(failures), failures))
            }
        };
        let place = format!("on node {}", of.node);
        let said = if said.is_empty() { place } else { format!("{place}: {said}") };
        self.journal.tell(Event {
            volume: Some(of.volume.to_string()),
            driver: Some(of.driver.to_string()),
            ..Event::new(reason).saying(&said)
        });
        self.pauses.insert(of, pause);
    }

    fn tell_unusable(&mut self, errors: &[HandOverError]) {
        let words: BTreeSet<String> = errors.iter().map(ToString::to_string).collect();
        for new in words.difference(&self.unusable) {
            self.journal.tell(Event::new("HandOverUnusable").saying(new));
        }
        self.unusable = words;
    }

    fn tell_call(&mut self, message: Message) {
        if let Message::Called(record) = message {
            self.journal.tell(Event::of_call(*record));
        }
    }

    fn stop(&mut self, endings: &Receiver<Ended>) {
        notify::tell(&ServiceState::Stopping);
        let end = Instant::now() + STOP;
        while !self.busy.is_empty() {
            match endings.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(ended) => self.note(ended),
                Err(_) => break,
            }
        }
        self.journal.tell(Event::new("Stopped"));
    }
}

/// Tells how an act ended, whatever becomes of its thread.
struct Report {
    ended: Sender<Ended>,
    of: Option<Attachment>,
    end: Result<Told, String>,
}

impl Report {
    fn end(&mut self, end: Result<Told, String>) {
        self.end = end;
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if let Some(of) = self.of.take() {
            let end = std::mem::replace(&mut self.end, Ok(Told::Nothing));
            // Nobody listens any more: the process ends.
            let _ = self.ended.send((of, end));
        }
    }
}
