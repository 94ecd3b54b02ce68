//! Flags of `flexvol agent`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use flexvolume_host::contract::PodUid;
use flexvolume_host::reconcile::Bounds;

use super::duration;

#[derive(Debug, Args)]
#[command(after_help = "\
The directory holds the manifests of pods and of what they refer to, *.yaml, *.yml and *.json. As long as a pod is in
one of them its volumes are mounted below --root; when it is gone they are unmounted. A file that is invalid, empty or
only half written changes nothing until it is in order again or removed.

When the agent ends, by a signal or a crash, all volumes stay mounted; the next one goes on where it stopped.

Examples:
  flexvol agent --manifests /etc/flexvol/manifests
  flexvol agent --drain
  flexvol agent --role controller --hand-over /srv/shared/hand-over
  flexvol agent --role node --hand-over /srv/shared/hand-over --manifests /etc/flexvol/manifests
  flexvol agent --manifests ./pods --root ./node --plugin-dir ./plugins -v")]
pub(crate) struct AgentArguments {
    /// Directory of manifests
    #[arg(long, value_name = "DIR", env = "FLEXVOL_MANIFESTS")]
    pub(crate) manifests: Option<PathBuf>,
    /// Which part of the work is done here
    #[arg(long, value_enum, default_value_t = Role::All, env = "FLEXVOL_ROLE")]
    pub(crate) role: Role,
    /// Directory that a controller and its nodes share [default: flexvol/hand-over below --root]
    #[arg(long, value_name = "DIR")]
    pub(crate) hand_over: Option<PathBuf>,
    /// Unmount everything, whatever the manifests say, and end. What `flexvol mount` keeps mounted stays
    #[arg(long)]
    pub(crate) drain: bool,
    /// Serve /metrics, /healthz and /readyz on this loopback port as well, such as 127.0.0.1:9808
    #[arg(long, value_name = "ADDRESS", value_parser = loopback)]
    pub(crate) metrics: Option<SocketAddr>,
    /// How often mounted volumes are asked whether they answer
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60s")]
    pub(crate) health_interval: Duration,
    /// Mount volumes of this driver, or of `all`, again when they are dead [default: only tell]
    #[arg(long, value_name = "DRIVER")]
    pub(crate) remount_sick: Vec<String>,
    /// So many operations at a time for one driver
    #[arg(long, value_name = "COUNT", default_value_t = Bounds::default().per_driver)]
    pub(crate) per_driver: usize,
    /// So many operations at a time in all, without those that take more than 10 s
    #[arg(long, value_name = "COUNT", default_value_t = Bounds::default().overall)]
    pub(crate) parallel: usize,
}

/// `--role`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Everything
    All,
    /// attach, detach and isattached, for nodes that ask for it
    Controller,
    /// Everything else; a controller attaches
    Node,
}

impl AgentArguments {
    /// Refuses flags that do not go together.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        match self.role {
            Role::Controller if self.manifests.is_some() || self.drain => {
                Err("a controller does what the nodes ask for: leave --manifests and --drain out")
            }
            Role::All if self.hand_over.is_some() => {
                Err("--hand-over is for --role controller and --role node")
            }
            Role::All | Role::Node if self.manifests.is_none() && !self.drain => Err(
                "--manifests DIR is missing: the directory of manifests whose pods have their volumes here",
            ),
            _ => Ok(()),
        }
    }

    /// The directory that a controller and its nodes share.
    pub(crate) fn hand_over(&self, root: &Path) -> std::io::Result<PathBuf> {
        let default = || flexvolume_host::paths::state_dir(root).join("hand-over");
        self.hand_over.as_ref().map_or_else(|| Ok(default()), std::path::absolute)
    }

    /// How much is done at a time.
    pub(crate) fn bounds(&self) -> Bounds {
        let (per_driver, overall) = (self.per_driver.max(1), self.parallel.max(1));
        Bounds { per_driver, overall, ..Bounds::default() }
    }
}

/// Whoever is on the network must not read it.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr =
        text.parse().map_err(|_| "must be an address and a port, such as 127.0.0.1:9808".to_owned())?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err("must be a loopback address, such as 127.0.0.1".to_owned())
    }
}

fn pod_uid(text: &str) -> Result<PodUid, String> {
    PodUid::parse(text).map_err(|error| error.to_string())
}

#[derive(Debug, Args)]
#[command(after_help = "\
Asks the agent of --root until it is so, and says what is not when the time is over (exit code 1).

Examples:
  flexvol wait --pod default.web
  flexvol wait --for gone --pod default.web --timeout 2m
  flexvol wait")]
pub(crate) struct WaitArguments {
    /// Uid of a pod, as `flexvol status` shows it [default: all pods]
    #[arg(long, value_name = "UID", value_parser = pod_uid)]
    pub(crate) pod: Vec<PodUid>,
    /// What to wait for
    #[arg(long = "for", value_enum, default_value_t = WaitFor::Mounted)]
    pub(crate) what: WaitFor,
    /// How long to wait
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60s")]
    pub(crate) timeout: Duration,
}

/// `--for`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WaitFor {
    /// All volumes of the pods are mounted
    Mounted,
    /// Nothing is left of the pods
    Gone,
}

#[derive(Debug, Args)]
#[command(after_help = "\
What the agent of --root has done and met with, the oldest first: the last few thousand events. With --calls also each
call of a driver, with its end, its duration, and the last lines of its standard error.

Examples:
  flexvol events
  flexvol events --pod default.web --calls
  flexvol events --follow --output json")]
pub(crate) struct EventsArguments {
    /// Go on with what happens from now on
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only of this pod
    #[arg(long, value_name = "UID", value_parser = pod_uid)]
    pub(crate) pod: Option<PodUid>,
    /// Show each call of a driver
    #[arg(long)]
    pub(crate) calls: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Has the agent of --root try now what it would try later.

Examples:
  flexvol retry
  flexvol retry --pod default.web --volume data")]
pub(crate) struct RetryArguments {
    /// Only of this pod
    #[arg(long, value_name = "UID", value_parser = pod_uid)]
    pub(crate) pod: Option<PodUid>,
    /// Only volumes of this name
    #[arg(long, value_name = "NAME")]
    pub(crate) volume: Option<String>,
}
