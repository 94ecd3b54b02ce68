//! `flexvol agent`: the volume manager of a node without Kubernetes.
//!
//! A few threads, none of which waits for a driver but those of the operations themselves: one watches the manifests, one
//! the plugin directories, one the mount table, one serves the socket. All they do is to send messages to the loop here,
//! which tells the [reconciler](flexvolume_host::reconcile) and begins what it answers.

mod answers;
mod api;
mod calls;
mod claims;
mod client;
mod controller;
mod crew;
mod directory;
mod drivers;
mod hand_over;
mod health;
mod http;
mod journal;
mod looks;
mod manifests;
mod metrics;
mod news;
mod notify;
mod remedy;
mod rest;
mod run_loop;
mod secrets;
mod server;
mod state;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::SystemTime;

use flexvolume_host::Reading;
use flexvolume_host::lifecycle::Inventory;
use flexvolume_host::os::signals::Signals;
use flexvolume_host::reconcile::{Assignment, BackOff, Ending, Reconciler, Stage, VolumeKey, VolumeView};

use self::api::{Access, Api, Question};
pub(crate) use self::api::{EventsDocument, RetryDocument, StatusDocument, VolumeLine};
use self::calls::{CallRecord, RecordingRunner};
pub(crate) use self::client::{Query, ask, find};
use self::directory::Directory;
use self::drivers::DriverNews;
pub(crate) use self::health::{ANSWERS, probe};
use self::health::{Nurse, Sick};
pub(crate) use self::journal::Event;
use self::journal::Journal;
use self::manifests::Manifests;
use self::news::{Memory, Update};
use self::remedy::Remedies;
use self::run_loop::{Agent, Purpose, Run};
use self::secrets::CurrentSecrets;
use self::state::State;
use self::worker::Worker;
use crate::args::{AgentArguments, Global, Role};
use crate::failure::{BAD_INPUT, Failure, OK, STEP_FAILED};
use crate::manifest::read::PARSER_STACK;
use crate::session::Session;

/// What the loop is told.
#[derive(Debug)]
enum Message {
    /// The manifests were read.
    Manifests(Box<Update>),
    /// The directory of manifests cannot be read.
    NoManifests(String),
    /// Something new about a driver.
    Driver(DriverNews),
    /// An operation has ended.
    Finished(Box<(Assignment, Ending)>),
    /// The mount table has changed; at the mount dirs of these volumes something is mounted.
    MountTable(BTreeSet<VolumeKey>),
    /// The mount table cannot be read.
    NoMountTable(String),
    /// The mounted volumes that do not answer.
    Health(Sick),
    /// What there is, for the sake of what nobody has told of.
    Stock(Box<Inventory>),
    /// A driver was called.
    Called(Box<CallRecord>),
    /// A controller has something new to tell.
    Reports,
    /// Somebody asks.
    Question(Question),
}

/// Runs the agent until a signal ends it.
///
/// # Errors
/// When it cannot start. Once it runs, nothing ends it but a signal.
pub(crate) fn run(global: &Global, arguments: &AgentArguments) -> Result<u8, Failure> {
    if Reading::from(global.reading) == Reading::Strict {
        let words = "the agent watches drivers, which the strict reading does not: leave --reading out";
        return Err(Failure::says(BAD_INPUT, words));
    }
    arguments.check().map_err(|words| Failure::says(BAD_INPUT, words))?;
    if arguments.role == Role::Controller {
        return controller::run(global, arguments);
    }
    let signals = Signals::catch()?;
    let (messages, inbox) = channel();
    let secrets = CurrentSecrets::default();
    let session = recorded(Session::new(global, secrets.clone())?, &messages);
    let state = State::open(&session.host.root)?;
    let memory = state.remember();
    let manager = Arc::new(hand_over::manager(&session, arguments, &messages)?);
    let worker = Worker::new(manager, session.host.system.clone(), messages.clone());
    let mut agent = Agent {
        reconciler: Reconciler::new(arguments.bounds(), back_off()),
        journal: Journal::new(state.directory()),
        state,
        secrets,
        worker,
        troubles: BTreeMap::new(),
        populated: false,
        metrics: metrics::Metrics::default(),
        unreadable: Vec::new(),
        sick: Sick::new(),
        remedies: Remedies::new(&session, arguments),
        purpose: if arguments.drain { Purpose::Drain } else { Purpose::Keep },
    };
    start_threads(&mut agent, (&session, arguments), memory)?;
    conclude(agent.run(&inbox, &signals), &agent)
}

/// Everything that sends messages. The mount table comes first, so that nothing is missed while stock is taken.
fn start_threads(
    agent: &mut Agent,
    (session, arguments): (&Session, &AgentArguments),
    memory: Memory,
) -> Result<(), Failure> {
    let messages = agent.worker.messages.clone();
    looks::watch_mount_table(&agent.worker.manager, messages.clone())?;
    agent.take_stock()?;
    let api = Api { agent: messages.clone(), access: Access::Everything };
    server::serve_socket(agent.state.directory(), api)?;
    if let Some(address) = arguments.metrics {
        server::serve_port(address, Api { agent: messages.clone(), access: Access::FiguresOnly })?;
    }
    drivers::watch(session, messages.clone()).map_err(|error| Failure::new(BAD_INPUT, error))?;
    let (root, runner) = (session.host.root.clone(), Arc::clone(&session.host.system.runner));
    let (worker, interval) = ("/proc/self/exe".into(), arguments.health_interval);
    Nurse { root, runner, worker, messages: messages.clone(), interval }.start()?;
    looks::take_stock_now_and_then(&agent.worker.manager, messages.clone())?;
    match &arguments.manifests {
        Some(directory) if !arguments.drain => watch_manifests(directory, memory, messages)?,
        // Nothing is wanted, and that is all there is to know.
        _ => agent.reconciler.populated(std::time::Instant::now()),
    }
    Ok(())
}

fn conclude(run: Run, agent: &Agent) -> Result<u8, Failure> {
    if run == Run::Drained || agent.purpose == Purpose::Keep {
        return Ok(OK);
    }
    let left = agent.reconciler.view().filter(|view| view.stage != Stage::LeftAlone);
    let line = |view: VolumeView| {
        let why = view.why.map(|why| format!(": {why}")).unwrap_or_default();
        format!("{} of {} is left ({}){why}", view.key.volume, view.key.pod, view.stage.as_str())
    };
    Err(Failure { code: STEP_FAILED, lines: left.map(line).collect() })
}

/// The session, with every call of a driver told.
fn recorded(session: Session, messages: &Sender<Message>) -> Session {
    let (messages, plugin_dirs) = (messages.clone(), session.plugin_dirs.clone());
    session.with_runner(|runner| Arc::new(RecordingRunner::new(runner, messages, plugin_dirs)))
}

/// Agents of many nodes that fail at the same moment must not all try again at the same moment.
fn back_off() -> BackOff {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    BackOff::new(u64::from(now.subsec_nanos()) ^ u64::from(std::process::id()))
}

/// Reads manifests in a thread of its own, from now on.
fn watch_manifests(
    directory: &std::path::Path,
    memory: Memory,
    messages: Sender<Message>,
) -> std::io::Result<()> {
    let path = std::path::absolute(directory)?;
    let manifests = Manifests::new(Reading::Tolerant, memory);
    let reader = Reader { directory: Directory::new(path.clone()), path, manifests, messages };
    let thread = thread::Builder::new().name("manifests".to_owned()).stack_size(PARSER_STACK);
    thread.spawn(move || reader.follow())?;
    Ok(())
}

struct Reader {
    directory: Directory,
    path: std::path::PathBuf,
    manifests: Manifests,
    messages: Sender<Message>,
}

impl Reader {
    fn follow(mut self) {
        let (mut first, mut failed) = (true, None);
        loop {
            let message = match self.directory.next_news() {
                Ok(news) => {
                    let unchanged = news.is_empty() && !first && failed.is_none();
                    (first, failed) = (false, None);
                    if unchanged {
                        continue;
                    }
                    Message::Manifests(Box::new(self.manifests.update(news)))
                }
                Err(error) => {
                    let why = format!("the manifests in {} cannot be read: {error}", self.path.display());
                    if failed.as_ref() == Some(&why) {
                        continue;
                    }
                    failed = Some(why.clone());
                    Message::NoManifests(why)
                }
            };
            if self.messages.send(message).is_err() {
                return;
            }
        }
    }
}
