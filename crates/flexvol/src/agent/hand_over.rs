//! The node's side of a hand-over: volumes that wait for a controller are tried when it has something new to tell.

use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use flexvolume_host::hand_over::HandOver;
use flexvolume_host::lifecycle::VolumeManager;
use flexvolume_host::reconcile::{Attaching, DriverState, Stage, VolumeKey};

use super::Message;
use super::run_loop::Agent;
use crate::args::{AgentArguments, Role};
use crate::failure::Failure;
use crate::session::Session;

/// How often it is looked whether there is something new: the directory may be on a network, which tells nobody.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// Mounts and unmounts, as the role has it.
pub(super) fn manager(
    session: &Session,
    arguments: &AgentArguments,
    messages: &Sender<Message>,
) -> Result<VolumeManager, Failure> {
    let manager = session.manager();
    if arguments.role != Role::Node {
        return Ok(manager);
    }
    let hand_over = HandOver::new(arguments.hand_over(&session.host.root)?);
    watch(hand_over.clone(), session.host.node.clone(), messages.clone())?;
    Ok(manager.with_hand_over(hand_over))
}

fn watch(hand_over: HandOver, node: String, messages: Sender<Message>) -> std::io::Result<()> {
    thread::Builder::new().name("hand-over".to_owned()).spawn(move || {
        let mut seen = None;
        loop {
            let changed = hand_over.reports_changed(&node);
            if changed != seen && messages.send(Message::Reports).is_err() {
                return;
            }
            seen = changed;
            thread::sleep(BETWEEN_LOOKS);
        }
    })?;
    Ok(())
}

impl Agent {
    /// Tries what may have waited for the controller.
    pub(super) fn note_reports(&mut self) {
        let attaching = DriverState::Ready(Attaching::Yes);
        let states = self.reconciler.driver_states();
        let drivers: Vec<_> =
            states.filter(|(_, state)| **state == attaching).map(|(name, _)| name.clone()).collect();
        let waits = |stage, key: &VolumeKey| stage == Stage::BackingOff && drivers.contains(&key.driver);
        let views = self.reconciler.view().filter(|view| waits(view.stage, &view.key));
        let waiting: Vec<VolumeKey> = views.map(|view| view.key).collect();
        let now = Instant::now();
        for key in &waiting {
            self.reconciler.retry(key, now);
        }
    }
}
