//! Answers of the loop to those who ask through the socket.

use std::time::Instant;

use flexvolume_host::reconcile::{Stage, VolumeKey};

use super::api::{
    EventsDocument, Question, RetryDocument, Selection, StatusDocument, VolumeLine, driver_word,
};
use super::metrics::Troubles;
use super::run_loop::Agent;

impl Agent {
    /// Answers. Whoever has asked may have gone away.
    pub(super) fn answer(&mut self, question: Question) {
        match question {
            Question::Status(selection, answer) => drop(answer.send(self.status(&selection))),
            Question::Events(after, answer) => {
                drop(answer.send(EventsDocument { events: self.journal.after(after) }));
            }
            Question::Retry(selection, answer) => drop(answer.send(self.retry(&selection))),
            Question::Metrics(answer) => {
                let troubles = Troubles { manifests: self.troubles.len(), sick: self.sick.len() };
                drop(answer.send(self.metrics.text(&self.reconciler, &troubles)));
            }
            Question::Mounted(answer) => drop(answer.send(self.reconciler.mounted().collect())),
            Question::Ready(answer) => drop(answer.send(self.why_not_ready())),
        }
    }

    fn status(&self, selection: &Selection) -> StatusDocument {
        let now = Instant::now();
        let meant = self.reconciler.view().filter(|view| selection.covers(view));
        let drivers = self.reconciler.driver_states();
        StatusDocument {
            populated: self.populated,
            volumes: meant
                .map(|view| {
                    let sick = self.sick.get(&view.key).cloned();
                    VolumeLine { sick, ..VolumeLine::new(view, now) }
                })
                .collect(),
            drivers: drivers.map(|(name, state)| (name.to_string(), driver_word(state))).collect(),
            manifests: self.troubles.clone(),
        }
    }

    fn retry(&mut self, selection: &Selection) -> RetryDocument {
        let waits = |stage| matches!(stage, Stage::BackingOff | Stage::WaitingForDriver | Stage::Queued);
        let meant = self.reconciler.view().filter(|view| waits(view.stage) && selection.covers(view));
        let meant: Vec<VolumeKey> = meant.map(|view| view.key).collect();
        let now = Instant::now();
        RetryDocument { retried: meant.iter().filter(|key| self.reconciler.retry(key, now)).count() }
    }

    fn why_not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if !self.populated {
            reasons.push("the manifests have not been read yet".to_owned());
        }
        // Under the empty name stands why the directory itself cannot be read.
        reasons.extend(self.troubles.get("").cloned());
        reasons
    }
}
