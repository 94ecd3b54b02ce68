//! What the agent's socket answers, version 1 of it: the documents, and which question each path is.

use std::collections::BTreeMap;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use flexvolume_host::reconcile::{DriverState, VolumeKey, VolumeView};
use serde::{Deserialize, Serialize};

use super::Message;
use super::http::{Request, Response};
use super::journal::Event;

/// How long the loop may take to answer before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(5);

/// `GET /v1/status`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StatusDocument {
    /// Whether all manifests have been read, so that what nobody asks for is unmounted.
    pub(crate) populated: bool,
    /// The volumes, by pod.
    pub(crate) volumes: Vec<VolumeLine>,
    /// What each driver is: `ready`, or why it cannot be used.
    pub(crate) drivers: BTreeMap<String, String>,
    /// What is wrong with manifests, by file.
    pub(crate) manifests: BTreeMap<String, String>,
}

/// A volume of [`StatusDocument`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VolumeLine {
    /// The pod's uid.
    pub(crate) pod: String,
    /// `namespace/name`.
    pub(crate) pod_name: Option<String>,
    /// The pod's name for the volume.
    pub(crate) pod_volume: Option<String>,
    /// The volume's name.
    pub(crate) volume: String,
    /// The driver.
    pub(crate) driver: String,
    /// Whether a pod shall have it.
    pub(crate) wanted: bool,
    /// `mounted`, `mounting`, `unmounting`, `expanding`, `queued`, `waiting-for-driver`, `backing-off`, `left-alone`.
    pub(crate) stage: String,
    /// For how many milliseconds an operation runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) running_for: Option<u64>,
    /// Whether what runs is no longer wanted.
    pub(crate) superseded: bool,
    /// What it waits for, or why it failed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    /// Why it is mounted but does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sick: Option<String>,
    /// How often in a row it failed.
    pub(crate) failures: u32,
    /// In how many milliseconds it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) again_in: Option<u64>,
}

/// `GET /v1/events`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct EventsDocument {
    /// The oldest first.
    pub(crate) events: Vec<Event>,
}

/// `POST /v1/retry`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct RetryDocument {
    /// So many volumes are tried now.
    pub(crate) retried: usize,
}

/// Which volumes are meant; nothing means all.
#[derive(Debug, Clone, Default)]
pub(super) struct Selection {
    pub(super) pod: Option<String>,
    pub(super) volume: Option<String>,
}

impl Selection {
    fn of(request: &Request) -> Self {
        let of = |key: &str| request.query.get(key).filter(|value| !value.is_empty()).cloned();
        Self { pod: of("pod"), volume: of("volume") }
    }

    /// Whether a volume is meant, by its own name or the pod's name for it.
    pub(super) fn covers(&self, view: &VolumeView) -> bool {
        let pod = self.pod.as_ref().is_none_or(|pod| pod == view.key.pod.as_str());
        let volume = self.volume.as_ref().is_none_or(|volume| {
            volume == view.key.volume.as_str() || view.pod_volume.as_ref() == Some(volume)
        });
        pod && volume
    }
}

/// What the loop is asked, and where the answer goes.
#[derive(Debug)]
pub(super) enum Question {
    Status(Selection, Sender<StatusDocument>),
    Events(u64, Sender<EventsDocument>),
    Retry(Selection, Sender<RetryDocument>),
    Metrics(Sender<String>),
    /// The volumes that count as mounted.
    Mounted(Sender<Vec<VolumeKey>>),
    /// Empty when it is ready, else why not.
    Ready(Sender<Vec<String>>),
}

impl VolumeLine {
    pub(super) fn new(view: VolumeView, now: Instant) -> Self {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            pod: view.key.pod.to_string(),
            pod_name: view.pod_name,
            pod_volume: view.pod_volume,
            volume: view.key.volume.to_string(),
            driver: view.key.driver.to_string(),
            wanted: view.wanted,
            stage: view.stage.as_str().to_owned(),
            running_for: view.running_since.map(|since| milliseconds(now.saturating_duration_since(since))),
            superseded: view.superseded,
            why: view.why,
            sick: None,
            failures: view.failures,
            again_in: view.again.map(|again| milliseconds(again.saturating_duration_since(now))),
        }
    }
}

/// A word for a driver's state.
pub(super) fn driver_word(state: &DriverState) -> String {
    match state {
        DriverState::Ready(_) => "ready".to_owned(),
        DriverState::Broken(why) => format!("broken: {why}"),
        DriverState::Missing => "not installed".to_owned(),
        DriverState::Unknown => "being asked".to_owned(),
    }
}

/// Which questions somebody may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// All of them: the socket, which only root can use.
    Everything,
    /// How the agent is doing, without names of pods or words of drivers: a port that any local user can reach.
    FiguresOnly,
}

/// Answers requests by asking the loop.
#[derive(Debug, Clone)]
pub(super) struct Api {
    pub(super) agent: Sender<Message>,
    pub(super) access: Access,
}

impl Api {
    /// The answer to a request.
    pub(super) fn answer(&self, request: &Request) -> Response {
        let all = self.access == Access::Everything;
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/healthz") => self.healthz(),
            ("GET", "/readyz") => self.readyz(),
            ("GET", "/metrics") => self.ask(Question::Metrics).map_or_else(stuck, Response::figures),
            ("GET", "/v1/status") if all => {
                self.json(|answer| Question::Status(Selection::of(request), answer))
            }
            ("GET", "/v1/events") if all => match request.query.get("after").map(|text| text.parse()) {
                Some(Err(_)) => Response::says(400, "after must be the number of an event"),
                Some(Ok(after)) => self.json(|answer| Question::Events(after, answer)),
                None => self.json(|answer| Question::Events(0, answer)),
            },
            ("POST", "/v1/retry") if all => {
                self.json(|answer| Question::Retry(Selection::of(request), answer))
            }
            (_, "/healthz" | "/readyz" | "/metrics" | "/v1/status" | "/v1/events" | "/v1/retry") => {
                Response::says(405, "this is not answered here, or not to this method")
            }
            _ => {
                Response::says(404, "there is /v1/status, /v1/events, /v1/retry, /metrics, /healthz, /readyz")
            }
        }
    }

    fn ask<T>(&self, question: impl FnOnce(Sender<T>) -> Question) -> Option<T> {
        let (answer, answers) = channel();
        self.agent.send(Message::Question(question(answer))).ok()?;
        answers.recv_timeout(PATIENCE).ok()
    }

    fn json<T: Serialize>(&self, question: impl FnOnce(Sender<T>) -> Question) -> Response {
        self.ask(question).map_or_else(stuck, |document| Response::json(&document))
    }

    /// The loop goes round.
    fn healthz(&self) -> Response {
        self.ask(Question::Ready).map_or_else(stuck, |_| Response::says(200, "ok"))
    }

    /// The manifests were read and can be read.
    fn readyz(&self) -> Response {
        match self.ask(Question::Ready) {
            None => stuck(),
            Some(reasons) if reasons.is_empty() => Response::says(200, "ok"),
            Some(_) if self.access == Access::FiguresOnly => Response::says(503, "not ready"),
            Some(reasons) => Response::says(503, &reasons.join("\n")),
        }
    }
}

fn stuck() -> Response {
    Response::says(503, "the agent's loop does not answer")
}
